"""Settings of a training, and the choice of the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

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

ClassifierKind = Literal["network", "boosted_trees"]

_Width = Annotated[int, Field(gt=0, le=65_536)]


_UNUSED_BY_TREES = {
    "missing",
    "phases",
    "hidden",
    "embedding",
    "activation",
    "warm_start",
    "main",
    "patience",
    "weight_decay",
}


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


class TreeSettings(Settings):
    """Boosted trees, with xgboost: cross entropy first, then the loss, each round adding one tree to a forest."""

    depth: int = Field(default=5, gt=0, le=16)
    """Largest number of splits on the way to a leaf."""
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    """Factor on the values of the leaves of each tree."""
    rounds: int = Field(default=1000, gt=0, le=100_000)
    """Largest number of rounds with cross entropy."""
    significance_rounds: int = Field(default=200, gt=0, le=100_000)
    """Largest number of further rounds with the loss, where that is another."""
    patience: int = Field(default=30, gt=0, le=100_000)
    """Number of rounds without a better validation loss after which no more trees are added; those up to the best round
    are kept.
    """
    subsample: float = Field(default=0.6, gt=0, le=1)
    """Share of the training events that each tree is given."""
    feature_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the features that each tree is given."""
    minimum_child_weight: NonNegativeNumber = 5.0
    """Smallest sum of curvatures in a leaf: events count p(1 - p) in the cross entropy, with weights of mean one."""
    l2_penalty: NonNegativeNumber = 5.0
    """Penalty on the squared values of the leaves, added to their curvature."""
    bins: int = Field(default=256, gt=1, le=65_536)
    """Number of quantiles of each feature between which trees can split."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_linear_booster(cls, content: object) -> object:
        if isinstance(content, Mapping) and "booster" in content:
            message = (
                "there is no choice of a booster: those of trees only have the curvature that the losses give. A linear "
                "model with any loss is `classifier: network` with `hidden: []` and `embedding: none`"
            )
            raise ValueError(message)
        return content


@dataclass(frozen=True)
class PlannedTraining:
    """One classifier to train.

    Attributes:
        name: of its folder, its columns and its histograms, unique in an analysis.
        label: for legends and tables.
        classifier: what is trained.
        loss: of the main phase.
    """

    name: str
    label: str
    classifier: ClassifierKind
    loss: LossSettings

    @classmethod
    def of(cls, classifier: ClassifierKind, name: str, loss: LossSettings) -> "PlannedTraining":
        """A training named after its loss; names and labels of trees say so, whatever else is trained."""
        if classifier == "network":
            return cls(name, loss.label, classifier, loss)
        return cls(f"trees_{name}", f"trees, {loss.label}", classifier, loss)


class TrainingSettings(Settings):
    """The training: features, losses, networks or boosted trees, and phases.

    The phase `warm_start` has the weighted cross entropy, `main` the loss; the baseline has the cross entropy in both.
    `phases` replaces `loss`, `warm_start` and `main`. Boosted trees have the same folds, seeds, features, weights and
    losses, and `trees` instead of all that networks are made and trained with.
    """

    classifier: ClassifierKind | Annotated[tuple[ClassifierKind, ...], Field(min_length=1, max_length=2)] = Field(
        default="network", examples=["boosted_trees", ["network", "boosted_trees"]]
    )
    """What is trained: networks, boosted trees, or a list of both, which the report shows beside each other; the first
    is the one that is fitted and exported.
    """
    features: tuple[Name, ...] | None = Field(default=None, examples=[["dimuon_mass", "dijet_mass"]])
    """Names of the input features; by default all that `columns` returns."""
    missing: Mapping[Name, ImputationRule] = Field(
        default_factory=dict, examples=[{"third_jet_pt": 20.0, "tau_mass": "median"}]
    )
    """Replacement of missing values (NaN) of features: mean or median over the training events, or a number. Without a
    rule it is the median, and whether the feature is missing is a further input of the networks. Boosted trees take NaN
    as it is.
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
    trees: TreeSettings = TreeSettings()
    """Settings of boosted trees."""
    seeds: int = Field(default=2, gt=0, le=1000)
    """Number of networks, or forests of boosted trees, for each fold, whose scores are averaged."""
    seed: Seed = 1
    """Seed of the first network or forest of each fold; the next have the next numbers."""
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

    @field_validator("classifier")
    @classmethod
    def _each_kind_once(
        cls, kinds: ClassifierKind | tuple[ClassifierKind, ...]
    ) -> ClassifierKind | tuple[ClassifierKind, ...]:
        if not isinstance(kinds, str) and len(set(kinds)) != len(kinds):
            message = f"{kinds[0]!r} stands twice; name each classifier once"
            raise ValueError(message)
        return kinds

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

    @property
    def classifiers(self) -> tuple[ClassifierKind, ...]:
        """What is trained, the main classifier first."""
        return (self.classifier,) if isinstance(self.classifier, str) else self.classifier

    def losses(self, goal: Goal | None = None) -> dict[str, LossSettings]:
        """Losses of the main phase by name: the chosen one, and that of the baseline."""
        chosen, baseline = self.main_loss(goal), BCELossSettings()
        losses: dict[str, LossSettings] = {chosen.name: chosen}
        if self.baseline and chosen != baseline:
            losses["weighted_bce" if chosen.name == "bce" else "bce"] = baseline
        return losses

    def trainings(self, goal: Goal | None = None) -> tuple[PlannedTraining, ...]:
        """The classifiers to train: each kind with the chosen loss, followed by its baseline.

        Example:
            >>> settings = TrainingSettings(classifier=("network", "boosted_trees"))
            >>> [training.name for training in settings.trainings()]
            ['z', 'bce', 'trees_z', 'trees_bce']
        """
        losses = self.losses(goal).items()
        return tuple(PlannedTraining.of(kind, name, loss) for kind in self.classifiers for name, loss in losses)

    def configuration_of(self, classifier: ClassifierKind) -> dict[str, object]:
        """The settings that the result of a training depends on besides its loss and the device, as JSON."""
        unused = _UNUSED_BY_TREES if classifier == "boosted_trees" else {"trees"}
        return self.model_dump(mode="json", exclude={"classifier", "baseline", "loss", "device", *unused})


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
