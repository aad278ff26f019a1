"""Yields and significance of each score category, and the combined significance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Floats, Integers, ScoredEvents
from zsig_hep.selection.numbers import HypothesisSignificance, as_yields, by_signal
from zsig_hep.selection.thresholds.differences import Difference
from zsig_hep.statistics.combination import combine_independent
from zsig_hep.statistics.objective import Objective, SelectionSignificance
from zsig_hep.statistics.process_table import ProcessTable
from zsig_hep.statistics.yields import NO_EVENTS, Yield


@dataclass(frozen=True)
class Category:
    """Yields and significance of one category.

    Attributes:
        yields: yields of the processes that are not data, by name.
        signal: sum of the signal processes.
        background: sum of the background processes.
        significance: figure of merit of this category alone; not finite if its background is not positive.
        significance_uncertainty: its standard deviation from the finite simulation.
    """

    yields: Mapping[str, Yield]
    signal: Yield
    background: Yield
    significance: float
    significance_uncertainty: float


@dataclass(frozen=True)
class CombinedSignificance:
    """Significance of several categories together.

        Z^2 = sum_c Z_c^2,    sigma_Z^2 = sum_c (Z_c / Z)^2 sigma_c^2                          (1)

    Attributes:
        value: Z.
        uncertainty: sigma_Z from the finite simulation; categories share no simulated events.
        hypotheses: significance of each signal process alone, by name; empty where the signals are summed.
    """

    value: float
    uncertainty: float
    hypotheses: Mapping[str, HypothesisSignificance] = field(default_factory=dict)


class Combination:
    """Base of divisions into categories with a combined significance, or None without one."""

    combined: CombinedSignificance | None

    @property
    def significance(self) -> float | None:
        """Significance of all categories together."""
        return None if self.combined is None else self.combined.value

    @property
    def significance_uncertainty(self) -> float | None:
        """Standard deviation of the significance from the finite simulation, at fixed edges."""
        return None if self.combined is None else self.combined.uncertainty


@dataclass(frozen=True, eq=False, repr=False)
class CategorySums(ShortRepr):
    """Yields of P processes that are not data in C categories, and the figure of merit of each category.

    Attributes:
        processes: the P processes.
        yields: sums of weights, shape [P, C], in events.
        variances: sums of squared weights, shape [P, C].
        entries: numbers of simulated events, shape [P, C].
        higher_moments: sums of the third and of the fourth powers of weights, shape [P, C] each.
        z: figure of merit of each category, values of shape [C].
    """

    processes: ProcessTable
    yields: Floats
    variances: Floats
    entries: Integers
    higher_moments: tuple[Floats, Floats]
    z: SelectionSignificance

    @classmethod
    def of_events(cls, events: ScoredEvents, category: Integers, count: int, objective: Objective) -> "CategorySums":
        """Sum the events of each category.

        Args:
            events: N events; data are left out.
            category: category of each event, -1 for none, shape [N].
            count: number of categories.
            objective: the figure of merit.
        """
        inside = category >= 0
        cell = events.process[inside] * count + category[inside]
        weight = events.weight[inside]

        def sums(values: Floats | None) -> npt.NDArray[Any]:
            by_cell = np.bincount(cell, values, len(events.processes) * count)
            return by_cell.reshape(-1, count)[~events.processes.is_data]

        square = weight * weight
        entries, higher = sums(None).astype(np.int64), (sums(square * weight), sums(square * square))
        return cls.of_yields(events.processes.simulated, sums(weight), sums(square), entries, higher, objective)

    @classmethod
    def of_yields(
        cls,
        processes: ProcessTable,
        yields: Floats,
        variances: Floats,
        entries: Integers,
        higher_moments: tuple[Floats, Floats],
        objective: Objective,
    ) -> "CategorySums":
        """Evaluate the figure of merit of each category; arrays of shape [P, C]."""
        z = objective.evaluate(yields, variances, processes, higher_moments=higher_moments)
        return cls(processes, yields, variances, entries, higher_moments, z)

    @property
    def categories(self) -> tuple[Category, ...]:
        """Yields and significance of each category, the least signal-like first."""
        return tuple(self._category(index) for index in range(self.yields.shape[1]))

    @property
    def combined(self) -> CombinedSignificance:
        """Equation 1; NaN if the significance of a category is not finite."""
        together = combine_independent(self.z)
        each = None if self.z.hypotheses is None else combine_independent(self.z.hypotheses, axis=1)
        return CombinedSignificance(float(together.value), float(together.uncertainty), by_signal(each, self.processes))

    @property
    def why_not_combinable(self) -> str:
        """The first category without positive finite significance, in words; empty if all have one."""
        values = np.asarray(self.z.value)
        failing = np.flatnonzero(~((values > 0) & np.isfinite(values)))
        if not failing.size:
            return ""
        one = self._category(int(failing[0]))
        return (
            f"category {failing[0]} of {values.size} (from 0) holds {one.signal.value:.3g} +- "
            f"{one.signal.uncertainty:.3g} signal and {one.background.value:.3g} +- {one.background.uncertainty:.3g} "
            "background events, for which no positive finite significance exists"
        )

    @property
    def gradient(self) -> Floats:
        """Derivative of the combined Z in the yield of every process in every category, shape [P, C + 1].

        The last column is zero, for events of category -1.
        """
        values = np.asarray(self.z.value)
        slopes = np.zeros((len(self.processes), values.size + 1))
        slopes[:, :-1] = values / self.combined.value * np.asarray(self.z.slopes)
        return slopes

    @property
    def variance_gradient(self) -> Floats:
        """Derivative of the combined Z in the sum of squared weights of every process in every category.

        Shape [P, C + 1]; zero for signals, for events of category -1, and if Z does not include the simulation.
        """
        values = np.asarray(self.z.value)
        slopes = np.zeros((len(self.processes), values.size + 1))
        of_background = values / self.combined.value * np.asarray(self.z.variance_slope)
        slopes[self.processes.is_background, :-1] = of_background
        return slopes

    def _category(self, index: int) -> Category:
        here = np.s_[:, index]
        yields = as_yields(
            self.processes, self.yields[here], self.variances[here], self.entries[here],
            (self.higher_moments[0][here], self.higher_moments[1][here]),
        )  # fmt: skip
        return Category(
            yields,
            sum((yields[name] for name in self.processes.signals), NO_EVENTS),
            sum((yields[name] for name in self.processes.backgrounds), NO_EVENTS),
            float(self.z.value[index]),
            float(self.z.uncertainty[index]),
        )


def paired_category_difference(
    first: CategorySums,
    second: CategorySums,
    first_category: Integers,
    second_category: Integers,
    events: ScoredEvents,
) -> Difference:
    """Combined significance of one division minus that of another division of the same events, at fixed edges.

        sigma^2 = sum_i w_i^2 [dZ_1/dy_i - dZ_2/dy_i + w_i (dZ_1/dv_i - dZ_2/dv_i)]^2            (2)

    where y_i is the yield and v_i the sum of squared weights of the process and category of event i in either division,
    so that the fluctuations of events with the same effect on both cancel. It is the limit of the Poisson bootstrap of
    `zsig_hep.selection.paired_difference` for many events.

    Args:
        first: sums of the first division.
        second: sums of the second division.
        first_category: category of each event in the first division, -1 for none, shape [N].
        second_category: category of each event in the second division, -1 for none, shape [N].
        events: the N events, none of them data.

    Returns:
        The difference with its uncertainty from the finite simulation.
    """
    change = first.gradient[events.process, first_category]
    change -= second.gradient[events.process, second_category]
    of_variance = first.variance_gradient[events.process, first_category]
    of_variance -= second.variance_gradient[events.process, second_category]
    change += events.weight * of_variance
    difference = first.combined.value - second.combined.value
    return Difference(difference, float(np.sqrt(np.sum((events.weight * change) ** 2))))
