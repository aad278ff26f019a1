"""Possible positions of a cut on one variable: between neighbouring values, or at round numbers.

Each side of a cut is treated as a lower cut on v: v = x for a lower cut on a variable x, and v = -x for an upper one. A
missing value has v = -infinity if it fails and v = +infinity if it passes, on both sides of a window.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.boxes.cuts import CutSettings, CutVariableSettings
from zsig_hep.selection.events import Booleans, Floats, Integers

# A cut that only rejects missing values is this far beyond the last value, as a fraction of that value.
_OUTSIDE = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class CutSide(ShortRepr):
    """One side of the cut on one variable, with T edges in ascending order of tightness; edge 0 is no cut ("open").

    Attributes:
        variable: name of the feature.
        sign: 1 for a lower cut, x > edge; -1 for an upper cut, x < edge.
        score: v, shape [N].
        code: index of the tightest edge that each event passes, shape [N]; edge e selects code >= e.
        allowed: whether a cut may have the edge, shape [T]; always true for edge 0.
        lower: values v at or below it fail the edge, shape [T].
        upper: values v at or above it pass the edge, shape [T]; equal to `lower` for edges at round numbers.
        start: v of the starting point; None if the settings give none.
    """

    variable: str
    sign: Literal[-1, 1]
    score: Floats
    code: Integers
    allowed: Booleans
    lower: Floats
    upper: Floats
    start: float | None

    def value(self, edge: int) -> float | None:
        """The cut in units of the variable, with the fewest digits that select the same events; None for edge 0."""
        if edge == 0:
            return None
        low, high = float(self.lower[edge]), float(self.upper[edge])
        # Adding zero turns -0.0, which an upper cut at 0 gives, into 0.0.
        return self.sign * (low if low == high else _shortest_between(low, high)) + 0.0

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest finite v."""
        finite = self.score[np.isfinite(self.score)]
        return float(finite.min()), float(finite.max())

    def edge_at(self, position: float) -> int:
        """The edge that selects the events above a position v; of round numbers the first above it, if there is one."""
        return min(1 + int(np.searchsorted(self.upper[1:], position, side="right")), self.allowed.size - 1)


def make_sides(table: EventTable, settings: CutSettings) -> tuple[CutSide, ...]:
    """The sides of all cuts, with their possible edges on the events of a table.

    Args:
        table: the events that choose the cuts.
        settings: settings of the cuts.

    Returns:
        The sides in the order of the variables, with the lower one of a window first.
    """
    return tuple(
        _make_side(table, variable, options, sign, passes=settings.missing_of(variable) == "pass")
        for variable, options in settings.variables.items()
        for sign in _signs(options)
    )


def check_variables(table: EventTable, settings: CutSettings) -> None:
    """Refuse variables that cannot be cut.

    Raises:
        InputError: a variable is no feature, is NaN or has the same value for every event, or has a start outside of
            its values.
    """
    for variable in settings.variables:
        values = table.feature(variable)[~table.is_data]
        finite = values[np.isfinite(values)]
        if not finite.size:
            message = f"The cut variable '{variable}' is NaN for every event; remove it from cuts: variables."
            raise InputError(message)
        if finite.size == values.size and finite.min() == finite.max():
            message = (
                f"The cut variable '{variable}' is {finite[0]:g} for every event, so that no cut can separate events; remove "
                "it from cuts: variables."
            )
            raise InputError(message)
        for start in settings.variables[variable].start_values:
            if start is not None and not finite.min() <= start <= finite.max():
                message = (
                    f"The start {start:g} of the cut variable '{variable}' is outside of its values, which run from "
                    f"{finite.min():g} to {finite.max():g}."
                )
                raise InputError(message)


