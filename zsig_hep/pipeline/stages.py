"""The stages of a run; a stage is repeated only if something it depends on has changed."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from zsig_hep.analysis import Analysis
from zsig_hep.errors import AnalysisFileError
from zsig_hep.fits import write_fit_inputs, write_histograms
from zsig_hep.learning import choose_device, schedule_advice, train
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

TrainingProgress = Callable[[str, str, int, int, float], None]
"""Called with the label of the classifier, the phase, the epoch, the number of epochs and the mean validation loss."""


@dataclass(frozen=True)
class RunOptions:
    """Options of a run, none of which changes a result.

    Attributes:
        executor: coffea executor that reads the ntuples.
        workers: number of processes of the executor.
        scheduler: address of a Dask scheduler; None for a local cluster.
        force: whether stages that are current are repeated.
    """

    executor: Executor = "iterative"
    workers: int = 2
    scheduler: str | None = None
    force: bool = False


class Pipeline:
    """One analysis and its output folder.

    Every stage first brings the stages before it up to date. `options.force` repeats the stage that is called, and all
    stages in `run`.

    Args:
        analysis: the analysis.
        output: the output folder; created if it does not exist.
        options: options of the run.
        table: the selected events, if they do not come from ntuples; its processes must be those of the analysis.
        announce: called with one line of text when a stage starts.
        training_progress: called after every epoch.

    Raises:
        OutputError: the output folder cannot be written to.
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
        self.output_folder = OutputFolder(Path(output))
        self.fingerprints = Fingerprints(analysis, table)
        self.results = Results(analysis, self.output_folder)
        self._given_table = table
        self._forced = self.options.force

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
        # Raises the error for an absent device before the ntuples are read.
        choose_device(self.analysis.training.device)
        self.columns()
        self.train()
        self.scan()
        if self.analysis.cuts is not None:
            self.cuts()
        self.export()
        self.plot()
        return self.summary

    def columns(self) -> None:
        """Read the ntuples, or take the table: `columns/events.parquet` and `columns/columns.json`."""
        if self._current("columns", self.fingerprints.columns):
            return
        self.announce("reading ntuples" if self._given_table is None else "taking events from a table")
        with self.output_folder.building("columns", self.fingerprints.columns) as folder:
            result = self._read(folder)
            _write_json(folder / "columns.json", columns_summary(self.analysis, result))
        self.results = Results(self.analysis, self.output_folder, result.table)

    def train(self) -> None:
        """Train the classifier and its baseline, with one folder each under `training/`."""
        self._bring_up_to_date(self.columns)
        progress = self.training_progress
        for name, loss in self.results.losses.items():
            stage, expected = f"training/{name}", self.fingerprints.training(loss)
            if self._current(stage, expected):
                continue
            self.announce(f"training with the {loss.label}")
            checkpoint = self._checkpoint(name, expected)
            with self.output_folder.building(stage, expected) as folder:
                classifier = train(
                    self.table,
                    self.analysis.training,
                    loss=loss,
                    goal=self.analysis.goal,
                    checkpoint=checkpoint,
                    progress=None if progress is None else partial(progress, loss.label),
                )
                classifier.save(folder)
            checkpoint.unlink(missing_ok=True)
            self.results = Results(self.analysis, self.output_folder, self.table)
            if advice := classifier.history.advice():
                _LOG.warning(advice)

    def scan(self) -> None:
        """Choose the working points on held-out folds: `selection/scores.parquet` and `selection/selection.json`."""
        self._bring_up_to_date(self.train)
        if self._current("selection", self.fingerprints.selection):
            return
        self.announce("choosing working points")
        with self.output_folder.building("selection", self.fingerprints.selection) as folder:
            columns = {"identity": self.table.identity, "process": self.table.process, "fold": self.table.fold}
            scores = {f"score_{name}": events.score for name, events in self.results.events.items()}
            pq.write_table(pa.table(columns | {"weight": self.table.weight} | scores), folder / "scores.parquet")
            _write_json(folder / "selection.json", selections_summary(self.results))
        for evaluation in self.results.evaluations:
            if evaluation.working_point.status != "ok":
                _LOG.warning("%s: %s", evaluation.label, evaluation.working_point.reason)

    def cuts(self) -> None:
        """Optimise rectangular cuts, which needs no training: `cuts/cuts.json` and `cuts/figures/`.

        Raises:
            AnalysisFileError: the analysis has no variables to cut on.
        """
        if self.analysis.cuts is None:
            message = (
                f"{self.analysis.name} has no cuts to optimise: give the features to cut on, as in `cuts: {{variables: "
                "{dijet_mass: above, dimuon_mass: window}}`."
            )
            raise AnalysisFileError(message)
        self._bring_up_to_date(self.columns)
        if self._current("cuts", self.fingerprints.cuts):
            return
        self.announce("optimising cuts")
        with self.output_folder.building("cuts", self.fingerprints.cuts) as folder:
            found = self.results.cuts(self.analysis.cuts)
            drawn = self._draw(folder / "figures", cut_gallery(self.results, found).figures())
            figures = [{"caption": caption, "file": f"figures/{png.name}"} for caption, png in drawn]
            _write_json(folder / "cuts.json", plain(found) | {"figures": figures})

    def export(self) -> None:
        """Write files for other programs.

        `export/scores.root` has histograms of the scores of every classifier. `export/fit/` has the fit inputs:
        histograms, a pyhf workspace, datacards and a cabinetry configuration, in one folder per signal if the signals
        are separate hypotheses. `export/model.onnx` is the classifier with the loss of the analysis, if the extra
        `onnx` is installed.
        """
        self._bring_up_to_date(self.scan)
        if self._current("export", self.fingerprints.export):
            return
        self.announce("writing histograms, fit inputs and model")
        with self.output_folder.building("export", self.fingerprints.export) as folder:
            histograms = {evaluation.name: evaluation.score_histogram for evaluation in self.results.evaluations}
            write_histograms(folder / "scores.root", histograms)
            self._write_fits(folder / "fit")
            if can_export_onnx():
                results = self.results
                export_onnx(
                    results.classifiers[results.evaluations[0].name], folder / "model.onnx", results.model_metadata
                )
            else:
                self.announce("the model is not exported: this needs the extra `onnx` (pip install 'zsig_hep[onnx]')")

    def plot(self) -> None:
        """Draw the figures and write the report: `report/report.html`, `report/summary.json`, `report/figures/`."""
        self._bring_up_to_date(self.scan)
        if self.analysis.cuts is not None:
            self._bring_up_to_date(self.cuts)
        if self._current("report", self.fingerprints.report):
            return
        self.announce("drawing figures")
        with self.output_folder.building("report", self.fingerprints.report) as folder:
            figures = self._draw(folder / "figures", report_gallery(self.results).figures())
            if cuts := self._cuts_found:
                figures += [
                    (each["caption"], self.output_folder.folder("cuts") / each["file"]) for each in cuts["figures"]
                ]
            summary = plain(self._summary())
            _write_json(folder / "summary.json", summary)
            write_report(folder / "report.html", summary, figures)

    @property
    def summary(self) -> JsonDict:
        """The summary of the last report."""
        content: JsonDict = json.loads((self.output_folder.folder("report") / "summary.json").read_text())
        return content

    @property
    def table(self) -> EventTable:
        """The selected events, from the finished columns stage."""
        return self.results.table

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

    def _current(self, stage: str, expected: str) -> bool:
        return not self._forced and self.output_folder.is_current(stage, expected)

    def _bring_up_to_date(self, stage: Callable[[], None]) -> None:
        """Run an earlier stage if it is not current; `force` does not apply to it."""
        forced, self._forced = self._forced, False
        try:
            stage()
        finally:
            self._forced = forced

    def _checkpoint(self, name: str, expected: str) -> Path:
        """File in which a training stores its state, named by its fingerprint so that other settings start anew."""
        folder = self.output_folder.root / "training" / "checkpoints"
        checkpoint = folder / f"{name}-{expected[:16]}.safetensors"
        if checkpoint.exists():
            self.announce(f"going on with the interrupted training in {checkpoint.name}")
        others = [path.name for path in folder.glob(f"{name}-*.safetensors") if path != checkpoint]
        if others:
            self.announce(
                f"an interrupted training with other settings or events is kept as training/checkpoints/{others[0]}: "
                "restore those settings to go on with it, or delete it"
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

    def _summary(self) -> JsonDict:
        columns = json.loads((self.output_folder.folder("columns") / "columns.json").read_text())
        columns["notes"] += theory_notes(self.analysis) + list(schedule_advice(self.analysis.training))
        for evaluation in self.results.evaluations:
            columns["notes"] += simulation_caveats(evaluation, self.analysis.selection)
        provenance = {
            "command": command_line(),
            "versions": package_versions(),
            "device": choose_device(self.analysis.training.device).type,
            "stages": {
                "columns": self.fingerprints.columns,
                **{f"training/{name}": self.fingerprints.training(loss) for name, loss in self.results.losses.items()},
                "selection": self.fingerprints.selection,
            },
        }
        selections = selections_summary(self.results) | {"cuts": self._cuts_found}
        return run_summary(self.analysis, columns, selections, provenance)

    @property
    def _cuts_found(self) -> Any:
        """Content of `cuts/cuts.json` from the finished cuts stage; None if the analysis has no cuts."""
        if self.analysis.cuts is None:
            return None
        return json.loads((self.output_folder.folder("cuts") / "cuts.json").read_text())

    def _draw(self, folder: Path, figures: Iterable[tuple[str, str, Figure]]) -> list[tuple[str, Path]]:
        """Save figures under their names, and return the caption and the PNG file of each."""
        drawn = []
        for name, caption, figure in figures:
            _, png = save_figure(figure, folder, name, dots_per_inch=self.analysis.presentation.dots_per_inch)
            drawn.append((caption, png))
        return drawn


def _write_json(path: Path, content: JsonDict) -> None:
    path.write_text(json.dumps(plain(content), indent=1))
