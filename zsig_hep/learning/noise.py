"""How noisy the gradients of a training are at the end of a stage of its schedule."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zsig_hep.learning.optimizers import SGDSettings
from zsig_hep.learning.schedules import GraduatedSettings, GraduatedStage, gradient_variance, measured_stage

if TYPE_CHECKING:
    from zsig_hep.learning.ensemble import EnsembleTraining

# Pairs of batches averaged in one estimate of C^2.
_PAIRS = 8


def stage_just_ended(training: "EnsembleTraining") -> list[GraduatedStage]:
    """Measure the stage of a graduated schedule that ends with the current epoch; nothing within one, or elsewhere.

    Call it after the epoch's last step, before the epoch is counted.
    """
    plan, settings = training.plans[training.phase], training.current.settings
    stage = plan[training.epoch].stage
    is_last = training.epoch + 1 == len(plan) or plan[training.epoch + 1].stage != stage
    if not isinstance(settings.schedule, GraduatedSettings) or not is_last:
        return []
    variance, norm = _variance_and_norm(training)
    momentum = settings.optimizer.momentum if isinstance(settings.optimizer, SGDSettings) else 0.0
    losses = training.training_losses[-1]
    measured = measured_stage(plan, stage, variance, losses, momentum=momentum, gradient_norm=norm)
    # Counted over the whole training, as the history counts epochs.
    before = len(training.history_phase) - training.epoch - 1
    return [replace(measured, first_epoch=measured.first_epoch + before)]


def _variance_and_norm(training: "EnsembleTraining") -> tuple[list[float], list[float]]:
    """C^2 and the norm of the mean gradient of every member."""
    # Half way to the numbers of the next phase: batches that no epoch of the training draws.
    batches = training.draw_epoch(10_000 * training.phase + 5_000 + training.epoch)
    if len(batches) == 1:
        # Two draws of the whole sample would be the same events: its halves are not. Every process has its share of both.
        half = batches.shape[-1] // 2
        batches = torch.stack([batches[0, :, 0 : 2 * half : 2], batches[0, :, 1 : 2 * half : 2]])
    pairs = min(_PAIRS, len(batches) // 2)
    measured = [_gradients(training, events) for events in batches[: 2 * pairs]]
    size = batches.shape[-1]
    variances = [
        gradient_variance(first, second, size, stacked=True)
        for first, second in zip(measured[0::2], measured[1::2], strict=True)
    ]
    means = [torch.stack(parts).mean(0).flatten(1) for parts in zip(*measured, strict=True)]
    norm = torch.cat(means, dim=1).norm(dim=1)
    return torch.stack(variances).mean(0).tolist(), norm.tolist()


def _gradients(training: "EnsembleTraining", events: Tensor) -> list[Tensor]:
    training.gradients(events)
    return [parameter.grad.clone() for parameter in training.network.parameters() if parameter.grad is not None]
