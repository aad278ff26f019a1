"""What networks of ratios learn: the loss of each event, and the ratio that an output stands for.

Each loss has its minimum where the outputs, by a transform of `zsig_hep.learning.ratios.transforms`, give the ratio at every point x, averaged over what x does not fix:

* the composition f_k = lambda_k p_k / sum_j lambda_j p_j of the backgrounds is the softmax of the outputs, with the
  cross entropy of backgrounds weighted with their yields;
* the ratio of varied to nominal weights, r = E[w_v / w | x], is m + s o of the output o with the square error, weighted
  with w; m and s are the mean and the spread of w_v / w, so that outputs are of order one;
* the ratio of shifted to nominal events, r = p_v / p, is e^o with the cross entropy of the shifted against the nominal
  events, weighted with their yields.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep.learning.ratios.logit_calibration import LogitCalibration
from zsig_hep.learning.ratios.transforms import RatioTransform, ShapeTransform, ShareTransform, WeightTransform

Floats = npt.NDArray[np.float64]
Stopping = tuple[Floats, npt.NDArray[np.int64], Floats]
"""Outputs [n, K] of a member for the events that stopped its training, their indices [n], and their weights [n]."""


class RatioTarget(Protocol):
    """What the outputs of a network are trained for."""

    @property
    def outputs(self) -> int:
        """Number of outputs K."""

    def event_losses(self, outputs: Tensor, events: Tensor) -> Tensor:
        """Loss of events, indices of shape (M, n), with outputs (M, n, K); shape (M, n)."""

    def prepare(self, training_events: Sequence[npt.NDArray[np.int64]]) -> None:
        """Set what depends on the training events of each member."""

    def transform(self, stopping: Sequence[Stopping]) -> RatioTransform:
        """What the outputs of trained members stand for, calibrated with the events that stopped each training."""

    def to(self, device: torch.device) -> None:
        """Move the data to a device."""


@dataclass(eq=False)
class CompositionTarget:
    """The composition f_k.

    Attributes:
        label: index of each event's background, shape [N].
        outputs: number of backgrounds K.
    """

    label: Tensor
    outputs: int

    def event_losses(self, outputs: Tensor, events: Tensor) -> Tensor:
        """Minus the logarithm of the share of the background that an event is."""
        shares = nn.functional.log_softmax(outputs, dim=-1)
        return -shares.gather(-1, self.label[events].unsqueeze(-1)).squeeze(-1)

    def prepare(self, training_events: Sequence[npt.NDArray[np.int64]]) -> None:
        """Nothing depends on the training events."""

    def transform(self, stopping: Sequence[Stopping]) -> ShareTransform:  # noqa: ARG002 (shares are not calibrated)
        """The softmax of the outputs."""
        return ShareTransform(self.outputs)

    def to(self, device: torch.device) -> None:
        """Move the labels."""
        self.label = self.label.to(device)


@dataclass(eq=False)
class WeightTarget:
    """Ratios of varied to nominal weights.

    Attributes:
        values: w_v / w of each event, shape [N, K].
        weights: nominal weights, shape [N].
        mean: m of each member and output, shape (M, 1, K); one before `prepare`.
        scale: s of each member and output, zero for a constant ratio, shape (M, 1, K); one before `prepare`.
    """

    values: Tensor
    weights: Floats
    mean: Tensor
    scale: Tensor

    @classmethod
    def of_weights(cls, varied: Floats, nominal: Floats) -> "WeightTarget":
        """Make the target of varied weights [N, K] and nominal weights [N].

        An event without nominal weight has no ratio, and no weight in the training either.
        """
        present = nominal > 0
        ratio = np.divide(varied, nominal[:, None], out=np.ones_like(varied), where=present[:, None])
        ones = torch.ones(1, 1, varied.shape[1])
        return cls(torch.from_numpy(ratio.astype(np.float32)), nominal, ones, ones)

    @property
    def outputs(self) -> int:
        """Number of outputs K."""
        return self.values.shape[1]

    def event_losses(self, outputs: Tensor, events: Tensor) -> Tensor:
        """Square errors, mean over the outputs."""
        divisor = torch.where(self.scale > 0, self.scale, 1.0)
        return ((outputs - (self.values[events] - self.mean) / divisor) ** 2).mean(-1)

    def prepare(self, training_events: Sequence[npt.NDArray[np.int64]]) -> None:
        """Set the mean and the scale of each member to those of its training events."""
        ratio, means, spreads = self.values.double().numpy(), [], []
        for events in training_events:
            mean = np.average(ratio[events], axis=0, weights=self.weights[events])
            spread = np.sqrt(np.average((ratio[events] - mean) ** 2, axis=0, weights=self.weights[events]))
            means.append(mean)
            # Rounding leaves a spread of a constant, which is the ratio whatever the outputs are.
            spreads.append(np.where(spread > 1e-6 * np.abs(mean), spread, 0.0))
        self.mean, self.scale = (
            torch.from_numpy(np.stack(each).astype(np.float32))[:, None] for each in (means, spreads)
        )

    def transform(self, stopping: Sequence[Stopping]) -> WeightTransform:  # noqa: ARG002 (square errors give the mean)
        """The ratio m + s o of each output."""
        return WeightTransform(self.mean.cpu().numpy(), self.scale.cpu().numpy())

    def to(self, device: torch.device) -> None:
        """Move the values, means and scales."""
        self.values, self.mean, self.scale = (each.to(device) for each in (self.values, self.mean, self.scale))


@dataclass(eq=False)
class ShapeTarget:
    """Ratios of shifted to nominal events.

    Attributes:
        shift: 0 for nominal events, k + 1 for those shifted by variation k, shape [N].
        outputs: number of variations K, up and down counted apart.
    """

    shift: Tensor
    outputs: int

    def event_losses(self, outputs: Tensor, events: Tensor) -> Tensor:
        """Cross entropy of each variation, of nominal events against all and of shifted ones against their own."""
        shift = self.shift[events]
        own = outputs.gather(-1, (shift - 1).clamp(min=0).unsqueeze(-1)).squeeze(-1)
        of_nominal = nn.functional.softplus(outputs).sum(-1)
        return torch.where(shift == 0, of_nominal, nn.functional.softplus(-own)) / self.outputs

    def prepare(self, training_events: Sequence[npt.NDArray[np.int64]]) -> None:
        """Nothing depends on the training events."""

    def transform(self, stopping: Sequence[Stopping]) -> ShapeTransform:
        """The ratio e^o of calibrated logits of shifted against nominal events.

        The yields of both are kept: a calibration gives its two classes the same total, and ln of the ratio of the yields
        is added.
        """
        calibrations = tuple(
            tuple(self._calibration(outputs, events, weights, column) for column in range(self.outputs))
            for outputs, events, weights in stopping
        )
        return ShapeTransform(self.outputs, calibrations)

    def _calibration(
        self, outputs: Floats, events: npt.NDArray[np.int64], weights: Floats, column: int
    ) -> LogitCalibration:
        shift = self.shift.cpu().numpy()[events]
        chosen = (shift == 0) | (shift == column + 1)
        shifted, weight = shift[chosen] > 0, weights[chosen]
        ratio = float(np.log(weight[shifted].sum() / weight[~shifted].sum()))
        return LogitCalibration.fit(outputs[chosen, column] - ratio, weight, shifted).between(ratio)

    def to(self, device: torch.device) -> None:
        """Move the numbers of the shifts."""
        self.shift = self.shift.to(device)
