"""From chunk records and chunk files to the event table and the cutflows of an analysis."""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsig_hep.errors import InputError, NormalisationError
from zsig_hep.ntuples.chunk import ChunkKey
from zsig_hep.ntuples.cutflow import CutflowRow, add_cutflows, process_cutflow
from zsig_hep.ntuples.datasets import NtupleSettings, Process
from zsig_hep.ntuples.generator_sums import EventWeights, GeneratorSums
from zsig_hep.ntuples.identity import (
    Repetitions,
    assign_folds,
    find_content_repetitions,
    find_repetitions,
    hash_content,
    refuse_duplicates,
    refuse_repeated_data,
    repeated,
)
from zsig_hep.ntuples.inputs import DatasetInputs, normalise_all
from zsig_hep.ntuples.normalisation import Normalisation
from zsig_hep.ntuples.processors import ChunkFile, ChunkRecord
from zsig_hep.ntuples.storage import read_chunk
from zsig_hep.ntuples.table import EventTable, validate_table, validate_varied_table
from zsig_hep.ntuples.variations import DIRECTIONS, Variation
from zsig_hep.ntuples.varied_sums import VariedSums, all_own_factors
from zsig_hep.ntuples.weight_factors import require_equal_lengths
from zsig_hep.ntuples.weight_sets import VariedWeights, WeightSetVariation


@dataclass(frozen=True)
class ReadDataset:
    """A dataset whose events were processed.

    Attributes:
        inputs: the dataset as it was before.
        records: its chunks by key, in the order of files and entries.
        normalisation: of simulation; None for data.
        own_factors: factors on the yields under weight variations with own sums of weights, by name: up and down, or of the
            elements of a set.
    """

    inputs: DatasetInputs
    records: dict[ChunkKey, ChunkRecord]
    normalisation: Normalisation | None
    own_factors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def factor(self) -> float:
        """Yield per unit of weight; 1 for data."""
        return 1.0 if self.normalisation is None else self.normalisation.factor


def normalise_datasets(
    inspected: Sequence[DatasetInputs],
    records: Mapping[ChunkKey, ChunkRecord],
    luminosity_ifb: float,
    variations: Mapping[str, Variation] | None = None,
) -> tuple[ReadDataset, ...]:
    """Sort chunk records by dataset, file and entry, and normalise each dataset.

    Args:
        inspected: the datasets, in order.
        records: all chunks, in any order.
        luminosity_ifb: integrated luminosity in 1/fb.
        variations: expanded variations, by name.

    Returns:
        The datasets, in order.

    Raises:
        InputError: a set of weights has different lengths in the files of a dataset.
        NormalisationError: all problems at once, one per line.
    """
    own = {inputs.dataset.name: _sorted_records(inputs, records) for inputs in inspected}
    for dataset, found in own.items():
        for name, variation in (variations or {}).items():
            if isinstance(variation, WeightSetVariation):
                lengths = [each for record in found.values() for each in record.set_lengths.get(name, ())]
                require_equal_lengths(dataset, name, variation, lengths)
    simulated = [inputs for inputs in inspected if inputs.dataset.role != "data"]
    events = {
        name: functools.reduce(operator.add, (each.generator for each in found.values()), EventWeights.of_unweighted(0))
        for name, found in own.items()
    }
    normalisations = {each.dataset: each for each in normalise_all(simulated, events, luminosity_ifb)}
    own_factors = all_own_factors(
        [inputs.dataset for inputs in simulated],
        normalisations,
        variations or {},
        stored={inputs.dataset.name: inputs.varied for inputs in simulated},
        of_events={name: _varied_sums(found.values()) for name, found in own.items()},
    )
    names = {inputs.dataset.name: inputs for inputs in inspected}
    return tuple(
        ReadDataset(inputs, own[name], normalisations.get(name), own_factors.get(name, {}))
        for name, inputs in names.items()
    )


