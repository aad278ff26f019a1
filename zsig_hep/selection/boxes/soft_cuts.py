"""Soft cuts: gradient ascent of the significance, which gives the exact search of rectangular cuts its starting points.

An event counts in a box with edges t_s with the fraction

    g(v; t) = prod_s 1 / (1 + exp(-(v_s - t_s) / h_s)),                                        (1)

so that the figure of merit of the soft yields sum w g has derivatives in all edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from zsig_hep.selection.boxes.problem import BoxProblem
from zsig_hep.selection.events import Floats, Integers
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.smooth_figure import SmoothFigure, by_process

# Widths h of the ascent in quantiles, from soft cuts to nearly hard ones, and the number of steps at each width.
_WIDTHS = (0.2, 0.08, 0.03)
_STEPS = 25
# Step size of Adam, as a fraction of the width.
_RELATIVE_STEP = 0.3
# An open edge is this many widths below the first event, which then counts with 98 %.
_OPEN = 4.0
# More events do not improve the starting points, since the exact search uses all events.
_MOST_EVENTS = 4000
# Penalty for a requirement that is missed completely, in units of the significance without cuts.
_PENALTY = 10.0


@dataclass(frozen=True, eq=False, repr=False)
class SmoothBox(SmoothFigure):
    """Z(t; theta) of the soft box of equation 1.

    Attributes:
        score: v, shape [S, B], float64; larger values pass.
        widths: h_s in units of the sides, shape [S].
    """

    widths: Tensor

    def passing(self, cut: Tensor) -> Tensor:
        """The fraction g of equation 1 for edges of shape [R, S], shape [R, B]."""
        fractions = (
            torch.sigmoid((score - edge[:, None]) / width)
            for score, edge, width in zip(self.score, cut.unbind(dim=1), self.widths, strict=True)
        )
        return reduce(torch.mul, fractions)

    def __call__(self, cut: Tensor, theta: Tensor | None = None) -> Tensor:
        """Figure of merit.

        Args:
            cut: t, shape [R, S].
            theta: shape [R, Q], as for `SmoothFigure`; by default zero, which is nominal.

        Returns:
            Z, shape [R]; not finite where the soft background is not positive.
        """
        theta = cut.new_zeros(len(cut), len(self.parameters)) if theta is None else theta
        return self.of_passing(self.passing(cut), theta)

    def of_passing(self, passing: Tensor, theta: Tensor) -> Tensor:
        """Figure of merit of events that count with the fractions `passing`, shape [R, B]."""
        yields = torch.einsum("rpb,rb->rp", self.weights, passing)
        variances = torch.zeros_like(yields)
        if self.objective.simulation_uncertainty_in_figure:
            variances = torch.einsum("rpb,rb->rp", self.squared_weights, passing**2)
        return self.of_yields(yields, variances, theta)

    def of_yields(self, yields: Tensor, variances: Tensor, theta: Tensor) -> Tensor:
        """Figure of merit of nominal yields and their variances, shape [R, P], at theta."""
        count = len(self.processes)
        scale = torch.exp(theta[:, :count] + theta[:, count, None])
        return self._figure((yields * scale).T, (variances * scale**2).T, self._uncertainties(theta))


def smooth_starts(problem: BoxProblem, generator: np.random.Generator) -> list[Integers]:
    """Edges found by gradient ascent of the soft significance from several starting points, with decreasing widths.

    Each side is measured in quantiles of a mixture of signal and background in equal parts, which does not depend on
    units and tails. The starting points are the start of the settings, if there is one, no cut at all, and random edges
    on random sides.

    Args:
        problem: events, edges and settings.
        generator: random generator.

    Returns:
        Edges of all sides, shape [S], for each starting point.
    """
    quantiles = _quantiles(problem)
    chosen, scale = _sample(problem)
    figure = _soft_figure(problem, quantiles, chosen, scale)
    position = _first_positions(problem, quantiles, generator)
    for width in _WIDTHS:
        position = _ascend(figure, position, width, problem.selection)
    return [_to_edges(problem, quantiles, row) for row in position.numpy()]


def _quantiles(problem: BoxProblem) -> list[Floats]:
    """Quantile of each code of each side in [0, 1], shape [T] each: the fraction of events with a smaller code."""
    is_signal = problem.processes.is_signal[problem.process]
    share = np.where(is_signal, 0.5 / max(is_signal.sum(), 1), 0.5 / max((~is_signal).sum(), 1))
    counts = [np.bincount(side.code, weights=share, minlength=side.allowed.size) for side in problem.sides]
    return [np.cumsum(count) - count / 2 for count in counts]


def _sample(problem: BoxProblem) -> tuple[Integers, Floats]:
    """Events of the ascent, and the factor by which each process is scaled up to its yield.

    They are the events with the smallest identity hashes, a choice that does not depend on their order.
    """
    limit = _MOST_EVENTS // len(problem.processes)
    scale = np.ones(len(problem.processes))
    kept = []
    for row in range(len(problem.processes)):
        events = np.flatnonzero(problem.process == row)
        if events.size > limit:
            scale[row] = events.size / limit
            events = events[np.argsort(problem.identity[events], kind="stable")[:limit]]
        kept.append(events)
    return np.concatenate(kept), scale


def _soft_figure(problem: BoxProblem, quantiles: Sequence[Floats], chosen: Integers, scale: Floats) -> SmoothBox:
    weight, process = problem.weight[chosen], torch.tensor(problem.process[chosen])
    factor = scale[problem.process[chosen]]
    score = np.stack([at[side.code[chosen]] for at, side in zip(quantiles, problem.sides, strict=True)])
    return SmoothBox(
        score=torch.tensor(score),
        weights=by_process(torch.tensor(weight * factor), process, problem.processes),
        squared_weights=by_process(torch.tensor(weight**2 * factor), process, problem.processes),
        bandwidth=_WIDTHS[0],
        processes=problem.processes,
        objective=problem.selection.objective.differentiable,
        widths=torch.full((len(problem.sides),), _WIDTHS[0], dtype=torch.float64),
    )


def _first_positions(problem: BoxProblem, quantiles: Sequence[Floats], generator: np.random.Generator) -> Tensor:
    count = problem.cuts.starts
    positions = np.where(
        generator.random((count, len(problem.sides))) < 0.5, generator.random((count, len(problem.sides))), 0.0
    )
    positions[0] = 0.0
    if any(side.start is not None for side in problem.sides):
        positions[-1] = [
            0.0 if side.start is None else at[side.edge_at(side.start)]
            for side, at in zip(problem.sides, quantiles, strict=True)
        ]
    return torch.tensor(positions - (positions == 0) * _OPEN * _WIDTHS[0])


def _ascend(figure: SmoothBox, position: Tensor, width: float, required: WorkingPointSettings) -> Tensor:
    """Adam from every starting point at one width."""
    figure = replace(figure, widths=torch.full_like(figure.widths, width), bandwidth=width)
    lowest = -_OPEN * width
    # An edge that was open at a larger width starts as an open edge of this width, not farther away.
    t = torch.where(position < lowest, lowest, position).requires_grad_()
    optimiser = torch.optim.Adam([t], lr=_RELATIVE_STEP * width, betas=(0.8, 0.95))
    reference = significance_without_cuts(figure)
    for _ in range(_STEPS):
        (t.grad,) = torch.autograd.grad(-soft_objective(figure, t, reference, required).sum(), t)
        optimiser.step()
        with torch.no_grad():
            t.clamp_(lowest, 1.0)
    return t.detach()


def significance_without_cuts(figure: SmoothBox) -> float:
    """Significance without cuts, the unit of the objective; 1 if it is not positive."""
    everything = figure.score.new_ones(1, figure.score.shape[1])
    z = float(figure.of_passing(everything, everything.new_zeros(1, len(figure.parameters))))
    return z if np.isfinite(z) and z > 0 else 1.0


def soft_objective(figure: SmoothBox, t: Tensor, reference: float, required: WorkingPointSettings) -> Tensor:
    """Soft significance divided by that without cuts, minus a penalty for missed requirements, shape [R].

    Args:
        figure: soft box.
        t: edges, shape [R, S].
        reference: `significance_without_cuts`.
        required: effective background entries and signal efficiency.
    """
    passing = figure.passing(t)
    z = figure.of_passing(passing, t.new_zeros(len(t), len(figure.parameters)))
    return torch.where(torch.isfinite(z), z, 0.0) / reference - _PENALTY * _shortfall(figure, passing, required)


def _shortfall(figure: SmoothBox, passing: Tensor, required: WorkingPointSettings) -> Tensor:
    """Squared relative shortage of effective background entries and of signal efficiency, shape [R]."""
    is_signal = torch.from_numpy(figure.processes.is_signal)
    yields = torch.einsum("rpb,rb->rp", figure.weights, passing)
    variances = torch.einsum("rpb,rb->rp", figure.squared_weights, passing)
    background = yields[:, ~is_signal].sum(dim=1).clamp(min=0)
    entries = background**2 / variances[:, ~is_signal].sum(dim=1).clamp(min=torch.finfo(passing.dtype).tiny)
    efficiency = yields[:, is_signal].sum(dim=1) / figure.weights[:, is_signal].sum(dim=(1, 2))
    lack = torch.relu(1 - entries / required.minimum_effective_background) ** 2
    if required.minimum_signal_efficiency > 0:
        lack = lack + torch.relu(1 - efficiency / required.minimum_signal_efficiency) ** 2
    return lack


def _to_edges(problem: BoxProblem, quantiles: Sequence[Floats], position: Floats) -> Integers:
    """The allowed edge next to each position; open where the position is below all events."""
    edges = problem.nothing
    for index, (side, at) in enumerate(zip(problem.sides, quantiles, strict=True)):
        if position[index] <= at[0]:
            continue
        places = np.flatnonzero(side.allowed)
        wanted = int(np.searchsorted(at, position[index]))
        edges[index] = places[int(np.abs(places - wanted).argmin())]
    return edges
