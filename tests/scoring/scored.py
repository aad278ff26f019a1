"""A finished search with its exported model, for tests of processors and friends."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from zsig_hep.ntuples import EventTable, load_columns
from zsig_hep.ntuples.chunk import ChunkReader

FILES = {"h": ("higgs", "signal.root"), "dy": ("dy", "dy.root"), "tt": ("top", "top.root")}
IDENTITY = ("run", "luminosityBlock", "event")
EDGES = np.sqrt(np.linspace(0, 1, 41))


@dataclass(frozen=True)
class Search:
    """A finished search: its ntuples, its model for both backends, and its table with out-of-fold scores."""

    folder: Path
    onnx: Any
    torch: Any
    table: EventTable
    scores: np.ndarray

    @property
    def reader(self):
        return ChunkReader(load_columns("columns.py:columns", self.folder), dict.fromkeys(FILES, "genWeight"), IDENTITY)

    @property
    def fileset(self):
        return {
            name: {"files": {str(self.folder / file): "Events"}, "metadata": {"process": process}}
            for name, (process, file) in FILES.items()
        }

    def histogram_of(self, process, weight=None):
        chosen = self.table.process == self.table.process_names.index(process)
        weight = self.table.weight if weight is None else weight
        edges = np.append(EDGES[:-1], 1.0000001)
        values, _ = np.histogram(self.scores[chosen], edges, weights=weight[chosen])
        variances, _ = np.histogram(self.scores[chosen], edges, weights=weight[chosen] ** 2)
        return values, variances


def make_search(small_search, finished_output, folder):
    from zsig_hep.learning import load_classifier
    from zsig_hep.scoring.metadata import model_metadata
    from zsig_hep.scoring.onnx_export import export_onnx
    from zsig_hep.scoring.onnx_scorer import OnnxScorer
    from zsig_hep.scoring.torch_scorer import TorchScorer

    selection = json.loads((finished_output / "selection" / "selection.json").read_text())["classifiers"][0]
    model = finished_output / "training" / selection["name"]
    classifier = load_classifier(model)
    thresholds = [0.3, 0.35, 0.4]
    metadata = model_metadata(
        classifier, fold_seed=0, event_identity=IDENTITY, datasets=tuple(FILES), thresholds=thresholds
    )
    path = folder / "model.onnx"
    export_onnx(classifier, path, metadata)
    scores = pq.read_table(finished_output / "selection" / "scores.parquet")
    return Search(
        small_search.folder,
        OnnxScorer(path),
        TorchScorer(model, metadata),
        EventTable.from_parquet(finished_output / "columns" / "events.parquet"),
        scores[f"score_{selection['name']}"].to_numpy(),
    )


class Described:
    """A scorer with other metadata."""

    def __init__(self, scorer, **changes):
        self.feature_names, self.fold_count = scorer.feature_names, scorer.fold_count
        self.metadata = replace(scorer.metadata, **changes)
