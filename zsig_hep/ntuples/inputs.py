"""Checks, before events are processed, that the ntuples have the trees and branches that an analysis needs."""

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from uproot.source.file import MemmapSource

from zsig_hep.errors import InputError, NormalisationError, ZsigError, first_line, nearest_name
from zsig_hep.ntuples.columns import is_reading_error, load_columns
from zsig_hep.ntuples.datasets import NtupleSettings, Process, SignOf
from zsig_hep.ntuples.luminosity import RUN_BRANCHES
from zsig_hep.ntuples.normalisation import (
    GeneratorSums,
    Normalisation,
    comparison_note,
    exact_sum,
    normalise,
    read_runs_sum,
    runs_tree,
)
from zsig_hep.ntuples.resolution import ResolvedDataset, SourceFile, resolve_datasets
from zsig_hep.ntuples.variations import Variation, WeightVariation, expand_variations, variations_of

_TREE_CLASSES = ("TTree", "TNtuple", "TChain", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")


@dataclass(frozen=True)
class DatasetInputs:
    """A dataset before its events are processed.

    Attributes:
        dataset: the dataset.
        entries: number of events in each of its files.
        uuids: ROOT's identifier of each file, 16 bytes.
        runs: sums over all generated events; None for data and for files without them in a `Runs` tree.
    """

    dataset: ResolvedDataset
    entries: tuple[int, ...]
    uuids: tuple[bytes, ...]
    runs: GeneratorSums | None


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
    entries, uuids, sums = [], [], []
    for file in dataset.files:
        try:
            with open_file(file) as opened:
                entries.append(_check_tree(open_tree(opened, file), file, needed))
                uuids.append(opened.file.fUUID)
                if _wants_runs(dataset, opened):
                    sums.append(read_runs_sum(opened, file.path, dataset.name))
        except ZsigError as error:
            problems.append(error)
    runs = functools.reduce(operator.add, sums) if len(sums) == len(dataset.files) else None
    return DatasetInputs(dataset, tuple(entries), tuple(uuids), runs)


def _needed_branches(
    settings: NtupleSettings, dataset: ResolvedDataset, variations: Mapping[str, Variation]
) -> dict[str, str]:
    """Branches that a dataset must have, each with advice for the case that it is missing, beyond the nearest name."""
    identity = [] if isinstance(settings.event_identity, str) else settings.event_identity
    columns = [] if isinstance(settings.columns, str) else settings.columns
    needed = dict.fromkeys([*dataset.weight_branches, *identity, *columns], "")
    for name, variation in variations_of(variations, dataset.process).items():
        if isinstance(variation, WeightVariation):
            advice = f" Variation {name!r} needs it; if only some processes have it, name them: processes: [...]"
            needed |= {branch: advice for branch in variation.branches if branch not in needed}
    if dataset.luminosity_mask is not None:
        needed |= {branch: " The luminosity mask needs it" for branch in RUN_BRANCHES if branch not in needed}
    return needed


def _check_tree(tree: Any, file: SourceFile, needed: Mapping[str, str]) -> int:
    names = list(tree.keys())
    if missing := [name for name in needed if name not in names]:
        hints = " ".join(f"{name!r}.{nearest_name(name, names)}{needed[name]}" for name in missing)
        msg = f"{file.path}: tree {file.tree!r} has no branch {hints}"
        raise InputError(msg)
    entries = int(tree.num_entries)
    for name in needed:
        if (stored := int(tree[name].num_entries)) != entries:
            msg = f"{_truncation_message(file)}: tree {file.tree!r} has {entries} entries, its branch {name!r} {stored}"
            raise InputError(msg)
    return entries


def _wants_runs(dataset: ResolvedDataset, opened: Any) -> bool:
    if dataset.role == "data":
        return False
    return dataset.sum_of_weights == "runs" or runs_tree(opened) is not None


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
    normalisations, problems = [], []
    for inputs in inspected:
        if inputs.dataset.role == "data":
            continue
        try:
            events, has_negative = _sum_over_events(inputs)
            normalisations.append(
                normalise(
                    inputs.dataset,
                    luminosity_ifb=luminosity_ifb,
                    events=events,
                    has_negative_weights=has_negative,
                    runs=inputs.runs,
                )
            )
        except ZsigError as error:
            problems.append(error)
    raise_all(problems)
    entries = {inputs.dataset.name: sum(inputs.entries) for inputs in inspected}
    return InputCheck(tuple(normalisations), entries, input_notes(inspected, normalisations))


def _sum_over_events(inputs: DatasetInputs) -> tuple[GeneratorSums, bool]:
    """Sums of the generator weights of the events in the files, and whether one is negative."""
    dataset = inputs.dataset
    total, has_negative = GeneratorSums(Fraction(0), Fraction(0), 0), False
    if not dataset.weight_branches:
        entries = sum(inputs.entries)
        return GeneratorSums(Fraction(entries), Fraction(entries), entries), False
    branch = dataset.weight_branches[0]
    for file in dataset.files:
        with open_file(file) as opened:
            for chunk in open_tree(opened, file).iterate([branch], step_size="50 MB", library="np"):
                weight = chunk[branch].astype(np.float64)
                _require_finite(weight, branch, file)
                weight = np.sign(weight) if isinstance(dataset.weight, SignOf) else weight
                has_negative = has_negative or bool((weight < 0).any())
                total = total + GeneratorSums(exact_sum(weight), exact_sum(np.square(weight)), len(weight))
    return total, has_negative


def _require_finite(weight: Any, branch: str, file: SourceFile) -> None:
    if not np.isfinite(weight).all():
        msg = f"{file.path}: weight {branch!r} is NaN or infinite in {int((~np.isfinite(weight)).sum())} events"
        raise InputError(msg)


def input_notes(inspected: Sequence[DatasetInputs], normalisations: Sequence[Normalisation]) -> tuple[str, ...]:
    """Notes on files without events, and on datasets whose events do not have the whole sum of weights."""
    notes = [
        f"dataset {inputs.dataset.name!r}: {file.path} has no events"
        for inputs in inspected
        for file, entries in zip(inputs.dataset.files, inputs.entries, strict=True)
        if entries == 0
    ]
    return (*notes, *filter(None, map(comparison_note, normalisations)))
