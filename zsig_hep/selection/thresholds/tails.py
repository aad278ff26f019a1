"""Thin tails of backgrounds, extrapolated for the choice of a cut.

A background of which no simulated event happens to pass a tight cut would count as absent there, and the cut would move to
where the simulation fluctuated down. Beyond the threshold K that leaves n_K effective entries of a process, its yield is
therefore taken to be at least

    b(e) = b_K (e / e_K)^alpha,    alpha = b_K / sum_{i above K} w_i ln(e_K / e_i)                       (1)

with the signal efficiency e as the coordinate, in which any score, however transformed, has about a power law (a ROC curve
is about straight in logarithms). alpha is the estimator of B. M. Hill, Ann. Statist. 3 (1975) 1163, from the events above
K. Its relative error 1 / sqrt(n_K) and that of b_K give

    var b(e) = b(e)^2 (1 + [alpha ln(e_K / e)]^2) / n_K.                                              (2)

In pseudo-experiments with known yields cuts that are chosen so are never worse than with counted yields, and better where
a part of a background lies under the signal (`tests/benchmarks/benchmark_cut_rules.py`).
"""

import numpy as np

from zsig_hep.selection.events import Floats
from zsig_hep.statistics.process_table import ProcessTable
from zsig_hep.statistics.yields import effective_entries

# Fewer events than e^-30 of those at the anchor are none.
_NOTHING_LEFT = 30.0
_STEEPEST = 1e9


def with_thick_tails(
    yields: Floats, variances: Floats, processes: ProcessTable, minimum_entries: float
) -> tuple[Floats, Floats]:
    """Raise yields and variances of backgrounds to equations 1 and 2 where they are larger than what was counted.

    Args:
        yields: sums of weights at or above T ascending thresholds, shape [P, T], in events; the first selects everything.
        variances: sums of squared weights, shape [P, T].
        processes: the P processes.
        minimum_entries: n_K, effective entries of a process beyond which its tail is extrapolated.

    Returns:
        Yields and variances, shape [P, T] each. A background that never has so many entries is unchanged.

    Example:
        >>> processes = ProcessTable(("higgs", "dy"), ("signal", "background"))
        >>> yields = np.array([[16.0, 8.0, 4.0, 2.0, 1.0], [16.0, 8.0, 4.0, 1.0, 0.0]])
        >>> raised, _ = with_thick_tails(yields, yields.copy(), processes, minimum_entries=8)
        >>> raised[1].round(2)
        array([16.  ,  8.  ,  4.  ,  1.  ,  0.07])
    """
    raised, spread = yields.copy(), variances.copy()
    efficiency = _signal_efficiency(processes.summed(yields, "signal"))
    for row in processes.rows("background"):
        entries = np.where(yields[row] > 0, effective_entries(yields[row], variances[row]), 0.0)
        enough = np.flatnonzero(entries >= minimum_entries)
        if not enough.size or enough[-1] + 1 == efficiency.size:
            continue
        anchor = int(enough[-1])
        lost = np.log(efficiency[anchor] / efficiency[anchor:])
        exponent = _exponent(yields[row, anchor:], lost)
        if exponent == _STEEPEST:
            # Without any loss of signal there is nothing to extrapolate along.
            continue
        falls = exponent * lost
        beyond = np.flatnonzero(falls < _NOTHING_LEFT)
        tail = yields[row, anchor] * np.exp(-falls[beyond])
        of_tail = tail**2 * (1 + falls[beyond] ** 2) / entries[anchor]
        raised[row, anchor + beyond] = np.maximum(yields[row, anchor + beyond], tail)
        spread[row, anchor + beyond] = np.maximum(variances[row, anchor + beyond], of_tail)
    return raised, spread


def _signal_efficiency(signal: Floats) -> Floats:
    """Efficiency above each threshold, positive and not rising also with signed weights, shape [T]."""
    efficiency = np.maximum.accumulate(np.asarray(signal)[::-1])[::-1] / signal[0]
    return np.asarray(np.maximum(efficiency, efficiency[efficiency > 0].min()))


def _exponent(above: Floats, lost: Floats) -> float:
    """Equation 1 from yields above the anchor and ln(e_K / e) there.

    It is 1, as if nothing separated, if weights cancel, and at most `_STEEPEST`, if no signal is lost with the events.
    """
    weights = above - np.append(above[1:], 0.0)
    total = float((weights * lost).sum())
    if total < 0:
        return 1.0
    return float(above[0]) / max(total, float(above[0]) / _STEEPEST)
