import copy
import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from tests.fits.channels import PROCESSES, make_fit, scaled, single_bin, template, with_uncertainties
from zsig_hep.errors import OutputError
from zsig_hep.fits import (
    Channels,
    ExportSettings,
    build_templates,
    build_workspace,
    validate_workspace,
    write_workspace,
)
from zsig_hep.fits.pyhf_workspace import luminosity_uncertainty
from zsig_hep.selection import ScoredEvents
from zsig_hep.statistics import FigureOfMerit, Objective, asimov, asimov_with_uncertainty

# pyhf 0.7 reads its schema by a class that jsonschema means to remove.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema:DeprecationWarning")

SETTINGS = ExportSettings()


@pytest.fixture(scope="module")
def pyhf():
    return pytest.importorskip("pyhf")


def modifiers_of(workspace, channel, sample, kind):
    samples = next(each["samples"] for each in workspace["channels"] if each["name"] == channel)
    modifiers = next(each["modifiers"] for each in samples if each["name"] == sample)
    return {modifier["name"]: modifier["data"] for modifier in modifiers if modifier["type"] == kind}


def discovery_significance(pyhf, workspace, strength=1.0):
    model = pyhf.Workspace(workspace).model()
    parameters = model.config.suggested_init()
    parameters[model.config.poi_index] = strength
    data = model.expected_data(parameters)
    return float(norm.isf(float(pyhf.infer.hypotest(0.0, data, model, test_stat="q0"))))


def with_only(workspace, *kinds, instead_of_staterror="staterror"):
    """The workspace with some kinds of modifiers of the backgrounds; the signals keep their strength alone."""
    changed = copy.deepcopy(workspace)
    for channel in changed["channels"]:
        for sample in channel["samples"]:
            is_signal = any(modifier["type"] == "normfactor" for modifier in sample["modifiers"])
            kept = ("normfactor",) if is_signal else kinds
            sample["modifiers"] = [modifier for modifier in sample["modifiers"] if modifier["type"] in kept]
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":
                    modifier["type"] = instead_of_staterror
    return changed


