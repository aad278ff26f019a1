"""The significance if one more simulated event of a background had passed the cuts, the lower number to print beside Z."""

from dataclasses import dataclass

import numpy as np

from zsig_hep.selection.numbers import as_arrays
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint
from zsig_hep.selection.thresholds.scan import ThresholdScan
from zsig_hep.statistics.yields import Yield


@dataclass(frozen=True)
class OneMoreEvent:
    """A working point with one more simulated event of one background.

    Attributes:
        process: name of the background.
        entries: number of its simulated events that pass.
        weight: weight of one more event, the mean one of those that pass, or of all events if none passes or the mean is
            not positive (signed weights), in events.
        significance: the figure of merit with it. It can be above that of the working point, since more events of a small
            weight are known better.
    """

    process: str
    entries: int
    weight: float
    significance: float


def one_more_event_of_each(point: HeldOutWorkingPoint, scan: ThresholdScan) -> tuple[OneMoreEvent, ...]:
    """The figure of merit of a working point with one more event of each background, the lowest first.

    The event adds its weight to the yield of its process and the square of the weight to the variance. The figure of merit
    is that of the working point, with its uncertainty common to all backgrounds.

    Args:
        point: the working point.
        scan: scan of the same events.

    Returns:
        One for each background with a positive mean weight; none without a working point.

    Example:
        >>> from zsig_hep.selection import ScoredEvents, WorkingPointSettings, hold_out_working_point, scan_thresholds
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1], 2000)
        >>> events = ScoredEvents.from_arrays(
        ...     rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5), process, names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> settings = WorkingPointSettings(minimum_signal_efficiency=0.4)
        >>> point = hold_out_working_point(events, settings)
        >>> (dy,) = one_more_event_of_each(point, scan_thresholds(events, settings))
        >>> round(point.exported_significance, 4), dy.process, dy.weight, round(dy.significance, 4)
        (0.6151, 'dy', 0.5, 0.6144)
    """
    if point.status != "ok":
        return ()
    yields, variances = as_arrays(point.yields, scan.processes)
    found = []
    for row in scan.processes.rows("background"):
        name = scan.processes.names[row]
        weight = _mean_weight(point.yields[name], float(scan.total_yields[row]), int(scan.total_entries[row]))
        if weight > 0:
            one = np.arange(len(scan.processes)) == row
            z = scan.objective.evaluate(
                yields + weight * one, variances + weight**2 * one, scan.processes,
                common_uncertainty=point.common_uncertainty,
            )  # fmt: skip
            found.append(OneMoreEvent(name, point.yields[name].entries, weight, float(z.value)))
    return tuple(sorted(found, key=lambda each: each.significance))


def _mean_weight(passing: Yield, total: float, entries: int) -> float:
    if passing.value > 0:
        return passing.value / passing.entries
    return total / entries if entries else 0.0
