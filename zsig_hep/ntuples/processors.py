"""A coffea processor that selects events and writes the features, weights and identities of each chunk."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from coffea.processor import ProcessorABC
from numpy.typing import NDArray

from zsig_hep.ntuples.chunk import ChunkKey, ChunkReader, SelectedChunk, chunk_key
from zsig_hep.ntuples.datasets import Weight
from zsig_hep.ntuples.generator_sums import EventWeights, exact_sum
from zsig_hep.ntuples.luminosity import LuminosityMask
from zsig_hep.ntuples.storage import write_chunk
from zsig_hep.ntuples.variations import DIRECTIONS, Variation, varied_name
from zsig_hep.ntuples.varied_sums import VariedSums


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
    """Count of events with weights f8 [N], and exact sums of these."""
    return WeightedCount(len(weight), exact_sum(weight), exact_sum(np.square(weight)))


@dataclass(frozen=True)
class ChunkFile:
    """A file of the selected events of a chunk.

    Attributes:
        path: parquet file; None if no event is selected.
        selected: number of events.
        feature_names: F names.
    """

    path: str | None
    selected: int
    feature_names: tuple[str, ...]


@dataclass(frozen=True)
class ChunkRecord:
    """The result of processing one chunk of events.

    Attributes:
        events: the selected events, with their weights under every weight variation.
        generator: all events of the chunk, with their generator weights.
        cutflow: names of the cuts and the events that pass all cuts up to each, with full weights; the first row,
            "ntuple", has all events.
        shapes: the events selected under each direction of a shape variation, by varied name.
        varied_sums: sums over all events of the chunk under the weight variations that are normalised to them, by name.
        set_lengths: numbers of elements of the branch of each set of weights, by name.
    """

    events: ChunkFile
    generator: EventWeights
    cutflow: tuple[tuple[str, WeightedCount], ...]
    shapes: Mapping[str, ChunkFile] = field(default_factory=dict)
    varied_sums: Mapping[str, VariedSums] = field(default_factory=dict)
    set_lengths: Mapping[str, list[int]] = field(default_factory=dict)

    @property
    def path(self) -> str | None:
        """Parquet file of the selected events; None if there are none."""
        return self.events.path

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.events.feature_names

    @property
    def selected(self) -> int:
        """Number of selected events."""
        return self.events.selected


class FeatureProcessor(ProcessorABC):  # type: ignore[misc]
    """Selects events and writes their features: a processor for any coffea Runner, executor and schema.

    The output is a dict of `ChunkRecord` by `ChunkKey`, which coffea's accumulation merges. The parquet files that it
    names appear only when they are complete.

    Args:
        columns: `columns(events)`, which returns features by name, (features, cuts) or (features, cuts, weights) with
            coffea's `Weights`, whose product multiplies the event weight; or names of flat branches. Cuts are a
            `coffea.analysis_tools.PackedSelection`, whose cuts are applied in their order, or an array of booleans;
            features then have one row per selected event.
        folder: folder of the chunk files, which every worker must be able to write to.
        weights: event weight by dataset, None for unweighted.
        event_identity: branches that identify an event in a file, or "content".
        variations: systematic variations by dataset and name.
        weight_functions: loaded functions of weight variations, by name.
        luminosity_masks: of data, by dataset.
        identity_names: by dataset, the name that is part of the identity of its events; by default its own.
        data_names: names of the datasets that are recorded data, whose events have no weights.
        triggers: by dataset, branches of which one must be true, and branches of which none may be.

    Example:
        >>> processor = FeatureProcessor(["MET_pt"], folder=Path("chunks"), weights={"ttbar": "genWeight"})
        >>> processor.columns
        ('MET_pt',)
    """

    def __init__(
        self,
        columns: Callable[..., Any] | Sequence[str],
        *,
        folder: Path,
        weights: Mapping[str, Weight | None],
        event_identity: Sequence[str] | Literal["content"] = ("run", "luminosityBlock", "event"),
        variations: Mapping[str, Mapping[str, Variation]] | None = None,
        weight_functions: Mapping[str, Callable[[Any], Any]] | None = None,
        luminosity_masks: Mapping[str, LuminosityMask] | None = None,
        identity_names: Mapping[str, str] | None = None,
        data_names: Collection[str] = (),
        triggers: Mapping[str, tuple[Sequence[str], Sequence[str]]] | None = None,
        preselection: str | None = None,
    ) -> None:
        """Store the arguments; nothing is read or written before `process`."""
        self.columns = columns if callable(columns) else tuple(columns)
        self.folder = folder
        self.reader = ChunkReader(
            self.columns,
            dict(weights),
            event_identity,
            variations,
            weight_functions,
            luminosity_masks,
            identity_names,
            data_names,
            triggers,
            preselection,
        )

    @classmethod
    def from_reader(cls, reader: ChunkReader, folder: Path) -> "FeatureProcessor":
        """Make a processor that writes the events that a reader selects."""
        return cls(folder=folder, **vars(reader))

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
        chunk = self.reader.read(events)
        weight, nominal = chunk.event_weight, chunk.nominal
        generator = EventWeights.of(chunk.generator_weight)
        unscaled = WeightedCount(generator.entries, generator.sum_of_weights, generator.sum_of_squares)
        cutflow = [("ntuple", unscaled if chunk.generator_weight is weight else count_weights(weight))]
        cutflow += [(name, count_weights(weight[mask])) for name, mask in nominal.cuts]
        shapes = {
            varied_name(name, direction): self._write(key, varied, varied_name(name, direction))
            for name, pair in chunk.shapes.items()
            for direction, varied in zip(DIRECTIONS, pair, strict=True)
            if varied is not None
        }
        record = ChunkRecord(
            events=self._write(key, nominal, "", chunk.weights),
            generator=generator,
            cutflow=tuple(cutflow),
            shapes=shapes,
            varied_sums=chunk.varied_sums,
            set_lengths=chunk.set_lengths,
        )
        return {key: record}

    def postprocess(self, accumulator: Any) -> Any:
        """Return the records unchanged."""
        return accumulator

    def _write(
        self,
        key: ChunkKey,
        chunk: SelectedChunk,
        variation: str,
        weights: Mapping[str, tuple[NDArray[np.float64], ...]] | None = None,
    ) -> ChunkFile:
        names = tuple(chunk.features)
        if not len(chunk):
            return ChunkFile(None, 0, names)
        digest = hashlib.sha256(repr((*key, variation)).encode()).hexdigest()[:24]
        path = self.folder / f"{digest}.parquet"
        write_chunk(path, chunk.features, weight=chunk.weight, identity=chunk.identity, weight_variations=weights)
        return ChunkFile(str(path), len(chunk), names)