def _varied_sums(records: Iterable[ChunkRecord]) -> dict[str, VariedSums]:
    """Sums over the events of a dataset under variations, by name."""
    total: dict[str, VariedSums] = {}
    for record in records:
        for name, sums in record.varied_sums.items():
            total[name] = total[name] + sums if name in total else sums
    return total


def _sorted_records(inputs: DatasetInputs, records: Mapping[ChunkKey, ChunkRecord]) -> dict[ChunkKey, ChunkRecord]:
    order = {file.path: number for number, file in enumerate(inputs.dataset.files)}
    own = [key for key in records if key[0] == inputs.dataset.name]
    own.sort(key=lambda key: (order[key[1]], key[3]))
    return {key: records[key] for key in own}


def cutflows_by_process(read: Sequence[ReadDataset]) -> dict[str, tuple[CutflowRow, ...]]:
    """Cutflow of every process at the luminosity.

    Args:
        read: all datasets.

    Returns:
        Rows by process.

    Raises:
        InputError: chunks of one dataset apply different cuts.
    """
    flows: dict[str, list[tuple[Any, float]]] = {}
    generated: dict[str, list[GeneratorSums | None]] = {}
    for dataset in read:
        if not dataset.records:
            continue
        name, process = dataset.inputs.dataset.name, dataset.inputs.dataset.process
        flows.setdefault(process, []).append((add_cutflows(name, dataset.records.values()), dataset.factor))
        generated.setdefault(process, []).append(_summed_weights(dataset))
    return {process: process_cutflow(flow, generated[process]) for process, flow in flows.items()}


def _summed_weights(dataset: ReadDataset) -> GeneratorSums | None:
    """The sums over generated events if the yields are normalised to them, else None."""
    normalisation = dataset.normalisation
    return dataset.inputs.stored if normalisation is not None and normalisation.source in {"runs", "tree"} else None


@dataclass(frozen=True)
class _Rows:
    """The rows of the table for the selected events of a chunk, and the numbers of its process and file."""

    rows: slice
    chunk: ChunkFile
    factor: float
    process: int
    file: int
    own_factors: Mapping[str, tuple[float, ...]]


def assemble_table(
    read: Sequence[ReadDataset],
    processes: Mapping[str, Process],
    settings: NtupleSettings,
    luminosity_ifb: float,
    variations: Mapping[str, Variation] | None = None,
) -> tuple[EventTable, tuple[str, ...]]:
    """Read the chunk files of the nominal selection into one table.

    Args:
        read: all datasets, in the order of the table.
        processes: processes by name.
        settings: folds and identity.
        luminosity_ifb: integrated luminosity in 1/fb.
        variations: expanded variations, by name, of which those of weights are used.

    Returns:
        The validated table, and notes on events with the same identity.

    Raises:
        InputError: the chunks have different features, events occur twice, or the table cannot be used.
    """
    names = _common_features(read)
    layout, file_names = _layout(read, list(processes))
    of_weights = {name: each for name, each in (variations or {}).items() if isinstance(each, VariedWeights)}
    table = _filled_table(layout, names, processes, settings, luminosity_ifb, of_weights)
    file = np.empty(len(table), dtype=np.int32)
    for part in layout:
        file[part.rows] = part.file
    dataset_of_file = [each.inputs.dataset.name for each in read for _ in each.inputs.dataset.files]
    notes = _check_repetitions(
        table, file, file_names, dataset_of_file, by_content=settings.event_identity == "content"
    )
    _normalise_weights(table, layout)
    _normalise_to_nominal(table, of_weights)
    table = _with_members(table, of_weights)
    validate_table(table)
    return table, notes


