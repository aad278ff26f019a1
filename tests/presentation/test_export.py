from pathlib import Path

import hist
import numpy as np
import pytest
import uproot

from zsig_hep.errors import OutputError
from zsig_hep.presentation import write_histograms
from zsig_hep.selection.evaluation import ClassifierEvaluation


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
