"""The figure of merit as a function of the coefficients of the family, with the best threshold for each."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import Floats
from zsig_hep.statistics.objective import Objective

Indices = npt.NDArray[np.int64]

# Thresholds of the first scan; between the neighbours of the best one all are tried.
_COARSE = 512
# Relative step of the differences that give the derivatives of the figure of merit.
_STEP = 1e-4


@dataclass(frozen=True)
class Requirements:
    """What a cut must leave.

    Attributes:
        signal_efficiency: smallest signal efficiency; of separate hypotheses their mean or smallest one, as the figure of
            merit combines them.
        background: smallest background yield, in events.
        effective_background: smallest number of effective entries of the background.
    """

    signal_efficiency: float = 0.0
    background: float = 0.0
    effective_background: float = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class FamilyPoint(ShortRepr):
    """The best threshold for some coefficients.

    Attributes:
        significance: figure of merit of the smooth yields; minus infinity where no threshold qualifies.
        last: index of the last event that is accepted; None where no threshold qualifies.
        yields: smooth yields of the processes and shifts above the threshold, shape [P + 2 V].
    """

    significance: float
    last: int | None
    yields: Floats


@dataclass(frozen=True, eq=False, repr=False)
class FamilyProblem(ShortRepr):
    """Maximise a figure of merit over the family.

    Attributes:
        smooth: smooth yields of the events.
        objective: figure of merit.
        requirements: on the cut.

    Raises:
        InputError: an uncertainty has a name that is no background, there are variations and the figure has no background
            uncertainty, or signals are separate hypotheses and their composition is not given.
    """

    smooth: SmoothYields
    objective: Objective
    requirements: Requirements = Requirements()

    def __post_init__(self) -> None:
        """Check that the figure of merit can be evaluated."""
        self.objective.require_known_backgrounds(self.smooth.processes)
        ratios, figure = self.smooth.ratios, self.objective.figure
        if ratios.variation_names and not figure.knows_background_uncertainty:
            message = (
                f"The figure of merit '{figure}' has no background uncertainty, so the variations "
                f"{', '.join(ratios.variation_names)} have no effect on it; choose one with uncertainty, or leave them out."
            )
            raise InputError(message)
        several = len(self.smooth.processes.signals) > 1 and self.objective.signals != "sum"
        if several and ratios.signal_composition is None:
            message = (
                f"With signals '{self.objective.signals}' each signal process is a hypothesis: give the composition of the "
                f"signal, one column for each of {', '.join(self.smooth.processes.signals)}."
            )
            raise InputError(message)

    @cached_property
    def _ordering(self) -> tuple[Floats, Floats]:
        return self.smooth.ordering_columns()

    @property
    def rows(self) -> int:
        """Number of coefficients, one for each process and each of the two shifts of every variation."""
        return int(self.smooth.yields.shape[1])

    @cached_property
    def is_signal(self) -> npt.NDArray[np.bool_]:
        """Which coefficients are those of signals, shape [P + 2 V]."""
        return np.append(self.smooth.processes.is_signal, np.zeros(self.rows - len(self.smooth.processes), dtype=bool))

    @property
    def neutral(self) -> Floats:
        """Coefficients of weighted cross entropy: one for processes, zero for shifts."""
        return np.where(np.arange(self.rows) < len(self.smooth.processes), 1.0, 0.0)

    def best_threshold(self, coefficients: Floats) -> FamilyPoint:
        """The threshold of the largest figure of merit among those that meet the requirements, by one sort.

        Args:
            coefficients: of the processes and shifts, shape [P + 2 V].
        """
        order, above, ends = self._cumulative(coefficients)
        of_signal = above[:, self.is_signal] @ self.smooth.scale[self.is_signal]
        coarse = _coarse_positions(np.maximum.accumulate(of_signal[ends]))
        found = self._values(above[ends[coarse]])
        best = int(np.argmax(found))
        low, high = coarse[max(best - 1, 0)], coarse[min(best + 1, coarse.size - 1)]
        fine = np.arange(low, high + 1)
        fine = fine[:: fine.size // (4 * _COARSE) + 1]
        near = self._values(above[ends[fine]])
        # The coarse grid has the best position too, which a stride of the fine one may leave out.
        candidates, values = np.append(fine, coarse[best]), np.append(near, found[best])
        chosen = int(np.argmax(values))
        position = int(ends[candidates[chosen]])
        value = float(values[chosen])
        last = int(order[position]) if np.isfinite(value) else None
        return FamilyPoint(value, last, np.asarray(above[position] * self.smooth.scale))

    def _cumulative(self, coefficients: Floats) -> tuple[Indices, Floats, Indices]:
        """Events from the most signal-like, unscaled yields of all up to each, and where a threshold can be.

        Events of equal score are selected together.
        """
        inverse, columns = self._ordering
        numerator = columns @ np.where(self.is_signal, 0.0, coefficients)
        key = inverse * numerator / (columns @ np.where(self.is_signal, coefficients, 0.0))
        order = np.argsort(key, kind="stable")
        above = self.smooth.yields[order]
        np.cumsum(above, axis=0, out=above)
        ordered = key[order]
        return order, above, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def shares(self, coefficients: Floats, point: FamilyPoint) -> Floats:
        """Share of each process in the yield of its role, and of each shift in the variance of the background.

        Near the best threshold, at half and at twice its signal too, since a shift can be zero at one cut by chance.

        Args:
            coefficients: of the processes and shifts, shape [P + 2 V].
            point: their best threshold.

        Returns:
            The largest shares, shape [P + 2 V].
        """
        if point.last is None:
            return np.ones(self.rows)
        _, above, ends = self._cumulative(coefficients)
        of_signal = np.maximum.accumulate(above[ends][:, self.is_signal] @ self.smooth.scale[self.is_signal])
        selected = point.yields[self.is_signal].sum()
        positions = np.minimum(np.searchsorted(of_signal, selected * np.array([0.5, 1.0, 2.0])), ends.size - 1)
        near = [self._shares_of(above[end] * self.smooth.scale) for end in ends[positions]]
        return np.asarray(np.max(near, axis=0))

    def _shares_of(self, yields: Floats) -> Floats:
        processes, rows = self.smooth.processes, len(self.smooth.processes)
        positive, shifts = np.maximum(yields[:rows], 0.0), yields[rows:] ** 2
        share = np.empty(self.rows)
        for chosen in (processes.is_signal, processes.is_background):
            share[:rows][chosen] = positive[chosen] / max(positive[chosen].sum(), np.finfo(float).tiny)
        background = positive[processes.is_background]
        own = np.array(self.objective.uncertainties_of(processes.backgrounds))
        variance = background.sum() + ((own * background) ** 2).sum() + shifts.sum()
        share[rows:] = shifts / max(variance, np.finfo(float).tiny)
        return share

    def _values(self, above: Floats) -> Floats:
        """Figure of merit of selections of unscaled yields, shape [T, P + 2 V]; minus infinity where not allowed."""
        yields = (above * self.smooth.scale).T
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.figure(yields)
        return np.where(self._allowed(yields) & np.isfinite(value), value, -np.inf)

    def figure(self, yields: Floats) -> Floats:
        """Figure of merit of yields of processes and shifts, shape [P + 2 V, T]; its variance includes that of shifts."""
        processes = self.smooth.processes
        of_processes, shifts = yields[: len(processes)], yields[len(processes) :]
        variances = of_processes * self.smooth.mean_weights[:, None]
        common: Any = None
        if len(shifts):
            background = processes.summed(of_processes, "background")
            sigma = np.sqrt((shifts**2).sum(axis=0))
            relative = np.divide(sigma, background, out=np.zeros_like(sigma), where=background > 0)
            common = np.hypot(relative, self.objective.relative_background_uncertainty)
        value = self.objective.evaluate(of_processes, variances, processes, common_uncertainty=common).value
        return np.asarray(value)

    def _allowed(self, yields: Floats) -> npt.NDArray[np.bool_]:
        processes, wanted = self.smooth.processes, self.requirements
        background = processes.summed(yields[: len(processes)], "background")
        allowed = (background > 0) & (background >= wanted.background) & (self._efficiency(yields) > 0)
        if wanted.effective_background > 0:
            of_background = processes.rows("background")
            variance = self.smooth.mean_weights[of_background] @ yields[of_background]
            allowed &= background**2 >= wanted.effective_background * variance
        return np.asarray(allowed & (self._efficiency(yields) >= wanted.signal_efficiency))

    def _efficiency(self, yields: Floats) -> Floats:
        signals, totals = self.smooth.processes.rows("signal"), self.smooth.totals
        if self.objective.signals == "sum":
            return np.asarray(yields[signals].sum(axis=0) / totals[signals].sum())
        each = yields[signals] / totals[signals, None]
        return np.asarray(each.mean(axis=0) if self.objective.signals == "mean" else each.min(axis=0))

    def slopes(self, point: FamilyPoint) -> Floats:
        """Derivatives of the figure of merit in the yields of processes and shifts, by central differences [P + 2 V].

        Yields and variances of the simulation change together.
        """
        size = np.abs(point.yields)
        background = self.smooth.processes.rows("background")
        # A shift near zero is moved by part of the statistical standard deviation of the background.
        least = np.sqrt(max(float(point.yields[background].sum()), 0.0))
        step = _STEP * np.where(np.arange(self.rows) < len(self.smooth.processes), size, np.maximum(size, least))
        moves = np.diag(step)
        values = self.figure(point.yields[:, None] + np.hstack([moves, -moves]))
        difference = values[: self.rows] - values[self.rows :]
        return np.divide(difference, 2 * step, out=np.zeros(self.rows), where=step > 0)

    def consistent(self, point: FamilyPoint) -> Floats | None:
        """Coefficients that are optimal if the figure of merit is linear around the yields of a point.

        At the optimum of the family, where no requirement binds, they are the coefficients of the point itself.

        Returns:
            dF/ds_j of signals, -dF/db_k of backgrounds and -dF/dD_v of shifts, shape [P + 2 V], with means of one over
            the yields of signals and of backgrounds; None where a derivative has the wrong sign.
        """
        slopes = np.where(self.is_signal, 1.0, -1.0) * self.slopes(point)
        processes = self.smooth.processes
        # A process that the cut removes completely has no slope of its own.
        absent = np.append(point.yields[: len(processes)] == 0, np.zeros(self.rows - len(processes), dtype=bool))
        positive = slopes[: len(processes)][~absent[: len(processes)]]
        if not np.isfinite(slopes).all() or not (positive > 0).all():
            return None
        for row in np.flatnonzero(absent):
            same = (self.is_signal == self.is_signal[row]) & ~absent & (np.arange(self.rows) < len(processes))
            slopes[row] = slopes[same].mean() if same.any() else 1.0
        return self.normalised(slopes)

    def normalised(self, coefficients: Floats) -> Floats:
        """Coefficients with a mean of one over the yields of the signals, and over those of the backgrounds."""
        rows, totals = len(self.smooth.processes), np.maximum(self.smooth.totals, 0.0)
        factor = np.empty(self.rows)
        for is_signal in (True, False):
            mine = self.is_signal == is_signal
            of_processes = mine[:rows]
            mean = coefficients[:rows][of_processes] @ totals[of_processes] / totals[of_processes].sum()
            factor[mine] = 1 / mean
        return np.asarray(coefficients * factor)


def _coarse_positions(signal: Floats) -> Indices:
    """Positions of about equal steps in the signal, finer where it is small."""
    steps = np.linspace(0, 1, _COARSE) ** 2
    found = np.searchsorted(signal, signal[-1] * steps)
    return np.unique(np.minimum(found, signal.size - 1)).astype(np.int64)
