"""Settings of a training, and the choice of the device."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator

from zsig_hep.errors import TrainingError
from zsig_hep.learning.classifier.embedding import PeriodicSettings
from zsig_hep.learning.classifier.network import Activation
from zsig_hep.learning.classifier.preprocessing import ImputationRule
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.losses.z_loss import ZLossSettings
from zsig_hep.learning.optimisation.optimizers import AdamSettings, AdamWSettings, OptimizerSettings
from zsig_hep.learning.optimisation.schedules import CosineSettings, ScheduleSettings
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.sample import NegativeWeights
from zsig_hep.settings import Epochs, Events, Name, NonNegativeNumber, PositiveNumber, Seed, Settings

_Width = Annotated[int, Field(gt=0, le=65_536)]


class PhaseSettings(Settings):
    """A phase of the training with one loss."""

    epochs: Epochs
    """Number of passes over the training events; 0 omits the phase."""
    batch_size: Events
    """Number of events of all processes in a batch."""
    learning_rate: PositiveNumber
    """Step size of the optimiser at the start of the phase."""
    optimizer: OptimizerSettings = AdamSettings()
    """The optimiser of the phase, by `name`."""
    schedule: ScheduleSettings = CosineSettings()
    """The schedule of step size and batch size over the phase, by `kind`."""


class LossPhaseSettings(PhaseSettings):
    """A phase of the training with its loss."""

    loss: LossSettings
    """The loss of the phase, by `name`."""
    epochs: Epochs = Field(default=15, gt=0)
    batch_size: Events = 4096
    learning_rate: PositiveNumber = 3e-4


class WarmStartSettings(PhaseSettings):
    """The first phase, with weighted cross entropy."""

    epochs: Epochs = 15
    batch_size: Events = 256
    learning_rate: PositiveNumber = 3e-3
    optimizer: OptimizerSettings = AdamWSettings()


class MainSettings(PhaseSettings):
    """The second phase, with the chosen loss; larger batches reduce the bias of set losses."""

    epochs: Epochs = 15
    batch_size: Events = 4096
    learning_rate: PositiveNumber = 3e-4


class TrainingSettings(Settings):
    """The training: features, losses, networks and phases.

    The phase `warm_start` has the weighted cross entropy, `main` the loss; the baseline has the cross entropy in both.
    `phases` replaces `loss`, `warm_start` and `main`.
    """

    features: tuple[Name, ...] | None = Field(default=None, examples=[["dimuon_mass", "dijet_mass"]])
    """Names of the input features of the networks; by default all that `columns` returns."""
    missing: Mapping[Name, ImputationRule] = Field(
        default_factory=dict, examples=[{"third_jet_pt": 20.0, "tau_mass": "median"}]
    )
    """Replacement of missing values (NaN) of features: mean or median over the training events, or a number. Without a
    rule it is the median, and whether the feature is missing is a further input of the networks.
    """
    negative_weights: NegativeWeights = "refuse"
    """Treatment of negative weights in the training: "refuse" is an error, "absolute" takes their absolute values,
    "drop" omits the events; both preserve the yield of each process. Yields and significances always have the signed
    weights.
    """
    loss: LossSettings | None = Field(default=None, examples=[{"name": "z", "error": "sigmoid", "relative_eps": 0.05}])
    """Loss of the main phase, by `name`; by default effective weights if backgrounds have uncertainties of their own or
    signals are separate hypotheses, else the Z loss with the sigmoid error.
    """
    phases: tuple[LossPhaseSettings, ...] = Field(
        default=(),
        max_length=100,
        examples=[[{"loss": {"name": "bce"}, "epochs": 20}, {"loss": {"name": "z"}, "optimizer": {"name": "eve"}}]],
    )
    """Phases in their order, instead of `loss`, `warm_start` and `main`; the training is named after the last loss."""
    baseline: bool = True
    """Whether a classifier with weighted cross entropy is trained too, for comparison."""
    hidden: tuple[_Width, ...] = Field(default=(48, 48), max_length=100, examples=[[64, 64, 64]])
    """Widths of the hidden layers; without any, and with `embedding: none`, the model is linear."""
    embedding: Literal["periodic", "none"] | PeriodicSettings = Field(
        default="periodic", examples=["none", {"frequencies": 16}]
    )
    """What the networks are given of each feature: periodic functions of it beside itself ("periodic", or the numbers
    of these), or the feature only ("none").
    """
    activation: Activation = "silu"
    """Activation function of the hidden layers."""
    seeds: int = Field(default=2, gt=0, le=1000)
    """Number of networks for each fold, whose scores are averaged."""
    seed: Seed = 1
    """Seed of the first network of each fold; the next networks have the next numbers."""
    warm_start: WarmStartSettings = WarmStartSettings()
    """First phase, with weighted cross entropy."""
    main: MainSettings = MainSettings()
    """Second phase, with the loss."""
    patience: Epochs = Field(default=8, gt=0)
    """Number of epochs without a better validation loss of any network after which a phase ends; phases with a
    graduated schedule are not stopped early.
    """
    weight_decay: NonNegativeNumber = 0.0
    """L2 penalty on the matrices of the layers, with optimisers other than AdamW, which has its own `decay`."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device of the training; "auto" takes an NVIDIA GPU if there is one, else the CPU."""

    @model_validator(mode="after")
    def _loss_stands_once(self) -> Self:
        if self.phases and self.loss is not None:
            message = "`loss` is that of the last of the `phases`; remove one of the two"
            raise ValueError(message)
        losses = [phase.loss for phase in self.phases]
        if losses and losses[-1] == BCELossSettings() and any(loss != losses[-1] for loss in losses):
            message = "the last of the `phases` names the training; the weighted cross entropy is its baseline"
            raise ValueError(message)
        return self

    @property
    def periodic(self) -> PeriodicSettings | None:
        """The numbers of the embedding; None without one."""
        if isinstance(self.embedding, PeriodicSettings):
            return self.embedding
        return PeriodicSettings() if self.embedding == "periodic" else None

    @property
    def is_linear(self) -> bool:
        """Whether the model is linear in the features, which are then not bounded either."""
        return not self.hidden and self.periodic is None

    def main_loss(self, goal: Goal | None = None) -> LossSettings:
        """The chosen loss: `loss`, or that of the last of the `phases`.

        By default effective weights if these can differ between processes, else the Z loss with the sigmoid error.
        """
        if self.phases:
            return self.phases[-1].loss
        if self.loss is not None:
            return self.loss
        return EffectiveWeightsLossSettings() if goal and goal.tells_processes_apart else ZLossSettings(error="sigmoid")

    def losses(self, goal: Goal | None = None) -> dict[str, LossSettings]:
        """Losses of the main phase by name: the chosen one, and that of the baseline."""
        chosen, baseline = self.main_loss(goal), BCELossSettings()
        losses: dict[str, LossSettings] = {chosen.name: chosen}
        if self.baseline and chosen != baseline:
            losses["weighted_bce" if chosen.name == "bce" else "bce"] = baseline
        return losses


def choose_device(name: str) -> torch.device:
    """Device of the setting `device`.

    Raises:
        TrainingError: if the device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available[name]:
        there = ", ".join(key for key, present in available.items() if present)
        message = f"The device {name!r} is not available here; there is: {there}. `auto` takes cuda or else cpu."
        raise TrainingError(message)
    return torch.device(name)
