"""Held-out working points: cuts chosen on other folds than those that they are quoted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.events import Booleans, Events
from zsig_hep.selection.figure_of_merit import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.selection.thresholds.working_points import (
    SelectionNumbers,
    Status,
    WorkingPoint,
    choose_working_point,
    working_point_numbers,
)
from zsig_hep.selection.varied_events import VariationPair, background_uncertainty, varied_yields
from zsig_hep.statistics.yields import Yield, weighted_yield


@dataclass(frozen=True)
class HeldOutWorkingPoint(SelectionNumbers):
    """A cut chosen for every fold on the other folds, and what passes it in the folds that did not choose.

    Attributes:
        status: "ok", or why there is no result; "no_held_out_background" when the cuts that were chosen select no
            positive background yield in the held-out folds, so that no finite significance exists.
        reason: empty when ok; otherwise which folds fail, which requirement, and what to change.
        thresholds: the cut of each fold, None where none qualifies.
        common_uncertainty: relative uncertainty of all backgrounds together in the figure of merit, where systematic
            variations add to that of the settings.
        choosing_significance: mean over folds of the figure of merit on the events that chose the cut.
        optimism: choosing_significance - significance; what quoting the former would have gained by the choice. The
            choosing events are (K - 1)/K of the simulation, which a figure of merit that holds its variance resents.
    """

    status: Status
    reason: str = ""
    thresholds: tuple[float | None, ...] = ()
    common_uncertainty: float | None = None
    choosing_significance: float | None = None
    optimism: float | None = None


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
    return working_point_numbers(yields, totals, dict(zip(process_names, roles, strict=True)), settings, common)


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


def held_out_selection(
    score: npt.NDArray[np.float64], fold: npt.NDArray[np.integer], thresholds: Sequence[float | None]
) -> npt.NDArray[np.bool_]:
    """Events at or above the threshold of their own fold; none in a fold without one.

    Args:
        score: shape (N,).
        fold: shape (N,), indices into `thresholds`.
        thresholds: one per fold.

    Returns:
        Shape (N,).

    Example:
        >>> held_out_selection(np.array([0.4, 0.4]), np.array([0, 1]), [0.3, 0.5])
        array([ True, False])
    """
    cut = np.array([np.inf if threshold is None else threshold for threshold in thresholds])
    selected: npt.NDArray[np.bool_] = score >= cut[fold]
    return selected
