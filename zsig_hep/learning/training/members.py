"""Which events each member of the ensemble trains on, stops on and is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import TrainingError

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """One network of the ensemble.

    Attributes:
        fold: the fold it is tested on and never sees.
        seed: seed of its parameters and of its batches.
        training: indices of its training events.
        validation: indices of the events that decide when it stops.
    """

    fold: int
    seed: int
    training: IndexArray
    validation: IndexArray


def make_members(fold: npt.NDArray[np.integer], fold_count: int, seeds: Sequence[int]) -> tuple[Member, ...]:
    """Lay out the ensemble: one member per fold and seed.

    The member of fold k is tested on fold k, stops on fold k + 1 and trains on the rest, so no event is scored by a
    network that saw it, neither for training nor for stopping.

    Args:
        fold: fold of each event that may be trained on, shape (N,).
        fold_count: number of folds, at least 3.
        seeds: one seed per repetition.

    Returns:
        Members, fold by fold and within a fold seed by seed.

    Raises:
        TrainingError: with fewer than three folds.
    """
    if fold_count < 3:
        message = f"Training, stopping and testing need three folds at least, found {fold_count}."
        raise TrainingError(message)
    members = []
    for test in range(fold_count):
        stop = (test + 1) % fold_count
        training = np.flatnonzero((fold != test) & (fold != stop))
        validation = np.flatnonzero(fold == stop)
        # The fold enters the seed so that members of different folds do not start from the same parameters.
        members += [Member(test, seed * fold_count + test, training, validation) for seed in seeds]
    return tuple(members)


def require_both_classes(members: Sequence[Member], is_signal: npt.NDArray[np.bool_]) -> None:
    """Refuse members whose stopping fold lacks signal or background.

    Raises:
        TrainingError: naming the fold.
    """
    for member in members:
        stopping = is_signal[member.validation]
        if stopping.all() or not stopping.any():
            absent = "background" if stopping.any() else "signal"
            message = (
                f"The fold that stops the networks of fold {member.fold} holds no {absent} event; use fewer folds "
                "(`ntuples: {folds: N}`, at least 3) or more events."
            )
            raise TrainingError(message)
