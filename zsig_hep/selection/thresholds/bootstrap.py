"""Poisson bootstrap over simulated events."""

import numpy as np

from zsig_hep.selection.events import Booleans, Floats, ScoredEvents
from zsig_hep.statistics.objective import Objective

_BLOCK_BYTES = 2**25


def bootstrap_significances(
    selections: Booleans,
    events: ScoredEvents,
    objective: Objective,
    *,
    generator: np.random.Generator,
    replicas: int,
    common_uncertainty: float | Floats | None = None,
) -> tuple[Floats, Floats]:
    """Significance of several selections of the same events, and its distribution over replicas, at fixed cuts.

    Each replica counts every event n ~ Poisson(1) times, with the same n in all selections, so that the fluctuations of
    shared events cancel in differences.

    Args:
        selections: events that each of K selections accepts, shape [K, N].
        events: the N events; data are left out.
        objective: the figure of merit.
        generator: random generator.
        replicas: number R of replicas.
        common_uncertainty: relative uncertainty common to all backgrounds, of all selections or of each, shape [K];
            replaces that of the objective.

    Returns:
        Significances of the events themselves, shape [K], and of the replicas, shape [K, R]; NaN where not finite.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     np.zeros(5), np.ones(5), [0, 1, 1, 1, 1], names=["hmumu", "dy"], roles=["signal", "background"])
        >>> nominal, drawn = bootstrap_significances(
        ...     np.ones((1, 5), dtype=bool), events, Objective("s_over_sqrt_b"), generator=np.random.default_rng(1), replicas=3)
        >>> nominal.tolist(), drawn.round(3).tolist()
        ([0.5], [[1.155, 1.155, 0.408]])
    """
    simulated = ~events.is_data
    accepted = selections.any(axis=0) & simulated
    weight, processes = events.weight[accepted], events.processes.simulated
    row = events.processes.simulated_row[events.process[accepted]]
    terms = selections[:, None, accepted] * (row == np.arange(len(processes))[:, None]) * weight

    common = None if common_uncertainty is None else np.reshape(common_uncertainty, (-1, 1))

    def values(counts: Floats) -> Floats:
        """Significance for each selection and replica, shape [K, R]."""
        yields, variances = (np.moveaxis(each @ counts.T, 1, 0) for each in (terms, terms**2))
        z = objective.evaluate(yields, variances, processes, common_uncertainty=common)
        value = np.asarray(z.value)
        return np.where(np.isfinite(value), value, np.nan)

    block = max(1, _BLOCK_BYTES // max(8 * len(weight), 1))
    drawn = [
        values(generator.poisson(1.0, (min(block, replicas - start), len(weight))).astype(np.float64))
        for start in range(0, replicas, block)
    ]
    return values(np.ones((1, len(weight))))[:, 0], np.concatenate(drawn, axis=1)
