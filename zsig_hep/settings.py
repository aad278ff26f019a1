"""The base of every settings model, and messages about what is wrong in a settings file."""

import ast
import inspect
import re
import stat
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from zsig_hep.errors import AnalysisFileError, nearest_name, shortened
from zsig_hep.names import line_problem, name_problem
from zsig_hep.representation import short

# libyaml is ten times as fast as the parser in Python; not every build of PyYAML has it.
try:
    from yaml import CSafeLoader as BaseLoader
except ImportError:
    from yaml import SafeLoader as BaseLoader  # type: ignore[assignment]


class Settings(BaseModel):
    """A group of settings: immutable, unknown keys are errors. Each room defines its own, and `Analysis` composes them.

    The docstring below a field is its description, in the JSON schema and in the reference of the analysis file. It is
    read from the source when a schema is made: pydantic's `use_attribute_docstrings` reads it at every import, which
    takes 0.2 s.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        """JSON schema with a description of every field, and without titles, which would repeat the key."""
        schema = handler(core_schema)
        model = handler.resolve_ref_schema(schema)
        model["description"] = first_paragraph(inspect.getdoc(cls) or "")
        descriptions = field_descriptions(cls)
        for name, field in cls.model_fields.items():
            described = model["properties"][field.alias or name]
            described.pop("title", None)
            if name in descriptions:
                described["description"] = descriptions[name]
        return schema


def _usable_name(name: str) -> str:
    if problem := name_problem(name):
        raise ValueError(problem)
    return name


def _usable_dataset_name(name: str) -> str:
    if problem := name_problem(name, may_have_separators=True):
        raise ValueError(problem)
    return name


def _one_line(text: str) -> str:
    if problem := line_problem(text, LONGEST_LINE):
        message = f"the text {problem}"
        raise ValueError(message)
    return text


def _usable_path(text: str) -> str:
    if not text:
        message = "a path may not be empty"
        raise ValueError(message)
    if problem := line_problem(text, LONGEST_PATH):
        message = f"a path {problem}"
        raise ValueError(message)
    if "://" not in text and any(len(part.encode()) > LONGEST_PART for part in Path(text).parts):
        message = f"a name in a path may have at most {LONGEST_PART} bytes"
        raise ValueError(message)
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        message = f"{Path(text).parts[0]!r} is no home folder here; write the whole path"
        raise ValueError(message) from error
    return text


LONGEST_LINE = 500
"""Most characters of a title or label."""

# Limits of Linux and macOS, which Python meets in the middle of a run.
LONGEST_PATH, LONGEST_PART = 4000, 255

Name = Annotated[str, AfterValidator(_usable_name)]
"""A name of the user; see `zsig_hep.names.name_problem`."""

DatasetName = Annotated[str, AfterValidator(_usable_dataset_name)]
"""A name of a dataset, which may have path separators."""

Line = Annotated[str, AfterValidator(_one_line)]
"""A title or label: one line without control characters."""

PathText = Annotated[str, AfterValidator(_usable_path)]
"""A path or address of the analysis file; whether the file exists is known only when it is read."""

# No analysis comes near these bounds, within which products and squares neither overflow nor vanish in float64.
PositiveNumber = Annotated[float, Field(ge=1e-12, le=1e30)]
"""A positive number."""

NonNegativeNumber = Annotated[float, Field(ge=0, le=1e12)]
"""A positive number or zero."""

FeatureValue = Annotated[float, Field(ge=-1e30, le=1e30)]
"""A value of a feature, which float32 can hold."""

Epochs = Annotated[int, Field(ge=0, le=1_000_000)]
"""A number of epochs."""

Events = Annotated[int, Field(gt=0, le=1_000_000_000)]
"""A number of events that are processed together."""

Seed = Annotated[int, Field(ge=0, le=10**18)]
"""A seed; with a number of seeds added it is still within the 64 bits of NumPy and torch."""


def first_paragraph(text: str) -> str:
    r"""The first paragraph of a docstring, as one line.

    Example:
        >>> first_paragraph("Files that share\none cross section.\n\nExample:\n    ...")
        'Files that share one cross section.'
    """
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


@cache
def field_descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """The docstrings below the fields of a model, by name of the field, as one line each.

    A field that overrides one of a base class keeps that description unless it has its own. Empty where the source code
    is not available.

    Example:
        >>> from zsig_hep.ntuples import SignOf
        >>> field_descriptions(SignOf)
        {'sign_of': 'Branch whose sign is the event weight.'}
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Settings) and base is not Settings:
            found |= _attribute_docstrings(base)
    return found


