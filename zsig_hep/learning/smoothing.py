"""How far the noise of minibatches smooths the objective, and the gradient variance that this takes.

N. Sato, H. Iiduka, arXiv:2311.08745 (stochastic gradient descent) and arXiv:2412.11501 (with momentum).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError


def smoothing_degree(
    learning_rate: float, batch_size: float, variance: float, *, momentum: float = 0.0, gradient_norm: float = 0.0
) -> float:
    r"""Degree delta to which the noise of minibatches smooths the objective.

    With v = C^2 / b and B = beta (beta^2 - beta + 1) / (1 - beta)^2 for the heavy ball with momentum beta,

        delta = eta sqrt(v + B (v + K^2)),

    which is eta C / sqrt(b) without momentum (arXiv:2311.08745, arXiv:2412.11501).  It is derived for these two, the
    heavy ball as in `torch.optim.SGD` without dampening; there is no such result for Adam and its relatives.

    Args:
        learning_rate: step size eta, not negative.
        batch_size: events in a batch b, positive.
        variance: C^2, not negative; see `gradient_variance`.
        momentum: beta in [0, 1).
        gradient_norm: bound K of the norm of the full gradient, not negative; only used with momentum.

    Raises:
        TrainingError: for a number outside its domain.

    Example:
        >>> smoothing_degree(0.1, 16, 4.0)
        0.05
        >>> round(smoothing_degree(0.1, 16, 4.0, momentum=0.5, gradient_norm=1.0), 4)
        0.1458
    """
    _require(learning_rate >= 0, "a learning rate >= 0", learning_rate)
    _require(batch_size > 0, "a batch size > 0", batch_size)
    _require(variance >= 0, "a variance >= 0", variance)
    _require(0 <= momentum < 1, "a momentum in [0, 1)", momentum)
    _require(gradient_norm >= 0, "a gradient norm >= 0", gradient_norm)
    v = variance / batch_size
    B = momentum * (momentum**2 - momentum + 1) / (1 - momentum) ** 2
    return learning_rate * math.sqrt(v + B * (v + gradient_norm**2))


def gradient_variance(
    first: Sequence[Tensor], second: Sequence[Tensor], batch_size: int, *, stacked: bool = False
) -> Tensor:
    """Unbiased estimate of the variance of the gradient of one event, C^2 = (b / 2) ||g1 - g2||^2; average several.

    The two batches are independent, or disjoint batches of one epoch, which give the same expectation up to a factor
    n / (n - 1) for n events.  For a loss that is no mean over events (a set loss) C^2 says how the noise of its
    gradient would scale from this batch size.

    Args:
        first: gradients of the mean loss of one batch, a tensor per parameter.
        second: of the other batch, at the same parameters.
        batch_size: events in each of the two.
        stacked: whether the first axis of each tensor is that of the members of an ensemble.

    Returns:
        C^2, shape () or (M,).

    Raises:
        TrainingError: if the two do not fit each other.

    Example:
        >>> gradient_variance([torch.tensor([1.0, 2.0])], [torch.tensor([0.0, 4.0])], 8)
        tensor(20.)
    """
    shapes = [tuple(gradient.shape) for gradient in first], [tuple(gradient.shape) for gradient in second]
    _require(bool(shapes[0]) and shapes[0] == shapes[1], "gradients of the same parameters from both batches", shapes)
    _require(batch_size > 0, "a batch size > 0", batch_size)
    leading = {shape[: int(stacked)] for shape in shapes[0]}
    _require(len(leading) == 1, "the members along the first axis of every gradient", shapes[0])
    members = next(iter(leading))
    squares = [(one - other).square().reshape(*members, -1).sum(-1) for one, other in zip(first, second, strict=True)]
    return torch.stack(squares).sum(0) * (batch_size / 2)


def _require(condition: bool, needed: str, found: object) -> None:
    if not condition:
        message = f"The smoothing degree needs {needed}, found {found}."
        raise TrainingError(message)
