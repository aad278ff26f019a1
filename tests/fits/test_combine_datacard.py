from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from tests.fits.channels import make_fit, single_bin, with_uncertainties
from zsig_hep.errors import OutputError
from zsig_hep.fits import ExportSettings, build_datacard, write_datacard

SETTINGS = ExportSettings()


@dataclass
class Card:
    """A datacard read back, by channel and process."""

    counts: dict[str, str] = field(default_factory=dict)
    shapes: list[str] = field(default_factory=list)
    observed: dict[str, float] = field(default_factory=dict)
    indices: dict[str, int] = field(default_factory=dict)
    rates: dict[tuple[str, str], float] = field(default_factory=dict)
    nuisances: dict[str, tuple[str, dict[tuple[str, str], str]]] = field(default_factory=dict)
    automatic: list[list[str]] = field(default_factory=list)


def parse(text: str) -> Card:
    card, rows = Card(), {}
    for line in text.splitlines():
        words = line.split()
        if line.startswith(("#", "--")):
            continue
        key = words[0]
        if key in {"imax", "jmax", "kmax"}:
            card.counts[key] = words[1]
        elif key == "shapes":
            card.shapes = words[1:]
        elif key in {"bin", "observation", "process", "rate"}:
            rows.setdefault(key, []).append(words[1:])
        elif words[1] == "autoMCStats":
            card.automatic.append(words)
        else:
            columns = list(zip(rows["bin"][1], rows["process"][0], strict=True))
            assert len(words) == 2 + len(columns)
            assert key not in card.nuisances
            card.nuisances[key] = words[1], dict(zip(columns, words[2:], strict=True))
    card.observed = dict(zip(rows["bin"][0], map(float, rows["observation"][0]), strict=True))
    columns = list(zip(rows["bin"][1], rows["process"][0], strict=True))
    for (_, process), index in zip(columns, rows["process"][1], strict=True):
        assert card.indices.setdefault(process, int(index)) == int(index)
    card.rates = dict(zip(columns, map(float, rows["rate"][0]), strict=True))
    return card


def kappas(cell: str) -> tuple[float, float]:
    down, up = map(float, cell.split("/"))
    return up, down


@pytest.mark.parametrize("variant", ["counting", "shapes"])
@pytest.mark.parametrize("data", [False, True])
class TestBothVariants:
    def test_every_yield(self, variant, data):
        fit = make_fit(data=data)
        card = parse(build_datacard(fit, SETTINGS, variant, histograms="histograms.root"))
        assert card.counts == {"imax": "2", "jmax": "2", "kmax": "*"}
        assert card.rates == {
            ("low", "higgs"): 10.0,
            ("low", "dy"): 650.0,
            ("low", "top"): 60.0,
            ("high", "higgs"): 6.0,
            ("high", "dy"): 12.0,
        }
        assert card.observed == ({"low": 716.0, "high": 21.0} if data else {"low": 710.0, "high": 12.0})
        assert card.indices == {"higgs": 0, "dy": 1, "top": 2}

    def test_normalisations_are_log_normal_with_down_before_up(self, variant, data):
        card = parse(build_datacard(make_fit(data=data), SETTINGS, variant, histograms="histograms.root"))
        kind, cells = card.nuisances["luminosity"]
        assert kind == "lnN"
        assert all(kappas(cell) == pytest.approx((1.017, 0.983)) for cell in cells.values())
        kind, cells = card.nuisances["dy_rate"]
        assert kind == "lnN"
        touched = {column: cell for column, cell in cells.items() if cell != "-"}
        assert set(touched) == {("low", "dy"), ("high", "dy")}
        assert all(kappas(cell) == pytest.approx((1.1, 0.92)) for cell in touched.values())

    def test_the_header_says_what_is_observed(self, variant, data):
        first = build_datacard(make_fit(data=data), SETTINGS, variant, histograms="h.root").splitlines()[0]
        assert (
            first == f"# zsig_hep, 140 /fb; observed: {'data' if data else 'Asimov data of the background (blinded)'}"
        )


