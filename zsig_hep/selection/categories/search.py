"""The best division of a score into categories: exact dynamic programming over candidate edges.

Categories are disjoint, so their significances add in quadrature, and the highest sum of squares of c categories whose
lowest edge is i follows from that of c - 1 categories (R. Bellman, Dynamic Programming, 1957):

    V_c(i) = max_{j > i} [ Z^2(i, j) + V_{c-1}(j) ],    V_0(E) = 0,    V_0(j < E) = -infinity              (1)

for E candidate edges, where j = E means no upper edge. There are E (E + 1) / 2 intervals, most of which need not be
evaluated: the largest signal, the smallest backgrounds and the smallest uncertainty in a tile of neighbouring intervals give
an upper bound of its Z^2 (`Intervals.squared_bound`). A tile whose bound is below a sum that is already known for every c
cannot hold an optimum.
"""

from dataclasses import dataclass

import numpy as np

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.categories.intervals import Intervals, best_allowed
from zsig_hep.selection.events import Booleans, Floats, Integers

# Lower and upper edges of a tile; the width divides the number of rows.
_ROWS, _WIDTH = 32, 8

# Number of intervals evaluated at a time, with which the temporaries of the figure of merit fit the cache of one core.
_BLOCK = 16_384


@dataclass(frozen=True, eq=False, repr=False)
class Partitions(ShortRepr):
    """The best division into each number of categories.

    Attributes:
        squares: V_c(i) of equation 1, shape [count + 1, E + 1]; -infinity where c categories cannot be formed.
        following: the j of the maximum in equation 1, shape [count + 1, E].
        is_lowest: whether an edge can be the lowest, shape [E].
    """

    squares: Floats
    following: Integers
    is_lowest: Booleans

    def edges(self, count: int) -> tuple[int, ...] | None:
        """Lower edges of the best `count` categories in ascending order; None if they cannot be formed.

        Of equal optima the one with the lowest first edge is returned, then with the lowest second edge, and so on.
        """
        lowest = best_allowed(self.squares[count, :-1], self.is_lowest)
        if lowest is None:
            return None
        chosen = [lowest]
        for left in range(count, 1, -1):
            chosen.append(int(self.following[left, chosen[-1]]))
        return tuple(chosen)


def best_partitions(intervals: Intervals, count: int) -> Partitions:
    """Solve equation 1 for all numbers of categories up to `count` in one pass over the intervals.

    Intervals are processed in blocks of a few lower edges, from the highest edge down. Those that can hold an optimum
    are evaluated and used for all c before the next block, so that memory does not grow as E^2.

    Args:
        intervals: intervals between the candidate edges.
        count: largest number of categories.

    Returns:
        The optima, exact over the candidate edges.
    """
    edges = intervals.edge.size
    squares = np.full((count + 1, edges + 1), -np.inf)
    squares[0, edges] = 0.0
    following = np.full((count + 1, edges), edges, dtype=np.int64)
    for start in range((edges - 1) // _ROWS * _ROWS, -1, -_ROWS):
        rows = np.arange(start, min(start + _ROWS, edges))
        columns = _promising_columns(intervals, squares, following, rows)
        step = _BLOCK // _ROWS
        for first in range(0, columns.size, step):
            some = columns[first : first + step]
            tile = intervals.squared_significance(rows[:, None], some[None, :])
            _continue_above(squares, following, tile, rows, some)
        _continue_within(squares, following, intervals.squared_significance(rows[:, None], rows[None, :]), rows)
    return Partitions(squares, following, intervals.is_lowest)


def _promising_columns(intervals: Intervals, squares: Floats, following: Integers, rows: Integers) -> Integers:
    """Upper edges above the rows in tiles that can hold an optimum for some c and some row."""
    stop, edges = int(rows[-1]) + 1, intervals.edge.size
    if stop == edges:
        return np.array([edges])
    starts = np.append(np.arange(stop, edges, _WIDTH), edges)
    # The upper edges that are best for the next higher row give a lower bound for these rows.
    suggested = following[1:, stop]
    layers = np.arange(squares.shape[0] - 1)
    reached = intervals.squared_significance(rows[:, None], suggested[None, :]) + squares[layers, suggested]
    bound = intervals.squared_bound(rows, starts)
    hoped = bound + np.maximum.reduceat(squares[:-1, stop:], starts - stop, axis=1)
    promising = (hoped >= reached.min(axis=0)[:, None]).any(axis=0)
    widths = np.diff(np.append(starts, edges + 1))
    return stop + np.flatnonzero(np.repeat(promising, widths))


def _continue_above(squares: Floats, following: Integers, tile: Floats, rows: Integers, columns: Integers) -> None:
    """Maximise over next categories that begin at one of the columns, for which equation 1 is already solved."""
    line = np.arange(rows.size)
    for layer in range(1, squares.shape[0]):
        totals = tile + squares[layer - 1, columns]
        best = totals.argmax(axis=1)
        found = totals[line, best]
        better = found > squares[layer, rows]
        squares[layer, rows[better]] = found[better]
        following[layer, rows[better]] = columns[best[better]]


def _continue_within(squares: Floats, following: Integers, tile: Floats, rows: Integers) -> None:
    """Maximise over next categories that begin at a row of the same block, the highest row first."""
    layers = np.arange(1, squares.shape[0])
    for line in range(rows.size - 2, -1, -1):
        row = rows[line]
        totals = tile[line, line + 1 :] + squares[:-1, rows[line + 1 :]]
        best = totals.argmax(axis=1)
        found = totals[layers - 1, best]
        # These edges are lower than all edges tried before, so they are preferred when equal.
        better = (found >= squares[1:, row]) & np.isfinite(found)
        squares[layers[better], row] = found[better]
        following[layers[better], row] = rows[line + 1 + best[better]]
