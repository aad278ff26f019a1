"""Working points: the threshold that a figure of merit prefers, and what it selects on events that did not choose it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.comparison import held_out_selection
from zsig_hep.selection.events import Booleans, Events
from zsig_hep.selection.merit import SelectionSignificance, WorkingPointSettings, significance
from zsig_hep.selection.scan import ThresholdScan, required_effective_entries, scan_thresholds, sufficient_signal
from zsig_hep.selection.variations import VariationPair, background_uncertainty, varied_yields
from zsig_hep.statistics.yields import Yield, weighted_yield

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


@dataclass(frozen=True)
class WorkingPoint:
    """A chosen cut and what passes it; every number is None, and `yields` empty, unless the status is "ok".

    Attributes:
        status: "ok", or why there is no cut.
        reason: empty when ok; otherwise which requirement fails, the best that could be had, and what to change.
        threshold: the cut, selecting scores at or above it.
        yields: what passes the cut, by process.
        signal: sum of the signal processes.
        background: sum of the background processes.
        signal_efficiency: fraction of the signal yield that passes.
        background_efficiency: fraction of the background yield that passes.
        purity: s / (s + b).
        significance: figure of merit.
        significance_uncertainty: its standard deviation from the finite simulation.
        hypotheses: of each signal process alone, by name, where the figure of merit is their mean or smallest.
        common_uncertainty: relative uncertainty of all backgrounds together in the figure of merit, where systematic
            variations add to that of the settings.
    """

    status: Status
    reason: str = ""
    threshold: float | None = None
    yields: Mapping[str, Yield] = field(default_factory=dict)
    signal: Yield | None = None
    background: Yield | None = None
    signal_efficiency: float | None = None
    background_efficiency: float | None = None
    purity: float | None = None
    significance: float | None = None
    significance_uncertainty: float | None = None
    hypotheses: Mapping[str, HypothesisSignificance] = field(default_factory=dict)
    common_uncertainty: float | None = None


@dataclass(frozen=True)
class HeldOutWorkingPoint:
    """A cut chosen for every fold on the other folds, and what passes it in the folds that did not choose.

    Attributes:
        status: "ok", or why there is no result; "no_held_out_background" when the cuts that were chosen select no
            positive background yield in the held-out folds, so that no finite significance exists.
        reason: empty when ok; otherwise which folds fail, which requirement, and what to change.
        thresholds: the cut of each fold, None where none qualifies.
        yields: what passes, by process, added over the held-out folds; empty unless ok, as everything below is None.
        signal: sum of the signal processes.
        background: sum of the background processes.
        signal_efficiency: fraction of the signal yield that passes.
        background_efficiency: fraction of the background yield that passes.
        purity: s / (s + b).
        significance: figure of merit of the held-out yields.
        significance_uncertainty: its standard deviation from the finite simulation, at fixed cuts.
        hypotheses: of each signal process alone, by name, where the figure of merit is their mean or smallest.
        common_uncertainty: relative uncertainty of all backgrounds together in the figure of merit, where systematic
            variations add to that of the settings.
        choosing_significance: mean over folds of the figure of merit on the events that chose the cut.
        optimism: choosing_significance - significance; what quoting the former would have gained by the choice. The
            choosing events are (K - 1)/K of the simulation, which a figure of merit that holds its variance resents.
    """

    status: Status
    reason: str = ""
    thresholds: tuple[float | None, ...] = ()
    yields: Mapping[str, Yield] = field(default_factory=dict)
    signal: Yield | None = None
    background: Yield | None = None
    signal_efficiency: float | None = None
    background_efficiency: float | None = None
    purity: float | None = None
    significance: float | None = None
    significance_uncertainty: float | None = None
    hypotheses: Mapping[str, HypothesisSignificance] = field(default_factory=dict)
    common_uncertainty: float | None = None
    choosing_significance: float | None = None
    optimism: float | None = None


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
    numbers = _selection_numbers(selected, totals, roles, settings, common)
    return WorkingPoint(status="ok", threshold=float(scan.threshold[best]), **numbers)


def hold_out_working_point(
    score: npt.ArrayLike,
    weight: npt.ArrayLike,
    process: npt.ArrayLike,
    fold: npt.ArrayLike,
    *,
    fold_count: int,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    variations: Sequence[VariationPair] = (),
) -> HeldOutWorkingPoint:
    """Choose the cut of each fold on the other folds and add up what the cuts select in the folds that did not choose.

    The weights of the choosing folds are multiplied by fold_count / (fold_count - 1), so that the figure of merit sees
    the whole luminosity. This factor, unlike the ratio of yields, knows nothing of the held-out events. Nothing that
    is quoted here was used to choose.

    Args:
        score: out-of-fold classifier output, larger for signal, finite, shape [N].
        weight: signed event weights, shape [N], in events at the luminosity.
        process: index into `process_names`, shape [N].
        fold: fold of each event in [0, fold_count), equal shares by a hash of the event identity, shape [N].
        fold_count: number of folds, at least 2.
        process_names: names of all processes.
        roles: role of each process; events of data processes are left out.
        settings: figure of merit and requirements, which the folds that choose must meet.
        variations: events under systematic variations with folds of their own, from which the background uncertainty is taken
            where `settings.variations_in_figure` says so: on the choosing folds for the choice, on the others for the result.

    Returns:
        Thresholds, held-out yields and their significance; a status with its reason when a fold has no threshold.

    Raises:
        InputError: an array is unusable (see `scan_thresholds`), or a fold is out of range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1], 2000)
        >>> point = hold_out_working_point(
        ...     rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5), process, np.arange(4000) % 5,
        ...     fold_count=5, process_names=("hmumu", "dy"), roles=("signal", "background"),
        ...     settings=WorkingPointSettings())
        >>> point.status, len(point.thresholds), round(point.significance, 1)
        ('ok', 5, 0.7)
    """
    events = Events.checked(score, weight, process, process_names=process_names, roles=roles)
    folds = _checked_folds(fold, events, fold_count)
    simulated = np.array([role != "data" for role in roles], dtype=np.bool_)[events.process]
    chosen: list[WorkingPoint] = []
    selected = np.zeros(simulated.size, dtype=np.bool_)
    for held_out in range(fold_count):
        choosing = simulated & (folds != held_out)
        point = _choose_on(events, choosing, held_out, fold_count, process_names, roles, settings, variations)
        chosen.append(point)
        if point.threshold is not None:
            selected |= simulated & (folds == held_out) & (events.score >= point.threshold)
    thresholds = tuple(point.threshold for point in chosen)
    if reason := _fold_reasons(chosen):
        return HeldOutWorkingPoint(status="no_threshold_qualifies", reason=reason, thresholds=thresholds)
    numbers = _held_out_numbers(events, selected, process_names, roles, settings, variations, thresholds)
    if reason := _why_not_quotable(numbers):
        return HeldOutWorkingPoint(status="no_held_out_background", reason=reason, thresholds=thresholds)
    on_choosing = float(np.mean([point.significance for point in chosen if point.significance is not None]))
    return HeldOutWorkingPoint(
        status="ok",
        thresholds=thresholds,
        choosing_significance=on_choosing,
        optimism=on_choosing - numbers["significance"],
        **numbers,
    )


def _choose_on(
    events: Events,
    choosing: Booleans,
    held_out: int,
    fold_count: int,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    variations: Sequence[VariationPair],
) -> WorkingPoint:
    scale = fold_count / (fold_count - 1)
    used = variations if settings.variations_in_figure else ()
    try:
        scan = scan_thresholds(
            events.score[choosing],
            events.weight[choosing] * scale,
            events.process[choosing],
            process_names=process_names,
            roles=roles,
            settings=settings,
            variations=[(up.outside(held_out, scale), down.outside(held_out, scale)) for up, down in used],
        )
    except InputError as error:
        message = f"The cut of fold {held_out} cannot be chosen on the other folds. {error}"
        raise InputError(message) from error
    return choose_working_point(scan, settings)


def _held_out_numbers(
    events: Events,
    selected: Booleans,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    variations: Sequence[VariationPair],
    thresholds: Sequence[float | None],
) -> dict[str, Any]:
    of_process = {name: events.process == index for index, name in enumerate(process_names) if roles[index] != "data"}
    yields = {name: weighted_yield(events.weight[mask & selected]) for name, mask in of_process.items()}
    totals = {name: float(events.weight[mask].sum()) for name, mask in of_process.items()}
    common = None
    if settings.variations_in_figure and variations:
        common = _common_uncertainty(yields, process_names, roles, settings, variations, thresholds)
    return _selection_numbers(yields, totals, dict(zip(process_names, roles, strict=True)), settings, common)


def _common_uncertainty(
    yields: Mapping[str, Yield],
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    variations: Sequence[VariationPair],
    thresholds: Sequence[float | None],
) -> float:
    """Relative uncertainty that moves all backgrounds of the held-out selection, from the variations and the settings."""
    selections = [
        (held_out_selection(up.score, up.fold, thresholds), held_out_selection(down.score, down.fold, thresholds))
        for up, down in variations
    ]
    backgrounds = [name for name, role in zip(process_names, roles, strict=True) if role == "background"]
    sigma = background_uncertainty(varied_yields(variations, selections, yields, process_names), backgrounds)
    total = sum(yields[name].value for name in backgrounds)
    return float(np.hypot(settings.relative_background_uncertainty, sigma / total if total > 0 else 0.0))


def _selection_numbers(
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


def _fold_reasons(chosen: Sequence[WorkingPoint]) -> str:
    """Why folds have no threshold and what the first lacks; empty when every fold has one."""
    failing = [index for index, point in enumerate(chosen) if point.status != "ok"]
    if not failing:
        return ""
    listed = ", ".join(str(index) for index in failing)
    return (
        f"no cut could be chosen for fold {listed} of {len(chosen)}; for fold {failing[0]}: {chosen[failing[0]].reason}"
    )


def _why_not_quotable(numbers: Mapping[str, Any]) -> str:
    background: Yield = numbers["background"]
    if background.value > 0 and np.isfinite(numbers["significance"]):
        return ""
    return (
        f"the cuts chosen on the other folds select {background.value:.3g} +- {background.uncertainty:.3g} background "
        f"and {numbers['signal'].value:.3g} signal events in the held-out folds, of which no finite significance exists; "
        "raise minimum_effective_background or simulate more background"
    )


def _checked_folds(fold: npt.ArrayLike, events: Events, fold_count: int) -> npt.NDArray[np.int64]:
    folds = np.asarray(fold)
    if fold_count < 2:
        message = f"fold_count is {fold_count}; a held-out working point needs at least 2 folds."
        raise InputError(message)
    if folds.shape != events.score.shape or (folds.size and folds.dtype.kind not in "iu"):
        message = f"Folds must be integers of shape {events.score.shape}; found {folds.dtype} of shape {folds.shape}."
        raise InputError(message)
    if folds.size and not (folds.min() >= 0 and folds.max() < fold_count):
        message = f"Folds run from {folds.min()} to {folds.max()}; they must be in [0, {fold_count})."
        raise InputError(message)
    return folds.astype(np.int64)