def _attribute_docstrings(model: type) -> Iterator[tuple[str, str]]:
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except OSError:
        return
    for field, following in pairwise(getattr(definition, "body", [])):
        match field, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


Location = tuple[int | str, ...]

Lines = Mapping[tuple[str, ...], int]
"""Line of the key or element at each place of a file; the parts of a place are its keys and numbers as text."""

Problem = tuple[int, str]
"""Line of the file, 0 where it is not known, and what is wrong there."""

# A terminal shows this much without scrolling; whoever repairs it runs the check again.
_LONGEST_MESSAGE, _LONGEST_PROBLEM, _LONGEST_VALUE = 1800, 600, 100

# The wording of a problem searches the nearest name, which takes a second for thousands of problems.
_WORDED = 100


def refusal(subject: str, problems: Iterable[Problem]) -> AnalysisFileError:
    """Make one error of all problems, sorted by line; it shows as many as fit into a message."""
    ordered = sorted(problems, key=lambda problem: problem[0])
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    lines = [f"{shortened(subject, _LONGEST_PROBLEM)} has {count}:"]
    for shown, (_, text) in enumerate(ordered):
        line = f"  - {shortened(text, _LONGEST_PROBLEM)}"
        if shown and sum(map(len, lines)) + len(line) > _LONGEST_MESSAGE:
            lines.append(f"  ... and {len(ordered) - shown:,} more".replace(",", " "))
            break
        lines.append(line)
    return AnalysisFileError("\n".join(lines))


