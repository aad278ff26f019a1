"""The Lovasz extension of a set function of the lost signal and the accepted background.

A classifier errs on a set M of events.  A figure of merit that depends on M only through the signal yield that M loses,
a(M), and the background yield that M accepts, b(M), is a set function; its Lovasz extension is the piecewise linear
interpolation between the vertices, which a gradient method can follow (L. Lovasz 1983; M. Berman et al.,
arXiv:1705.08790, for segmentation; arXiv:2412.09500 for the significance).  The extension is convex exactly when the
set function is submodular.
"""

from collections.abc import Callable

import torch
from torch import Tensor

MarginalGains = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""What the set function grows by when each event, in order, joins the mispredicted set.

Arguments, each of shape (..., n): the event's weight if it is signal, else zero; its weight if it is background, else
zero; the signal yield lost and the background yield accepted before it joins.  The result has the same shape.
"""

ProcessGains = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""As `MarginalGains`, with the process of each event, in the same order, as fifth argument."""


def cumulative_before(values: Tensor) -> Tensor:
    """Sum of all earlier entries along the last axis; zero for the first.

    Shifting the inclusive sum, instead of subtracting each entry from it, leaves no rounding residue in float32.
    """
    inclusive = torch.cumsum(values, dim=-1)
    return torch.nn.functional.pad(inclusive[..., :-1], (1, 0))


def lovasz_extension(errors: Tensor, is_signal: Tensor, weights: Tensor, gains: MarginalGains) -> Tensor:
    """Evaluate the Lovasz extension sum_i m_pi(i) g_i, the errors m sorted in decreasing order pi.

    Ties may be broken in any order without changing the value; the gradient is then one of the subgradients.
    Gradients reach `errors` and, where they ask for it, the weights and parameters inside `gains`.

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
    """Evaluate the Lovasz extension of a set function that tells the background processes apart.

    Args:
        errors: as for `lovasz_extension`, and so are `is_signal` and `weights`.
        is_signal: bool.
        weights: non-negative.
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
    # A product and one gather instead of torch.where on three arrays, which costs as much as the sort.
    signed = (weights * (is_signal.to(weights.dtype) * 2 - 1)).expand(order.shape).gather(-1, order)
    signal_weight, background_weight = signed.clamp(min=0), (-signed).clamp(min=0)
    return signal_weight, background_weight, cumulative_before(signal_weight), cumulative_before(background_weight)
