"""What the settings of all losses share: the analysis they are built for, and numbers that change over a phase."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator
from torch import nn

from zsig_hep.errors import TrainingError
from zsig_hep.settings import Settings
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable


@dataclass(frozen=True)
class LossContext:
    """What a loss may need to know of the analysis.

    Attributes:
        processes: in the order of the `process` index that the loss is called with, none of them data.
        yields: expected events of each process.
        objective: what the selection maximises.
    """

    processes: ProcessTable
    yields: tuple[float, ...]
    objective: Objective | None = None

    @property
    def process_uncertainties(self) -> tuple[float, ...]:
        """Relative uncertainty of each process, zero where none is declared.

        Raises:
            TrainingError: for an uncertainty of a process that is unknown or signal.
        """
        objective = self.objective or Objective()
        if message := objective.unknown_backgrounds(self.processes):
            raise TrainingError(message)
        return tuple(objective.uncertainties_of(self.processes.names))


class GeometricPath(Settings):
    """A positive number that moves from `start` to `stop` by equal factors over a phase.

    Example:
        >>> round(GeometricPath(start=0.5, stop=0.02).at(0.5), 9)
        0.1
    """

    start: PositiveFloat
    """Value at the start of the phase."""
    stop: PositiveFloat
    """Value at its end."""

    def at(self, progress: float) -> float:
        """Value after a fraction `progress` of the phase."""
        return float(self.start * (self.stop / self.start) ** progress)


class LinearPath(Settings):
    """A number that moves from `start` to `stop` by equal steps over a phase.

    Example:
        >>> LinearPath(start=1.0, stop=0.0).at(0.25)
        0.75
    """

    start: NonNegativeFloat
    """Value at the start of the phase."""
    stop: NonNegativeFloat
    """Value at its end."""

    def at(self, progress: float) -> float:
        """Value after a fraction `progress` of the phase."""
        return float(self.start + (self.stop - self.start) * progress)


class BaseLossSettings(Settings, ABC):
    """What every loss in the analysis file answers; a constant loss keeps the answers given here."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name for legends."""

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Values of a relative eps that the training has to choose from (`relative_eps: auto`), else None."""
        return None

    @abstractmethod
    def build(self, context: LossContext | None = None) -> nn.Module:
        """Make the loss; weights are checked once by the training, not in every step."""

    def at(self, progress: float) -> Self:
        """Settings after a fraction `progress` of a phase, 0 to 1."""
        del progress
        return self

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with an `auto` eps replaced by a number."""
        del relative_eps
        return self


EpsSetting = PositiveFloat | Literal["auto"] | GeometricPath


class EpsSettings(BaseLossSettings):
    """Settings of a loss with an eps relative to the background yield: a number, a path over the phase, or `auto`."""

    relative_eps: EpsSetting | None = Field(examples=[0.05, {"start": 0.3, "stop": 0.05}, "auto"])
    """Ratio of eps to the total background yield: a number, a path over the phase, or "auto", which takes the best of the
    values of `path`; small values lead to tight cuts.
    """
    path: tuple[PositiveFloat, ...] = Field(default=(0.3, 0.1, 0.03, 0.01), min_length=1)
    """Decreasing values that `relative_eps: auto` chooses from."""

    @field_validator("path")
    @classmethod
    def _decreasing(cls, path: tuple[float, ...]) -> tuple[float, ...]:
        if any(later >= earlier for earlier, later in pairwise(path)):
            message = f"the values of eps must decrease along the path, found {list(path)}"
            raise ValueError(message)
        return path

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Values of eps that the training tries where it is `auto`."""
        return self.path if self.relative_eps == "auto" else None

    def at(self, progress: float) -> Self:
        """Settings with eps at its place on the path."""
        if isinstance(self.relative_eps, GeometricPath):
            return self.model_copy(update={"relative_eps": self.relative_eps.at(progress)})
        return self

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with `auto` replaced by a number."""
        return self.model_copy(update={"relative_eps": relative_eps}) if self.eps_path else self

    @property
    def first_eps(self) -> float | None:
        """The number that eps begins with.

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
    """Give back the context where a loss cannot be built without.

    Raises:
        TrainingError: if there is none.
    """
    if context is None:
        message = f"The {loss} needs to know the processes of the analysis: call build(LossContext(...))."
        raise TrainingError(message)
    return context


def start_of(value: float | LinearPath) -> float:
    """First value of a number that may be on a path."""
    return value.start if isinstance(value, LinearPath) else value
