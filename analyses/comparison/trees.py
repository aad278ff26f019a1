"""Boosted trees of the package on the same events, folds and weights as the networks."""

import itertools

from analyses.comparison.networks import predictor
from analyses.comparison.units import Predict, Unit
from zsig_hep.learning import BCELossSettings, BoostedTrees, LossSettings, TrainingSettings
from zsig_hep.learning.training.boosting import BoostedTreesTraining
from zsig_hep.learning.training.members import Member
from zsig_hep.learning.training.settings import TreeSettings

GRID = {"depth": (3, 4, 5, 6), "minimum_child_weight": (1.0, 5.0, 20.0)}
"""What is searched over; the rest as by default."""

LOSSES = ("bce", "z_sigmoid", "effective_weights")
"""Losses that trees are grown with."""


def choose_trees(unit: Unit) -> TreeSettings:
    """The settings with the smallest validation loss of the first seed, mean over folds."""
    first = unit.members[: len(unit.members) // len(unit.seeds)]
    tried = [TreeSettings(**dict(zip(GRID, values, strict=True))) for values in itertools.product(*GRID.values())]

    def validation_loss(trees: TreeSettings) -> float:
        return float(_grown(unit, first, trees, BCELossSettings()).history.validation_loss.min(axis=0).mean())

    return min(tried, key=validation_loss)


def grow_ensemble(unit: Unit, trees: TreeSettings, loss: LossSettings) -> Predict:
    """One forest per member; losses in rounds, and the Z loss, keep the best validated round of each fold.

    Args:
        unit: events and members, each of a fold of its own.
        trees: settings of the forests.
        loss: of the forests.
    """
    return predictor(_grown(unit, unit.members, trees, loss))


def _grown(unit: Unit, members: tuple[Member, ...], trees: TreeSettings, loss: LossSettings) -> BoostedTrees:
    settings = TrainingSettings(trees=trees, device="cpu")
    return BoostedTreesTraining(unit.sample, settings, loss, members, unit.goal).run()
