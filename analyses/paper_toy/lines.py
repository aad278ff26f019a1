"""Straight decision boundaries in the plane, with exact yields on either side."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from analyses.efficiency_curves import EfficiencyCurve, LinearCut
from analyses.toys import GaussianToy

Floats = npt.NDArray[np.float64]

CURVE_EFFICIENCIES = np.linspace(5e-4, 1, 2000)


@dataclass(frozen=True)
class Line:
    """The boundary x1 cos(angle) + x2 sin(angle) = offset; signal is expected where the left side is larger.

    Attributes:
        angle: direction of rising signal purity, in radians.
        offset: distance of the boundary from the origin.

    Example:
        >>> line = Line.from_slope(1.508, 0.781, signal_above=False)
        >>> round(line.slope, 3), round(line.intercept, 3), round(math.degrees(line.angle), 1)
        (1.508, 0.781, -33.5)
    """

    angle: float
    offset: float

    @classmethod
    def from_slope(cls, slope: float, intercept: float, *, signal_above: bool) -> Self:
        """The line x2 = slope x1 + intercept with the signal expected above or below it."""
        sign = 1 if signal_above else -1
        length = math.hypot(slope, 1)
        return cls(math.atan2(sign, -sign * slope), sign * intercept / length)

    @classmethod
    def from_parameters(cls, parameters: npt.ArrayLike) -> Self:
        """The line F = 0 of F = a1 x1 + a2 x2 + c, given (a1, a2, c)."""
        first, second, constant = np.asarray(parameters, dtype=np.float64)
        return cls(math.atan2(second, first), -constant / math.hypot(first, second))

    @classmethod
    def from_cut(cls, cut: LinearCut) -> Self:
        """The boundary of an analytic cut."""
        return cls(cut.angle, cut.threshold)

    @property
    def normal(self) -> Floats:
        """Unit vector towards the signal, f8 [2]."""
        return np.array([math.cos(self.angle), math.sin(self.angle)])

    @property
    def slope(self) -> float:
        """Slope of x2 against x1."""
        return -math.cos(self.angle) / math.sin(self.angle)

    @property
    def intercept(self) -> float:
        """x2 where x1 is zero."""
        return self.offset / math.sin(self.angle)

    def signal_efficiency(self, toy: GaussianToy) -> float:
        """Fraction of the signal on the signal side of the boundary itself."""
        return float(norm.sf(self.offset - toy.centres[toy.is_signal][0] @ self.normal))

    def curve(self, toy: GaussianToy) -> EfficiencyCurve:
        """Yields above every threshold of the distance to the boundary, from normal tails."""
        projected = toy.centres @ self.normal
        thresholds = projected[toy.is_signal][0] + norm.isf(CURVE_EFFICIENCIES)
        backgrounds = toy.yields[~toy.is_signal, None] * norm.sf(thresholds - projected[~toy.is_signal, None])
        signal_yield = float(toy.yields[toy.is_signal][0])
        return EfficiencyCurve(CURVE_EFFICIENCIES, backgrounds, signal_yield, toy.relative_uncertainties)


def linear_cut_curve(toy: GaussianToy) -> EfficiencyCurve:
    """The best linear cut at each signal efficiency: each point another direction."""
    efficiencies = np.linspace(0.01, 0.99, 197)
    cuts = [toy.best_linear_cut(float(efficiency)) for efficiency in efficiencies]
    backgrounds = np.array([cut.background_yields for cut in cuts]).T
    signal_yield = float(toy.yields[toy.is_signal][0])
    return EfficiencyCurve(efficiencies, backgrounds, signal_yield, toy.relative_uncertainties)
