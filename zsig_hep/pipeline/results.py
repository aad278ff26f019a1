"""Results of an analysis, loaded or computed from the finished stages when they are first used."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.analysis import Analysis
from zsig_hep.errors import ModelFileError
from zsig_hep.fits import Channels, FitTemplates, build_templates
from zsig_hep.learning import (
    BoostedTrees,
    Classifier,
    LossSettings,
    PlannedTraining,
    RatioModel,
    TrainedEnsemble,
    choose_device,
    load_classifier,
    make_sample,
)
from zsig_hep.ntuples import TABLE_NAME, EventTable
from zsig_hep.ntuples.reading import shape_table_name
from zsig_hep.ntuples.variations import DIRECTIONS, Variation, names_of_kind, varied_name
from zsig_hep.pipeline.fingerprints import Fingerprints
from zsig_hep.pipeline.optimal import OPTIMAL, OPTIMAL_LABEL, OptimalSelection, scored_with_ratios, select_optimally
from zsig_hep.pipeline.output_folder import OutputFolder
from zsig_hep.scoring import ModelMetadata, model_metadata
from zsig_hep.selection import (
    ClassifierEvaluation,
    Comparison,
    CutResult,
    CutSettings,
    HeldOutCategories,
    ImpactTable,
    ScoredClassifier,
    ScoredEvents,
    SelectionExclusion,
    SignificanceUncertainties,
    SystematicTable,
    compare_classifiers,
    cut_sensitivities,
    evaluate_classifier,
    held_out_uncertainties,
    hidden_data,
    hold_out_categories,
    optimise_cuts,
    selection_exclusion,
    systematic_table,
    varied_events,
)
from zsig_hep.statistics import Objective

Floats = npt.NDArray[np.float64]


class Results:
    """Events, classifiers, scores, selections and fit templates of an analysis.

    Args:
        analysis: the analysis.
        output_folder: folder of its stages; a stage must be finished before its results are used.
        table: the selected events; by default they are read from the columns stage.
        fingerprints: of the stages; by default those of the files and settings of the analysis.

    Raises:
        InputError: when something is used, if its stage is not finished with the fingerprint, or a file is not what was
            written.
    """

    def __init__(
        self,
        analysis: Analysis,
        output_folder: OutputFolder,
        table: EventTable | None = None,
        fingerprints: Fingerprints | None = None,
    ) -> None:
        self.analysis, self.output_folder, self._table = analysis, output_folder, table
        self.fingerprints = fingerprints or Fingerprints(analysis)

    @property
    def trainings(self) -> dict[str, PlannedTraining]:
        """The trained classifiers by name: that with the loss of the analysis first, then the baseline if there is one."""
        return self.analysis.trainings

    @property
    def losses(self) -> dict[str, LossSettings]:
        """Losses of the trained classifiers by name."""
        return self.analysis.losses

    @cached_property
    def table(self) -> EventTable:
        """The selected events."""
        if self._table is not None:
            return self._table
        return self._stored_table(TABLE_NAME)

    @cached_property
    def variations(self) -> dict[str, Variation]:
        """Systematic variations by name, each of which varies all of its processes together."""
        return self.analysis.expanded_variations

    @cached_property
    def shapes(self) -> dict[str, EventTable]:
        """Events selected under each direction of a shape variation, by varied name such as "jesUp"."""
        names = [
            varied_name(name, direction)
            for name in names_of_kind(self.variations, "shape")
            for direction in DIRECTIONS
            if direction == "up" or not getattr(self.variations[name], "one_sided", False)
        ]
        return {name: self._stored_table(shape_table_name(name)) for name in names}

    @cached_property
    def classifiers(self) -> dict[str, Classifier | BoostedTrees]:
        """The trained classifiers, by name."""
        return {name: self.classifier(planned) for name, planned in self.trainings.items()}

    @property
    def model_folder(self) -> Path:
        """Folder of the classifier that is trained with the loss of the analysis."""
        return self.output_folder.folder(f"training/{next(iter(self.trainings))}")

    @property
    def model_metadata(self) -> ModelMetadata:
        """Metadata that are needed to apply that classifier: its features, folds, datasets and cuts."""
        ntuples, name = self.analysis.ntuples, next(iter(self.trainings))
        classifier, first = self.classifiers[name], next(each for each in self.evaluations if each.name == name)
        labels = self.analysis.presentation.axis_labels
        return model_metadata(
            classifier,
            fold_seed=ntuples.fold_seed,
            event_identity=ntuples.event_identity,
            datasets=[name for process in self.analysis.processes.values() for name in process.datasets],
            thresholds=first.working_point.thresholds if first.working_point.status == "ok" else (),
            units={name: labels[name] for name in classifier.feature_names if name in labels},
        )

    @cached_property
    def events(self) -> dict[str, ScoredEvents]:
        """The selected events with the out-of-fold scores of each classifier, nominal and under all variations.

        If the settings ask for the optimal score, the first are those with it.
        """
        optimal = {} if self.optimal is None else {OPTIMAL: self.optimal.held_out.events}
        return optimal | {name: self._scored(classifier) for name, classifier in self.classifiers.items()}

    @property
    def main_events(self) -> ScoredEvents:
        """The events with the score that is fitted: the optimal one if asked for, else that of the loss of the analysis."""
        return next(iter(self.events.values()))

    @cached_property
    def ratio_model(self) -> RatioModel | None:
        """The trained likelihood ratios; None unless the optimal score is asked for."""
        if self.analysis.ratio_baseline is None:
            return None
        with self.output_folder.reading("training/ratios", self.fingerprints.ratios, "model.safetensors") as folder:
            model = RatioModel.load(folder)
            self._require_same_sample(model.input_hash, folder)
            return model

    @cached_property
    def optimal(self) -> OptimalSelection | None:
        """The optimal score with its coefficients and cuts; None unless it is asked for."""
        model, baseline = self.ratio_model, self.analysis.ratio_baseline
        if model is None or baseline is None:
            return None
        classifier = self.classifiers[baseline.name]
        events = scored_with_ratios(self.table, self.variations, self.shapes, classifier, model)
        return select_optimally(events, self.analysis.selection, self._generator())

    @cached_property
    def evaluations(self) -> tuple[ClassifierEvaluation, ...]:
        """Evaluation of the optimal score, if it is asked for, and of each classifier, that of the loss of the analysis first."""
        options: dict[str, Any] = {"unblind": self.analysis.unblind, "hidden": self._hidden_in_categories}
        points = {} if self.optimal is None else {OPTIMAL: self.optimal.held_out.point}
        labels = {OPTIMAL: OPTIMAL_LABEL} | {name: planned.label for name, planned in self.trainings.items()}
        return tuple(
            evaluate_classifier(
                name, labels[name], events, self.analysis.selection, working_point=points.get(name), **options
            )
            for name, events in self.events.items()
        )

    @cached_property
    def categories(self) -> HeldOutCategories | None:
        """Score categories with the loss of the analysis; None if the settings have one category."""
        if self.analysis.categories.count == 1:
            return None
        rescored = None if self.optimal is None else self.optimal.held_out.rescored
        return hold_out_categories(self.main_events, self.analysis.selection, self.analysis.categories, rescored)

    @cached_property
    def _hidden_in_categories(self) -> npt.NDArray[np.bool_]:
        """Data in any category while the analysis is blinded, shape [N]."""
        if self.analysis.unblind or self.categories is None:
            return np.zeros(len(self.table), dtype=np.bool_)
        return np.asarray(self.table.is_data & (self.categories.category >= 0))

    def cuts(self, settings: CutSettings) -> CutResult:
        """Rectangular cuts, which need no classifier."""
        return optimise_cuts(self.table, settings, self.analysis.selection, self._generator())

    @cached_property
    def shown(self) -> EventTable:
        """The selected events without the data that a blinded analysis may not show."""
        hidden = self._hidden_in_categories
        if not self.analysis.unblind:
            hidden = hidden | hidden_data([(self.events[each.name], each.working_point) for each in self.evaluations])
        return self.table.select(~hidden) if hidden.any() else self.table

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The first score minus each of the others; empty without others."""
        if len(self.evaluations) < 2:
            return ()
        compared = [
            ScoredClassifier(each.name, self.events[each.name], each.working_point, self._seed_scores(each.name))
            for each in self.evaluations
        ]
        return compare_classifiers(compared, self.analysis.selection, self._generator())

    @cached_property
    def impacts(self) -> ImpactTable:
        """Dependence of the optimal cut with the loss of the analysis on cross sections and uncertainties."""
        return cut_sensitivities(self.main_events, self.analysis.selection, self._generator())

    @cached_property
    def systematics(self) -> Mapping[str, SystematicTable | None]:
        """Systematic variations at the working point of each classifier; None without variations or working point."""
        return {
            each.name: systematic_table(each.working_point, self.events[each.name], self.analysis.selection)
            for each in self.evaluations
        }

    @cached_property
    def uncertainties(self) -> Mapping[str, SignificanceUncertainties | None]:
        """Uncertainties of the held-out significance of each classifier; None without working point."""
        return {
            each.name: held_out_uncertainties(
                each.working_point, self.events[each.name], self._objective, self._generator()
            )
            for each in self.evaluations
        }

    @cached_property
    def exclusions(self) -> Mapping[str, Mapping[str, SelectionExclusion]]:
        """Expected exclusion by classifier and signal; the name of the signal is "" if all signals are summed."""
        processes, objective = self.table.processes.simulated, self._objective
        signals = [""] if objective.signals == "sum" else list(processes.signals)
        found = {
            each.name: {
                signal: selection_exclusion(each.working_point, processes, objective, signal=signal or None)
                for signal in signals
            }
            for each in self.evaluations
        }
        return {name: {signal: each for signal, each in of.items() if each is not None} for name, of in found.items()}

    @cached_property
    def templates(self) -> FitTemplates | None:
        """Templates of the selection with the loss of the analysis, for fits; None without a working point.

        Channels are the score categories if there are any, otherwise the events above the cut.
        """
        point, categories = self.evaluations[0].working_point, self.categories
        if categories is not None and categories.chosen.status == "ok":
            channels = Channels.of_categories(categories.chosen.edges)
        elif point.status == "ok":
            channels = Channels.of_cut(point.thresholds)
        else:
            return None
        return build_templates(
            self.main_events,
            channels,
            self.analysis.export,
            luminosity_ifb=self.table.luminosity_ifb,
            labels=dict(zip(self.table.process_names, self.table.labels, strict=True)),
            unblinded=self.analysis.unblind and bool(self.table.is_data.any()),
            objective=self._objective,
        )

    @property
    def _objective(self) -> Objective:
        return self.analysis.selection.objective

    def _stored_table(self, name: str) -> EventTable:
        with self.output_folder.reading("columns", self.fingerprints.columns, name) as folder:
            return EventTable.from_parquet(folder / name)

    def classifier(self, planned: PlannedTraining) -> Classifier | BoostedTrees:
        """A trained classifier, whether or not the others are finished."""
        expected = self.fingerprints.training(planned)
        with self.output_folder.reading(f"training/{planned.name}", expected, "model.safetensors") as folder:
            classifier = load_classifier(folder)
            self._require_same_sample(classifier.input_hash, folder)
            return classifier

    def _require_same_sample(self, input_hash: str, folder: Path) -> None:
        if input_hash != self._sample_hash:
            message = (
                f"{folder / 'model.safetensors'} was trained on other events than those of this analysis. Repeat "
                "the training with --force."
            )
            raise ModelFileError(message)

    @cached_property
    def _sample_hash(self) -> str:
        return make_sample(self.table, self.analysis.training).hash()

    def _scored(self, classifier: TrainedEnsemble) -> ScoredEvents:
        score = self._scores_of(classifier, self.table)
        shape_scores = {name: self._scores_of(classifier, table) for name, table in self.shapes.items()}
        variations = varied_events(self.table, self.variations, score, self.shapes, shape_scores)
        return ScoredEvents.of_table(self.table, score, variations)

    def _seed_scores(self, name: str) -> Floats | None:
        """Out-of-fold scores of the networks of each seed of a classifier, shape [S, N]; None for the optimal score."""
        if name not in self.classifiers:
            return None
        classifier, table = self.classifiers[name], self.table
        columns = classifier.columns_of(table.feature_names)
        device = choose_device(self.analysis.training.device)
        return classifier.out_of_fold_seed_scores(table.features[:, columns], table.fold, device)

    def _scores_of(self, classifier: TrainedEnsemble, table: EventTable) -> Floats:
        device = choose_device(self.analysis.training.device)
        columns = classifier.columns_of(table.feature_names)
        return classifier.out_of_fold_scores(table.features[:, columns], table.fold, device)

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(self.analysis.training.seed)