class _Loader(BaseLoader):
    """PyYAML's safe loader, whose errors all have a line.

    The constructors of scalars raise whatever their conversion does: `2024-13-45` a ValueError, `!!bool x` a KeyError.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            text = getattr(node, "value", "")
            found = shortened(text, _LONGEST_VALUE) if isinstance(text, str) else "a collection"
            message = f"{found!r} is no {node.tag.rpartition(':')[2]}: {shortened(str(error), _LONGEST_VALUE)}"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from error
        # Python writes no integer of more than 4300 digits, so that it could be in no message.
        if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
            message = f"a whole number of more than {_LARGEST_BITS} bits"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
        return value


_LARGEST_BITS = 1024
_LARGEST_FILE = 1_000_000
_MOST_VALUES = 100_000
_DEEPEST = 50


def read_yaml(file: Path) -> tuple[object, Lines, list[Problem]]:
    """Read a YAML file: its content, the line of each of its keys, and its repeated keys.

    Raises:
        AnalysisFileError: the file cannot be read, is no YAML of plain values, or is larger, more deeply nested or
            more often repeated by aliases than settings are.
    """
    text, shown = _read_text(file), shortened(str(file), _LONGEST_PROBLEM)
    try:
        _require_flat(text, shown)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            lines, repeated = ({}, []) if root is None else _lines(root, shown)
            content = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"{shown}{line}: not valid YAML: {shortened(str(error.problem), _LONGEST_PROBLEM)}"
        # libyaml has a limit of its own, which it finds first, because it reads ahead.
        if "nesting depth" in str(error.problem):
            message = f"{shown}{line}: nested too deeply, more than {_DEEPEST} levels"
        raise AnalysisFileError(message) from error
    except yaml.YAMLError as error:
        message = f"{shown} is not valid YAML: {shortened(str(error), _LONGEST_PROBLEM)}"
        raise AnalysisFileError(message) from error
    return content, lines, repeated


def _read_text(file: Path) -> str:
    shown = shortened(str(file), _LONGEST_PROBLEM)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            message = f"{shown} is no file. Name a folder that holds analysis.yaml, or the file itself."
            raise AnalysisFileError(message)
        if status.st_size > _LARGEST_FILE:
            message = f"{shown} has {status.st_size / 1e6:.0f} MB; an analysis file has less than 1 MB."
            raise AnalysisFileError(message)
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        message = f"There is no analysis file {shown}. Name a folder that holds analysis.yaml, or the file itself."
        raise AnalysisFileError(message) from error
    except OSError as error:
        message = f"{shown} cannot be read: {error.strerror or error}"
        raise AnalysisFileError(message) from error
    # Bytes that are no UTF-8, and a NUL in the path.
    except ValueError as error:
        message = f"{shown!r} cannot be read as text: {error}"
        raise AnalysisFileError(message) from error


def _require_flat(text: str, file: str) -> None:
    """Refuse deep nesting before the nodes are composed, which recurses in C and would end Python."""
    depth = 0
    for event in yaml.parse(text, Loader=BaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = f", line {event.start_mark.line + 1}" if event.start_mark else ""
            message = f"{file}{line}: nested too deeply, more than {_DEEPEST} levels"
            raise AnalysisFileError(message)


def _lines(root: yaml.Node, file: str) -> tuple[Lines, list[Problem]]:
    """Lines of all places, and problems of keys that occur twice, of which YAML would silently keep the last.

    Aliases are followed, so that a file that aliases make endless or huge is refused before Python builds it.
    """
    lines: dict[tuple[str, ...], int] = {}
    repeated: list[Problem] = []
    waiting: list[tuple[tuple[str, ...], yaml.Node]] = [((), root)]
    seen = 0
    while waiting:
        place, node = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES or len(place) > _DEEPEST:
            message = (
                f"{file} is nested too deeply, or an alias in it refers to itself: with its aliases it has more than "
                f"{_MOST_VALUES} values or {_DEEPEST} levels"
            )
            raise AnalysisFileError(message)
        for key, inner, start in _parts(node):
            line = start.line + 1
            if (*place, key) in lines:
                repeated.append((line, f"{_dotted((*place, key))} (line {line}): occurs twice"))
            lines.setdefault((*place, key), line)
            waiting.append(((*place, key), inner))
    return lines, repeated


def _parts(node: yaml.Node) -> Iterator[tuple[str, yaml.Node, yaml.Mark]]:
    """Key, value and start of each entry of a mapping or element of a list."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value) if isinstance(key, yaml.ScalarNode) else "?", value, key.start_mark
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value, value.start_mark


def problems_of(
    error: ValidationError, model: type[BaseModel], lines: Lines | None = None, within: Location = ()
) -> Iterator[Problem]:
    """Problems of a validation, each with its place, what was found and what would be valid, sorted by line.

    A value that fits no member of a union is one problem, though pydantic reports one per member.
    """
    by_place: dict[Location, list[Mapping[str, Any]]] = {}
    for reported in error.errors(include_url=False):
        details = {**reported, "loc": within + reported["loc"]}
        by_place.setdefault(_place(details, model), []).append(details)
    # A problem inside a value shows which member of a union was meant; that it is no other member is no problem.
    outer = {place[:length] for place in by_place for length in range(len(place))}
    inner = [place for place in by_place if place not in outer]
    for number, place in enumerate(sorted(inner, key=lambda place: _line(lines or {}, place))):
        what = _what(place, by_place[place], model) if number < _WORDED else "not valid"
        yield problem(place, what, lines or {})


def problem(place: Location, what: str, lines: Lines) -> Problem:
    """A problem with its place, and its line where that is known."""
    line = _line(lines, place)
    return line, f"{_dotted(place) or 'the file'}{f' (line {line})' if line else ''}: {what}"


def first_reason(error: ValidationError) -> str:
    """The first problem of content that a program wrote, with its place, on one line; for users' files `problems_of`.

    Example:
        >>> from pydantic import TypeAdapter
        >>> try:
        ...     TypeAdapter(dict[str, list[int]]).validate_python({"folds": [0, "x"]}, strict=True)
        ... except ValidationError as error:
        ...     first_reason(error)
        "folds.1: Input should be a valid integer, found 'x'"
    """
    first = error.errors(include_url=False)[0]
    what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
    shown = f", found {short(first['input'])}" if _is_scalar(first["input"]) else ""
    return f"{_dotted(first['loc'])}: {what}{shown}".removeprefix(": ")


