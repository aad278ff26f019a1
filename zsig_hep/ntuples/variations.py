"""Settings of systematic variations: what is varied up and down, and for which processes."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.datasets import Process
from zsig_hep.ntuples.own_sums import UpAndDownSums, own_sums_problem
from zsig_hep.ntuples.weight_sets import Element, VariedProcesses, VariedWeights, WeightSetVariation
from zsig_hep.settings import PathText

VariationKind = Literal["luminosity", "normalisation", "weight", "weight_set", "shape"]
Direction = Literal["up", "down"]

DIRECTIONS: tuple[Direction, ...] = ("up", "down")

NOMINAL = "nominal"
"""Name of the nominal events on the axis of variations of a histogram."""

_Factor = Annotated[float, Field(ge=1e-3, le=1e3)]

_NAME = re.compile(r"[A-Za-z]\w*")


def varied_name(name: str, direction: Direction) -> str:
    """Name of one direction of a variation, in histograms, files and calls of `columns`.

    Example:
        >>> varied_name("jes", "up")
        'jesUp'
    """
    return f"{name}{direction.capitalize()}"


class _Scaled(VariedProcesses):
    """A variation of whole yields, by factors up and down."""

    relative: float | None = Field(default=None, ge=1e-9, lt=10, examples=[0.02])
    """Relative uncertainty: the yield is multiplied by 1 + relative for up, and divided by 1 + relative for down."""
    up: _Factor | None = Field(default=None, examples=[1.05])
    """Factor on the yield for up, instead of `relative`."""
    down: _Factor | None = Field(default=None, examples=[0.94])
    """Factor on the yield for down; by default 1 / up."""

    @model_validator(mode="after")
    def _is_given_once(self) -> Self:
        if (self.relative is None) == (self.up is None) or (self.relative is not None and self.down is not None):
            message = "give either `relative`, or the factor `up` and, where it is not 1 / up, `down`"
            raise ValueError(message)
        return self

    @property
    def factors(self) -> tuple[float, float]:
        """Factors of the yields, up and down.

        Example:
            >>> LuminosityVariation(kind="luminosity", relative=0.25).factors
            (1.25, 0.8)
        """
        up = 1 + self.relative if self.relative is not None else self.up or 1.0
        return up, 1 / up if self.down is None else self.down


class LuminosityVariation(_Scaled):
    """The uncertainty of the integrated luminosity."""

    kind: Literal["luminosity"]
    """Chooses this kind of variation."""


class NormalisationVariation(_Scaled):
    """The uncertainty of a cross section or of another overall factor."""

    kind: Literal["normalisation"]
    """Chooses this kind of variation."""


class WeightVariation(VariedWeights):
    """Factors on the weights of the events.

    By default yields are divided by the nominal sum of generator weights, so that a variation can change the cross section
    as well as shapes and efficiencies; see `normalise`.

    Example:
        >>> isr = WeightVariation(kind="weight", branch="PSWeight", up=0, down=2)
        >>> pileup = WeightVariation(kind="weight", up="puWeightUp", down="puWeightDown", nominal="puWeight")
        >>> isr.branches, pileup.branches
        (('PSWeight',), ('puWeightUp', 'puWeightDown', 'puWeight'))
    """

    kind: Literal["weight"]
    """Chooses this kind of variation."""
    up: Element | str | None = Field(default=None, examples=[0, "puWeightUp"])
    """Element of `branch` for up, or the name of a branch."""
    down: Element | str | None = Field(default=None, examples=[2, "puWeightDown"])
    """Element of `branch` for down, or the name of a branch; by default down mirrors up: w_down = 2 w - w_up."""
    branch: str | None = Field(default=None, examples=["PSWeight"])
    """Branch with several factors per event, relative to the nominal weight."""
    nominal: str | None = Field(default=None, examples=["puWeight"])
    """Branch of the event weight that the branches `up` and `down` replace; by default these are relative factors."""
    function: PathText | None = Field(default=None, examples=["weights.py:pileup"])
    """`file.py:function`, which takes the events and returns the factors (up, down), or the factor up."""

    scale_factor: str | None = Field(default=None, min_length=1, examples=["pileup"])
    """Name of a variation of the `Weights` that `columns` returns, such as "pileup" for "pileupUp" and "pileupDown"."""
    sum_of_weights: UpAndDownSums | None = Field(
        default=None,
        examples=["runs", "events", {"up": {"histogram": "sums", "bin": 2}, "down": {"histogram": "sums", "bin": 3}}],
    )
    """Source of the own sums: "runs" takes those that NanoAOD stores for LHEScaleWeight, LHEPdfWeight and PSWeight, which
    is the default for these branches; "events" adds the weights of the events in the files, if nothing was skimmed; `{up:
    PLACE, down: PLACE}` reads `{histogram: NAME, bin: NUMBER OR LABEL}` or `{tree: NAME, branch: NAME}`.
    """

    @property
    def branches(self) -> tuple[str, ...]:
        """Branches that the factors are computed from."""
        if self.branch is not None:
            return (self.branch,)
        return tuple(name for name in (self.up, self.down, self.nominal) if isinstance(name, str))

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        others = (self.up, self.down, self.branch, self.nominal)
        elements = self.branch is not None and isinstance(self.up, int) and not isinstance(self.down, str)
        elements = elements and self.nominal is None
        branches = self.branch is None and isinstance(self.up, str) and not isinstance(self.down, int)
        apart = [self.function, self.scale_factor]
        given = len(apart) - apart.count(None)
        if (given == 1 and all(each is None for each in others)) or (not given and (elements or branches)):
            return self
        message = (
            "give one of: `branch` with the elements `up` and `down`, as in {branch: PSWeight, up: 0, down: 2}; the "
            "branches `up`, `down` and, if they replace one, `nominal`; `scale_factor`; or `function`"
        )
        raise ValueError(message)

    @model_validator(mode="after")
    def _own_sums_have_a_source(self) -> Self:
        if problem := own_sums_problem(self.normalise, self.sum_of_weights, self.branch):
            raise ValueError(problem)
        places = self.sum_of_weights
        if places is not None and not isinstance(places, str):
            two_sided = self.down is not None or self.function is not None or self.scale_factor is not None
            if two_sided != (places.down is not None):
                message = (
                    "sum_of_weights needs the places `up` and `down` of a variation with two directions, and `up` alone"
                )
                message += " of one whose down mirrors up"
                raise ValueError(message)
        return self

    @property
    def own_sums(self) -> UpAndDownSums | None:
        """Source of the own sums of weights, with the default filled in; None unless they are used."""
        if self.normalise != "own":
            return None
        return "runs" if self.sum_of_weights is None else self.sum_of_weights

    @property
    def elements(self) -> tuple[int, ...]:
        """Elements of `branch`, up and, unless it mirrors up, down."""
        return tuple(each for each in (self.up, self.down) if isinstance(each, int))

    @field_validator("function")
    @classmethod
    def _function_is_in_a_file(cls, function: str | None) -> str | None:
        if function is not None and not re.fullmatch(r".+\.py:[^\W\d]\w*", function):
            message = f"{function!r} is not `file.py:function`"
            raise ValueError(message)
        return function


class ShapeVariation(VariedProcesses):
    """Shifted objects, selected again: `columns` is called with "<name>Up" and "<name>Down" as second argument."""

    kind: Literal["shape"]
    """Chooses this kind of variation."""
    one_sided: bool = False
    """Whether only "<name>Up" is computed; down then mirrors up in each bin of the histograms."""


Variation = Annotated[
    LuminosityVariation | NormalisationVariation | WeightVariation | WeightSetVariation | ShapeVariation,
    Field(discriminator="kind"),
]


def expand_variations(variations: Mapping[str, Variation], processes: Mapping[str, Process]) -> dict[str, Variation]:
    """Replace each uncorrelated variation by one for each process, and name the processes of all variations.

    Args:
        variations: by name.
        processes: by name.

    Returns:
        Correlated variations of named simulated processes, by name.

    Raises:
        InputError: all problems at once, one per line: names that are not valid or used twice, unknown processes, and
            data.
    """
    if problems := variation_problems(variations, processes):
        raise InputError("\n".join(problems))
    simulated = [name for name, process in processes.items() if process.role != "data"]
    expanded: dict[str, Variation] = {}
    for name, variation in variations.items():
        varied = variation.processes or simulated
        groups = {name: varied} if variation.correlated else {f"{name}_{process}": [process] for process in varied}
        for expanded_name, group in groups.items():
            expanded[expanded_name] = variation.model_copy(update={"correlated": True, "processes": list(group)})
    return expanded


def variation_problems(variations: Mapping[str, Variation], processes: Mapping[str, Process]) -> list[str]:
    """Problems with the names and processes of variations, one sentence each.

    Example:
        >>> ttbar = Process(role="background", datasets={"tt": {"files": ["tt.root"], "cross_section_pb": 832.0}})
        >>> jes = ShapeVariation(kind="shape", processes=["ttbr"])
        >>> variation_problems({"jes": jes}, {"ttbar": ttbar})
        ["variation 'jes' names process 'ttbr', which does not exist. Did you mean 'ttbar'?"]
    """
    problems = []
    simulated = [name for name, process in processes.items() if process.role != "data"]
    for name, variation in variations.items():
        if not _NAME.fullmatch(name):
            problems.append(f"variation {name!r}: a name is a letter followed by letters, digits and underscores")
        if name.endswith(("Up", "Down")) or name == NOMINAL:
            problems.append(
                f"variation {name!r}: a name may not end in Up or Down, which are added to it, or be {NOMINAL!r}"
            )
        for process in variation.processes or ():
            if process not in simulated:
                what = "is data" if process in processes else "does not exist"
                hint = nearest_name(process, simulated)
                problems.append(f"variation {name!r} names process {process!r}, which {what}.{hint}")
    if sum(variation.kind == "luminosity" for variation in variations.values()) > 1:
        problems.append("there is more than one variation of kind 'luminosity'")
    expanded = [
        varied
        for name, each in variations.items()
        for varied in ([name] if each.correlated else [f"{name}_{process}" for process in each.processes or simulated])
    ]
    problems += [
        f"the variations {' and '.join(map(repr, names))} differ in upper and lower case only, which files cannot tell"
        for names in _equal_without_case(expanded)
    ]
    own = [f"{name}_{process}" for name, each in variations.items() if not each.correlated for process in simulated]
    problems += [f"variation {name!r} has the name of an uncorrelated one" for name in variations if name in own]
    return problems


def _equal_without_case(names: Sequence[str]) -> list[list[str]]:
    """Groups of different names that are the same on file systems without upper and lower case."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def variations_of(variations: Mapping[str, Variation], process: str) -> dict[str, Variation]:
    """The expanded variations of a process."""
    return {name: each for name, each in variations.items() if process in (each.processes or ())}


def names_of_kind(variations: Mapping[str, Variation], *kinds: VariationKind) -> Sequence[str]:
    """Names of the variations of some kinds, in order."""
    return [name for name, each in variations.items() if each.kind in kinds]
