"""Fingerprints of the stages of an analysis: one hash per stage of everything that the stage depends on."""

import hashlib
import json
from functools import cached_property
from pathlib import Path

from zsig_hep.analysis import Analysis
from zsig_hep.errors import InputError, nearest_name
from zsig_hep.files import file_digest
from zsig_hep.learning import PlannedTraining, depends_on_goal
from zsig_hep.ntuples import EventTable, resolve_datasets
from zsig_hep.pipeline.sources import file_identity, source_fingerprint
from zsig_hep.scoring import can_export_onnx


def fingerprint(*parts: object) -> str:
    """Hash of JSON values; objects of other types are hashed as text.

    Example:
        >>> fingerprint({"folds": 5}, "text") == fingerprint({"folds": 5}, "text")
        True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def code_fingerprint(*rooms: str) -> str:
    """Hash of the source code and templates of sub-packages, so that results of older code are not current.

    Args:
        rooms: names of sub-packages of zsig_hep.
    """
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((Path(__file__).parents[1] / room).rglob("*")):
            if path.suffix in {".py", ".j2"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


class Fingerprints:
    """Fingerprints of the stages of one analysis; each includes that of the stage before it.

    Args:
        analysis: the analysis; its files are read when a fingerprint is first used.
        table: the events, if they do not come from the files of the analysis.
    """

    def __init__(self, analysis: Analysis, table: EventTable | None = None) -> None:
        self._analysis, self._table = analysis, table

    @property
    def columns(self) -> str:
        """Fingerprint of the columns stage: the selected events, nominal and varied, and the labels of processes."""
        return fingerprint(self.varied_events, self._analysis.labels)

    @cached_property
    def varied_events(self) -> str:
        """Fingerprint of the events under weight and shape variations; other variations do not change events."""
        kinds = {"weight", "weight_set", "shape"}
        read = {name: each for name, each in self._analysis.variations.items() if each.kind in kinds}
        functions = [getattr(each, "function", None) for each in read.values()]
        return fingerprint(
            self.events,
            {name: each.model_dump(mode="json") for name, each in read.items()},
            [self._source(function) for function in functions if function is not None],
        )

    @cached_property
    def events(self) -> str:
        """Fingerprint of the files, settings and code of the nominal events."""
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
            # The identities of the files are below; the size of the chunks does not change events.
            analysis.ntuples.model_dump(mode="json", exclude={"folder", "chunk_size"}),
            processes,
            analysis.luminosity_ifb,
            [file_identity(file.path, is_remote=file.is_remote) for dataset in datasets for file in dataset.files],
            self._source(columns) if isinstance(columns, str) else None,
            [mask.read_text() for mask in sorted(masks) if mask.is_file()],
            [self._content(name) for name in analysis.ntuples.depends_on],
            code_fingerprint("statistics", "ntuples"),
        )

    def _content(self, name: str) -> str:
        """Hash of a file that the code of the user reads.

        Raises:
            InputError: it cannot be read.
        """
        path = self._analysis.folder / Path(name).expanduser()
        try:
            return file_digest(path)
        except OSError as error:
            near = (
                nearest_name(path.name, (entry.name for entry in path.parent.glob("*"))) if path.parent.is_dir() else ""
            )
            message = f"ntuples.depends_on: {path} cannot be read: {error.strerror}.{near}"
            raise InputError(message) from error

    def _source(self, function: str) -> str:
        """Hash of the file of `file.py:function` and of what it imports from the same folder."""
        return source_fingerprint(self._analysis.folder / Path(function.rpartition(":")[0]).expanduser())

    def training(self, planned: PlannedTraining) -> str:
        """Fingerprint of a classifier that is trained with a loss; on any device it is the same up to rounding."""
        training, loss = self._analysis.training, planned.loss
        settings = training.configuration_of(planned.classifier)
        parts: list[object] = [self.events, planned.classifier, settings, loss.model_dump(mode="json")]
        if depends_on_goal(training, loss, planned.classifier):
            # The sensitivities of the cut and the optimal score are computed after the training.
            goal = self._analysis.selection.model_dump(mode="json", exclude={"sensitivity", "score"})
            parts += [goal, code_fingerprint("statistics", "selection")]
        return fingerprint(*parts, code_fingerprint("learning"))

    @cached_property
    def ratios(self) -> str:
        """Fingerprint of the likelihood ratios, which no setting of the selection changes; empty without."""
        analysis, baseline = self._analysis, self._analysis.ratio_baseline
        if baseline is None:
            return ""
        return fingerprint(
            self.varied_events,
            {name: each.model_dump(mode="json") for name, each in analysis.expanded_variations.items()},
            analysis.training.configuration_of("network"),
            self.training(baseline),
            code_fingerprint("learning"),
        )

    @cached_property
    def selection(self) -> str:
        """Fingerprint of the working points."""
        return fingerprint(
            [self.training(planned) for planned in self._analysis.trainings.values()],
            self.ratios,
            self._analysis.selection.model_dump(mode="json"),
            self._analysis.categories.model_dump(mode="json"),
            self.varied_events,
            {name: each.model_dump(mode="json") for name, each in self._analysis.variations.items()},
            self._analysis.export.model_dump(mode="json"),
            code_fingerprint("statistics", "selection", "fits", "pipeline"),
        )

    @cached_property
    def cuts(self) -> str:
        """Fingerprint of the rectangular cuts and their figures."""
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
        """Fingerprint of the labels and the style of figures."""
        analysis = self._analysis
        shown = analysis.model_dump(mode="json", include={"sqrt_s_tev", "presentation"})
        return fingerprint(shown, analysis.labels, analysis.colors, code_fingerprint("presentation"))

    @property
    def export(self) -> str:
        """Fingerprint of the exported files."""
        analysis = self._analysis
        settings = [analysis.export.model_dump(mode="json"), analysis.presentation.axis_labels, can_export_onnx()]
        code = code_fingerprint("scoring", "fits", "presentation")
        return fingerprint(self.selection, settings, analysis.labels, analysis.unblind, code)

    @property
    def report(self) -> str:
        """Fingerprint of the figures and the report."""
        shown = self._analysis.model_dump(mode="json", include={"title", "name", "unblind"})
        return fingerprint(self.selection, self.cuts, shown, self._look)
