"""Cross entropy and focal loss, weighted by cross section, by event or by process."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.losses.base import BaseLossSettings, LossContext
from zsig_hep.learning.losses.margins import (
    class_yields,
    inverse_or_zero,
    margin,
    require_process,
    rescale_to_process_yields,
)
from zsig_hep.settings import NonNegativeNumber

Weighting = Literal["cross_section", "events", "processes"]


class FocalLoss(nn.Module):
    r"""Focal loss (arXiv:1708.02002, without class factor) with weights of three kinds.

        L = sum c [1 - p_t]^gamma (-ln p_t),    p_t = 1 / (1 + exp(-y F)),

    which is the cross entropy for gamma = 0.  The sum of the weights c is 1 / (1 + r) in the signal and r / (1 + r) in the
    background, one half in each class by default; within a class they are, for each `weighting`, proportional to

        cross_section   w, the expected yield;
        processes       w over the yield of the event's process, so that all processes of a class count the same;
        events          1 for every event with w > 0: the unweighted loss, which ignores cross sections and is the
                        baseline of arXiv:2412.09500.

    A class without weight does not contribute.  For r = `background_to_signal` other than one F is replaced by F - ln r, so
    that the minimiser is the same for every r.

    Args:
        gamma: power of the modulating factor, >= 0.
        weighting: kind of the weights.
        background_to_signal: the ratio r of the sums of the weights.
        process_count: number of processes, for `processes`; by default the largest index of each batch plus one, whose
            computation waits for a GPU.

    Raises:
        TrainingError: for a negative gamma, a ratio that is not positive, an unknown weighting, or `processes` without
            `process`.

    Example:
        >>> round(FocalLoss(1.0)(torch.zeros(2), torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item(), 4)
        0.3466
    """

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        weighting: Weighting = "cross_section",
        background_to_signal: float = 1.0,
        process_count: int | None = None,
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            message = f"The focal loss needs gamma >= 0, found {gamma}; 2 is usual, 0 is the cross entropy."
            raise TrainingError(message)
        if not 0 < background_to_signal < math.inf:
            message = f"The cross entropy needs background_to_signal > 0, found {background_to_signal}."
            raise TrainingError(message)
        known = ("cross_section", "events", "processes")
        if weighting not in known:
            message = f"Unknown weighting {weighting!r} of the cross entropy.{nearest_name(weighting, known)}"
            raise TrainingError(message)
        self.gamma, self.weighting, self.process_count = gamma, weighting, process_count
        self.background_to_signal, self.offset = background_to_signal, math.log(background_to_signal)

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`, scores being logits."""
        shares = self.shares(weights.to(scores.dtype), is_signal, process)
        return (self.event_losses(scores, is_signal) * shares).sum(-1)

    def event_losses(self, scores: Tensor, is_signal: Tensor) -> Tensor:
        """[1 - p_t]^gamma (-ln p_t) of each event; arguments of shape (..., n)."""
        right = margin(scores - self.offset, is_signal)
        errors = softplus(-right)
        return errors * torch.exp(-self.gamma * softplus(right)) if self.gamma > 0 else errors

    def relative_weights(self, weights: Tensor) -> Tensor:
        """Weights within a process up to a factor: w, or 1 for w > 0."""
        return (weights > 0).to(weights.dtype) if self.weighting == "events" else weights

    def shares(self, weights: Tensor, is_signal: Tensor, process: Tensor | None) -> Tensor:
        """The weights c of events that are the whole sum, shape (..., n); arguments as for the loss."""
        weights = self.relative_weights(weights)
        if self.weighting == "processes":
            process = require_process(process, "The cross entropy with the weighting `processes`")
            count = self.process_count or int(process.max()) + 1
            weights = rescale_to_process_yields(weights, process, torch.ones(count).to(weights))
        signal, background = class_yields(weights, is_signal)
        inverse_signal, inverse_background = inverse_or_zero(signal), inverse_or_zero(background)
        inverse_background = inverse_background * self.background_to_signal
        return (
            weights
            * (inverse_background + is_signal * (inverse_signal - inverse_background))
            / (1 + self.background_to_signal)
        )


class BCELoss(FocalLoss):
    r"""Binary cross entropy, by default with physical weights, each class normalised to a total weight of one half.

        L = (1/2) sum_signal (w / S) ln(1 + exp(-F)) + (1/2) sum_background (w / B) ln(1 + exp(F))

    Its minimiser is F = ln p_s(x) / p_b(x) with the cross-section-weighted background density: the likelihood ratio,
    which is optimal for s / sqrt(b) in the limit of a large network and many events.  For the other weightings, and for
    classes of other weight, whose minimiser is the same, see `FocalLoss`.

    Example:
        >>> round(BCELoss()(torch.zeros(2), torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item(), 4)
        0.6931
    """

    def __init__(
        self,
        *,
        weighting: Weighting = "cross_section",
        background_to_signal: float = 1.0,
        process_count: int | None = None,
    ) -> None:
        super().__init__(
            0.0, weighting=weighting, background_to_signal=background_to_signal, process_count=process_count
        )


class BCELossSettings(BaseLossSettings):
    """Binary cross entropy, by default weighted with the cross sections."""

    name: Literal["bce"] = "bce"
    """Chooses this loss."""
    weighting: Weighting = "cross_section"
    """Weight of an event within its class: its expected yield ("cross_section"), the same weight for every event
    ("events"), or the same sum of weights for every process ("processes").
    """
    background_to_signal: float = Field(default=1.0, ge=1e-6, le=1e6, examples=[100.0])
    """Sum of the weights of the background over that of the signal. The best output is the same for every value, but a
    training resolves it best where signal and background so weighted are alike: for a search in the tail of a large
    background that is a ratio of tens to hundreds.
    """

    @property
    def label(self) -> str:
        """Name for legends."""
        ratio = "" if self.background_to_signal == 1 else f", background x {self.background_to_signal:g}"
        return f"{_WEIGHTING_LABELS[self.weighting]} BCE{ratio}"

    def build(self, context: LossContext | None = None) -> BCELoss:
        """Make the loss."""
        return BCELoss(
            weighting=self.weighting,
            background_to_signal=self.background_to_signal,
            process_count=_process_count(context),
        )


class FocalLossSettings(BaseLossSettings):
    """Focal loss, arXiv:1708.02002, in which well classified events have less weight."""

    name: Literal["focal"] = "focal"
    """Chooses this loss."""
    gamma: NonNegativeNumber = 2.0
    """Power of the modulating factor; 0 is the cross entropy."""
    weighting: Weighting = "cross_section"
    """Weight of an event within its class, as in `bce`."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"{_WEIGHTING_LABELS[self.weighting]} focal loss"

    def build(self, context: LossContext | None = None) -> FocalLoss:
        """Make the loss."""
        return FocalLoss(self.gamma, weighting=self.weighting, process_count=_process_count(context))


_WEIGHTING_LABELS = {"cross_section": "weighted", "events": "unweighted", "processes": "process-balanced"}


def _process_count(context: LossContext | None) -> int | None:
    return None if context is None else len(context.processes)