class TestContent:
    def test_samples_and_observations(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        low, high = workspace["channels"]
        assert [channel["name"] for channel in (low, high)] == ["low", "high"]
        assert {sample["name"]: sample["data"] for sample in low["samples"]} == {
            "higgs": [2.0, 3.0, 5.0],
            "dy": [400.0, 200.0, 50.0],
            "top": [30.0, 20.0, 10.0],
        }
        assert {sample["name"]: sample["data"] for sample in high["samples"]} == {"higgs": [6.0], "dy": [12.0]}
        assert workspace["observations"] == [
            {"name": "low", "data": [430.0, 220.0, 60.0]},
            {"name": "high", "data": [12.0]},
        ]
        assert workspace["version"] == "1.0.0"

    def test_data_are_observed_when_there_are_any(self):
        workspace = build_workspace(make_fit(data=True), SETTINGS)
        assert [each["data"] for each in workspace["observations"]] == [[420.0, 230.0, 66.0], [21.0]]

    def test_one_blinded_channel_blinds_all(self):
        fit = make_fit(data=True)
        fit = replace(fit, channels=(fit.channels[0], replace(fit.channels[1], data=None)))
        assert [each["data"] for each in build_workspace(fit, SETTINGS)["observations"]] == [
            [430.0, 220.0, 60.0],
            [12.0],
        ]

    def test_the_signal_strength_multiplies_signals_only(self):
        workspace = build_workspace(make_fit(), ExportSettings(signal_strength="mu_h", signal_strength_maximum=50.0))
        assert modifiers_of(workspace, "low", "higgs", "normfactor") == {"mu_h": None}
        assert modifiers_of(workspace, "low", "dy", "normfactor") == {}
        config = workspace["measurements"][0]["config"]
        assert config["poi"] == "mu_h"
        assert config["parameters"][0] == {"name": "mu_h", "inits": [1.0], "bounds": [[0.0, 50.0]]}

    def test_shapes_in_several_bins_split_into_yield_and_shape(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        up, down = make_fit().channels[0].varied["jes"]["dy"]
        factors = modifiers_of(workspace, "low", "dy", "normsys")["jes"]
        assert factors == pytest.approx({"hi": up.total / 650, "lo": down.total / 650})
        shapes = modifiers_of(workspace, "low", "dy", "histosys")["jes"]
        np.testing.assert_allclose(shapes["hi_data"], up.values / (up.total / 650))
        np.testing.assert_allclose(shapes["lo_data"], down.values / (down.total / 650))
        assert sum(shapes["hi_data"]) == pytest.approx(650)
        assert list(modifiers_of(workspace, "low", "higgs", "histosys")) == ["jes"]
        assert list(modifiers_of(workspace, "low", "top", "histosys")) == ["isr"]

    def test_one_bin_has_no_shape(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        assert modifiers_of(workspace, "high", "dy", "histosys") == {}
        assert modifiers_of(workspace, "high", "dy", "normsys")["jes"] == pytest.approx({"hi": 1.2, "lo": 0.85})
        assert modifiers_of(workspace, "high", "higgs", "normsys") == {}

    def test_normalisations_have_no_shape(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        assert "dy_rate" not in modifiers_of(workspace, "low", "dy", "histosys")
        assert modifiers_of(workspace, "low", "dy", "normsys")["dy_rate"] == pytest.approx({"hi": 1.1, "lo": 0.92})

    def test_luminosity(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        for channel in make_fit().channels:
            for process in channel.nominal:
                assert modifiers_of(workspace, channel.name, process, "lumi") == {"lumi": None}
                assert "luminosity" not in modifiers_of(workspace, channel.name, process, "normsys")
        (parameter,) = (each for each in workspace["measurements"][0]["config"]["parameters"] if each["name"] == "lumi")
        assert parameter["auxdata"] == parameter["inits"] == [1.0]
        assert parameter["sigmas"] == pytest.approx([0.017])
        assert parameter["bounds"][0] == pytest.approx([0.915, 1.085])

    def test_an_asymmetric_luminosity_is_a_normalisation(self):
        fit = make_fit(luminosity=(1.02, 0.985))
        assert luminosity_uncertainty(fit) is None
        workspace = build_workspace(fit, SETTINGS)
        assert modifiers_of(workspace, "low", "dy", "lumi") == {}
        assert modifiers_of(workspace, "low", "dy", "normsys")["luminosity"] == pytest.approx({"hi": 1.02, "lo": 0.985})

    def test_two_luminosities_are_normalisations(self):
        fit = make_fit()
        (low, high), extra = fit.channels, scaled(fit.channels[1].nominal["dy"], 1.01, 0.99)
        high = replace(high, varied={**high.varied, "luminosity_2018": {"dy": extra}})
        fit = replace(fit, channels=(low, high), kinds={**fit.kinds, "luminosity_2018": "luminosity"})
        workspace = build_workspace(fit, SETTINGS)
        assert {"luminosity", "luminosity_2018"} <= modifiers_of(workspace, "high", "dy", "normsys").keys()
        assert validate_workspace(workspace) == (importlib.util.find_spec("pyhf") is not None)

    def test_uncertainty_of_the_simulation_is_shared_by_the_backgrounds_of_a_channel(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        assert modifiers_of(workspace, "low", "dy", "staterror") == {"staterror_low": pytest.approx([20.0, 10.0, 2.5])}
        assert modifiers_of(workspace, "low", "top", "staterror") == {"staterror_low": pytest.approx([1.5, 1.0, 0.5])}
        assert modifiers_of(workspace, "high", "dy", "staterror") == {"staterror_high": pytest.approx([0.6])}
        assert list(modifiers_of(workspace, "low", "higgs", "staterror")) == ["signal_staterror_low"]
        exact = build_workspace(make_fit(), ExportSettings(simulation_uncertainty=False))
        assert "staterror" not in json.dumps(exact)

    @pytest.mark.parametrize(
        ("name", "taken"),
        [("mu", "signal strength"), ("lumi", "luminosity"), ("staterror_low", "simulation's uncertainty")],
    )
    def test_a_variation_with_the_name_of_another_parameter(self, name, taken):
        fit = make_fit()
        channels = tuple(
            replace(channel, varied={name if old == "jes" else old: pairs for old, pairs in channel.varied.items()})
            for channel in fit.channels
        )
        fit = replace(fit, channels=channels, kinds={**fit.kinds, name: "shape"})
        with pytest.raises(OutputError, match=f"'{name}' has the name of the parameter of the {taken}|of {taken}"):
            build_workspace(fit, SETTINGS)

    def test_it_is_json_of_plain_types(self):
        workspace = build_workspace(make_fit(), SETTINGS)
        assert json.loads(json.dumps(workspace, allow_nan=False)) == workspace


class TestPyhf:
    @pytest.mark.parametrize("options", [{}, {"data": True}, {"luminosity": (1.02, 0.985)}])
    def test_the_schema_holds_and_the_model_expects_our_yields(self, pyhf, options):
        fit = make_fit(**options)
        workspace = build_workspace(fit, SETTINGS)
        pyhf.schema.validate(workspace, "workspace.json")
        assert validate_workspace(workspace)
        whole = pyhf.Workspace(workspace)
        model = whole.model()
        parameters = np.array(model.config.suggested_init())
        expected = dict(zip(model.config.channels, np.split(model.expected_actualdata(parameters), [1]), strict=True))
        for channel in fit.channels:
            np.testing.assert_allclose(expected[channel.name], channel.summed(PROCESSES).values)
        observed = dict(
            zip(model.config.channels, np.split(np.array(whole.data(model, include_auxdata=False)), [1]), strict=True)
        )
        for channel in fit.channels:
            np.testing.assert_allclose(observed[channel.name], fit.observed(channel))

    @pytest.mark.parametrize("variation", ["luminosity", "dy_rate", "jes", "isr"])
    @pytest.mark.parametrize("side", [0, 1])
    def test_one_standard_deviation_gives_the_varied_templates(self, pyhf, variation, side):
        fit = make_fit()
        model = pyhf.Workspace(build_workspace(fit, SETTINGS)).model()
        parameters = np.array(model.config.suggested_init())
        name = "lumi" if variation == "luminosity" else variation
        pull = (1, -1)[side]
        parameters[model.config.par_slice(name)] = 1 + 0.017 * pull if name == "lumi" else pull
        expected = dict(zip(model.config.channels, np.split(model.expected_actualdata(parameters), [1]), strict=True))
        for channel in fit.channels:
            total = channel.summed(PROCESSES).values.copy()
            for process, pair in channel.varied.get(variation, {}).items():
                total += pair[side].values - channel.nominal[process].values
            np.testing.assert_allclose(expected[channel.name], total, rtol=1e-9)

    def test_a_workspace_that_pyhf_refuses(self, pyhf):
        workspace = build_workspace(make_fit(), SETTINGS)
        workspace["channels"][0]["samples"][0]["data"] = "many"
        with pytest.raises(OutputError, match="pyhf refuses the workspace"):
            validate_workspace(workspace)

    def test_a_workspace_with_an_impossible_bin(self, pyhf):
        workspace = build_workspace(make_fit(), SETTINGS)
        for sample in workspace["channels"][1]["samples"]:
            sample["data"] = [0.0]
        with pytest.raises(OutputError, match="expects bins without events"):
            validate_workspace(workspace)

    def test_written_and_read(self, pyhf, tmp_path):
        workspace = build_workspace(make_fit(), SETTINGS)
        assert write_workspace(tmp_path / "fit" / "workspace.json", workspace)
        assert json.loads((tmp_path / "fit" / "workspace.json").read_text()) == workspace


def test_without_pyhf_it_is_written_unchecked(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    workspace = build_workspace(make_fit(), SETTINGS)
    assert write_workspace(tmp_path / "workspace.json", workspace) is False
    assert json.loads((tmp_path / "workspace.json").read_text()) == workspace


class TestAgreementOfSignificances:
    """pyhf on Asimov data of mu = 1 against the closed forms."""

    @pytest.mark.parametrize(("s", "b"), [(10.0, 25.0), (5.0, 2.0), (0.5, 0.1), (200.0, 1e4)])
    def test_one_bin_known_background(self, pyhf, s, b):
        workspace = build_workspace(single_bin(s, b, 0.0), ExportSettings(simulation_uncertainty=False))
        assert discovery_significance(pyhf, workspace) == pytest.approx(float(asimov(s, b)), rel=1e-3)

    @pytest.mark.parametrize(
        ("s", "b", "k"), [(10.0, 25.0, 0.1), (10.0, 25.0, 0.4), (5.0, 2.0, 0.3), (50.0, 1000.0, 0.05)]
    )
    def test_poisson_constraint_is_the_on_off_problem_exactly(self, pyhf, s, b, k):
        workspace = with_only(
            build_workspace(single_bin(s, b, k), SETTINGS), "staterror", instead_of_staterror="shapesys"
        )
        expected = float(asimov_with_uncertainty(s, b, k * b))
        assert discovery_significance(pyhf, workspace) == pytest.approx(expected, rel=1e-3)

    @pytest.mark.parametrize(
        ("s", "b", "k"), [(10.0, 25.0, 0.1), (10.0, 25.0, 0.4), (5.0, 2.0, 0.3), (50.0, 1000.0, 0.05)]
    )
    def test_staterror_is_its_normal_constraint_exactly(self, pyhf, s, b, k):
        """The profile of n ln(g b) - g b - (g - 1)^2 / 2k^2 is the root of a quadratic equation in g."""
        workspace = with_only(build_workspace(single_bin(s, b, k), SETTINGS), "staterror")
        n, slope = s + b, k * k * b - 1
        g = (-slope + np.sqrt(slope**2 + 4 * k * k * n)) / 2
        expected = np.sqrt(2 * (n * np.log(n / (g * b)) - n + g * b + (g - 1) ** 2 / (2 * k * k)))
        assert discovery_significance(pyhf, workspace) == pytest.approx(expected, rel=1e-3)

    @pytest.mark.parametrize(
        ("s", "b", "k", "tolerance"),
        [(10.0, 25.0, 0.05, 0.002), (10.0, 25.0, 0.1, 0.01), (10.0, 25.0, 0.2, 0.04), (200.0, 1e4, 0.01, 0.003)],
    )
    def test_normsys_agrees_with_the_on_off_problem_for_small_uncertainties(self, pyhf, s, b, k, tolerance):
        """Another constraint of the same width; tests/benchmarks/benchmark_pyhf.py prints how much it differs."""
        workspace = with_only(build_workspace(single_bin(s, b, k), SETTINGS), "normsys")
        expected = float(asimov_with_uncertainty(s, b, k * b))
        assert discovery_significance(pyhf, workspace) == pytest.approx(expected, rel=tolerance)

    def test_signals_do_not_dilute_the_uncertainty_of_the_background(self, pyhf):
        fit = single_bin(10.0, 25.0, 0.2)
        nominal = {"higgs": template(10.0, relative=0.01), "dy": fit.channels[0].nominal["dy"]}
        fit = replace(fit, channels=(replace(fit.channels[0], nominal=nominal, varied={}),), kinds={})
        found = discovery_significance(pyhf, build_workspace(fit, SETTINGS))
        without = discovery_significance(pyhf, with_only(build_workspace(fit, SETTINGS), "staterror"))
        assert found == pytest.approx(without, rel=1e-3)

    def test_bins_add_in_quadrature(self, pyhf):
        fit = make_fit()
        workspace = with_only(build_workspace(fit, SETTINGS))
        z = np.concatenate(
            [
                asimov(channel.summed(fit.signals).values, channel.summed(fit.backgrounds).values)
                for channel in fit.channels
            ]
        )
        assert discovery_significance(pyhf, workspace) == pytest.approx(np.sqrt((z**2).sum()), rel=1e-3)

    def test_categories_of_events_add_in_quadrature(self, pyhf):
        rng = np.random.default_rng(2)
        process = np.repeat([0, 1], 5000)
        score = 1 / (1 + np.exp(-rng.normal(np.where(process == 0, 1.0, -1.0))))
        weight = np.where(process == 0, 0.01, 0.2)
        events = ScoredEvents.from_arrays(score, weight, process, names=["higgs", "dy"], roles=["signal", "background"])
        category = np.digitize(score, [0.5, 0.8])
        channels = Channels.of_categories(((0.0, 0.5, 0.8),) * 5)
        fit = build_templates(events, channels, SETTINGS, luminosity_ifb=140.0)
        values = []
        for index in range(3):
            s, b = (weight[(process == row) & (category == index)].sum() for row in (0, 1))
            values.append(float(asimov(s, b)))
        found = discovery_significance(pyhf, build_workspace(fit, ExportSettings(simulation_uncertainty=False)))
        assert found == pytest.approx(np.sqrt(np.square(values).sum()), rel=1e-3)

    def test_a_common_uncertainty_costs_more_than_independent_ones(self, pyhf):
        """Three equal bins with one parameter are one bin of three times the content; with their own they are not."""
        s, b, k = 10.0, 25.0, 0.2
        each = single_bin(s, b, k).channels[0]
        channels = tuple(replace(each, name=f"sr{index}") for index in range(3))
        fit = replace(single_bin(s, b, k), channels=channels)
        workspace = with_only(build_workspace(fit, SETTINGS), "normsys")
        one = with_only(build_workspace(single_bin(3 * s, 3 * b, k), SETTINGS), "normsys")
        assert discovery_significance(pyhf, workspace) == pytest.approx(discovery_significance(pyhf, one), rel=1e-3)
        own = with_only(build_workspace(fit, SETTINGS), "staterror", instead_of_staterror="shapesys")
        assert discovery_significance(pyhf, own) == pytest.approx(
            np.sqrt(3) * float(asimov_with_uncertainty(s, b, k * b)), rel=1e-3
        )


class TestBackgroundUncertainties:
    def test_one_parameter_for_a_process_and_one_for_all_backgrounds(self):
        plain, found = build_workspace(make_fit(), SETTINGS), build_workspace(with_uncertainties(make_fit()), SETTINGS)
        for channel, samples in (("low", ("higgs", "dy", "top")), ("high", ("higgs", "dy"))):
            for sample in samples:
                before, after = (modifiers_of(each, channel, sample, "normsys") for each in (plain, found))
                expected = {} if sample == "higgs" else {"background_uncertainty": (1.1, 1 / 1.1)}
                expected |= {"background_uncertainty_top": (1.3, 1 / 1.3)} if sample == "top" else {}
                new = {name: (after[name]["hi"], after[name]["lo"]) for name in after.keys() - before.keys()}
                assert new == expected

    def test_a_signal_strength_of_their_name(self):
        settings = ExportSettings(signal_strength="background_uncertainty")
        with pytest.raises(OutputError, match="signal strength has the name of a background uncertainty"):
            build_workspace(with_uncertainties(make_fit()), settings)

    @pytest.mark.parametrize(
        ("own", "common"), [({}, 0.1), ({"dy": 0.1}, 0.0), ({"dy": 0.15, "top": 0.1}, 0.0), ({"dy": 0.1}, 0.05)]
    )
    def test_the_expected_significance_is_that_of_the_figure_of_merit(self, pyhf, own, common):
        s, b = 20.0, np.array([60.0, 40.0])
        events = ScoredEvents.from_arrays(
            np.full(3000, 0.9),
            np.repeat([s / 1000, *(b / 1000)], 1000),
            np.repeat([0, 1, 2], 1000),
            names=PROCESSES,
            roles=("signal", "background", "background"),
        )
        objective = Objective(
            FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties=own, relative_background_uncertainty=common
        )
        exact = ExportSettings(simulation_uncertainty=False)
        known, found = (
            discovery_significance(
                pyhf,
                build_workspace(
                    build_templates(events, Channels.of_cut([0.5] * 5), exact, luminosity_ifb=1.0, objective=each),
                    exact,
                ),
            )
            for each in (None, objective)
        )
        sigma = np.sqrt(
            sum((own.get(name, 0.0) * b[row]) ** 2 for row, name in enumerate(PROCESSES[1:])) + (common * 100) ** 2
        )
        assert known == pytest.approx(float(asimov(s, 100.0)), rel=1e-3)
        assert found < 0.9 * known
        assert found == pytest.approx(float(asimov_with_uncertainty(s, 100.0, sigma)), rel=0.03)
