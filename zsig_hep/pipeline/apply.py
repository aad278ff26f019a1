"""A trained analysis applied to ntuples: friend trees with the scores of every entry."""

from collections.abc import Sequence
from pathlib import Path

from zsig_hep.errors import ModelFileError
from zsig_hep.ntuples import Dataset, chunk_reader, resolve_datasets, resolve_files
from zsig_hep.pipeline.fingerprints import Fingerprints
from zsig_hep.pipeline.results import Results
from zsig_hep.scoring import FriendResult, apply_model, datasets_by_path, load_scorer
from zsig_hep.scoring.friends import FriendFormat


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
    """Score ntuples with the classifier of an analysis and write a friend for each.

    Files of the analysis's own datasets are recognised and scored by the networks that did not see their events; all others
    hold new events, which the whole ensemble scores.

    Args:
        results: of a finished run.
        files: names and globs, relative to the working directory; `file.root:tree` where the tree has another name.
        output_folder: of the friends; made when it does not exist.
        model: an exported model instead of the trained one.
        file_format: a TTree or an RNTuple called "zsig", or parquet.
        dataset: name of the dataset that all files belong to, wherever they lie.
        overwrite: replace friends that exist.

    Returns:
        What was written, in the order of the files.

    Raises:
        InputError: a file cannot be read, or there is no such dataset.
        ModelFileError: the analysis is not trained as it stands, or the model does not fit its columns.
        OutputError: a friend exists, or cannot be written.
    """
    analysis, output = results.analysis, results.output_folder
    if model is None and not output.is_current("selection", Fingerprints(analysis).selection):
        message = (
            f"{output.root} holds no model of this analysis as it stands, with a cut on its score: run `zsig run` with "
            "the same --output first, or name an exported model with --model."
        )
        raise ModelFileError(message)
    scorer = load_scorer(model) if model is not None else load_scorer(results.model_folder, results.model_metadata)
    settings, processes, folder = analysis.ntuples, analysis.processes, analysis.folder
    known = datasets_by_path({each.name: each.files for each in resolve_datasets(settings, processes, folder)})
    return apply_model(
        # A cross section of no meaning: the files are found by the rules of datasets.
        resolve_files(Dataset(files=list(files), cross_section_pb=1.0), Path.cwd(), settings.tree),
        chunk_reader(settings, processes, base_folder=folder),
        scorer,
        output_folder,
        file_format=file_format,
        dataset=dataset or known,
        schema=settings.schema_name,
        chunk_size=settings.chunk_size,
        overwrite=overwrite,
    )
