"""The global maximum of a smooth function of one unknown, such as Z of a threshold, with derivatives in parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.argmin import Parameters, argmax

CurveFunction = Callable[[Tensor, Any], Tensor]
"""Z(t, parameters) for thresholds t of any shape, one value for each."""

GridStatus = Literal["unique", "multi_modal", "edge"]

# More than two maxima are refined, as their order on the grid may be wrong.
_REFINED = 4
_NEWTON_STEPS = 100


@dataclass(frozen=True)
class LocalMaximum:
    """A refined local maximum.

    Attributes:
        location: threshold t.
        value: Z there.
        curvature: Z_tt, negative inside the grid.
        at_edge: whether it is an end of the grid, towards which Z increases.
    """

    location: float
    value: float
    curvature: float
    at_edge: bool


@dataclass(frozen=True, eq=False)
class GridMaximum:
    """The global maximum, and whether it is unique.

    Attributes:
        location: t*, 0-d, with gradients to the parameters; constant at an edge.
        value: Z(t*), 0-d, with gradients of any order to the parameters.
        curvature: Z_tt.
        plateau_half_width: distance from t* at which Z is smaller by 1 %, sqrt(0.02 |Z / Z_tt|), in units of t, a
            measure of how well t* is determined; None at an edge.
        runner_up: the second-best local maximum; None if there is none.
        status: `unique`; `multi_modal` if the runner-up is within the tolerance, so that a small change of the
            parameters can move t* to it, which derivatives do not show; `edge` if Z increases towards an end of the
            grid.
    """

    location: Tensor
    value: Tensor
    curvature: float
    plateau_half_width: float | None
    runner_up: LocalMaximum | None
    status: GridStatus


def argmax_on_grid(
    function: CurveFunction,
    grid: Tensor,
    parameters: Parameters,
    *,
    multi_modal_tolerance: float = 0.01,
    flat_tolerance: float = 1e-6,
) -> GridMaximum:
    """Find the global maximum over a threshold and make it differentiable.

    Args:
        function: Z(t, parameters), twice differentiable, for t of any shape.
        grid: strictly increasing thresholds, shape (g,), g >= 3, fine enough to separate the relevant maxima.
        parameters: as in `argmax`.
        multi_modal_tolerance: relative difference in Z up to which the runner-up makes the status `multi_modal`.
        flat_tolerance: relative variation of the function below which it is an error.

    Raises:
        TrainingError: for an invalid grid, values that are NaN or infinite, and a flat function.

    Example:
        >>> centre = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        >>> grid = torch.linspace(-1, 1, 21, dtype=torch.float64)
        >>> best = argmax_on_grid(lambda t, c: 2 - (t - c**2) ** 2, grid, centre)
        >>> best.location.backward()
        >>> round(best.location.item(), 6), round(centre.grad.item(), 6), best.status
        (0.09, 0.6, 'unique')
    """
    constants = _without_graph(parameters)
    best, runner_up = local_maxima(lambda t: function(t, constants), grid, flat_tolerance=flat_tolerance)
    near = runner_up is not None and best.value - runner_up.value <= multi_modal_tolerance * abs(best.value)
    location, width = grid.new_tensor(best.location), None
    if not best.at_edge:
        location = argmax(function, location, parameters).value
        width = (0.02 * abs(best.value / best.curvature)) ** 0.5
    value = function(location, parameters)
    status: GridStatus = "multi_modal" if near else "edge" if best.at_edge else "unique"
    return GridMaximum(location, value, best.curvature, width, runner_up, status)


def local_maxima(
    curve: Callable[[Tensor], Tensor], grid: Tensor, *, flat_tolerance: float = 1e-6
) -> tuple[LocalMaximum, LocalMaximum | None]:
    """Find the best and the second-best local maximum of a curve by Newton's method, without gradients.

    Args:
        curve: Z(t) for t of any shape.
        grid: as in `argmax_on_grid`.
        flat_tolerance: as in `argmax_on_grid`.

    Raises:
        TrainingError: as for `argmax_on_grid`.

    Example:
        >>> best, runner_up = local_maxima(lambda t: torch.cos(t) + 0.1 * t, torch.linspace(-3.0, 9.0, 25))
        >>> round(best.location, 3), round(runner_up.location, 3)
        (6.383, 0.1)
    """
    if grid.ndim != 1 or len(grid) < 3 or not bool((grid.diff() > 0).all()):
        message = f"The grid of argmax_on_grid must be at least 3 increasing numbers, found shape {tuple(grid.shape)}."
        raise TrainingError(message)
    grid = grid.detach()
    with torch.no_grad():
        values = curve(grid)
    if not bool(torch.isfinite(values).all()):
        message = (
            f"The function is NaN or infinite at threshold {float(grid[~torch.isfinite(values)][0]):.6g}; restrict the "
            "grid to thresholds with background, or give the figure of merit its simulation uncertainty."
        )
        raise TrainingError(message)
    if float(values.max() - values.min()) <= flat_tolerance * float(values.abs().max()):
        _refuse_flat(float(values.max()), float(grid[0]), float(grid[-1]))
    padded = torch.nn.functional.pad(values, (1, 1), value=-torch.inf)
    peaks = ((values > padded[:-2]) & (values >= padded[2:])).nonzero().squeeze(-1)
    peaks = peaks[values[peaks].argsort(descending=True)][:_REFINED]
    refined = sorted((_refine(curve, grid, int(peak)) for peak in peaks), key=lambda found: -found.value)
    best = refined[0]
    extent = float(grid[-1] - grid[0])
    if not best.at_edge and -best.curvature * extent**2 <= flat_tolerance * abs(best.value):
        _refuse_flat(best.value, float(grid[0]), float(grid[-1]))
    return best, refined[1] if len(refined) > 1 else None


def _without_graph(parameters: Parameters) -> Parameters:
    if isinstance(parameters, Tensor):
        return parameters.detach()
    if isinstance(parameters, Mapping):
        return {name: value.detach() for name, value in parameters.items()}
    return tuple(value.detach() for value in parameters)


def _refine(curve: Callable[[Tensor], Tensor], grid: Tensor, peak: int) -> LocalMaximum:
    """Newton's method on Z_t = 0 between the neighbours of a grid point, halving the interval where it fails."""
    low, high = float(grid[max(peak - 1, 0)]), float(grid[min(peak + 1, len(grid) - 1)])
    t = float(grid[peak])
    value, slope, curvature = _derivatives(curve, grid, t)
    if (peak == 0 and slope <= 0) or (peak == len(grid) - 1 and slope >= 0):
        return LocalMaximum(t, value, curvature, at_edge=True)
    rounding = 2 * torch.finfo(grid.dtype).eps * max(abs(low), abs(high))
    for _ in range(_NEWTON_STEPS):
        step = -slope / curvature if curvature < 0 else torch.inf
        if slope == 0 or abs(step) <= rounding:
            break
        low, high = (t, high) if slope > 0 else (low, t)
        t = t + step if low < t + step < high else (low + high) / 2
        value, slope, curvature = _derivatives(curve, grid, t)
    return LocalMaximum(t, value, curvature, at_edge=False)


def _derivatives(curve: Callable[[Tensor], Tensor], like: Tensor, t: float) -> tuple[float, float, float]:
    with torch.enable_grad():
        point = like.new_tensor(t).requires_grad_()
        value = curve(point)
        (slope,) = torch.autograd.grad(value, point, create_graph=True)
        curvature = torch.autograd.grad(slope, point)[0] if slope.requires_grad else torch.zeros_like(slope)
    return value.item(), slope.item(), curvature.item()


def _refuse_flat(value: float, low: float, high: float) -> None:
    message = (
        f"The function is flat, {value:.6g} between {low:.6g} and {high:.6g}, and has no maximum. Widen the grid, or "
        "check that the scores have not collapsed to one value."
    )
    raise TrainingError(message)
