"""Which data may be looked at: above the cut none, until the analysis is unblinded on purpose."""

from collections.abc import Iterable

import numpy as np

from zsig_hep.selection.events import Booleans, Floats, Integers
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection


def hidden_data(
    is_data: Booleans, fold: Integers, selections: Iterable[tuple[Floats, HeldOutWorkingPoint]], *, unblind: bool
) -> Booleans:
    """Events of data that no result may show.

    Data at or above the cut of their fold are hidden; where a fold has no cut, nothing says where a signal would be, and all
    of its data are.

    Args:
        is_data: shape [N].
        fold: shape [N].
        selections: scores, shape [N], and cuts of every classifier; data that any of them selects are hidden.
        unblind: hide nothing.

    Returns:
        Shape [N].

    Example:
        >>> point = HeldOutWorkingPoint(status="ok", thresholds=(0.5, 0.7))
        >>> data, fold = np.array([True, True, False]), np.array([0, 1, 0])
        >>> hidden_data(data, fold, [(np.array([0.6, 0.6, 0.6]), point)], unblind=False)
        array([ True, False, False])
    """
    hidden = np.zeros(is_data.shape, dtype=np.bool_)
    if unblind:
        return hidden
    for score, point in selections:
        cuts = [-np.inf if cut is None else cut for cut in point.thresholds]
        hidden |= is_data & held_out_selection(score, fold, cuts)
    return hidden
