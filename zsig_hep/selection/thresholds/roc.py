"""ROC curves: signal efficiency against background efficiency, and the area under the curve."""

from dataclasses import dataclass

import numpy as np

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Floats
from zsig_hep.selection.thresholds.scan import ThresholdScan


@dataclass(frozen=True, eq=False, repr=False)
class RocCurve(ShortRepr):
    """Efficiencies at every threshold, from the tightest, (0, 0), to the loosest, (1, 1), of shape [T + 1] each.

    Attributes:
        signal_efficiency: selected fraction of the signal yield.
        background_efficiency: selected fraction of the background yield, so that cross sections are included.
        background_entry_efficiency: selected fraction of the simulated background events, without weights.
        area: area under signal efficiency against `background_efficiency`.
        entry_area: area under signal efficiency against `background_entry_efficiency`.
    """

    signal_efficiency: Floats
    background_efficiency: Floats
    background_entry_efficiency: Floats
    area: float
    entry_area: float


def roc_curve(scan: ThresholdScan) -> RocCurve:
    """Receiver operating characteristic of a scan, with signed event weights.

        AUC = sum_t [eps_s(t) + eps_s(t+1)]/2 [eps_b(t+1) - eps_b(t)]                          (1)

    The trapezoids count pairs of equal score by half, as does the rank statistic P(score_s > score_b) +
    P(score_s = score_b)/2. With negative weights the efficiencies need not be monotonic and may be outside [0, 1];
    equation 1 is then the rank statistic with signed weights, and may be outside [0, 1] too.

    Args:
        scan: yields above every distinct score.

    Returns:
        The curves and their areas.

    Example:
        >>> from zsig_hep.selection import ScoredEvents, WorkingPointSettings, scan_thresholds
        >>> events = ScoredEvents.from_arrays(
        ...     [0.9, 0.4, 0.6, 0.1], [1.0, 1.0, 1.0, 3.0], [0, 0, 1, 1], names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> curve = roc_curve(scan_thresholds(events, WorkingPointSettings()))
        >>> curve.area, curve.entry_area
        (0.875, 0.75)
    """
    signal, background, entries = (
        np.concatenate([[0.0], efficiency[::-1]])
        for efficiency in (scan.signal_efficiency, scan.background_efficiency, scan.background_entry_efficiency)
    )
    return RocCurve(
        signal_efficiency=signal,
        background_efficiency=background,
        background_entry_efficiency=entries,
        area=float(np.trapezoid(signal, background)),
        entry_area=float(np.trapezoid(signal, entries)),
    )
