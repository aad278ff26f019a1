"""The goal of a training: the figure of merit of the selection, evaluated at its working point."""

from dataclasses import dataclass, replace

import numpy as np

from zsig_hep.learning.training.goal import Goal, Judgement
from zsig_hep.selection.events import Floats, Integers, ScoredEvents
from zsig_hep.selection.numbers import as_arrays
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.selection.thresholds.working_points import WorkingPoint, choose_working_point
from zsig_hep.statistics.process_table import ProcessTable

# For signals: minimum, the derivatives are averaged over hypotheses with weights (smallest Z / Z)^_SHARPNESS, since
# those of the smallest Z alone would jump between hypotheses from round to round.
_SHARPNESS = 4


@dataclass(frozen=True)
class WorkingPointJudge:
    """Evaluates scores at the working point that the settings choose; see `zsig_hep.learning.training.goal.Judge`.

    Attributes:
        settings: figure of merit and requirements.
    """

    settings: WorkingPointSettings

    def __call__(self, score: Floats, weight: Floats, process: Integers, processes: ProcessTable) -> Judgement:
        """Choose the threshold and compute the derivatives of the figure of merit there.

        Raises:
            InputError: the scores cannot be scanned; see `scan_thresholds`.
        """
        events = ScoredEvents.from_arrays(score, weight, process, names=processes.names, roles=processes.roles)
        point = choose_working_point(scan_thresholds(events, self.settings), self.settings)
        if point.significance is None or point.signal_efficiency is None:
            return Judgement(np.nan, np.full(len(processes), np.nan), np.nan)
        return Judgement(point.significance, self._slopes(point, processes), point.signal_efficiency)

    def _slopes(self, point: WorkingPoint, processes: ProcessTable) -> Floats:
        objective = self.settings.objective
        yields, variances = as_arrays(point.yields, processes)
        if objective.signals != "minimum":
            return np.asarray(objective.evaluate(yields, variances, processes).slopes)
        alone = replace(objective, signals="sum")
        values, slopes = [], []
        for hypothesis in processes.rows("signal"):
            absent = processes.is_signal & (np.arange(len(processes)) != hypothesis)
            z = alone.evaluate(np.where(absent, 0.0, yields), variances, processes)
            values.append(float(z.value))
            slopes.append(np.where(absent, 0.0, z.slopes))
        if min(values) <= 0:
            return np.full(len(processes), np.nan)
        share = (min(values) / np.array(values)) ** _SHARPNESS
        return np.asarray((share / share.sum()) @ np.stack(slopes))


def training_goal(settings: WorkingPointSettings) -> Goal:
    """The goal of a training whose scores are cut at a working point.

    Losses need gradients, so they use the Asimov significance in place of an exact Poisson tail. The rounds of a
    training are evaluated with the figure of merit itself.

    Args:
        settings: settings of the working point.

    Returns:
        Differentiable figure of merit with its uncertainties, and the evaluation of the rounds.

    Example:
        >>> training_goal(WorkingPointSettings()).tells_processes_apart
        False
        >>> training_goal(WorkingPointSettings(
        ...     figure_of_merit="asimov_with_uncertainty", background_uncertainties={"top": 0.3})).tells_processes_apart
        True
    """
    return Goal(settings.objective.differentiable, WorkingPointJudge(settings))
