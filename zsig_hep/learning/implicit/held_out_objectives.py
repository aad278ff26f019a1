"""Smooth objectives of held-out events, to be minimised in hyperparameters: cross entropy, and minus the best Z."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.grid_maximum import local_maxima

# In standard deviations of the scores.
_THRESHOLD_ROUNDING = 1e-12

Figure = Callable[[Tensor, Tensor], Tensor]
"""Z(s, b) for signal yields (...) and background yields (..., P), one per background process."""


@dataclass(frozen=True, eq=False)
class HeldOutEvents:
    """Events that are scored by a model that was not trained on them.

    Attributes:
        is_signal: bool, shape (n,).
        weights: non-negative yields, shape (n,).
        yields: contribution of each event to the signal, to each background process, and to the sum of squared weights
            of the background, shape (n, P + 2).
    """

    is_signal: Tensor
    weights: Tensor
    yields: Tensor

    @classmethod
    def of(cls, is_signal: Tensor, weights: Tensor, process: Tensor) -> "HeldOutEvents":
        """Make the events from the index of each one's process; backgrounds are in the order of their indices."""
        backgrounds = torch.unique(process[~is_signal])
        columns = [weights * is_signal, *(weights * ((process == p) & ~is_signal) for p in backgrounds)]
        return cls(is_signal, weights, torch.stack([*columns, weights**2 * ~is_signal], dim=-1))


HeldOutObjective = Callable[[Tensor, HeldOutEvents], Tensor]
"""Value to be minimised, 0-d, as a function of the scores (n,) of held-out events."""


def held_out_cross_entropy(scores: Tensor, events: HeldOutEvents) -> Tensor:
    """Binary cross entropy, with each class normalised to a total weight of one half.

    Example:
        >>> events = HeldOutEvents.of(torch.tensor([True, False]), torch.tensor([1.0, 9.0]), torch.tensor([0, 1]))
        >>> round(held_out_cross_entropy(torch.zeros(2), events).item(), 4)
        0.6931
    """
    signal, background = events.weights * events.is_signal, events.weights * ~events.is_signal
    losses = softplus(-scores) @ signal / signal.sum() + softplus(scores) @ background / background.sum()
    return losses / 2


def s_over_sqrt_b(signal: Tensor, backgrounds: Tensor) -> Tensor:
    """Z = s / sqrt(sum_p b_p)."""
    return signal / torch.sqrt(backgrounds.sum(-1))


@dataclass(frozen=True)
class NegativeHeldOutSignificance:
    r"""Minus the significance at the best smooth cut on the scores.

    With the scores x in units of their standard deviation and k(t) = 1 / (1 + exp(-(x - t) / h)) for a threshold t,

        Zmax = max_t Z(sum_signal w k, sum_{b_1} w k, ...),    (sum_b w k)^2 / sum_b w^2 k >= N.

    By the envelope theorem dZmax/dtheta is the derivative at fixed t*; if the condition limits the cut, it is that of
    Z - m (N - n_eff) with the multiplier m = -Z_t / n_eff_t, again at fixed t*.

    Args:
        figure: Z(s, b); by default s / sqrt(b).
        bandwidth: h, positive; with a small one Zmax depends on single events.
        minimum_effective_background: N, the smallest number of effective entries of simulated background above the cut.
        grid_points: number of thresholds in the search of maxima.

    Example:
        >>> is_signal = torch.arange(40) >= 20
        >>> events = HeldOutEvents.of(is_signal, torch.ones(40), (~is_signal).long())
        >>> round(-NegativeHeldOutSignificance(minimum_effective_background=5)(torch.arange(40.0), events).item(), 3)
        8.937
    """

    figure: Figure = s_over_sqrt_b
    bandwidth: float = 0.1
    minimum_effective_background: float = 10.0
    grid_points: int = 41

    def __call__(self, scores: Tensor, events: HeldOutEvents) -> Tensor:
        """Evaluate the objective.

        Args:
            scores: shape (n,).
            events: the events with these scores.

        Raises:
            TrainingError: for equal scores, or too little background.
        """
        spread = scores.std()
        if not bool(spread > 0):
            message = "All held-out scores are equal: no cut has a significance. Lower the penalties or their bounds."
            raise TrainingError(message)
        x = (scores - scores.mean()) / spread
        fixed = x.detach()
        limit = self._tightest(fixed, events)
        low = min(float(fixed.min()) - 3 * self.bandwidth, limit - self.bandwidth)
        grid = torch.linspace(low, limit, self.grid_points, dtype=x.dtype, device=x.device)
        best, _ = local_maxima(lambda t: self._significance(t, fixed, events), grid)
        t = x.new_tensor(best.location)
        if not best.at_edge or best.location < limit:
            return -self._significance(t, x, events)
        t.requires_grad_()
        z, entries = self._significance(t, x, events), self._effective_background(t, x, events)
        slopes = [torch.autograd.grad(part, t, retain_graph=True)[0] for part in (z, entries)]
        return -(z - slopes[0] / slopes[1] * (entries - entries.detach()))

    def _yields(self, t: Tensor, x: Tensor, events: HeldOutEvents) -> Tensor:
        return torch.sigmoid((x - t.unsqueeze(-1)) / self.bandwidth) @ events.yields

    def _significance(self, t: Tensor, x: Tensor, events: HeldOutEvents) -> Tensor:
        yields = self._yields(t, x, events)
        return self.figure(yields[..., 0], yields[..., 1:-1])

    def _effective_background(self, t: Tensor, x: Tensor, events: HeldOutEvents) -> Tensor:
        yields = self._yields(t, x, events)
        return yields[..., 1:-1].sum(-1) ** 2 / yields[..., -1]

    def _tightest(self, x: Tensor, events: HeldOutEvents) -> float:
        """The largest threshold with enough effective background entries, by bisection."""
        low, high = float(x.min()) - 10 * self.bandwidth, float(x.max()) + 100 * self.bandwidth
        found = float(self._effective_background(x.new_tensor(low), x, events))
        if not found > self.minimum_effective_background:
            message = (
                f"The held-out background has {found:.3g} effective entries before any cut, below the "
                f"{self.minimum_effective_background:.3g} that the cut must keep. Give more held-out events."
            )
            raise TrainingError(message)
        while high - low > _THRESHOLD_ROUNDING:
            middle = (low + high) / 2
            if float(self._effective_background(x.new_tensor(middle), x, events)) >= self.minimum_effective_background:
                low = middle
            else:
                high = middle
        return low


OBJECTIVES: Mapping[str, HeldOutObjective] = {
    "cross_entropy": held_out_cross_entropy,
    "significance": NegativeHeldOutSignificance(),
}