class TestShapes:
    CARD = parse(build_datacard(make_fit(), SETTINGS, "shapes", histograms="histograms.root"))

    def test_where_the_histograms_are(self):
        assert self.CARD.shapes == ["*", "*", "histograms.root", "$CHANNEL/$PROCESS", "$CHANNEL/$PROCESS_$SYSTEMATIC"]

    def test_shape_lines_mark_what_has_histograms(self):
        kind, cells = self.CARD.nuisances["jes"]
        assert kind == "shape"
        assert cells == {
            ("low", "higgs"): "1",
            ("low", "dy"): "1",
            ("low", "top"): "-",
            ("high", "higgs"): "-",
            ("high", "dy"): "1",
        }
        kind, cells = self.CARD.nuisances["isr"]
        assert kind == "shape"
        assert {column for column, cell in cells.items() if cell == "1"} == {("low", "top")}

    def test_the_simulation(self):
        assert self.CARD.automatic == [["*", "autoMCStats", "10"]]
        assert set(self.CARD.nuisances) == {"luminosity", "dy_rate", "jes", "isr"}
        exact = build_datacard(make_fit(), ExportSettings(simulation_uncertainty=False), "shapes", histograms="h.root")
        assert parse(exact).automatic == []


class TestCounting:
    CARD = parse(build_datacard(make_fit(), SETTINGS, "counting"))

    def test_shapes_become_yields(self):
        assert self.CARD.shapes == []
        assert self.CARD.automatic == []
        kind, cells = self.CARD.nuisances["jes"]
        assert kind == "lnN"
        for channel in make_fit().channels:
            for process in channel.nominal:
                cell = cells[channel.name, process]
                if process in channel.varied["jes"]:
                    assert kappas(cell) == pytest.approx(channel.factors("jes", process))
                else:
                    assert cell == "-"

    def test_the_simulation_of_each_process_and_channel_is_its_own(self):
        statistics = {name: cells for name, (_, cells) in self.CARD.nuisances.items() if name.startswith("stat_")}
        assert len(statistics) == 5
        for channel in make_fit().channels:
            for process, template in channel.nominal.items():
                cells = statistics[f"stat_{channel.name}_{process}"]
                own = cells.pop((channel.name, process))
                assert float(own) == pytest.approx(1 + np.sqrt(template.variances.sum()) / template.values.sum())
                assert set(cells.values()) == {"-"}
        exact = parse(build_datacard(make_fit(), ExportSettings(simulation_uncertainty=False), "counting"))
        assert set(exact.nuisances) == {"luminosity", "dy_rate", "jes", "isr"}


def test_several_signals_have_indices_of_zero_and_below():
    fit = make_fit()
    card = parse(build_datacard(replace(fit, roles=("signal", "background", "signal")), SETTINGS, "counting"))
    assert card.indices == {"higgs": 0, "dy": 1, "top": -1}


def test_a_card_without_uncertainties():
    card = parse(build_datacard(single_bin(10.0, 25.0, 0.0), SETTINGS, "counting"))
    assert card.nuisances == {}
    assert card.rates == {("sr", "higgs"): 10.0, ("sr", "dy"): 25.0}


@pytest.mark.parametrize("name", ["r", "stat_low_dy"])
def test_a_variation_with_a_name_that_is_taken(name):
    fit = make_fit()
    with pytest.raises(OutputError, match=f"Combine has a parameter '{name}' of its own"):
        build_datacard(replace(fit, kinds={**fit.kinds, name: "weight"}), SETTINGS, "counting")


def test_written(tmp_path: Path):
    card = build_datacard(make_fit(), SETTINGS, "counting")
    write_datacard(tmp_path / "cards" / "datacard.txt", card)
    assert (tmp_path / "cards" / "datacard.txt").read_text() == card


@pytest.mark.parametrize("variant", ["counting", "shapes"])
def test_background_uncertainties_are_log_normal(variant):
    card = parse(build_datacard(with_uncertainties(make_fit()), SETTINGS, variant, histograms="h.root"))
    kind, own = card.nuisances["background_uncertainty_top"]
    assert (kind, {column: cell for column, cell in own.items() if cell != "-"}) == ("lnN", {("low", "top"): "1.3"})
    kind, common = card.nuisances["background_uncertainty"]
    assert kind == "lnN"
    assert common == {
        ("low", "higgs"): "-", ("low", "dy"): "1.1", ("low", "top"): "1.1", ("high", "higgs"): "-", ("high", "dy"): "1.1",
    }  # fmt: skip
