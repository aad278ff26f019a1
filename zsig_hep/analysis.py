"""An analysis: the settings of every room composed, built in Python or read from its file with all problems at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, PositiveFloat, ValidationError, model_validator

from zsig_hep.errors import AnalysisFileError, nearest_name
from zsig_hep.learning import TrainingSettings
from zsig_hep.ntuples import NtupleSettings, Process
from zsig_hep.presentation import PresentationSettings, Style
from zsig_hep.selection import WorkingPointSettings
from zsig_hep.settings import Settings

Location = tuple[int | str, ...]


class Analysis(Settings):
    """Everything that one search reads, trains, cuts and draws.

    Attributes:
        title: one line for the report.
        name: short name for folders; the analysis file's folder by default.
        luminosity_ifb: integrated luminosity in inverse femtobarns.
        sqrt_s_tev: centre-of-mass energy in TeV.
        ntuples: how the ntuples are read.
        processes: by name, in the order of the tables and stacks.
        training: of the classifier and its baseline.
        selection: choice of the working point.
        presentation: style of the figures.
        folder: where relative names in the settings start: the analysis file's folder, which sets it, or the working
            directory.
    """

    title: str
    name: str = Field(default="analysis", pattern=r"^[A-Za-z0-9_.-]+$")
    luminosity_ifb: PositiveFloat
    sqrt_s_tev: PositiveFloat = 13.0
    ntuples: NtupleSettings = NtupleSettings()
    processes: dict[str, Process]
    training: TrainingSettings = TrainingSettings()
    selection: WorkingPointSettings = WorkingPointSettings()
    presentation: PresentationSettings = PresentationSettings()
    folder: Path = Field(default_factory=Path.cwd, exclude=True)

    @model_validator(mode="after")
    def _has_signal_and_background(self) -> Self:
        roles = {process.role for process in self.processes.values()}
        for role in ("signal", "background"):
            if role not in roles:
                message = f"processes: none has the role {role!r}; a search needs at least one"
                raise ValueError(message)
        return self

    @property
    def style(self) -> Style:
        """What every figure's label says."""
        return Style(
            experiment=self.presentation.experiment,
            label=self.presentation.label,
            luminosity_ifb=self.luminosity_ifb,
            sqrt_s_tev=self.sqrt_s_tev,
        )

    @property
    def labels(self) -> dict[str, str]:
        """Label of each process."""
        return {name: process.label or name for name, process in self.processes.items()}

    @property
    def colors(self) -> dict[str, str]:
        """Colour of the processes that were given one."""
        return {name: process.color for name, process in self.processes.items() if process.color}

    def with_ntuples(self, folder: Path) -> "Analysis":
        """The same analysis on ntuples in another folder."""
        ntuples = self.ntuples.model_copy(update={"folder": str(folder.resolve())})
        return self.model_copy(update={"ntuples": ntuples})

    def with_training(self, **changes: object) -> "Analysis":
        """The same analysis with some training settings replaced, as in `with_training(seeds=5)`."""
        training = TrainingSettings.model_validate(self.training.model_dump() | changes)
        return self.model_copy(update={"training": training})

    @classmethod
    def from_file(cls, path: Path | str) -> "Analysis":
        """Read an analysis file.

        Args:
            path: the file, or a folder that holds `analysis.yaml`.

        Returns:
            The analysis; its relative names start from the file's folder.

        Raises:
            AnalysisFileError: listing every problem with its place, what was found and the nearest valid name.
        """
        path = Path(path)
        file = path / "analysis.yaml" if path.is_dir() else path
        content, root = _read_yaml(file)
        if not isinstance(content, dict):
            message = f"{file} does not hold `key: value` settings but {type(content).__name__}."
            raise AnalysisFileError(message)
        problems = list(_repeated_keys(root))
        if "folder" in content:
            problems.append(f"folder: unknown key.{nearest_name('folder', cls.model_fields)}")
        defaults = {"name": file.resolve().parent.name}
        try:
            analysis = cls.model_validate(defaults | content | {"folder": file.resolve().parent})
        except ValidationError as error:
            problems += [_problem(details, root) for details in error.errors(include_url=False)]
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            message = f"{file} has {count}:\n" + "\n".join(f"  - {problem}" for problem in problems)
            raise AnalysisFileError(message)
        return analysis


def _read_yaml(file: Path) -> tuple[object, yaml.Node | None]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"There is no analysis file {file}. Name a folder that holds analysis.yaml, or the file itself."
        raise AnalysisFileError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file} cannot be read as text: {error}"
        raise AnalysisFileError(message) from error
    try:
        return yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        message = f"{file} is not valid YAML: {error}"
        raise AnalysisFileError(message) from error


def _repeated_keys(node: yaml.Node | None, place: Location = ()) -> Iterator[str]:
    """Find keys that stand twice in one mapping; YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{_dotted((*place, key.value))} (line {key.start_mark.line + 1}): stands twice"
            seen.add(key.value)
            yield from _repeated_keys(value, (*place, key.value))


def _problem(details: Mapping[str, Any], root: yaml.Node | None) -> str:
    """Say in one line where a setting is wrong, what was found and what would do."""
    location: Location = details["loc"]
    place, line = _find(root, location)
    where = _dotted(place) or "the file"
    where += f" (line {line})" if line else ""
    if details["type"] == "extra_forbidden":
        return f"{where}: unknown key.{nearest_name(str(location[-1]), _valid_keys(location[:-1]))}"
    if details["type"] == "missing":
        return f"{where}: missing"
    text = details["msg"].removeprefix("Value error, ")
    found = details["input"]
    shown = f", found {found!r}" if isinstance(found, str | int | float | bool | None) else ""
    return f"{where}: {text[:1].lower()}{text[1:]}{shown}"


def _dotted(place: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in place)


def _find(root: yaml.Node | None, location: Location) -> tuple[Location, int | None]:
    """Follow a location through the file, leaving out pydantic's names of union members; give the line it ends on."""
    place: list[int | str] = []
    node, line = root, None
    for position, part in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == part), None)
            if found is not None:
                line, node = found[0].start_mark.line + 1, found[1]
                place.append(part)
                continue
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            place.append(part)
        elif position == len(location) - 1 and isinstance(node, yaml.MappingNode):
            place.append(part)
    return tuple(place), line


def _valid_keys(location: Location) -> list[str]:
    """Keys of the settings model that stands at a location."""
    current: list[object] = [Analysis]
    for part in location:
        current = [inner for candidate in current for inner in _inside(candidate, part)] or current
    models = [candidate for candidate in current if isinstance(candidate, type) and issubclass(candidate, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _inside(annotation: object, part: int | str) -> list[object]:
    """Annotations that a key may lead to from one annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        return [
            member
            for name, field in fields.items()
            if part in {name, field.alias}
            for member in _members(field.annotation)
        ]
    if get_origin(annotation) in {dict, Mapping}:
        return _members(get_args(annotation)[1])
    return []


def _members(annotation: object) -> list[object]:
    """Members of a union, through Annotated."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [annotation]
