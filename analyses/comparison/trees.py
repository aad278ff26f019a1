"""Boosted trees of the package on the same events, folds and weights as the networks."""

from analyses.compare import TREES
from analyses.comparison.networks import predictor
from analyses.comparison.units import Predict, Unit
from zsig_hep.learning import BCELossSettings, BoostedTrees, LossSettings, TrainingSettings
from zsig_hep.learning.training.boosting import BoostedTreesTraining
from zsig_hep.learning.training.members import Member

DEPTHS = (3, 4, 6)

LOSSES = ("bce", "z_sigmoid", "effective_weights")
"""Losses that trees are grown with."""


def choose_depth(unit: Unit) -> int:
    """The depth with the smallest validation loss of the first seed."""
    first = unit.members[: len(unit.members) // len(unit.seeds)]
    losses = {
        depth: _grown(unit, first, depth, BCELossSettings()).history.validation_loss.min(axis=0).mean()
        for depth in DEPTHS
    }
    return min(losses, key=lambda depth: losses[depth])


def grow_ensemble(unit: Unit, depth: int, loss: LossSettings) -> Predict:
    """One forest per member; losses in rounds, and the Z loss, keep the best validated round of each fold.

    Args:
        unit: events and members, each of a fold of its own.
        depth: of the trees.
        loss: of the forests.
    """
    return predictor(_grown(unit, unit.members, depth, loss))


def _grown(unit: Unit, members: tuple[Member, ...], depth: int, loss: LossSettings) -> BoostedTrees:
    settings = TrainingSettings(trees=TREES.model_copy(update={"depth": depth}), device="cpu")
    return BoostedTreesTraining(unit.sample, settings, loss, members, unit.goal).run()
