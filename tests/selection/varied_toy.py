"""A toy search with one variation of each kind."""

from dataclasses import replace

import numpy as np

from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.variations import (
    LuminosityVariation,
    NormalisationVariation,
    ShapeVariation,
    WeightVariation,
)
from zsig_hep.selection import ScoredEvents, varied_events

NAMES, ROLES = ("hmumu", "dy", "top"), ("signal", "background", "background")
VARIATIONS = {
    "lumi": LuminosityVariation(kind="luminosity", relative=0.02, processes=list(NAMES)),
    "xs": NormalisationVariation(kind="normalisation", up=1.2, down=0.9, processes=["top"]),
    "tilt": WeightVariation(kind="weight", function="a.py:f", processes=["dy", "top"]),
    "jes": ShapeVariation(kind="shape", processes=list(NAMES)),
    "half": ShapeVariation(kind="shape", processes=["dy"], one_sided=True),
}


def make_table(events=6000, shift=0.0, seed=3):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size=events)
    score = 1 / (1 + np.exp(-rng.normal(np.array([1.0, -1.0, -0.3])[process]) - shift))
    return EventTable(
        features=score.astype(np.float32).reshape(-1, 1),
        feature_names=("score",),
        weight=np.array([0.03, 0.5, 0.2])[process],
        process=process.astype(np.int32),
        process_names=NAMES,
        roles=ROLES,
        labels=NAMES,
        fold=rng.integers(0, 4, size=events).astype(np.int16),
        fold_count=4,
        identity=np.arange(events, dtype=np.uint64),
        luminosity_ifb=100.0,
        weight_variations={},
    )


def score_of(table):
    return table.feature("score").astype(np.float64)


def with_variations(table, variations, **shapes):
    """The events of a table, whose feature is the score, under variations."""
    scores = {name: score_of(each) for name, each in shapes.items()}
    return ScoredEvents.of_table(
        table, score_of(table), varied_events(table, variations, score_of(table), shapes, scores)
    )


def every_kind():
    """A table, and the tables under its shape variations."""
    table = make_table()
    tilt = 1 + 0.2 * (score_of(table) - 0.5)
    table = replace(table, weight_variations={"tilt": np.stack([table.weight * tilt, table.weight / tilt])})
    up, down = make_table(shift=0.1), make_table(shift=-0.1)
    return table, {"jesUp": up, "jesDown": down, "halfUp": up.select(up.process == 1)}


def varied_toy():
    table, shapes = every_kind()
    return with_variations(table, VARIATIONS, **shapes)
