"""The directive `analysis-keys`: every key of the analysis file, from the JSON schema of its models.

Each group of settings is a section with its keys. Unions whose members are told by a key (losses, optimisers, schedules,
variations) are sections of their own, with a part for each member.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from zsig_hep.schema import analysis_schema

Schema = Mapping[str, Any]

UNIONS = {
    "Losses": ("a loss", "bce"),
    "Optimisers": ("an optimiser", "adam"),
    "Schedules": ("a schedule", "cosine"),
    "Variations": ("a variation", "shape"),
}
"""Title of each union, what one of its members is called, and the tag of a member."""

INLINE = {
    "SignOf",
    "SumValue",
    "GeometricPath",
    "LinearPath",
    "TermSettings",
    "SumInTree",
    "SumInHistogram",
    "SumsOfDirections",
    "WeightsAtLuminosity",
}
"""Groups that are shown in the type of their key, such as `{value: number}`."""

_UNIT = re.compile(r" \[(?P<unit>[^\[\],]+)\](?=[.;,])")
_CODE = re.compile(r"`([^`]+)`")
_NUMBERS = {"integer": "whole number", "number": "number"}


@dataclass(frozen=True)
class Key:
    """One key of the analysis file.

    Attributes:
        place: the dotted key, such as `ntuples.folds`.
        type: what its value may be, in words with code in backticks.
        unit: of the value; empty without one.
        default: as YAML; None where it is required, or nothing where it is left out.
        required: whether it must be given.
        description: what it means.
        examples: values as YAML.
    """

    place: str
    type: str
    unit: str
    default: str | None
    required: bool
    description: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Keys that stand together.

    Attributes:
        name: dotted key of a group of settings; key and tag of a member of a union.
        description: what it is.
        keys: in their order.
    """

    name: str
    description: str
    keys: tuple[Key, ...]


def as_yaml(value: Any) -> str:
    """A value as one line of YAML.

    Example:
        >>> as_yaml({"name": "z", "relative_eps": 0.05})
        '{name: z, relative_eps: 0.05}'
    """
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


class Reference:
    """What a JSON schema of settings says of every key."""

    def __init__(self, schema: Schema) -> None:
        self.schema, self.definitions = schema, schema["$defs"]

    def groups(self) -> tuple[Group, ...]:
        """Every group of settings, the file itself first."""
        return tuple(self._groups("", self.schema))

    def unions(self) -> dict[str, tuple[Group, ...]]:
        """Members of every union by its title."""
        return {title: tuple(map(self._member, self._largest_union(tag))) for title, (_, tag) in UNIONS.items()}

    def type_of(self, schema: Schema) -> str:
        """What a value may be, in words with code in backticks; `null` is left out where it is the default."""
        schema = self._resolved(schema)
        if "oneOf" in schema and self._is_tagged(schema["oneOf"]):
            return self._union(schema["oneOf"])
        if alternatives := schema.get("anyOf") or schema.get("oneOf"):
            unsaid = {"null"} if schema.get("default", "") is None else set()
            kinds = [self.type_of(each) for each in alternatives if each.get("type") not in unsaid]
            return " or ".join(dict.fromkeys(sorted(kinds, key="`null`".__eq__)))
        if "const" in schema:
            return f"`{as_yaml(schema['const'])}`"
        if "enum" in schema:
            return " or ".join(f"`{as_yaml(each)}`" for each in schema["enum"])
        match schema.get("type"):
            case "integer" | "number" as kind:
                return _NUMBERS[kind] + _bounds(schema)
            case "boolean":
                return "`true` or `false`"
            case "null":
                return "`null`"
            case "array" if "prefixItems" in schema:
                (item,) = {self.type_of(each) for each in schema["prefixItems"]}
                return f"list of {len(schema['prefixItems'])} {_plural(item)}"
            case "array":
                return f"list of {_plural(self.type_of(schema['items']))}"
            case "object" if "properties" not in schema:
                return f"by name: {self.type_of(schema['additionalProperties'])}"
            case "object" if _is_inline(schema):
                keys = [f"{name}: {self.type_of(each)}" for name, each in schema["properties"].items()]
                return f"`{{{', '.join(keys).replace('`', '')}}}`"
            case "object":
                return "group of settings"
        return "text"

    def _union(self, references: list[Schema]) -> str:
        tags = [self._tag(each)[1] for each in references]
        title, (words, tag) = next((title, union) for title, union in UNIONS.items() if union[1] in tags)
        others = [self._tag(each)[1] for each in self._largest_union(tag) if self._tag(each)[1] not in tags]
        if not others:
            return f"{words}, see {title}"
        if len(others) < len(tags):
            return f"{words}, see {title}, but not {' or '.join(f'`{other}`' for other in others)}"
        return f"{words}, see {title}: {' or '.join(f'`{each}`' for each in tags)}"

    def _largest_union(self, tag: str) -> list[Schema]:
        """The members of the largest union that has a member with this tag."""
        unions = (union for union in _unions(self.schema) if self._is_tagged(union))
        having = (union for union in unions if any(self._tag(each)[1] == tag for each in union))
        return max(having, key=len)

    def _is_tagged(self, members: list[Schema]) -> bool:
        """Whether each member of a union has a key of its own value, as losses have `name`."""
        properties = [self._resolved(each).get("properties", {}) for each in members]
        return all(any("const" in each for each in keys.values()) for keys in properties)

    def _tag(self, schema: Schema) -> tuple[str, Any]:
        properties = self._resolved(schema)["properties"]
        return next((name, each["const"]) for name, each in properties.items() if "const" in each)

    def _member(self, schema: Schema) -> Group:
        key, tag = self._tag(schema)
        keys = self._keys("", self._resolved(schema))
        return Group(f"{key}: {tag}", self._resolved(schema)["description"], tuple(k for k in keys if k.place != key))

    def _groups(self, place: str, schema: Schema) -> Iterator[Group]:
        yield Group(place, schema.get("description", ""), tuple(self._keys(place, schema)))
        for name, described in schema["properties"].items():
            for suffix, inner in self._inner(described):
                yield from self._groups(_joined(place, name) + suffix, inner)

    def _inner(self, schema: Schema) -> Iterator[tuple[str, Schema]]:
        """Groups below a key, with what stands between: `.NAME` of a mapping, `[]` of a list."""
        schema = self._resolved(schema)
        for alternative in schema.get("anyOf", ()):
            yield from self._inner(alternative)
        if "properties" in schema and not _is_inline(schema):
            yield "", schema
        for key, between in (("additionalProperties", ".NAME"), ("items", "[]")):
            if isinstance(schema.get(key), dict):
                yield from ((between + suffix, inner) for suffix, inner in self._inner(schema[key]))

    def _keys(self, place: str, schema: Schema) -> Iterator[Key]:
        for name, described in schema["properties"].items():
            text, default = described.get("description", ""), described.get("default")
            unit = _UNIT.search(text)
            yield Key(
                place=_joined(place, name),
                type=self.type_of(described),
                unit=unit["unit"] if unit else "",
                default=None if default is None else as_yaml(default),
                required=name in schema.get("required", ()),
                description=_UNIT.sub("", text),
                examples=tuple(map(as_yaml, described.get("examples", ()))),
            )

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        resolved: Schema = self.definitions[schema["$ref"].removeprefix("#/$defs/")]
        return resolved


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _is_inline(schema: Schema) -> bool:
    return schema.get("title") in INLINE


