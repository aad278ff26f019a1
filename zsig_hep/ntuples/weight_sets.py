"""Sets of weights that are one variation: envelopes of scales, and parton densities as eigenvectors or replicas."""

import re
from abc import abstractmethod
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from zsig_hep.ntuples.datasets import SumInTree
from zsig_hep.ntuples.own_sums import Normalise, SumsOfDirections, own_sums_problem
from zsig_hep.settings import Settings

Floats = NDArray[np.float64]
Element = Annotated[int, Field(ge=0, le=1_000_000)]
Combination = Literal["envelope", "quadrature"]
"""How the shifts of the members of a set make one shift up and one down."""

SEVEN_POINTS = (0, 1, 3, 5, 7, 8)
"""Elements of LHEScaleWeight with 9 elements in which the scales differ by a factor of 2 at most, without the nominal one."""

_RANGE = re.compile(r"(\d{1,7})-(\d{1,7})")


class VariedProcesses(Settings):
    """The settings of all kinds of variations."""

    processes: list[str] | None = Field(default=None, min_length=1, examples=[["ttbar"]])
    """Names of the processes that are varied; by default all simulated processes."""
    correlated: bool = True
    """Whether the processes vary together; otherwise each has a variation of its own, `<name>_<process>`."""


class VariedWeights(VariedProcesses):
    """The settings of all variations of weights."""

    normalise: Normalise = "nominal"
    """What yields of the varied weights are divided by: "nominal" is the nominal sum of generator weights, "own" the sum
    under the variation, so that the cross section is unchanged; "shape_only" scales them to the nominal yield after the
    selection, for each process.
    """

    @property
    @abstractmethod
    def branches(self) -> tuple[str, ...]:
        """Branches that the factors are computed from."""

    @property
    @abstractmethod
    def elements(self) -> tuple[int, ...]:
        """Elements of the branch with several factors per event, if there is one."""

    @property
    @abstractmethod
    def own_sums(self) -> Literal["runs", "events"] | SumsOfDirections | SumInTree | None:
        """Source of the own sums of weights, with the default filled in; None unless they are used."""


def _kind_of_source(source: object) -> str | None:
    if isinstance(source, dict | SumInTree):
        return "SumInTree"
    return "str" if source in ("runs", "events") else None


SumsOfElements = Annotated[
    Annotated[Literal["runs", "events"], Tag("str")] | Annotated[SumInTree, Tag("SumInTree")],
    Discriminator(
        _kind_of_source,
        custom_error_type="own_sums",
        custom_error_message="Input should be 'runs', 'events' or a group with `tree` and `branch`",
    ),
]
"""Source of the sums of generator weights under each element of a branch."""


