"""How the best rectangular cuts depend on cross sections, luminosity and background uncertainties.

At a maximum in the edges t of S sides, Z_t(t*; theta) = 0, so that (S. Gould et al., arXiv:1607.05447)

    dt*/dtheta = -Z_tt^{-1} Z_t_theta                                                          (1)

with the S x S matrix Z_tt of the soft cuts of `zsig_hep.selection.boxes.soft_cuts`; theta are logarithms as in
`zsig_hep.selection.smooth_figure`. Open edges are left out.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zsig_hep.selection.boxes.problem import BoxProblem, qualifies
from zsig_hep.selection.boxes.soft_cuts import SmoothBox
from zsig_hep.selection.boxes.soft_moments import NearFigure
from zsig_hep.selection.events import Floats, Integers
from zsig_hep.selection.smooth_figure import Parameter, by_process, central_spread

Status = Literal["ok", "limited", "no_maximum", "no_cut"]

# Events more than _REACH bandwidths outside a chosen edge are left out. A maximum more than _FARTHEST bandwidths from
# it, where they would pass by more than 1e-10, is not accepted.
_REACH, _FARTHEST = 40.0, 16.0
# Newton's method: largest number of steps; longest step, and the step at which it has converged, in bandwidths.
_ITERATIONS, _LONGEST_STEP, _SETTLED = 60, 0.7, 1e-9
# Smallest ratio of the smallest to the largest curvature; below it edges can move together without changing Z.
_FLAT = 1e-4
# As a fraction of the bandwidth; a smaller derivative is rounding. The one in the luminosity is zero where Z is
# proportional to its square root.
_ROUNDING = 1e-7
_MOST_REPLICAS = 30
# Events that pass the soft optimum by a smaller fraction are left out of the replicas, whose edges move little.
_NEGLIGIBLE = 1e-7


@dataclass(frozen=True)
class SmoothEdge:
    """One edge of the soft optimum.

    Attributes:
        variable: variable of the cut.
        side: lower or upper edge.
        cut: t*, in units of the variable.
        bandwidth: h, in units of the variable.
    """

    variable: str
    side: Literal["low", "high"]
    cut: float
    bandwidth: float


@dataclass(frozen=True)
class EdgeImpact:
    """Derivative of one edge in the natural logarithm of one parameter.

    Attributes:
        edge: the edge.
        parameter: the parameter.
        cut_slope: dt*/dtheta in units of the variable.
        cut_slope_uncertainty: half of the central 68 % interval of the replicas; None if fewer than two have a maximum.
        cut_slope_with_bandwidths: dt*/dtheta with half and with twice the bandwidths; None where there is no maximum.
    """

    edge: SmoothEdge
    parameter: Parameter
    cut_slope: float
    cut_slope_uncertainty: float | None
    cut_slope_with_bandwidths: tuple[float | None, float | None]


@dataclass(frozen=True)
class EdgeSensitivities:
    """Derivatives of all edges that have a cut.

    Attributes:
        status: "ok"; "limited" when the maximum of the soft significance does not meet the requirements, so that the
            cuts do not depend on the parameters; "no_maximum" when there is no maximum near the cuts; "no_cut" when
            there is no cut.
        reason: empty when ok; otherwise what was found.
        edges: edges of the soft optimum; empty unless it was found.
        rows: one for each edge and parameter; empty unless ok.
        significance: Z of the soft yields at the optimum, on the events that chose it; None unless it was found.
        replicas: number of bootstrap replicas that have a maximum.
    """

    status: Status
    reason: str = ""
    edges: tuple[SmoothEdge, ...] = ()
    rows: tuple[EdgeImpact, ...] = ()
    significance: float | None = None
    replicas: int = 0


@dataclass(frozen=True, eq=False)
class _Optimum:
    """The result of Newton's method for R sets of weights, and whether it is a maximum, bool [R]."""

    near: NearFigure
    value: Tensor
    is_maximum: Tensor


