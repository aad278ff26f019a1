"""Two selections on the same events: the difference of their significances, with the events that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.figure_of_merit import WorkingPointSettings
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances


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
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64],
    process: npt.NDArray[np.integer],
    *,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int = 1000,
) -> Difference:
    """Compare two selections by a Poisson bootstrap over events, at fixed cuts.

    Each replica counts every event n ~ Poisson(1) times in both selections, so that what both select cancels; see
    `zsig_hep.selection.thresholds.bootstrap`.
    Replicas whose background is not positive in either selection have no significance and are left out.

    Args:
        first: events that the first selection accepts, shape (N,).
        second: events that the second accepts, shape (N,).
        weight: signed weights [events], shape (N,).
        process: index into `process_names`, shape (N,).
        process_names: names of all processes.
        roles: role of each process; events of data processes are left out.
        settings: figure of merit.
        generator: source of randomness.
        replicas: number of bootstrap replicas.

    Returns:
        The difference on the events as they are, and the replicas' standard deviation.

    Raises:
        InputError: if arrays differ in length.

    Example:
        >>> everything = np.ones(4, dtype=bool)
        >>> paired_difference(everything, everything, np.ones(4), np.array([0, 1, 1, 1]),
        ...     process_names=("hmumu", "dy"), roles=("signal", "background"), settings=WorkingPointSettings(),
        ...     generator=np.random.default_rng(0), replicas=50)
        Difference(value=0.0, uncertainty=0.0)
    """
    if not len(first) == len(second) == len(weight) == len(process):
        message = "Selections, weights and processes differ in length."
        raise InputError(message)
    nominal, drawn = bootstrap_significances(
        np.stack([first, second]), weight, process,
        process_names=process_names, roles=roles, settings=settings, generator=generator, replicas=replicas,
    )  # fmt: skip
    return Difference(float(nominal[0] - nominal[1]), float(np.nanstd(drawn[0] - drawn[1], ddof=1)))
