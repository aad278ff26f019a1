"""Rectangular cuts: their settings, and the cuts as objects and as expressions for other programs."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.events import Booleans
from zsig_hep.settings import FeatureValue, Name, NonNegativeNumber, PositiveNumber, Settings

Side = Literal["above", "below", "window"]
Missing = Literal["fail", "pass"]
Range = tuple[FeatureValue | None, FeatureValue | None]

_IDENTIFIER = re.compile(r"^[A-Za-z_]\w*$")


class CutVariableSettings(Settings):
    """How one variable may be cut; the side alone, as in `dijet_mass: above`, takes the defaults for all other keys."""

    side: Side
    """Values that pass: above a cut, below a cut, or inside a window of two cuts."""
    start: FeatureValue | Range | None = Field(default=None, examples=[300.0, [120.0, 130.0]])
    """Additional starting point of the search: a number, or a pair [low, high] for a window."""
    limits: Range = Field(default=(None, None), examples=[[200.0, None]])
    """Lowest and highest value that a cut may have, null for no limit. It is always possible to have no cut."""
    step: PositiveNumber | None = Field(default=None, examples=[0.5])
    """Cuts are multiples of this number."""
    significant_digits: int | None = Field(default=None, ge=1, le=6, examples=[2])
    """Largest number of significant digits of a cut."""
    missing: Missing | None = None
    """Whether an event without a value of the variable (NaN) passes a cut on it; default: `cuts.missing`."""

    @model_validator(mode="before")
    @classmethod
    def _side_alone(cls, given: Any) -> Any:
        return {"side": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        """The schema of the settings, or of the side alone."""
        return {"anyOf": [{"enum": list(get_args(Side))}, super().__get_pydantic_json_schema__(core_schema, handler)]}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.limits
        if low is not None and high is not None and not low < high:
            message = f"limits [{low:g}, {high:g}] hold no value: the first must be smaller than the second"
            raise ValueError(message)
        if self.step is not None and self.significant_digits is not None:
            message = "step and significant_digits are two ways of rounding; give one of them"
            raise ValueError(message)
        if isinstance(self.start, tuple) and self.side != "window":
            message = f"start of a cut '{self.side}' is one number; found a pair"
            raise ValueError(message)
        if isinstance(self.start, float) and self.side == "window":
            message = "start of a window is a pair [low, high], with null for an open side; found one number"
            raise ValueError(message)
        for value in self.start_values:
            if value is not None and not (low if low is not None else value) <= value <= (
                high if high is not None else value
            ):
                message = f"start {value:g} is outside of limits [{_limit(low)}, {_limit(high)}]"
                raise ValueError(message)
        return self

    @property
    def start_values(self) -> Range:
        """Starting values of the lower and of the upper cut."""
        if isinstance(self.start, tuple):
            return self.start
        return (None, self.start) if self.side == "below" else (self.start, None)


class CutSettings(Settings):
    """A selection by rectangular cuts."""

    variables: Mapping[Name, CutVariableSettings] = Field(
        min_length=1, examples=[{"dijet_mass": "above", "dimuon_mass": {"side": "window", "step": 0.5}}]
    )
    """How each variable may be cut, by the name of a feature, in the order of the printed cuts."""
    missing: Missing = "fail"
    """Whether an event without a value of a variable (NaN) passes a cut on it.

    Such an event always passes if the variable has no cut.
    """
    minimum_pull: NonNegativeNumber = 2.0
    """A cut is dropped unless its gain in significance is at least this many standard deviations of the gain from the
    finite simulation; 0 keeps every cut that increases the significance. Since a cut moves to where the simulation
    fluctuates, a variable without separation has a positive gain too: in 60 toys 1 standard deviation in the median and
    1.9 at most.
    """
    starts: int = Field(default=3, ge=1, le=1000)
    """Number of starting points of the gradient ascent."""
    kicks: int = Field(default=5, ge=0, le=10000)
    """Number of times that two edges are displaced at random and the exact search is repeated."""
    sensitivities: bool = True
    """Whether the derivatives of the cuts in cross sections, luminosity and uncertainties are computed, with the
    bandwidth and replicas of `selection.sensitivity`.
    """
    cutflow_order: Literal["gain", "given"] = "gain"
    """Order of the cutflow: "gain" applies the cut with the largest gain in significance first, "given" follows the
    order of `variables`.
    """

    def missing_of(self, variable: str) -> Missing:
        """Whether a missing value of a variable passes a cut on it."""
        return self.variables[variable].missing or self.missing


@dataclass(frozen=True)
class Cut:
    """Cuts on one variable: low < x < high, both strict.

    Attributes:
        variable: name of the feature.
        low: lower cut; None for no cut.
        high: upper cut; None for no cut.
        missing: whether a missing value (NaN) passes; without cuts it always does.
    """

    variable: str
    low: float | None = None
    high: float | None = None
    missing: Missing = "fail"

    @property
    def is_open(self) -> bool:
        """Whether there is no cut."""
        return self.low is None and self.high is None

    def passes(self, values: npt.NDArray[np.floating]) -> Booleans:
        """Select the values that pass, as booleans in the shape of the values.

        Example:
            >>> x = np.array([1.0, 3.0, np.nan])
            >>> Cut("x", low=2.0).passes(x), Cut("x", low=2.0, missing="pass").passes(x)
            (array([False,  True, False]), array([False,  True,  True]))
        """
        passing = np.ones(np.shape(values), dtype=np.bool_)
        # The same comparisons as in the printed expressions, in which a missing value compares as False.
        if self.low is not None:
            passing &= values > self.low if self.missing == "fail" else ~(values <= self.low)
        if self.high is not None:
            passing &= values < self.high if self.missing == "fail" else ~(values >= self.high)
        return passing

    def written(self, name: str, negation: str) -> list[str]:
        """The comparisons as text.

        Args:
            name: expression of the variable.
            negation: operator that negates; if a missing value passes, a comparison is written as a negated failure.
        """
        sides = (self.low, ">", "<="), (self.high, "<", ">=")
        closed = [(float(value), passed, failed) for value, passed, failed in sides if value is not None]
        if self.missing == "fail":
            return [f"{name} {passed} {value!r}" for value, passed, _ in closed]
        return [f"{negation}({name} {failed} {value!r})" for value, _, failed in closed]


@dataclass(frozen=True)
class Box:
    """Cuts on several variables; an event must pass all of them.

    Attributes:
        cuts: one for each variable, including variables without a cut.

    Example:
        >>> box = Box((Cut("mass", 120.0, 130.0), Cut("pt", low=2.5, missing="pass"), Cut("eta")))
        >>> print(box.python())
        (events["mass"] > 120.0) & (events["mass"] < 130.0) & ~(events["pt"] <= 2.5)
        >>> print(box.tree_draw())
        mass > 120.0 && mass < 130.0 && !(pt <= 2.5)
        >>> box.open_variables
        ('eta',)
    """

    cuts: tuple[Cut, ...]

    @property
    def open_variables(self) -> tuple[str, ...]:
        """Variables without a cut."""
        return tuple(cut.variable for cut in self.cuts if cut.is_open)

    def cut(self, variable: str) -> Cut:
        """The cut on one variable.

        Raises:
            InputError: the box has no such variable.
        """
        for cut in self.cuts:
            if cut.variable == variable:
                return cut
        message = f"There is no cut on '{variable}'.{nearest_name(variable, [cut.variable for cut in self.cuts])}"
        raise InputError(message)

    def select(self, table: EventTable, *, without: Sequence[str] = ()) -> Booleans:
        """Select the events that pass, as booleans of shape [N].

        Args:
            table: events with the feature of every cut.
            without: variables whose cuts are not applied.

        Raises:
            InputError: the table lacks a feature.
        """
        passing = np.ones(len(table), dtype=np.bool_)
        for cut in self.cuts:
            if not cut.is_open and cut.variable not in without:
                passing &= cut.passes(table.feature(cut.variable))
        return passing

    def python(self, events: str = "events") -> str:
        """The cuts as an expression for NumPy, pandas and awkward arrays.

        Args:
            events: name of the array, table or mapping that holds a column for each variable.
        """
        terms = [cut.written(f"{events}[{json.dumps(cut.variable)}]", "~") for cut in self.cuts]
        joined = " & ".join(term if term.startswith("~") else f"({term})" for term in itertools.chain(*terms))
        return joined or f"np.ones(len({events}[{json.dumps(self.cuts[0].variable)}]), dtype=bool)"

    def tree_draw(self) -> str:
        """The cuts as a selection for TTree::Draw, RDataFrame::Filter and similar; "1" without any.

        Raises:
            InputError: the name of a variable with a cut is no identifier, so that ROOT would read it as a formula.
        """
        for cut in self.cuts:
            if not cut.is_open and not _IDENTIFIER.match(cut.variable):
                message = f"'{cut.variable}' cannot be the name of a branch in TTree::Draw; rename the feature."
                raise InputError(message)
        return " && ".join(itertools.chain(*(cut.written(cut.variable, "!") for cut in self.cuts))) or "1"


def _limit(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
