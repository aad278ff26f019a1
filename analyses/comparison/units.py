"""What a sample must offer to be compared on: events to train on, and a judge of what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsig_hep.learning import TrainingSample, TrainingSettings
from zsig_hep.learning.classifier.calibration import signal_quantiles
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.members import Member
from zsig_hep.selection import WorkingPointSettings

EFFICIENCIES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)

Floats = npt.NDArray[np.float64]
Logits = npt.NDArray[np.float32]
Predict = Callable[[npt.NDArray[np.float32]], Logits]
"""Features (N, F) to the outputs (M, N) of all members."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Seeds that are trained as one ensemble.

    Attributes:
        seeds: the seeds, in the order of the members for a toy; a single one for a search.
        sample: events.
        members: the networks.
        goal: what rounds of a training are judged by.
    """

    seeds: tuple[int, ...]
    sample: TrainingSample
    members: tuple[Member, ...]
    goal: Goal

    def quantiles(self, predict: Predict) -> npt.NDArray[np.float32]:
        """Outputs of each member at given shares of its validation signal, as in a trained classifier."""
        rows = []
        for index, member in enumerate(self.members):
            signal = member.validation[self.sample.is_signal[member.validation]]
            rows.append(signal_quantiles(predict(self.sample.features[signal])[index], self.sample.weights[signal]))
        return np.stack(rows)


class Case(Protocol):
    """A sample that methods are compared on."""

    @property
    def name(self) -> str:
        """Key in the results."""

    @property
    def title(self) -> str:
        """For tables."""

    @property
    def settings(self) -> WorkingPointSettings:
        """How a working point is chosen."""

    @property
    def training(self) -> TrainingSettings:
        """Preprocessing and activation of the networks."""

    @property
    def hidden(self) -> Mapping[str, tuple[int, ...]]:
        """Hidden layers of each model."""

    @property
    def epochs(self) -> tuple[int, int]:
        """Epochs of the warm start and of the main phase."""

    @property
    def batch_sizes(self) -> tuple[int, int]:
        """Likewise."""

    @property
    def warm_start_step(self) -> float:
        """Step size of the MLP's warm start."""

    @property
    def has_uncertainties(self) -> bool:
        """Whether the figure of merit has systematic uncertainties of the backgrounds."""

    def units(self, seeds: Sequence[int]) -> list[Unit]:
        """Lay out the ensembles of some seeds."""

    def judge(self, unit: Unit, predict: Predict) -> list[dict[str, object]]:
        """Numbers of each seed of a unit."""

    def limits(self) -> dict[str, list[float]]:
        """The best that is possible, by name: significances at `EFFICIENCIES`, then at the working point; may be empty."""
