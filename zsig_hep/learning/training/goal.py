"""What a training is told of the selection that its scores are made for."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import TrainingError
from zsig_hep.representation import ShortRepr
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Judgement(ShortRepr):
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
        self, score: Floats, weight: Floats, process: npt.NDArray[np.int64], processes: ProcessTable
    ) -> Judgement:
        """Judge the scores of events with yields `weight`; `process` indexes `processes`, none of which is data."""


@dataclass(frozen=True)
class Goal:
    """What the selection will be used for.

    Attributes:
        objective: what is maximised, with a differentiable figure of merit.
        judge: finds working points; a training with rounds needs it.  Its repr tells goals apart when a training is
            resumed.
        processes: of the analysis, none of them data; None where they are not known yet.
    """

    objective: Objective
    judge: Judge | None = None
    processes: ProcessTable | None = None

    @property
    def tells_processes_apart(self) -> bool:
        """Whether processes of one role differ for the figure of merit, which is where effective weights differ."""
        return self.objective.tells_processes_apart(self.processes)

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

    def among(self, processes: ProcessTable) -> "Goal":
        """The same goal for the processes of an analysis."""
        return replace(self, processes=processes)
