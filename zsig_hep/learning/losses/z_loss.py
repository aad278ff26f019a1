"""The Z loss of J. Bardhan, C. Neeraj, S. Mitra, T. Mandal, arXiv:2412.09500."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from zsig_hep.learning.losses.base import EpsSetting, EpsSettings, LossContext
from zsig_hep.learning.losses.lovasz import lovasz_extension
from zsig_hep.learning.losses.margins import (
    ERRORS,
    ErrorName,
    check_set_loss_options,
    class_yields,
    inverse_or_zero,
    margin,
    require_non_negative,
)


class ZLoss(nn.Module):
    r"""Lovasz extension of the decrease of s / sqrt(b), normalised to one for the set of all events.

    With the total signal and background yields S and B, a set M of mispredicted events that loses the signal yield a
    and accepts the background yield b has the loss (arXiv:2412.09500)

        Delta_Z(M) = S / sqrt(eps) - (S - a) / sqrt(eps + b),

    which is divided by its value S / sqrt(eps) for all events.  With r_k = sqrt(1 + B_k / eps), and A_k and B_k the
    lost signal and accepted background after k events, the gains for an event of weight w are

        signal:      (w / S) / r_{k-1}
        background:  (1 - A_{k-1} / S) (w / eps) / (r_{k-1} r_k (r_{k-1} + r_k)),

    in a closed form without the cancellation of differences of Delta_Z, which is large in float32.

    Departure from the paper: eps is given relative to the total background yield, because with eps = S, the choice of
    the paper, the exact minimum is to reject all events if S is small against B.  A large eps leads to a loose cut, a
    small one to a tight cut; far below 0.01 training tends to collapse to equal scores.  Train with cross entropy
    first.

    Each call is normalised to the yields it is given: every batch must have the full yield of every process
    (`rescale_to_process_yields`).  Without background the loss is the lost fraction of the signal; without signal it is
    zero.

    Args:
        relative_eps: eps / B, positive; by default 0.05.
        eps: eps as a yield, positive, instead of `relative_eps`.
        error: hinge, sigmoid, cross_entropy or focal.
        check_weights: whether every call checks for negative weights; False if the caller has checked them.

    Raises:
        TrainingError: for an unknown error measure, an eps that is not positive, or negative weights.

    Example:
        >>> scores = torch.tensor([2.0, -2.0])
        >>> ZLoss(eps=1.0)(-scores, torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item()
        3.0
    """

    def __init__(
        self,
        relative_eps: float | None = None,
        *,
        eps: float | None = None,
        error: str = "hinge",
        check_weights: bool = True,
    ) -> None:
        super().__init__()
        if eps is None and relative_eps is None:
            relative_eps = 0.05
        check_set_loss_options("Z loss", error, relative_eps, eps)
        self.relative_eps, self.eps, self.error, self.check_weights = relative_eps, eps, error, check_weights

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss.

        Args:
            scores: network outputs (logits), shape (..., n).
            is_signal: bool, broadcastable to (..., n).
            weights: non-negative yields per event, broadcastable to (..., n).
            process: not used.

        Returns:
            Loss per leading index, shape (...).
        """
        del process
        if self.check_weights:
            require_non_negative(weights)
        weights = weights.to(scores.dtype)
        signal, background = class_yields(weights, is_signal)
        eps = background * self.relative_eps if self.relative_eps is not None else self.eps
        inverse_eps = inverse_or_zero(torch.as_tensor(eps, dtype=scores.dtype, device=scores.device))
        inverse_signal = inverse_or_zero(signal)
        # Without signal the loss is zero.
        share_of_eps = inverse_eps * (signal > 0)

        def gains(signal_weight: Tensor, background_weight: Tensor, lost: Tensor, accepted: Tensor) -> Tensor:
            before = torch.sqrt(1 + accepted * inverse_eps)
            after = torch.sqrt(1 + (accepted + background_weight) * inverse_eps)
            kept_fraction = (1 - lost * inverse_signal).clamp(min=0)
            of_background = kept_fraction * background_weight * share_of_eps / (after * (before + after))
            return (signal_weight * inverse_signal + of_background) / before

        errors = ERRORS[self.error](margin(scores, is_signal))
        return lovasz_extension(errors, is_signal, weights, gains)


class ZLossSettings(EpsSettings):
    """The Z loss: the Lovasz extension of s/sqrt(b), arXiv:2412.09500."""

    name: Literal["z"] = "z"
    """Chooses this loss."""
    error: ErrorName = "hinge"
    """Error measure of an event as a function of its margin; "hinge" is that of the paper, "sigmoid" reaches larger
    significances in the comparisons of this project.
    """
    relative_eps: EpsSetting = Field(default=0.05, examples=[0.05, {"start": 0.3, "stop": 0.05}, "auto"])

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Z loss"

    def build(self, context: LossContext | None = None) -> ZLoss:
        """Make the loss, with the first value of a path."""
        del context
        return ZLoss(self.first_eps, error=self.error, check_weights=False)
