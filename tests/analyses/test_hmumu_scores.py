"""Scores of the dimuon samples: those of friends and processors are those of the training, event by event."""

import hist
import numpy as np
import pytest
import uproot
from coffea.nanoevents import BaseSchema
from coffea.processor import IterativeExecutor, Runner

from tests.analyses.conftest import ROOT
from zsig_hep.analysis import Analysis
from zsig_hep.learning import train
from zsig_hep.ntuples import chunk_reader, resolve_datasets, run_columns
from zsig_hep.scoring import (
    OnnxScorer,
    ScoreProcessor,
    TorchScorer,
    apply_model,
    datasets_by_path,
    export_onnx,
    model_metadata,
)

pytest.importorskip("onnxruntime")

PROCESSES = ("vbf", "ttbar")
EDGES = np.sqrt(np.linspace(0, 1.0000001, 201))


class Trained:
    """A quick training on two processes, its out-of-fold scores, and both of its scorers."""

    def __init__(self, folder):
        analysis = Analysis.from_file(ROOT / "analyses" / "hmumu")
        processes = {name: analysis.processes[name] for name in PROCESSES}
        ntuples = analysis.ntuples
        self.table = run_columns(
            ntuples,
            processes,
            base_folder=analysis.folder,
            luminosity_ifb=analysis.luminosity_ifb,
            output_folder=folder,
        ).table
        phase = {"epochs": 2, "batch_size": 4096, "learning_rate": 0.01}
        settings = {"hidden": [16, 16], "seeds": 2, "device": "cpu", "warm_start": phase, "main": phase}
        settings |= {"missing": analysis.training.missing}
        classifier = train(self.table, analysis.training.model_validate(settings))
        self.scores = classifier.out_of_fold_scores(self.table.features, self.table.fold)
        self.datasets = resolve_datasets(ntuples, processes, analysis.folder)
        metadata = model_metadata(
            classifier,
            fold_seed=ntuples.fold_seed,
            event_identity=ntuples.event_identity,
            datasets=[each.name for each in self.datasets],
        )
        classifier.save(folder)
        export_onnx(classifier, folder / "model.onnx", metadata)
        self.scorers = {"onnx": OnnxScorer(folder / "model.onnx"), "torch": TorchScorer(folder, metadata)}
        self.reader = chunk_reader(ntuples, processes, base_folder=analysis.folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return Trained(tmp_path_factory.mktemp("hmumu"))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_friends_hold_the_scores_of_the_training(trained, tmp_path, backend):
    files = [file for each in trained.datasets for file in each.files]
    known = datasets_by_path({each.name: each.files for each in trained.datasets})
    results = apply_model(files, trained.reader, trained.scorers[backend], tmp_path, dataset=known, chunk_size=7000)
    friends = [uproot.open(result.path)["zsig"].arrays(library="np") for result in results]
    score, selected = (np.concatenate([friend[name] for friend in friends]) for name in ("zsig_score", "zsig_selected"))
    assert 0 < selected.sum() == len(trained.table) < len(selected)
    assert np.abs(score[selected] - trained.scores).max() < 1e-6
    assert all(result.out_of_fold for result in results)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_the_processor_fills_the_scores_of_the_training(trained, backend):
    axis = hist.axis.Variable(EDGES, name="score")
    processor = ScoreProcessor(trained.reader, trained.scorers[backend], score_axis=axis)
    fileset = {
        each.name: {"files": {file.path: file.tree for file in each.files}, "metadata": {"process": each.process}}
        for each in trained.datasets
    }
    executor = IterativeExecutor(status=False, retries=0)
    runner = Runner(executor=executor, schema=BaseSchema, chunksize=10_000, metadata_cache={})
    histogram = runner(fileset, processor)["histogram"]
    for index, process in enumerate(PROCESSES):
        chosen = trained.table.process == index
        values, _ = np.histogram(trained.scores[chosen], EDGES, weights=trained.table.weight[chosen])
        filled = histogram[process, "nominal", :].values()
        assert filled / filled.sum() == pytest.approx(values / values.sum(), rel=1e-6, abs=1e-9)
