"""The gradient noise of batches, and the degree to which it smooths the objective.

N. Sato, H. Iiduka, arXiv:2311.08745 (stochastic gradient descent) and arXiv:2412.11501 (with momentum).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.optimisation.schedules import EpochPlan


def smoothing_degree(
    learning_rate: float, batch_size: float, variance: float, *, momentum: float = 0.0, gradient_norm: float = 0.0
) -> float:
    r"""Degree delta to which the gradient noise of batches smooths the objective.

    With v = C^2 / b, and B = beta (beta^2 - beta + 1) / (1 - beta)^2 for the heavy ball with momentum beta,

        delta = eta sqrt(v + B (v + K^2)),

    which is eta C / sqrt(b) without momentum (arXiv:2311.08745, arXiv:2412.11501).  It is derived for SGD without
    momentum and with heavy-ball momentum as in `torch.optim.SGD` without dampening; there is no such result for Adam.

    Args:
        learning_rate: step size eta, not negative.
        batch_size: events in a batch b, positive.
        variance: C^2, not negative; see `gradient_variance`.
        momentum: beta in [0, 1).
        gradient_norm: bound K of the norm of the full gradient, not negative; used with momentum only.

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

    The two batches are independent; for disjoint batches of one epoch of n events the expectation is larger by a factor
    n / (n - 1).  For a loss that is not a mean over events, such as a set loss, C^2 / b is the variance at this batch
    size only.

    Args:
        first: gradients of the mean loss of one batch, a tensor per parameter.
        second: gradients of the other batch, at the same parameters.
        batch_size: number of events in each batch.
        stacked: whether the first axis of each tensor is that of the members of an ensemble.

    Returns:
        C^2, shape () or (M,).

    Raises:
        TrainingError: if the two have different shapes.

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


def noise_of_batches(gradients: Sequence[Sequence[Tensor]], batch_size: int) -> tuple[list[float], list[float]]:
    """C^2 and the norm of the mean gradient of every member, from gradients of batches of different events.

    Args:
        gradients: of an even number of batches at the same parameters; for each batch a tensor per parameter, whose
            first axis is that of the M members.
        batch_size: number of events in each batch.

    Returns:
        C^2 and the norm, M numbers each.
    """
    variances = [
        gradient_variance(first, second, batch_size, stacked=True)
        for first, second in zip(gradients[0::2], gradients[1::2], strict=True)
    ]
    means = [torch.stack(parts).mean(0).flatten(1) for parts in zip(*gradients, strict=True)]
    norm = torch.cat(means, dim=1).norm(dim=1)
    return torch.stack(variances).mean(0).tolist(), norm.tolist()


def _require(condition: bool, needed: str, found: object) -> None:
    if not condition:
        message = f"The smoothing degree needs {needed}, found {found}."
        raise TrainingError(message)


@dataclass(frozen=True)
class GraduatedStage:
    """One stage of a schedule with the gradient noise that was measured at its end.

    Attributes:
        stage: its number, from 1.
        first_epoch: number of its first epoch, from 1.
        epochs: number of its epochs.
        learning_rate: step size; the mean if it changes within the stage.
        batch_size: events in a batch.
        gradient_deviation: C, the square root of the variance of the gradient of one event; mean over members.
        delta: smoothing degree; mean over members.
        loss: mean over members.
    """

    stage: int
    first_epoch: int
    epochs: int
    learning_rate: float
    batch_size: int
    gradient_deviation: float
    delta: float
    loss: float


def measured_stage(
    plan: Sequence[EpochPlan],
    number: int,
    variance: npt.ArrayLike,
    loss: npt.ArrayLike,
    *,
    momentum: float = 0.0,
    gradient_norm: npt.ArrayLike = 0.0,
) -> GraduatedStage:
    """Combine the plan of a stage and what was measured in it.

    Args:
        plan: one entry per epoch.
        number: of the stage, from 1.
        variance: C^2, a number or shape (M,).
        loss: a number or shape (M,).
        momentum: of the optimiser, in [0, 1).
        gradient_norm: norm K of the full gradient, a number or shape (M,); used with momentum only.

    Raises:
        TrainingError: if the plan has no such stage, or for a number outside its domain.

    Example:
        >>> from zsig_hep.learning.optimisation.schedules import CosineSettings
        >>> measured_stage(CosineSettings().plan(4, 0.1, 16), 1, [4.0, 4.0], 0.3).gradient_deviation
        2.0
    """
    epochs = [index for index, epoch in enumerate(plan) if epoch.stage == number]
    _require(bool(epochs), "a stage of its plan", number)
    rate, size = fmean(plan[index].learning_rate for index in epochs), plan[epochs[0]].batch_size
    squares, norms = np.broadcast_arrays(*np.atleast_1d(variance, gradient_norm))
    degrees = [
        smoothing_degree(rate, size, float(square), momentum=momentum, gradient_norm=float(norm))
        for square, norm in zip(squares, norms, strict=True)
    ]
    return GraduatedStage(
        stage=number,
        first_epoch=epochs[0] + 1,
        epochs=len(epochs),
        learning_rate=rate,
        batch_size=size,
        gradient_deviation=float(np.sqrt(squares).mean()),
        delta=fmean(degrees),
        loss=float(np.asarray(loss, dtype=np.float64).mean()),
    )
