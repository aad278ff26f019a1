"""Partitions of the events into folds, and a check of folds that the user gives.

A cut is chosen for each fold on the other folds. It depends on which events share a fold, so that the choice can be
repeated over several partitions. Partition 0 has the folds of the training; the others are made by a hash of the event
identity with a salt of their own. Scores are out of fold in every partition: they come from the folds of the training.
"""

import logging
from dataclasses import replace

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.ntuples.identity import assign_folds
from zsig_hep.selection.events import Floats, Identities, Integers, ScoredEvents, VariationPair, VariedEvents

_LOG = logging.getLogger(__name__)

# Larger than any seed that somebody would give to the folds of a training, so that no partition repeats those.
_SALT = 0x5E1EC710_00000000

LARGEST_IMBALANCE = 2.0
"""Ratio of the share of a fold to an equal share, or its inverse, above which there is a warning."""


def in_partition(events: ScoredEvents, number: int) -> ScoredEvents:
    """The same events, nominal and varied, with the folds of another partition, and the scores where it has its own.

    Args:
        events: events with identities.
        number: number of the partition; 0 is that of the training and leaves the events unchanged.

    Raises:
        InputError: the events or the events of a variation have no identity, or no scores in this partition where they
            have scores in others.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     np.zeros(8), np.ones(8), np.arange(8) % 2, names=["hmumu", "dy"], roles=["signal", "background"],
        ...     fold_count=2)
        >>> [in_partition(events, number).fold.tolist() for number in (0, 1)]
        [[0, 1, 0, 1, 0, 1, 0, 1], [1, 0, 0, 0, 0, 1, 0, 0]]
    """
    if number == 0:
        return events

    def folds(identity: Identities | None, what: str) -> Integers:
        if identity is None:
            message = (
                f"{what} have no identity, which divides events into the folds of several partitions: give `identity`, "
                "or set partitions to 1."
            )
            raise InputError(message)
        return assign_folds(identity, events.fold_count, _SALT + number).astype(np.int64)

    def varied(one: VariedEvents) -> VariedEvents:
        fold = folds(one.identity, f"The events of variation '{one.name}' {one.direction}")
        return replace(one, fold=fold, score=_scores(one, number), partition_scores=None)

    def all_varied(alternatives: VariationPair) -> VariationPair:
        if alternatives[0].combine is None:
            return tuple(map(varied, alternatives))
        first = varied(alternatives[0])
        return tuple(replace(each, fold=first.fold, score=first.score, partition_scores=None) for each in alternatives)

    return replace(
        events,
        fold=folds(events.identity, "The scored events"),
        score=_scores(events, number),
        partition_scores=None,
        variations=tuple(map(all_varied, events.variations)),
        folds_are_given=False,
    )


def _scores(events: ScoredEvents | VariedEvents, number: int) -> Floats:
    known = events.partition_scores
    if known is None:
        return events.score
    if number >= len(known):
        message = (
            f"The scores are chosen fold by fold in {len(known)} partitions; partition {number} has none. Choose them with "
            "as many `partitions` as the cut."
        )
        raise InputError(message)
    return np.asarray(known[number])


def check_given_folds(events: ScoredEvents) -> None:
    """Refuse folds without signal or background, and warn of folds far from an equal share of either yield.

    A cut is chosen on the other folds as if each were a random part of all events; in consecutive blocks of sorted
    events it is not. Folds that were not given are made by a hash, and are unequal by chance only.

    Args:
        events: simulated events.

    Raises:
        InputError: a fold has no signal or no background event; names every such fold.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     np.zeros(4), np.ones(4), [0, 0, 1, 1], names=["hmumu", "dy"], roles=["signal", "background"],
        ...     fold=[0, 0, 1, 1], fold_count=2)
        >>> check_given_folds(events)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        zsig_hep.errors.InputError: Fold 0 has no background event, but 2 signal events; Fold 1 has no signal event, ...
    """
    if not events.folds_are_given:
        return
    folds = range(events.fold_count)
    chosen = {
        "signal": events.processes.is_signal[events.process],
        "background": events.processes.is_background[events.process],
    }
    entries = {role: np.bincount(events.fold[mask], minlength=len(folds)) for role, mask in chosen.items()}
    if problems := [problem for fold in folds if (problem := _absent(fold, entries))]:
        message = (
            f"{'; '.join(problems)}. Shuffle the events before they are split, keep the classes in equal shares, or leave "
            "`fold` out."
        )
        raise InputError(message)
    for role, mask in chosen.items():
        yields = np.bincount(events.fold[mask], weights=events.weight[mask], minlength=len(folds))
        if not yields.sum() > 0:
            continue
        share = yields / yields.sum()
        uneven = (share * len(folds) > LARGEST_IMBALANCE) | (share * len(folds) * LARGEST_IMBALANCE < 1)
        for fold in np.flatnonzero(uneven).tolist():
            _LOG.warning(
                "Fold %d has %.0f %% of the %s yield, and %.0f %% would be an equal share: cuts are chosen as if all folds "
                "were random parts of the same events",
                fold,
                100 * share[fold],
                role,
                100 / len(folds),
            )


def _absent(fold: int, entries: dict[str, np.ndarray]) -> str:
    signal, background = (int(entries[role][fold]) for role in ("signal", "background"))
    if signal == background == 0:
        filled = int(((entries["signal"] + entries["background"]) > 0).sum())
        return (
            f"Fold {fold} has no signal and no background event: {filled} of {len(entries['signal'])} folds are filled"
        )
    if signal == 0:
        return f"Fold {fold} has no signal event, but {background} background events"
    return f"Fold {fold} has no background event, but {signal} signal events" if background == 0 else ""
