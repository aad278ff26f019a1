"""Intervals of a score between candidate edges: their requirements and Z^2, and divisions of equal signal yield.

With E candidate edges in ascending order, a category is an interval [i, j): scores at or above edge i and below edge j,
where j = E means no upper edge.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Booleans, Floats, Integers
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import ThresholdScan, sufficient_signal
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable
from zsig_hep.statistics.yields import effective_entries

# Larger than the rounding of a figure of merit, so that rounding does not push a bound below the Z^2 it bounds.
_MARGIN = 1 + 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Intervals(ShortRepr):
    """All intervals of a score between E candidate edges, as sums at or above each edge and a last column of zeros.

    Attributes:
        edge: the candidates in ascending order, shape [E].
        column: index of each candidate among the thresholds of the scan, shape [E].
        is_lowest: whether the events above an edge have the required signal efficiency, so that it can be the lowest
            edge, shape [E].
        groups: processes grouped as far as the figure of merit depends only on their sum, each group named after its
            first process, length G.
        yields: yields of the groups with extrapolated tails, shape [G, E + 1], in events.
        variances: sums of squared weights of the groups, shape [G, E + 1].
        limited_yields: yields of the K backgrounds that need enough effective entries, shape [K, E + 1].
        limited_variances: their sums of squared weights, shape [K, E + 1].
        objective: the figure of merit.
        minimum_effective_background: required effective entries of each of the K backgrounds.
    """

    edge: Floats
    column: Integers
    is_lowest: Booleans
    groups: ProcessTable
    yields: Floats
    variances: Floats
    limited_yields: Floats
    limited_variances: Floats
    objective: Objective
    minimum_effective_background: float

    @classmethod
    def of_scan(cls, scan: ThresholdScan, settings: WorkingPointSettings, candidates: int) -> Self:
        """Take thresholds of a scan as candidate edges.

        Args:
            scan: yields above every distinct score.
            settings: figure of merit and requirements.
            candidates: largest number of candidate edges.
        """
        column = candidate_columns(scan, candidates)
        groups = _groups(scan, settings)
        dominant = scan.dominant_backgrounds(settings.dominant_background_fraction)
        limited = [scan.processes.is_background, *(np.arange(len(scan.processes)) == index for index in dominant)]
        return cls(
            edge=scan.threshold[column],
            column=column,
            is_lowest=sufficient_signal(scan, settings)[column],
            groups=scan.processes.select([group[0] for group in groups]),
            yields=_sums(scan.expected_yields, groups, column),
            variances=_sums(scan.expected_variances, groups, column),
            limited_yields=_sums(scan.yields, limited, column),
            limited_variances=_sums(scan.variances, limited, column),
            objective=settings.objective,
            minimum_effective_background=settings.minimum_effective_background,
        )

    def squared_significance(self, lower: Integers, upper: Integers) -> Floats:
        """Z^2 of the intervals [lower, upper); -infinity for intervals that cannot be a category.

        A category has a positive signal yield, a positive yield and enough effective entries of the background and of
        each dominant background process, and a positive finite Z.

        Args:
            lower: indices of edges, any shape.
            upper: indices of edges or E, with a shape that broadcasts with that of `lower`.
        """
        yields = self.yields[:, lower] - self.yields[:, upper]
        variances = self.variances[:, lower] - self.variances[:, upper]
        possible = self._has_enough(lower, upper) & self._has_signal(yields)
        squares = np.full(possible.shape, -np.inf)
        # Boolean indexing copies, which most tiles do not need.
        inside = ... if possible.all() else possible
        z = self.objective.evaluate(yields[:, inside], variances[:, inside], self.groups).value
        squares[inside] = np.where(np.isfinite(z) & (z > 0), z * z, -np.inf)
        return squares

    def squared_bound(self, lower: Integers, upper_starts: Integers) -> Floats:
        """An upper bound of Z^2 in all intervals of a tile.

        The figure of merit does not decrease with the signal and does not increase with sigma_b, as long as the yields of
        backgrounds with an uncertainty of their own are not negative. With a background it decreases, but for Z_A with
        background uncertainty at many more signal than background events: there the relative uncertainty of a larger
        background is smaller, and Z_A increases before it decreases. Where it increases at the smallest backgrounds, the
        bound is that without any uncertainty.

        Args:
            lower: lower edges, common to all tiles.
            upper_starts: first upper edge of each tile, ascending; a tile ends where the next one starts, shape [T].

        Returns:
            The bounds, shape [T]; the largest float where there is no bound.
        """
        above, beyond = self.yields[:, lower], self.yields[:, upper_starts[0] :]
        starts = upper_starts - upper_starts[0]
        most = above.max(axis=1)[:, None] - np.minimum.reduceat(beyond, starts, axis=1)
        least = above.min(axis=1)[:, None] - np.maximum.reduceat(beyond, starts, axis=1)
        extreme = np.where(self.groups.is_signal[:, None], most, least)
        found = self.objective.evaluate(extreme, self._least_variances(lower, upper_starts), self.groups)
        z = np.asarray(found.value)
        increases = (np.asarray(found.slopes)[self.groups.is_background] > 0).any(axis=0)
        if increases.any():
            exact = replace(
                self.objective,
                background_uncertainties={},
                relative_background_uncertainty=0.0,
                simulation_uncertainty_in_figure=False,
            )
            z = np.where(increases, exact.evaluate(extreme, np.zeros_like(extreme), self.groups).value, z)
        known = np.isfinite(z) & (extreme[self.has_own_uncertainty] >= 0).all(axis=0)
        return np.where(known, np.square(np.maximum(z, 0.0)) * _MARGIN, np.finfo(np.float64).max)

    def _least_variances(self, lower: Integers, upper_starts: Integers) -> Floats:
        """Sums of squared weights of the smallest interval of each tile, which every other interval of it contains."""
        return np.maximum(self.variances[:, [lower.max()]] - self.variances[:, upper_starts], 0.0)

    @property
    def has_own_uncertainty(self) -> Booleans:
        """Which groups are backgrounds with an uncertainty of their own, shape [G]."""
        return self.groups.is_background & (np.array(self.objective.uncertainties_of(self.groups.names)) > 0)

    def _has_enough(self, lower: Integers, upper: Integers) -> Booleans:
        yields = self.limited_yields[:, lower] - self.limited_yields[:, upper]
        variances = self.limited_variances[:, lower] - self.limited_variances[:, upper]
        enough = effective_entries(yields, variances) >= self.minimum_effective_background
        return np.asarray(((yields > 0) & enough).all(axis=0))

    def _has_signal(self, yields: Floats) -> Booleans:
        return np.asarray(yields[self.groups.is_signal].sum(axis=0) > 0)


def candidate_columns(scan: ThresholdScan, candidates: int) -> Integers:
    """Thresholds of a scan to use as candidate edges: all of them, or some evenly spaced in efficiency.

    They are evenly spaced in the sum of signal and background efficiency, so that half of the candidates resolve the
    signal and half the background. The lowest threshold, which selects everything, is always included.

    Args:
        scan: yields above every distinct score.
        candidates: largest number of edges.

    Returns:
        Ascending indices of thresholds; fewer than `candidates` if many events share a score.
    """
    if scan.threshold.size <= candidates:
        return np.arange(scan.threshold.size)
    # With signed weights an efficiency need not be monotonic; the binary search needs its running maximum.
    reached = _running_maximum(scan.signal_efficiency) + _running_maximum(scan.background_efficiency)
    steps = np.searchsorted(reached, np.linspace(0.0, reached[-1], candidates))
    return np.unique(np.append(scan.threshold.size - 1 - steps[:-1], 0))


def equal_signal_edges(intervals: Intervals, count: int) -> Integers:
    """Edges of categories of equal signal yield above every candidate edge.

    With lowest edge i, the other edges are the highest candidates above which at least the fractions (count - 1) /
    count, ..., 1 / count of the signal above i are found.

    Args:
        intervals: intervals between the candidate edges.
        count: number of categories.

    Returns:
        Lower edges for each lowest edge, shape [E, count]; a row that does not ascend is no division.
    """
    edges = intervals.edge.size
    signal = intervals.yields[intervals.groups.is_signal].sum(axis=0)[:-1]
    shares = np.arange(count - 1, 0, -1) / count
    steps = np.searchsorted(_running_maximum(signal), signal[:, None] * shares)
    return np.column_stack([np.arange(edges), np.maximum(edges - 1 - steps, 0)])


def best_equal_signal(intervals: Intervals, count: int) -> tuple[int, ...] | None:
    """The categories of equal signal yield with the highest combined significance.

    The requirements are the same as for the optimum, whose significance is therefore at least as high.

    Args:
        intervals: intervals between the candidate edges.
        count: number of categories.

    Returns:
        Lower edges in ascending order; None if no lowest edge gives categories that meet the requirements.
    """
    lower = equal_signal_edges(intervals, count)
    upper = np.column_stack([lower[:, 1:], np.full(len(lower), intervals.edge.size)])
    ordered = (lower < upper).all(axis=1)
    totals = np.full(len(lower), -np.inf)
    totals[ordered] = intervals.squared_significance(lower[ordered], upper[ordered]).sum(axis=1)
    best = best_allowed(totals, intervals.is_lowest)
    return None if best is None else tuple(lower[best].tolist())


def best_allowed(totals: Floats, allowed: Booleans) -> int | None:
    """Index of the highest total that is allowed and not -infinity, of equal ones the first; None if there is none."""
    masked = np.where(allowed, totals, -np.inf)
    best = int(np.argmax(masked))
    return best if masked[best] > -np.inf else None


def _groups(scan: ThresholdScan, settings: WorkingPointSettings) -> list[list[int]]:
    """Rows of processes on whose sum alone the figure of merit depends.

    Signals are separate if each is a hypothesis, and backgrounds are separate if they have an uncertainty of their own.
    """
    signals, backgrounds = scan.processes.rows("signal"), scan.processes.rows("background")
    own = [row for row in backgrounds if settings.background_uncertainties.get(scan.processes.names[row])]
    others = [row for row in backgrounds if row not in own]
    of_signals = [signals] if settings.signals == "sum" else [[row] for row in signals]
    return [*of_signals, *([row] for row in own), *([others] if others else [])]


def _sums(values: Floats, groups: list[list[int]] | list[Booleans], column: Integers) -> Floats:
    """Sums over the rows of each group at the columns, followed by a column of zeros."""
    sums = np.stack([values[group].sum(axis=0)[column] for group in groups])
    return np.pad(sums, ((0, 0), (0, 1)))


def _running_maximum(above: Floats) -> Floats:
    """Running maximum from the highest threshold down, in that order."""
    return np.maximum.accumulate(above[::-1])
