"""Friend trees: files with the score of every entry of an ntuple, in the order of the entries."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot
from coffea.nanoevents import NanoEventsFactory
from numpy.typing import NDArray

from zsig_hep.errors import InputError, OutputError, nearest_name
from zsig_hep.files import atomic_path
from zsig_hep.ntuples.chunk import ChunkReader
from zsig_hep.ntuples.inputs import open_file, open_tree
from zsig_hep.ntuples.reading import SCHEMAS
from zsig_hep.ntuples.resolution import SourceFile
from zsig_hep.scoring.scorer import Scorer, cuts_on_score, is_trained_on, require_same_folds, score_chunk

FriendFormat = Literal["ttree", "rntuple", "parquet"]

FRIEND_TREE = "zsig"
"""Name of the tree in friend files."""

_ABOUT = "zsig_model"

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FriendResult:
    """The friend of one ntuple.

    Attributes:
        source: the ntuple.
        path: the friend.
        entries: number of entries of both.
        selected: number of entries that pass the selection.
        passed: number of entries that also pass the cut on the score; None if the model has no cut.
        out_of_fold: whether each event was scored by networks that were not trained on its fold, rather than by all.
    """

    source: str
    path: Path
    entries: int
    selected: int
    passed: int | None
    out_of_fold: bool


def apply_model(
    files: Sequence[SourceFile],
    reader: ChunkReader,
    scorer: Scorer,
    output_folder: Path,
    *,
    file_format: FriendFormat = "ttree",
    dataset: str | Mapping[str, str] | None = None,
    schema: Literal["base", "nanoaod"] = "base",
    chunk_size: int = 100_000,
    overwrite: bool = False,
) -> list[FriendResult]:
    """Score ntuples and write a friend `<stem>.zsig.root` or `<stem>.zsig.parquet` for each.

    Args:
        files: the ntuples; see `resolve_files`.
        reader: columns and event identity of the analysis; its variations are ignored.
        scorer: the model.
        output_folder: made if it does not exist.
        file_format: a TTree or an RNTuple named "zsig", or parquet.
        dataset: name of the dataset of all files, or names by path, as from `datasets_by_path`. Events of a dataset of
            the training are scored by the networks that were not trained on them; files without a dataset have new
            events.
        schema: coffea's schema of the events for the columns.
        chunk_size: number of entries that are processed at a time.
        overwrite: whether existing friends are replaced.

    Returns:
        The friends, in the order of the files.

    Raises:
        InputError: a file cannot be read, or two files would have the same friend.
        ModelFileError: the columns or the reader are not those of the model.
        OutputError: a friend exists, which is checked before any is written, or cannot be written. Friends written
            before an error remain.
    """
    targets = [friend_path(file, output_folder, file_format) for file in files]
    _check_targets(files, targets, overwrite=overwrite)
    return [
        write_friend(
            file,
            target,
            reader,
            scorer,
            file_format=file_format,
            dataset=dataset if dataset is None or isinstance(dataset, str) else dataset.get(file.real_path),
            schema=schema,
            chunk_size=chunk_size,
            overwrite=overwrite,
        )
        for file, target in zip(files, targets, strict=True)
    ]


def write_friend(
    source: SourceFile,
    target: Path,
    reader: ChunkReader,
    scorer: Scorer,
    *,
    file_format: FriendFormat = "ttree",
    dataset: str | None = None,
    schema: Literal["base", "nanoaod"] = "base",
    chunk_size: int = 100_000,
    overwrite: bool = False,
) -> FriendResult:
    """Write the scores of one ntuple, one entry for each of its entries and in their order.

    The columns are `zsig_score` (f8, NaN for events that fail the selection) and `zsig_selected`; if the model has a
    cut, `zsig_passes`, whether a selected event passes it; and for a dataset of the training `zsig_fold` (i2, -1 for
    events that fail the selection). The file also has the metadata of the model as text, in the object `zsig_model` of
    a ROOT file, or in the parquet metadata of that name. It appears only when it is complete. One chunk is in memory at
    a time.

    Args:
        source: the ntuple.
        target: the friend.
        reader: as for `apply_model`, like all other arguments.
        scorer: the model.
        file_format: of the friend.
        dataset: name of the dataset, None for new events.
        schema: of the events.
        chunk_size: number of entries.
        overwrite: whether an existing friend is replaced.

    Returns:
        The friend.

    Raises:
        InputError: the ntuple cannot be read, or there is no such dataset.
        ModelFileError: the columns or the reader are not those of the model.
        OutputError: the friend exists, cannot be written, or has another number of entries than the ntuple.
    """
    _check_targets([source], [target], overwrite=overwrite)
    _check_dataset(dataset, reader, scorer)
    trained_on = is_trained_on(scorer, dataset)
    # The weight is part of the identity by content; files of new events need not have weights.
    weight = reader.weights.get(dataset) if dataset is not None and reader.event_identity == "content" else None
    name = dataset or Path(source.path).stem
    own = replace(reader.without_variations(), weights={name: weight})
    if trained_on:
        require_same_folds(scorer, own)
    selected = passed = 0
    with_cut = cuts_on_score(scorer, trained_on=trained_on) is not None
    about = {"source": source.path, "tree": source.tree, "dataset": dataset, "model": asdict(scorer.metadata)}
    with open_file(source) as opened, atomic_path(target) as temporary:
        entries = int(open_tree(opened, source).num_entries)
        with _writer(temporary, file_format, _column_types(with_cut=with_cut, with_fold=trained_on), about) as writer:
            for events in _chunks(opened, source, name, entries, chunk_size, schema):
                columns = _friend_columns(own, scorer, events, trained_on=trained_on)
                writer.extend(columns)
                selected += int(columns["zsig_selected"].sum())
                passed += int(columns["zsig_passes"].sum()) if with_cut else 0
        _check_entries(temporary, file_format, entries, target)
    return FriendResult(source.path, target, entries, selected, passed if with_cut else None, trained_on)


def friend_path(file: SourceFile, output_folder: Path, file_format: FriendFormat) -> Path:
    """Path of the friend of an ntuple.

    Example:
        >>> friend_path(SourceFile("/data/ttbar_1.root", "Events"), Path("friends"), "ttree").name
        'ttbar_1.zsig.root'
    """
    suffix = "parquet" if file_format == "parquet" else "root"
    return output_folder / f"{Path(file.path).stem}.zsig.{suffix}"


def datasets_by_path(files: Mapping[str, Sequence[SourceFile]]) -> dict[str, str]:
    """Map files to their datasets, so that `apply_model` recognises files of the training.

    Args:
        files: files of each dataset, by its name.

    Returns:
        Names of the datasets by path, the argument `dataset` of `apply_model`.
    """
    return {file.real_path: name for name, its_files in files.items() for file in its_files}


def _check_targets(files: Sequence[SourceFile], targets: Sequence[Path], *, overwrite: bool) -> None:
    sources = {file.real_path for file in files}
    for position, (file, target) in enumerate(zip(files, targets, strict=True)):
        if target in targets[:position]:
            other = files[targets.index(target)].path
            msg = f"{other} and {file.path} would both have the friend {target.name}: use one output folder for each"
            raise InputError(msg)
        if os.path.realpath(target) in sources:
            msg = f"the friend {target} would replace an ntuple: use another output folder"
            raise OutputError(msg)
        if target.exists() and not overwrite:
            msg = f"the friend {target} exists already: use another output folder, or --overwrite to replace it"
            raise OutputError(msg)


def _check_dataset(dataset: str | None, reader: ChunkReader, scorer: Scorer) -> None:
    known = {*reader.weights, *(scorer.metadata.datasets or ())}
    if dataset is not None and dataset not in known:
        msg = f"there is no dataset {dataset!r}; leave it out for new events.{nearest_name(dataset, known)}"
        raise InputError(msg)


def _chunks(opened: Any, source: SourceFile, name: str, entries: int, chunk_size: int, schema: str) -> Iterator[Any]:
    for start in range(0, entries, chunk_size):
        stop = min(start + chunk_size, entries)
        place = {"dataset": name, "filename": source.path, "treename": source.tree}
        yield NanoEventsFactory.from_root(
            opened,
            treepath=source.tree,
            schemaclass=SCHEMAS[schema],
            metadata={**place, "entrystart": start, "entrystop": stop},
            mode="virtual",
            entry_start=start,
            entry_stop=stop,
        ).events()


def _column_types(*, with_cut: bool, with_fold: bool) -> dict[str, np.dtype[Any]]:
    types = {"zsig_score": np.float64, "zsig_selected": np.bool_}
    types |= {"zsig_passes": np.bool_} if with_cut else {}
    types |= {"zsig_fold": np.int16} if with_fold else {}
    return {name: np.dtype(kind) for name, kind in types.items()}


def _friend_columns(reader: ChunkReader, scorer: Scorer, events: Any, *, trained_on: bool) -> Columns:
    """Columns of all N entries of a chunk."""
    chunk = reader.read(events)
    length = len(chunk.event_weight)
    selected = np.ones(length, dtype=np.bool_) if chunk.nominal.selected is None else chunk.nominal.selected
    scored = score_chunk(scorer, chunk.nominal, trained_on=trained_on)
    columns: Columns = {"zsig_score": _spread(scored.score, selected, np.nan), "zsig_selected": selected}
    if scored.passed is not None:
        columns["zsig_passes"] = _spread(scored.passed, selected, outside=False)
    if scored.fold is not None:
        columns["zsig_fold"] = _spread(scored.fold, selected, -1)
    return columns


def _spread(values: NDArray[Any], selected: NDArray[np.bool_], outside: float) -> NDArray[Any]:
    """Values [N] of all entries, from values [S] of the selected ones."""
    everywhere = np.full(len(selected), outside, dtype=values.dtype)
    everywhere[selected] = values
    return everywhere


class _Writer(Protocol):
    def extend(self, columns: Columns) -> None: ...


@contextmanager
def _writer(
    path: Path, file_format: FriendFormat, types: Mapping[str, np.dtype[Any]], about: Mapping[str, Any]
) -> Iterator[_Writer]:
    text = json.dumps(about)
    if file_format == "parquet":
        schema = pa.schema([pa.field(name, pa.from_numpy_dtype(kind), nullable=False) for name, kind in types.items()])
        with pq.ParquetWriter(path, schema.with_metadata({_ABOUT: text})) as parquet:
            yield _ParquetRows(parquet)
        return
    with uproot.recreate(path) as file:
        file[_ABOUT] = text
        make = file.mktree if file_format == "ttree" else file.mkrntuple
        yield make(FRIEND_TREE, dict(types))


@dataclass(frozen=True)
class _ParquetRows:
    writer: Any

    def extend(self, columns: Columns) -> None:
        arrays = [pa.array(columns[name]) for name in self.writer.schema.names]
        self.writer.write_table(pa.Table.from_arrays(arrays, schema=self.writer.schema))


def _check_entries(path: Path, file_format: FriendFormat, entries: int, target: Path) -> None:
    if file_format == "parquet":
        written = pq.read_metadata(path).num_rows
    else:
        with uproot.open({str(path): None}) as file:
            written = int(file[FRIEND_TREE].num_entries)
    if written != entries:
        msg = f"the friend {target} has {written} entries, but its ntuple has {entries}: write it again"
        raise OutputError(msg)
