"""Difference of the significances of two selections of the same events, with their correlation."""

from dataclasses import dataclass

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.selection.events import Booleans, ScoredEvents
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances
from zsig_hep.statistics.objective import Objective


@dataclass(frozen=True)
class Difference:
    """Significance of a first selection minus that of a second.

    Attributes:
        value: the difference.
        uncertainty: its standard deviation from the finite simulation, correlations included.
    """

    value: float
    uncertainty: float


def paired_difference(
    first: Booleans,
    second: Booleans,
    events: ScoredEvents,
    objective: Objective,
    generator: np.random.Generator,
    *,
    replicas: int = 1000,
    common_uncertainties: tuple[float | None, float | None] = (None, None),
) -> Difference:
    """Compare two selections by a Poisson bootstrap over events, at fixed cuts.

    Each replica counts every event n ~ Poisson(1) times in both selections, so that the fluctuations of shared events
    cancel; see `zsig_hep.selection.thresholds.bootstrap`. Replicas in which a significance is not finite are left out.

    Args:
        first: events that the first selection accepts, shape [N].
        second: events that the second selection accepts, shape [N].
        events: the N events; data are left out.
        objective: the figure of merit.
        generator: random generator.
        replicas: number of bootstrap replicas.
        common_uncertainties: relative uncertainty common to all backgrounds of the first and of the second selection,
            such as the `common_uncertainty` of their working points; None for that of the objective.

    Returns:
        The difference, and its standard deviation over the replicas.

    Raises:
        InputError: the arrays differ in length.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     np.zeros(4), np.ones(4), [0, 1, 1, 1], names=["hmumu", "dy"], roles=["signal", "background"])
        >>> everything = np.ones(4, dtype=bool)
        >>> paired_difference(everything, everything, events, Objective(), np.random.default_rng(0), replicas=50)
        Difference(value=0.0, uncertainty=0.0)
    """
    if not len(first) == len(second) == len(events):
        message = f"Selections of {len(first)} and {len(second)} events were given for {len(events)} events."
        raise InputError(message)
    nominal, drawn = bootstrap_significances(
        np.stack([first, second]),
        events,
        objective,
        generator=generator,
        replicas=replicas,
        common_uncertainty=np.array(
            [objective.relative_background_uncertainty if each is None else each for each in common_uncertainties]
        ),
    )
    return Difference(float(nominal[0] - nominal[1]), float(np.nanstd(drawn[0] - drawn[1], ddof=1)))
