"""Filesets of other frameworks as processes and datasets of an analysis."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.datasets import Process
from zsig_hep.ntuples.filesets.coffea import is_coffea, read_coffea
from zsig_hep.ntuples.filesets.columnflow import is_columnflow, read_columnflow
from zsig_hep.ntuples.filesets.content import Fileset, FilesetDataset, Roles, innermost, read_content
from zsig_hep.ntuples.resolution import SourceFile
from zsig_hep.settings import problems_of
from zsig_hep.statistics.process_table import Role


def read_fileset(
    path: Path | str,
    roles: Roles,
    *,
    folder: Path | str | None = None,
    year: str | None = None,
    sqrt_s_tev: float | None = None,
    sign_of: str | None = None,
) -> dict[str, Process]:
    """Read the fileset of coffea, PocketCoffea or columnflow, which is recognised by its structure.

    The modules `coffea` and `columnflow` of this package list the keys that are used.  Sums of weights in the fileset
    become those of the datasets; without them `NtupleSettings.sum_of_weights` applies.

    Args:
        path: a JSON file, ending in `.json`, or a YAML file.
        roles: "signal", "background" or "data" of every sample, in the order of tables and stacks; None leaves a sample
            out.  In a columnflow fileset a process gives its role to all processes that it contains.
        folder: folder of relative names of ROOT files; None takes the folder of the fileset.
        year: use datasets of this year only.
        sqrt_s_tev: energy of the cross sections in TeV, if a columnflow fileset has several and no `ecm`.
        sign_of: branch whose sign is the event weight of simulation; sums of signs then replace sums of weights.

    Returns:
        Processes by sample, for `Analysis(processes=...)` or `run_columns`.

    Raises:
        InputError: the file cannot be read or is no known fileset; all problems with its datasets at once, one per
            line: unknown samples and samples without role, simulation without cross section, skims without sum of
            weights, several years, a role that contradicts the fileset, no files, files that are listed twice. Then names
            and numbers that an analysis cannot have, such as a dataset with the path separator `/` in its name.

    Example:
        >>> import json, tempfile
        >>> metadata = {"sample": "DYto2Mu", "year": "2018", "isMC": "True", "xsec": "6077.22"}
        >>> fileset = {"DYto2Mu_2018": {"metadata": metadata, "files": ["root://eos.cern.ch//store/dy.root"]}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "datasets.json")
        ...     _ = file.write_text(json.dumps(fileset))
        ...     processes = read_fileset(file, {"DYto2Mu": "background"})
        >>> processes["DYto2Mu"].datasets["DYto2Mu_2018"].cross_section_pb
        6077.22
    """
    path = Path(path)
    fileset = _load(path, roles, path.parent if folder is None else Path(folder), sqrt_s_tev)
    datasets = _of_year(fileset.datasets, year)
    members = {sample: [each for each in datasets if innermost(each.samples, roles) == sample] for sample in roles}
    problems = list(_role_problems(datasets, roles, members))
    taken = {sample: (role, members[sample]) for sample, role in roles.items() if role is not None}
    for sample, (role, of_sample) in taken.items():
        problems += _sample_problems(sample, of_sample, role, sign_of)
    problems += _file_problems([dataset for _, of_sample in taken.values() for dataset in of_sample])
    if fileset.cross_sections_of_samples:
        simulated = [of_sample for role, of_sample in taken.values() if role != "data"]
        problems += _overlaps([dataset for of_sample in simulated for dataset in of_sample])
    if problems:
        raise InputError("\n".join([f"fileset {path}:", *problems]))
    try:
        return {sample: _process(sample, *of_role, fileset, sign_of) for sample, of_role in taken.items()}
    except ValidationError as error:
        texts = [text for _, text in problems_of(error, Process)]
        raise InputError("\n".join([f"fileset {path}:", *texts])) from error


def _load(path: Path, roles: Roles, folder: Path, sqrt_s_tev: float | None) -> Fileset:
    content, folder = read_content(path), folder.resolve()
    try:
        if is_columnflow(content):
            return read_columnflow(content, roles, folder, sqrt_s_tev)
        if is_coffea(content):
            return read_coffea(content, folder)
    except InputError as error:
        msg = f"fileset {path}:\n{error}"
        raise InputError(msg) from error
    msg = (
        f"{path} is no known fileset; valid are {{dataset: {{files, metadata}}}} of coffea and PocketCoffea, and "
        "{campaign, processes, datasets} of columnflow"
    )
    raise InputError(msg)


def _of_year(datasets: Sequence[FilesetDataset], year: str | None) -> list[FilesetDataset]:
    if year is None:
        return list(datasets)
    kept = [dataset for dataset in datasets if dataset.year == str(year)]
    if not kept:
        years = {dataset.year for dataset in datasets if dataset.year is not None}
        msg = f"no dataset is of the year {year!r}.{nearest_name(str(year), years)}"
        raise InputError(msg)
    return kept


def _role_problems(
    datasets: Sequence[FilesetDataset], roles: Roles, members: Mapping[str, Sequence[FilesetDataset]]
) -> Iterator[str]:
    known = {sample for dataset in datasets for sample in dataset.samples}
    for sample, role in roles.items():
        if role not in {"signal", "background", "data", None}:
            yield f"the role of {sample!r} is {role!r}; valid are 'signal', 'background', 'data' and None"
        if not members[sample]:
            yield f"there is no sample {sample!r}.{nearest_name(sample, known)}"
    for sample in dict.fromkeys(each.samples[0] for each in datasets if innermost(each.samples, roles) is None):
        yield f"sample {sample!r} has no role: give it one, or None to leave it out"


def _sample_problems(sample: str, datasets: Sequence[FilesetDataset], role: Role, sign_of: str | None) -> Iterator[str]:
    if {True, False} <= {dataset.is_data for dataset in datasets}:
        yield f"sample {sample!r} has both data and simulation"
        return
    for dataset in datasets:
        if dataset.is_data not in {None, role == "data"}:
            what = "data" if dataset.is_data else "simulation"
            yield f"dataset {dataset.name!r} of {sample!r} is {what}, but its role is {role!r}"
    if role == "data":
        return
    years = sorted({dataset.year for dataset in datasets if dataset.year is not None})
    if len(years) > 1:
        yield f"sample {sample!r} has years {', '.join(years)}, each with the full cross section: choose one by `year`"
    for dataset in datasets:
        yield from _simulation_problems(dataset, sign_of)


def _simulation_problems(dataset: FilesetDataset, sign_of: str | None) -> Iterator[str]:
    if dataset.cross_section_pb is None:
        yield f"dataset {dataset.name!r} of {dataset.samples[0]!r} has no cross section (`xsec`, `xsecs`) in pb"
    wanted, other = dataset.sum_of_weights, dataset.sum_of_signs
    if sign_of is not None:
        wanted, other = other, wanted
    key = "sum_genweights" if sign_of is None else "sum_signOf_genweights"
    if wanted is None and (dataset.is_skim or other is not None):
        why = "is a skim" if dataset.is_skim else "has another sum of weights"
        yield f"dataset {dataset.name!r} {why} without `{key}`: add the sum over all generated events"


def _file_problems(datasets: Iterable[FilesetDataset]) -> Iterator[str]:
    """Find repeated files; the matches of globs are compared when the analysis is read."""
    owner: dict[str, FilesetDataset] = {}
    for dataset in datasets:
        for file in dataset.files:
            other = owner.setdefault(file.real_path, dataset)
            if other is not dataset:
                once = "as data and as simulation" if other.is_data != dataset.is_data else "twice"
                yield f"file {file.path} is listed {once}, in datasets {other.name!r} and {dataset.name!r}"


def _overlaps(simulated: Sequence[FilesetDataset]) -> Iterator[str]:
    """Find two datasets of a process, or of a process and a part of it, as each would have the full cross section."""
    for number, dataset in enumerate(simulated):
        for other in simulated[:number]:
            if dataset.samples[0] in other.samples or other.samples[0] in dataset.samples:
                first, second = (f"{each.name!r} of {each.samples[0]!r}" for each in (other, dataset))
                yield (
                    f"datasets {first} and {second} count the same events twice: list extensions in one dataset, and "
                    "take either a process or its parts"
                )


def _process(
    sample: str, role: Role, datasets: Sequence[FilesetDataset], fileset: Fileset, sign_of: str | None
) -> Process:
    read = {dataset.name: _dataset(dataset, sign_of, is_data=role == "data") for dataset in datasets}
    return Process.model_validate(
        {"role": role, "datasets": read, "label": fileset.labels.get(sample), "color": fileset.colors.get(sample)}
    )


def _dataset(dataset: FilesetDataset, sign_of: str | None, *, is_data: bool) -> dict[str, Any]:
    trees = {file.tree for file in dataset.files}
    files = [file.path if len(trees) == 1 and not file.is_remote else _with_tree(file) for file in dataset.files]
    tree = trees.pop() if len(trees) == 1 else None
    if is_data:
        return {"files": files, "tree": tree}
    total = dataset.sum_of_weights if sign_of is None else dataset.sum_of_signs
    return {
        "files": files,
        "tree": tree,
        "cross_section_pb": dataset.cross_section_pb,
        "sum_of_weights": None if total is None else {"value": total},
        "weight": "inherit" if sign_of is None else {"sign_of": sign_of},
    }


def _with_tree(file: SourceFile) -> str:
    # An address needs its tree: what follows the colon before a port would be read as one.
    return f"{file.path}:{file.tree}"
