"""Filesets with the structure of columnflow's campaigns: `{campaign, processes, datasets}`.

columnflow builds its campaigns in Python from objects of `order`.  Here they are YAML or JSON, whose keys are the
arguments of the constructors of order 2; objects are in a mapping by name, or in a list with a key `name`.

    campaign    ecm [TeV], aux: {year}
    processes   xsecs {energy [TeV]: [pb]}, processes (names of children), label, color, is_data
    datasets    processes (the name of one), is_data, aux: {sum_mc_weight}, and keys, n_files, gen_eff, here or under
                info: {nominal: ...}; other shifts are ignored

`sum_mc_weight` is the name in columnflow's selection statistics of the sum of generator weights before any selection.
`keys` are ROOT files, globs or folders, not names of DAS.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.datasets import Dataset
from zsig_hep.ntuples.filesets.content import (
    DEFAULT_TREE,
    Fileset,
    FilesetDataset,
    Roles,
    flag,
    group,
    innermost,
    listed,
    located,
    positive,
    read_each,
    require_distinct,
)
from zsig_hep.ntuples.resolution import SourceFile, resolve_files

Objects = Mapping[str, dict[str, Any]]


def is_columnflow(content: Any) -> bool:
    """Whether the content of a file has this structure."""
    return isinstance(content, dict) and content.keys() >= {"processes", "datasets"}


def read_columnflow(content: Mapping[str, Any], roles: Roles, folder: Path, sqrt_s_tev: float | None) -> Fileset:
    """Read the datasets of a campaign with the cross sections of their processes.

    Args:
        content: of the file.
        roles: by sample; the files of samples whose role is None need not exist.
        folder: folder of relative names of ROOT files.
        sqrt_s_tev: energy of the cross sections in TeV; None takes that of the campaign.

    Returns:
        The datasets; the samples of each are its process and the processes that contain it.

    Raises:
        InputError: all problems at once, one per line.
    """
    processes, datasets = _by_name(content["processes"], "process"), _by_name(content["datasets"], "dataset")
    campaign = group(content, "campaign")
    energy = positive(campaign, "ecm") if sqrt_s_tev is None else sqrt_s_tev
    parents = _parents(processes)

    def read(name: str, dataset: dict[str, Any]) -> FilesetDataset:
        process = _process_of(dataset, processes)
        samples = tuple(_lineage(process, parents))
        is_data = flag(processes[process] | dataset, "is_data") or False
        is_left_out = roles.get(innermost(samples, roles) or "") is None
        return FilesetDataset(
            name=name,
            samples=samples,
            files=() if is_left_out else _files(dataset | group(group(dataset, "info"), "nominal"), folder),
            is_data=is_data,
            year=str(campaign["aux"]["year"]) if "year" in group(campaign, "aux") else None,
            cross_section_pb=None if is_data or is_left_out else _cross_section(process, processes[process], energy),
            sum_of_weights=positive(group(dataset, "aux"), "sum_mc_weight"),
        )

    return Fileset(
        read_each(datasets, read),
        cross_sections_of_samples=True,
        labels={name: str(process["label"]) for name, process in processes.items() if process.get("label")},
        colors={name: _color(process["color"]) for name, process in processes.items() if process.get("color")},
    )


def _by_name(objects: Any, what: str) -> Objects:
    if isinstance(objects, list) and all(isinstance(each, dict) and "name" in each for each in objects):
        require_distinct([str(each["name"]) for each in objects])
        return {str(each["name"]): each for each in objects}
    if isinstance(objects, dict) and all(isinstance(each, dict) for each in objects.values()):
        return {str(name): each for name, each in objects.items()}
    msg = f"a {what} is {{name: {{...}}}}, or stands with its `name` in a list"
    raise InputError(msg)


def _parents(processes: Objects) -> dict[str, str]:
    parents: dict[str, str] = {}
    for name, process in processes.items():
        for child in listed(process, "processes"):
            if child not in processes:
                msg = f"process {name!r} contains {child!r}, which is not defined.{nearest_name(child, processes)}"
                raise InputError(msg)
            if child in parents or child in _lineage(name, parents):
                msg = f"process {child!r} is contained in {parents.get(child, child)!r} and in {name!r}; valid is one"
                raise InputError(msg)
            parents[child] = name
    return parents


def _lineage(process: str, parents: Mapping[str, str]) -> Iterator[str]:
    """A process and the processes that contain it, from the inside out."""
    yield process
    while process in parents:
        process = parents[process]
        yield process


def _process_of(dataset: Mapping[str, Any], processes: Objects) -> str:
    names = listed(dataset, "processes")
    if len(names) != 1:
        msg = f"its processes are {names}; valid is one, whose cross section it has"
        raise InputError(msg)
    if names[0] not in processes:
        msg = f"process {names[0]!r} is not defined.{nearest_name(names[0], processes)}"
        raise InputError(msg)
    return names[0]


def _cross_section(name: str, process: Mapping[str, Any], energy: float | None) -> float | None:
    by_energy = {positive({"energy": at}, "energy"): value for at, value in group(process, "xsecs").items()}
    if energy is None and len(by_energy) == 1:
        energy = next(iter(by_energy))
    if by_energy and energy not in by_energy:
        wanted = "" if energy is None else f", not at {energy:g} TeV"
        msg = (
            f"process {name!r} has xsecs at {', '.join(map(str, by_energy))} TeV{wanted}: choose one by `ecm` of the "
            "campaign or by sqrt_s_tev"
        )
        raise InputError(msg)
    return positive(by_energy, energy)


def _files(info: Mapping[str, Any], folder: Path) -> tuple[SourceFile, ...]:
    if positive(info, "gen_eff") not in {None, 1.0}:
        msg = (
            f"gen_eff is {info['gen_eff']}, and order does not define whether xsecs include it: multiply xsecs by it "
            "if they do not, and remove it"
        )
        raise InputError(msg)
    keys = listed(info, "keys")
    if not keys:
        msg = "it has no keys: list its ROOT files"
        raise InputError(msg)
    require_distinct(keys, "its events would count twice")
    files = [_expanded(key, folder) for key in keys]
    _require_all(files, info.get("n_files", -1))
    return tuple(SourceFile(file, DEFAULT_TREE) for file in files)


def _expanded(key: str, folder: Path) -> str:
    file = located(key, folder)
    if Path(file).is_dir():
        return str(Path(file) / "*.root")
    if not key.endswith(".root"):
        msg = f"key {key!r} is neither a folder nor a ROOT file: write the names of its files instead of a DAS name"
        raise InputError(msg)
    return file


def _require_all(files: list[str], count: Any) -> None:
    """Compare the number of local files with `n_files`, which is -1 in order if not known."""
    if count == -1 or any("://" in file for file in files):
        return
    found = len(resolve_files(Dataset(files=files), Path()))
    if found != count:
        msg = f"n_files is {count}, but {found} are found: copy what is missing, or correct n_files"
        raise InputError(msg)


def _color(color: Any) -> str:
    """A colour for matplotlib; order has lists of red, green and blue up to 255."""
    if not isinstance(color, list):
        return str(color)
    if not all(isinstance(part, int) and 0 <= part < 256 for part in color):
        msg = f"the color {color} is not red, green and blue up to 255"
        raise InputError(msg)
    return "#" + "".join(f"{part:02x}" for part in color)
