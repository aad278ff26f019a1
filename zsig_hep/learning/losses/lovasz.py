"""The Lovasz extension of a set function of the lost signal and the accepted background.

A figure of merit of the signal yield a(M) that is lost and the background yield b(M) that is accepted in a set M of
mispredicted events is a function of sets.  Its Lovasz extension interpolates piecewise linearly between the vertices,
so that it can be minimised with gradients (L. Lovasz 1983; M. Berman et al., arXiv:1705.08790, for segmentation;
arXiv:2412.09500 for the significance).  The extension is convex if and only if the set function is submodular.
"""

from collections.abc import Callable

import torch
from torch import Tensor

MarginalGains = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Increase of the set function when each event, in order, is added to the mispredicted set.

Arguments, each of shape (..., n): the event's weight if it is signal, else zero; its weight if it is background, else
zero; the signal yield lost and the background yield accepted before it is added.  The result has the same shape.
"""

ProcessGains = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""As `MarginalGains`, with the process of each event, in the same order, as fifth argument."""


def cumulative_before(values: Tensor) -> Tensor:
    """Sum of all earlier entries along the last axis; zero for the first.

    The inclusive sum is shifted; subtraction of each entry from it would have rounding errors in float32.
    """
    inclusive = torch.cumsum(values, dim=-1)
    return torch.nn.functional.pad(inclusive[..., :-1], (1, 0))


def lovasz_extension(errors: Tensor, is_signal: Tensor, weights: Tensor, gains: MarginalGains) -> Tensor:
    """Evaluate the Lovasz extension sum_i m_pi(i) g_i, the errors m sorted in decreasing order pi.

    The value does not depend on the order of equal errors; the gradient is then one of the subgradients.  There are
    gradients with respect to `errors`, `weights` and parameters in `gains`.

    Args:
        errors: non-negative error of each event, shape (..., n).
        is_signal: whether the event is signal, bool, broadcastable to the shape of `errors`.
        weights: non-negative event weights, broadcastable to the shape of `errors`.
        gains: marginal gains of the set function.

    Returns:
        The value per leading index, shape (...).

    Example:
        >>> def lost_yield(signal_weight, background_weight, lost_signal, accepted_background):
        ...     return signal_weight
        >>> errors = torch.tensor([0.5, 2.0])
        >>> lovasz_extension(errors, torch.tensor([True, False]), torch.tensor([3.0, 1.0]), lost_yield).item()
        1.5
    """
    ordered_errors, order = torch.sort(errors, dim=-1, descending=True)
    return (ordered_errors * gains(*_ordered_yields(is_signal, weights, order))).sum(-1)


def lovasz_extension_by_process(
    errors: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor, gains: ProcessGains
) -> Tensor:
    """Evaluate the Lovasz extension of a set function of the yields of each background process.

    Args:
        errors: non-negative error of each event, shape (..., n).
        is_signal: whether the event is signal, bool, broadcastable to the shape of `errors`.
        weights: non-negative event weights, broadcastable to the shape of `errors`.
        process: index of each event's process, broadcastable to the shape of `errors`.
        gains: marginal gains of the set function.

    Returns:
        The value per leading index, shape (...).
    """
    ordered_errors, order = torch.sort(errors, dim=-1, descending=True)
    ordered_process = process.expand(errors.shape).gather(-1, order)
    return (ordered_errors * gains(*_ordered_yields(is_signal, weights, order), ordered_process)).sum(-1)


def _ordered_yields(is_signal: Tensor, weights: Tensor, order: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Arguments of `MarginalGains` for events in an order."""
    # torch.where on three arrays would take as long as the sort.
    signed = (weights * (is_signal.to(weights.dtype) * 2 - 1)).expand(order.shape).gather(-1, order)
    signal_weight, background_weight = signed.clamp(min=0), (-signed).clamp(min=0)
    return signal_weight, background_weight, cumulative_before(signal_weight), cumulative_before(background_weight)