def assemble_shapes(
    read: Sequence[ReadDataset], processes: Mapping[str, Process], settings: NtupleSettings, luminosity_ifb: float
) -> dict[str, EventTable]:
    """Read the chunk files of shape variations into a table for each direction.

    Args:
        read: all datasets, in the order of the table.
        processes: processes by name.
        settings: folds and identity.
        luminosity_ifb: integrated luminosity in 1/fb.

    Returns:
        Tables by varied name, such as "jesUp", with the events of the processes that are varied.

    Raises:
        InputError: the chunks have different features, or a table cannot be used.
    """
    names = _common_features(read)
    varied = dict.fromkeys(name for dataset in read for record in dataset.records.values() for name in record.shapes)
    tables = {}
    for name in varied:
        layout, _ = _layout(read, list(processes), name)
        table = _filled_table(layout, names, processes, settings, luminosity_ifb)
        _normalise_weights(table, layout)
        validate_varied_table(table, name)
        tables[name] = table
    return tables


def _filled_table(
    layout: Sequence[_Rows],
    names: tuple[str, ...],
    processes: Mapping[str, Process],
    settings: NtupleSettings,
    luminosity_ifb: float,
    variations: Mapping[str, VariedWeights] | None = None,
) -> EventTable:
    """A table of the events of chunk files, with weights before normalisation."""
    length = layout[-1].rows.stop if layout else 0
    table = EventTable(
        features=np.empty((length, len(names)), dtype=np.float32, order="F"),
        feature_names=names,
        weight=np.empty(length, dtype=np.float64),
        process=np.empty(length, dtype=np.int32),
        process_names=tuple(processes),
        roles=tuple(process.role for process in processes.values()),
        labels=tuple(process.label or name for name, process in processes.items()),
        fold=np.empty(length, dtype=np.int16),
        fold_count=settings.folds,
        identity=np.empty(length, dtype=np.uint64),
        luminosity_ifb=luminosity_ifb,
        weight_variations={name: np.empty((_rows_of(each), length)) for name, each in (variations or {}).items()},
    )
    for part in layout:
        _fill(table, part, settings.fold_seed)
    return table


def _rows_of(variation: VariedWeights) -> int:
    """Number of varied weights of each event in the chunk files."""
    return len(variation.elements) if isinstance(variation, WeightSetVariation) else len(DIRECTIONS)


def _with_members(table: EventTable, variations: Mapping[str, VariedWeights]) -> EventTable:
    """Replace the weights under the elements of sets by those of the members, whose shifts are combined."""
    varied = {name: table.weight_variations[name] for name in variations}
    for name, variation in variations.items():
        if isinstance(variation, WeightSetVariation):
            varied[name] = variation.member_weights(table.weight, varied[name])
    return replace(table, weight_variations=varied)


def _normalise_weights(table: EventTable, layout: Sequence[_Rows]) -> None:
    for part in layout:
        table.weight[part.rows] *= part.factor
        for name, pair in table.weight_variations.items():
            pair[:, part.rows] *= part.factor
            if (own := part.own_factors.get(name)) is not None:
                pair[:, part.rows] *= np.array(own)[:, None]


def _normalise_to_nominal(table: EventTable, variations: Mapping[str, VariedWeights]) -> None:
    """Scale the weights under variations of shapes only to the nominal yield of each process.

    Raises:
        NormalisationError: a yield under such a variation is zero or of the other sign.
    """
    shapes_only = {name: each for name, each in variations.items() if each.normalise == "shape_only"}
    for index, process in enumerate(table.process_names if shapes_only else ()):
        rows = table.process == index
        nominal = table.weight[rows].sum()
        for name, variation in shapes_only.items():
            if process not in (variation.processes or ()) or nominal == 0:
                continue
            varied = table.weight_variations[name][:, rows].sum(axis=1)
            if not (varied * nominal > 0).all():
                msg = (
                    f"variation {name!r}: the yields of process {process!r} are {', '.join(f'{each:.4g}' for each in varied)} "
                    f"after the selection, and the nominal one is {nominal:.4g}, so that they cannot be scaled to it "
                    "(normalise: shape_only). Leave the process out (processes: [...]), or set normalise to `nominal`"
                )
                raise NormalisationError(msg)
            table.weight_variations[name][:, rows] *= (nominal / varied)[:, None]


