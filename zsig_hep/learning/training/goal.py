"""The goal of a training: the objective of the selection, and the working point of a score."""

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
    """The working point of a score.

    Attributes:
        figure: figure of merit F; NaN if no threshold qualifies.
        slopes: dF/dy_p in the yield of each process, shape (P,).
        signal_efficiency: NaN if no threshold qualifies.
    """

    figure: float
    slopes: Floats
    signal_efficiency: float


class Judge(Protocol):
    """A function that finds the working point of a score."""

    def __call__(
        self, score: Floats, weight: Floats, process: npt.NDArray[np.int64], processes: ProcessTable
    ) -> Judgement:
        """Find the working point of events with yields `weight`; `process` indexes `processes`, without data."""


@dataclass(frozen=True)
class Goal:
    """The objective of the selection for which a classifier is trained.

    Attributes:
        objective: what is maximised, with a differentiable figure of merit.
        judge: finds working points; a training with rounds needs it.  A training can be resumed only with a judge of
            the same repr.
        processes: of the analysis, none of them data; None if they are not known.
    """

    objective: Objective
    judge: Judge | None = None
    processes: ProcessTable | None = None

    @property
    def tells_processes_apart(self) -> bool:
        """Whether processes of one role can have different effective weights; see `Objective.tells_processes_apart`."""
        return self.objective.tells_processes_apart(self.processes)

    @property
    def required_judge(self) -> Judge:
        """The judge.

        Raises:
            TrainingError: if it is None.
        """
        if self.judge is None:
            message = "A training in rounds needs a goal with a judge: zsig_hep.selection.training_goal(settings)."
            raise TrainingError(message)
        return self.judge

    def among(self, processes: ProcessTable) -> "Goal":
        """This goal with the processes of an analysis."""
        return replace(self, processes=processes)
