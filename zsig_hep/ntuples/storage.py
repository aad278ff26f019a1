"""Parquet files of event tables, with the table's metadata as JSON, and of chunks of events."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsig_hep.errors import InputError
from zsig_hep.files import atomic_path
from zsig_hep.ntuples.variations import DIRECTIONS, varied_name

_METADATA_KEY = b"zsig_hep.event_table"
_FORMAT = 2
_ROWS_AT_A_TIME = 1 << 17
_PREFIX = "zsig:"
# Features of events do not compress, and the attempt takes longer than reading the ntuples.
_PLAIN: dict[str, Any] = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
_DESCRIBED = ("feature_names", "process_names", "roles", "labels", "fold_count", "luminosity_ifb")
_COLUMNS = {"weight": np.float64, "process": np.int32, "fold": np.int16, "identity": np.uint64}


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
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, **_PLAIN) as writer:
        for start in range(0, len(fields["weight"]), _ROWS_AT_A_TIME):
            rows = slice(start, start + _ROWS_AT_A_TIME)
            writer.write_table(pa.Table.from_arrays([pa.array(each[rows]) for each in columns.values()], schema=schema))


def _columns_of(fields: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    columns = dict(zip(fields["feature_names"], fields["features"].T, strict=True))
    columns |= {_PREFIX + name: fields[name].astype(kind, copy=False) for name, kind in _COLUMNS.items()}
    return columns | _varied_columns(fields["weight_variations"])


def _schema(fields: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> pa.Schema:
    described = {name: fields[name] for name in _DESCRIBED}
    metadata = {"format": _FORMAT} | described | {"weight_variations": list(fields["weight_variations"])}
    return pa.schema(
        [_required(name, pa.from_numpy_dtype(column.dtype)) for name, column in columns.items()],
        metadata={_METADATA_KEY: json.dumps(metadata)},
    )


def _required(name: str, kind: pa.DataType) -> pa.Field:
    """A column without nulls; with nulls allowed, reading takes three times as long."""
    return pa.field(name, kind, nullable=False)


def _varied_columns(weights: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Columns of varied weights, given as pairs (up, down), by their names in the file."""
    return {
        _PREFIX + varied_name(name, direction): column
        for name, pair in weights.items()
        for direction, column in zip(DIRECTIONS, pair, strict=True)
    }


def write_chunk(
    path: Path,
    features: Mapping[str, NDArray[np.float32]],
    *,
    weight: NDArray[np.float64],
    identity: NDArray[np.uint64],
    weight_variations: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]] | None = None,
) -> None:
    """Write the selected events of a chunk without compression, one column per feature.

    Args:
        path: the parquet file, which appears only when it is complete.
        features: f4 [N] by name.
        weight: f8 [N], before normalisation.
        identity: u8 [N].
        weight_variations: f8 [N] each, up and down by name, before normalisation.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = dict(features) | {_PREFIX + "weight": weight, _PREFIX + "identity": identity}
    columns |= _varied_columns(weight_variations or {})
    schema = pa.schema(_required(name, pa.from_numpy_dtype(column.dtype)) for name, column in columns.items())
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns, schema=schema), temporary, **_PLAIN)


def read_chunk(
    path: Path, feature_names: Sequence[str], features: NDArray[np.float32], weight_variations: Sequence[str] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.float64]]]:
    """Read what `write_chunk` wrote.

    Args:
        path: the parquet file.
        feature_names: F names.
        features: f4 [N, F], into which the features are read.
        weight_variations: names of variations to read.

    Returns:
        `weight` f8 and `identity` u8, [N] each; and weights by variation, up and down, f8 [2, N], without variations
        that the file does not have.
    """
    table = pq.read_table(path, use_threads=False, memory_map=True)
    for index, name in enumerate(feature_names):
        features[:, index] = table[name].to_numpy()
    columns = {name: table[_PREFIX + name].to_numpy() for name in ("weight", "identity")}
    known = [name for name in weight_variations if _PREFIX + varied_name(name, "up") in table.column_names]
    return columns, {name: _varied_of(table, name) for name in known}


def _varied_of(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.stack([table[_PREFIX + varied_name(name, direction)].to_numpy() for direction in DIRECTIONS])


def read_fields(path: Path) -> dict[str, Any]:
    """Read what `write_fields` wrote.

    Args:
        path: the parquet file.

    Returns:
        The arguments of `EventTable` by name.

    Raises:
        InputError: the file is missing, damaged or was not written by `write_fields`.
    """
    try:
        with pq.ParquetFile(path) as file:
            metadata = _metadata(path, file.schema_arrow.metadata)
            variations = metadata.pop("weight_variations")
            columns = _read_columns(file, metadata["feature_names"], variations)
    except FileNotFoundError as error:
        msg = f"there is no event table {path}: run the columns stage first"
        raise InputError(msg) from error
    except (OSError, pa.ArrowException, KeyError) as error:
        msg = f"{path} is not a readable event table ({error}): delete it and run the columns stage again"
        raise InputError(msg) from error
    for name in ("feature_names", "process_names", "roles", "labels"):
        metadata[name] = tuple(metadata[name])
    return metadata | columns


def _metadata(path: Path, stored: dict[bytes, bytes] | None) -> dict[str, Any]:
    text = (stored or {}).get(_METADATA_KEY)
    if text is None:
        msg = f"{path} was not written as an event table; use EventTable.from_arrays for other parquet files"
        raise InputError(msg)
    metadata: dict[str, Any] = json.loads(text)
    if (found := metadata.pop("format")) != _FORMAT:
        msg = f"{path} has event table format {found}, this version reads {_FORMAT}: run the columns stage again"
        raise InputError(msg)
    return metadata


def _read_columns(file: pq.ParquetFile, feature_names: list[str], variations: list[str]) -> dict[str, Any]:
    rows = file.metadata.num_rows
    features = np.empty((rows, len(feature_names)), dtype=np.float32, order="F")
    columns = {name: np.empty(rows, dtype=kind) for name, kind in _COLUMNS.items()}
    varied = {name: np.empty((2, rows)) for name in variations}
    start = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        stop = start + table.num_rows
        for index, name in enumerate(feature_names):
            features[start:stop, index] = table[name].to_numpy()
        for name, column in columns.items():
            column[start:stop] = table[_PREFIX + name].to_numpy()
        for name, pair in varied.items():
            pair[:, start:stop] = _varied_of(table, name)
        start = stop
    return {"features": features, "weight_variations": varied} | columns
