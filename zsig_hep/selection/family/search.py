"""The search for the coefficients of the family with the highest figure of merit.

Each evaluation sorts the events by their score once and scans all thresholds (`FamilyProblem.best_threshold`). Two moves
alternate until neither gains. The first goes towards the coefficients that are consistent with the yields of the best
selection so far, minus the derivatives of the figure of merit there, by a fraction that is searched. It is the step of M.
Frank and P. Wolfe (1956), to the region that maximises the linearised figure; followed to its end it oscillates where
variations are large. The second changes one coefficient after the other, by steps that double after a gain and halve
without one.

The figure of merit can have several maxima, so the search starts at weighted cross entropy, at the consistent coefficients
of its cut, and where each coefficient alone is best. The starts are compared on part of the events, and the best is
followed on all. Weighted cross entropy is a candidate on all events to the end.

With large variations the figure of merit has a cliff: where coefficients of shifts are a little too small, no bracket is
negative any more, and the events whose acceptance cancels the shift are lost. The ratios of other networks, or of data,
put the cliff elsewhere. Coefficients of trained ratios are therefore chosen for the figure of merit averaged over errors
of the ratios; at a smooth maximum this changes nothing.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from zsig_hep.selection.family.problem import FamilyPoint, FamilyProblem
from zsig_hep.selection.ratios import Floats

Convergence = Literal["converged", "flat", "at_edge", "not_converged", "no_threshold_qualifies"]

LOG_EDGE = float(np.log(1e3))
"""Largest |ln c_k| relative to the largest background, and |ln d_j| relative to the largest signal."""
SHIFT_EDGE = float(np.arcsinh(1e5))
"""Largest |asinh a_v|."""

_FIRST_EVENTS = 20_000
_FRACTIONS = (1.0, 0.5, 0.25, 0.1)
_SMALLEST_STEP = 0.02
_LARGEST_STEP = 4.0
_CYCLES = 40
# Steps of the scale of shifts in one standard deviation of the ratios, and on either side in all.
_HEDGE_STEPS = 3
_HEDGE_RANGE = 9
# A relative gain below it is rounding or a single event.
_GAIN = 1e-7
# A relative gain over weighted cross entropy below it is none.
_FLAT = 1e-4
# Shares of the variance below which a shift, and of the yield below which a background, are not searched alone.
_LEAST_VARIANCE = 0.01
_LEAST_YIELD = 1e-3


@dataclass(frozen=True, eq=False)
class FoundCoefficients:
    """The result of a search.

    Attributes:
        coefficients: of processes and shifts, shape [P + 2 V].
        point: best threshold for them.
        unweighted: best threshold of weighted cross entropy.
        status: "converged"; "flat": no coefficients are better than weighted cross entropy, which is returned; "at_edge":
            a coefficient is at the end of its range; "not_converged": the search was still gaining when it ended;
            "no_threshold_qualifies".
        at_edge: rows of coefficients at the end of their range.
        evaluations: number of sorts of all events.
    """

    coefficients: Floats
    point: FamilyPoint
    unweighted: FamilyPoint
    status: Convergence
    at_edge: tuple[int, ...]
    evaluations: int


def search_coefficients(problem: FamilyProblem, ratio_uncertainty: float = 0.0) -> FoundCoefficients:
    """Maximise the figure of merit over the coefficients and the threshold.

    Args:
        problem: figure of merit, requirements and smooth yields.
        ratio_uncertainty: relative uncertainty of r_v - 1, common to all variations, over which the figure of merit is
            averaged; 0 for exact densities.

    Returns:
        The best coefficients; those of weighted cross entropy if no others are better.
    """
    neutral = problem.neutral
    unweighted = problem.best_threshold(neutral)
    searched = _searched_rows(problem)
    if not searched.size:
        status: Convergence = "flat" if unweighted.last is not None else "no_threshold_qualifies"
        return FoundCoefficients(neutral, unweighted, unweighted, status, (), 1)
    stride = len(problem.smooth.ratios) // _FIRST_EVENTS + 1
    part = FamilyProblem(problem.smooth.every(stride), problem.objective, problem.requirements)
    first = _Search(part, searched).from_all_starts()
    search = _Search(problem, searched)
    search.consider(np.zeros(searched.size))
    search.consider(first.best)
    search.climb(0.25 if stride > 1 else 2 * _SMALLEST_STEP)
    if ratio_uncertainty > 0:
        search.hedge(ratio_uncertainty)
    return _result(search, unweighted)


def _result(search: "_Search", unweighted: FamilyPoint) -> FoundCoefficients:
    problem = search.problem
    point, coefficients = search.point, problem.normalised(search.coefficients(search.best))
    edges: tuple[int, ...] = ()
    if point.last is None:
        status: Convergence = "no_threshold_qualifies"
    elif unweighted.last is not None and point.significance <= unweighted.significance * (1 + _FLAT):
        status, point, coefficients = "flat", unweighted, problem.neutral
    else:
        at_edge = np.abs(search.best) >= search.edge * (1 - 1e-9)
        edges = tuple(search.searched[at_edge].tolist())
        status = "at_edge" if edges else ("converged" if search.has_converged else "not_converged")
    return FoundCoefficients(coefficients, point, unweighted, status, edges, search.evaluations + 1)


@dataclass(eq=False)
class _Search:
    """Coordinates: ln of the coefficients of processes relative to the largest of their role, asinh of those of shifts."""

    problem: FamilyProblem
    searched: npt.NDArray[np.int64]
    best: Floats = field(init=False)
    point: FamilyPoint = field(init=False)
    evaluations: int = 0
    has_converged: bool = False

    def __post_init__(self) -> None:
        self.is_shift = self.searched >= len(self.problem.smooth.processes)
        self.edge: Floats = np.where(self.is_shift, SHIFT_EDGE, LOG_EDGE).astype(np.float64)
        self.best = np.zeros(self.searched.size)
        self.point = FamilyPoint(-np.inf, None, np.zeros(self.problem.rows))

    def coefficients(self, theta: Floats) -> Floats:
        """Coefficients of all rows at a place of the search."""
        coefficients = self.problem.neutral
        coefficients[self.searched] = np.where(self.is_shift, np.sinh(theta), np.exp(np.minimum(theta, LOG_EDGE)))
        return coefficients

    def consider(self, theta: Floats) -> bool:
        """Evaluate a place, and keep it if it is better."""
        theta = np.clip(theta, -self.edge, self.edge)
        self.evaluations += 1
        found = self.problem.best_threshold(self.coefficients(theta))
        if found.last is None:
            return False
        is_better = self.point.last is None or found.significance > self.point.significance * (1 + _GAIN)
        if is_better:
            self.best, self.point = theta, found
        return is_better

    def from_all_starts(self) -> "_Search":
        """The best result of all starts."""
        zero = np.zeros(self.searched.size)
        results = []
        for start in (self._fresh(zero), self._fresh(zero).jumped(), self._fresh(zero).scanned()):
            start.climb(0.5)
            results.append(start)
        return max(results, key=lambda each: each.point.significance)

    def _fresh(self, theta: Floats) -> "_Search":
        fresh = _Search(self.problem, self.searched)
        fresh.consider(theta)
        return fresh

    def jumped(self) -> "_Search":
        """Moved to the consistent coefficients even if they are worse."""
        target = self._target()
        return self if target is None else self._fresh(target)

    def scanned(self) -> "_Search":
        """Each coefficient scanned over its range, one after the other, those with the most to gain first."""
        for index in self._leading():
            reach = self.edge[index]
            origin = self.best.copy()
            for value in np.linspace(-reach, reach, 17):
                trial = origin.copy()
                trial[index] = value
                self.consider(trial)
        return self

    def climb(self, step: float) -> None:
        """Follow both moves until neither gains."""
        steps = np.full(self.searched.size, step)
        for _ in range(_CYCLES):
            origin = self.best.copy()
            gained = self._towards_consistency()
            leading = self._leading()
            for index in leading:
                steps[index] = self._along(index, steps[index])
            moved = self.best - origin
            if np.abs(moved).max() > 0:
                self.consider(self.best + moved)
            if not gained and (steps[leading] < _SMALLEST_STEP).all():
                self.has_converged = True
                return

    def hedge(self, uncertainty: float) -> None:
        """Scale all coefficients of shifts to where the figure of merit, averaged over their errors, is largest."""
        if self.point.last is None or not self.best[self.is_shift].any():
            return
        error = np.arange(-2 * _HEDGE_STEPS, 2 * _HEDGE_STEPS + 1) / _HEDGE_STEPS
        reach = _HEDGE_RANGE + 2 * _HEDGE_STEPS
        logs = uncertainty * np.arange(-reach, reach + 1) / _HEDGE_STEPS
        places = np.tile(self.best, (logs.size, 1))
        places[:, self.is_shift] = np.arcsinh(np.exp(logs)[:, None] * np.sinh(self.best[self.is_shift]))
        places = np.clip(places, -self.edge, self.edge)
        points = [self.problem.best_threshold(self.coefficients(place)) for place in places]
        self.evaluations += len(points)
        # Without any threshold that qualifies there is no significance.
        values = [0.0 if point.last is None else point.significance for point in points]
        kernel = np.exp(-(error**2) / 2)
        chosen = int(np.argmax(np.convolve(values, kernel / kernel.sum(), mode="valid"))) + 2 * _HEDGE_STEPS
        if points[chosen].last is not None:
            self.best, self.point = places[chosen], points[chosen]

    def _along(self, index: int, step: float) -> float:
        """Try both directions of one coordinate; return the next step."""
        if step < _SMALLEST_STEP:
            return step
        for sign in (1.0, -1.0):
            trial = self.best.copy()
            trial[index] += sign * step
            if self.consider(trial):
                return min(2 * step, _LARGEST_STEP)
        return step / 2

    def _towards_consistency(self) -> bool:
        target = self._target()
        if target is None:
            return False
        origin, before = self.best.copy(), self.point.significance
        for fraction in _FRACTIONS:
            if self.consider(origin + fraction * (target - origin)):
                break
        return self.point.significance > before * (1 + 1e-5)

    def _target(self) -> Floats | None:
        """The consistent coefficients of the best place, as a place of the search."""
        if self.point.last is None:
            return None
        wanted = self.problem.consistent(self.point)
        if wanted is None:
            return None
        wanted = wanted * self.problem.smooth.scale
        reference = _references(self.problem)
        relative = wanted / wanted[reference]
        target = np.where(
            self.is_shift, np.arcsinh(relative[self.searched]), np.log(np.maximum(relative[self.searched], 1e-9))
        )
        return np.clip(target, -self.edge, self.edge)

    def _leading(self) -> list[int]:
        """Coordinates that can matter, the one with the largest share of the variance first."""
        share = self.problem.shares(self.coefficients(self.best), self.point)[self.searched]
        least = np.where(self.is_shift, _LEAST_VARIANCE, _LEAST_YIELD)
        order = np.argsort(-share, kind="stable")
        return [int(index) for index in order if share[index] > least[index]]


def _references(problem: FamilyProblem) -> npt.NDArray[np.int64]:
    """Row of the process relative to which the coefficient of each row stands: the largest of its role."""
    processes, totals = problem.smooth.processes, problem.smooth.totals
    signal, background = (max(processes.rows(role), key=lambda row: totals[row]) for role in ("signal", "background"))
    return np.where(problem.is_signal, signal, background)


def _searched_rows(problem: FamilyProblem) -> npt.NDArray[np.int64]:
    """Rows whose coefficients can matter.

    These are backgrounds, but for the largest, if the figure tells them apart by their uncertainty or by the variance of
    their simulation; signals, but for the largest, if they are separate hypotheses; and shifts that are not zero.
    """
    smooth, objective = problem.smooth, problem.objective
    rows, processes = np.arange(problem.rows), smooth.processes
    present = (smooth.yields != 0).any(axis=0) & np.append(
        smooth.totals > 0, np.ones(problem.rows - len(processes), dtype=bool)
    )
    apart = np.zeros(problem.rows, dtype=bool)
    background = np.append(processes.is_background, np.zeros(problem.rows - len(processes), dtype=bool))
    own = any(objective.background_uncertainties.get(name, 0.0) > 0 for name in processes.backgrounds)
    if own or objective.simulation_uncertainty_in_figure:
        apart |= background
    if objective.signals != "sum":
        apart |= problem.is_signal
    apart[len(processes) :] = True
    is_reference = rows == _references(problem)
    return np.flatnonzero(apart & present & ~is_reference).astype(np.int64)
