"""Warnings about working points that depend on few simulated events."""

import numpy as np

from zsig_hep.selection.numbers import as_arrays
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation
from zsig_hep.selection.thresholds.scan import ThresholdScan, required_effective_entries

FEW_ENTRIES = 3
NOTABLE_GAIN = 1.1


def simulation_caveats(evaluation: ClassifierEvaluation, settings: WorkingPointSettings) -> tuple[str, ...]:
    """Warn where the size of the simulation limits the working point, or where one more event would change Z.

    Args:
        evaluation: evaluation of a classifier.
        settings: the settings of its scan.

    Returns:
        Sentences; none if the simulation is large enough or there is no working point.
    """
    if evaluation.working_point.status != "ok":
        return ()
    limit = _limit(evaluation.scan, settings)
    sentences = ([limit] if limit else []) + _thin_backgrounds(evaluation, settings)
    return tuple(f"{evaluation.label}: {sentence}" for sentence in sentences)


def _limit(scan: ThresholdScan, settings: WorkingPointSettings) -> str:
    """Warn if the required effective entries of a background keep the cut looser than the figure of merit prefers."""
    counts, names = required_effective_entries(scan, settings)
    best = float(np.max(scan.significance, where=scan.qualifies, initial=-np.inf))
    # Requires some entries of the whole background, so that the comparison is not with a fluctuation to zero.
    possible = (counts[0] >= settings.minimum_effective_background) & np.isfinite(scan.significance)
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


def _thin_backgrounds(evaluation: ClassifierEvaluation, settings: WorkingPointSettings) -> list[str]:
    """Give Z with one more event of each background of which few events pass."""
    point, scan = evaluation.working_point, evaluation.scan
    if point.significance is None:
        return []
    yields, variances = as_arrays(point.yields, scan.processes)
    sentences = []
    for row in scan.processes.rows("background"):
        name = scan.processes.names[row]
        passing = point.yields[name]
        if passing.entries >= FEW_ENTRIES:
            continue
        mean_weight = float(scan.total_yields[row] / scan.total_entries[row])
        one = np.arange(len(scan.processes)) == row
        worse = settings.objective.evaluate(
            yields + mean_weight * one, variances + mean_weight**2 * one, scan.processes
        )
        sentences.append(
            f"simulated events of '{name}' that pass the cuts: {passing.entries}; one more, of mean weight "
            f"{mean_weight:.3g}, would change Z from {point.significance:.2f} to {float(worse.value):.2f}"
        )
    return sentences
