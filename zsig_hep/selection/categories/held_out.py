"""Held-out score categories: the edges of each fold are chosen on the other folds and evaluated on that fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.categories.choose import CategorySettings, CategoryStatus, ChosenCategories, Division
from zsig_hep.selection.categories.yields import (
    Category,
    CategorySums,
    Combination,
    CombinedSignificance,
    paired_category_difference,
)
from zsig_hep.selection.events import Integers, ScoredEvents, VariedEvents
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.numbers import mean_hypotheses, spread_over_partitions
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.differences import Difference
from zsig_hep.selection.thresholds.held_out import (
    HeldOutWorkingPoint,
    Rescored,
    choose_by_fold,
    held_out_selection,
    hold_out_working_point,
    of_partition,
    why_folds_fail,
)
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.statistics.objective import Objective

FoldEdges = tuple[tuple[float, ...] | None, ...]
"""Lower edges of the categories of each fold; None where they cannot be formed."""


@dataclass(frozen=True)
class HeldOutDivision(Combination):
    """A division into a number of categories, chosen for every fold on the other folds; without numbers unless ok.

    Attributes:
        count: number of categories.
        status: "ok", or why there is no result; "no_held_out_significance" when a category has no positive finite
            significance in the held-out folds.
        reason: empty when ok; otherwise which folds or category fail, and what to change.
        edges: lower edges of each fold; None where its categories cannot be formed.
        categories: yields of each category, added over the held-out folds, the least signal-like first.
        combined: significance of all categories together, the mean over the partitions of the events; its uncertainty is
            that at fixed edges and `choice_uncertainty` in quadrature. Edges and yields are those of the folds of the
            training, as for `HeldOutWorkingPoint`.
        exported_significance: significance of `categories`.
        choice_uncertainty: standard deviation of the significance over the partitions; 0 with one.
        choosing_significance: mean over folds of the significance on the events that chose the edges.
        optimism: choosing_significance - significance.
        within_limits: whether each category had the required effective entries on the events that chose its edges;
            always true for the optimum.
    """

    count: int
    status: CategoryStatus
    reason: str = ""
    edges: FoldEdges = ()
    categories: tuple[Category, ...] = ()
    combined: CombinedSignificance | None = None
    exported_significance: float | None = None
    choice_uncertainty: float | None = None
    choosing_significance: float | None = None
    optimism: float | None = None
    within_limits: bool = True


@dataclass(frozen=True, eq=False, repr=False)
class HeldOutCategories(ShortRepr):
    """Held-out divisions into 1, 2, ... categories, and their gain over a single cut and over equal signal.

    Gains are means over the partitions of the events, and their errors contain the spread over these.

    Attributes:
        optima: the best division into each number of categories.
        equal_signal: the best division into each number of categories of equal signal yield; if none meets the
            requirements, the one above the lowest edge of the optimum, with `within_limits` false.
        over_equal_signal: significance of the optimum minus that of equal signal; None where either has none, or where
            equal signal does not meet the requirements.
        over_single_cut: significance of the optimum minus that of the working point; None where either has none.
        working_point: the single cut.
        category: category of every event in the last of the optima, 0 the least signal-like and -1 for none, shape [N].
        objective: the figure of merit.
    """

    optima: tuple[HeldOutDivision, ...]
    equal_signal: tuple[HeldOutDivision, ...]
    over_equal_signal: tuple[Difference | None, ...]
    over_single_cut: tuple[Difference | None, ...]
    working_point: HeldOutWorkingPoint
    category: Integers
    objective: Objective

    @property
    def chosen(self) -> HeldOutDivision:
        """The best division into the number of categories of the settings."""
        return self.optima[-1]


def category_index(events: ScoredEvents | VariedEvents, edges: FoldEdges) -> Integers:
    """Category of each event by the edges of its own fold.

    Args:
        events: N events, nominal or varied.
        edges: ascending lower edges of each fold; None puts all events of the fold in no category.

    Returns:
        Index of the highest edge at or below the score, -1 below the lowest, shape [N].

    Raises:
        InputError: an event has a fold for which `edges` has no entry.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.1, 0.4, 0.9, 0.4], np.ones(4), [0, 0, 1, 1], names=["hmumu", "dy"], roles=["signal", "background"],
        ...     fold=[0, 0, 0, 1])
        >>> category_index(events, ((0.4, 0.8), (0.5, 0.6)))
        array([-1,  0,  1, -1])
    """
    if len(events) and events.fold.max() >= len(edges):
        message = f"Folds run up to {events.fold.max()}, and edges of {len(edges)} folds are given."
        raise InputError(message)
    category = np.full(len(events), -1, dtype=np.int64)
    for number, of_fold in enumerate(edges):
        if of_fold is not None:
            inside = events.fold == number
            category[inside] = np.searchsorted(np.asarray(of_fold), events.score[inside], side="right") - 1
    return category


def hold_out_categories(
    events: ScoredEvents,
    settings: WorkingPointSettings,
    category_settings: CategorySettings,
    rescored: Rescored | None = None,
) -> HeldOutCategories:
    """Choose the edges of each fold on the other folds, and add up the held-out yields over the folds.

    As in `hold_out_working_point`, the weights of the choosing folds are multiplied by fold_count / (fold_count - 1),
    and the requirements must be met on the choosing folds. Categories of equal signal yield are chosen in the same way.
    The choice is repeated over `settings.partitions` partitions of the events.

    Args:
        events: events with out-of-fold scores; data do not take part in the choice but are assigned to categories.
            Variations are not used.
        settings: figure of merit and requirements. An exact Poisson tail does not add in quadrature and is replaced by
            the Asimov significance.
        category_settings: number of categories and candidates.
        rescored: for scores that are themselves chosen fold by fold; see `hold_out_working_point`.

    Returns:
        For each number of categories the edges, yields and significance, or a status with its reason.

    Raises:
        InputError: the events cannot be scanned (see `hold_out_working_point`).

    Example:
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1], 2000)
        >>> events = ScoredEvents.from_arrays(
        ...     rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5), process, names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> found = hold_out_categories(events, WorkingPointSettings(), CategorySettings(count=3))
        >>> [(each.status, round(each.significance, 1)) for each in found.optima]
        [('ok', 0.6), ('ok', 0.8), ('ok', 0.7)]
        >>> found.category.shape, np.unique(found.category)
        ((4000,), array([-1,  0,  1,  2]))
    """
    settings, events = settings.differentiable, replace(events, variations=())
    alone = settings.model_copy(update={"partitions": 1})
    found = [
        _hold_out(in_partition(events, number), alone, category_settings, of_partition(rescored, number))
        for number in range(settings.partitions)
    ]
    return HeldOutCategories(
        optima=_means([each.optima for each in found], _mean_division),
        equal_signal=_means([each.equal_signal for each in found], _mean_division),
        over_equal_signal=_means([each.over_equal_signal for each in found], _mean_difference),
        over_single_cut=_means([each.over_single_cut for each in found], _mean_difference),
        working_point=hold_out_working_point(events, settings, rescored),
        category=found[0].category,
        objective=found[0].objective,
    )


_Part = TypeVar("_Part")


def _means(found: Sequence[Sequence[_Part]], mean: Callable[[Sequence[_Part]], _Part]) -> tuple[_Part, ...]:
    """The mean over partitions for each number of categories."""
    return tuple(mean(of_count) for of_count in zip(*found, strict=True))


def _mean_division(found: Sequence[HeldOutDivision]) -> HeldOutDivision:
    """The first division with the significance of all that have one."""
    first = found[0]
    usable = [(each, each.combined) for each in found if each.combined is not None]
    if first.combined is None:
        return first
    value = float(np.mean([combined.value for _, combined in usable]))
    choice = spread_over_partitions([combined.value for _, combined in usable])
    simulation = np.mean([combined.uncertainty for _, combined in usable])
    on_choosing = float(np.mean([each.choosing_significance for each, _ in usable]))
    return replace(
        first,
        combined=CombinedSignificance(
            value, float(np.hypot(simulation, choice)), mean_hypotheses([combined.hypotheses for _, combined in usable])
        ),
        exported_significance=first.combined.value,
        choice_uncertainty=choice,
        choosing_significance=on_choosing,
        optimism=on_choosing - value,
    )


def _mean_difference(found: Sequence[Difference | None]) -> Difference | None:
    """The mean of the differences; None if the folds of the training have none."""
    usable = [each for each in found if each is not None]
    if found[0] is None:
        return None
    values = [each.value for each in usable]
    simulation = np.mean([each.uncertainty for each in usable])
    return Difference(float(np.mean(values)), float(np.hypot(simulation, spread_over_partitions(values))))


def _hold_out(
    events: ScoredEvents,
    settings: WorkingPointSettings,
    category_settings: CategorySettings,
    rescored: Callable[[ScoredEvents, int], ScoredEvents] | None,
) -> HeldOutCategories:
    """The categories of one partition."""
    of_folds: Rescored | None = None if rescored is None else lambda choosing, _, fold: rescored(choosing, fold)
    point = hold_out_working_point(events, settings, of_folds)
    folds = _HeldOutFolds(events.simulated, settings.objective)
    divisions = choose_by_fold(
        folds.events,
        lambda choosing: Division.of_scan(scan_thresholds(choosing, settings), settings, category_settings),
        "categories",
        rescored,
    )
    counts = range(1, category_settings.count + 1)
    optima = [folds.measure([division.optimum(count) for division in divisions]) for count in counts]
    equal = [folds.measure([division.equal_signal(count) for division in divisions]) for count in counts]
    cut = held_out_selection(folds.events, point.thresholds).astype(np.int64) - 1
    single = _Measured(point.status == "ok", cut, folds.sums(cut, 1))
    return HeldOutCategories(
        optima=tuple(division for division, _ in optima),
        equal_signal=tuple(division for division, _ in equal),
        over_equal_signal=tuple(folds.difference(a, b) for (_, a), (_, b) in zip(optima, equal, strict=True)),
        over_single_cut=tuple(folds.difference(best, single) for _, best in optima),
        working_point=point,
        category=category_index(events, optima[-1][0].edges),
        objective=folds.objective,
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """The category of every event [N] and the sums; `comparable` if they have a significance and meet the limits."""

    comparable: bool
    category: Integers
    sums: CategorySums


@dataclass(frozen=True, eq=False)
class _HeldOutFolds:
    """Measures divisions on held-out folds."""

    events: ScoredEvents
    objective: Objective

    def sums(self, category: Integers, count: int) -> CategorySums:
        return CategorySums.of_events(self.events, category, count, self.objective)

    def measure(self, chosen: Sequence[ChosenCategories]) -> tuple[HeldOutDivision, _Measured]:
        """Apply the edges that were chosen for each fold to the events of that fold."""
        count = chosen[0].count
        edges = tuple(each.edges if each.status == "ok" else None for each in chosen)
        category = category_index(self.events, edges)
        sums = self.sums(category, count)
        statement = f"the {count} categories of {{}} cannot be formed"
        if reason := why_folds_fail(statement, [each.reason for each in chosen]):
            return HeldOutDivision(count, "categories_not_formed", reason, edges), _Measured(False, category, sums)
        if reason := sums.why_not_combinable:
            advice = f"in the held-out folds {reason}; raise minimum_effective_background or use fewer categories"
            return HeldOutDivision(count, "no_held_out_significance", advice, edges), _Measured(False, category, sums)
        on_choosing = float(np.mean([each.significance for each in chosen]))
        combined = sums.combined
        division = HeldOutDivision(
            count,
            "ok",
            edges=edges,
            categories=sums.categories,
            combined=combined,
            choosing_significance=on_choosing,
            optimism=on_choosing - combined.value,
            within_limits=all(each.within_limits for each in chosen),
        )
        return division, _Measured(division.within_limits, category, sums)

    def difference(self, first: _Measured, second: _Measured) -> Difference | None:
        if not (first.comparable and second.comparable):
            return None
        return paired_category_difference(first.sums, second.sums, first.category, second.category, self.events)
