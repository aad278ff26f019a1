"""What each stage of an analysis depends on, as one fingerprint per stage."""

from functools import cached_property
from pathlib import Path

from zsig_hep.analysis import Analysis
from zsig_hep.learning import LossSettings, choose_device, depends_on_goal
from zsig_hep.ntuples import resolve_datasets
from zsig_hep.workspace import code_fingerprint, file_identity, fingerprint, source_fingerprint


class Fingerprints:
    """Fingerprints of the stages of one analysis; each holds that of the stage before it.

    Args:
        analysis: its files are looked at when a fingerprint is first asked for.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis

    @property
    def columns(self) -> str:
        """Of the columns stage: the selected events, and the labels of their processes."""
        return fingerprint(self.events, self._analysis.labels)

    @cached_property
    def events(self) -> str:
        """Of files, settings and code that the selected events depend on."""
        analysis = self._analysis
        datasets = resolve_datasets(analysis.ntuples, analysis.processes, analysis.folder)
        columns = analysis.ntuples.columns
        source = (analysis.folder / Path(columns.rpartition(":")[0]).expanduser()) if isinstance(columns, str) else None
        processes = {
            name: process.model_dump(mode="json", exclude={"color", "label"})
            for name, process in analysis.processes.items()
        }
        return fingerprint(
            # The files are given below; in how many chunks they are read changes no event.
            analysis.ntuples.model_dump(mode="json", exclude={"folder", "chunk_size"}),
            processes,
            analysis.luminosity_ifb,
            [file_identity(file.path, is_remote=file.is_remote) for dataset in datasets for file in dataset.files],
            None if source is None else source_fingerprint(source),
            code_fingerprint("statistics", "ntuples"),
        )

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
            code_fingerprint("statistics", "selection"),
        )

    @property
    def export(self) -> str:
        """Of the exported histograms."""
        return fingerprint(self.selection, code_fingerprint("presentation"))

    @property
    def report(self) -> str:
        """Of figures and report."""
        analysis = self._analysis
        shown = analysis.model_dump(mode="json", include={"title", "name", "sqrt_s_tev", "presentation"})
        code = code_fingerprint("presentation")
        return fingerprint(self.selection, shown, analysis.labels, analysis.colors, code)
