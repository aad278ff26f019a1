"""The scan of all thresholds on a score: yields, variances and significance above each distinct score.

An event is selected if its score is at or above the threshold, so events of equal score are selected together.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Booleans, Floats, Integers, ScoredEvents
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.tails import with_thick_tails
from zsig_hep.selection.varied_events import background_uncertainty_above
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable, Role
from zsig_hep.statistics.significance import Significance
from zsig_hep.statistics.yields import effective_entries


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SelectionSums(ShortRepr):
    """Yields of P processes, data excluded, in T selections, as far as requirements depend on them.

    Attributes:
        processes: the signal and background processes.
        yields: sum of weights in each selection, shape [P, T], in events; the first selects every event.
        variances: sum of squared weights, shape [P, T].
        total_yields: yield before the selections, shape [P].
        significance: figure of merit, shape [T]; NaN or infinite where the background is not positive.
    """

    processes: ProcessTable
    yields: Floats
    variances: Floats
    total_yields: Floats
    significance: Floats

    @cached_property
    def signal(self) -> Floats:
        """Signal yield above each threshold, shape [T]."""
        return np.asarray(self.processes.summed(self.yields, "signal"))

    @cached_property
    def background(self) -> Floats:
        """Background yield above each threshold, shape [T]."""
        return np.asarray(self.processes.summed(self.yields, "background"))

    @cached_property
    def background_variance(self) -> Floats:
        """Sum of squared background weights above each threshold, shape [T]."""
        return np.asarray(self.processes.summed(self.variances, "background"))

    @property
    def effective_background(self) -> Floats:
        """Effective entries of the whole background, shape [T]; 0 where its yield is not positive."""
        return _positive_effective_entries(self.background, self.background_variance)

    @property
    def signal_efficiency(self) -> Floats:
        """Fraction of the signal yield above each threshold, shape [T]."""
        # Not divided by total_yields, which is summed in another order and need not give exactly 1.
        return np.asarray(self.signal / self.signal[0])

    @property
    def background_efficiency(self) -> Floats:
        """Fraction of the background yield above each threshold, shape [T]."""
        return np.asarray(self.background / self.background[0])

    @property
    def purity(self) -> Floats:
        """Signal fraction s / (s + b), shape [T]; NaN where s + b is not positive."""
        total = self.signal + self.background
        return np.divide(self.signal, total, out=np.full_like(total, np.nan), where=total > 0)

    def dominant_backgrounds(self, fraction: float) -> Integers:
        """Indices of the background processes that make more than a fraction of the background before the cut.

        With the fraction 1 none does, even if another process has a negative yield.
        """
        background = self.processes.is_background
        share = self.total_yields / self.total_yields[background].sum()
        return np.flatnonzero(background & (share > fraction) & (fraction < 1))

    def effective_entries_of(self, process: int) -> Floats:
        """Effective entries of one process above each threshold, shape [T]; 0 where its yield is not positive."""
        return _positive_effective_entries(self.yields[process], self.variances[process])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ThresholdScan(SelectionSums):
    """Yields of P processes, data excluded, above each of T thresholds.

    The attributes `processes`, `yields`, `variances`, `total_yields` and `significance` are those of `SelectionSums`.

    Attributes:
        threshold: the distinct scores in ascending order, shape [T]; the first selects every event.
        entries: number of simulated events, shape [P, T].
        higher_moments: sums of the third and of the fourth powers of weights, shape [P, T] each.
        expected_yields: yields with extrapolated tails, by which cuts are chosen (`zsig_hep.selection.thresholds.tails`),
            shape [P, T]; the counted ones where the figure of merit does not include the simulation.
        expected_variances: their variances, shape [P, T].
        choosing_significance: figure of merit of the expected yields, shape [T].
        total_entries: number of simulated events before the cut, shape [P].
        significance_uncertainty: standard deviation of the figure of merit from the finite simulation, shape [T].
        qualifies: whether the threshold meets every requirement of the settings, shape [T].
        objective: the figure of merit.
        common_uncertainty: relative uncertainty common to all backgrounds, with that of the systematic variations,
            shape [T]; None where it is that of the settings.
    """

    threshold: Floats
    entries: Integers
    higher_moments: tuple[Floats, Floats]
    expected_yields: Floats
    expected_variances: Floats
    choosing_significance: Floats
    total_entries: Integers
    significance_uncertainty: Floats
    qualifies: Booleans
    objective: Objective
    common_uncertainty: Floats | None = None

    @property
    def background_entry_efficiency(self) -> Floats:
        """Fraction of the simulated background events above each threshold, without weights, shape [T]."""
        passing = self.processes.summed(self.entries, "background")
        return np.asarray(passing / passing[0])


def scan_thresholds(events: ScoredEvents, settings: WorkingPointSettings) -> ThresholdScan:
    """Compute yields and significance above every distinct score, by one sort and cumulative sums.

    Args:
        events: scored events; data are left out. With `settings.variations_in_figure` their variations give the
            background uncertainty.
        settings: figure of merit and requirements.

    Returns:
        The scan over T <= N distinct scores of signal and background events.

    Raises:
        InputError: an uncertainty is given for a name that is no background process, the signal or background yield
            before the cut is not positive (of each signal process, unless they are summed), or a varied score is not
            finite.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.9, 0.4, 0.6, 0.1], [2.0, 1.0, 4.0, 3.0], [0, 0, 1, 1], names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> settings = WorkingPointSettings(figure_of_merit="s_over_sqrt_b", minimum_effective_background=2)
        >>> scan = scan_thresholds(events, settings)
        >>> scan.threshold, scan.signal, scan.background
        (array([0.1, 0.4, 0.6, 0.9]), array([3., 3., 2., 2.]), array([7., 4., 4., 0.]))
        >>> scan.significance.round(3), scan.qualifies
        (array([0.53 , 0.671, 0.447,   inf]), array([False, False, False, False]))
    """
    objective = settings.objective
    objective.require_known_backgrounds(events.processes)
    events = events.simulated
    threshold, yields, variances, entries, higher = _cumulative(events)
    _require_positive_yields(yields, events.processes, each_signal=objective.signals != "sum")
    uncertainty = _common_uncertainty(events, threshold, yields, settings)
    z = objective.evaluate(yields, variances, events.processes, higher_moments=higher, common_uncertainty=uncertainty)
    expected, spread, choosing = yields, variances, z.value
    if settings.includes_simulation and settings.tail_entries > 0:
        expected, spread = with_thick_tails(yields, variances, events.processes, settings.tail_entries)
        choosing = objective.evaluate(expected, spread, events.processes, common_uncertainty=uncertainty).value
    scan = ThresholdScan(
        threshold=threshold,
        processes=events.processes,
        yields=yields,
        variances=variances,
        entries=entries,
        higher_moments=higher,
        expected_yields=expected,
        expected_variances=spread,
        choosing_significance=choosing,
        total_yields=yields[:, 0].copy(),
        total_entries=entries[:, 0].copy(),
        significance=z.value,
        significance_uncertainty=z.uncertainty,
        qualifies=np.zeros(threshold.size, dtype=np.bool_),
        objective=objective,
        common_uncertainty=uncertainty,
    )
    return replace(scan, qualifies=qualifying(scan, settings))


def _common_uncertainty(
    events: ScoredEvents, threshold: Floats, yields: Floats, settings: WorkingPointSettings
) -> Floats | None:
    """Relative uncertainty common to all backgrounds at every threshold; None for that of the settings."""
    if not (settings.variations_in_figure and events.variations):
        return None
    sigma = background_uncertainty_above(events, threshold, yields)
    total = events.processes.summed(yields, "background")
    relative = np.divide(sigma, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(np.hypot(relative, settings.relative_background_uncertainty))


def significance_at_signal_efficiency(scan: ThresholdScan, efficiencies: npt.ArrayLike) -> Significance:
    """Significance at the tightest threshold of at least a given signal efficiency, for comparing classifiers.

    Args:
        scan: yields above every distinct score.
        efficiencies: signal efficiencies in [0, 1], any shape.

    Returns:
        The significances with their uncertainties, in the shape of `efficiencies`; NaN where no threshold reaches it.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.9, 0.4, 0.6, 0.1], [2.0, 2.0, 4.0, 3.0], [0, 0, 1, 1], names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> scan = scan_thresholds(events, WorkingPointSettings(figure_of_merit="s_over_sqrt_b"))
        >>> significance_at_signal_efficiency(scan, [0.5, 0.75]).value.round(3)
        array([  inf, 0.894])
    """
    wanted = np.asarray(efficiencies, dtype=np.float64)
    # With signed weights the efficiency need not be monotonic; the binary search needs its running maximum.
    reached = np.maximum.accumulate(scan.signal_efficiency[::-1])
    steps = np.searchsorted(reached, wanted, side="left")
    found = steps < reached.size
    index = reached.size - 1 - np.where(found, steps, 0)
    return Significance(
        np.where(found, scan.significance[index], np.nan),
        np.where(found, scan.significance_uncertainty[index], np.nan),
    )


def required_effective_entries(scan: SelectionSums, settings: WorkingPointSettings) -> tuple[Floats, tuple[str, ...]]:
    """Effective entries above each threshold of the backgrounds to which the requirement applies.

    Args:
        scan: yields above every distinct score.
        settings: definition of the dominant backgrounds.

    Returns:
        Effective entries of the whole background and of each dominant process, shape [K, T], and their K names.
    """
    dominant = scan.dominant_backgrounds(settings.dominant_background_fraction)
    names = ("the whole background", *(f"background '{scan.processes.names[index]}'" for index in dominant))
    return np.stack([scan.effective_background, *(scan.effective_entries_of(int(index)) for index in dominant)]), names


def sufficient_signal(scan: SelectionSums, settings: WorkingPointSettings) -> Booleans:
    """Whether the signal above each threshold is positive and has the required efficiency, shape [T].

    The efficiency is that of the summed signal processes, or the mean or the smallest of their efficiencies, in the
    same way as the figure of merit combines the signals.

    Args:
        scan: yields above every distinct score.
        settings: the required efficiency, and how the signals are combined.
    """
    efficiency = scan.signal_efficiency
    if settings.signals != "sum":
        each = scan.yields[scan.processes.is_signal] / scan.total_yields[scan.processes.is_signal, None]
        efficiency = each.mean(axis=0) if settings.signals == "mean" else each.min(axis=0)
    return np.asarray((efficiency >= settings.minimum_signal_efficiency) & (scan.signal > 0))


def qualifying(scan: SelectionSums, settings: WorkingPointSettings) -> Booleans:
    """Whether each threshold meets the requirements and has a finite significance, shape [T].

    Args:
        scan: yields above every distinct score, or of other selections.
        settings: the requirements.
    """
    counts, _ = required_effective_entries(scan, settings)
    enough = (counts.min(axis=0) >= settings.minimum_effective_background) & sufficient_signal(scan, settings)
    # Even then one of several signal hypotheses can be outside the domain of the figure of merit.
    return np.asarray(enough & np.isfinite(scan.significance))


def _cumulative(events: ScoredEvents) -> tuple[Floats, Floats, Floats, Integers, tuple[Floats, Floats]]:
    """Distinct scores [T], and per process the sums of w, w^2, 1, w^3 and w^4 at or above each of them [P, T]."""
    rows = len(events.processes)
    # A stable sort sums events of equal score in the same order on every machine.
    order = np.argsort(events.score, kind="stable")
    ordered = events.score[order]
    first = np.ones(ordered.size, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    threshold = ordered[first]
    cell = events.process[order] * threshold.size + np.cumsum(first) - 1
    w = events.weight[order]

    def above(values: Floats | None) -> npt.NDArray[Any]:
        sums = np.bincount(cell, weights=values, minlength=rows * threshold.size).reshape(rows, -1)
        downward = sums[:, ::-1]
        np.cumsum(downward, axis=1, out=downward)
        return sums

    square = w * w
    higher = above(square * w), above(square * square)
    return threshold, above(w), above(square), above(None).astype(np.int64, copy=False), higher


def _positive_effective_entries(sum_w: Floats, sum_w2: Floats) -> Floats:
    """Effective entries (sum w)^2 / sum w^2; 0 where sum w is not positive, since the square loses its sign."""
    return np.where(sum_w > 0, effective_entries(sum_w, sum_w2), 0.0)


def _require_positive_yields(yields: Floats, processes: ProcessTable, *, each_signal: bool) -> None:
    before = yields[:, 0] if yields.size else np.zeros(len(processes))
    roles: tuple[Role, ...] = ("signal", "background")
    for role in roles:
        total = sum(before[processes.rows(role)].tolist())
        if not total > 0:
            message = (
                f"The {role} yield before the cut is {total:g}; a threshold scan needs a positive {role} yield: "
                f"at least one process of role {role} whose weights add up to more than 0."
            )
            raise InputError(message)
    empty = [row for row in processes.rows("signal") if not before[row] > 0]
    if each_signal and empty:
        message = (
            f"The yield of signal process '{processes.names[empty[0]]}' before the cut is {before[empty[0]]:g}; a separate "
            "hypothesis needs a positive yield. Leave the process out, or set signals: sum."
        )
        raise InputError(message)
