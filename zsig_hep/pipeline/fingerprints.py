"""What each stage of an analysis depends on, as one fingerprint per stage."""

from functools import cached_property
from pathlib import Path

from zsig_hep.analysis import Analysis
from zsig_hep.learning import LossSettings, choose_device, depends_on_goal
from zsig_hep.ntuples import EventTable, resolve_datasets
from zsig_hep.pipeline.output_folder import code_fingerprint, file_identity, fingerprint, source_fingerprint
from zsig_hep.scoring import can_export_onnx


class Fingerprints:
    """Fingerprints of the stages of one analysis; each holds that of the stage before it.

    Args:
        analysis: its files are looked at when a fingerprint is first asked for.
        table: the events, where they do not come from the files of the analysis.
    """

    def __init__(self, analysis: Analysis, table: EventTable | None = None) -> None:
        self._analysis, self._table = analysis, table

    @property
    def columns(self) -> str:
        """Of the columns stage: the selected events, nominal and varied, and the labels of their processes."""
        return fingerprint(self.varied_events, self._analysis.labels)

    @cached_property
    def varied_events(self) -> str:
        """Of what the events under weight and shape variations depend on; those of whole yields change no event."""
        read = {name: each for name, each in self._analysis.variations.items() if each.kind in {"weight", "shape"}}
        functions = [getattr(each, "function", None) for each in read.values()]
        return fingerprint(
            self.events,
            {name: each.model_dump(mode="json") for name, each in read.items()},
            [self._source(function) for function in functions if function is not None],
        )

    @cached_property
    def events(self) -> str:
        """Of files, settings and code that the nominal events depend on."""
        analysis = self._analysis
        if self._table is not None:
            return fingerprint(self._table.digest, code_fingerprint("statistics", "ntuples"))
        datasets = resolve_datasets(analysis.ntuples, analysis.processes, analysis.folder)
        columns = analysis.ntuples.columns
        processes = {
            name: process.model_dump(mode="json", exclude={"color", "label"})
            for name, process in analysis.processes.items()
        }
        masks = {dataset.luminosity_mask for dataset in datasets if dataset.luminosity_mask is not None}
        return fingerprint(
            # The files are given below; in how many chunks they are read changes no event.
            analysis.ntuples.model_dump(mode="json", exclude={"folder", "chunk_size"}),
            processes,
            analysis.luminosity_ifb,
            [file_identity(file.path, is_remote=file.is_remote) for dataset in datasets for file in dataset.files],
            self._source(columns) if isinstance(columns, str) else None,
            [mask.read_text() for mask in sorted(masks) if mask.is_file()],
            code_fingerprint("statistics", "ntuples"),
        )

    def _source(self, function: str) -> str:
        """Of the file in which a `file.py:function` stands, and of those beside it."""
        return source_fingerprint(self._analysis.folder / Path(function.rpartition(":")[0]).expanduser())

    def training(self, loss: LossSettings) -> str:
        """Of a classifier that is trained with a loss."""
        training = self._analysis.training
        settings = training.model_dump(mode="json", exclude={"loss", "baseline", "device"})
        parts = [self.events, settings, loss.model_dump(mode="json"), choose_device(training.device).type]
        if depends_on_goal(training, loss):
            # How the finished cut is studied changes no training.
            judged_by = self._analysis.selection.model_dump(mode="json", exclude={"sensitivity"})
            parts += [judged_by, code_fingerprint("statistics", "selection")]
        return fingerprint(*parts, code_fingerprint("learning"))

    @cached_property
    def selection(self) -> str:
        """Of the working points."""
        return fingerprint(
            [self.training(loss) for loss in self._analysis.losses.values()],
            self._analysis.selection.model_dump(mode="json"),
            self._analysis.categories.model_dump(mode="json"),
            self.varied_events,
            {name: each.model_dump(mode="json") for name, each in self._analysis.variations.items()},
            code_fingerprint("statistics", "selection"),
        )

    @cached_property
    def cuts(self) -> str:
        """Of the rectangular cuts and their figures."""
        analysis = self._analysis
        return fingerprint(
            self.events,
            None if analysis.cuts is None else analysis.cuts.model_dump(mode="json"),
            analysis.selection.model_dump(mode="json"),
            analysis.training.seed,
            self._look,
            code_fingerprint("statistics", "selection"),
        )

    @property
    def _look(self) -> str:
        """Of what figures show beside the events."""
        analysis = self._analysis
        shown = analysis.model_dump(mode="json", include={"sqrt_s_tev", "presentation"})
        return fingerprint(shown, analysis.labels, analysis.colors, code_fingerprint("presentation"))

    @property
    def export(self) -> str:
        """Of what is written for other programs."""
        analysis = self._analysis
        settings = [analysis.export.model_dump(mode="json"), analysis.presentation.axis_labels, can_export_onnx()]
        code = code_fingerprint("scoring", "fits", "presentation")
        return fingerprint(self.selection, settings, analysis.labels, analysis.unblind, code)

    @property
    def report(self) -> str:
        """Of figures and report."""
        shown = self._analysis.model_dump(mode="json", include={"title", "name", "unblind", "export"})
        return fingerprint(self.selection, self.cuts, shown, self._look)
