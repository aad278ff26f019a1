"""Which data may be looked at: above the cut none, until the analysis is unblinded on purpose."""

from collections.abc import Sequence

import numpy as np

from zsig_hep.selection.events import Booleans, ScoredEvents
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection


def hidden_data(selections: Sequence[tuple[ScoredEvents, HeldOutWorkingPoint]]) -> Booleans:
    """Events of data that no result of a blinded analysis may show.

    Data at or above the cut of their fold are hidden; where a fold has no cut, nothing says where a signal would be, and all
    of its data are.

    Args:
        selections: the same events as each classifier scores them, with its cuts; data that any of them selects are hidden.

    Returns:
        Shape [N].

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
