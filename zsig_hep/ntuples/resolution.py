"""Datasets with their defaults filled in and their files found."""

import contextlib
import glob
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from zsig_hep.errors import InputError, first_line, nearest_name, shortened
from zsig_hep.ntuples.datasets import (
    Dataset,
    NtupleSettings,
    Process,
    SumOfWeights,
    Weight,
    cross_section_problems,
    weight_branches,
)
from zsig_hep.statistics.process_table import Role

_FILE_AND_TREE = re.compile(r"^(?P<path>.+\.\w+):(?P<tree>(?!\d+/)[^:]+)$")
_FILE_ADDRESS = re.compile(r"^file:(?://(?P<host>[^/]*))?(?P<path>/.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class SourceFile:
    """One file of a dataset.

    Attributes:
        path: absolute local path, or an address such as `root://...`.
        tree: name of the event tree in it.
    """

    path: str
    tree: str

    @property
    def is_remote(self) -> bool:
        """Whether the path is an address rather than a local file."""
        return "://" in self.path

    @property
    def real_path(self) -> str:
        """The path without symbolic links, or the address: equal for equal files."""
        return self.path if self.is_remote else os.path.realpath(self.path)


@dataclass(frozen=True)
class ResolvedDataset:
    """A dataset with its defaults filled in and its files found.

    Attributes:
        name: name of the dataset.
        process: name of its process.
        role: role of its process.
        files: its files in the order in which they are read.
        weight: event weight, None for unweighted.
        sum_of_weights: source of the sum of generator weights.
        cross_section_pb: effective cross section in pb, None for data.
        luminosity_mask: golden JSON file, None for simulation and for data without a mask.
        shares_events_with: dataset that may have the same files; None if no other may.
        extends: dataset whose cross section and sum of weights it shares; None if it has its own.
        identity_salt: part of the identity of its events, the same for datasets that share events and for all data of a
            process, in which an event can be only once.
        triggers: branches of which one must be true.
        vetoes: branches of which none may be true; a file without one has no such events.
    """

    name: str
    process: str
    role: Role
    files: tuple[SourceFile, ...]
    weight: Weight | None
    sum_of_weights: SumOfWeights
    cross_section_pb: float | None
    luminosity_mask: Path | None = None
    shares_events_with: str | None = None
    extends: str | None = None
    identity_salt: str = ""
    triggers: tuple[str, ...] = ()
    vetoes: tuple[str, ...] = ()

    @property
    def normalised_with(self) -> str:
        """Name of the dataset that has the cross section, the same for a dataset and its extensions."""
        return self.extends or self.name

    @property
    def events_of(self) -> str:
        """Name of the dataset whose events it has, the same for datasets that share events."""
        return self.shares_events_with or self.name

    @property
    def weight_branches(self) -> tuple[str, ...]:
        """Branches of the event weight, the generator weight first."""
        return weight_branches(self.weight)


def resolve_files(dataset: Dataset, folder: Path, default_tree: str = "Events") -> tuple[SourceFile, ...]:
    """Find the files of a dataset.

    Args:
        dataset: its `files` are names, globs or addresses, with or without `:tree` at the end; `file://` addresses are
            local names.
        folder: folder of relative names.
        default_tree: tree of a file if neither its name nor the dataset states one.

    Returns:
        The files, with the matches of each glob sorted by name.

    Raises:
        InputError: a name or glob matches nothing, a file occurs twice, or a `file://` address names another computer.
    """
    found: list[SourceFile] = []
    for pattern in dataset.files:
        match = _FILE_AND_TREE.match(pattern)
        name, tree = (match["path"], match["tree"]) if match else (pattern, dataset.tree or default_tree)
        name = without_file_scheme(name)
        paths = [name] if "://" in name else _local_matches(name, folder)
        found += [SourceFile(path, tree) for path in paths]
    _require_files_once([SourceFile(file.path, tree="") for file in found])
    return tuple(found)


def without_file_scheme(name: str) -> str:
    """The path in a `file:` address (RFC 8089); other names and addresses are not changed.

    Escapes such as `%20` are decoded unless a file has the name as it is written.

    Raises:
        InputError: the address names another computer, or no file can have the name.

    Example:
        >>> without_file_scheme("file:///data/my%20ntuples/dy_*.root"), without_file_scheme("root://host//dy.root")
        ('/data/my ntuples/dy_*.root', 'root://host//dy.root')
    """
    if not (match := _FILE_ADDRESS.match(name)):
        if "://" not in name:
            _require_possible(name)
        return name
    if (match["host"] or "localhost").lower() != "localhost":
        msg = f"{name!r} names the computer {match['host']!r}; valid are a path, file:///path and root://host//path"
        raise InputError(msg)
    path = match["path"]
    _require_possible(path)
    return path if Path(path).exists() else unquote(path)


def _require_possible(name: str) -> None:
    """Refuse names that the system cannot look up: too long, with a null character, or not encodable."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            Path(name).stat()
    except (OSError, ValueError) as error:
        msg = f"{shortened(name, 200)!r} cannot be the name of a file: {shortened(first_line(error), 200)}"
        raise InputError(msg) from error


def _local_matches(name: str, folder: Path) -> list[str]:
    try:
        pattern = folder.resolve() / Path(name).expanduser()
        if pattern.exists():
            return [str(pattern)]
        anchor = Path(pattern.anchor)
        matches = sorted(str(path) for path in anchor.glob(str(pattern.relative_to(anchor))) if path.is_file())
    # A path that is too long or may not be read, `a**` in it, and a home folder that does not exist.
    except (OSError, ValueError, RuntimeError) as error:
        msg = f"{shortened(name, 200)!r} cannot be looked up: {shortened(first_line(error), 200)}"
        raise InputError(msg) from error
    if matches:
        return matches
    if glob.has_magic(name):
        msg = f"no file matches {name!r} in {folder}.{_files_near(pattern)}"
    else:
        msg = f"file {pattern} does not exist.{_files_near(pattern)}"
    raise InputError(msg)


def _files_near(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent}."
    return nearest_name(path.name, (entry.name for entry in path.parent.iterdir() if entry.suffix == ".root"))


def _require_files_once(files: Iterable[SourceFile]) -> None:
    seen: set[tuple[str, str]] = set()
    for file in files:
        key = (file.real_path, file.tree)
        if key in seen:
            msg = f"file {file.path} is listed twice: its events would count twice. Remove one."
            raise InputError(msg)
        seen.add(key)


def resolve_datasets(
    settings: NtupleSettings, processes: Mapping[str, Process], base_folder: Path
) -> tuple[ResolvedDataset, ...]:
    """Fill in the defaults and find the files of all datasets, in the order of the analysis.

    Args:
        settings: the defaults.
        processes: processes by name.
        base_folder: folder of the analysis file.

    Returns:
        The datasets of all processes.

    Raises:
        InputError: all problems with files and names at once, one per line.
    """
    folder = base_folder / Path(settings.folder).expanduser()
    problems = [*_repeated_dataset_names(processes), *cross_section_problems(settings, processes)]
    resolved: list[ResolvedDataset] = []
    for process_name, process in processes.items():
        for name, dataset in process.datasets.items():
            try:
                files = resolve_files(dataset, folder, settings.tree)
            except InputError as error:
                problems.append(f"dataset {name!r} of {process_name!r}: {error}")
                continue
            # An extension is a dataset of the same process, checked by its settings.
            owner = process.datasets[dataset.extends] if dataset.extends else dataset
            found = _resolved(name, process_name, process.role, dataset, files, settings, base_folder)
            above = list(process.datasets.values())[: list(process.datasets).index(name)]
            vetoes = tuple(dict.fromkeys(trigger for each in above for trigger in each.triggers))
            resolved.append(replace(found, cross_section_pb=owner.effective_cross_section_pb, vetoes=vetoes))
    problems += _files_of_data_and_simulation(resolved)
    problems += _unusable_shares(processes, settings)
    problems += _shared_files(resolved)
    problems += _data_without_mask(resolved, processes)
    recorded = {name: key for key, each in processes.items() if each.role == "data" for name in each.datasets}
    problems += _unusable_triggers(resolved, recorded)
    if problems:
        raise InputError("\n".join(problems))
    return tuple(replace(each, identity_salt=recorded.get(each.events_of, each.events_of)) for each in resolved)


def _resolved(
    name: str,
    process: str,
    role: Role,
    dataset: Dataset,
    files: tuple[SourceFile, ...],
    settings: NtupleSettings,
    base_folder: Path,
) -> ResolvedDataset:
    inherited = None if role == "data" else settings.weight
    weight = inherited if dataset.weight == "inherit" else dataset.weight
    source = settings.sum_of_weights if dataset.sum_of_weights is None else dataset.sum_of_weights
    mask = settings.luminosity_mask if dataset.luminosity_mask == "inherit" else dataset.luminosity_mask
    mask_path = None if mask is None or role != "data" else (base_folder / Path(mask).expanduser()).resolve()
    shared, extended = dataset.shares_events_with, dataset.extends
    return ResolvedDataset(
        name, process, role, files, weight, source, None, mask_path, shared, extended, triggers=dataset.triggers
    )


def _unusable_triggers(resolved: Sequence[ResolvedDataset], recorded: Collection[str]) -> list[str]:
    """Triggers of simulation, data without triggers beside others with them, and datasets that can have no event."""
    problems = []
    with_triggers = {each.process for each in resolved if each.triggers}
    for each in resolved:
        if each.triggers and each.events_of not in recorded:
            problems.append(
                f"dataset {each.name!r} is simulation, whose events are in one dataset only: triggers are for data. Return "
                "them as a cut of `columns`"
            )
        elif not each.triggers and each.process in with_triggers and each.role == "data":
            problems.append(
                f"dataset {each.name!r} is data without triggers, while others of {each.process!r} have some: give it those "
                "it was recorded with, so that events of several datasets count once"
            )
        elif each.triggers and set(each.triggers) <= set(each.vetoes):
            problems.append(
                f"dataset {each.name!r} keeps no event: all of its triggers are those of datasets above it. If these are of "
                "another period, list the files of both in one dataset"
            )
    return problems


def _files_of_data_and_simulation(resolved: Iterable[ResolvedDataset]) -> list[str]:
    owner: dict[str, ResolvedDataset] = {}
    problems = []
    for dataset in resolved:
        for file in dataset.files:
            first = owner.setdefault(file.real_path, dataset)
            if (first.role == "data") != (dataset.role == "data") and first.events_of != dataset.events_of:
                problems.append(
                    f"file {file.path} is data and simulation at once: in dataset {first.name!r} ({first.role}) and in "
                    f"{dataset.name!r} ({dataset.role}). Remove it from one of them or, if one is a background estimated from data, set "
                    f"`shares_events_with: {first.name}` in {dataset.name!r}"
                )
    return problems


def _unusable_shares(processes: Mapping[str, Process], settings: NtupleSettings) -> list[str]:
    shares = {
        name: dataset.shares_events_with for process in processes.values() for name, dataset in process.datasets.items()
    }
    problems = []
    for name, other in shares.items():
        if other is None:
            continue
        if other == name or other not in shares:
            near = nearest_name(other, shares.keys() - {name})
            problems.append(f"dataset {name!r}: shares_events_with names {other!r}, which is no other dataset.{near}")
        elif shares[other] is not None:
            problems.append(
                f"dataset {name!r} shares events with {other!r}, which shares events with {shares[other]!r} itself: name "
                "a dataset that has no shares_events_with"
            )
        elif settings.event_identity == "content":
            problems.append(
                f"dataset {name!r} shares events with {other!r}, which needs branches in event_identity: weights and "
                "features can differ between the two, and copies of an event would be in different folds"
            )
    return problems


def _shared_files(resolved: Iterable[ResolvedDataset]) -> list[str]:
    """Files of two datasets that do not share events on purpose, one sentence for each pair of datasets."""
    owner: dict[tuple[str, str], ResolvedDataset] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    sentences = {}
    for dataset in resolved:
        for file in dataset.files:
            first = owner.setdefault((file.real_path, file.tree), dataset)
            # Data that are simulation too have a message of their own.
            if first.events_of == dataset.events_of or (first.role == "data") != (dataset.role == "data"):
                continue
            pair = first.name, dataset.name
            shared.setdefault(pair, []).append(file.path)
            sentences[pair] = (
                f"is in dataset {first.name!r} of {first.process!r} and in {dataset.name!r} of {dataset.process!r}: its "
                "events would count twice, and be in different folds. Remove it from one of them or, if each takes other "
                f"events of it on purpose, set `shares_events_with: {first.name}` in {dataset.name!r}"
            )
    return [
        f"file {files[0]}{f' (and {len(files) - 1} more)' if files[1:] else ''} {sentences[pair]}"
        for pair, files in shared.items()
    ]


def _data_without_mask(resolved: Sequence[ResolvedDataset], processes: Mapping[str, Process]) -> list[str]:
    """Problems of data without a mask where other data have one, unless `luminosity_mask: null` asks for all events."""
    if not any(dataset.luminosity_mask for dataset in resolved):
        return []
    return [
        f"dataset {each.name!r} is data without a luminosity mask, while others have one: give it a mask, or set "
        "luminosity_mask: null"
        for each in resolved
        if each.role == "data"
        and each.luminosity_mask is None
        and processes[each.process].datasets[each.name].luminosity_mask == "inherit"
    ]


def _repeated_dataset_names(processes: Mapping[str, Process]) -> list[str]:
    owner: dict[str, str] = {}
    problems = []
    for process_name, process in processes.items():
        for name in process.datasets:
            if name in owner:
                problems.append(
                    f"dataset {name!r} occurs in processes {owner[name]!r} and {process_name!r}: "
                    "rename one, because columns(events) tells datasets apart by name"
                )
            owner.setdefault(name, process_name)
    return problems
