"""The base of the settings of losses: the context they are built for, and numbers that change over a phase."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, field_validator
from torch import nn

from zsig_hep.errors import TrainingError
from zsig_hep.settings import NonNegativeNumber, PositiveNumber, Settings
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable


@dataclass(frozen=True)
class LossContext:
    """Properties of the analysis that a loss can depend on.

    Attributes:
        processes: in the order of the `process` index that the loss is called with, none of them data.
        yields: expected number of events of each process.
        objective: what the selection maximises.
    """

    processes: ProcessTable
    yields: tuple[float, ...]
    objective: Objective | None = None

    @property
    def process_uncertainties(self) -> tuple[float, ...]:
        """Relative uncertainty of each process, zero if none is given.

        Raises:
            TrainingError: for an uncertainty whose name is no background process.
        """
        objective = self.objective or Objective()
        if message := objective.unknown_backgrounds(self.processes):
            raise TrainingError(message)
        return tuple(objective.uncertainties_of(self.processes.names))


class GeometricPath(Settings):
    """A positive number that changes geometrically from `start` to `stop` over a phase.

    Example:
        >>> round(GeometricPath(start=0.5, stop=0.02).at(0.5), 9)
        0.1
    """

    start: PositiveNumber
    """Value at the start of the phase."""
    stop: PositiveNumber
    """Value at the end of the phase."""

    def at(self, progress: float) -> float:
        """Value after a fraction `progress` of the phase."""
        return float(self.start * (self.stop / self.start) ** progress)


class LinearPath(Settings):
    """A number that changes linearly from `start` to `stop` over a phase.

    Example:
        >>> LinearPath(start=1.0, stop=0.0).at(0.25)
        0.75
    """

    start: NonNegativeNumber
    """Value at the start of the phase."""
    stop: NonNegativeNumber
    """Value at the end of the phase."""

    def at(self, progress: float) -> float:
        """Value after a fraction `progress` of the phase."""
        return float(self.start + (self.stop - self.start) * progress)


class BaseLossSettings(Settings, ABC):
    """The base of the settings of losses, with the methods of a loss that does not change over a phase."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name for legends."""

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Values of the relative eps from which the training chooses (`relative_eps: auto`), else None."""
        return None

    @abstractmethod
    def build(self, context: LossContext | None = None) -> nn.Module:
        """Make the loss; it does not check weights, which the training does once."""

    def at(self, progress: float) -> Self:
        """Settings after a fraction `progress` of a phase, 0 to 1."""
        del progress
        return self

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with an `auto` eps replaced by a number."""
        del relative_eps
        return self


EpsSetting = PositiveNumber | Literal["auto"] | GeometricPath


class EpsSettings(BaseLossSettings):
    """Settings of a loss with an eps relative to the background yield."""

    relative_eps: EpsSetting | None = Field(examples=[0.05, {"start": 0.3, "stop": 0.05}, "auto"])
    """Ratio of eps to the total background yield: a number, a path over the phase, or "auto", which tries the values of
    `path` and keeps the best; small values lead to tight cuts.
    """
    path: tuple[PositiveNumber, ...] = Field(default=(0.3, 0.1, 0.03, 0.01), min_length=1, max_length=100)
    """Decreasing values of eps that `relative_eps: auto` tries."""

    @field_validator("path")
    @classmethod
    def _decreasing(cls, path: tuple[float, ...]) -> tuple[float, ...]:
        if any(later >= earlier for earlier, later in pairwise(path)):
            message = f"the values of eps must decrease along the path, found {list(path)}"
            raise ValueError(message)
        return path

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Values of eps that the training tries if it is `auto`, else None."""
        return self.path if self.relative_eps == "auto" else None

    def at(self, progress: float) -> Self:
        """Settings with the value of eps on its path."""
        if isinstance(self.relative_eps, GeometricPath):
            return self.model_copy(update={"relative_eps": self.relative_eps.at(progress)})
        return self

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with `auto` replaced by a number."""
        return self.model_copy(update={"relative_eps": relative_eps}) if self.eps_path else self

    @property
    def first_eps(self) -> float | None:
        """Value of eps at the start of the phase.

        Raises:
            TrainingError: if it is `auto`.
        """
        if self.relative_eps == "auto":
            message = (
                "`relative_eps: auto` is resolved by the training, which tries the values of `path` on the validation "
                "folds; call `with_eps(value)` before `build`."
            )
            raise TrainingError(message)
        return self.relative_eps.start if isinstance(self.relative_eps, GeometricPath) else self.relative_eps


def require_context(context: LossContext | None, loss: str) -> LossContext:
    """Return the context of a loss that cannot be built without one.

    Raises:
        TrainingError: if it is None.
    """
    if context is None:
        message = f"The {loss} needs the processes of the analysis: call build(LossContext(...))."
        raise TrainingError(message)
    return context


def start_of(value: float | LinearPath) -> float:
    """The number itself, or the value at the start of its path."""
    return value.start if isinstance(value, LinearPath) else value
