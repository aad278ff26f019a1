"""Docstrings as they stand in the source, for autodoc: equations become literal blocks, `|` and `*` are themselves.

The package writes docstrings to be read in an editor. Indented lines outside of the sections of Google style are
equations or tables, of which reStructuredText would make a quotation in another font.
"""

import re
from collections.abc import Iterator

from sphinx.application import Sphinx

_SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields):$")
_CODE = re.compile(r"(`[^`]*`)")
# Before napoleon, which knows sections by their indentation, and after it.
_EARLY, _LATE = 400, 600

# What napoleon would take for "type: description", by name.
_kept: dict[str, list[str]] = {}


def plain(lines: list[str]) -> Iterator[str]:
    """Rewrite the lines of a docstring.

    Args:
        lines: without common indentation.

    Yields:
        Lines of reStructuredText with sections of Google style.
    """
    section = ""
    literal = False
    for number, line in enumerate(lines):
        indented = line.startswith(" ")
        if not indented and line:
            match = _SECTION.match(line)
            section = match[1] if match else ""
        starts = indented and not section and not literal and (number == 0 or not lines[number - 1])
        literal = (literal and (indented or not line)) or starts
        if starts:
            yield from (".. code-block:: text", "")
        yield line if literal or section.startswith("Example") else _escaped(line)


def _escaped(line: str) -> str:
    """A line in which stars and bars outside of code mean themselves."""
    parts = _CODE.split(line)
    return "".join(part if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in parts)


def _process(_app: Sphinx, what: str, name: str, _object: object, _options: object, lines: list[str]) -> None:
    lines[:] = plain(lines)
    if what in {"attribute", "data", "property"}:
        _kept[name] = list(lines)


def _restore(_app: Sphinx, _what: str, name: str, _object: object, _options: object, lines: list[str]) -> None:
    lines[:] = _kept.pop(name, lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite docstrings before napoleon does."""
    app.connect("autodoc-process-docstring", _process, priority=_EARLY)
    app.connect("autodoc-process-docstring", _restore, priority=_LATE)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