def _plural(kind: str) -> str:
    """The kind of the items of a list."""
    if " or " in kind:
        return f"({kind})"
    return re.sub(r"^(text|number|whole number|group)\b", r"\1s", kind)


def _unions(part: Any) -> Iterator[list[Schema]]:
    if isinstance(part, Mapping):
        if "oneOf" in part:
            yield part["oneOf"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _unions(inner)


def _bounds(schema: Schema) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found = [f"{word} {schema[bound]:g}" for bound, word in words.items() if bound in schema]
    return f" {' and '.join(found)}" if found else ""


class AnalysisKeys(SphinxDirective):
    """Sections of all keys."""

    def run(self) -> list[nodes.Node]:
        """One section for each group of settings, then one for each union."""
        # The schema is made of many files: read this page in every build.
        self.env.note_reread()
        reference = Reference(analysis_schema())
        sections = [
            _section(group.name or "The file itself", group, code=bool(group.name)) for group in reference.groups()
        ]
        for title, members in reference.unions().items():
            section = _titled(title, nodes.Text(title))
            section += [_section(member.name, member, code=True) for member in members]
            sections.append(section)
        return list(sections)


def _titled(name: str, title: nodes.Node) -> nodes.section:
    identity = nodes.make_id(name)
    return nodes.section("", nodes.title("", "", title), ids=[identity], names=[nodes.fully_normalize_name(name)])


def _section(name: str, group: Group, *, code: bool) -> nodes.section:
    section = _titled(name, nodes.literal("", name) if code else nodes.Text(name))
    section += nodes.paragraph("", "", *_inline(group.description))
    section += nodes.definition_list("", *map(_item, group.keys), classes=["analysis-keys"])
    return section


def _item(key: Key) -> nodes.definition_list_item:
    term = nodes.term(
        "", "", nodes.strong("", "", nodes.literal("", key.place)), ids=[nodes.make_id(f"key-{key.place}")]
    )
    facts = [*_inline(key.type)]
    if key.unit:
        facts.append(nodes.Text(f", in {key.unit}"))
    if key.required:
        facts.append(nodes.Text("; required"))
    elif key.default is not None:
        facts += [nodes.Text("; default "), nodes.literal("", key.default)]
    body = [nodes.paragraph("", "", *_inline(key.description)), nodes.paragraph("", "", nodes.Text("Takes: "), *facts)]
    if key.examples:
        body.append(nodes.paragraph("", "", nodes.Text("For example "), *_listed(key.examples)))
    return nodes.definition_list_item("", term, nodes.definition("", *body))


def _listed(values: tuple[str, ...]) -> Iterator[nodes.Node]:
    for number, value in enumerate(values):
        if number:
            yield nodes.Text(", ")
        yield nodes.literal("", value)


def _inline(text: str) -> list[nodes.Node]:
    """Text with code in backticks."""
    parts = _CODE.split(text)
    return [nodes.literal("", part) if number % 2 else nodes.Text(part) for number, part in enumerate(parts) if part]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("analysis-keys", AnalysisKeys)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
