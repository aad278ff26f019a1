"""Parquet files of event tables, with the table's metadata as JSON, and of chunks of events."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from zsig_hep.errors import InputError, first_line
from zsig_hep.files import atomic_path
from zsig_hep.ntuples.variations import DIRECTIONS, varied_name
from zsig_hep.statistics.process_table import Role

_METADATA_KEY = b"zsig_hep.event_table"
_CHECKSUM_KEY = b"zsig_hep.event_table.checksum"
_FORMAT = 4
_ROWS_AT_A_TIME = 1 << 17
_PREFIX = "zsig:"
# Features of events do not compress, and the attempt takes longer than reading the ntuples.
_WRITING: dict[str, Any] = {
    "compression": "NONE",
    "use_dictionary": False,
    "write_statistics": False,
    "write_page_checksum": True,
}
# Buffers that are read ahead need threads, whose failure to start blocks pyarrow for ever when memory is short.
_READING: dict[str, Any] = {"pre_buffer": False, "page_checksum_verification": True}
_DESCRIBED = ("feature_names", "process_names", "roles", "labels", "fold_count", "luminosity_ifb")
_OF_CHUNKS = ("weight", "identity")
_COLUMNS: dict[str, Any] = {"weight": np.float64, "process": np.int32, "fold": np.int16, "identity": np.uint64}


def write_fields(path: Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of an event table in slices, to a file that appears only when it is complete.

    Args:
        path: the parquet file.
        fields: all attributes of an `EventTable` by name.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = _columns_of(fields)
    schema = _schema(fields, columns)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **_WRITING) as writer:
        for start in range(0, len(fields["weight"]), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            writer.write_table(pa.Table.from_arrays([pa.array(each[rows]) for each in columns.values()], schema=schema))


def _columns_of(fields: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    columns = dict(zip(fields["feature_names"], fields["features"].T, strict=True))
    columns |= {_PREFIX + name: fields[name].astype(kind, copy=False) for name, kind in _COLUMNS.items()}
    return columns | _varied_columns(fields["weight_variations"])


def _schema(fields: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> pa.Schema:
    described = {name: fields[name] for name in _DESCRIBED}
    alternatives = {name: len(weights) for name, weights in fields["weight_variations"].items()}
    metadata = {"format": _FORMAT} | described | {"weight_variations": alternatives}
    text = json.dumps(metadata).encode()
    return pa.schema(
        [_required(name, pa.from_numpy_dtype(column.dtype)) for name, column in columns.items()],
        metadata={_METADATA_KEY: text, _CHECKSUM_KEY: _checksum(text)},
    )


def _checksum(text: bytes) -> bytes:
    """Parquet has checksums of columns, but none of metadata."""
    return b"%08x" % zlib.crc32(text)


def _required(name: str, kind: pa.DataType) -> pa.Field:
    """A column without nulls; with nulls allowed, reading takes three times as long."""
    return pa.field(name, kind, nullable=False)


def _varied_columns(weights: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Columns of varied weights, given as pairs (up, down) or members of a set, by their names in the file."""
    return {
        column_name: column
        for name, alternatives in weights.items()
        for column_name, column in zip(_varied_names(name, len(alternatives)), alternatives, strict=True)
    }


def _varied_names(name: str, alternatives: int) -> list[str]:
    """Names of the columns of the weights up and down, or of those of a set."""
    if alternatives == len(DIRECTIONS):
        return [_PREFIX + varied_name(name, direction) for direction in DIRECTIONS]
    return [f"{_PREFIX}{name}_{number}" for number in range(alternatives)]


