"""Yields of weighted events, their variances and effective numbers of entries."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

import array_api_compat
import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError


@dataclass(frozen=True)
class Yield:
    """An expected number of events with its variance from the finite simulation.

    With signed event weights w, the yield is sum w, its variance is sum w^2, and

        n_eff = (sum w)^2 / sum w^2                                                            (1)

    is the number of unweighted events with the same relative uncertainty (Bohm and Zech,
    Nucl. Instrum. Meth. A 748 (2014) 1, arXiv:1309.1287, section 3).

    Attributes:
        value: sum of weights, in events at the luminosity of the weights.
        variance: sum of squared weights, in events squared.
        entries: number of simulated events.
        third_moment: sum of cubed weights; with the next, the fluctuation of the variance itself. None if not known.
        fourth_moment: sum of the fourth powers of the weights; None if not known.

    Example:
        >>> half = Yield(value=1.5, variance=0.75, entries=3)
        >>> whole = half + half
        >>> whole.value, whole.entries, round(whole.uncertainty, 4), whole.effective_entries
        (3.0, 6, 1.2247, 6.0)
    """

    value: float
    variance: float
    entries: int
    third_moment: float | None = field(default=None, repr=False, compare=False)
    fourth_moment: float | None = field(default=None, repr=False, compare=False)

    @property
    def uncertainty(self) -> float:
        """Standard deviation from the finite simulation, sqrt(sum w^2), in events."""
        return math.sqrt(self.variance)

    @property
    def effective_entries(self) -> float:
        """Equation 1; 0 without events."""
        return self.value * (self.value / self.variance) if self.variance > 0 else 0.0

    def __add__(self, other: Self) -> "Yield":
        """Add the yield of statistically independent events."""
        if not isinstance(other, Yield):
            return NotImplemented
        return Yield(
            self.value + other.value,
            self.variance + other.variance,
            self.entries + other.entries,
            _sum_if_known(self.third_moment, other.third_moment),
            _sum_if_known(self.fourth_moment, other.fourth_moment),
        )


NO_EVENTS = Yield(0.0, 0.0, 0, 0.0, 0.0)
"""The yield to start a sum from: all of its moments are known."""


def weighted_yield(weight: npt.ArrayLike) -> Yield:
    """Sum event weights in float64 into a yield.

    Args:
        weight: signed event weights, shape [N], in events at the luminosity; N may be 0.

    Returns:
        Sums of powers of the weights, and N.

    Raises:
        InputError: the weights are not one-dimensional, or one is not finite.

    Example:
        >>> weighted_yield([2.0, -0.5, 1.0])
        Yield(value=2.5, variance=5.25, entries=3)
    """
    values = np.asarray(weight, dtype=np.float64)
    if values.ndim != 1:
        message = f"Event weights must have shape [events]; found shape {values.shape}."
        raise InputError(message)
    if not (finite := np.isfinite(values)).all():
        first = int(np.argmin(finite))
        message = f"Event weight {first} is {values[first]}; weights must be finite."
        raise InputError(message)
    square = np.square(values)
    third, fourth = float((square * values).sum()), float(np.square(square).sum())
    return Yield(float(values.sum()), float(square.sum()), values.size, third, fourth)


def _sum_if_known(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def effective_entries(sum_w: Any, sum_w2: Any) -> Any:
    """Number of unweighted events with the same relative uncertainty, equation 1 of `Yield`, elementwise.

    Args:
        sum_w: sums of weights, any shape, NumPy or torch.
        sum_w2: sums of squared weights (>= 0), same shape and namespace.

    Returns:
        (sum w)^2 / sum w^2 in the namespace of the arguments; 0 where sum w^2 is 0.

    Example:
        >>> import numpy as np
        >>> effective_entries(np.array([6.0, -3.0, 0.0]), np.array([12.0, 3.0, 0.0]))
        array([3., 3., 0.])
    """
    xp = array_api_compat.array_namespace(sum_w, sum_w2)
    filled = sum_w2 > 0
    return xp.where(filled, sum_w * (sum_w / xp.where(filled, sum_w2, xp.ones_like(sum_w2))), xp.zeros_like(sum_w))
