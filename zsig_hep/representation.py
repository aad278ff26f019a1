"""Short representations of objects in a prompt or a notebook, without the content of arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape

_SHOWN_ITEMS = 4
_SHOWN_CHARACTERS = 60


class ShortRepr:
    """Base of dataclasses whose repr shows arrays by type and shape, and the first items of long collections.

    The dataclass needs `repr=False`, or it gets a repr of its own.

    Example:
        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> @dataclass(frozen=True, repr=False)
        ... class Curve(ShortRepr):
        ...     label: str
        ...     significance: np.ndarray
        >>> Curve("Z loss", np.zeros(200))
        Curve(label='Z loss', significance=float64[200])
    """

    def __repr__(self) -> str:
        """Fields without the content of arrays."""
        shown = [f"{each.name}={short(getattr(self, each.name))}" for each in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


def short(value: object) -> str:
    """Describe a value on part of a line: an array by its type and shape, a collection by its first items.

    Example:
        >>> short(tuple(range(10)))
        '(0, 1, 2, 3, ... 10 in all)'
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if dtype is not None and shape:
        return f"{str(dtype).removeprefix('torch.')}[{', '.join(map(str, shape))}]"
    if isinstance(value, Mapping):
        return f"{{{_first([f'{key!r}: {short(each)}' for key, each in value.items()])}}}"
    if isinstance(value, tuple | list):
        return f"({_first([short(each) for each in value])})"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS or isinstance(value, ShortRepr) else f"{text[:_SHOWN_CHARACTERS]}..."


def _first(items: Sequence[str]) -> str:
    more = [f"... {len(items)} in all"] if len(items) > _SHOWN_ITEMS else []
    return ", ".join([*items[:_SHOWN_ITEMS], *more])


def html_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """HTML table for a notebook; numbers are right-aligned, all text is escaped.

    Args:
        title: above the table.
        headings: of the columns.
        rows: one value for each column; floats are written with four digits, None as an empty cell.

    Example:
        >>> html_table("Yields", ["process", "events"], [["dy", 3]]).count("<td")
        2
    """
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, str):
        return f'<td style="text-align: left">{escape(value)}</td>'
    return f"<td>{f'{value:.4g}' if isinstance(value, float) else value}</td>"
