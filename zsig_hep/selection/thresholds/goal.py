"""What a training is told of the selection that its scores are made for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.learning.training.goal import Goal, Judgement
from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.events import Floats
from zsig_hep.selection.figure_of_merit import WorkingPointSettings, significance
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.selection.thresholds.working_points import WorkingPoint, choose_working_point

# The share of a hypothesis in the effective weights of "minimum" falls with (smallest Z / its Z) to this power: the
# derivative of the smallest alone would jump between hypotheses from round to round.
_SHARPNESS = 4


@dataclass(frozen=True)
class WorkingPointJudge:
    """Judges scores at the working point that the settings choose; see `zsig_hep.learning.training.goal.Judge`.

    Attributes:
        settings: figure of merit and requirements.
    """

    settings: WorkingPointSettings

    def __call__(
        self,
        score: Floats,
        weight: Floats,
        process: npt.NDArray[np.int64],
        process_names: Sequence[str],
        signal: Sequence[bool],
    ) -> Judgement:
        """Choose the threshold and take the derivatives of the figure of merit there.

        Raises:
            InputError: for scores or uncertainties that cannot be used.
        """
        roles: list[Role] = ["signal" if each else "background" for each in signal]
        scan = scan_thresholds(score, weight, process, process_names=process_names, roles=roles, settings=self.settings)
        point = choose_working_point(scan, self.settings)
        if point.significance is None or point.signal_efficiency is None:
            return Judgement(np.nan, np.full(len(roles), np.nan), np.nan)
        return Judgement(point.significance, self._slopes(point, process_names, roles), point.signal_efficiency)

    def _slopes(self, point: WorkingPoint, process_names: Sequence[str], roles: Sequence[Role]) -> Floats:
        yields = np.array([point.yields[name].value for name in process_names])
        variances = np.array([point.yields[name].variance for name in process_names])
        if self.settings.signals != "minimum":
            return np.asarray(significance(yields, variances, process_names, roles, self.settings).slopes)
        alone = self.settings.model_copy(update={"signals": "sum"})
        values, slopes = [], []
        for hypothesis in (row for row, role in enumerate(roles) if role == "signal"):
            absent = [row for row, role in enumerate(roles) if role == "signal" and row != hypothesis]
            kept = np.where(np.isin(np.arange(len(roles)), absent), 0.0, yields)
            z = significance(kept, variances, process_names, roles, alone)
            values.append(float(z.value))
            slopes.append(np.where(np.isin(np.arange(len(roles)), absent), 0.0, z.slopes))
        if min(values) <= 0:
            return np.full(len(roles), np.nan)
        share = (min(values) / np.array(values)) ** _SHARPNESS
        return np.asarray((share / share.sum()) @ np.stack(slopes))


def training_goal(settings: WorkingPointSettings) -> Goal:
    """Tell a training what its scores will be judged by.

    Losses need gradients: in place of an exact Poisson tail they are told of the Asimov significance that it tends to.
    The judge of the rounds takes the figure of merit itself.

    Args:
        settings: of the working point.

    Returns:
        Figure of merit, uncertainties, and the judge of the rounds.

    Example:
        >>> training_goal(WorkingPointSettings()).tells_processes_apart
        False
        >>> training_goal(WorkingPointSettings(
        ...     figure_of_merit="asimov_with_uncertainty", background_uncertainties={"top": 0.3})).tells_processes_apart
        True
    """
    return Goal(
        figure=settings.figure_of_merit.smooth_relative,
        figure_parameters=settings.figure_parameters,
        background_uncertainties=dict(settings.background_uncertainties),
        relative_background_uncertainty=settings.relative_background_uncertainty,
        judge=WorkingPointJudge(settings),
        tells_backgrounds_apart=any(k > 0 for k in settings.background_uncertainties.values()),
        tells_signals_apart=settings.signals != "sum",
    )
