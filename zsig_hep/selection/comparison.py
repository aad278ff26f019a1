"""Two selections on the same events: the difference of their significances, with the events that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.selection.scan import WorkingPointSettings, significance

_BLOCK_BYTES = 2**25


@dataclass(frozen=True)
class Difference:
    """Significance of a first selection minus that of a second.

    Attributes:
        value: the difference.
        uncertainty: its standard deviation from the finite simulation, correlations included.
    """

    value: float
    uncertainty: float


def held_out_selection(
    score: npt.NDArray[np.float64], fold: npt.NDArray[np.integer], thresholds: Sequence[float | None]
) -> npt.NDArray[np.bool_]:
    """Events at or above the threshold of their own fold; none in a fold without one.

    Args:
        score: shape (N,).
        fold: shape (N,), indices into `thresholds`.
        thresholds: one per fold.

    Returns:
        Shape (N,).

    Example:
        >>> held_out_selection(np.array([0.4, 0.4]), np.array([0, 1]), [0.3, 0.5])
        array([ True, False])
    """
    cut = np.array([np.inf if threshold is None else threshold for threshold in thresholds])
    selected: npt.NDArray[np.bool_] = score >= cut[fold]
    return selected


def paired_difference(
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64],
    is_signal: npt.NDArray[np.bool_],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int = 1000,
) -> Difference:
    """Compare two selections by a Poisson bootstrap over events, at fixed cuts.

    Each replica counts every event n ~ Poisson(1) times in both selections, so that what both select cancels.
    Replicas whose background is not positive in either selection have no significance and are left out.

    Args:
        first: events that the first selection accepts, shape (N,).
        second: events that the second accepts, shape (N,).
        weight: signed weights [events], shape (N,), of simulated events.
        is_signal: shape (N,).
        settings: figure of merit.
        generator: source of randomness.
        replicas: number of bootstrap replicas.

    Returns:
        The difference on the events as they are, and the replicas' standard deviation.

    Raises:
        InputError: if arrays differ in length.

    Example:
        >>> everything = np.ones(4, dtype=bool)
        >>> paired_difference(everything, everything, np.ones(4), np.array([True, False, False, False]),
        ...     WorkingPointSettings(), np.random.default_rng(0), replicas=50)
        Difference(value=0.0, uncertainty=0.0)
    """
    if not len(first) == len(second) == len(weight) == len(is_signal):
        message = "Selections, weights and the signal mask differ in length."
        raise InputError(message)
    accepted = first | second
    weight, is_signal = weight[accepted], is_signal[accepted]
    masks = np.stack([first[accepted], second[accepted]]).astype(np.float64)
    nominal = _significances(np.ones((1, len(weight))), masks, weight, is_signal, settings)
    block = max(1, _BLOCK_BYTES // max(8 * len(weight), 1))
    drawn = [
        _significances(
            generator.poisson(1.0, (min(block, replicas - start), len(weight))).astype(np.float64),
            masks,
            weight,
            is_signal,
            settings,
        )
        for start in range(0, replicas, block)
    ]
    differences = np.concatenate([values[:, 0] - values[:, 1] for values in drawn])
    return Difference(float(nominal[0, 0] - nominal[0, 1]), float(np.nanstd(differences, ddof=1)))


def _significances(
    counts: npt.NDArray[np.float64],
    masks: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    is_signal: npt.NDArray[np.bool_],
    settings: WorkingPointSettings,
) -> npt.NDArray[np.float64]:
    """Significance per replica and selection, shape (R, 2); NaN where it is not finite."""
    s = counts @ (masks * weight * is_signal).T
    b = counts @ (masks * weight * ~is_signal).T
    var_s = counts @ (masks * weight**2 * is_signal).T
    var_b = counts @ (masks * weight**2 * ~is_signal).T
    value = np.asarray(significance(s, b, var_s, var_b, settings).value)
    return np.where(np.isfinite(value), value, np.nan)
