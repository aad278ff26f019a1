"""The numbers of a selection, by a cut on a score or by rectangular cuts: yields, efficiencies and significance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.selection.events import Floats, Integers
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable
from zsig_hep.statistics.significance import Significance
from zsig_hep.statistics.yields import NO_EVENTS, Yield


@dataclass(frozen=True)
class HypothesisSignificance:
    """Significance of one signal process alone over the background of a selection.

    Attributes:
        significance: figure of merit.
        significance_uncertainty: its standard deviation from the finite simulation.
    """

    significance: float
    significance_uncertainty: float


@dataclass(frozen=True, kw_only=True)
class SelectionNumbers:
    """Yields, efficiencies and significance of a selection; without a selection all are None and `yields` is empty.

    Attributes:
        yields: selected yield of each process.
        signal: sum of the signal processes.
        background: sum of the background processes.
        signal_efficiency: selected fraction of the signal yield.
        background_efficiency: selected fraction of the background yield.
        purity: s / (s + b); None where s + b is not positive.
        significance: figure of merit; None where it is not finite.
        significance_uncertainty: its standard deviation from the finite simulation, at fixed cuts; None where that is
            not finite.
        significance_without_simulation: figure of merit as if the simulated yields were exact; equal to `significance`
            if that does not include the variance of the simulation.
        hypotheses: significance of each signal process alone, by name; empty where the signals are summed.
    """

    yields: Mapping[str, Yield] = field(default_factory=dict)
    signal: Yield | None = None
    background: Yield | None = None
    signal_efficiency: float | None = None
    background_efficiency: float | None = None
    purity: float | None = None
    significance: float | None = None
    significance_uncertainty: float | None = None
    significance_without_simulation: float | None = None
    hypotheses: Mapping[str, HypothesisSignificance] = field(default_factory=dict)


def selection_numbers(
    passing: Mapping[str, Yield],
    before: Mapping[str, float],
    processes: ProcessTable,
    objective: Objective,
    common_uncertainty: float | None = None,
) -> dict[str, Any]:
    """Compute the fields of `SelectionNumbers`.

    Args:
        passing: selected yield of each process.
        before: yield of each process before the selection.
        processes: the same processes, none of them data.
        objective: the figure of merit.
        common_uncertainty: relative uncertainty common to all backgrounds; replaces that of the objective.
    """
    signal, background = (
        sum((passing[name] for name in names), NO_EVENTS) for names in (processes.signals, processes.backgrounds)
    )
    yields, variances = as_arrays(passing, processes)
    options: dict[str, Any] = {"common_uncertainty": common_uncertainty}
    z = objective.evaluate(yields, variances, processes, higher_moments=higher_moments(passing, processes), **options)
    exact = replace(objective, simulation_uncertainty_in_figure=False)
    all_selected = signal.value + background.value
    return {
        "yields": dict(passing),
        "signal": signal,
        "background": background,
        "signal_efficiency": signal.value / sum(before[name] for name in processes.signals),
        "background_efficiency": background.value / sum(before[name] for name in processes.backgrounds),
        "purity": signal.value / all_selected if all_selected > 0 else None,
        "significance": _finite(z.value),
        "significance_uncertainty": _finite(z.uncertainty),
        "significance_without_simulation": _finite(exact.evaluate(yields, variances, processes, **options).value),
        "hypotheses": by_signal(z.hypotheses, processes),
    }


def as_yields(
    processes: ProcessTable,
    values: Floats,
    variances: Floats,
    entries: Integers,
    higher: tuple[Floats, Floats] | None = None,
) -> dict[str, Yield]:
    """Yields by process from sums of w, w^2, 1, and w^3 and w^4, in the order of the processes, shape [P] each."""
    moments = (
        [(None, None)] * len(processes) if higher is None else zip(*(each.tolist() for each in higher), strict=True)
    )
    rows = zip(processes.names, values, variances, entries, moments, strict=True)
    return {
        name: Yield(float(value), float(variance), int(count), *more) for name, value, variance, count, more in rows
    }


def as_arrays(yields: Mapping[str, Yield], processes: ProcessTable) -> tuple[Floats, Floats]:
    """Sums of w and w^2 in the order of the processes, shape [P] each."""
    return (
        np.array([yields[name].value for name in processes.names]),
        np.array([yields[name].variance for name in processes.names]),
    )


def higher_moments(yields: Mapping[str, Yield], processes: ProcessTable) -> tuple[Floats, Floats] | None:
    """Sums of w^3 and w^4 in the order of the processes, shape [P] each; None if one is not known."""
    ordered = [yields[name] for name in processes.names]
    third, fourth = ([getattr(each, name) for each in ordered] for name in ("third_moment", "fourth_moment"))
    return None if None in third + fourth else (np.array(third), np.array(fourth))


def by_signal(hypotheses: Significance | None, processes: ProcessTable) -> dict[str, HypothesisSignificance]:
    """Significance of each signal process by its name, from arrays of shape [S]; empty where the signals are summed."""
    if hypotheses is None:
        return {}
    numbers = zip(processes.signals, hypotheses.value, hypotheses.uncertainty, strict=True)
    return {name: HypothesisSignificance(float(value), float(uncertainty)) for name, value, uncertainty in numbers}


def spread_over_partitions(values: npt.ArrayLike) -> float:
    """Standard deviation of what several partitions of the events gave, the error from the choice; 0 for one partition.

    Example:
        >>> spread_over_partitions([1.0, 3.0]), spread_over_partitions([1.0])
        (1.4142135623730951, 0.0)
    """
    each = np.asarray(values, dtype=np.float64)
    return float(np.std(each, ddof=1)) if each.size > 1 else 0.0


def mean_hypotheses(found: Sequence[Mapping[str, HypothesisSignificance]]) -> dict[str, HypothesisSignificance]:
    """Mean of each hypothesis over partitions, whose error contains the spread over them."""
    means = {}
    for name in found[0]:
        values = [each[name].significance for each in found]
        simulation = np.mean([each[name].significance_uncertainty for each in found])
        uncertainty = float(np.hypot(simulation, spread_over_partitions(values)))
        means[name] = HypothesisSignificance(float(np.mean(values)), uncertainty)
    return means


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
