"""Choice of score categories: adjacent intervals of the score with the highest combined significance.

Events below the lowest edge are in no category; the highest category has no upper edge; an event at an edge belongs to
the category above it. Category 0 is the least signal-like.

Significances are combined in quadrature, Z^2 = sum_c Z_c^2, with the figure of merit of the working point in each
category. For s/sqrt(b) and Z_A with known backgrounds this is the significance of all categories together. With a
background uncertainty, quadrature treats the uncertainties of different categories as independent. It then
underestimates an uncertainty common to all categories, and Z grows with the number of categories even if the score does
not separate signal from background. If the figure of merit is the mean or the smallest of several signal hypotheses,
the quadrature sum is at most the mean or the smallest of their combined significances.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.categories.intervals import Intervals, best_equal_signal, equal_signal_edges
from zsig_hep.selection.categories.search import Partitions, best_partitions
from zsig_hep.selection.categories.yields import Category, CategorySums, Combination, CombinedSignificance
from zsig_hep.selection.events import Integers
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import ThresholdScan, required_effective_entries
from zsig_hep.selection.thresholds.working_points import choose_working_point
from zsig_hep.settings import Settings

CategoryStatus = Literal["ok", "categories_not_formed", "no_held_out_significance"]


class CategorySettings(Settings):
    """How the score is divided into categories; figure of merit and other requirements are those of `selection`."""

    count: int = Field(default=1, ge=1, le=10)
    """Number of categories; 1 is a single cut."""
    candidates: int = Field(default=2_000, ge=1, le=100_000)
    """Largest number of candidate edges, evenly spaced in efficiency.

    The time grows almost as its square; 10 000 candidates take three seconds per fold. With more than a few thousand
    the edges follow fluctuations, which raises the significance on the events that choose them but not the held-out
    one.
    """
    minimum_effective_background: float | None = Field(default=None, ge=1, le=1e9)
    """Smallest number of effective entries in each category, of the whole background and of each dominant background
    process; default: that of `selection`.
    """

    @model_validator(mode="after")
    def _enough_candidates(self) -> Self:
        if self.candidates < self.count:
            message = (
                f"candidates is {self.candidates}, fewer than the {self.count} categories that need an edge each; "
                f"set it to {self.count} or more"
            )
            raise ValueError(message)
        return self

    def limits(self, settings: WorkingPointSettings) -> WorkingPointSettings:
        """The settings of the working point with the required effective entries of a category."""
        if self.minimum_effective_background is None:
            return settings
        return settings.model_copy(update={"minimum_effective_background": self.minimum_effective_background})


@dataclass(frozen=True)
class ChosenCategories(Combination):
    """A division into a number of categories, on the events that chose it; its numbers are None or empty unless ok.

    Attributes:
        count: number of categories.
        status: "ok", or "categories_not_formed".
        reason: empty when ok; otherwise which requirement fails and what to change.
        edges: lower edge of each category, ascending, length count.
        categories: yields of each category, the least signal-like first.
        combined: significance of all categories together; biased upward, since these events chose the edges.
        within_limits: whether each category has the required effective entries; always true for the optimum.
    """

    count: int
    status: CategoryStatus
    reason: str = ""
    edges: tuple[float, ...] = ()
    categories: tuple[Category, ...] = ()
    combined: CombinedSignificance | None = None
    within_limits: bool = True


def choose_categories(
    scan: ThresholdScan, settings: WorkingPointSettings, category_settings: CategorySettings
) -> tuple[ChosenCategories, ...]:
    """Find the best division into 1, 2, ... count categories; the optimum over the candidate edges is exact.

    Every category needs a positive signal yield, a positive finite significance, and enough effective entries of the
    whole background and of each background process that is dominant before the cut. The events above the lowest edge
    must have the required signal efficiency. With one category and every score as candidate this is
    `choose_working_point`.

    Args:
        scan: yields above every distinct score.
        settings: figure of merit and requirements. An exact Poisson tail does not add in quadrature and is replaced by
            the Asimov significance.
        category_settings: number of categories and candidates.

    Returns:
        The optimum for each number of categories, or a status with its reason if that many cannot be formed.

    Example:
        >>> from zsig_hep.selection import ScoredEvents, scan_thresholds
        >>> score, process = np.repeat([0.2, 0.5, 0.8], 20), np.tile([0, 1], 30)
        >>> weight = np.where(process == 0, np.repeat([0.1, 0.2, 0.4], 20), np.repeat([10.0, 1.6, 0.4], 20))
        >>> settings = WorkingPointSettings(figure_of_merit="s_over_sqrt_b", minimum_effective_background=5)
        >>> events = ScoredEvents.from_arrays(score, weight, process, names=["hmumu", "dy"], roles=["signal", "background"])
        >>> scan = scan_thresholds(events, settings)
        >>> for chosen in choose_categories(scan, settings, CategorySettings(count=3)):
        ...     chosen.edges, round(chosen.significance, 4)
        ((0.8,), 1.6903)
        ((0.5, 0.8), 1.7185)
        ((0.2, 0.5, 0.8), 1.7188)
    """
    division = Division.of_scan(scan, settings.differentiable, category_settings)
    return tuple(division.optimum(count) for count in range(1, category_settings.count + 1))


@dataclass(frozen=True, eq=False, repr=False)
class Division(ShortRepr):
    """The divisions of a scan into categories.

    Attributes:
        scan: yields above every distinct score.
        limits: figure of merit, and requirements of each category.
        intervals: intervals between the candidate edges.
        partitions: the optimum for each number of categories.
    """

    scan: ThresholdScan
    limits: WorkingPointSettings
    intervals: Intervals
    partitions: Partitions

    @classmethod
    def of_scan(
        cls, scan: ThresholdScan, settings: WorkingPointSettings, category_settings: CategorySettings
    ) -> "Division":
        """Find the optimum for each number of categories."""
        limits = category_settings.limits(settings)
        intervals = Intervals.of_scan(scan, limits, category_settings.candidates)
        return cls(scan, limits, intervals, best_partitions(intervals, category_settings.count))

    def optimum(self, count: int) -> ChosenCategories:
        """The division of highest combined significance."""
        edges = self.partitions.edges(count)
        if edges is None:
            return ChosenCategories(count, "categories_not_formed", self._why_not_formed(count))
        return self._chosen(edges)

    def equal_signal(self, count: int) -> ChosenCategories:
        """The best division into categories of equal signal yield that meet the requirements.

        If none meets them, the division above the lowest edge of the optimum is taken without the requirements; its
        significance is not reliable.
        """
        best = best_equal_signal(self.intervals, count)
        if best is not None:
            return self._chosen(best)
        optimum = self.partitions.edges(count)
        edges = equal_signal_edges(self.intervals, count)[0 if optimum is None else optimum[0]]
        if optimum is not None and (np.diff(edges) > 0).all():
            chosen = self._chosen(edges.tolist())
            if all(0 < each.significance < np.inf for each in chosen.categories):
                return replace(chosen, within_limits=False)
        reason = f"no lowest edge gives {count} categories of equal signal yield with positive background"
        return ChosenCategories(count, "categories_not_formed", reason)

    def _chosen(self, edges: Sequence[int]) -> ChosenCategories:
        columns = self.intervals.column[list(edges)]
        sums = CategorySums.of_yields(
            self.scan.processes,
            _between(self.scan.yields, columns),
            _between(self.scan.variances, columns),
            _between(self.scan.entries, columns),
            (_between(self.scan.higher_moments[0], columns), _between(self.scan.higher_moments[1], columns)),
            self.limits.objective,
        )
        lower = tuple(self.scan.threshold[columns].tolist())
        return ChosenCategories(len(edges), "ok", edges=lower, categories=sums.categories, combined=sums.combined)

    def _why_not_formed(self, count: int) -> str:
        if count > self.scan.threshold.size:
            return (
                f"{count} categories need as many different scores, and there are {self.scan.threshold.size}; "
                "use fewer categories"
            )
        single = choose_working_point(self.scan, self.limits)
        if single.status != "ok":
            return single.reason
        fewer = [number for number in range(1, count) if self.partitions.edges(number) is not None]
        counts, names = required_effective_entries(self.scan, self.limits)
        available = ", ".join(f"{entries:.3g} of {name}" for entries, name in zip(counts[:, 0], names, strict=True))
        return (
            f"{count} categories cannot be formed, at most {max(fewer, default=0)} can: each needs a positive signal and "
            f"{self.limits.minimum_effective_background:g} effective entries of every required background "
            f"(minimum_effective_background), and together they need a signal efficiency of "
            f"{self.limits.minimum_signal_efficiency:g}; the effective entries before any cut are: {available}; use fewer "
            "categories, simulate more background, or lower the requirement, which makes the significance less reliable"
        )


def _between(above: npt.NDArray[Any], columns: Integers) -> npt.NDArray[Any]:
    """Sums in each category from the sums at or above its lower edge, shape [P, count]."""
    return -np.diff(above[:, columns], axis=1, append=0)
