"""Warnings about working points that depend on few simulated events, or whose errors are doubtful."""

import numpy as np

from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint
from zsig_hep.selection.thresholds.one_more_event import one_more_event_of_each
from zsig_hep.selection.thresholds.scan import ThresholdScan, required_effective_entries, sufficient_signal
from zsig_hep.selection.thresholds.uncertainties import SignificanceUncertainties

FEW_ENTRIES = 3
NOTABLE_GAIN = 1.1


def simulation_caveats(
    evaluation: ClassifierEvaluation,
    settings: WorkingPointSettings,
    uncertainties: SignificanceUncertainties | None = None,
) -> tuple[str, ...]:
    """Warn where the size of the simulation limits the working point, or where one more event would change Z.

    There is a warning too if the optimism is larger than the error of Z, if the jackknife disagrees with the propagated
    error, and if some partitions of the events have no working point.

    Args:
        evaluation: evaluation of a classifier.
        settings: the settings of its scan.
        uncertainties: of its significance.

    Returns:
        Sentences; none if the simulation is large enough or there is no working point.
    """
    if evaluation.working_point.status != "ok":
        return ()
    point, scan = evaluation.working_point, evaluation.scan
    sentences = [_limit(scan, settings), _lowered(point, scan), *_thin_backgrounds(point, scan)]
    sentences += [_optimistic(point), _failed_partitions(point), _jackknife(uncertainties)]
    return tuple(f"{evaluation.label}: {sentence}" for sentence in sentences if sentence)


def _limit(scan: ThresholdScan, settings: WorkingPointSettings) -> str:
    """Warn if the required effective entries of a background keep the cut looser than the figure of merit prefers."""
    counts, names = required_effective_entries(scan, settings)
    best = float(np.max(scan.significance, where=scan.qualifies, initial=-np.inf))
    # Requires some entries of the whole background, so that the comparison is not with a fluctuation to zero. A figure of
    # merit that includes the simulation is not raised by such fluctuations as long as any entry is left.
    least = 1.0 if settings.includes_simulation else settings.minimum_effective_background
    possible = (counts[0] >= least) & sufficient_signal(scan, settings) & np.isfinite(scan.significance)
    free = float(np.max(scan.significance, where=possible, initial=-np.inf))
    if not free > NOTABLE_GAIN * best:
        return ""
    wished = int(np.argmax(np.where(possible, scan.significance, -np.inf)))
    weakest = int(counts[:, wished].argmin())
    return (
        f"the working point is limited by the simulation of {names[weakest]}: a tighter cut reaches up to "
        f"Z = {free:.2f} on the events that choose it, but leaves {counts[weakest, wished]:.1f} effective entries of this "
        f"background, and {settings.minimum_effective_background:g} are required; simulate more of it"
    )


def _lowered(point: HeldOutWorkingPoint, scan: ThresholdScan) -> str:
    """Warn if Z would be notably higher with yields that are known exactly, and name the background to simulate."""
    exact, found = point.significance_without_simulation, point.significance
    if exact is None or found is None or not exact > NOTABLE_GAIN * found:
        return ""
    name = max(scan.processes.backgrounds, key=lambda each: point.yields[each].variance)
    return (
        f"the finite simulation lowers Z from {exact:.2f} to {found:.2f}, mostly that of '{name}', of which "
        f"{point.yields[name].effective_entries:.3g} effective entries pass the cuts; simulate more of it"
    )


def _thin_backgrounds(point: HeldOutWorkingPoint, scan: ThresholdScan) -> list[str]:
    """Give Z with one more event of each background of which few events pass, or of which one event changes Z notably."""
    found = point.exported_significance
    if found is None:
        return []
    return [
        f"simulated events of '{each.process}' that pass the cuts: {each.entries}; one more, of mean weight {each.weight:.3g}, "
        f"would change Z from {found:.2f} to {each.significance:.2f}"
        for each in one_more_event_of_each(point, scan)
        if each.entries < FEW_ENTRIES or found > NOTABLE_GAIN * each.significance
    ]


def _optimistic(point: HeldOutWorkingPoint) -> str:
    """Warn if the choice of the cut gains more than the error of Z."""
    if point.optimism_status == "ok" or point.optimism is None or point.significance_uncertainty is None:
        return ""
    error = "" if point.optimism_uncertainty is None else f" +- {point.optimism_uncertainty:.2f}"
    return (
        f"on the events that choose the cut Z is higher by {point.optimism:.2f}{error}, more than the error "
        f"{point.significance_uncertainty:.2f} of the held-out Z: the cut follows fluctuations of the simulation; simulate "
        "more, or ask for more effective entries (minimum_effective_background)"
    )


def _failed_partitions(point: HeldOutWorkingPoint) -> str:
    failed = sum(choice.significance is None for choice in point.partitions)
    if not failed:
        return ""
    return (
        f"in {failed} of {len(point.partitions)} partitions of the events no cut could be chosen or held out; the mean is "
        "over the others"
    )


def _jackknife(found: SignificanceUncertainties | None) -> str:
    """Warn if the jackknife over folds disagrees with the propagated error."""
    if found is None or found.jackknife is None or found.jackknife_status != "disagrees":
        return ""
    return (
        f"the error of Z from a jackknife over folds, {found.jackknife:.3f}, disagrees with the propagated one, "
        f"{found.propagated:.3f} (chi2 {found.jackknife_chi2:.1f} for {found.folds - 1} degrees of freedom): events may be "
        "correlated, as those of one generator event or of weights that cancel"
    )
