r"""Gradient and curvature of a loss for boosted trees.

A round of boosting fits a tree to the gradient g_i and the curvature h_i of the loss in the output F_i of each event: a
leaf has the value -sum g / (sum h + lambda), one step of Newton's method, and needs h > 0.

The cross entropy, with weights c_i, has

    g = c (p - [y = 1]),    h = c p (1 - p),    p = 1 / (1 + exp(-F)).                                       (1)

A Lovasz loss sum_i G_i m(y_i F_i), with the gain G_i of each event at its place in the order of errors, is linear in the
errors m: its curvature at a fixed order is G_i m''.  That is negative for half of the outputs if m is the sigmoid error
e = 1 / (1 + exp(y F)), and zero if it is the hinge.  All losses but the cross entropy have instead

    h = |g|,                                                                                                 (2)

which is G e (1 - e) for the sigmoid error, a bound of its |curvature| = G e (1 - e) |1 - 2e|; likewise for the
cross-entropy error, G e against G e (1 - e).  A leaf then has a value in [-1, 1], the excess of one sign of the gradient
over the other, so that no leaf makes a step beyond the range in which the order of errors is known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.cross_entropy import FocalLoss

FLOOR = 1e-6
"""Smallest curvature of an event, relative to the mean weight: below it, as for events without an error, leaves would have
the value 0 / 0."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """A loss of the events of one member, with weights that have the full yield of each process.

    Attributes:
        loss: called as `ZLoss`.
        is_signal: shape (n,).
        weights: non-negative, shape (n,).
        process: index of each event's process, shape (n,).
    """

    loss: nn.Module
    is_signal: Tensor
    weights: Tensor
    process: Tensor

    @property
    def shares(self) -> Floats:
        """Weights of mean one for the quantiles of the features: those of a cross entropy, or with classes of equal weight."""
        loss = self.loss if isinstance(self.loss, FocalLoss) else FocalLoss(0.0)
        shares: Floats = loss.shares(self.weights, self.is_signal, self.process).numpy() * len(self.weights)
        return shares

    def value(self, outputs: npt.NDArray[Any]) -> float:
        """The loss at outputs F, shape (n,).

        Raises:
            TrainingError: it is not finite.
        """
        with torch.no_grad():
            return _finite(self._at(torch.from_numpy(outputs.astype(np.float64))))

    def derivatives(self, outputs: npt.NDArray[Any]) -> tuple[float, Floats, Floats]:
        """The loss, and n times its gradient and curvature, equations 1 and 2, each of shape (n,).

        Raises:
            TrainingError: the loss is not finite.
        """
        scores = torch.from_numpy(outputs.astype(np.float64)).requires_grad_()
        value = self._at(scores)
        (slopes,) = torch.autograd.grad(value, scores)
        gradient: Floats = slopes.numpy() * len(outputs)
        curvature = np.abs(gradient)
        if isinstance(self.loss, FocalLoss) and self.loss.gamma == 0:
            p = torch.sigmoid(scores.detach() - self.loss.offset)
            curvature = self.shares * (p * (1 - p)).numpy()
        return _finite(value.detach()), gradient, np.maximum(curvature, FLOOR)

    def _at(self, scores: Tensor) -> Tensor:
        value: Tensor = self.loss(scores, self.is_signal, self.weights, self.process)
        return value


def _finite(value: Tensor) -> float:
    if not bool(torch.isfinite(value)):
        message = "The loss of boosted trees became NaN or infinite. Lower `trees: {learning_rate: ...}`."
        raise TrainingError(message)
    return float(value)
