"""Settings of a training."""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from zsig_hep.errors import TrainingError
from zsig_hep.learning.classifier.network import Activation
from zsig_hep.learning.classifier.preprocessing import ImputationRule
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.losses.z_loss import ZLossSettings
from zsig_hep.learning.optimisation.optimizers import AdamSettings, OptimizerSettings
from zsig_hep.learning.optimisation.schedules import CosineSettings, ScheduleSettings
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.sample import NegativeWeights
from zsig_hep.settings import Settings


class PhaseSettings(Settings):
    """One stretch of training with one loss."""

    epochs: NonNegativeInt
    """Passes over the training events; 0 leaves the phase out."""
    batch_size: PositiveInt
    """Events in a batch, of all processes together."""
    learning_rate: PositiveFloat
    """Step size of the optimiser at the start of the phase."""
    optimizer: OptimizerSettings = AdamSettings()
    """The optimiser of the phase, by `name`."""
    schedule: ScheduleSettings = CosineSettings()
    """How step size and batch size change over the phase, by `kind`."""


class LossPhaseSettings(PhaseSettings):
    """One stretch of training that names its loss."""

    loss: LossSettings
    """What the phase minimises, by `name`."""
    epochs: PositiveInt = 15
    batch_size: PositiveInt = 4096
    learning_rate: PositiveFloat = 3e-4


class WarmStartSettings(PhaseSettings):
    """The warm start with the weighted cross entropy."""

    epochs: NonNegativeInt = 20
    batch_size: PositiveInt = 1024
    learning_rate: PositiveFloat = 3e-3


class MainSettings(PhaseSettings):
    """The phase with the loss that was chosen; a set loss wants larger batches, since it is biased on small ones."""

    epochs: NonNegativeInt = 15
    batch_size: PositiveInt = 4096
    learning_rate: PositiveFloat = 3e-4


class TrainingSettings(Settings):
    """What is trained, on which features, for how long.

    `warm_start` is run with the weighted cross entropy, `main` with the loss; the baseline runs the same two phases
    with the cross entropy in both.  `phases` replaces the two, and `loss` with them, by any number of stretches.
    """

    features: tuple[str, ...] | None = Field(default=None, examples=[["dimuon_mass", "dijet_mass"]])
    """Names of the features that the networks see; left out, all that `columns` returns."""
    missing: Mapping[str, ImputationRule] = Field(
        default_factory=dict, examples=[{"third_jet_pt": 20.0, "tau_mass": "median"}]
    )
    """What replaces a missing value (NaN) of a feature: its mean or median over the training events, or a number; a
    feature without a rule may not be missing.
    """
    negative_weights: NegativeWeights = "refuse"
    """What the training does with negative weights: "refuse" stops with a message, "absolute" takes their absolute
    values, "drop" leaves the events out; both keep the yield of the process, and every quoted number has the signed
    weights.
    """
    loss: LossSettings | None = Field(default=None, examples=[{"name": "z", "error": "sigmoid", "relative_eps": 0.05}])
    """Loss of the main phase, by `name`; left out, effective weights where backgrounds have uncertainties of their own,
    else the Z loss with the sigmoid error.
    """
    phases: tuple[LossPhaseSettings, ...] = Field(
        default=(),
        examples=[[{"loss": {"name": "bce"}, "epochs": 20}, {"loss": {"name": "z"}, "optimizer": {"name": "eve"}}]],
    )
    """Phases in their order, instead of `loss`, `warm_start` and `main`; the loss of the last one names the training.
    """
    baseline: bool = True
    """Whether a classifier with weighted cross entropy is trained beside, for comparison."""
    hidden: tuple[PositiveInt, ...] = Field(default=(48, 48), examples=[[64, 64, 64]])
    """Widths of the hidden layers."""
    activation: Activation = "silu"
    """Activation function of the hidden layers."""
    seeds: PositiveInt = 2
    """Networks for each fold, whose scores are averaged."""
    seed: NonNegativeInt = 1
    """Seed of the first network of a fold; the others count up from it."""
    warm_start: WarmStartSettings = WarmStartSettings()
    """First phase, with weighted cross entropy."""
    main: MainSettings = MainSettings()
    """Second phase, with the loss."""
    patience: PositiveInt = 8
    """Epochs without a better validation loss of any network after which a phase ends; graduated schedules run to their end."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty on the weights of the networks."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the networks are trained; "auto" takes an NVIDIA GPU where there is one."""

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

    def main_loss(self, goal: Goal | None = None) -> LossSettings:
        """The loss that was chosen: `loss`, or that of the last of the `phases`.

        Where none was named: the effective weights if the goal tells processes apart, which is where they gain;
        otherwise the Z loss with the sigmoid error.
        """
        if self.phases:
            return self.phases[-1].loss
        if self.loss is not None:
            return self.loss
        return EffectiveWeightsLossSettings() if goal and goal.tells_processes_apart else ZLossSettings(error="sigmoid")

    def losses(self, goal: Goal | None = None) -> dict[str, LossSettings]:
        """Losses of the main phase by name: the one that was chosen, and the cross entropy where it is wanted beside."""
        chosen, baseline = self.main_loss(goal), BCELossSettings()
        losses: dict[str, LossSettings] = {chosen.name: chosen}
        if self.baseline and chosen != baseline:
            losses["weighted_bce" if chosen.name == "bce" else "bce"] = baseline
        return losses


def choose_device(name: str) -> torch.device:
    """Turn a device setting into a device; `auto` takes a GPU where there is one.

    Raises:
        TrainingError: if the device asked for is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device("cuda" if available["cuda"] else "cpu")
    if not available[name]:
        there = ", ".join(key for key, present in available.items() if present)
        message = f"The device {name!r} is not available here; there is: {there}. `auto` takes the best one."
        raise TrainingError(message)
    return torch.device(name)
