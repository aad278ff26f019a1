"""The base of every settings model, and messages about what is wrong in a settings file."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from zsig_hep.errors import AnalysisFileError, nearest_name
from zsig_hep.representation import short


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

Problem = tuple[int, str]
"""Line of the file, 0 where it is not known, and what is wrong there."""


def refusal(subject: str, problems: Iterable[Problem]) -> AnalysisFileError:
    """Make one error of all problems, sorted by line."""
    lines = [f"  - {text}" for _, text in sorted(problems, key=lambda problem: problem[0])]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return AnalysisFileError("\n".join([f"{subject} has {count}:", *lines]))


def read_yaml(file: Path) -> tuple[object, yaml.Node | None, list[Problem]]:
    """Read a YAML file: its content, its root node, which has the line numbers, and its repeated keys."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"There is no analysis file {file}. Name a folder that holds analysis.yaml, or the file itself."
        raise AnalysisFileError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{file} cannot be read as text: {error}"
        raise AnalysisFileError(message) from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return yaml.safe_load(text), root, list(_repeated_keys(root))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"{file}{line}: not valid YAML: {error.problem}"
        raise AnalysisFileError(message) from error
    # PyYAML lets through the ValueErrors of int, float and date, such as that of the date 2020-13-45.
    except (yaml.YAMLError, ValueError) as error:
        message = f"{file} is not valid YAML: {error}"
        raise AnalysisFileError(message) from error
    except RecursionError as error:
        message = f"{file} is nested too deeply, or an alias in it refers to itself."
        raise AnalysisFileError(message) from error


def _repeated_keys(node: yaml.Node | None, place: Location = ()) -> Iterator[Problem]:
    """Find keys that occur twice in one mapping, of which YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                yield line, f"{_dotted((*place, key.value))} (line {line}): occurs twice"
            seen.add(key.value)
            yield from _repeated_keys(value, (*place, key.value))


def problems_of(
    error: ValidationError, model: type[BaseModel], root: yaml.Node | None = None, within: Location = ()
) -> Iterator[Problem]:
    """Problems of a validation, each with its place, what was found and what would be valid.

    A value that fits no member of a union is one problem, though pydantic reports one per member.
    """
    by_place: dict[Location, list[Mapping[str, Any]]] = {}
    for reported in error.errors(include_url=False):
        details = {**reported, "loc": within + reported["loc"]}
        by_place.setdefault(_place(details, model), []).append(details)
    for place, found in by_place.items():
        is_inside = any(len(other) > len(place) and other[: len(place)] == place for other in by_place)
        # A problem inside a value shows which member of a union was meant; that it is no other member is no problem.
        if not is_inside:
            yield problem(place, _what(place, found, model), root)


def problem(place: Location, what: str, root: yaml.Node | None) -> Problem:
    """A problem with its place, and its line where that is known."""
    line = _line(root, place)
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
        return f"unknown key.{nearest_name(str(place[-1]), _valid_keys(first['loc'][:-1], model))}"
    if first["type"] in {"missing", "union_tag_not_found"}:
        return "missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "union_tag_invalid":
        tags = [tag.strip("' ") for tag in first["ctx"]["expected_tags"].split(",")]
        return f"unknown name {first['ctx']['tag']!r}.{nearest_name(first['ctx']['tag'], tags)}"
    expected = [_EXPECTED.get(each["type"]) or re.sub(r"^\w+ should ", "", each["msg"]) for each in found]
    value = first["input"]
    shown = f", found {'nothing' if value is None else repr(value)}" if _is_scalar(value) else ""
    return f"should {' or '.join(dict.fromkeys(expected)).replace(' or be ', ' or ')}{shown}"


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool | None)


def _dotted(place: Location) -> str:
    return ".".join(str(part) for part in place)


def _line(node: yaml.Node | None, place: Location) -> int:
    """Line of the last key of a place that the file has; 0 if it has none."""
    line = 0
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


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
