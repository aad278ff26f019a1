"""Boosted trees on the same events, folds and weights as the networks."""

import numpy as np
import xgboost

from analyses.compare import grow_trees, tree_margins
from analyses.comparison.units import Floats, Logits, Predict, Unit
from zsig_hep.learning import EffectiveWeightsLossSettings
from zsig_hep.learning.training.rounds import effective_weights, judge_folds

DEPTHS = (3, 4, 6)

TREES = {"bce": 0, "effective_weights": EffectiveWeightsLossSettings().rounds}
"""Rounds of effective weights by name of the loss."""


def choose_depth(unit: Unit) -> int:
    """The depth with the smallest validation loss of the first seed."""
    first = unit.members[: len(unit.members) // len(unit.seeds)]
    losses = {
        depth: np.mean(
            [
                grow_trees(unit.sample, member, unit.sample.weights, depth=depth, threads=1).best_score
                for member in first
            ]
        )
        for depth in DEPTHS
    }
    return min(losses, key=lambda depth: losses[depth])


def grow_ensemble(unit: Unit, depth: int, rounds: int = 0) -> Predict:
    """One set of trees per member, and again with effective weights; the best validated round of each fold counts.

    The weights are those of `zsig_hep.learning.training.rounds`.  Trees do not start warm: every round grows them anew.

    Args:
        unit: events and members, each of a fold of its own.
        depth: of the trees.
        rounds: of effective weights after the first ensemble.
    """
    recipe = EffectiveWeightsLossSettings()
    factors: Floats = np.ones((len(unit.members), len(unit.sample.yields)))
    kept: list[xgboost.Booster] = []
    kept_figures = np.full(len(unit.members), -np.inf)
    for number in range(rounds + 1):
        grown = [
            grow_trees(unit.sample, member, unit.sample.weights * row[unit.sample.process], depth=depth, threads=1)
            for member, row in zip(unit.members, factors, strict=True)
        ]
        kept = kept or grown
        if rounds == 0 or unit.goal.judge is None:
            break
        outputs = [
            tree_margins(trees, unit.sample.features[member.validation])
            for trees, member in zip(grown, unit.members, strict=True)
        ]
        judgements = judge_folds(outputs, unit.members, unit.sample, unit.goal.judge)
        for index, judgement in enumerate(judgements):
            if number == 0 or judgement.figure > kept_figures[index]:
                kept[index], kept_figures[index] = grown[index], np.nan_to_num(judgement.figure, nan=-np.inf)
        factors = np.stack(
            [
                effective_weights(judgement, row, unit.sample.yields, unit.sample.processes.is_signal, recipe.damping)
                for judgement, row in zip(judgements, factors, strict=True)
            ]
        )

    def predict(features: np.ndarray) -> Logits:
        return np.stack([tree_margins(trees, features) for trees in kept])

    return predict