def allowed_between(allowed: Booleans, above: Integers, upto: Integers) -> Integers:
    """The middle one of the allowed edges e with above < e <= upto; -1 where there is none."""
    places = np.flatnonzero(allowed)
    first = np.searchsorted(places, above, side="right")
    last = np.searchsorted(places, upto, side="right") - 1
    return np.where(first <= last, places[np.minimum((first + last + 1) // 2, places.size - 1)], -1)


def _signs(options: CutVariableSettings) -> tuple[Literal[-1, 1], ...]:
    if options.side == "window":
        return 1, -1
    return (1,) if options.side == "above" else (-1,)


def _make_side(
    table: EventTable, variable: str, options: CutVariableSettings, sign: Literal[-1, 1], *, passes: bool
) -> CutSide:
    x = table.feature(variable).astype(np.float64)
    v = np.where(np.isnan(x), np.inf if passes else -np.inf, sign * x)
    distinct, rank = np.unique(v, return_inverse=True)
    lowest, highest = _limits(options, sign)
    if options.step is None and options.significant_digits is None:
        below, above = np.maximum(distinct[:-1], lowest), distinct[1:]
        allowed = (below < above) & (below <= highest)
        above = np.where(above > highest, np.nextafter(highest, np.inf), above)
        code = rank.astype(np.int64)
    else:
        edges = _round_edges(sign * distinct[np.isfinite(distinct)], options, sign)
        code = np.searchsorted(edges, distinct, side="left")[rank]
        below = above = edges
        allowed = (edges >= lowest) & (edges <= highest) & ~_ambiguous(edges, distinct)
    start = options.start_values[0 if sign == 1 else 1]
    return CutSide(
        variable=variable,
        sign=sign,
        score=v,
        code=code,
        allowed=np.concatenate([[True], allowed]),
        lower=np.concatenate([[-np.inf], below]),
        upper=np.concatenate([[-np.inf], above]),
        start=None if start is None else sign * start,
    )


def _limits(options: CutVariableSettings, sign: int) -> tuple[float, float]:
    low, high = options.limits if sign == 1 else options.limits[::-1]
    return -np.inf if low is None else sign * low, np.inf if high is None else sign * high


def _round_edges(x: Floats, options: CutVariableSettings, sign: int) -> Floats:
    """Ascending v of the round numbers next to each value and one beyond each end; others select the same events."""
    if not x.size:
        return np.empty(0)
    if options.step is not None:
        unit = np.full_like(x, options.step)
    else:
        magnitude = np.floor(np.log10(np.abs(np.where(x == 0, 1.0, x))))
        unit = 10.0 ** (magnitude - (options.significant_digits or 1) + 1)
    low, high = np.floor(x / unit), np.ceil(x / unit)
    first, last = int(x.argmin()), int(x.argmax())
    beyond = np.array([(low[first] - 1) * unit[first], (high[last] + 1) * unit[last]])
    near = np.unique(np.concatenate([low * unit, high * unit, beyond]))
    return np.unique(sign * np.array([_neat(value, options) for value in near.tolist()]))


def _neat(value: float, options: CutVariableSettings) -> float:
    """The decimal number without the rounding of a product: 0.3 in place of 3 x 0.1."""
    if options.step is not None:
        decimals = -int(Decimal(repr(options.step)).normalize().as_tuple().exponent)
        return round(value, max(decimals, 0)) + 0.0
    return float(f"{value:.{(options.significant_digits or 1) - 1}e}") + 0.0


def _ambiguous(edges: Floats, distinct: Floats) -> Booleans:
    """Round numbers that equal a value in float32 but not in float64, where a comparison depends on the precision."""
    single = edges.astype(np.float32).astype(np.float64)
    return (single > edges) & np.isin(single, distinct)


def _shortest_between(low: float, high: float) -> float:
    """The number c of fewest digits with low <= c < high, in float64 and in float32."""
    width = max(abs(value) for value in (low, high) if np.isfinite(value)) or 1.0
    low = high - _OUTSIDE * width if not np.isfinite(low) else low
    high = low + _OUTSIDE * width if not np.isfinite(high) else high
    middle = low + (high - low) / 2
    for digits in range(17):
        candidate = float(f"{middle:.{digits}e}")
        if low < candidate < high and low <= float(np.float32(candidate)) < high:
            return candidate
    return low
