from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.selection.exact_yields import exact_yields
from tests.selection.varied_toy import VARIATIONS, every_kind, make_table, score_of, varied_toy, with_variations
from zsig_hep.ntuples.variations import NormalisationVariation
from zsig_hep.selection import WorkingPointSettings, hold_out_working_point, systematic_table
from zsig_hep.selection.thresholds.systematics import uncertain_relative
from zsig_hep.statistics import FigureOfMerit, asimov, asimov_with_uncertainty

PLAIN = exact_yields()


@pytest.fixture(scope="module")
def case():
    """The table of systematics, and what it is made of."""
    table, shapes = every_kind()
    events = with_variations(table, VARIATIONS, **shapes)
    point = hold_out_working_point(events, PLAIN)
    found = systematic_table(point, events, PLAIN)
    cuts = np.array(point.thresholds)
    passes = score_of(table) >= cuts[table.fold]
    nominal = np.array([table.weight[passes & (table.process == p)].sum() for p in range(3)])
    rows = {row.name: row for row in found.rows}
    return SimpleNamespace(
        table=table, shapes=shapes, point=point, found=found, cuts=cuts, passes=passes, nominal=nominal, rows=rows
    )


class TestAgainstSumsByHand:
    def test_yields(self, case):
        table, nominal, rows = case.table, case.nominal, case.rows
        assert list(rows) == list(VARIATIONS)
        assert [row.kind for row in rows.values()] == ["luminosity", "normalisation", "weight", "shape", "shape"]
        assert rows["lumi"].yields["hmumu"].up.value == pytest.approx(1.02 * nominal[0])
        assert rows["lumi"].yields["dy"].down.value == pytest.approx(nominal[1] / 1.02)
        assert list(rows["xs"].yields) == ["top"]
        assert rows["xs"].yields["top"].down.value == pytest.approx(0.9 * nominal[2])
        tilted = table.weight_variations["tilt"][0][case.passes & (table.process == 1)].sum()
        assert rows["tilt"].yields["dy"].up.value == pytest.approx(tilted)
        up = case.shapes["jesUp"]
        shifted = (score_of(up) >= case.cuts[up.fold]) & (up.process == 2)
        assert rows["jes"].yields["top"].up.value == pytest.approx(up.weight[shifted].sum())
        half = rows["half"].yields["dy"]
        assert half.up.value + half.down.value == pytest.approx(2 * nominal[1])

    def test_the_background_and_its_significance(self, case):
        def shift(row):
            shifts = [each.shifts for process, each in row.yields.items() if process != "hmumu"]
            return np.sqrt(np.square(np.sum(shifts, axis=0)).mean())

        sigma = np.sqrt(sum(shift(row) ** 2 for row in case.found.rows))
        s, b = case.nominal[0], case.nominal[1:].sum()
        assert case.found.background_uncertainty == pytest.approx(sigma)
        assert case.found.significance == pytest.approx(float(asimov_with_uncertainty(s, b, sigma)))
        assert case.found.significance_without == pytest.approx(case.point.exported_significance)
        assert case.found.figure is FigureOfMerit.ASIMOV_WITH_UNCERTAINTY

    def test_each_variation_moves_the_significance_of_the_settings(self, case):
        s, dy, top = case.nominal
        lumi, xs = case.rows["lumi"], case.rows["xs"]
        assert lumi.significance_up == pytest.approx(float(asimov(1.02 * s, 1.02 * (dy + top))))
        assert lumi.significance_down == pytest.approx(float(asimov(s / 1.02, (dy + top) / 1.02)))
        assert xs.significance_up == pytest.approx(float(asimov(s, dy + 1.2 * top)))
        assert xs.significance_down == pytest.approx(float(asimov(s, dy + 0.9 * top)))


@pytest.mark.parametrize("inside", [False, None])
def test_variations_add_to_the_common_uncertainty_of_the_settings(inside):
    events = varied_toy()
    settings = exact_yields(
        figure_of_merit="asimov_with_uncertainty",
        relative_background_uncertainty=0.1,
        background_uncertainties={"top": 0.3},
        simulation_uncertainty_in_figure=inside,
    )
    point = hold_out_working_point(events, settings)
    found = systematic_table(point, events, settings)
    s, b, top = point.signal.value, point.background.value, point.yields["top"].value
    squares = (0.1 * b) ** 2 + (0.3 * top) ** 2 + (0.0 if inside is False else point.background.variance)
    with_all = np.sqrt(squares + found.background_uncertainty**2)
    assert found.significance == pytest.approx(float(asimov_with_uncertainty(s, b, with_all)), rel=1e-12)
    assert found.significance_without == pytest.approx(float(asimov_with_uncertainty(s, b, np.sqrt(squares))))


def test_variations_in_the_figure_are_in_every_row():
    xs = NormalisationVariation(kind="normalisation", up=1.2, down=0.8, processes=["dy", "top"])
    events = with_variations(make_table(1500), {"xs": xs})
    settings = WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty", variations_in_figure=True, simulation_uncertainty_in_figure=False
    )
    point = hold_out_working_point(events, settings)
    (row,) = systematic_table(point, events, settings).rows
    s, b = point.signal.value, point.background.value
    assert point.common_uncertainty == pytest.approx(0.2)
    for found, factor in ((row.significance_up, 1.2), (row.significance_down, 0.8)):
        assert found == pytest.approx(float(asimov_with_uncertainty(s, factor * b, 0.2 * factor * b)))
    # More background with the same uncertainties is no gain.
    assert row.significance_up < point.exported_significance < row.significance_down


@pytest.mark.parametrize(
    ("factors", "note"),
    [
        ((1.0, 1.0), "no effect"),
        ((1.1, 1.1), "up equals down"),
        ((1.2, 1.1), "up and down have the same sign"),
        ((1.1, 0.9), None),
    ],
)
def test_unusual_pairs_are_named(factors, note):
    xs = NormalisationVariation(kind="normalisation", up=factors[0], down=factors[1], processes=["dy", "top"])
    events = with_variations(make_table(1500), {"xs": xs})
    found = systematic_table(hold_out_working_point(events, PLAIN), events, PLAIN)
    assert found.notes == (() if note is None else (f"variation 'xs' at the cut: {note} for dy, top",))


def test_nothing_to_vary_or_no_cut_gives_no_table():
    events = varied_toy()
    point = hold_out_working_point(events, PLAIN)
    assert systematic_table(point, replace(events, variations=()), PLAIN) is None
    without = hold_out_working_point(events, WorkingPointSettings(minimum_effective_background=1e6))
    assert without.status == "no_threshold_qualifies"
    assert systematic_table(without, events, PLAIN) is None


def test_the_figure_that_knows_uncertainty():
    assert {figure.value: uncertain_relative(figure).value for figure in FigureOfMerit} == {
        "s_over_sqrt_b": "s_over_sqrt_b_with_uncertainty",
        "s_over_sqrt_b_with_uncertainty": "s_over_sqrt_b_with_uncertainty",
        "asimov": "asimov_with_uncertainty",
        "asimov_with_uncertainty": "asimov_with_uncertainty",
        "ams": "asimov_with_uncertainty",
        "punzi": "asimov_with_uncertainty",
        "poisson": "poisson_with_uncertainty",
        "poisson_with_uncertainty": "poisson_with_uncertainty",
    }
