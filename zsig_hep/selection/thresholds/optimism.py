"""The error of the optimism: Z on the events that choose a cut, minus Z on the events that are held out."""

from collections.abc import Sequence

import numpy as np

from zsig_hep.selection.events import Booleans, Floats, ScoredEvents
from zsig_hep.statistics.objective import Objective


def optimism_uncertainty(
    partitions: Sequence[tuple[ScoredEvents, Floats, float | None]], objective: Objective
) -> float:
    """Standard deviation of the mean optimism of several partitions from the finite simulation, at fixed cuts.

    With K folds of cuts t_k, the yields y_k of the choosing events above t_k, scaled by K / (K - 1), and the held-out
    yields y, the optimism of a partition and its change with the weight of event i are

        O = (1/K) sum_k Z(y_k) - Z(y),    dO/dn_i = w_i (dO/dy_i + w_i dO/dv_i)                       (1)

    with v the sums of squared weights. An event is in K - 1 of the y_k and in y, so that its effects nearly cancel. The
    variance is sum_i (dO/dn_i)^2, the limit of the Poisson bootstrap for many events.

    Args:
        partitions: the N simulated events in each partition, see `zsig_hep.selection.folds.in_partition`, with the cut of
            each fold, shape [K], and the relative uncertainty common to all backgrounds, None for that of the objective.
        objective: the figure of merit.

    Returns:
        The standard deviation; not finite if a significance is not.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> process, fold = np.repeat([0, 1], 2000), np.arange(4000) % 4
        >>> events = ScoredEvents.from_arrays(
        ...     rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5), process, names=["hmumu", "dy"],
        ...     roles=["signal", "background"], fold=fold, fold_count=4)
        >>> same, apart = np.full(4, 0.8), np.array([0.4, 0.6, 1.0, 1.2])
        >>> [round(optimism_uncertainty([(events, each, None)], Objective()), 4) for each in (same, apart)]
        [0.0001, 0.0149]
    """
    change = np.zeros(len(partitions[0][0]))
    for events, thresholds, common in partitions:
        count, fold = len(thresholds), events.fold
        held_out = events.score >= thresholds[fold]
        change -= _change(events, held_out, 1.0, objective, common)
        for number, threshold in enumerate(thresholds):
            choosing = (events.score >= threshold) & (fold != number)
            change += _change(events, choosing, count / (count - 1), objective, common) / count
    return float(np.sqrt(np.square(change).sum())) / len(partitions)


def _change(
    events: ScoredEvents, selected: Booleans, scale: float, objective: Objective, common: float | None
) -> Floats:
    """Change of Z of the selected events per additional copy of each event, shape [N]."""
    row, weight = events.process[selected], scale * events.weight[selected]
    yields, variances = (np.bincount(row, weight**power, len(events.processes)) for power in (1, 2))
    z = objective.evaluate(yields, variances, events.processes, common_uncertainty=common)
    of_variance = np.where(events.processes.is_background, float(z.variance_slope), 0.0)
    change = np.zeros(len(events))
    change[selected] = weight * (np.asarray(z.slopes)[row] + weight * of_variance[row])
    return change
