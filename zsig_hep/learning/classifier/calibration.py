"""One scale for all networks of an ensemble: the share of the signal that scores lower."""

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

LEVELS = np.linspace(0.0, 1.0, 201)
"""Shares of the signal at which a network's output is stored."""


def signal_quantiles(outputs: npt.ArrayLike, weights: npt.ArrayLike) -> Float32Array:
    """Find a network's outputs below which given shares of the signal lie.

    Args:
        outputs: of one network for signal events that it did not train on, shape (n,).
        weights: non-negative, shape (n,).

    Returns:
        Non-decreasing, shape (201,), for the shares `LEVELS`; the first and last are the extreme outputs.

    Example:
        >>> signal_quantiles([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])[[0, 100, 200]]
        array([0., 1., 2.], dtype=float32)
    """
    outputs, weights = np.asarray(outputs, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    order = np.argsort(outputs, kind="stable")
    # Half of an event's own weight counts as below it, so that the first and the last event are treated alike.
    below = np.cumsum(weights[order]) - weights[order] / 2
    quantiles: Float32Array = np.interp(LEVELS * weights.sum(), below, outputs[order]).astype(np.float32)
    return quantiles


def signal_share_below(outputs: Float32Array | Float64Array, quantiles: Float32Array) -> Float64Array:
    """Map outputs to the share of the signal that lies below them, linear between the stored quantiles.

    Networks of different folds and seeds reach different outputs for equally signal-like events.  One threshold for
    all of them, and a mean over seeds, need a common scale; on this one the signal is flat in [0, 1] and a cut at t
    keeps a share of about 1 - t of it, whatever the loss.

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
