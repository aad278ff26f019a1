"""The figure of merit of soft cuts to second order in their edges, from one pass over the events."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zsig_hep.learning.implicit.argmin import argmax
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.boxes.soft_cuts import SmoothBox
from zsig_hep.selection.events import Floats


@dataclass(frozen=True, eq=False, repr=False)
class SoftMoments(ShortRepr):
    """Soft yields of R sets of weights and their first two derivatives in the edges, at one position for each set.

    With x_s the distance of an event from edge s in bandwidths, sigma_s = 1 / (1 + exp(-x_s)) and g = prod_s sigma_s,

        d ln g / dt_s = -(1 - sigma_s),    d^2 ln g / dt_s dt_u = -delta_su sigma_s (1 - sigma_s).  (2)

    Attributes:
        value: sum w g or sum w^2 g^2, shape [R, P].
        slope: its first derivatives, shape [R, P, S].
        curvature: its second derivatives, shape [R, P, S, S].
    """

    value: Tensor
    slope: Tensor
    curvature: Tensor

    @classmethod
    def at(cls, figure: SmoothBox, place: Tensor, *, power: int = 1) -> "SoftMoments":
        """Moments of sum (w g)^power at edges of shape [R, S], computed one set of weights at a time to save memory."""
        weights = figure.weights if power == 1 else figure.squared_weights
        sets = [_moments(figure.score, weights[row], edges, power) for row, edges in enumerate(place)]
        value, slope, curvature = (torch.stack(part) for part in zip(*sets, strict=True))
        return cls(value, slope, curvature)

    def near(self, step: Tensor) -> Tensor:
        """Yields to second order in a step of shape [R, S], shape [R, P]."""
        curved = torch.einsum("rpsu,rs,ru->rp", self.curvature, step, step)
        return self.value + torch.einsum("rps,rs->rp", self.slope, step) + curved / 2


@dataclass(frozen=True, eq=False, repr=False)
class NearFigure(ShortRepr):
    """Z(t; theta) near a position, from yields to second order in the edges; its first two derivatives there are exact.

    Attributes:
        figure: soft box of R sets of weights.
        place: position of the edges in bandwidths, shape [R, S].
        yields: moments of sum w.
        variances: moments of sum w^2; None where the figure of merit does not include them.
    """

    figure: SmoothBox
    place: Tensor
    yields: SoftMoments
    variances: SoftMoments | None

    @classmethod
    def at(cls, figure: SmoothBox, place: Tensor) -> "NearFigure":
        """Expand the yields at edges of shape [R, S], by a sum over all events."""
        holds_variance = figure.objective.simulation_uncertainty_in_figure
        variances = SoftMoments.at(figure, place, power=2) if holds_variance else None
        return cls(figure, place, SoftMoments.at(figure, place), variances)

    def __call__(self, t: Tensor, theta: Tensor) -> Tensor:
        """Z, shape [R], at edges of shape [R, S] and parameters of shape [R, Q]."""
        yields = self.yields.near(t - self.place)
        variances = torch.zeros_like(yields) if self.variances is None else self.variances.near(t - self.place)
        return self.figure.of_yields(yields, variances, theta)

    @property
    def theta(self) -> Tensor:
        """The nominal parameters, shape [R, Q]."""
        return self.place.new_zeros(len(self.place), len(self.figure.parameters))

    def derivatives(self) -> tuple[Tensor, Tensor, Tensor]:
        """Z [R], Z_t [R, S] and Z_tt [R, S, S] at the position."""
        t = self.place.detach().clone().requires_grad_()
        z = self(t, self.theta)
        (slope,) = torch.autograd.grad(z.sum(), t, create_graph=True)
        rows = [torch.autograd.grad(column.sum(), t, retain_graph=True)[0] for column in slope.unbind(dim=1)]
        return z.detach(), torch.nan_to_num(slope.detach()), torch.nan_to_num(torch.stack(rows, dim=1))

    def response(self) -> Floats:
        """dt*/dtheta of `boxes.sensitivity` in bandwidths, shape [R, S, Q], if the position is a maximum."""
        theta = self.theta.requires_grad_()
        edges = argmax(self, self.place, theta, batch_dims=1).value.unbind(dim=1)
        return torch.stack([torch.autograd.grad(e.sum(), theta, retain_graph=True)[0] for e in edges], dim=1).numpy()


def _moments(score: Tensor, weights: Tensor, edges: Tensor, power: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over events and their derivatives, from weights of shape [P, B] and edges of shape [S]; equation 2."""
    shares = torch.sigmoid(score - edges[:, None])
    weighted = weights * shares.prod(dim=0) ** power
    log_slopes = -power * (1 - shares)
    log_curvatures = -power * shares * (1 - shares)
    outer = torch.stack([(each * log_slopes) @ log_slopes.T for each in weighted])
    return weighted.sum(dim=1), weighted @ log_slopes.T, outer + torch.diag_embed(weighted @ log_curvatures.T)
