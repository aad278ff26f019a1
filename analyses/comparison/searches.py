"""Simulated searches, judged by out-of-fold scores with cuts chosen on other folds."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analyses.compare import refolded
from analyses.comparison.units import EFFICIENCIES, Predict, Unit
from zsig_hep.analysis import Analysis
from zsig_hep.learning import TrainingSettings, make_sample
from zsig_hep.learning.classifier.calibration import signal_share_below
from zsig_hep.learning.training.members import make_members
from zsig_hep.ntuples import EventTable
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPointSettings,
    evaluate_classifier,
    significance_at_signal_efficiency,
    training_goal,
)
from zsig_hep.selection.comparison.quantities import BinnedSignificance, WeightedArea, WeightedLogLoss
from zsig_hep.statistics.objective import Objective

UNCERTAINTIES = {"hmumu": {"dy": 0.03, "ttbar": 0.20}, "leptoquark": {"dy": 0.10, "ttbar": 0.30, "diboson": 0.10}}
"""Relative uncertainties of the searches' backgrounds where there are any."""


@dataclass(frozen=True)
class SearchCase:
    """A simulated search whose seeds are assignments of the events to folds.

    Attributes:
        name: key in the results.
        analysis: the analysis file.
        table: its simulated events.
        background_uncertainties: relative uncertainties by background process.
        epochs: of the warm start and of the main phase.
        batch_sizes: likewise.
        warm_start_step: step size of the MLP's warm start.
    """

    name: str
    analysis: Analysis
    table: EventTable
    background_uncertainties: Mapping[str, float]
    epochs: tuple[int, int]
    batch_sizes: tuple[int, int]
    warm_start_step: float = 3e-3
    hidden: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=lambda: {"linear": (), "mlp": (48, 48)})

    @property
    def title(self) -> str:
        """For tables."""
        return self.name

    @property
    def has_uncertainties(self) -> bool:
        """Whether the figure of merit has systematic uncertainties of the backgrounds."""
        return bool(self.background_uncertainties)

    @property
    def training(self) -> TrainingSettings:
        """Preprocessing and activation as in the analysis file."""
        return self.analysis.training.model_copy(update={"device": "cpu", "loss": None, "phases": ()})

    @cached_property
    def settings(self) -> WorkingPointSettings:
        """As in the analysis file, with the uncertainties."""
        if not self.has_uncertainties:
            return self.analysis.selection
        content = self.analysis.selection.model_dump() | {
            "figure_of_merit": "asimov_with_uncertainty",
            "background_uncertainties": self.background_uncertainties,
        }
        return WorkingPointSettings.model_validate(content)

    def units(self, seeds: Sequence[int]) -> list[Unit]:
        """One ensemble per seed, with a network per fold."""
        units = []
        for seed in seeds:
            sample = make_sample(refolded(self.table, seed), self.training)
            members = make_members(sample.fold, sample.fold_count, [1000 * seed + 1])
            units.append(Unit((seed,), sample, members, training_goal(self.settings)))
        return units

    def judge(self, unit: Unit, predict: Predict) -> list[dict[str, object]]:
        """Held-out significance, out-of-fold significance at the efficiencies, and quantities without a cut."""
        table = refolded(self.table, unit.seeds[0])
        outputs, quantiles = predict(unit.sample.features), unit.quantiles(predict)
        scores = np.empty(len(table.weight))
        for index, member in enumerate(unit.members):
            tested = table.fold == member.fold
            scores[tested] = signal_share_below(outputs[None, index, tested], quantiles[None, index])[0]
        events = ScoredEvents.of_table(table, scores)
        evaluation = evaluate_classifier(self.name, self.name, events, self.settings)
        point = evaluation.working_point
        at = significance_at_signal_efficiency(evaluation.scan, EFFICIENCIES)
        return [
            {
                "at_efficiency": at.value.tolist(),
                "errors_at_efficiency": at.uncertainty.tolist(),
                "working_point": point.significance,
                "simulation_error": point.significance_uncertainty,
                "signal_efficiency": point.signal_efficiency,
            }
            | without_cut(events, unit.goal.objective)
        ]

    def limits(self) -> dict[str, list[float]]:
        """None is known."""
        return {}


def without_cut(events: ScoredEvents, objective: Objective) -> dict[str, object]:
    """What tells classifiers apart without a cut: binned significance, area under the ROC curve, log loss."""
    (binned,) = BinnedSignificance.of_each([events], objective)
    quantities = {
        "binned": binned,
        "area": WeightedArea.of_events(events),
        "log_loss": WeightedLogLoss.of_events(events),
    }
    once = np.ones((1, len(events)))
    return {name: float(quantity.of_counts(once)[0]) for name, quantity in quantities.items()}
