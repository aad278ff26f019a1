"""A coffea processor that selects events and writes their features, weights and identities chunk by chunk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
from coffea.processor import ProcessorABC
from numpy.typing import NDArray

from zsig_hep.errors import InputError, ZsigError
from zsig_hep.ntuples.columns import SelectedColumns, branch, first_line, is_reading_error, select_columns
from zsig_hep.ntuples.datasets import SignOf, Weight, weight_branches
from zsig_hep.ntuples.identity import hash_content, hash_identity
from zsig_hep.ntuples.normalisation import exact_sum
from zsig_hep.ntuples.storage import write_chunk

ChunkKey = tuple[str, str, str, int, int]
"""Dataset, file, tree, first entry and entry after the last."""


@dataclass(frozen=True)
class WeightedCount:
    """Entries and exact sums of weights and squared weights.

    Attributes:
        entries: number of events.
        sum_of_weights: exact sum of weights.
        sum_of_squares: exact sum of squared weights.
    """

    entries: int
    sum_of_weights: Fraction
    sum_of_squares: Fraction

    def __add__(self, other: "WeightedCount") -> "WeightedCount":
        """Add the counts of other events."""
        return WeightedCount(
            self.entries + other.entries,
            self.sum_of_weights + other.sum_of_weights,
            self.sum_of_squares + other.sum_of_squares,
        )


def count_weights(weight: NDArray[np.float64]) -> WeightedCount:
    """Count events, f8 [N], and sum their weights exactly."""
    return WeightedCount(len(weight), exact_sum(weight), exact_sum(np.square(weight)))


@dataclass(frozen=True)
class ChunkRecord:
    """What one chunk of events gave.

    Attributes:
        path: parquet file of the selected events; None when there are none.
        feature_names: F names.
        generator: all events of the chunk with their generator weights.
        has_negative_weights: whether a generator weight is negative.
        cutflow: cut names and the events that pass all cuts up to each, with full weights; first all events, "ntuple".
    """

    path: str | None
    feature_names: tuple[str, ...]
    generator: WeightedCount
    has_negative_weights: bool
    cutflow: tuple[tuple[str, WeightedCount], ...]

    @property
    def selected(self) -> int:
        """Number of selected events."""
        return self.cutflow[-1][1].entries


class FeatureProcessor(ProcessorABC):  # type: ignore[misc]
    """Selects events and writes their features: an ordinary processor for any coffea Runner, executor and schema.

    The output is a dict of `ChunkRecord` by `ChunkKey`, which coffea's accumulation merges; the parquet files that it
    names appear only when they are complete.

    Args:
        columns: `columns(events)`, which returns features by name, or (features, cuts); or names of flat branches. Cuts
            are a `coffea.analysis_tools.PackedSelection`, whose cuts apply in their order, or booleans; features then
            have one row per selected event.
        folder: where chunk files are written; every worker must see it.
        weights: event weight by dataset, None for unweighted.
        event_identity: branches that identify an event in a file, or "content".

    Example:
        >>> processor = FeatureProcessor(["MET_pt"], folder=Path("chunks"), weights={"ttbar": "genWeight"})
        >>> processor.columns
        ('MET_pt',)
    """

    def __init__(
        self,
        columns: Callable[[Any], Any] | Sequence[str],
        *,
        folder: Path,
        weights: Mapping[str, Weight | None],
        event_identity: Sequence[str] | Literal["content"] = ("run", "luminosityBlock", "event"),
    ) -> None:
        """Keep the arguments; nothing is read or written before `process`."""
        self.columns = columns if callable(columns) else tuple(columns)
        self.folder = folder
        self.weights = dict(weights)
        self.event_identity = event_identity

    def process(self, events: Any) -> dict[ChunkKey, ChunkRecord]:
        """Select the events of a chunk and write their columns.

        Args:
            events: the chunk, with coffea's metadata.

        Returns:
            The record of the chunk.

        Raises:
            InputError: the chunk cannot be read, a weight is not finite, or the columns cannot be used.
            OutputError: the chunk file cannot be written.
        """
        key = chunk_key(events)
        where = f"dataset {key[0]!r}, file {key[1]}"
        try:
            return {key: self._record(events, key, where)}
        except ZsigError:
            raise
        except Exception as error:
            if not is_reading_error(error):
                raise
            msg = f"{where} cannot be read, it may be truncated or damaged: {first_line(error)}"
            raise InputError(msg) from error

    def postprocess(self, accumulator: Any) -> Any:
        """Return the records as they are."""
        return accumulator

    def _record(self, events: Any, key: ChunkKey, where: str) -> ChunkRecord:
        generator, weight = self._weights(events, key, where)
        columns = select_columns(self.columns, events, where)
        cutflow = [("ntuple", count_weights(weight))]
        cutflow += [(name, count_weights(weight[mask])) for name, mask in columns.cuts]
        path = self._write(events, key, columns, weight, where) if cutflow[-1][1].entries else None
        return ChunkRecord(
            path=path,
            feature_names=tuple(columns.features),
            generator=cutflow[0][1] if generator is weight else count_weights(generator),
            has_negative_weights=bool((generator < 0).any()),
            cutflow=tuple(cutflow),
        )

    def _weights(self, events: Any, key: ChunkKey, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Generator weights and full event weights of all events, f8 [N] each."""
        dataset = key[0]
        if dataset not in self.weights:
            msg = f"no weight is given for dataset {dataset!r}; there are {', '.join(map(repr, self.weights))}"
            raise InputError(msg)
        weight = self.weights[dataset]
        factors = [_flat_branch(events, name, where).astype(np.float64) for name in weight_branches(weight)]
        for name, factor in zip(weight_branches(weight), factors, strict=True):
            _require_finite(factor, name, key, where)
        if not factors:
            factors = [np.ones(len(events))]
        if isinstance(weight, SignOf):
            factors = [np.sign(factors[0])]
        product = factors[0]
        for factor in factors[1:]:
            product = product * factor
        _require_finite(product, "product of weights", key, where)
        return factors[0], product

    def _write(
        self, events: Any, key: ChunkKey, columns: SelectedColumns, weight: NDArray[np.float64], where: str
    ) -> str:
        selected = slice(None) if columns.selected is None else columns.selected
        kept = weight[selected]
        if self.event_identity == "content":
            identity = hash_content(list(columns.features.values()), kept)
        else:
            branches = [_flat_branch(events, name, where)[selected] for name in self.event_identity]
            identity = hash_identity(branches, salt=key[0])
        path = self.folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.parquet"
        write_chunk(path, columns.features, weight=kept, identity=identity)
        return str(path)


def chunk_key(events: Any) -> ChunkKey:
    """Name the chunk that events are from, by coffea's metadata."""
    metadata = events.metadata
    return (
        str(metadata["dataset"]),
        str(metadata["filename"]),
        str(metadata["treename"]),
        int(metadata["entrystart"]),
        int(metadata["entrystop"]),
    )


def _flat_branch(events: Any, name: str, where: str) -> NDArray[Any]:
    try:
        array = branch(events, name)
    except InputError as error:
        msg = f"{where}: {error}"
        raise InputError(msg) from error
    numbers = np.asarray(ak.to_numpy(array)) if array.ndim == 1 else np.empty(0, dtype=np.object_)
    if numbers.dtype.kind not in "iubf":
        msg = f"{where}: branch {name!r} is not one number per event"
        raise InputError(msg)
    return numbers


def _require_finite(values: NDArray[np.float64], name: str, key: ChunkKey, where: str) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    first = int(np.argmin(finite))
    msg = (
        f"{where}: weight {name!r} of entry {key[3] + first} is {values[first]} "
        f"({int((~finite).sum())} such entries in this chunk). Repair or drop the event when the ntuple is made."
    )
    raise InputError(msg)
