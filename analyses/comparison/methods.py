"""Losses and optimisers that are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from zsig_hep.learning import LossSettings, TrainingSample
from zsig_hep.learning.losses.lovasz_loss import SUBMODULAR_FIGURES
from zsig_hep.learning.optimisation.optimizers import (
    AdamSettings,
    EveSettings,
    OptimizerChoice,
    RAdamSettings,
    SGDSettings,
)
from zsig_hep.learning.optimisation.schedules import CosineSettings, GraduatedSettings, ScheduleChoice
from zsig_hep.learning.training.goal import Goal

BASELINE = "bce"

ERRORS = ("hinge", "sigmoid", "cross_entropy", "focal")

_PLAIN: dict[str, dict[str, Any]] = {
    "bce": {"name": "bce"},
    "bce_events": {"name": "bce", "weighting": "events"},
    "bce_processes": {"name": "bce", "weighting": "processes"},
    "focal": {"name": "focal"},
    **{f"z_{error}": {"name": "z", "error": error, "relative_eps": "auto"} for error in ERRORS},
}

_SUM = {
    "name": "sum",
    "terms": [
        {"loss": {"name": "z", "error": "sigmoid", "relative_eps": 0.05}},
        {"coefficient": 0.3, "loss": {"name": "bce"}},
    ],
}

SMALL_EPS = {"s_over_sqrt_b_with_uncertainty_of_b", "s_over_sqrt_b_with_process_uncertainties"}
"""Figures that are submodular only for a small eps."""

LABELS = {
    "bce": "weighted BCE",
    "bce_events": "BCE, events equal",
    "bce_processes": "BCE, processes equal",
    "focal": "focal",
    **{f"z_{error}": f"Z loss, {error.replace('_', ' ')}" for error in ERRORS},
    **{f"lovasz_{figure}": f"Lovasz, {figure.replace('_', ' ')}" for figure in SUBMODULAR_FIGURES},
    "inverse_asimov": "1 / q0, soft counts",
    "punzi": "Punzi, soft counts",
    "binned_asimov": "Asimov over bins",
    "soft_significance": "the figure itself, soft counts",
    "sum": "Z loss + 0.3 BCE",
    "effective_weights": "effective weights",
    "effective_weights_z": "effective weights, Z loss",
}
"""Names for tables, in their order."""


def losses(sample: TrainingSample, goal: Goal) -> dict[str, LossSettings]:
    """The losses that make sense for a sample, by name.

    Without systematic uncertainties there are no figures of merit with uncertainty and no effective weights, which would
    be weighted cross entropy. No sample has several signal hypotheses, so there is no loss that combines them. A figure
    with one uncertainty of the whole background gets that of the background before the cut.

    Args:
        sample: for its yields.
        goal: what the selection is judged by.
    """
    overall = overall_uncertainty(sample, goal)
    wanted = dict(_PLAIN)
    for figure, figure_of_merit in SUBMODULAR_FIGURES.items():
        if "uncertaint" in figure and not overall:
            continue
        wanted[f"lovasz_{figure}"] = {"name": "lovasz", "figure": figure, "error": "sigmoid"}
        if figure_of_merit.default_relative_eps is not None:
            wanted[f"lovasz_{figure}"]["relative_eps"] = "auto"
        if "relative_uncertainty" in figure_of_merit.__dataclass_fields__:
            wanted[f"lovasz_{figure}"]["relative_uncertainty"] = overall
    for figure in SMALL_EPS & set(SUBMODULAR_FIGURES):
        if f"lovasz_{figure}" in wanted:
            wanted[f"lovasz_{figure}"]["path"] = _submodular_path(sample, goal)
    wanted["inverse_asimov"] = {"name": "inverse_asimov", "relative_uncertainty": overall}
    for name in ("punzi", "binned_asimov", "soft_significance"):
        wanted[name] = {"name": name}
    wanted["sum"] = _SUM
    if overall:
        wanted["effective_weights"] = {"name": "effective_weights"}
        base = {"name": "z", "error": "sigmoid", "relative_eps": 0.05}
        wanted["effective_weights_z"] = {"name": "effective_weights", "base": base}
    adapter: TypeAdapter[LossSettings] = TypeAdapter(LossSettings)
    return {name: adapter.validate_python(content) for name, content in wanted.items()}


def _submodular_path(sample: TrainingSample, goal: Goal) -> tuple[float, ...]:
    """The default values of a relative eps, lowered by a common factor to k^2 eps < 3/4 for the largest k."""
    background = sample.processes.summed(sample.yields, "background")
    first = min(0.3, 0.7 / max(goal.objective.background_uncertainties.values()) ** 2 / background)
    return tuple(float(first * factor) for factor in (1, 1 / 3, 1 / 10, 1 / 30))


def overall_uncertainty(sample: TrainingSample, goal: Goal) -> float:
    """Relative uncertainty of the whole background before the cut, from independent ones of its processes."""
    background = sample.yields[sample.processes.is_background]
    each = goal.objective.uncertainties_of(sample.processes.backgrounds)
    return float(np.linalg.norm(each * background) / background.sum())


def rounds_of(loss: LossSettings, goal: Goal) -> int:
    """Rounds that the epochs of a loss are shared out over; 1 for one that is trained in one go."""
    if loss.name == "effective_weights":
        return loss.rounds if goal.tells_processes_apart else 1
    return len(loss.eps_path or (None,))


@dataclass(frozen=True)
class OptimizerMethod:
    """An optimiser with its schedule.

    Attributes:
        label: for tables.
        settings: of the optimiser.
        learning_rates: the step sizes that are tried for the MLP; those of linear models are ten times larger.
        is_graduated: whether batches grow by the hybrid graduated schedule; otherwise the step size falls by a cosine.
    """

    label: str
    settings: OptimizerChoice
    learning_rates: tuple[float, ...]
    is_graduated: bool = False

    def schedule(self, epochs: int) -> ScheduleChoice:
        """Five stages, or one per epoch where a round has fewer."""
        return (
            GraduatedSettings(mode="hybrid", stages=max(1, min(5, epochs))) if self.is_graduated else CosineSettings()
        )


OPTIMIZERS = {
    "adam": OptimizerMethod("Adam", AdamSettings(), (3e-4, 1e-3, 3e-3)),
    "radam": OptimizerMethod("RAdam", RAdamSettings(), (3e-4, 1e-3, 3e-3)),
    "eve": OptimizerMethod("Eve", EveSettings(), (1e-4, 3e-4, 1e-3)),
    "sgd": OptimizerMethod("SGD, graduated", SGDSettings(momentum=0.9), (0.01, 0.1, 1.0), is_graduated=True),
}
