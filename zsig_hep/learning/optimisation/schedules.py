r"""Schedules of step size and batch size, among them implicit graduated optimisation.

The gradient noise of batches smooths the objective to a degree delta = eta C / sqrt(b), with the step size eta, the
batch size b and the variance C^2 of the gradient of one event.  A delta that decreases in stages optimises a smooth
version of the objective first (N. Sato, H. Iiduka, arXiv:2311.08745; with momentum arXiv:2412.11501).
"""

import logging
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from zsig_hep.errors import TrainingError
from zsig_hep.learning.optimisation.optimizers import EveSettings, OptimizerChoice, SGDSettings
from zsig_hep.settings import Events, Settings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochPlan:
    """Step size and batch size of one epoch.

    Attributes:
        learning_rate: step size at the start.
        batch_size: events in a batch.
        stage: number of its stage, from 1; always 1 without a graduated schedule.
        last_learning_rate: step size at the end, which it approaches linearly; None if it is constant.
    """

    learning_rate: float
    batch_size: int
    stage: int
    last_learning_rate: float | None = None

    def learning_rate_at(self, progress: float) -> float:
        """Step size after a fraction `progress` of the epoch."""
        last = self.learning_rate if self.last_learning_rate is None else self.last_learning_rate
        return self.learning_rate + progress * (last - self.learning_rate)


class ConstantSettings(Settings):
    """Constant step size and batch size."""

    kind: Literal["constant"] = "constant"
    """Chooses this schedule."""

    def plan(
        self, epochs: int, learning_rate: float, batch_size: int, largest_batch: int | None = None
    ) -> tuple[EpochPlan, ...]:
        """Plan the epochs.

        Args:
            epochs: number of epochs, not negative.
            learning_rate: step size at the start, positive.
            batch_size: events in a batch at the start, at least 1.
            largest_batch: largest batch size, such as the number of training events; None for no limit.

        Returns:
            One plan per epoch.

        Raises:
            TrainingError: for a number outside its domain.
        """
        size = _saturated_start(epochs, learning_rate, batch_size, largest_batch)
        return (EpochPlan(learning_rate, size, 1),) * epochs


class CosineSettings(Settings):
    """Step size eta (1 + cos(pi e / E)) / 2 after e of E epochs, linear in between; arXiv:1608.03983, no restarts."""

    kind: Literal["cosine"] = "cosine"
    """Chooses this schedule."""

    def plan(
        self, epochs: int, learning_rate: float, batch_size: int, largest_batch: int | None = None
    ) -> tuple[EpochPlan, ...]:
        """Plan the epochs; arguments, result and errors as for `ConstantSettings.plan`."""
        size = _saturated_start(epochs, learning_rate, batch_size, largest_batch)
        rates = [learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2 for epoch in range(epochs + 1) if epochs]
        return tuple(EpochPlan(first, size, 1, last) for first, last in pairwise(rates))