def _place(details: Mapping[str, Any], model: type[BaseModel]) -> Location:
    """Keys that lead to a problem, without pydantic's names of union members."""
    location: Location = details["loc"]
    if details["type"] in _UNKNOWN_KEY:
        return (*_follow(location[:-1], model)[0], location[-1])
    if details["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return (*_follow(location, model)[0], details["ctx"]["discriminator"].strip("'"))
    return _follow(location, model)[0]


_UNKNOWN_KEY = {"extra_forbidden", "invalid_key"}

_EXPECTED = {
    "string_type": "be text",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "model_type": "be a group of settings",
    "model_attributes_type": "be a group of settings",
    "dict_type": "be a group of settings",
    "mapping_type": "be a group of settings",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_from_float": "be a whole number",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
}


def _what(place: Location, found: list[Mapping[str, Any]], model: type[BaseModel]) -> str:
    first = found[0]
    if first["type"] in _UNKNOWN_KEY:
        key = shortened(str(place[-1]), _LONGEST_VALUE)
        return f"unknown key.{nearest_name(key, _valid_keys(first['loc'][:-1], model))}"
    if first["type"] in {"missing", "union_tag_not_found"}:
        return "missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in first["ctx"]["expected_tags"].split(",")]
        tag = shortened(first["ctx"]["tag"], _LONGEST_VALUE)
        return f"unknown name {tag!r}.{nearest_name(tag, tags)}"
    expected = [_EXPECTED.get(each["type"]) or _wording(each) for each in found]
    value = first["input"]
    shown = (
        f", found {'nothing' if value is None else shortened(repr(value), _LONGEST_VALUE)}" if _is_scalar(value) else ""
    )
    return f"should {' or '.join(dict.fromkeys(expected)).replace(' or be ', ' or ')}{shown}"


def _wording(reported: Mapping[str, Any]) -> str:
    """The message of pydantic without its subject, and with its bounds in short form: 1e-12, not 0.000000000001."""
    text = re.sub(r"^\w+ should ", "", reported["msg"])
    bounds = [bound for bound in reported.get("ctx", {}).values() if isinstance(bound, float)]
    return f"{text.rpartition(' ')[0]} {bounds[0]:g}" if bounds else text


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool | None)


def _dotted(place: Location) -> str:
    parts = (shortened(str(part), _LONGEST_VALUE) for part in place)
    return ".".join(part if part.isprintable() else ascii(part)[1:-1] for part in parts)


def _line(lines: Lines, place: Location) -> int:
    """Line of the last key of a place that the file has; 0 if it has none."""
    keys = tuple(map(str, place))
    return next((lines[keys[:length]] for length in range(len(keys), 0, -1) if keys[:length] in lines), 0)


def _valid_keys(location: Location, model: type[BaseModel]) -> list[str]:
    """Keys of the settings model at a location."""
    models = [each for each in _follow(location, model)[1] if isinstance(each, type) and issubclass(each, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items() if not field.exclude]


def _follow(location: Location, model: type[BaseModel]) -> tuple[Location, list[object]]:
    """Follow a location of pydantic through the settings; return its keys and the annotations they lead to."""
    keys: list[int | str] = []
    current: list[object] = [model]
    for part in location:
        if inner := [annotation for candidate in current for annotation in _inside(candidate, part)]:
            keys.append(part)
            current = inner
        else:
            current = [candidate for candidate in current if _is_member(candidate, part)] or current
    return tuple(keys), current


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
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {dict, Mapping}:
        return _members(arguments[1])
    return _members(arguments[0]) if origin in {list, tuple} and isinstance(part, int) else []


def _is_member(annotation: object, name: int | str) -> bool:
    """Whether this is pydantic's name of a member of a union: the model's name, or its discriminator's value."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return False
    literals = [field.annotation for field in annotation.model_fields.values()]
    tags = {value for literal in literals if get_origin(literal) is Literal for value in get_args(literal)}
    return name == annotation.__name__ or name in tags


def _members(annotation: object) -> list[object]:
    """Members of a union, through Annotated."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [annotation]
