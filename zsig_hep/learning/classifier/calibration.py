"""Calibration of all networks of an ensemble to a common score: the fraction of the signal with a lower output."""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

LEVELS = np.linspace(0.0, 1.0, 201)
"""Fractions of the signal at which the quantiles of a network's output are stored."""


def signal_quantiles(outputs: npt.ArrayLike, weights: npt.ArrayLike) -> Float32Array:
    """Compute the quantiles of a network's output for signal events, at the fractions `LEVELS`.

    Args:
        outputs: of one network for signal events that it was not trained on, shape (n,).
        weights: non-negative, shape (n,).

    Returns:
        Non-decreasing, shape (201,); the first and last are the extreme outputs.

    Example:
        >>> signal_quantiles([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])[[0, 100, 200]]
        array([0., 1., 2.], dtype=float32)
    """
    outputs, weights = np.asarray(outputs, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(outputs, kind="stable")
    # Half of an event's weight is counted as below it, which treats the first and the last event symmetrically.
    below = np.cumsum(weights[order]) - weights[order] / 2
    quantiles: Float32Array = np.interp(LEVELS * weights.sum(), below, outputs[order]).astype(np.float32)
    return quantiles


def signal_share_below(outputs: Float32Array | Float64Array, quantiles: Float32Array) -> Float64Array:
    """Map outputs to the fraction of the signal with lower outputs, by linear interpolation between quantiles.

    Networks of different folds and seeds have different outputs for equally signal-like events.  One threshold for all
    networks, and a mean over seeds, need a common scale: on this one the signal is uniform in [0, 1], and a cut at t
    has a signal efficiency of about 1 - t for any loss.

    Args:
        outputs: shape (M, n).
        quantiles: of each network, shape (M, 201).

    Returns:
        In [0, 1], shape (M, n); 0 and 1 beyond the extreme outputs of the signal.

    Example:
        >>> quantiles = signal_quantiles([0.0, 1.0, 2.0], np.ones(3))
        >>> signal_share_below(np.float32([[1.0, 1.5, 7.0]]), quantiles[None]).round(2)
        array([[0.5 , 0.67, 1.  ]])
    """
    return np.stack([np.interp(row, knots, LEVELS) for row, knots in zip(outputs, quantiles, strict=True)])
