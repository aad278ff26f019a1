"""Poisson bootstrap over simulated events: what would other samples of the same size have given."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.events import Booleans, Floats
from zsig_hep.selection.figure_of_merit import WorkingPointSettings, significance

_BLOCK_BYTES = 2**25


def bootstrap_significances(
    selections: Booleans,
    weight: Floats,
    process: npt.NDArray[np.integer],
    *,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int,
    common_uncertainty: float | None = None,
) -> tuple[Floats, Floats]:
    """Significance of selections of the same events, as they are and in replicas, at fixed cuts.

    Each replica counts every event n ~ Poisson(1) times, the same n in all selections, so that what they share cancels
    in differences.

    Args:
        selections: events that each of K selections accepts, shape [K, N].
        weight: signed weights in events, shape [N].
        process: index into `process_names`, shape [N].
        process_names: names of all processes.
        roles: role of each process; events of data processes are left out.
        settings: figure of merit.
        generator: source of randomness.
        replicas: number R of replicas.
        common_uncertainty: relative uncertainty of all backgrounds together, in place of that of the settings.

    Returns:
        Significances of the events as they are, shape [K], and of the replicas, shape [K, R]; NaN where none is finite.

    Example:
        >>> nominal, drawn = bootstrap_significances(
        ...     np.ones((1, 5), dtype=bool), np.ones(5), np.array([0, 1, 1, 1, 1]), process_names=("hmumu", "dy"),
        ...     roles=("signal", "background"), settings=WorkingPointSettings(figure_of_merit="s_over_sqrt_b"),
        ...     generator=np.random.default_rng(1), replicas=3)
        >>> nominal.tolist(), drawn.round(3).tolist()
        ([0.5], [[1.155, 1.155, 0.408]])
    """
    rows = [index for index, role in enumerate(roles) if role != "data"]
    accepted = selections.any(axis=0) & np.isin(process, rows)
    weight, of_process = weight[accepted], process[accepted] == np.array(rows)[:, None]
    terms = selections[:, None, accepted] * of_process * weight
    names, of_role = [process_names[row] for row in rows], [roles[row] for row in rows]

    def values(counts: Floats) -> Floats:
        return _significances(counts, terms, names, of_role, settings, common_uncertainty)

    block = max(1, _BLOCK_BYTES // max(8 * len(weight), 1))
    drawn = [
        values(generator.poisson(1.0, (min(block, replicas - start), len(weight))).astype(np.float64))
        for start in range(0, replicas, block)
    ]
    return values(np.ones((1, len(weight))))[:, 0], np.concatenate(drawn, axis=1)


def _significances(
    counts: Floats,
    terms: Floats,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    common_uncertainty: float | None,
) -> Floats:
    """Significance per selection and replica, shape [K, R], from terms of shape [K, P, N]; NaN where it is not finite."""
    yields, variances = (np.moveaxis(each @ counts.T, 1, 0) for each in (terms, terms**2))
    z = significance(yields, variances, process_names, roles, settings, common_uncertainty=common_uncertainty)
    value = np.asarray(z.value)
    return np.where(np.isfinite(value), value, np.nan)
