"""Margins, error measures, sums over classes and checks that the losses have in common; F is a score."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError, nearest_name


def margin(scores: Tensor, is_signal: Tensor) -> Tensor:
    """The margin y F with y = +1 for signal and -1 for background; negative where the sign of F is wrong."""
    # The product is several times faster than torch.where.
    return scores * (is_signal.to(scores.dtype) * 2 - 1)


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
    """Refuse weights that are not finite, or negative, for which set functions are neither monotonic nor submodular.

    The check waits for a GPU: check once before a training, not in each step.

    Raises:
        TrainingError: states what to do.
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


def class_yields(weights: Tensor, is_signal: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and background yield, each of shape (..., 1)."""
    signal = weights * is_signal
    return signal.sum(-1, keepdim=True), (weights - signal).sum(-1, keepdim=True)


def inverse_or_zero(total: Tensor) -> Tensor:
    """1 / total, or zero where the total is zero, without NaN in the gradient."""
    present = total > 0
    return torch.where(present, 1 / torch.where(present, total, 1), 0)


def root_or_zero(values: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero instead of infinite."""
    positive = values > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, values, 1)), 0)


def require_process(process: Tensor | None, loss: str) -> Tensor:
    """Return the process of each event for a loss that needs it.

    Raises:
        TrainingError: if it is None.
    """
    if process is None:
        message = (
            f"{loss} needs the process of each event: give it `process`, the index of each event's process, as the "
            "fourth argument."
        )
        raise TrainingError(message)
    return process


def check_set_loss_options(loss: str, error: str, relative_eps: float | None, eps: float | None) -> None:
    """Refuse an unknown error measure, and an eps that is not positive or is given twice.

    Raises:
        TrainingError: names the loss.
    """
    if error not in ERRORS:
        message = f"Unknown error measure {error!r} of the {loss}.{nearest_name(error, ERRORS)}"
        raise TrainingError(message)
    if eps is not None and relative_eps is not None:
        message = f"Give the {loss} either relative_eps (a fraction of the background yield) or eps (a yield)."
        raise TrainingError(message)
    for name, value in (("relative_eps", relative_eps), ("eps", eps)):
        if value is not None and not value > 0:
            message = f"The {loss} needs {name} > 0, found {value}; 0.01 to 0.1 of the background yield is usual."
            raise TrainingError(message)


def rescale_to_process_yields(weights: Tensor, process: Tensor, yields: Tensor) -> Tensor:
    """Scale the weights of a batch so that every process has its full yield, as set functions depend on the yields.

    Args:
        weights: non-negative, shape (..., n).
        process: index of each event's process, integer, broadcastable to (..., n).
        yields: full yield of each process, shape (..., P) or (P,).

    Returns:
        Rescaled weights, shape (..., n); zero for a process whose weights in the batch are all zero.

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
