"""The Z loss and its baseline: (scores, signal mask, weights) -> one value per ensemble member.

Equations are numbered as in J. Bardhan, C. Neeraj, S. Mitra, T. Mandal, arXiv:2412.09500, where they have a number
there; S and B are the total signal and background yields of the events given, w an event's weight.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.lovasz import lovasz_extension
from zsig_hep.settings import Settings


def margin(scores: Tensor, is_signal: Tensor) -> Tensor:
    """The margin y F with y = +1 for signal and -1 for background; negative where the sign of F is wrong."""
    return scores * _signs(is_signal, scores.dtype)


def hinge_error(margin: Tensor) -> Tensor:
    """Hinge error, m = max(1 - y F, 0)."""
    return (1 - margin).clamp(min=0)


def sigmoid_error(margin: Tensor) -> Tensor:
    """Sigmoid error, m = |[y = 1] - p| with the probability p = 1 / (1 + exp(-F)) of the logit F."""
    return torch.sigmoid(-margin)


def cross_entropy_error(margin: Tensor) -> Tensor:
    """Cross-entropy error, m = -ln p_t = ln(1 + exp(-y F)) for the logit F."""
    return softplus(-margin)


def focal_error(margin: Tensor) -> Tensor:
    """Focal error, m = (1 - p_t) (-ln p_t): arXiv:1708.02002 with gamma = 1 and no class factor."""
    return torch.sigmoid(-margin) * softplus(-margin)


ErrorName = Literal["hinge", "sigmoid", "cross_entropy", "focal"]

ERRORS: dict[str, Callable[[Tensor], Tensor]] = {
    "hinge": hinge_error,
    "sigmoid": sigmoid_error,
    "cross_entropy": cross_entropy_error,
    "focal": focal_error,
}


def require_non_negative(weights: Tensor) -> None:
    """Refuse negative or non-finite weights, for which the set function is neither monotonic nor submodular.

    On a GPU this waits for the device: check once before a training loop, not in each step.

    Raises:
        TrainingError: with the ways to go on.
    """
    if not bool(torch.isfinite(weights).all()):
        message = "The loss was given weights that are NaN or infinite; remove or repair those events first."
        raise TrainingError(message)
    if bool((weights < 0).any()):
        message = (
            f"The loss was given {int((weights < 0).sum())} negative weights, for which a set function is not "
            "submodular. Take their absolute values or drop them, and rescale each process to its signed yield "
            "(zsig_hep.learning.training_weights, or `training: {negative_weights: absolute}` in the analysis file); "
            "keep the signed weights for every evaluation."
        )
        raise TrainingError(message)


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
        if error not in ERRORS:
            message = f"Unknown error measure {error!r} of the Z loss.{nearest_name(error, ERRORS)}"
            raise TrainingError(message)
        if eps is not None and relative_eps is not None:
            message = "Give the Z loss either relative_eps (a fraction of the background yield) or eps (a yield)."
            raise TrainingError(message)
        if eps is None and relative_eps is None:
            relative_eps = 0.05
        for name, value in (("relative_eps", relative_eps), ("eps", eps)):
            if value is not None and not value > 0:
                message = f"The Z loss needs {name} > 0, found {value}; 0.01 to 0.1 of the background yield is usual."
                raise TrainingError(message)
        self.relative_eps, self.eps, self.error, self.check_weights = relative_eps, eps, error, check_weights

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor) -> Tensor:
        """Evaluate the loss.

        Args:
            scores: network outputs (logits), shape (..., n).
            is_signal: bool, broadcastable to (..., n).
            weights: non-negative yields per event, broadcastable to (..., n).

        Returns:
            Loss per leading index, shape (...).
        """
        if self.check_weights:
            require_non_negative(weights)
        weights = weights.to(scores.dtype)
        signal, background = _class_yields(weights, is_signal)
        eps = background * self.relative_eps if self.relative_eps is not None else self.eps
        inverse_eps = _inverse_or_zero(torch.as_tensor(eps, dtype=scores.dtype, device=scores.device))
        inverse_signal = _inverse_or_zero(signal)
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


class BCELoss(nn.Module):
    r"""Binary cross entropy with physical weights, each class normalised to a total weight of one half.

        L = (1/2) sum_signal (w / S) ln(1 + exp(-F)) + (1/2) sum_background (w / B) ln(1 + exp(F))

    Its minimiser is F = ln p_s(x) / p_b(x) with the cross-section-weighted background density: the likelihood ratio,
    which no other loss can beat for s / sqrt(b) when the network is large and the events are many.
    A class without weight contributes nothing.

    Example:
        >>> round(BCELoss()(torch.zeros(2), torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item(), 4)
        0.6931
    """

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`, scores being logits."""
        weights = weights.to(scores.dtype)
        signal, background = _class_yields(weights, is_signal)
        inverse_signal, inverse_background = _inverse_or_zero(signal), _inverse_or_zero(background)
        share = weights * (inverse_background + is_signal * (inverse_signal - inverse_background))
        return (cross_entropy_error(margin(scores, is_signal)) * share).sum(-1) / 2


def _signs(is_signal: Tensor, dtype: torch.dtype) -> Tensor:
    """+1 for signal, -1 for background; a product with it is several times faster than torch.where."""
    return is_signal.to(dtype) * 2 - 1


def _class_yields(weights: Tensor, is_signal: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and background yield, each of shape (..., 1)."""
    signal = weights * is_signal
    return signal.sum(-1, keepdim=True), (weights - signal).sum(-1, keepdim=True)


def _inverse_or_zero(total: Tensor) -> Tensor:
    """1 / total, or zero where there is no yield to normalise to, without NaN in the gradient."""
    present = total > 0
    return torch.where(present, 1 / torch.where(present, total, 1), 0)


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
        factor = torch.where(mine, yields[..., index : index + 1] * _inverse_or_zero(inside), factor)
    return weights * factor


class ZLossSettings(Settings):
    """Settings of the Z loss in the analysis file."""

    name: Literal["z"] = "z"
    error: ErrorName = "hinge"
    relative_eps: PositiveFloat = 0.05

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Z loss"

    def build(self) -> ZLoss:
        """Make the loss; weights are checked once by the training, not in every step."""
        return ZLoss(self.relative_eps, error=self.error, check_weights=False)


class BCELossSettings(Settings):
    """Settings of the weighted binary cross entropy in the analysis file."""

    name: Literal["bce"] = "bce"

    @property
    def label(self) -> str:
        """Name for legends."""
        return "weighted BCE"

    def build(self) -> BCELoss:
        """Make the loss."""
        return BCELoss()


LossSettings = Annotated[ZLossSettings | BCELossSettings, Field(discriminator="name")]
