"""Checks, before events are processed, that the ntuples have the trees and branches that an analysis needs."""

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from uproot.source.file import MemmapSource

from zsig_hep.errors import InputError, NormalisationError, ZsigError, first_line, nearest_name
from zsig_hep.ntuples.columns import branch_and_element, flat_branch, is_reading_error, load_columns
from zsig_hep.ntuples.datasets import NtupleSettings, Process, SignOf, SumValue
from zsig_hep.ntuples.generator_sums import EventWeights, GeneratorSums, read_runs_sum, read_stored_sum, runs_tree
from zsig_hep.ntuples.luminosity import RUN_BRANCHES
from zsig_hep.ntuples.normalisation import Normalisation, normalise
from zsig_hep.ntuples.preselection import preselection_branches
from zsig_hep.ntuples.resolution import ResolvedDataset, SourceFile, resolve_datasets
from zsig_hep.ntuples.variations import Variation, expand_variations, variations_of
from zsig_hep.ntuples.varied_sums import VariedSums, all_own_factors, read_varied_sums
from zsig_hep.ntuples.weight_sets import VariedWeights

_TREE_CLASSES = ("TTree", "TNtuple", "TChain", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")


@dataclass(frozen=True)
class DatasetInputs:
    """A dataset before its events are processed.

    Attributes:
        dataset: the dataset.
        entries: number of events in each of its files.
        uuids: ROOT's identifier of each file, 16 bytes.
        runs: sums over all generated events; None for data and for files without them in a `Runs` tree.
        stored: sums over all generated events from the source of the dataset; None for data, and where the events or
            normalised weights are the source.
        varied: sums over all generated events under weight variations with own sums that the files store, by name.
    """

    dataset: ResolvedDataset
    entries: tuple[int, ...]
    uuids: tuple[bytes, ...]
    runs: GeneratorSums | None
    stored: GeneratorSums | None = None
    varied: Mapping[str, VariedSums] = field(default_factory=dict)


@dataclass(frozen=True)
class InputCheck:
    """The result of a check of all inputs.

    Attributes:
        normalisations: of every simulated dataset.
        entries: number of events by dataset.
        notes: unusual properties of the inputs that are no errors.
    """

    normalisations: tuple[Normalisation, ...]
    entries: dict[str, int]
    notes: tuple[str, ...]


def reading_options(files: Iterable[SourceFile]) -> dict[str, Any]:
    """Options of uproot for some files: local ones are mapped into memory.

    This is faster than a request to another thread for every basket, and needs no threads, for which memory can be short.
    """
    return {} if any(file.is_remote for file in files) else {"handler": MemmapSource}


@contextmanager
def open_file(file: SourceFile) -> Iterator[Any]:
    """Open a ROOT file.

    Args:
        file: its path or address.

    Yields:
        The open `uproot` file.

    Raises:
        InputError: the file is missing, not a ROOT file, or truncated; or what the block reads of it is damaged.
    """
    try:
        opened = uproot.open({file.path: None}, **reading_options([file]))
    except Exception as error:
        raise InputError(_opening_message(file, error)) from error
    with opened:
        if not file.is_remote and Path(file.path).stat().st_size < opened.file.fEND:
            raise InputError(_truncation_message(file))
        try:
            yield opened
        except ZsigError:
            raise
        except Exception as error:
            # What uproot raises on damaged content can be of any type.
            if not is_reading_error(error):
                raise
            msg = f"{_truncation_message(file)} ({first_line(error)})"
            raise InputError(msg) from error


def _opening_message(file: SourceFile, error: Exception) -> str:
    if file.is_remote:
        return f"{file.path} cannot be opened: {first_line(error)}"
    path = Path(file.path)
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as reason:
        return f"{file.path} cannot be opened: {reason.strerror}"
    if start != b"root":
        return f"{file.path} is not a ROOT file"
    if isinstance(error, MemoryError) or "start new thread" in str(error):
        return f"memory is too short to open {file.path} ({first_line(error)})"
    return f"{_truncation_message(file)} ({first_line(error)})"


def _truncation_message(file: SourceFile) -> str:
    return f"{file.path} is truncated or damaged: copy or produce it again"


def open_tree(opened: Any, file: SourceFile) -> Any:
    """Find the event tree of an open file.

    Raises:
        InputError: there is no such tree; names the nearest one.
    """
    # Errors of uproot are those of `open_file`, whose block this is called in.
    trees = [name for name, kind in opened.classnames(cycle=False).items() if kind.startswith(_TREE_CLASSES)]
    if file.tree not in trees:
        msg = f"{file.path} has no tree {file.tree!r}.{nearest_name(file.tree, trees)}"
        raise InputError(msg)
    return opened[file.tree]


def inspect_inputs(
    settings: NtupleSettings,
    datasets: Sequence[ResolvedDataset],
    variations: Mapping[str, Variation] | None = None,
) -> tuple[DatasetInputs, ...]:
    """Check files, trees and branches, and read the sums over generated events.

    Args:
        settings: the branches that are needed.
        datasets: the datasets.
        variations: systematic variations, of `expand_variations`.

    Returns:
        One entry per dataset, in order.

    Raises:
        InputError: all problems at once, one per line.
        NormalisationError: likewise, if sums of weights are the only problems.
    """
    problems: list[ZsigError] = []
    inspected = [_inspect(settings, dataset, variations or {}, problems) for dataset in datasets]
    problems += _empty_processes(inspected)
    raise_all(problems)
    return tuple(inspected)


def raise_all(problems: Sequence[ZsigError]) -> None:
    """Raise problems as one error, one per line; a NormalisationError if all problems are such errors."""
    if not problems:
        return
    kind = NormalisationError if all(isinstance(problem, NormalisationError) for problem in problems) else InputError
    raise kind("\n".join(map(str, problems)))


def _inspect(
    settings: NtupleSettings,
    dataset: ResolvedDataset,
    variations: Mapping[str, Variation],
    problems: list[ZsigError],
) -> DatasetInputs:
    needed = _needed_branches(settings, dataset, variations)
    entries, uuids = [], []
    stored: list[GeneratorSums | None] = []
    runs: list[GeneratorSums | None] = []
    varied: dict[str, VariedSums] = {}
    for file in dataset.files:
        try:
            with open_file(file) as opened:
                entries.append(_check_tree(open_tree(opened, file), file, needed))
                uuids.append(opened.file.fUUID)
                if dataset.role != "data":
                    found = read_stored_sum(opened, file.path, dataset.name, dataset.sum_of_weights)
                    stored.append(found)
                    runs.append(found if dataset.sum_of_weights == "runs" else _runs_sum(opened, file, dataset))
                    for name, sums in read_varied_sums(opened, file.path, dataset, variations).items():
                        varied[name] = varied[name] + sums if name in varied else sums
        except ZsigError as error:
            problems.append(error)
    if isinstance(dataset.sum_of_weights, SumValue):
        stored = [GeneratorSums(Fraction(dataset.sum_of_weights.value), None, None)]
    return DatasetInputs(dataset, tuple(entries), tuple(uuids), added_sums(runs), added_sums(stored), varied)


def added_sums(sums: Sequence[GeneratorSums | None]) -> GeneratorSums | None:
    """The sums over all parts; None if one has none, or there is no part."""
    known = [each for each in sums if each is not None]
    return functools.reduce(operator.add, known) if known and len(known) == len(sums) else None


def _runs_sum(opened: Any, file: SourceFile, dataset: ResolvedDataset) -> GeneratorSums | None:
    """The sums of the `Runs` tree, for comparison; None if there is none."""
    return None if runs_tree(opened) is None else read_runs_sum(opened, file.path, dataset.name)


def _needed_branches(
    settings: NtupleSettings, dataset: ResolvedDataset, variations: Mapping[str, Variation]
) -> dict[str, str]:
    """Branches that a dataset must have, each with advice for the case that it is missing, beyond the nearest name."""
    identity = [] if isinstance(settings.event_identity, str) else settings.event_identity
    columns = [] if isinstance(settings.columns, str) else settings.columns
    needed = dict.fromkeys([*dataset.weight_branches, *columns], "")
    if settings.preselection is not None:
        cut = preselection_branches(settings.preselection)
        needed |= {branch: " ntuples.preselection needs it" for branch in cut if branch not in needed}
    advice = " Name the branches that identify an event, or set event_identity: content"
    needed |= {branch: advice for branch in identity if branch not in needed}
    for name, variation in variations_of(variations, dataset.process).items():
        if isinstance(variation, VariedWeights):
            advice = f" Variation {name!r} needs it; if only some processes have it, name them: processes: [...]"
            needed |= {branch: advice for branch in variation.branches if branch not in needed}
    needed |= {
        branch: " It is one of the triggers of the dataset" for branch in dataset.triggers if branch not in needed
    }
    if dataset.luminosity_mask is not None:
        needed |= {branch: " The luminosity mask needs it" for branch in RUN_BRANCHES if branch not in needed}
    return needed


def _check_tree(tree: Any, file: SourceFile, needed: Mapping[str, str]) -> int:
    names = list(tree.keys())
    stems = {name: name if name in names else branch_and_element(name)[0] for name in needed}
    if missing := [name for name, stem in stems.items() if stem not in names]:
        hints = " ".join(f"{name!r}.{nearest_name(name, names)}{needed[name]}" for name in missing)
        msg = f"{file.path}: tree {file.tree!r} has no branch {hints}"
        raise InputError(msg)
    entries = int(tree.num_entries)
    for name in stems.values():
        if (stored := int(tree[name].num_entries)) != entries:
            msg = f"{_truncation_message(file)}: tree {file.tree!r} has {entries} entries, its branch {name!r} {stored}"
            raise InputError(msg)
    return entries


def _empty_processes(inspected: Sequence[DatasetInputs]) -> list[ZsigError]:
    entries: dict[str, int] = {}
    for inputs in inspected:
        unread = len(inputs.entries) < len(inputs.dataset.files)
        name = inputs.dataset.process
        entries[name] = entries.get(name, 0) + sum(inputs.entries) + (1 if unread else 0)
    return [
        InputError(f"process {name!r}: its trees have no events. Check the files, or remove the process")
        for name, count in entries.items()
        if count == 0
    ]


def check_inputs(
    settings: NtupleSettings,
    processes: Mapping[str, Process],
    *,
    base_folder: Path,
    luminosity_ifb: float,
    variations: Mapping[str, Variation] | None = None,
) -> InputCheck:
    """Check everything that can be checked without processing events, and compute the normalisations.

    Args:
        settings: how the ntuples are read.
        processes: processes by name.
        base_folder: folder of the analysis file.
        luminosity_ifb: integrated luminosity in 1/fb.
        variations: systematic variations by name.

    Returns:
        Normalisations, entries and notes.

    Raises:
        InputError: all problems at once, one per line.
        NormalisationError: likewise, if normalisations are the only problems.
    """
    load_columns(settings.columns, base_folder)
    expanded = expand_variations(variations or {}, processes)
    inspected = inspect_inputs(settings, resolve_datasets(settings, processes, base_folder), expanded)
    simulated = [inputs for inputs in inspected if inputs.dataset.role != "data"]
    events: dict[str, EventWeights] = {}
    problems: list[ZsigError] = []
    for inputs in simulated:
        try:
            events[inputs.dataset.name] = _sum_over_events(inputs)
        except ZsigError as error:
            problems.append(error)
    raise_all(problems)
    normalisations = normalise_all(simulated, events, luminosity_ifb)
    all_own_factors(
        [inputs.dataset for inputs in simulated],
        {each.dataset: each for each in normalisations},
        expanded,
        stored={inputs.dataset.name: inputs.varied for inputs in simulated},
        of_events=None,
    )
    entries = {inputs.dataset.name: sum(inputs.entries) for inputs in inspected}
    return InputCheck(tuple(normalisations), entries, input_notes(inspected, normalisations))


def normalise_all(
    simulated: Sequence[DatasetInputs], events: Mapping[str, EventWeights], luminosity_ifb: float
) -> list[Normalisation]:
    """Normalise datasets; one and its extensions have the sums of all of them.

    Args:
        simulated: datasets that are not data.
        events: sums over the events of each, by name.
        luminosity_ifb: integrated luminosity in 1/fb.

    Returns:
        The normalisations, in order.

    Raises:
        NormalisationError: all problems at once, one per line.
    """
    groups: dict[str, list[DatasetInputs]] = {}
    for inputs in simulated:
        groups.setdefault(inputs.dataset.normalised_with, []).append(inputs)
    normalisations, problems = [], []
    for inputs in simulated:
        group = groups[inputs.dataset.normalised_with]
        try:
            normalisations.append(
                normalise(
                    inputs.dataset,
                    luminosity_ifb=luminosity_ifb,
                    events=functools.reduce(operator.add, (events[each.dataset.name] for each in group)),
                    stored=added_sums([each.stored for each in group]),
                    runs=added_sums([each.runs for each in group]),
                )
            )
        except NormalisationError as error:
            problems.append(error)
    raise_all(problems)
    return normalisations


def _sum_over_events(inputs: DatasetInputs) -> EventWeights:
    """Sums of the generator weights of the events in the files."""
    dataset = inputs.dataset
    if not dataset.weight_branches:
        return EventWeights.of_unweighted(sum(inputs.entries))
    total = EventWeights.of_unweighted(0)
    name = dataset.weight_branches[0]
    for file in dataset.files:
        with open_file(file) as opened:
            tree = open_tree(opened, file)
            stem = name if name in set(tree.keys()) else branch_and_element(name)[0]
            for chunk in tree.iterate([stem], step_size="50 MB"):
                weight = flat_branch(chunk, name, file.path).astype(np.float64)
                _require_finite(weight, name, file)
                total += EventWeights.of(np.sign(weight) if isinstance(dataset.weight, SignOf) else weight)
    return total


def _require_finite(weight: Any, branch: str, file: SourceFile) -> None:
    if not np.isfinite(weight).all():
        msg = f"{file.path}: weight {branch!r} is NaN or infinite in {int((~np.isfinite(weight)).sum())} events"
        raise InputError(msg)


def input_notes(inspected: Sequence[DatasetInputs], normalisations: Sequence[Normalisation]) -> tuple[str, ...]:
    """Notes on files without events, on unusual normalisations, and on datasets that may be extensions of others."""
    notes = [
        f"dataset {inputs.dataset.name!r}: {file.path} has no events"
        for inputs in inspected
        for file, entries in zip(inputs.dataset.files, inputs.entries, strict=True)
        if entries == 0
    ]
    unusual = [note for normalisation in normalisations for note in normalisation.notes]
    return (*notes, *unusual, *_possible_extensions([inputs.dataset for inputs in inspected]))


def _possible_extensions(datasets: Sequence[ResolvedDataset]) -> Iterator[str]:
    """Datasets of one process with one cross section, each of which counts it in full."""
    first: dict[tuple[str, float], ResolvedDataset] = {}
    for dataset in datasets:
        if dataset.cross_section_pb is None:
            continue
        other = first.setdefault((dataset.process, dataset.cross_section_pb), dataset)
        if other.normalised_with != dataset.normalised_with:
            yield (
                f"datasets {other.name!r} and {dataset.name!r} of process {dataset.process!r} have the same cross section, "
                f"{dataset.cross_section_pb:g} pb, and both count in full: if one has more events of the other, set "
                f"`extends: {other.name}` in {dataset.name!r}"
            )
