"""Margins, error measures and class totals that the losses are made of.

S and B are the total signal and background yields of the events given, w an event's weight, F a score.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError, nearest_name


def signs(is_signal: Tensor, dtype: torch.dtype) -> Tensor:
    """+1 for signal, -1 for background; a product with it is several times faster than torch.where."""
    return is_signal.to(dtype) * 2 - 1


def margin(scores: Tensor, is_signal: Tensor) -> Tensor:
    """The margin y F with y = +1 for signal and -1 for background; negative where the sign of F is wrong."""
    return scores * signs(is_signal, scores.dtype)


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


def class_yields(weights: Tensor, is_signal: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and background yield, each of shape (..., 1)."""
    signal = weights * is_signal
    return signal.sum(-1, keepdim=True), (weights - signal).sum(-1, keepdim=True)


def inverse_or_zero(total: Tensor) -> Tensor:
    """1 / total, or zero where there is no yield to normalise to, without NaN in the gradient."""
    present = total > 0
    return torch.where(present, 1 / torch.where(present, total, 1), 0)


def require_process(process: Tensor | None, loss: str) -> Tensor:
    """Give back the process of each event where a loss cannot do without.

    Raises:
        TrainingError: if it was not given.
    """
    if process is None:
        message = (
            f"{loss} needs to know which process each event belongs to: give it `process`, the index of each "
            "event's process, as the fourth argument."
        )
        raise TrainingError(message)
    return process


def check_set_loss_options(loss: str, error: str, relative_eps: float | None, eps: float | None) -> None:
    """Refuse an unknown error measure, and an eps that is not positive or is given twice.

    Raises:
        TrainingError: naming the loss.
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
