"""The stages of a run; a stage is repeated only if something it depends on has changed."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from zsig_hep.analysis import Analysis
from zsig_hep.errors import AnalysisFileError, InputError
from zsig_hep.fits import write_fit_inputs, write_histograms
from zsig_hep.learning import (
    BoostedTrees,
    PlannedTraining,
    choose_device,
    schedule_advice,
    train,
    train_ratio_model,
    train_trees,
    tree_device,
)
from zsig_hep.names import slugs
from zsig_hep.ntuples import TABLE_NAME, ColumnsResult, EventTable, run_columns
from zsig_hep.ntuples.reading import Executor
from zsig_hep.pipeline.fingerprints import Fingerprints
from zsig_hep.pipeline.galleries import cut_gallery, report_gallery
from zsig_hep.pipeline.output_folder import OutputFolder, command_line, package_versions
from zsig_hep.pipeline.plain import plain
from zsig_hep.pipeline.results import Results
from zsig_hep.pipeline.summary import JsonDict, columns_summary, run_summary, selections_summary, theory_notes
from zsig_hep.presentation import save_figure, write_report
from zsig_hep.scoring import can_export_onnx, export_onnx
from zsig_hep.selection import simulation_caveats

_LOG = logging.getLogger(__name__)

Finish = Callable[[], None]

TrainingProgress = Callable[[str, str, int, int, float], None]
"""Called with the label of the classifier, the phase, the epoch, the number of epochs and the mean validation loss; boosted
trees count forests instead of epochs.
"""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run, none of which changes a result.

    Attributes:
        executor: coffea executor that reads the ntuples.
        workers: number of processes of the executor.
        scheduler: address of a Dask scheduler; None for a local cluster.
        force: whether stages that are current are repeated.
        wait: whether to wait for another run that writes to the output folder; otherwise that is an error.
    """

    executor: Executor = "iterative"
    workers: int = 2
    scheduler: str | None = None
    force: bool = False
    wait: bool = True


@dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        fingerprint: its fingerprint among those of an analysis.
        build: writes its files into a folder; what it returns is called when the folder is in place.
        after: stages that it needs.
    """

    fingerprint: Callable[[Fingerprints], str]
    build: Callable[[Path], Finish | None]
    after: tuple[str, ...] = ()


class Pipeline:
    """One analysis and its output folder.

    Every stage first brings the stages before it up to date. `options.force` repeats the stage that is called, and all
    stages in `run`.

    Args:
        analysis: the analysis.
        output: the output folder; created with the first stage.
        options: options of the run.
        table: the selected events, if they do not come from ntuples; its processes must be those of the analysis.
        announce: called with one line of text when a stage starts.
        training_progress: called after every epoch.

    Raises:
        OutputError: the output folder is an empty path.
        AnalysisFileError: processes or luminosity of the table differ from those of the analysis.
    """

    def __init__(
        self,
        analysis: Analysis,
        output: Path | str,
        options: RunOptions | None = None,
        *,
        table: EventTable | None = None,
        announce: Callable[[str], None] = _LOG.info,
        training_progress: TrainingProgress | None = None,
    ) -> None:
        if table is not None:
            analysis.require_processes(table)
        self.analysis, self.options, self.announce = analysis, options or RunOptions(), announce
        self.training_progress = training_progress
        self.output_folder = OutputFolder(output, wait=self.options.wait, announce=announce)
        self.fingerprints = Fingerprints(analysis, table)
        self.results = Results(analysis, self.output_folder, fingerprints=self.fingerprints)
        self._given_table = table
        self._known: dict[str, str] = {}

    @classmethod
    def of_table(cls, table: EventTable, output: Path | str, *, title: str, **settings: Any) -> Self:
        """A pipeline for a table of events, without an analysis file or ntuples.

        Args:
            table: the selected events, for instance from `EventTable.from_arrays`.
            output: the output folder.
            title: title of the report.
            settings: settings as in an analysis file, such as `training={"seeds": 1}`.

        Raises:
            AnalysisFileError: a setting is not valid; the message lists all of them.
        """
        return cls(Analysis.of_table(table, title=title, **settings), output, table=table)

    def __repr__(self) -> str:
        """Name of the analysis and its output folder."""
        return f"Pipeline({self.analysis.name!r} in {self.output_folder.root})"

    def run(self) -> JsonDict:
        """Run all stages that are not current.

        Returns:
            The summary, as in `report/summary.json`.

        Raises:
            ZsigError: input or settings cannot be used.
        """
        # Raise the errors for an absent device and an absent xgboost before the ntuples are read.
        choose_device(self.analysis.training.device)
        if "boosted_trees" in self.analysis.training.classifiers:
            tree_device(self.analysis.training.device)
        with self._up_to_date(*self._stages):
            return self.summary

    def columns(self) -> JsonDict:
        """Read the ntuples, or take the table: `columns/events.parquet` and `columns/columns.json`.

        Returns:
            The content of `columns.json`.
        """
        with self._up_to_date("columns"):
            return self._content("columns", "columns.json")

    def train(self) -> None:
        """Train the classifier and its baseline, with one folder each under `training/`."""
        with self._up_to_date(*self._trainings):
            pass

    def scan(self) -> JsonDict:
        """Choose the working points on held-out folds: `selection/scores.parquet` and `selection/selection.json`.

        Returns:
            The content of `selection.json`.
        """
        with self._up_to_date("selection"):
            return self._content("selection", "selection.json")

    def cuts(self) -> JsonDict:
        """Optimise rectangular cuts, which needs no training: `cuts/cuts.json` and `cuts/figures/`.

        Returns:
            The content of `cuts.json`.

        Raises:
            AnalysisFileError: the analysis has no variables to cut on.
        """
        if self.analysis.cuts is None:
            message = (
                f"{self.analysis.name} has no cuts to optimise: give the features to cut on, as in `cuts: {{variables: "
                "{dijet_mass: above, dimuon_mass: window}}`."
            )
            raise AnalysisFileError(message)
        with self._up_to_date("cuts"):
            return self._content("cuts", "cuts.json")

    def export(self) -> None:
        """Write files for other programs.

        `export/scores.root` has histograms of the scores of every classifier. `export/fit/` has the fit inputs:
        histograms, a pyhf workspace, datacards and a cabinetry configuration, in one folder per signal if the signals
        are separate hypotheses. `export/model.onnx` is the classifier with the loss of the analysis, if the extra
        `onnx` is installed. Boosted trees are also written as JSON of xgboost, in `export/<name of the training>/`.
        """
        with self._up_to_date("export"):
            pass

    def plot(self) -> JsonDict:
        """Draw the figures and write the report: `report/report.html`, `report/summary.json`, `report/figures/`.

        Returns:
            The summary.
        """
        with self._up_to_date("report"):
            return self.summary

    @property
    def summary(self) -> JsonDict:
        """The summary of the last report.

        Raises:
            InputError: there is no report for the present settings and input.
        """
        return self._content("report", "summary.json")

    @property
    def table(self) -> EventTable:
        """The selected events, from the finished columns stage."""
        return self.results.table

    @cached_property
    def _stages(self) -> dict[str, Stage]:
        """All stages by name, in an order in which each stands behind those that it needs."""
        trainings = {
            f"training/{name}": Stage(
                partial(Fingerprints.training, planned=planned), partial(self._build_training, planned), ("columns",)
            )
            for name, planned in self.analysis.trainings.items()
        }
        if (baseline := self.analysis.ratio_baseline) is not None:
            needed = ("columns", f"training/{baseline.name}")
            trainings["training/ratios"] = Stage(
                lambda known: known.ratios, partial(self._build_ratios, baseline), needed
            )
        cuts = {"cuts": Stage(lambda known: known.cuts, self._build_cuts, ("columns",))}
        if self.analysis.cuts is None:
            cuts = {}
        return {
            "columns": Stage(lambda known: known.columns, self._build_columns),
            **trainings,
            "selection": Stage(lambda known: known.selection, self._build_selection, tuple(trainings)),
            **cuts,
            "export": Stage(lambda known: known.export, self._build_export, ("selection",)),
            "report": Stage(lambda known: known.report, self._build_report, ("selection", *cuts)),
        }

    @property
    def _trainings(self) -> list[str]:
        return [name for name in self._stages if name.startswith("training/")]

    @contextmanager
    def _up_to_date(self, *targets: str) -> Iterator[None]:
        """Build stages that are not current, and yield; another run can change nothing before the block ends.

        If all stages are current, nothing is locked or written.
        """
        self._take_fingerprints()
        needed = self._with_those_before(targets)
        forced = targets if self.options.force else ()
        folder = self.output_folder
        if not forced and all(folder.is_current(name, self._expected(name)) for name in needed):
            yield
            return
        with folder.writing():
            for name in needed:
                if name in forced or not folder.is_intact(name, self._expected(name)):
                    self._build(name)
            yield

    def _with_those_before(self, targets: Iterable[str]) -> list[str]:
        needed = set(targets)
        for name in reversed(self._stages):
            if name in needed:
                needed.update(self._stages[name].after)
        return [name for name in self._stages if name in needed]

    def _take_fingerprints(self) -> None:
        """Take the fingerprints of the input as it is now, and forget results of what has changed."""
        before, self._known = self._known, {}
        self.fingerprints = Fingerprints(self.analysis, self._given_table)
        if any(self._expected(name) != known for name, known in before.items()):
            self.results = Results(self.analysis, self.output_folder, fingerprints=self.fingerprints)

    def _expected(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = self._stages[name].fingerprint(self.fingerprints)
        return self._known[name]

    def _build(self, name: str) -> None:
        stage, expected = self._stages[name], self._expected(name)
        with self.output_folder.building(name, expected) as folder:
            finish = stage.build(folder)
            if stage.fingerprint(Fingerprints(self.analysis, self._given_table)) != expected:
                message = (
                    f"an ntuple, a Python file of the analysis or the program itself was changed while the stage {name} "
                    "was made from it: run again"
                )
                raise InputError(message)
        if finish is not None:
            finish()

    def _content(self, stage: str, file: str) -> JsonDict:
        """The content of a JSON file of a finished stage."""
        with self.output_folder.reading(stage, self._expected(stage), file) as folder:
            content: JsonDict = json.loads((folder / file).read_text())
            return content

    def _new_results(self, table: EventTable) -> None:
        self.results = Results(self.analysis, self.output_folder, table, self.fingerprints)

    def _build_columns(self, folder: Path) -> Finish:
        self.announce("reading ntuples" if self._given_table is None else "taking events from a table")
        result = self._read(folder)
        _write_json(folder / "columns.json", columns_summary(self.analysis, result))
        return partial(self._new_results, result.table)

    def _read(self, folder: Path) -> ColumnsResult:
        if self._given_table is not None:
            self._given_table.to_parquet(folder / TABLE_NAME)
            return ColumnsResult(self._given_table, (), {}, ())
        return run_columns(
            self.analysis.ntuples,
            self.analysis.processes,
            base_folder=self.analysis.folder,
            luminosity_ifb=self.analysis.luminosity_ifb,
            output_folder=folder,
            variations=self.analysis.variations,
            executor=self.options.executor,
            workers=self.options.workers,
            scheduler=self.options.scheduler,
        )

    def _build_training(self, planned: PlannedTraining, folder: Path) -> Finish:
        is_network = planned.classifier == "network"
        self.announce(f"{'training' if is_network else 'growing trees'} with the {planned.loss.label}")
        progress = self.training_progress
        wanted = self.analysis.training.device
        device = choose_device(wanted).type if is_network else tree_device(wanted)
        checkpoint = self._checkpoint(planned.name, self._expected(f"training/{planned.name}"), device)
        classifier = (train if is_network else train_trees)(
            self.table,
            self.analysis.training,
            loss=planned.loss,
            goal=self.analysis.goal,
            checkpoint=checkpoint,
            progress=None if progress is None else partial(progress, planned.label),
        )
        classifier.save(folder)

        def finish() -> None:
            checkpoint.unlink(missing_ok=True)
            self._new_results(self.table)
            if advice := classifier.advice:
                _LOG.warning(advice)

        return finish

    def _build_ratios(self, baseline: PlannedTraining, folder: Path) -> Finish:
        self.announce("training likelihood ratios")
        results = self.results
        train_ratio_model(
            self.table,
            self.analysis.training,
            results.classifier(baseline),
            results.variations,
            results.shapes,
        ).save(folder)
        return partial(self._new_results, self.table)

    def _build_selection(self, folder: Path) -> Finish:
        self.announce("choosing working points")
        columns = {"identity": self.table.identity, "process": self.table.process, "fold": self.table.fold}
        scores = {f"score_{name}": events.score for name, events in self.results.events.items()}
        pq.write_table(pa.table(columns | {"weight": self.table.weight} | scores), folder / "scores.parquet")
        _write_json(folder / "selection.json", selections_summary(self.results))
        return self._warn_of_selections

    def _warn_of_selections(self) -> None:
        for evaluation in self.results.evaluations:
            if evaluation.working_point.status != "ok":
                _LOG.warning("%s: %s", evaluation.label, evaluation.working_point.reason)
        if self.results.optimal is not None:
            for note in self.results.optimal.notes:
                _LOG.warning(note)

    def _build_cuts(self, folder: Path) -> None:
        self.announce("optimising cuts")
        if self.analysis.cuts is not None:
            found = self.results.cuts(self.analysis.cuts)
            drawn = self._draw(folder / "figures", cut_gallery(self.results, found).figures())
            figures = [{"caption": caption, "file": f"figures/{png.name}"} for caption, png in drawn]
            _write_json(folder / "cuts.json", plain(found) | {"figures": figures})

    def _build_export(self, folder: Path) -> None:
        self.announce("writing histograms, fit inputs and model")
        histograms = {evaluation.name: evaluation.score_histogram for evaluation in self.results.evaluations}
        write_histograms(folder / "scores.root", histograms)
        self._write_fits(folder / "fit")
        results = self.results
        for name, classifier in results.classifiers.items():
            if isinstance(classifier, BoostedTrees):
                classifier.write_xgboost(folder / name)
        if can_export_onnx():
            main = next(iter(results.trainings))
            export_onnx(results.classifiers[main], folder / "model.onnx", results.model_metadata)
            if results.optimal is not None:
                self.announce(
                    f"model.onnx computes the score of the {results.trainings[main].label} with its own cut, not the "
                    "optimal score: histograms and fit inputs have the optimal one"
                )
        else:
            self.announce("the model is not exported: this needs the extra `onnx` (pip install 'zsig_hep[onnx]')")

    def _build_report(self, folder: Path) -> None:
        self.announce("drawing figures")
        columns = self._content("columns", "columns.json")
        cuts = self._content("cuts", "cuts.json") if "cuts" in self._stages else None
        figures = self._draw(folder / "figures", report_gallery(self.results).figures())
        summary = plain(self._summary(columns, cuts))
        _write_json(folder / "summary.json", summary)
        drawn = [] if cuts is None else cuts["figures"]
        if not drawn:
            write_report(folder / "report.html", summary, figures)
            return
        files = [each["file"] for each in drawn]
        with self.output_folder.reading("cuts", self._expected("cuts"), *files) as cuts_folder:
            figures += [(each["caption"], cuts_folder / each["file"]) for each in drawn]
            write_report(folder / "report.html", summary, figures)

    def _checkpoint(self, name: str, expected: str, device: str) -> Path:
        """File in which a training stores its state, named so that other settings and other devices start anew."""
        folder = self.output_folder.root / "training" / "checkpoints"
        checkpoint = folder / f"{name}-{expected[:16]}-{device}.safetensors"
        if checkpoint.exists():
            self.announce(f"going on with the interrupted training in {checkpoint.name}")
        others = [path.name for path in folder.glob(f"{name}-*.safetensors") if path != checkpoint]
        if others:
            self.announce(
                "an interrupted training with other settings or events, or on another device, is kept as "
                f"training/checkpoints/{others[0]}: restore those to go on with it, or delete it"
            )
        return checkpoint

    def _write_fits(self, folder: Path) -> None:
        templates, settings = self.results.templates, self.analysis.export
        if templates is None:
            _LOG.warning("without a working point there is nothing to fit: export/fit is not written")
            return
        if self.analysis.selection.signals == "sum":
            write_fit_inputs(folder, templates, settings)
            return
        for signal, name in slugs(templates.signals).items():
            write_fit_inputs(folder / name, templates.with_signals([signal]), settings)

    def _summary(self, columns: JsonDict, cuts: JsonDict | None) -> JsonDict:
        columns["notes"] += [] if self.results.optimal is None else self.results.optimal.notes
        columns["notes"] += theory_notes(self.analysis) + list(schedule_advice(self.analysis.training))
        for evaluation in self.results.evaluations:
            uncertainties = self.results.uncertainties[evaluation.name]
            columns["notes"] += simulation_caveats(evaluation, self.analysis.selection, uncertainties)
        provenance = {
            "command": command_line(),
            "versions": package_versions(),
            "device": choose_device(self.analysis.training.device).type,
            "stages": {name: self._expected(name) for name in ("columns", *self._trainings, "selection")},
        }
        return run_summary(self.analysis, columns, selections_summary(self.results) | {"cuts": cuts}, provenance)

    def _draw(self, folder: Path, figures: Iterable[tuple[str, str, Figure]]) -> list[tuple[str, Path]]:
        """Save figures under their names, and return the caption and the PNG file of each."""
        drawn = []
        for name, caption, figure in figures:
            _, png = save_figure(figure, folder, name, dots_per_inch=self.analysis.presentation.dots_per_inch)
            drawn.append((caption, png))
        return drawn


def _write_json(path: Path, content: JsonDict) -> None:
    path.write_text(json.dumps(plain(content), indent=1))