class WeightSetVariation(VariedWeights):
    """Several weights of each event that are one variation.

    With the nominal yield Y and the yield Y_m under each member m, of any selection or bin and any sum of processes:

    - envelope: up is the largest of Y and all Y_m, down the smallest.
    - hessian: up and down are Y + delta and Y - delta, delta^2 = sum_m (Y_m - Y_0)^2 with the reference member 0
      (arXiv:1510.03865, section 6.2).
    - replicas: the same with delta^2 = sum_m (Y_m - <Y>)^2 / (M - 1) and the mean <Y> of the M members.

    Example:
        >>> pdf = WeightSetVariation(kind="weight_set", branch="LHEPdfWeight", combine="hessian", members="1-100")
        >>> pdf.elements[:3], len(pdf.elements)
        ((0, 1, 2), 101)
    """

    kind: Literal["weight_set"]
    """Chooses this kind of variation."""
    branch: str = Field(min_length=1, examples=["LHEScaleWeight", "LHEPdfWeight"])
    """Branch with the same number of factors in each event, relative to the nominal weight."""
    combine: Literal["envelope", "hessian", "replicas"]
    """How the members make one variation: "envelope" takes the largest and the smallest yield, "hessian" adds differences
    to the reference in quadrature, "replicas" takes the standard deviation.
    """
    members: list[Element] | str | None = Field(default=None, examples=["1-100", [0, 1, 3, 5, 7, 8]])
    """Elements of the branch that are members, as a list or as a range "first-last", two or more. By default 0, 1, 3, 5, 7
    and 8 for the envelope of `LHEScaleWeight`: both scales by factors of 2 that do not differ by more.
    """
    reference: Element | None = Field(default=None, examples=[0])
    """Element from which the differences of "hessian" are taken, by default 0; not for other combinations."""
    sum_of_weights: SumsOfElements | None = Field(
        default=None, examples=["runs", "events", {"tree": "sumWeights", "branch": "sums_of_mc_weights"}]
    )
    """Source of the own sums: "runs" takes those that NanoAOD stores for LHEScaleWeight, LHEPdfWeight and PSWeight, which
    is the default for these branches; "events" adds the weights of the events in the files, if nothing was skimmed;
    `{tree: NAME, branch: NAME}` reads a branch with the same elements.
    """

    @model_validator(mode="after")
    def _is_a_set(self) -> Self:
        if self.members is None and (self.combine, self.branch) != ("envelope", "LHEScaleWeight"):
            message = 'members are needed, as in members: "1-100"; other elements can be of other sets'
            raise ValueError(message)
        numbers = self.numbers
        if len(numbers) < 2:
            message = f"a set has two or more members, not {len(numbers)}; for one weight use `kind: weight`"
            raise ValueError(message)
        if twice := sorted(
            {each for each in numbers if numbers.count(each) > 1} if len(set(numbers)) < len(numbers) else ()
        ):
            message = f"members has {', '.join(map(str, twice))} more than once"
            raise ValueError(message)
        if self.reference is not None and self.combine != "hessian":
            message = f"reference is used with `combine: hessian` only, not with {self.combine}"
            raise ValueError(message)
        if self.combine == "hessian" and self.elements[0] in numbers:
            message = f"member {self.elements[0]} is the reference, from which its difference is zero: leave it out of members"
            raise ValueError(message)
        if problem := own_sums_problem(self.normalise, self.sum_of_weights, self.branch):
            raise ValueError(problem)
        return self

    @property
    def numbers(self) -> tuple[int, ...]:
        """Elements of the branch that are members.

        Raises:
            ValueError: they are no range.
        """
        if self.members is None:
            return SEVEN_POINTS
        if not isinstance(self.members, str):
            return tuple(self.members)
        match = _RANGE.fullmatch(self.members.replace(" ", ""))
        if match is None or int(match[1]) > int(match[2]) or int(match[2]) - int(match[1]) > 10_000:
            message = f'members {self.members!r} is no range "first-last" of at most 10000 elements, such as "1-100"'
            raise ValueError(message)
        return tuple(range(int(match[1]), int(match[2]) + 1))

    @property
    def branches(self) -> tuple[str, ...]:
        """The branch of the factors."""
        return (self.branch,)

    @property
    def elements(self) -> tuple[int, ...]:
        """Elements that are read: the reference of "hessian", then the members."""
        return (self.reference or 0, *self.numbers) if self.combine == "hessian" else self.numbers

    @property
    def own_sums(self) -> Literal["runs", "events"] | SumInTree | None:
        """Source of the own sums of weights, with the default filled in; None unless they are used."""
        if self.normalise != "own":
            return None
        return "runs" if self.sum_of_weights is None else self.sum_of_weights

    @property
    def combination(self) -> Combination:
        """How shifts of the yields under the weights of `member_weights` are combined."""
        return "envelope" if self.combine == "envelope" else "quadrature"

    def member_weights(self, nominal: Floats, varied: Floats) -> Floats:
        """Weights of the members whose shifts are combined.

        For "hessian" these are w + w_m - w_0, and for "replicas" w + (w_m - <w>) / sqrt(M - 1), so that the shifts of any
        yield under them add in quadrature to its uncertainty.

        Args:
            nominal: weights w, shape [N].
            varied: weights under each of `elements`, shape [E, N].

        Returns:
            Shape [M, N] for M members.
        """
        if self.combine == "hessian":
            return np.asarray(nominal + (varied[1:] - varied[0]))
        if self.combine == "replicas":
            # Differences to the nominal weights first, which are exactly zero for processes that are not varied.
            shifts = varied - nominal
            return np.asarray(nominal + (shifts - shifts.mean(axis=0)) / np.sqrt(len(shifts) - 1))
        return varied


def combined_shifts(shifts: Floats, combination: Combination | None) -> tuple[Floats, Floats]:
    """Shifts of a yield up and down from its shifts under the alternatives of a variation.

    Args:
        shifts: shape [A, ...] of A alternatives.
        combination: of the members of a set; None for the alternatives up and down.

    Returns:
        Up and down, shape [...].

    Example:
        >>> shifts = np.array([3.0, -1.0, 4.0])
        >>> [float(each) for each in combined_shifts(shifts, "envelope")]
        [4.0, -1.0]
        >>> [round(float(each), 3) for each in combined_shifts(shifts, "quadrature")]
        [5.099, -5.099]
    """
    if combination is None:
        up, down = shifts
        return np.asarray(up), np.asarray(down)
    if combination == "envelope":
        return np.asarray(np.maximum(shifts.max(axis=0), 0.0)), np.asarray(np.minimum(shifts.min(axis=0), 0.0))
    delta = np.sqrt((shifts**2).sum(axis=0))
    return np.asarray(delta), np.asarray(-delta)
