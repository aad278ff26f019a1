"""A check of folds that the user gives, which a hash of the event identity would fill evenly."""

import logging

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.selection.events import ScoredEvents

_LOG = logging.getLogger(__name__)

LARGEST_IMBALANCE = 2.0
"""Ratio of the share of a fold to an equal share, or its inverse, above which there is a warning."""


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
