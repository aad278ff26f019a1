"""The content of a fileset in one form for all frameworks, and reading of JSON and YAML."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zsig_hep.errors import InputError
from zsig_hep.ntuples.resolution import SourceFile, without_file_scheme
from zsig_hep.statistics.process_table import Role

Roles = Mapping[str, Role | None]
"""Role of each sample, None for samples that are not used."""

DEFAULT_TREE = "Events"
"""Tree of NanoAOD, which filesets for NanoAOD do not name."""


@dataclass(frozen=True)
class FilesetDataset:
    """One dataset of a fileset; None is a value that the fileset does not have.

    Attributes:
        name: its name.
        samples: its sample, then the samples that contain it, from the inside out.
        files: absolute local names, globs, or addresses, each with its tree; may be empty if the sample is not used.
        is_data: whether it was recorded.
        year: period of data taking.
        cross_section_pb: cross section in pb.
        sum_of_weights: sum of generator weights before any selection.
        sum_of_signs: sum of the signs of generator weights before any selection.
        is_skim: whether the files hold only a selection of the events.
    """

    name: str
    samples: tuple[str, ...]
    files: tuple[SourceFile, ...]
    is_data: bool | None
    year: str | None
    cross_section_pb: float | None
    sum_of_weights: float | None
    sum_of_signs: float | None = None
    is_skim: bool = False


@dataclass(frozen=True)
class Fileset:
    """The datasets of a file.

    Attributes:
        datasets: in the order of the file.
        cross_sections_of_samples: whether a cross section is that of the innermost sample rather than of the dataset,
            so that two datasets of a sample would count it twice.
        labels: names of samples for figures, if the fileset has them.
        colors: colours of samples, if the fileset has them.
    """

    datasets: tuple[FilesetDataset, ...]
    cross_sections_of_samples: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)


def read_content(path: Path) -> Any:
    """Read a JSON or YAML file without repeated keys.

    Args:
        path: JSON if it ends in `.json`, else YAML.

    Returns:
        Its content.

    Raises:
        InputError: the file cannot be read, is not valid, or has a repeated key, of which only the last would be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"fileset {path} cannot be read: {error}"
        raise InputError(msg) from error
    try:
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_distinct_keys)
        return yaml.load(text, Loader=_DistinctKeysLoader)
    except InputError as error:
        msg = f"fileset {path}: {error}"
        raise InputError(msg) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        msg = f"fileset {path} is not valid {'JSON' if path.suffix == '.json' else 'YAML'}: {error}"
        raise InputError(msg) from error


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require_distinct([name for name, _ in pairs])
    return dict(pairs)


class _DistinctKeysLoader(yaml.SafeLoader):
    """Refuses repeated keys, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        require_distinct([key.value for key in scalars if key.tag != "tag:yaml.org,2002:merge"])
        return super().construct_mapping(node, deep=deep)


def require_distinct(names: list[str], why: str = "one would be lost") -> None:
    """Refuse repeated names.

    Raises:
        InputError: states the names, and why they must not be repeated.
    """
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        msg = f"{', '.join(map(repr, repeated))} occurs twice: {why}. Rename or remove one."
        raise InputError(msg)


def read_each(
    datasets: Mapping[str, dict[str, Any]], read: Callable[[str, dict[str, Any]], FilesetDataset]
) -> tuple[FilesetDataset, ...]:
    """Read all datasets.

    Raises:
        InputError: all problems at once, one per line.
    """
    found, problems = [], []
    for name, dataset in datasets.items():
        try:
            found.append(read(name, dataset))
        except InputError as error:
            problems.append(f"dataset {name!r}: {error}")
    if problems:
        raise InputError("\n".join(problems))
    return tuple(found)


def innermost(samples: Iterable[str], roles: Roles) -> str | None:
    """The first sample that has a role, None if none has.

    Example:
        >>> innermost(("tt_dl", "tt"), {"dy": "background", "tt": "background"})
        'tt'
    """
    return next((sample for sample in samples if sample in roles), None)


def located(file: str, folder: Path) -> str:
    """Absolute path of a local name or a `file://` address; other addresses are not changed.

    Raises:
        InputError: a `file://` address names another computer.
    """
    name = without_file_scheme(file)
    return name if "://" in name else str(folder / Path(name).expanduser())


def group(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A mapping inside a mapping, empty if there is no such key.

    Raises:
        InputError: the value is no mapping.
    """
    inner = values.get(key)
    if not isinstance(inner, dict | None):
        msg = f"`{key}` is {inner!r}; valid is a group of keys and values"
        raise InputError(msg)
    return inner or {}


def listed(values: Mapping[str, Any], key: str) -> list[str]:
    """A list of names, also a single one; empty if there is no such key.

    Raises:
        InputError: the value is neither.

    Example:
        >>> listed({"keys": "a.root"}, "keys")
        ['a.root']
    """
    found = values.get(key)
    names = [found] if isinstance(found, str) else found or []
    if not isinstance(names, list):
        msg = f"`{key}` is {found!r}; valid is a list of names"
        raise InputError(msg)
    return [str(name) for name in names]


def flag(values: Mapping[str, Any], key: str) -> bool | None:
    """True or false, also as text; None if there is no such key.

    Raises:
        InputError: the value is neither.

    Example:
        >>> flag({"isMC": "True"}, "isMC")
        True
    """
    text = str(values.get(key, "")).lower()
    if text not in {"", "true", "false"}:
        msg = f"`{key}` is {values[key]!r}; valid are true and false"
        raise InputError(msg)
    return None if text == "" else text == "true"


def positive(values: Mapping[Any, Any], key: Any) -> float | None:
    """A positive number, also as text or as `nominal` beside uncertainties; None if there is no such key.

    Raises:
        InputError: the value is no positive number.

    Example:
        >>> positive({"xsec": "6077.22"}, "xsec"), positive({13: {"nominal": 831.76}}, 13)
        (6077.22, 831.76)
    """
    found = values.get(key)
    value = found.get("nominal") if isinstance(found, dict) else found
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0 < number < float("inf"):
        msg = f"`{key}` is {found!r}; valid is a positive number"
        raise InputError(msg)
    return number
