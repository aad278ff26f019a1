"""Settings of a training."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses import BCELossSettings, LossSettings, ZLossSettings
from zsig_hep.learning.network import Activation
from zsig_hep.learning.preprocessing import ImputationRule
from zsig_hep.learning.sample import NegativeWeights
from zsig_hep.settings import Settings


class PhaseSettings(Settings):
    """One stretch of training with one loss."""

    epochs: NonNegativeInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat


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
    with the cross entropy in both.
    """

    features: tuple[str, ...] | None = None
    missing: Mapping[str, ImputationRule] = Field(default_factory=dict)
    negative_weights: NegativeWeights = "refuse"
    loss: LossSettings = ZLossSettings()
    baseline: bool = True
    hidden: tuple[PositiveInt, ...] = (48, 48)
    activation: Activation = "silu"
    seeds: PositiveInt = 2
    seed: NonNegativeInt = 1
    warm_start: WarmStartSettings = WarmStartSettings()
    main: MainSettings = MainSettings()
    patience: PositiveInt = 8
    weight_decay: NonNegativeFloat = 0.0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @property
    def losses(self) -> dict[str, LossSettings]:
        """Losses of the main phase by name: the one that was chosen, and the cross entropy where it is wanted beside."""
        losses: dict[str, LossSettings] = {self.loss.name: self.loss}
        if self.baseline:
            losses.setdefault("bce", BCELossSettings())
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
