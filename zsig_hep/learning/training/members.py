"""The members of the ensemble: the events of their training and of their early stopping."""

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
        fold: test fold, whose events are not used in the training of the member.
        seed: seed of its initial parameters and of its batches.
        training: indices of its training events.
        validation: indices of the events for early stopping.
    """

    fold: int
    seed: int
    training: IndexArray
    validation: IndexArray


def make_members(fold: npt.NDArray[np.integer], fold_count: int, seeds: Sequence[int]) -> tuple[Member, ...]:
    """Make one member for each fold and seed.

    The member of fold k is tested on fold k, stopped on fold k + 1 and trained on all others, so that no event is
    scored by a network that used it, in training or for stopping.

    Args:
        fold: fold of each event, shape (N,).
        fold_count: number of folds, at least 3.
        seeds: seeds of the members of each fold.

    Returns:
        Members, sorted by fold, then in the order of the seeds.

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
        # The seed depends on the fold, so that members of different folds have different initial parameters.
        members += [Member(test, seed * fold_count + test, training, validation) for seed in seeds]
    return tuple(members)


def require_both_classes(members: Sequence[Member], is_signal: npt.NDArray[np.bool_]) -> None:
    """Refuse members whose validation fold has no signal or no background.

    Raises:
        TrainingError: names the fold.
    """
    for member in members:
        stopping = is_signal[member.validation]
        if stopping.all() or not stopping.any():
            absent = "background" if stopping.any() else "signal"
            message = (
                f"The fold that stops the networks of fold {member.fold} has no {absent} event; use fewer folds "
                "(`ntuples: {folds: N}`, at least 3) or more events."
            )
            raise TrainingError(message)
