"""Held-out working points: the cut of each fold is chosen on the other folds and evaluated on that fold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.selection.events import Booleans, Floats, ScoredEvents, VariationPair, VariedEvents
from zsig_hep.selection.folds import check_given_folds, in_partition
from zsig_hep.selection.numbers import SelectionNumbers, mean_hypotheses, selection_numbers, spread_over_partitions
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.optimism import optimism_uncertainty
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.selection.thresholds.working_points import Status, WorkingPoint, choose_working_point
from zsig_hep.selection.varied_events import background_uncertainty, varied_yields
from zsig_hep.statistics.yields import Yield

Choice = TypeVar("Choice")


OptimismStatus = Literal["ok", "exceeds_error"]

Rescored = Callable[[ScoredEvents, int, int], ScoredEvents]
"""The events that choose the cut of a fold, with the score that was chosen for it: of events, partition and fold."""


@dataclass(frozen=True)
class PartitionChoice:
    """The cuts of one partition of the events into folds, and the significance in its held-out folds.

    Attributes:
        thresholds: the cut of each fold, None where none qualifies.
        significance: figure of merit of the held-out yields; None without one.
        significance_uncertainty: its standard deviation from the finite simulation, at fixed cuts.
        choosing_significance: mean over folds of the figure of merit on the events that chose the cut.
        common_uncertainty: as in `HeldOutWorkingPoint`.
    """

    thresholds: tuple[float | None, ...]
    significance: float | None
    significance_uncertainty: float | None
    choosing_significance: float | None
    common_uncertainty: float | None


@dataclass(frozen=True)
class HeldOutWorkingPoint(SelectionNumbers):
    """A cut for every fold, chosen on the other folds, and the events of that fold that pass it.

    `significance`, `significance_without_simulation`, `hypotheses`, `choosing_significance` and `optimism` are means over
    the partitions. `thresholds`, yields, efficiencies, `common_uncertainty` and `exported_significance` are those of
    partition 0, whose folds are those of the training: these cuts are exported, applied to ntuples and fitted, and where
    yields are varied, the change is that of `exported_significance`.

    Attributes:
        status: "ok", or why there is no result; "no_held_out_background" when the background yield that the cuts select
            in the held-out folds is not positive or the significance is not finite.
        reason: empty when ok; otherwise which folds fail, which requirement, and what to change.
        thresholds: the cut of each fold, None where none qualifies.
        common_uncertainty: relative uncertainty common to all backgrounds in the figure of merit, with that of the
            systematic variations; None where it is that of the settings.
        exported_significance: figure of merit of `yields`.
        simulation_uncertainty: standard deviation of the significance from the finite simulation, at fixed cuts.
        choice_uncertainty: standard deviation of the significance over the partitions; 0 with one.
            `significance_uncertainty` is this and `simulation_uncertainty` in quadrature.
        choosing_significance: mean over folds of the figure of merit on the events that chose the cut.
        optimism: choosing_significance - significance, the bias of the former from the choice of the cut. The choosing
            events are only (K - 1)/K of the simulation, which lowers a figure of merit that includes its variance.
        optimism_uncertainty: standard deviation of the optimism, from the finite simulation at fixed cuts and from the
            spread over the partitions.
        optimism_status: "exceeds_error" if the optimism is larger than the uncertainty of the significance.
        partitions: the choice in each partition.
    """

    status: Status
    reason: str = ""
    thresholds: tuple[float | None, ...] = ()
    common_uncertainty: float | None = None
    exported_significance: float | None = None
    simulation_uncertainty: float | None = None
    choice_uncertainty: float | None = None
    choosing_significance: float | None = None
    optimism: float | None = None
    optimism_uncertainty: float | None = None
    optimism_status: OptimismStatus = "ok"
    partitions: tuple[PartitionChoice, ...] = ()


def hold_out_working_point(
    events: ScoredEvents, settings: WorkingPointSettings, rescored: Rescored | None = None
) -> HeldOutWorkingPoint:
    """Choose the cut of each fold on the other folds, and add up the held-out yields over the folds.

    The weights of the choosing folds are multiplied by fold_count / (fold_count - 1), so that the figure of merit is
    that of the whole luminosity. A ratio of yields in place of this factor would depend on the held-out events. No
    held-out yield takes part in the choice of its cut. The choice is repeated over `settings.partitions` partitions of
    the events into folds; see `zsig_hep.selection.folds`.

    Args:
        events: events with out-of-fold scores; data are left out. With `settings.variations_in_figure` their variations
            give the background uncertainty: on the choosing folds for the choice, on the held-out folds for the result.
        settings: figure of merit and requirements, which must be met on the choosing folds.
        rescored: for scores that are themselves chosen fold by fold, with `events.partition_scores`: the score of the
            other folds depends on the events of the fold whose cut is chosen.

    Returns:
        Thresholds, held-out yields and their significance; a status with its reason when a fold of the training has no
        threshold. Other partitions without a result are left out of the means.

    Raises:
        InputError: there are fewer than 2 folds, the events cannot be scanned (see `scan_thresholds`), or they cannot be
            divided otherwise (see `in_partition`).

    Example:
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1], 2000)
        >>> events = ScoredEvents.from_arrays(
        ...     rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5), process, names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> point = hold_out_working_point(events, WorkingPointSettings())
        >>> point.status, len(point.partitions), len(point.thresholds), round(point.significance, 1)
        ('ok', 5, 5, 0.6)
    """
    events = events.simulated
    if not settings.variations_in_figure:
        events = replace(events, variations=())
    # Sorted once, so that the scan of each fold finds its events in order.
    ascending = events.select(np.argsort(events.score, kind="stable"))
    found = [
        _hold_out(
            in_partition(events, number),
            in_partition(ascending, number),
            settings,
            of_partition(rescored, number),
        )
        for number in range(settings.partitions)
    ]
    return _mean_over_partitions(events, found, settings) if found[0].status == "ok" else found[0]


def of_partition(rescored: Rescored | None, number: int) -> Callable[[ScoredEvents, int], ScoredEvents] | None:
    """The scores of the folds of one partition, for `choose_by_fold`; None without."""
    return None if rescored is None else lambda events, fold: rescored(events, number, fold)


def _hold_out(
    events: ScoredEvents,
    ascending: ScoredEvents,
    settings: WorkingPointSettings,
    rescored: Callable[[ScoredEvents, int], ScoredEvents] | None,
) -> HeldOutWorkingPoint:
    """The working point of one partition, chosen on the same events in ascending order of the score."""

    def choose(choosing: ScoredEvents) -> WorkingPoint:
        return choose_working_point(scan_thresholds(choosing, settings), settings)

    chosen = choose_by_fold(ascending, choose, "cut", rescored)
    thresholds = tuple(point.threshold for point in chosen)
    if reason := why_folds_fail("no cut could be chosen for {}", [point.reason for point in chosen]):
        return HeldOutWorkingPoint(status="no_threshold_qualifies", reason=reason, thresholds=thresholds)
    numbers = _held_out_numbers(events, thresholds, settings)
    if reason := why_not_quotable(numbers):
        return HeldOutWorkingPoint(status="no_held_out_background", reason=reason, thresholds=thresholds)
    on_choosing = float(
        np.mean([point.choosing_significance for point in chosen if point.choosing_significance is not None])
    )
    return HeldOutWorkingPoint(
        status="ok",
        thresholds=thresholds,
        exported_significance=numbers["significance"],
        simulation_uncertainty=numbers["significance_uncertainty"],
        choosing_significance=on_choosing,
        optimism=on_choosing - numbers["significance"],
        **numbers,
    )


def _mean_over_partitions(
    events: ScoredEvents, points: Sequence[HeldOutWorkingPoint], settings: WorkingPointSettings
) -> HeldOutWorkingPoint:
    """The first point with the significance of all points that have one."""
    usable = [point for point in points if point.status == "ok"]
    cuts = [
        (in_partition(events, number), np.array(point.thresholds, dtype=np.float64), point.common_uncertainty)
        for number, point in enumerate(points)
        if point.status == "ok"
    ]

    def values(name: str) -> Floats:
        return np.array([getattr(point, name) for point in usable], dtype=np.float64)

    def mean(name: str) -> float | None:
        return _finite(float(values(name).mean()))

    simulation, choice = mean("simulation_uncertainty"), spread_over_partitions(values("significance"))
    uncertainty = None if simulation is None else float(np.hypot(simulation, choice))
    significance, on_choosing = (float(values(name).mean()) for name in ("significance", "choosing_significance"))
    optimism = on_choosing - significance
    return replace(
        points[0],
        significance=significance,
        significance_uncertainty=uncertainty,
        significance_without_simulation=mean("significance_without_simulation"),
        hypotheses=mean_hypotheses([point.hypotheses for point in usable]),
        simulation_uncertainty=simulation,
        choice_uncertainty=choice,
        choosing_significance=on_choosing,
        optimism=optimism,
        optimism_uncertainty=_finite(
            float(np.hypot(optimism_uncertainty(cuts, settings.objective), spread_over_partitions(values("optimism"))))
        ),
        optimism_status="ok" if uncertainty is None or optimism <= uncertainty else "exceeds_error",
        partitions=tuple(
            PartitionChoice(**{each.name: getattr(point, each.name) for each in fields(PartitionChoice)})
            for point in points
        ),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def choose_by_fold(
    events: ScoredEvents,
    choose: Callable[[ScoredEvents], Choice],
    what: str,
    rescored: Callable[[ScoredEvents, int], ScoredEvents] | None = None,
) -> list[Choice]:
    """Make a choice for each fold on the events of the other folds.

    Args:
        events: simulated events.
        choose: makes the choice from the events of the other folds.
        what: name of what is chosen, for messages.
        rescored: gives the events of the other folds the score of a fold, where each fold has its own.

    Raises:
        InputError: there are fewer than 2 folds, one of the given folds has no signal or no background, or `choose`
            raises it.
    """
    if events.fold_count < 2:
        message = f"fold_count is {events.fold_count}; a held-out {what} needs at least 2 folds."
        raise InputError(message)
    check_given_folds(events)
    chosen = []
    for held_out in range(events.fold_count):
        try:
            others = events.outside(held_out)
            chosen.append(choose(others if rescored is None else rescored(others, held_out)))
        except InputError as error:
            message = f"The {what} of fold {held_out} cannot be chosen on the other folds. {error}"
            raise InputError(message) from error
    return chosen


def _held_out_numbers(
    events: ScoredEvents, thresholds: Sequence[float | None], settings: WorkingPointSettings
) -> dict[str, Any]:
    yields = events.yields(held_out_selection(events, thresholds))
    totals = {name: each.value for name, each in events.yields().items()}
    common = None
    if settings.variations_in_figure and events.variations:
        common = _common_uncertainty(events, yields, thresholds, settings)
    numbers = selection_numbers(yields, totals, events.processes, settings.objective, common)
    return numbers | {"common_uncertainty": common}


def _common_uncertainty(
    events: ScoredEvents,
    yields: Mapping[str, Yield],
    thresholds: Sequence[float | None],
    settings: WorkingPointSettings,
) -> float:
    """Relative uncertainty common to all backgrounds of the held-out selection, from variations and settings."""
    backgrounds = events.processes.backgrounds
    varied = varied_yields(events, varied_selections(events, thresholds), yields)
    sigma = background_uncertainty(varied, backgrounds)
    total = sum(yields[name].value for name in backgrounds)
    return float(np.hypot(settings.relative_background_uncertainty, sigma / total if total > 0 else 0.0))


def held_out_selection(events: ScoredEvents | VariedEvents, thresholds: Sequence[float | None]) -> Booleans:
    """Select the events at or above the threshold of their own fold, and none in a fold without threshold.

    Args:
        events: N events.
        thresholds: one per fold.

    Returns:
        True for selected events, shape [N].

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.4, 0.4], [1.0, 1.0], [0, 1], names=["hmumu", "dy"], roles=["signal", "background"], fold=[0, 1])
        >>> held_out_selection(events, [0.3, 0.5])
        array([ True, False])
    """
    cut = np.array([np.inf if threshold is None else threshold for threshold in thresholds])
    return np.asarray(events.score >= cut[events.fold])


def varied_selections(events: ScoredEvents, thresholds: Sequence[float | None]) -> list[tuple[Booleans, ...]]:
    """`held_out_selection` of the events of every variation, up and down or under each member of a set."""
    return [_selections(alternatives, thresholds) for alternatives in events.variations]


def _selections(alternatives: VariationPair, thresholds: Sequence[float | None]) -> tuple[Booleans, ...]:
    if alternatives[0].combine is not None:
        # The scores are the same under all members.
        return (held_out_selection(alternatives[0], thresholds),) * len(alternatives)
    return tuple(held_out_selection(each, thresholds) for each in alternatives)


def why_folds_fail(statement: str, reasons: Sequence[str]) -> str:
    """Name the folds in which the choice failed and the reason of the first; empty when it succeeded in every fold.

    Args:
        statement: what failed, with {} for the folds.
        reasons: reason for each fold, empty where the choice succeeded.

    Example:
        >>> why_folds_fail("no cut could be chosen for {}", ["", "too few", "too few"])
        'no cut could be chosen for fold 1, 2 of 3; for fold 1: too few'
    """
    failing = [fold for fold, reason in enumerate(reasons) if reason]
    if not failing:
        return ""
    listed = f"fold {', '.join(map(str, failing))} of {len(reasons)}"
    return f"{statement.format(listed)}; for fold {failing[0]}: {reasons[failing[0]]}"


def why_not_quotable(numbers: Mapping[str, Any]) -> str:
    """Why held-out numbers have no significance; empty when they have one."""
    background: Yield = numbers["background"]
    if background.value > 0 and numbers["significance"] is not None:
        return ""
    return (
        f"the cuts chosen on the other folds select {background.value:.3g} +- {background.uncertainty:.3g} background "
        f"and {numbers['signal'].value:.3g} signal events in the held-out folds, for which no finite significance exists; "
        "raise minimum_effective_background or simulate more background"
    )
