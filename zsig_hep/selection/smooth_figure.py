"""The figure of merit as a smooth function of the cut, the cross sections, the luminosity and the uncertainties.

A yield above a cut is a step function of the cut. Here an event of score x counts at the cut t with the fraction

    g(x) = 1 / (1 + exp(-(x - t) / h)),                                                        (1)

so that the yields y_p(t) = sum w g and the figure of merit Z(t; theta) have derivatives of every order. theta holds the
logarithm of every cross section, of the luminosity and of every relative background uncertainty, each divided by its
nominal value.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import ScoredEvents
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable

# Newton's method doubles the number of digits in each step; its fallback, bisection, gains one bit.
_ITERATIONS = 50
# As a fraction of the bandwidth; after a Newton step this small, the next one would be rounding.
_TOLERANCE = 1e-12
_CUTS_AT_ONCE = 32

ParameterKind = Literal["cross_section", "luminosity", "uncertainty"]


@dataclass(frozen=True)
class Parameter:
    """One component of theta.

    Attributes:
        kind: what is varied.
        process: the process of a cross section or an uncertainty; None for the luminosity and the common uncertainty.
        relative_uncertainty: from the settings; for a cross section the systematic uncertainty of the background's
            yield, for an uncertainty its nominal value; None where there is none.
    """

    kind: ParameterKind
    process: str | None
    relative_uncertainty: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Derivatives(ShortRepr):
    """Z and its derivatives at one cut for each of R sets of weights, with Q parameters.

    Attributes:
        value: Z, shape [R].
        cut_slope: Z_t, shape [R].
        cut_cut: Z_tt, shape [R].
        parameters: Z_theta, shape [R, Q].
        cut_parameters: Z_t_theta, shape [R, Q].
    """

    value: Tensor
    cut_slope: Tensor
    cut_cut: Tensor
    parameters: Tensor
    cut_parameters: Tensor

    @property
    def response(self) -> Tensor:
        """How a maximum moves with the parameters, dt*/dtheta = -Z_t_theta / Z_tt, shape [R, Q]."""
        return -self.cut_parameters / self.cut_cut[:, None]


@dataclass(frozen=True, eq=False, repr=False)
class SmoothFigure(ShortRepr):
    """Z(t; theta) for R sets of weights at the same scores: single events, or replicas of their histogram.

    Attributes:
        score: x, shape [B], float64.
        weights: sum of weights at each score, shape [R, P, B].
        squared_weights: sum of squared weights, shape [R, P, B].
        bandwidth: h of equation 1, in units of the score.
        processes: the P signal and background processes.
        objective: a figure of merit that has gradients, with its uncertainties.
    """

    score: Tensor
    weights: Tensor
    squared_weights: Tensor
    bandwidth: float
    processes: ProcessTable
    objective: Objective

    @classmethod
    def of_events(cls, events: ScoredEvents, bandwidth: float, objective: Objective) -> "SmoothFigure":
        """One set of weights, with every simulated event at its own score."""
        weights = by_process(torch.tensor(events.weight), torch.tensor(events.process), events.processes)
        return cls(torch.tensor(events.score), weights, weights**2, bandwidth, events.processes, objective)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Components of theta: cross sections, luminosity, uncertainties of single processes, common uncertainty."""
        own, common = self.objective.background_uncertainties, self.objective.relative_background_uncertainty
        uncertain = [name for name in self.processes.backgrounds if own.get(name, 0.0) > 0]
        return (
            *(Parameter("cross_section", name, own.get(name) or None) for name in self.processes.names),
            Parameter("luminosity", None),
            *(Parameter("uncertainty", name, own[name]) for name in uncertain),
            *([Parameter("uncertainty", None, common)] if common > 0 else []),
        )

    def __call__(self, cut: Tensor, theta: Tensor | None = None) -> Tensor:
        """Figure of merit.

        Args:
            cut: t, shape [R].
            theta: shape [R, Q]; by default zero, which is nominal.

        Returns:
            Z, shape [R]; not finite where the smoothed background is not positive.
        """
        theta = cut.new_zeros(len(cut), len(self.parameters)) if theta is None else theta
        passing = torch.sigmoid((self.score - cut[:, None]) / self.bandwidth)
        count = len(self.processes)
        scale = torch.exp(theta[:, :count] + theta[:, count, None]).T
        yields = torch.einsum("rpb,rb->pr", self.weights, passing) * scale
        variances = torch.zeros_like(yields)
        if self.objective.simulation_uncertainty_in_figure:
            variances = torch.einsum("rpb,rb->pr", self.squared_weights, passing**2) * scale**2
        return self._figure(yields, variances, self._uncertainties(theta))

    def derivatives(self, cut: Tensor) -> Derivatives:
        """Z and its derivatives in cut and theta, at nominal theta, for cuts of shape [R]."""
        t = cut.detach().clone().requires_grad_()
        theta = cut.new_zeros(len(cut), len(self.parameters)).requires_grad_()
        z = self(t, theta)
        z_t, z_theta = torch.autograd.grad(z.sum(), (t, theta), create_graph=True)
        z_tt, z_t_theta = torch.autograd.grad(z_t.sum(), (t, theta))
        return Derivatives(z.detach(), z_t.detach(), z_tt, z_theta.detach(), z_t_theta)

    def on_grid(self, grid: Tensor) -> Tensor:
        """Z at every cut of a grid [G], shape [G, R]; minus infinity where it is not finite."""
        blocks = []
        for cuts in torch.split(grid, _CUTS_AT_ONCE):
            passing = torch.sigmoid((self.score[:, None] - cuts) / self.bandwidth)
            yields = (self.weights @ passing).permute(1, 2, 0)
            variances = torch.zeros_like(yields)
            if self.objective.simulation_uncertainty_in_figure:
                variances = (self.squared_weights @ passing**2).permute(1, 2, 0)
            blocks.append(self._figure(yields, variances, (None, None)))
        values = torch.cat(blocks)
        return torch.where(torch.isfinite(values), values, -torch.inf)

    def maximum(self, grid: Tensor, values: Tensor) -> Tensor:
        """The cut of highest Z, found to rounding by Newton's method between the neighbours of the best grid point.

        Args:
            grid: ascending cuts, shape [G], G >= 2.
            values: Z at those cuts from `on_grid`, shape [G, R].

        Returns:
            t*, shape [R]; an end of the grid where Z rises towards it.
        """
        best = values.argmax(dim=0)
        low, high = grid[(best - 1).clamp(min=0)], grid[(best + 1).clamp(max=len(grid) - 1)]
        cut = grid[best]
        for _ in range(_ITERATIONS):
            found = self.derivatives(cut)
            rises = found.cut_slope > 0
            low, high = torch.where(rises, cut, low), torch.where(rises, high, cut)
            step = cut - found.cut_slope / found.cut_cut
            inside = (step >= low) & (step <= high) & (found.cut_cut < 0)
            following = torch.where(inside, step, (low + high) / 2)
            settled = bool(((following - cut).abs() <= _TOLERANCE * self.bandwidth).all())
            cut = following
            if settled:
                break
        return cut

    def _figure(self, yields: Tensor, variances: Tensor, uncertainties: tuple[Tensor | None, Tensor | None]) -> Tensor:
        own, common = uncertainties
        z = self.objective.evaluate(yields, variances, self.processes, own_uncertainties=own, common_uncertainty=common)
        value: Tensor = z.value
        return value

    def _uncertainties(self, theta: Tensor) -> tuple[Tensor, Tensor | None]:
        """Relative uncertainties of the single backgrounds, and the common one."""
        own, factor = self.objective.background_uncertainties, torch.exp(theta.T)
        column = len(self.processes) + 1
        rows = []
        for name in self.processes.backgrounds:
            if own.get(name, 0.0) > 0:
                rows.append(own[name] * factor[column])
                column += 1
            else:
                rows.append(torch.zeros_like(factor[0]))
        common = self.objective.relative_background_uncertainty
        return torch.stack(rows), common * factor[column] if common > 0 else None


def by_process(weight: Tensor, process: Tensor, processes: ProcessTable) -> Tensor:
    """The weight of each event in the row of its process and 0 in other rows, shape [1, P, B], from shape [B]."""
    return torch.where(process == torch.arange(len(processes))[:, None], weight, 0.0)[None]


def central_spread(values: npt.NDArray[np.float64]) -> float | None:
    """Half of the central 68 % interval of the finite values; None for fewer than two.

    Unlike the standard deviation it does not depend on single outliers.
    """
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return None
    low, high = np.quantile(finite, [0.1587, 0.8413])
    return float(high - low) / 2
