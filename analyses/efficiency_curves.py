"""Yields above every threshold of a score, and the significance they give.

The figure of merit is, with the yields s and b_p of the selected signal and backgrounds,

    Z = s / sqrt(sum_p b_p + sum_p (k_p b_p)^2),                                                            (1)

k_p the relative uncertainty of background p; s / sqrt(b) where all k_p are zero.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Floats = npt.NDArray[np.float64]

COARSE_ANGLES = 360
FINE_ANGLES = 401
"""Directions tried for the best half plane, first around the circle, then between the neighbours of the best."""


@dataclass(frozen=True, eq=False)
class EfficiencyCurve:
    """Yields above every threshold of a score, from the tightest to the loosest; T thresholds, B backgrounds.

    Attributes:
        signal_efficiency: fraction of the signal selected, f8 [T], rising to one.
        background_yields: f8 [B, T].
        signal_yield: yield of the signal without any cut.
        relative_uncertainties: k_p of the backgrounds, f8 [B].
    """

    signal_efficiency: Floats
    background_yields: Floats
    signal_yield: float
    relative_uncertainties: Floats

    def background_yields_at(self, signal_efficiency: npt.ArrayLike) -> Floats:
        """Background yields at given signal efficiencies, f8 [B, ...], interpolated linearly between thresholds."""
        wanted, reached = np.asarray(signal_efficiency, dtype=np.float64), np.append(0.0, self.signal_efficiency)
        return np.stack([np.interp(wanted, reached, np.append(0.0, yields)) for yields in self.background_yields])

    def significance_at(self, signal_efficiency: npt.ArrayLike, *, with_uncertainties: bool = True) -> Floats:
        """Z of equation 1 at given signal efficiencies, f8 of the same shape."""
        wanted = np.asarray(signal_efficiency, dtype=np.float64)
        return self._significance(wanted, self.background_yields_at(wanted), with_uncertainties=with_uncertainties)

    def significance(self, *, with_uncertainties: bool = True) -> Floats:
        """Z of equation 1 at every threshold, f8 [T]; NaN where no background is left."""
        return self._significance(self.signal_efficiency, self.background_yields, with_uncertainties=with_uncertainties)

    def best(self, minimum_signal_efficiency: float = 0.0, *, with_uncertainties: bool = True) -> "WorkingPoint":
        """The threshold of the largest Z among those that keep enough signal."""
        values = self.significance(with_uncertainties=with_uncertainties)
        allowed = (self.signal_efficiency >= minimum_signal_efficiency) & np.isfinite(values)
        index = int(np.argmax(np.where(allowed, values, -np.inf)))
        return WorkingPoint(
            float(values[index]),
            float(self.signal_efficiency[index]),
            tuple(float(value) for value in self.background_yields[:, index]),
        )

    def point_at(self, signal_efficiency: float) -> "WorkingPoint":
        """The cut that keeps a given fraction of the signal, with Z of equation 1."""
        backgrounds = self.background_yields_at(signal_efficiency)
        value = self.significance_at(signal_efficiency)
        return WorkingPoint(float(value), signal_efficiency, tuple(float(each) for each in backgrounds))

    def _significance(self, efficiency: Floats, backgrounds: Floats, *, with_uncertainties: bool) -> Floats:
        uncertainties = self.relative_uncertainties if with_uncertainties else 0 * self.relative_uncertainties
        return significance(self.signal_yield * efficiency, backgrounds, uncertainties)


@dataclass(frozen=True)
class WorkingPoint:
    """A cut on a score.

    Attributes:
        significance: Z of equation 1.
        signal_efficiency: fraction of the signal selected.
        background_yields: yield of each background selected.
    """

    significance: float
    signal_efficiency: float
    background_yields: tuple[float, ...]


@dataclass(frozen=True)
class LinearCut(WorkingPoint):
    """The half plane x1 cos(angle) + x2 sin(angle) > threshold.

    Attributes:
        angle: direction of rising signal purity, in radians.
        threshold: distance of the boundary from the origin.
    """

    angle: float
    threshold: float


@dataclass(frozen=True, eq=False)
class EffectiveWeightsLimit(WorkingPoint):
    """The best selection for equation 1: a likelihood ratio with effective background weights at their fixed point.

    Attributes:
        effective_weights: c_p of each background, the first one being 1.
        rounds: iterations used.
        converged: whether the last round changed no weight by more than the tolerance.
        curve: yields above every threshold of the ratio with these weights.
    """

    effective_weights: tuple[float, ...]
    rounds: int
    converged: bool
    curve: EfficiencyCurve


def significance(signal: npt.ArrayLike, backgrounds: Floats, relative_uncertainties: Floats) -> Floats:
    """Z of equation 1 for yields s [...], b_p [B, ...] and k_p [B]; NaN where the background is zero.

    Example:
        >>> float(significance(10.0, np.array([16.0, 9.0]), np.array([0.0, 0.0])))
        2.0
    """
    uncertainties = relative_uncertainties.reshape(-1, *[1] * (backgrounds.ndim - 1))
    variance = backgrounds.sum(0) + ((uncertainties * backgrounds) ** 2).sum(0)
    return np.asarray(signal) / np.sqrt(np.where(variance > 0, variance, np.nan))


def best_half_plane(
    centres: Floats,
    yields: Floats,
    is_signal: npt.NDArray[np.bool_],
    relative_uncertainties: Floats,
    signal_efficiency: float,
) -> LinearCut:
    """The half plane of the largest Z of equation 1 that keeps a given fraction of the signal, from normal tails.

    Args:
        centres: of processes with unit variance, f8 [P, 2]; one of them is the signal.
        yields: f8 [P].
        is_signal: bool [P].
        relative_uncertainties: k_p of the backgrounds, f8 [P - 1].
        signal_efficiency: in (0, 1).
    """

    def best_of(angles: Floats) -> LinearCut:
        projected = centres @ np.stack([np.cos(angles), np.sin(angles)])
        thresholds = projected[is_signal][0] + norm.isf(signal_efficiency)
        backgrounds = yields[~is_signal, None] * norm.sf(thresholds - projected[~is_signal])
        values = significance(signal_efficiency * yields[is_signal][0], backgrounds, relative_uncertainties)
        best = int(np.argmax(values))
        return LinearCut(
            float(values[best]),
            signal_efficiency,
            tuple(float(value) for value in backgrounds[:, best]),
            angle=float(angles[best]),
            threshold=float(thresholds[best]),
        )

    step = 2 * np.pi / COARSE_ANGLES
    coarse = best_of(np.arange(-np.pi, np.pi, step))
    return best_of(coarse.angle + np.linspace(-step, step, FINE_ANGLES))
