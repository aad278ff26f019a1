from pathlib import Path

import hist
import numpy as np
import pytest
import uproot

from tests.fits.channels import make_fit
from zsig_hep.errors import OutputError
from zsig_hep.fits import write_histograms, write_templates


def histogram_of(process: str, values: list[float], weight: list[float]) -> hist.Hist:
    found = hist.Hist(
        hist.axis.StrCategory([process, "empty"], name="process"),
        hist.axis.Variable([0.0, 0.5, 2.0], name="x"),
        storage=hist.storage.Weight(),
    )
    found.fill(process, values, weight=weight)
    return found


def test_round_trip_keeps_contents_variances_flow_and_edges(tmp_path: Path) -> None:
    path = tmp_path / "out" / "histograms.root"
    rng = np.random.default_rng(0)
    histograms = {
        "narrow": histogram_of("dy", [-1.0, 0.2, 0.3, 5.0], [1.0, -0.5, 2.0, 3.0]),
        "score_zloss": histogram_of("higgs", rng.normal(0.5, 1, 500), rng.normal(1, 1, 500)),
    }
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


def test_names_that_root_reads_otherwise_are_replaced_and_stay_as_titles(tmp_path: Path) -> None:
    names = ["ZZ", "ZZ*", "a/b;1", "[x]"]
    histogram = hist.Hist(
        hist.axis.StrCategory(names, name="process"),
        hist.axis.Regular(2, 0, 1, name="x"),
        storage=hist.storage.Weight(),
    )
    for weight, name in enumerate(names):
        histogram.fill(name, [0.2], weight=weight)
    write_histograms(tmp_path / "a.root", {"score": histogram})
    with uproot.open(tmp_path / "a.root") as file:
        written = {"ZZ": "ZZ", "ZZ_": "ZZ*", "a_b_1": "a/b;1", "_x_": "[x]"}
        assert file["score"].keys(cycle=False, recursive=True) == list(written)
        for weight, (identifier, name) in enumerate(written.items()):
            assert (file["score"][identifier].title, file["score"][identifier].values()[0]) == (name, weight)


def test_storage_that_loses_variances_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    axes = hist.axis.StrCategory(["dy"], name="process"), hist.axis.Regular(2, 0, 1, name="x")
    with pytest.raises(OutputError, match="'score' has Int64 storage"):
        write_histograms(tmp_path / "a.root", {"score": hist.Hist(*axes, storage=hist.storage.Int64())})
    assert list(tmp_path.iterdir()) == []


def test_histogram_without_processes_is_refused(tmp_path: Path) -> None:
    histogram = hist.Hist(hist.axis.Regular(2, 0, 1, name="x"), storage=hist.storage.Weight())
    with pytest.raises(OutputError, match=r"'score' has axes \['x'\]"):
        write_histograms(tmp_path / "a.root", {"score": histogram})
    axes = hist.axis.StrCategory(["dy"], name="dataset"), hist.axis.Regular(2, 0, 1, name="x")
    with pytest.raises(OutputError, match=r"'score' has axes \['dataset', 'x'\]"):
        write_histograms(tmp_path / "a.root", {"score": hist.Hist(*axes, storage=hist.storage.Weight())})


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_histograms(tmp_path / "taken" / "a.root", {"score": histogram_of("dy", [0.2], [1.0])})
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
            assert file["low/dy"].title == fit.labels[1]
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
