"""What a training is told of the selection that its scores are made for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import TrainingError
from zsig_hep.statistics.significance import DEFAULT_PARAMETERS, FigureOfMerit, FigureParameters

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """How good a score is at its working point.

    Attributes:
        figure: figure of merit there; NaN where no threshold qualifies.
        slopes: dF/dy_p there for every process, per event of yield, shape (P,).
        signal_efficiency: of the working point; NaN where there is none.
    """

    figure: float
    slopes: Floats
    signal_efficiency: float


class Judge(Protocol):
    """Finds the working point of a score and judges it."""

    def __call__(
        self,
        score: Floats,
        weight: Floats,
        process: npt.NDArray[np.int64],
        process_names: Sequence[str],
        signal: Sequence[bool],
    ) -> Judgement:
        """Judge the scores of events with yields `weight`; `signal` tells the role of each process."""


@dataclass(frozen=True)
class Goal:
    """What the selection will be used for.

    Attributes:
        figure: figure of merit, differentiable.
        background_uncertainties: relative systematic uncertainty by background process.
        relative_background_uncertainty: systematic uncertainty that moves all backgrounds together.
        judge: finds working points; a training with rounds needs it.  Its repr tells goals apart when a training is
            resumed.
        tells_backgrounds_apart: whether the figure of merit treats events of two backgrounds differently.
        tells_signals_apart: whether it treats events of two signals differently.
        figure_parameters: numbers in the definition of the figure.
    """

    figure: FigureOfMerit
    background_uncertainties: Mapping[str, float] = field(default_factory=dict)
    relative_background_uncertainty: float = 0.0
    judge: Judge | None = None
    tells_backgrounds_apart: bool = False
    tells_signals_apart: bool = False
    figure_parameters: FigureParameters = DEFAULT_PARAMETERS

    @property
    def tells_processes_apart(self) -> bool:
        """Whether processes of one role differ for the figure of merit, which is where effective weights differ."""
        return self.tells_backgrounds_apart or self.tells_signals_apart

    @property
    def required_judge(self) -> Judge:
        """The judge.

        Raises:
            TrainingError: there is none.
        """
        if self.judge is None:
            message = "A training in rounds needs a goal with a judge: zsig_hep.selection.training_goal(settings)."
            raise TrainingError(message)
        return self.judge

    def among(self, signal: Sequence[bool]) -> "Goal":
        """The same goal among some processes: a single background, or a single signal, has nothing to differ from."""
        signals = sum(signal)
        return replace(
            self,
            tells_backgrounds_apart=self.tells_backgrounds_apart and len(signal) - signals > 1,
            tells_signals_apart=self.tells_signals_apart and signals > 1,
        )