class GraduatedSettings(Settings):
    r"""Implicit graduated optimisation: the smoothing degree falls by gamma = kappa / sqrt(lambda) in each stage.

    The step size is multiplied by kappa and the batch size by lambda:

        lr:      kappa = gamma,                    lambda = 1
        batch:   kappa = 1,                        lambda = 1 / gamma^2
        hybrid:  kappa = sqrt((1 + gamma^2) / 2),  lambda = (1 + 1 / gamma^2) / 2
        poly:    kappa_m = ((M - m) / (M - m + 1))^p from stage m to m + 1,  lambda = 1

    For hybrid kappa^2 and lambda are the means of those of lr and batch; for gamma = 1 / sqrt(2) kappa and lambda are
    .8660 and 1.5, as in the paper.  poly does not use gamma: stage m of M has eta_m = eta_1 ((M - m + 1) / M)^p,
    without the factor zero of the paper, gamma_M, which would follow the last stage; with one epoch per stage it is the
    polynomial decay of the authors' code.

    When batches have reached the largest size, the step size is multiplied by gamma instead, so that delta falls as
    before; this is logged.
    """

    kind: Literal["graduated"] = "graduated"
    """Chooses this schedule."""
    mode: Literal["lr", "batch", "hybrid", "poly"] = "hybrid"
    """Whether the step size changes between stages ("lr", "poly"), the batch size ("batch"), or both ("hybrid")."""
    stages: Annotated[int, Field(gt=0, le=1_000_000)] = 5
    """Number of stages."""
    gamma: Annotated[float, Field(ge=1e-6, lt=1)] = math.sqrt(0.5)
    """Factor on the smoothing degree delta from one stage to the next; not used by "poly"."""
    power: Annotated[float, Field(gt=0, le=1000)] = 0.9
    """Exponent of "poly"."""
    largest_batch: Events | None = None
    """Largest batch size; by default the number of training events [events]."""

    @property
    def growth(self) -> float:
        """Factor lambda on the batch size from one stage to the next."""
        factors = {"batch": self.gamma**-2, "hybrid": (1 + self.gamma**-2) / 2}
        return factors.get(self.mode, 1.0)

    def degree(self, stage: int) -> float:
        """Planned delta of a stage, numbered from 1, over that of the first."""
        if self.mode == "poly":
            return float(((self.stages - stage + 1) / self.stages) ** self.power)
        return float(self.gamma ** (stage - 1))

    def plan(
        self, epochs: int, learning_rate: float, batch_size: int, largest_batch: int | None = None
    ) -> tuple[EpochPlan, ...]:
        """Plan the epochs, in stages whose lengths differ by one at most.

        Arguments, result and errors as for `ConstantSettings.plan`; more stages than epochs are an error.

        Example:
            >>> plan = GraduatedSettings(mode="hybrid", stages=3).plan(3, 0.1, 32)
            >>> [(round(epoch.learning_rate, 4), epoch.batch_size) for epoch in plan]
            [(0.1, 32), (0.0866, 48), (0.075, 72)]
        """
        limits = [limit for limit in (self.largest_batch, largest_batch) if limit is not None]
        largest = min(limits, default=None)
        first = _saturated_start(epochs, learning_rate, batch_size, largest)
        if 0 < epochs < self.stages:
            message = f"{self.stages} stages of a graduated schedule need as many epochs, found {epochs}."
            raise TrainingError(message)
        numbers = range(1, self.stages + 1)
        if largest is not None and first == batch_size and self._wished_batch(self.stages, first) > largest:
            stage = next(number for number in numbers if self._wished_batch(number, first) > largest)
            _LOG.warning("Batches grow to %d events; from stage %d on the step size decays instead.", largest, stage)
        stages = [self._stage(number, learning_rate, first, largest) for number in numbers]
        return tuple(stages[epoch * self.stages // epochs] for epoch in range(epochs))

    def _wished_batch(self, number: int, first: int) -> int:
        return round(first * self.growth ** (number - 1))

    def _stage(self, number: int, learning_rate: float, first: int, largest: int | None) -> EpochPlan:
        size, growth = self._wished_batch(number, first), self.growth ** (number - 1)
        if largest is not None and size > largest:
            size, growth = largest, largest / first
        return EpochPlan(learning_rate * self.degree(number) * math.sqrt(growth), size, number)


ScheduleChoice = ConstantSettings | CosineSettings | GraduatedSettings
ScheduleSettings = Annotated[ScheduleChoice, Field(discriminator="kind")]


def advice(optimizer: OptimizerChoice, schedule: ScheduleChoice) -> tuple[str, ...]:
    """Advice on combinations of an optimiser and a schedule that do not work as intended.

    Returns:
        Sentences; empty if there is no advice.

    Example:
        >>> from zsig_hep.learning.optimisation.optimizers import AdamSettings
        >>> len(advice(AdamSettings(), GraduatedSettings())), advice(SGDSettings(), GraduatedSettings(mode="lr"))
        (1, ())
    """
    if not isinstance(schedule, GraduatedSettings):
        return ()
    sentences = []
    if isinstance(optimizer, EveSettings) and schedule.growth > 1:
        sentences.append(
            "Eve undoes the growth of batches: its feedback is proportional to the noise of the loss, so that its "
            "step increases with the square root of the batch size; choose the mode lr or poly, or another optimiser."
        )
    if not isinstance(optimizer, SGDSettings):
        sentences.append(
            f"The smoothing degree delta is derived for SGD with and without momentum; for {optimizer.label} there is "
            "no theory, and delta only shows how step and batch size change."
        )
    elif optimizer.nesterov:
        sentences.append("The smoothing degree delta is derived for heavy-ball momentum, not for Nesterov momentum.")
    if isinstance(optimizer, SGDSettings) and optimizer.momentum > 0 and schedule.growth > 1:
        sentences.append(
            "With momentum a part of delta, which is proportional to the norm of the full gradient, does not fall as "
            "batches grow."
        )
    return tuple(sentences)


def _saturated_start(epochs: int, learning_rate: float, batch_size: int, largest: int | None) -> int:
    """Check the arguments of a plan; return the first batch size, limited to the largest."""
    _require(epochs >= 0, "a number of epochs >= 0", epochs)
    _require(learning_rate > 0, "a learning rate > 0", learning_rate)
    _require(batch_size >= 1, "a batch size >= 1", batch_size)
    _require(largest is None or largest >= 1, "a largest batch >= 1", largest)
    if largest is None or batch_size <= largest:
        return batch_size
    _LOG.warning(
        "Batches of %d events are not possible; all batches have the largest size of %d events.", batch_size, largest
    )
    return largest


def _require(condition: bool, needed: str, found: object) -> None:
    if not condition:
        message = f"A schedule needs {needed}, found {found}."
        raise TrainingError(message)
