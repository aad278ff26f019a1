"""Working points: the threshold that a figure of merit prefers among those with enough simulation behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.figure_of_merit import SelectionSignificance, WorkingPointSettings, significance
from zsig_hep.selection.thresholds.scan import ThresholdScan, required_effective_entries, sufficient_signal
from zsig_hep.statistics.yields import Yield

Status = Literal["ok", "no_threshold_qualifies", "no_held_out_background"]


@dataclass(frozen=True)
class HypothesisSignificance:
    """Significance of one signal process alone over the background of a selection.

    Attributes:
        value: figure of merit.
        uncertainty: its standard deviation from the finite simulation.
    """

    value: float
    uncertainty: float


@dataclass(frozen=True, kw_only=True)
class SelectionNumbers:
    """What a selection leaves; every number is None, and `yields` empty, where there is no selection.

    Attributes:
        yields: what passes, by process.
        signal: sum of the signal processes.
        background: sum of the background processes.
        signal_efficiency: fraction of the signal yield that passes.
        background_efficiency: fraction of the background yield that passes.
        purity: s / (s + b).
        significance: figure of merit; None as well where it is not finite.
        significance_uncertainty: its standard deviation from the finite simulation, at fixed cuts.
        hypotheses: of each signal process alone, by name, where the figure of merit is their mean or smallest.
    """

    yields: Mapping[str, Yield] = field(default_factory=dict)
    signal: Yield | None = None
    background: Yield | None = None
    signal_efficiency: float | None = None
    background_efficiency: float | None = None
    purity: float | None = None
    significance: float | None = None
    significance_uncertainty: float | None = None
    hypotheses: Mapping[str, HypothesisSignificance] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkingPoint(SelectionNumbers):
    """A chosen cut and what passes it; every number is None, and `yields` empty, unless the status is "ok".

    Attributes:
        status: "ok", or why there is no cut.
        reason: empty when ok; otherwise which requirement fails, the best that could be had, and what to change.
        threshold: the cut, selecting scores at or above it.
        common_uncertainty: relative uncertainty of all backgrounds together in the figure of merit, where systematic
            variations add to that of the settings.
    """

    status: Status
    reason: str = ""
    threshold: float | None = None
    common_uncertainty: float | None = None


def choose_working_point(scan: ThresholdScan, settings: WorkingPointSettings) -> WorkingPoint:
    """The threshold of highest significance among those that qualify; the loosest of equals.

    Its significance is biased upward, since the events that chose the cut are the events it is quoted on:
    `hold_out_working_point` gives the number to publish.

    Args:
        scan: yields above every distinct score.
        settings: the settings of the scan.

    Returns:
        The working point, or a status with its reason when no threshold qualifies.

    Example:
        >>> import numpy as np
        >>> from zsig_hep.selection import scan_thresholds
        >>> score, weight, process = np.array([0.9, 0.4, 0.6, 0.1]), np.array([2.0, 1.0, 4.0, 3.0]), np.array([0, 0, 1, 1])
        >>> for minimum in 1, 10:
        ...     settings = WorkingPointSettings(
        ...         figure_of_merit="s_over_sqrt_b", minimum_effective_background=minimum)
        ...     scan = scan_thresholds(
        ...         score, weight, process, process_names=("hmumu", "dy"), roles=("signal", "background"), settings=settings)
        ...     point = choose_working_point(scan, settings)
        ...     point.status, point.threshold, point.significance
        ('ok', 0.4, 1.5)
        ('no_threshold_qualifies', None, None)
    """
    if not scan.qualifies.any():
        return WorkingPoint(status="no_threshold_qualifies", reason=_why_none_qualifies(scan, settings))
    best = int(np.argmax(np.where(scan.qualifies, scan.significance, -np.inf)))
    selected = {
        name: Yield(float(scan.yields[row, best]), float(scan.variances[row, best]), int(scan.entries[row, best]))
        for row, name in enumerate(scan.process_names)
    }
    totals = dict(zip(scan.process_names, scan.total_yields.tolist(), strict=True))
    roles = dict(zip(scan.process_names, scan.roles, strict=True))
    common = None if scan.common_uncertainty is None else float(scan.common_uncertainty[best])
    numbers = working_point_numbers(selected, totals, roles, settings, common)
    return WorkingPoint(status="ok", threshold=float(scan.threshold[best]), **numbers)


def working_point_numbers(
    yields: Mapping[str, Yield],
    totals: Mapping[str, float],
    roles: Mapping[str, Role],
    settings: WorkingPointSettings,
    common_uncertainty: float | None,
) -> dict[str, Any]:
    """The fields that both kinds of working point have in common, from what passes and what there was."""
    nothing = Yield(0.0, 0.0, 0)
    signal = sum((passed for name, passed in yields.items() if roles[name] == "signal"), nothing)
    background = sum((passed for name, passed in yields.items() if roles[name] == "background"), nothing)
    z = significance(
        np.array([passed.value for passed in yields.values()]),
        np.array([passed.variance for passed in yields.values()]),
        tuple(yields),
        [roles[name] for name in yields],
        settings,
        common_uncertainty=common_uncertainty,
    )
    all_selected = signal.value + background.value
    return {
        "yields": dict(yields),
        "signal": signal,
        "background": background,
        "signal_efficiency": signal.value / sum(total for name, total in totals.items() if roles[name] == "signal"),
        "background_efficiency": background.value
        / sum(total for name, total in totals.items() if roles[name] == "background"),
        "purity": signal.value / all_selected if all_selected > 0 else None,
        "significance": float(z.value),
        "significance_uncertainty": float(z.uncertainty),
        "hypotheses": _by_signal(z, [name for name in yields if roles[name] == "signal"]),
        "common_uncertainty": common_uncertainty,
    }


def _by_signal(z: SelectionSignificance, signals: Sequence[str]) -> dict[str, HypothesisSignificance]:
    if z.hypotheses is None:
        return {}
    numbers = zip(signals, z.hypotheses.value, z.hypotheses.uncertainty, strict=True)
    return {name: HypothesisSignificance(float(value), float(uncertainty)) for name, value, uncertainty in numbers}


def _why_none_qualifies(scan: ThresholdScan, settings: WorkingPointSettings) -> str:
    efficient = sufficient_signal(scan, settings)
    counts, names = required_effective_entries(scan, settings)
    weakest = counts.min(axis=0)
    best = int(np.argmax(np.where(efficient, weakest, -np.inf)))
    return (
        f"with signal efficiency {settings.minimum_signal_efficiency:g} or more, at best {weakest[best]:.3g} effective "
        f"entries of {names[int(counts[:, best].argmin())]} pass (at threshold {scan.threshold[best]:.4g}), and "
        f"{settings.minimum_effective_background:g} are required (minimum_effective_background); simulate more "
        f"background, or lower the requirement and distrust the significance"
    )