def edge_sensitivities(problem: BoxProblem, edges: Integers, generator: np.random.Generator) -> EdgeSensitivities:
    """Differentiate the edges of a box, with errors from a Poisson bootstrap over events.

    Newton's method finds the soft optimum, starting from the box, with bandwidths of `sensitivity.relative_bandwidth`
    times the mean distance of the selected signal from each edge. Up to 30 replicas count every event n ~ Poisson(1)
    times and find their own optimum.

    Args:
        problem: events and settings.
        edges: edges after `polish`, shape [S].
        generator: random generator.

    Returns:
        The derivatives; the status says whether they exist.
    """
    closed = np.flatnonzero(edges)
    if not closed.size:
        return EdgeSensitivities(status="no_cut", reason="no variable has a cut")
    start = problem.positions(edges)[closed]
    widths = problem.selection.sensitivity.relative_bandwidth * _mean_distance(problem, edges, closed, start)
    figure = _figure(problem, closed, start, widths)
    found = _maximise(figure, torch.zeros(1, closed.size, dtype=torch.float64))
    if not bool(found.is_maximum):
        reason = (
            f"the soft significance has no maximum of negative curvature within {_FARTHEST:g} bandwidths of the cuts"
        )
        return EdgeSensitivities(status="no_maximum", reason=reason)
    place = start + widths * found.near.place[0].numpy()
    sides = [problem.sides[index] for index in closed]
    smooth = tuple(
        SmoothEdge(side.variable, "low" if side.sign == 1 else "high", float(side.sign * at), float(width))
        for side, at, width in zip(sides, place, widths, strict=True)
    )
    if reason := _limitation(problem, closed, place):
        return EdgeSensitivities("limited", reason, smooth, significance=float(found.value))
    unit = (np.array([side.sign for side in sides]) * widths)[:, None]
    replicas = unit * _replicas(figure, found, problem.selection.sensitivity.replicas, generator)
    others = [_other_response(problem, closed, start, factor * widths) for factor in (0.5, 2.0)]
    half, double = (
        None if other is None else factor * unit * other for factor, other in zip((0.5, 2.0), others, strict=True)
    )
    rows = _rows(figure, smooth, unit * found.near.response()[0], replicas, half, double)
    return EdgeSensitivities("ok", "", smooth, rows, float(found.value), len(replicas))


def _rows(
    figure: SmoothBox,
    edges: tuple[SmoothEdge, ...],
    response: Floats,
    replicas: Floats,
    half: Floats | None,
    double: Floats | None,
) -> tuple[EdgeImpact, ...]:
    rows = []
    for row, edge in enumerate(edges):
        for column, parameter in enumerate(figure.parameters):
            smallest = _ROUNDING * edge.bandwidth
            spread = central_spread(replicas[:, row, column])
            with_half, with_double = (
                None if slopes is None else _unless_rounding(slopes[row, column], smallest) for slopes in (half, double)
            )
            rows.append(
                EdgeImpact(
                    edge,
                    parameter,
                    cut_slope=_unless_rounding(response[row, column], smallest),
                    cut_slope_uncertainty=None if spread is None else _unless_rounding(spread, smallest),
                    cut_slope_with_bandwidths=(with_half, with_double),
                )
            )
    return tuple(rows)


def _mean_distance(problem: BoxProblem, edges: Integers, closed: Integers, start: Floats) -> Floats:
    """Mean distance of the selected signal from each edge, in units of the variables."""
    is_signal = problem.processes.is_signal[problem.process]
    selected = is_signal & (problem.failures(edges) == 0)
    distances = []
    for index, edge in zip(closed, start, strict=True):
        beyond = problem.sides[index].score[selected] - edge
        # Infinite for a missing value that passes.
        finite = np.isfinite(beyond)
        # Signed weights may cancel.
        weight = np.abs(problem.weight[selected][finite])
        distances.append(float(np.average(beyond[finite], weights=weight)) if weight.sum() > 0 else 0.0)
    return np.array(distances)


