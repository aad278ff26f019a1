"""Apply a trained classifier to ntuples: friend trees with the score of every entry."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.ntuples import Dataset, chunk_reader, resolve_datasets, resolve_files
from zsig_hep.ntuples.resolution import SourceFile
from zsig_hep.pipeline.results import Results
from zsig_hep.scoring import FriendResult, apply_model, datasets_by_path, load_scorer
from zsig_hep.scoring.friends import FriendFormat

_LOG = logging.getLogger(__name__)


def apply_to_files(
    results: Results,
    files: Sequence[str],
    output_folder: Path,
    *,
    model: Path | None = None,
    file_format: FriendFormat = "ttree",
    dataset: str | None = None,
    overwrite: bool = False,
) -> list[FriendResult]:
    """Score ntuples with the classifier of an analysis and write a friend tree for each file.

    Events of files that belong to a dataset of the analysis are scored by the networks that were not trained on them;
    events of all other files are new and are scored by the whole ensemble.

    Args:
        results: results of a finished run.
        files: names and globs, relative to the working directory; `file.root:tree` if the tree has another name.
        output_folder: folder of the friend trees; created if it does not exist.
        model: exported model to use instead of the trained one.
        file_format: a TTree or an RNTuple named "zsig", or parquet.
        dataset: name of the dataset to which all files belong; by default it is recognised by the path of each file.
        overwrite: whether existing friend trees are replaced.

    Returns:
        A description of each file that was written, in the order of the input files.

    Raises:
        InputError: a file cannot be read or belongs to two datasets, or there is no such dataset.
        ModelFileError: the analysis is not trained with its present settings, or the model does not fit its columns.
        OutputError: a friend tree exists or cannot be written.
    """
    analysis, output = results.analysis, results.output_folder
    if model is None and not output.is_current("selection", results.fingerprints.selection):
        message = (
            f"{output.root} holds no model and cut for the present settings of this analysis: run `zsig run` with the same "
            "--output first, or give an exported model with --model."
        )
        raise ModelFileError(message)
    if model is None and analysis.selection.score == "optimal":
        _LOG.warning(
            "%s: friend trees have the score and the cut of the %s, not the optimal score",
            analysis.name,
            next(iter(results.trainings.values())).label,
        )
    scorer = load_scorer(model) if model is not None else load_scorer(results.model_folder, results.model_metadata)
    settings, processes, folder = analysis.ntuples, analysis.processes, analysis.folder
    # Files are resolved as those of a dataset, which needs a cross section; it is not used.
    sources = resolve_files(Dataset(files=list(files), cross_section_pb=1.0), Path.cwd(), settings.tree)
    of_datasets = {each.name: each.files for each in resolve_datasets(settings, processes, folder)}
    if dataset is None:
        _require_one_dataset(sources, of_datasets)
    is_inside = output_folder.resolve().is_relative_to(output.root.resolve())
    with output.writing() if is_inside else nullcontext():
        return apply_model(
            sources,
            chunk_reader(settings, processes, base_folder=folder),
            scorer,
            output_folder,
            file_format=file_format,
            dataset=dataset or datasets_by_path(of_datasets),
            schema=settings.schema_name,
            chunk_size=settings.chunk_size,
            overwrite=overwrite,
        )


def _require_one_dataset(sources: Sequence[SourceFile], of_datasets: Mapping[str, Sequence[SourceFile]]) -> None:
    """Refuse files of two datasets that share events, whose selections can differ."""
    owners: dict[str, list[str]] = {}
    for name, files in of_datasets.items():
        for file in files:
            owners.setdefault(file.real_path, []).append(name)
    for source in sources:
        if len(names := owners.get(source.real_path, [])) > 1:
            listed = " and ".join(map(repr, names))
            message = f"file {source.path} belongs to the datasets {listed}: name one of them with --dataset."
            raise InputError(message)
