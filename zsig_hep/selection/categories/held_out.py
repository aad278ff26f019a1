"""Score categories whose edges are chosen on other folds, and what falls into them on the folds that did not choose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.categories.choose import CategorySettings, CategoryStatus, ChosenCategories, Division
from zsig_hep.selection.categories.yields import (
    Category,
    CategorySums,
    CombinedSignificance,
    paired_category_difference,
)
from zsig_hep.selection.events import Integers, ScoredEvents, VariedEvents
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.differences import Difference
from zsig_hep.selection.thresholds.held_out import (
    HeldOutWorkingPoint,
    choose_by_fold,
    held_out_selection,
    hold_out_working_point,
    why_folds_fail,
)
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.statistics.objective import Objective

FoldEdges = tuple[tuple[float, ...] | None, ...]
"""Lower edges of the categories of each fold; None where they cannot be formed."""


@dataclass(frozen=True)
class HeldOutDivision:
    """A division into a number of categories, chosen for every fold on the other folds; None and empty unless ok.

    Attributes:
        count: number of categories.
        status: "ok", or why there is no result; "no_held_out_significance" when a category holds no positive signal or
            background yield in the held-out folds.
        reason: empty when ok; otherwise which folds or category, and what to change.
        edges: lower edges of each fold; None where its categories cannot be formed.
        categories: what each holds, added over the held-out folds, the least signal-like first.
        combined: significance of all categories together.
        choosing_significance: mean over folds of the significance on the events that chose the edges.
        optimism: choosing_significance - significance.
        within_limits: whether each category had, on the events that chose its edges, the effective entries that are
            required; the optimum always has.
    """

    count: int
    status: CategoryStatus
    reason: str = ""
    edges: FoldEdges = ()
    categories: tuple[Category, ...] = ()
    combined: CombinedSignificance | None = None
    choosing_significance: float | None = None
    optimism: float | None = None
    within_limits: bool = True

    @property
    def significance(self) -> float | None:
        """Of all categories together."""
        return None if self.combined is None else self.combined.value

    @property
    def significance_uncertainty(self) -> float | None:
        """Its standard deviation from the finite simulation, at fixed edges."""
        return None if self.combined is None else self.combined.uncertainty

    def category_of(self, events: ScoredEvents | VariedEvents) -> Integers:
        """Category of any events, such as those of a systematic variation; see `category_index`."""
        return category_index(events, self.edges)


@dataclass(frozen=True, eq=False, repr=False)
class HeldOutCategories(ShortRepr):
    """Held-out categories for every number of them up to the one that is wanted, with what they compare to.

    Attributes:
        optima: the best division into 1, 2, ... categories.
        equal_signal: the best division into as many categories of equal signal yield; where no lowest edge gives them
            enough effective background, not within limits and above the lowest edge of the optimum.
        over_equal_signal: significance of the optimum minus that of equal signal; None where either has none, or equal
            signal is not within limits, since that compares what is not alike.
        over_single_cut: significance of the optimum minus that of the working point; None where either has none.
        working_point: the single cut.
        category: of every event in the last of the optima, -1 in none, 0 the least signal-like, shape [N].
        objective: what the significances are.
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
        """The division into the number of categories that is wanted."""
        return self.optima[-1]


def category_index(events: ScoredEvents | VariedEvents, edges: FoldEdges) -> Integers:
    """Category of each event by the edges of its own fold.

    Args:
        events: N events.
        edges: ascending lower edges of each fold; None puts all events of the fold in no category.

    Returns:
        Index of the highest edge at or below the score, -1 below the lowest, shape [N].

    Raises:
        InputError: a fold has no edges to look up.

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
    events: ScoredEvents, settings: WorkingPointSettings, category_settings: CategorySettings
) -> HeldOutCategories:
    """Choose the edges of each fold on the other folds and add up what the categories hold in the folds that did not.

    As in `hold_out_working_point`, the weights of the choosing folds are multiplied by fold_count / (fold_count - 1), and
    the requirements are those that the choosing folds must meet. Categories of equal signal yield are chosen and held
    out in the same way.

    Args:
        events: with out-of-fold scores; data choose nothing but have a category. Variations are not used.
        settings: figure of merit and requirements; in place of an exact Poisson tail, whose squares do not add up, the
            Asimov significance that it tends to is taken.
        category_settings: number of categories and candidates.

    Returns:
        For each number of categories its edges, yields and significance, or a status with its reason.

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
        [('ok', 0.7), ('ok', 0.9), ('ok', 0.9)]
        >>> found.category.shape, np.unique(found.category)
        ((4000,), array([-1,  0,  1,  2]))
    """
    settings, events = settings.differentiable, replace(events, variations=())
    point = hold_out_working_point(events, settings)
    judge = _Judge(events.simulated, settings.objective)
    divisions = choose_by_fold(
        judge.events,
        lambda choosing: Division.of_scan(scan_thresholds(choosing, settings), settings, category_settings),
        "categories",
    )
    counts = range(1, category_settings.count + 1)
    optima = [judge.held_out([division.optimum(count) for division in divisions]) for count in counts]
    equal = [judge.held_out([division.equal_signal(count) for division in divisions]) for count in counts]
    cut = held_out_selection(judge.events, point.thresholds).astype(np.int64) - 1
    single = _Judged(point.status == "ok", cut, judge.sums(cut, 1))
    return HeldOutCategories(
        optima=tuple(division for division, _ in optima),
        equal_signal=tuple(division for division, _ in equal),
        over_equal_signal=tuple(judge.difference(a, b) for (_, a), (_, b) in zip(optima, equal, strict=True)),
        over_single_cut=tuple(judge.difference(judged, single) for _, judged in optima),
        working_point=point,
        category=category_index(events, optima[-1][0].edges),
        objective=judge.objective,
    )


@dataclass(frozen=True, eq=False)
class _Judged:
    """Categories of all events [N] and their sums, and whether these have a significance within the limits."""

    comparable: bool
    category: Integers
    sums: CategorySums


@dataclass(frozen=True, eq=False)
class _Judge:
    """Measures divisions on held-out folds."""

    events: ScoredEvents
    objective: Objective

    def sums(self, category: Integers, count: int) -> CategorySums:
        return CategorySums.of_events(self.events, category, count, self.objective)

    def held_out(self, chosen: Sequence[ChosenCategories]) -> tuple[HeldOutDivision, _Judged]:
        """Apply the edges that were chosen for each fold to the events of that fold."""
        count = chosen[0].count
        edges = tuple(each.edges if each.status == "ok" else None for each in chosen)
        category = category_index(self.events, edges)
        sums = self.sums(category, count)
        statement = f"the {count} categories of {{}} cannot be formed"
        if reason := why_folds_fail(statement, [each.reason for each in chosen]):
            return HeldOutDivision(count, "categories_not_formed", reason, edges), _Judged(False, category, sums)
        if reason := sums.why_not_combinable:
            advice = f"in the held-out folds {reason}; raise minimum_effective_background or ask for fewer categories"
            return HeldOutDivision(count, "no_held_out_significance", advice, edges), _Judged(False, category, sums)
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
        return division, _Judged(division.within_limits, category, sums)

    def difference(self, first: _Judged, second: _Judged) -> Difference | None:
        if not (first.comparable and second.comparable):
            return None
        return paired_category_difference(first.sums, second.sums, first.category, second.category, self.events)