def _figure(problem: BoxProblem, closed: Integers, start: Floats, widths: Floats) -> SmoothBox:
    """Z of soft cuts, of the events within reach, with positions in bandwidths from the chosen edges."""
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.stack(
            [(problem.sides[i].score - edge) / width for i, edge, width in zip(closed, start, widths, strict=True)]
        )
    near = (distance > -_REACH).all(axis=0)
    weights = by_process(torch.tensor(problem.weight[near]), torch.tensor(problem.process[near]), problem.processes)
    return SmoothBox(
        score=torch.tensor(distance[:, near]),
        weights=weights,
        squared_weights=weights**2,
        bandwidth=1.0,
        processes=problem.processes,
        objective=problem.selection.objective.differentiable,
        widths=torch.ones(len(closed), dtype=torch.float64),
    )


def _maximise(figure: SmoothBox, place: Tensor) -> _Optimum:
    """Newton's method from edges of shape [R, S]; every curvature is taken as negative, so that Z increases."""
    near = NearFigure.at(figure, place)
    for _ in range(_ITERATIONS):
        value, slope, curvature = near.derivatives()
        eigenvalues, directions = torch.linalg.eigh(curvature)
        scale = eigenvalues.abs().amax(dim=1, keepdim=True)
        along = torch.einsum("rse,rs->re", directions, slope)
        damped = torch.maximum(eigenvalues.abs(), (_FLAT * scale).clamp(min=torch.finfo(scale.dtype).tiny))
        step = torch.einsum("rse,re->rs", directions, along / damped)
        length = step.abs().amax(dim=1)
        downward = (eigenvalues[:, -1] < 0) & (eigenvalues[:, -1].abs() > _FLAT * scale[:, 0])
        good = downward & (length <= _SETTLED) & (place.abs().amax(dim=1) < _FARTHEST) & torch.isfinite(value)
        # An optimum this far away will not be accepted.
        busy = (length > _SETTLED) & (place.abs().amax(dim=1) < 2 * _FARTHEST) & torch.isfinite(value)
        if not bool(busy.any()):
            break
        place = place + torch.where(
            busy[:, None], step * (_LONGEST_STEP / length.clamp(min=_LONGEST_STEP))[:, None], 0.0
        )
        near = NearFigure.at(figure, place)
    return _Optimum(near, value, good)


def _limitation(problem: BoxProblem, closed: Integers, place: Floats) -> str:
    """Reason why the soft optimum is excluded; empty if it qualifies."""
    edges = problem.nothing
    for index, at in zip(closed, place, strict=True):
        edges[index] = problem.sides[index].edge_at(at)
    if qualifies(problem.value(edges)):
        return ""
    return (
        "the cuts of the highest soft significance do not meet the requirements of the working point, which therefore "
        "determine the chosen cuts: these do not depend on the parameters"
    )


def _other_response(problem: BoxProblem, closed: Integers, start: Floats, widths: Floats) -> Floats | None:
    """Equation 1 with other bandwidths, in units of these, shape [S, Q]; None without a maximum."""
    found = _maximise(_figure(problem, closed, start, widths), torch.zeros(1, closed.size, dtype=torch.float64))
    return found.near.response()[0] if bool(found.is_maximum) else None


def _replicas(figure: SmoothBox, optimum: _Optimum, count: int, generator: np.random.Generator) -> Floats:
    """Equation 1 in the replicas that have a maximum, shape [R', S, Q]; computed one by one to save memory."""
    responses = []
    weight = figure.weights.abs().amax(dim=1)
    passing = (weight > 0) & (figure.passing(optimum.near.place) > _NEGLIGIBLE)
    figure = replace(
        figure, **{name: getattr(figure, name)[..., passing[0]] for name in ("score", "weights", "squared_weights")}
    )
    for _ in range(min(count, _MOST_REPLICAS)):
        counts = torch.tensor(generator.poisson(1.0, figure.score.shape[1]).astype(np.float64))
        drawn = replace(figure, weights=counts * figure.weights, squared_weights=counts * figure.squared_weights)
        found = _maximise(drawn, optimum.near.place)
        if bool(found.is_maximum):
            responses.append(found.near.response()[0])
    return np.array(responses).reshape(-1, optimum.near.place.shape[1], len(figure.parameters))


def _unless_rounding(value: float, smallest: float) -> float:
    return 0.0 if abs(value) < smallest else float(value)