def _common_features(read: Sequence[ReadDataset]) -> tuple[str, ...]:
    first: tuple[str, ...] | None = None
    for dataset in read:
        name = dataset.inputs.dataset.name
        for record in dataset.records.values():
            for chunk in (record.events, *record.shapes.values()):
                first = chunk.feature_names if first is None else first
                if differing := sorted(set(chunk.feature_names) ^ set(first)):
                    msg = (
                        f"columns(events) returned other features on dataset {name!r} than before: "
                        f"{', '.join(map(repr, differing))} are not in both. Return the same names for every event."
                    )
                    raise InputError(msg)
    return first or ()


def _layout(
    read: Sequence[ReadDataset], process_names: list[str], variation: str | None = None
) -> tuple[list[_Rows], list[str]]:
    """Rows of the chunks of the nominal selection or of a shape variation, and the names of all files."""
    layout: list[_Rows] = []
    file_names: list[str] = []
    start = 0
    for dataset in read:
        numbers = {file.path: len(file_names) + n for n, file in enumerate(dataset.inputs.dataset.files)}
        file_names += numbers
        process = process_names.index(dataset.inputs.dataset.process)
        for key, record in dataset.records.items():
            chunk = record.events if variation is None else record.shapes.get(variation)
            if chunk is None:
                continue
            stop = start + chunk.selected
            layout.append(
                _Rows(slice(start, stop), chunk, dataset.factor, process, numbers[key[1]], dataset.own_factors)
            )
            start = stop
    return layout, file_names


def _fill(table: EventTable, part: _Rows, fold_seed: int) -> None:
    """Move a chunk from its file into the table, with weights before normalisation."""
    table.process[part.rows] = part.process
    if part.chunk.path is None:
        return
    path = Path(part.chunk.path)
    numbers = {name: len(weights) for name, weights in table.weight_variations.items()}
    chunk, varied = read_chunk(path, table.feature_names, table.features[part.rows], numbers)
    for name, pair in table.weight_variations.items():
        pair[:, part.rows] = varied.get(name, chunk["weight"])
    table.weight[part.rows] = chunk["weight"]
    table.identity[part.rows] = chunk["identity"]
    table.fold[part.rows] = assign_folds(chunk["identity"], table.fold_count, fold_seed)
    path.unlink()


def _check_repetitions(
    table: EventTable,
    file: NDArray[np.int32],
    file_names: Sequence[str],
    dataset_of_file: Sequence[str],
    *,
    by_content: bool,
) -> tuple[str, ...]:
    """Look for events that occur twice in a table that is sorted by process, with weights before normalisation."""
    notes = []
    for index, name in enumerate(table.process_names):
        rows = slice(*np.searchsorted(table.process, np.arange(index, index + 2, dtype=np.int32)))
        identity = table.identity[rows]
        if table.roles[index] == "data" and not by_content:
            refuse_repeated_data(identity, file[rows], name, file_names, dataset_of_file)
            continue
        if by_content:
            found = find_content_repetitions(identity, file[rows])
        elif len(repeated(identity)):
            content = hash_content(list(table.features[rows].T), table.weight[rows])
            found = find_repetitions(identity, content, file[rows])
        else:
            continue
        refuse_duplicates(found, name, file_names)
        notes += _repetition_notes(name, found)
    return tuple(notes)


def _repetition_notes(process: str, found: Repetitions) -> list[str]:
    notes = []
    if found.other_content:
        notes.append(
            f"process {process!r}: {found.other_content} selected events have the identity of another event but other "
            "content, as in simulation with another seed: kept"
        )
    if found.same_content:
        notes.append(
            f"process {process!r}: {found.same_content} selected events have the features of another event, which is "
            f"compatible with chance for features with few values ({found.expected:.3g} expected): kept"
        )
    return notes
