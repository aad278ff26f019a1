"""Working points: the threshold of highest significance among those that meet the requirements."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsig_hep.selection.numbers import SelectionNumbers, as_yields, selection_numbers
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import ThresholdScan, required_effective_entries, sufficient_signal

Status = Literal["ok", "no_threshold_qualifies", "no_held_out_background"]


@dataclass(frozen=True)
class WorkingPoint(SelectionNumbers):
    """A cut and the numbers of its selection; all are None and `yields` is empty unless the status is "ok".

    Attributes:
        status: "ok", or why there is no cut.
        reason: empty when ok; otherwise which requirement fails, the best value that was found, and what to change.
        threshold: the cut, which selects scores at or above it.
        common_uncertainty: relative uncertainty common to all backgrounds in the figure of merit, with that of the
            systematic variations; None where it is that of the settings.
        choosing_significance: the figure of merit of the expected yields, by which the cut was chosen; `significance` is
            that of the counted yields.
    """

    status: Status
    reason: str = ""
    threshold: float | None = None
    common_uncertainty: float | None = None
    choosing_significance: float | None = None


def choose_working_point(scan: ThresholdScan, settings: WorkingPointSettings) -> WorkingPoint:
    """The threshold of highest significance among those that qualify; of equal ones the loosest.

    Its significance is biased upward, since it is computed from the same events that chose the cut; use
    `hold_out_working_point` for the number to publish.

    Args:
        scan: yields above every distinct score.
        settings: the settings of the scan.

    Returns:
        The working point, or a status with its reason when no threshold qualifies.

    Example:
        >>> from zsig_hep.selection import ScoredEvents, scan_thresholds
        >>> events = ScoredEvents.from_arrays(
        ...     [0.9, 0.4, 0.6, 0.1], [2.0, 1.0, 4.0, 3.0], [0, 0, 1, 1], names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> for minimum in 1, 10:
        ...     settings = WorkingPointSettings(
        ...         figure_of_merit="s_over_sqrt_b", minimum_effective_background=minimum)
        ...     point = choose_working_point(scan_thresholds(events, settings), settings)
        ...     point.status, point.threshold, point.significance and round(point.significance, 4)
        ('ok', 0.4, 0.6708)
        ('no_threshold_qualifies', None, None)
    """
    if not scan.qualifies.any():
        return WorkingPoint(status="no_threshold_qualifies", reason=_why_none_qualifies(scan, settings))
    best = int(np.argmax(np.where(scan.qualifies, scan.choosing_significance, -np.inf)))
    at_best = np.s_[:, best]
    passing = as_yields(
        scan.processes, scan.yields[at_best], scan.variances[at_best], scan.entries[at_best],
        (scan.higher_moments[0][at_best], scan.higher_moments[1][at_best]),
    )  # fmt: skip
    before = dict(zip(scan.processes.names, scan.total_yields.tolist(), strict=True))
    common = None if scan.common_uncertainty is None else float(scan.common_uncertainty[best])
    numbers = selection_numbers(passing, before, scan.processes, settings.objective, common)
    return WorkingPoint(
        status="ok",
        threshold=float(scan.threshold[best]),
        common_uncertainty=common,
        choosing_significance=float(scan.choosing_significance[best]),
        **numbers,
    )


def _why_none_qualifies(scan: ThresholdScan, settings: WorkingPointSettings) -> str:
    efficient = sufficient_signal(scan, settings)
    counts, names = required_effective_entries(scan, settings)
    weakest = counts.min(axis=0)
    best = int(np.argmax(np.where(efficient, weakest, -np.inf)))
    return (
        f"with signal efficiency {settings.minimum_signal_efficiency:g} or more, at best {weakest[best]:.3g} effective "
        f"entries of {names[int(counts[:, best].argmin())]} pass (at threshold {scan.threshold[best]:.4g}), and "
        f"{settings.minimum_effective_background:g} are required (minimum_effective_background); simulate more "
        f"background, or lower the requirement, which makes the significance less reliable"
    )
