import json
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
import uproot
import yaml

from tests.fits.channels import PROCESSES, make_fit
from zsig_hep.errors import OutputError
from zsig_hep.fits import (
    ExportSettings,
    build_templates,
    build_workspace,
    cabinetry_configuration,
    write_fit_inputs,
    write_histograms,
    write_templates,
)
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation


def test_round_trip_keeps_contents_variances_flow_and_edges(
    evaluations: list[ClassifierEvaluation], tmp_path: Path
) -> None:
    path = tmp_path / "out" / "histograms.root"
    histograms = {f"score_{evaluation.name}": evaluation.score_histogram for evaluation in evaluations}
    histograms["narrow"] = hist.Hist(
        hist.axis.StrCategory(["dy"], name="process"),
        hist.axis.Variable([0.0, 0.5, 2.0], name="x"),
        storage=hist.storage.Weight(),
    )
    histograms["narrow"].fill("dy", [-1.0, 0.2, 0.3, 5.0], weight=[1.0, -0.5, 2.0, 3.0])
    write_histograms(path, histograms)
    with uproot.open(path) as file:
        written = {key.removesuffix(";1") for key in file.keys(filter_classname="TH1*", recursive=True)}
        names = {f"{group}/{process}" for group, filled in histograms.items() for process in filled.axes["process"]}
        assert written == names
        np.testing.assert_array_equal(file["narrow/dy"].values(flow=True), [1.0, 1.5, 0.0, 3.0])
        np.testing.assert_array_equal(file["narrow/dy"].variances(flow=True), [1.0, 4.25, 0.0, 9.0])
        for group, filled in histograms.items():
            for process in filled.axes["process"]:
                found, expected = file[f"{group}/{process}"], filled[{"process": process}]
                np.testing.assert_array_equal(found.values(flow=True), expected.values(flow=True))
                np.testing.assert_array_equal(found.variances(flow=True), expected.variances(flow=True))
                np.testing.assert_array_equal(found.axis().edges(), expected.axes[0].edges)
    assert [entry.name for entry in path.parent.iterdir()] == ["histograms.root"]


def test_storage_that_loses_variances_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    axes = hist.axis.StrCategory(["dy"], name="process"), hist.axis.Regular(2, 0, 1, name="x")
    with pytest.raises(OutputError, match="'score' has Int64 storage"):
        write_histograms(tmp_path / "a.root", {"score": hist.Hist(*axes, storage=hist.storage.Int64())})
    assert list(tmp_path.iterdir()) == []


def test_histogram_without_processes_is_refused(tmp_path: Path) -> None:
    histogram = hist.Hist(hist.axis.Regular(2, 0, 1, name="x"), storage=hist.storage.Weight())
    with pytest.raises(OutputError, match=r"'score' has axes \['x'\]"):
        write_histograms(tmp_path / "a.root", {"score": histogram})


def test_a_failure_keeps_the_old_file(tmp_path: Path, evaluations: list[ClassifierEvaluation]) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_histograms(tmp_path / "taken" / "a.root", {"score": evaluations[0].score_histogram})
    assert (tmp_path / "taken").read_text() == ""


class TestTemplates:
    def test_names_contents_variances_and_edges(self, tmp_path: Path) -> None:
        fit = make_fit(data=True)
        write_templates(tmp_path / "histograms.root", fit)
        expected = {}
        for channel in fit.channels:
            expected[f"{channel.name}/data_obs"] = (channel.data, channel.data, channel.edges)
            for process, template in channel.nominal.items():
                expected[f"{channel.name}/{process}"] = (template.values, template.variances, channel.edges)
            for variation, pairs in channel.varied.items():
                for process, pair in pairs.items():
                    for way, side in zip(("Up", "Down"), pair, strict=True):
                        name = f"{channel.name}/{process}_{variation}{way}"
                        expected[name] = (side.values, side.variances, channel.edges)
        with uproot.open(tmp_path / "histograms.root") as file:
            found = {key.removesuffix(";1") for key in file.keys(filter_classname="TH1*", recursive=True)}
            assert found == set(expected)
            assert "low/dy_jesUp" in found
            assert "high/higgs_jesUp" not in found
            for name, (values, variances, edges) in expected.items():
                histogram = file[name]
                np.testing.assert_array_equal(histogram.values(flow=True), [0.0, *values, 0.0])
                np.testing.assert_array_equal(histogram.variances(), variances)
                np.testing.assert_array_equal(histogram.axis().edges(), edges)

    def test_blinded_the_observation_is_the_background(self, tmp_path: Path) -> None:
        write_templates(tmp_path / "histograms.root", make_fit())
        with uproot.open(tmp_path / "histograms.root") as file:
            np.testing.assert_array_equal(file["low/data_obs"].values(), [430.0, 220.0, 60.0])
            np.testing.assert_array_equal(file["high/data_obs"].values(), [12.0])