def write_chunk(
    path: Path,
    features: Mapping[str, NDArray[np.float32]],
    *,
    weight: NDArray[np.float64],
    identity: NDArray[np.uint64],
    weight_variations: Mapping[str, tuple[NDArray[np.float64], ...]] | None = None,
) -> None:
    """Write the selected events of a chunk without compression, one column per feature.

    Args:
        path: the parquet file, which appears only when it is complete.
        features: f4 [N] by name.
        weight: f8 [N], before normalisation.
        identity: u8 [N].
        weight_variations: f8 [N] each, up and down or of a set, by name, before normalisation.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = dict(features) | {_PREFIX + "weight": weight, _PREFIX + "identity": identity}
    columns |= _varied_columns(weight_variations or {})
    schema = pa.schema(_required(name, pa.from_numpy_dtype(column.dtype)) for name, column in columns.items())
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=schema), temporary, **_WRITING)


def read_chunk(
    path: Path,
    feature_names: Sequence[str],
    features: NDArray[np.float32],
    weight_variations: Mapping[str, int] | None = None,
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float64]]]:
    """Read what `write_chunk` wrote.

    Args:
        path: the parquet file.
        feature_names: F names.
        features: f4 [N, F], into which the features are read.
        weight_variations: number of weights of each variation to read, by name: 2 for up and down.

    Returns:
        `weight` f8 and `identity` u8, [N] each; and weights by variation, f8 [number, N], without variations that the
        file does not have.

    Raises:
        InputError: the file is missing or damaged, or memory is short.
    """
    with _reading(path, "chunk of events", "run again"), pq.ParquetFile(path, memory_map=True, **_READING) as file:
        table = file.read(use_threads=False)
        for index, name in enumerate(feature_names):
            features[:, index] = _column(table, name, np.float32, len(features))
        columns = {name: _column(table, _PREFIX + name, _COLUMNS[name], len(features)) for name in _OF_CHUNKS}
        varied = {
            name: _varied_of(table, name, number, len(features))
            for name, number in (weight_variations or {}).items()
            if _varied_names(name, number)[0] in table.column_names
        }
        return columns, varied


@contextmanager
def _reading(path: Path, what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        msg = f"memory is too short to read {path} ({first_line(error)}): select fewer events or features"
        raise InputError(msg) from error
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        msg = f"{path} is not a readable {what} ({first_line(error)}): {advice}"
        raise InputError(msg) from error


def _column(table: pa.Table, name: str, kind: Any, length: int) -> NDArray[Any]:
    """A column without nulls, [length] of `kind`; NumPy would convert others silently.

    Raises:
        KeyError: there is no such column, or there are several.
        ValueError: it has another type or length, or nulls.
    """
    column = table[name]
    if column.type != pa.from_numpy_dtype(kind) or column.null_count or len(column) != length:
        msg = (
            f"column {name!r} has {len(column)} values of type {column.type}, {column.null_count} of them missing, in "
            f"place of {length} of type {np.dtype(kind)}"
        )
        raise ValueError(msg)
    return np.asarray(column.to_numpy())


def _varied_of(table: pa.Table, name: str, number: int, length: int) -> NDArray[np.float64]:
    return np.stack([_column(table, each, np.float64, length) for each in _varied_names(name, number)])


def read_fields(path: Path) -> dict[str, Any]:
    """Read what `write_fields` wrote.

    Args:
        path: the parquet file.

    Returns:
        The arguments of `EventTable` by name.

    Raises:
        InputError: the file is missing, damaged or was not written by `write_fields`, or memory is short.
    """
    if not path.exists():
        msg = f"there is no event table {path}: run the columns stage first"
        raise InputError(msg)
    with (
        _reading(path, "event table", "delete it and run the columns stage again"),
        pq.ParquetFile(path, **_READING) as file,
    ):
        described = _described(path, file.schema_arrow.metadata)
        fields = {name: getattr(described, name) for name in _DESCRIBED} | _read_columns(file, described)
        _require_valid(fields)
        return fields


class _Described(BaseModel):
    """What the metadata of a file say about its columns."""

    model_config = ConfigDict(strict=True)

    feature_names: tuple[str, ...]
    process_names: tuple[str, ...]
    roles: tuple[Role, ...]
    labels: tuple[str, ...]
    fold_count: Annotated[int, Field(ge=1)]
    luminosity_ifb: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    weight_variations: dict[str, Annotated[int, Field(ge=2, le=100_000)]]

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for what in ("feature_names", "process_names"):
            names = getattr(self, what)
            if len(set(names)) < len(names):
                msg = f"{what} has a name twice"
                raise ValueError(msg)
        if not len(self.process_names) == len(self.roles) == len(self.labels):
            msg = f"{len(self.process_names)} processes have {len(self.roles)} roles and {len(self.labels)} labels"
            raise ValueError(msg)
        return self


def _described(path: Path, stored: dict[bytes, bytes] | None) -> _Described:
    text = (stored or {}).get(_METADATA_KEY)
    if text is None:
        msg = f"{path} was not written as an event table; use EventTable.from_arrays for other parquet files"
        raise InputError(msg)
    metadata = json.loads(text)
    found = metadata.pop("format", None) if isinstance(metadata, dict) else None
    if found != _FORMAT:
        msg = f"{path} has event table format {found}, this version reads {_FORMAT}: run the columns stage again"
        raise InputError(msg)
    if (stored or {}).get(_CHECKSUM_KEY) != _checksum(text):
        msg = "its metadata do not have their checksum"
        raise ValueError(msg)
    try:
        return _Described.model_validate_json(json.dumps(metadata))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}".removeprefix(": ") for each in error.errors())
        msg = f"its metadata are not valid, {'; '.join(problems)}"
        raise ValueError(msg) from error


def _read_columns(file: pq.ParquetFile, described: _Described) -> dict[str, Any]:
    rows = file.metadata.num_rows
    groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    if sum(groups) != rows or min(groups, default=0) < 0:
        msg = f"it has {rows} rows, but groups of {groups}"
        raise ValueError(msg)
    features = np.empty((rows, len(described.feature_names)), dtype=np.float32, order="F")
    columns = {name: np.empty(rows, dtype=kind) for name, kind in _COLUMNS.items()}
    varied = {name: np.empty((number, rows)) for name, number in described.weight_variations.items()}
    stop = 0
    for group, length in enumerate(groups):
        table = file.read_row_group(group, use_threads=False)
        start, stop = stop, stop + length
        for index, name in enumerate(described.feature_names):
            features[start:stop, index] = _column(table, name, np.float32, length)
        for name, column in columns.items():
            column[start:stop] = _column(table, _PREFIX + name, _COLUMNS[name], length)
        for name, pair in varied.items():
            pair[:, start:stop] = _varied_of(table, name, len(pair), length)
    return {"features": features, "weight_variations": varied} | columns


def _require_valid(fields: Mapping[str, Any]) -> None:
    for name, count in (("process", len(fields["process_names"])), ("fold", fields["fold_count"])):
        if (outside := (fields[name] < 0) | (fields[name] >= count)).any():
            msg = f"{name} {fields[name][outside][0]} of an event is not in [0, {count})"
            raise ValueError(msg)
    for name, weights in {"weight": fields["weight"], **fields["weight_variations"]}.items():
        if not np.isfinite(weights).all():
            msg = f"{name} is not finite"
            raise ValueError(msg)
