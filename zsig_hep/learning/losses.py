"""The Z loss, its relatives and its baselines: (scores, signal mask, weights, process) -> one value per member.

Equations are numbered as in J. Bardhan, C. Neeraj, S. Mitra, T. Mandal, arXiv:2412.09500, where they have a number
there; S and B are the total signal and background yields of the events given, w an event's weight.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.lovasz import lovasz_extension
from zsig_hep.learning.margins import (
    ERRORS,
    check_set_loss_options,
    class_yields,
    inverse_or_zero,
    margin,
    require_non_negative,
    require_process,
)

__all__ = [
    "ERRORS",
    "BCELoss",
    "FocalLoss",
    "Weighting",
    "ZLoss",
    "margin",
    "require_non_negative",
    "rescale_to_process_yields",
]


class ZLoss(nn.Module):
    r"""Lovasz extension of the loss of significance, normalised to one for the loss of everything.

    The set function of the mispredicted events M, with a lost signal and b accepted background yield
    (arXiv:2412.09500),

        Delta_Z(M) = S / sqrt(eps) - (S - a) / sqrt(eps + b),

    is divided by its value S / sqrt(eps) for all events, which leaves relative yields only.  With
    r_k = sqrt(1 + B_k / eps), A_k and B_k the lost signal and accepted background after k events, its gains are

        signal:      (w / S) / r_{k-1}
        background:  (1 - A_{k-1} / S) (w / eps) / (r_{k-1} r_k (r_{k-1} + r_k)),

    a closed form without the cancellation that differences of Delta_Z suffer in float32.

    Departure from the paper: eps is given relative to the total background yield, because eps = S, the paper's choice,
    makes "reject everything" the exact minimum where S is small against B.  A large eps leads to a loose cut, a small
    one to a tight cut; far below 0.01 the loss tends to collapse to equal scores.  Train with cross entropy first.

    Each call normalises to the yields it is given: give every batch the full yield of every process
    (`rescale_to_process_yields`).  Without background the loss is the lost fraction of the signal, without signal zero.

    Args:
        relative_eps: eps / B, positive; default 0.05.
        eps: eps as a yield instead, positive; exactly one of the two may be given.
        error: hinge, sigmoid, cross_entropy or focal.
        check_weights: refuse negative weights in every call; off where the caller has checked them once.

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
        # Without signal there is none to lose to background.
        share_of_eps = inverse_eps * (signal > 0)

        def gains(signal_weight: Tensor, background_weight: Tensor, lost: Tensor, accepted: Tensor) -> Tensor:
            before = torch.sqrt(1 + accepted * inverse_eps)
            after = torch.sqrt(1 + (accepted + background_weight) * inverse_eps)
            kept_fraction = (1 - lost * inverse_signal).clamp(min=0)
            of_background = kept_fraction * background_weight * share_of_eps / (after * (before + after))
            return (signal_weight * inverse_signal + of_background) / before

        errors = ERRORS[self.error](margin(scores, is_signal))
        return lovasz_extension(errors, is_signal, weights, gains)


Weighting = Literal["cross_section", "events", "processes"]


class FocalLoss(nn.Module):
    r"""Focal loss (arXiv:1708.02002, without class factor) with weights of three kinds.

        L = sum c [1 - p_t]^gamma (-ln p_t),    p_t = 1 / (1 + exp(-y F)),

    which is the cross entropy for gamma = 0.  The weights c add to one half in each class; within a class they are, by
    `weighting`, proportional to

        cross_section   w, the expected yield;
        processes       w over the yield of the event's process: all processes of a class count the same;
        events          1 for every event with a weight above zero: the unweighted loss, which knows no cross sections
                        and is the baseline of arXiv:2412.09500.

    A class without weight contributes nothing.

    Args:
        gamma: power of the modulating factor, >= 0.
        weighting: kind of the weights.
        process_count: number of processes, for `processes`; by default the largest index of each batch plus one, for
            which a GPU has to be waited for.

    Raises:
        TrainingError: for a negative gamma, an unknown weighting, or `processes` without `process`.

    Example:
        >>> round(FocalLoss(1.0)(torch.zeros(2), torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item(), 4)
        0.3466
    """

    def __init__(
        self, gamma: float = 2.0, *, weighting: Weighting = "cross_section", process_count: int | None = None
    ) -> None:
        super().__init__()
        if not gamma >= 0:
            message = f"The focal loss needs gamma >= 0, found {gamma}; 2 is usual, 0 is the cross entropy."
            raise TrainingError(message)
        known = ("cross_section", "events", "processes")
        if weighting not in known:
            message = f"Unknown weighting {weighting!r} of the cross entropy.{nearest_name(weighting, known)}"
            raise TrainingError(message)
        self.gamma, self.weighting, self.process_count = gamma, weighting, process_count

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`, scores being logits."""
        right = margin(scores, is_signal)
        errors = softplus(-right)
        if self.gamma > 0:
            errors = errors * torch.exp(-self.gamma * softplus(right))
        return (errors * self._shares(weights.to(scores.dtype), is_signal, process)).sum(-1)

    def _shares(self, weights: Tensor, is_signal: Tensor, process: Tensor | None) -> Tensor:
        if self.weighting == "events":
            weights = (weights > 0).to(weights.dtype)
        elif self.weighting == "processes":
            process = require_process(process, "The cross entropy with the weighting `processes`")
            count = self.process_count or int(process.max()) + 1
            weights = rescale_to_process_yields(weights, process, torch.ones(count).to(weights))
        signal, background = class_yields(weights, is_signal)
        inverse_signal, inverse_background = inverse_or_zero(signal), inverse_or_zero(background)
        return weights * (inverse_background + is_signal * (inverse_signal - inverse_background)) / 2


class BCELoss(FocalLoss):
    r"""Binary cross entropy, by default with physical weights, each class normalised to a total weight of one half.

        L = (1/2) sum_signal (w / S) ln(1 + exp(-F)) + (1/2) sum_background (w / B) ln(1 + exp(F))

    Its minimiser is F = ln p_s(x) / p_b(x) with the cross-section-weighted background density: the likelihood ratio,
    which no other loss can beat for s / sqrt(b) when the network is large and the events are many.
    Other weightings as for `FocalLoss`; a class without weight contributes nothing.

    Example:
        >>> round(BCELoss()(torch.zeros(2), torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item(), 4)
        0.6931
    """

    def __init__(self, *, weighting: Weighting = "cross_section", process_count: int | None = None) -> None:
        super().__init__(0.0, weighting=weighting, process_count=process_count)


def rescale_to_process_yields(weights: Tensor, process: Tensor, yields: Tensor) -> Tensor:
    """Scale the weights of a batch so that every process carries its full yield.

    A set function of a batch depends on the yields themselves, so a batch has to stand for the whole sample.

    Args:
        weights: non-negative, shape (..., n).
        process: index of each event's process, integer, broadcastable to (..., n).
        yields: full yield of each process, shape (..., P) or (P,).

    Returns:
        Rescaled weights, shape (..., n); a process without weight in the batch stays without.

    Example:
        >>> rescale_to_process_yields(torch.ones(3), torch.tensor([0, 0, 1]), torch.tensor([6.0, 5.0]))
        tensor([3., 3., 5.])
    """
    factor = torch.zeros_like(weights)
    # A loop over the few processes instead of scatter_add, whose order of summation varies on a GPU.
    for index in range(yields.shape[-1]):
        mine = process == index
        inside = torch.where(mine, weights, 0).sum(-1, keepdim=True)
        factor = torch.where(mine, yields[..., index : index + 1] * inverse_or_zero(inside), factor)
    return weights * factor
