"""Blinding: data above the cut are hidden unless the analysis is unblinded."""

from collections.abc import Sequence

import numpy as np

from zsig_hep.selection.events import Booleans, ScoredEvents
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection


def hidden_data(selections: Sequence[tuple[ScoredEvents, HeldOutWorkingPoint]]) -> Booleans:
    """Data that no result of a blinded analysis may show.

    Data at or above the cut of their fold are hidden. If a fold has no cut, all of its data are hidden, since the
    signal region is not defined.

    Args:
        selections: for each classifier the same N events with its scores, and its cuts; data that any classifier
            selects are hidden.

    Returns:
        True for hidden events, shape [N].

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.6, 0.6, 0.6], [1.0, 1.0, 1.0], [0, 0, 1], names=["data", "dy"], roles=["data", "background"],
        ...     fold=[0, 1, 0])
        >>> hidden_data([(events, HeldOutWorkingPoint(status="ok", thresholds=(0.5, 0.7)))])
        array([ True, False, False])
    """
    hidden = np.zeros(len(selections[0][0]), dtype=np.bool_)
    for events, point in selections:
        cuts = [-np.inf if cut is None else cut for cut in point.thresholds]
        hidden |= events.is_data & held_out_selection(events, cuts)
    return hidden
