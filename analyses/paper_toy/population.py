"""The Z loss of a linear model on infinitely many events: no batches, no sampling noise.

The output F = a.x + c of a process is normally distributed with mean a.mu + c and width |a|, so the loss is an integral in
one dimension. With the hinge error it is convex in (a, c), because the error is convex and the set function is submodular:
it has one minimum, and where F = 0 (loss one) is a minimum there is no other to find.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from analyses.paper_toy.lines import Line
from analyses.toys import GaussianToy
from zsig_hep.learning import ZLoss

Floats = npt.NDArray[np.float64]

_DEVIATIONS = torch.linspace(-6, 6, 301, dtype=torch.float64)
_DENSITY = torch.exp(-(_DEVIATIONS**2) / 2) / torch.exp(-(_DEVIATIONS**2) / 2).sum()

COLLAPSED_SPREAD = 1e-2
"""Outputs whose standard deviation within a process is below this are called collapsed; a trained model has about one."""

SMALL = 1e-3
"""Scale of the outputs for the slope of the loss at F = 0; the loss is linear there as long as all |F| < 1."""


@dataclass(frozen=True)
class Minimum:
    """Minimum of the loss.

    Attributes:
        loss: its value; one is the loss of F = 0.
        spread: standard deviation of the outputs within a process, |a|.
        line: where F = 0; None if the outputs have collapsed and there is no line.
        parameters: (a1, a2, c).
    """

    loss: float
    spread: float
    line: Line | None
    parameters: tuple[float, float, float]


def outputs(toy: GaussianToy, parameters: Tensor) -> Tensor:
    """Outputs at the quadrature points of all processes, shape (..., P * D), for (a1, a2, c) of shape (..., 3)."""
    direction, constant = parameters[..., :2], parameters[..., 2:]
    means = direction @ torch.tensor(toy.centres).T + constant
    widths = torch.linalg.vector_norm(direction, dim=-1)[..., None, None]
    values: Tensor = (means[..., None] + widths * _DEVIATIONS).flatten(-2)
    return values


def population_loss(toy: GaussianToy, parameters: Tensor, loss: nn.Module) -> Tensor:
    """Value of a loss of (outputs, signal mask, yields) for linear models (a1, a2, c) of shape (..., 3), shape (...)."""
    weights = (torch.tensor(toy.yields)[:, None] * _DENSITY).flatten()
    is_signal = torch.tensor(toy.is_signal).repeat_interleave(len(_DEVIATIONS))
    value: Tensor = loss(outputs(toy, parameters), is_signal, weights)
    return value


def minimum(toy: GaussianToy, relative_eps: float, start: npt.ArrayLike, error: str = "hinge") -> Minimum:
    """Minimise the Z loss from a start (a1, a2, c) by the simplex method, which needs no smoothness.

    The search runs in (a1, a2, output at the signal's centre), which are less correlated than (a1, a2, c).
    """
    loss = ZLoss(relative_eps, error=error)
    centre = toy.centres[toy.is_signal][0]

    def parameters(point: Floats) -> Floats:
        return np.array([point[0], point[1], point[2] - point[:2] @ centre])

    def value(point: Floats) -> float:
        return float(population_loss(toy, torch.tensor(parameters(point)), loss))

    first = np.asarray(start, dtype=np.float64)
    found = minimize(
        value,
        np.array([first[0], first[1], first[2] + first[:2] @ centre]),
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-8, "maxiter": 2000},
    )
    best = parameters(found.x)
    spread = math.hypot(best[0], best[1])
    line = Line.from_parameters(best) if spread > COLLAPSED_SPREAD else None
    return Minimum(float(found.fun), spread, line, (float(best[0]), float(best[1]), float(best[2])))


def rise(toy: GaussianToy, line: Line, eps: float) -> float:
    """Slope of the hinge loss at F = 0 along outputs proportional to the distance to a line, per unit of their spread.

    Where it is positive, the loss exceeds one for every positive scale of these outputs, because the loss is convex.

    Example:
        >>> from analyses.toys import PAPER_CASE_1
        >>> rise(PAPER_CASE_1, Line.from_slope(1.508, 0.781, signal_above=False), 300.0) > 0.4
        True
    """
    parameters = SMALL * torch.tensor([*line.normal, -line.offset])
    return (float(population_loss(toy, parameters, ZLoss(eps=eps))) - 1) / SMALL


def valley(toy: GaussianToy, eps: float) -> Line:
    """The line along which the hinge loss rises least from F = 0: the way on which outputs collapse."""
    signal = toy.centres[toy.is_signal][0]

    def through(point: Floats) -> Line:
        line = Line(float(point[0]), 0.0)
        return Line(line.angle, float(signal @ line.normal - point[1]))

    starts = [(toy.best_linear_cut(0.5).angle + turn, shift) for turn in (-0.5, 0.0, 0.5) for shift in (-0.5, 0.5)]
    found = [minimize(lambda point: rise(toy, through(point), eps), start, method="Nelder-Mead") for start in starts]
    return through(min(found, key=lambda result: result.fun).x)