@pytest.mark.filterwarnings("ignore:jsonschema:DeprecationWarning")
class TestCabinetry:
    @pytest.mark.parametrize("options", [{}, {"data": True}])
    @pytest.mark.parametrize("simulation_uncertainty", [True, False])
    def test_it_builds_our_workspace_of_the_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool], simulation_uncertainty: bool
    ) -> None:
        cabinetry = pytest.importorskip("cabinetry")
        fit, settings = make_fit(**options), ExportSettings(simulation_uncertainty=simulation_uncertainty)
        write_fit_inputs(tmp_path, fit, settings)
        monkeypatch.chdir(tmp_path)
        configuration = cabinetry.configuration.load("cabinetry.yml")
        cabinetry.templates.collect(configuration)
        cabinetry.templates.postprocess(configuration)
        theirs = cabinetry.workspace.build(configuration)
        ours = _as_cabinetry_would(build_workspace(fit, settings), sigma=0.017)
        found, expected = _flat(theirs), _flat(ours)
        assert set(found) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-9, err_msg=key)

    def test_samples_are_listed_in_the_channels_that_have_them(self) -> None:
        configuration = cabinetry_configuration(make_fit(), ExportSettings(), "histograms.root")
        regions = {sample["Name"]: sample.get("Regions") for sample in configuration["Samples"]}
        assert regions == {"data_obs": None, "higgs": ["low", "high"], "dy": ["low", "high"], "top": ["low"]}
        systematics = {each["Name"]: each for each in configuration["Systematics"]}
        assert systematics["jes_higgs"]["Regions"] == ["low"]
        assert systematics["jes_higgs"]["ModifierName"] == systematics["jes_dy"]["ModifierName"] == "jes"
        assert systematics["dy_rate_dy"]["Up"]["Normalization"] == pytest.approx(0.1)
        assert systematics["dy_rate_dy"]["Down"]["Normalization"] == pytest.approx(-0.08)


def _as_cabinetry_would(workspace: dict[str, Any], sigma: float) -> dict[str, Any]:
    """What cabinetry has no words for: the luminosity is a normalisation, and the simulation of signals is exact."""
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            kept = [each for each in sample["modifiers"] if not each["name"].startswith("signal_staterror")]
            for modifier in kept:
                if modifier["type"] == "lumi":
                    modifier |= {"type": "normsys", "name": "luminosity", "data": {"hi": 1 + sigma, "lo": 1 - sigma}}
            sample["modifiers"] = kept
    config = workspace["measurements"][0]["config"]
    config["parameters"] = [each for each in config["parameters"] if each["name"] != "lumi"]
    return workspace


def _flat(workspace: dict[str, Any]) -> dict[str, Any]:
    """Every number of a workspace by its place, whatever the order of samples and modifiers."""
    flat: dict[str, Any] = {}
    for channel in workspace["channels"]:
        for sample in channel["samples"]:
            flat[f"{channel['name']}/{sample['name']}"] = sample["data"]
            for modifier in sample["modifiers"]:
                place = f"{channel['name']}/{sample['name']}/{modifier['type']}/{modifier['name']}"
                data = modifier["data"]
                for key, value in data.items() if isinstance(data, dict) else [("", data)]:
                    flat[f"{place}/{key}"] = [] if value is None else value
    for observation in workspace["observations"]:
        flat[f"observed/{observation['name']}"] = observation["data"]
    (measurement,) = workspace["measurements"]
    flat[f"poi/{measurement['config']['poi']}"] = []
    for parameter in measurement["config"]["parameters"]:
        flat[f"parameter/{parameter['name']}"] = [*parameter["inits"], *parameter["bounds"][0]]
    return flat


def test_all_files_of_a_fit(tmp_path: Path) -> None:
    written = write_fit_inputs(tmp_path / "export", make_fit(), ExportSettings())
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "cabinetry.yml",
        "datacard_counting.txt",
        "datacard_shapes.txt",
        "fit.json",
        "histograms.root",
        "workspace.json",
    ]
    metadata = json.loads((tmp_path / "export" / "fit.json").read_text())
    assert metadata == written
    assert metadata["observation"] == "Asimov data of the background"
    assert metadata["blinded"] is True
    assert metadata["notes"] == ["a note"]
    assert metadata["luminosity_parameter"] == {"variation": "luminosity", "relative": pytest.approx(0.017)}
    assert metadata["channels"]["low"]["yields"] == {"higgs": 10.0, "dy": 650.0, "top": 60.0}
    assert list(metadata["processes"]) == list(PROCESSES)
    configuration = yaml.safe_load((tmp_path / "export" / "cabinetry.yml").read_text())
    assert configuration["General"]["InputPath"] == "histograms.root:{RegionPath}/{SamplePath}{VariationPath}"


def test_data_are_named_as_such(tmp_path: Path) -> None:
    metadata = write_fit_inputs(tmp_path, make_fit(data=True), ExportSettings())
    assert (metadata["observation"], metadata["blinded"]) == ("data", False)
    assert metadata["channels"]["high"]["observed"] == 21.0


@pytest.mark.parametrize("observable", [None, "score", "dimuon_mass"])
def test_signed_events_of_a_working_point(
    tmp_path: Path, table: EventTable, evaluations: list[ClassifierEvaluation], observable: str | None
) -> None:
    point, settings = evaluations[0].working_point, ExportSettings(observable=observable, binning=6)
    score = 1 / (1 + np.exp(-table.feature("logit").astype(np.float64)))
    fit = build_templates(score, table, settings, thresholds=point.thresholds)
    metadata = write_fit_inputs(tmp_path, fit, settings)
    assert metadata["channels"]["signal_region"]["yields"] == {
        name: pytest.approx(passed.value, rel=1e-9) for name, passed in point.yields.items()
    }
    with uproot.open(tmp_path / "histograms.root") as file:
        for name, passed in point.yields.items():
            assert file[f"signal_region/{name}"].values().sum() == pytest.approx(passed.value, rel=1e-9)
