"""Where the sums of generator weights under a weight variation are stored: settings."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from zsig_hep.errors import nearest_name
from zsig_hep.ntuples.datasets import SumInHistogram, SumInTree
from zsig_hep.settings import Settings

Normalise = Literal["nominal", "own", "shape_only"]

RUNS_SUMS = {
    "LHEScaleWeight": "LHEScaleSumw",
    "LHEPdfWeight": "LHEPdfSumw",
    "LHEReweightingWeight": "LHEReweightingSumw",
    "PSWeight": "PSSumw",
}
"""Branch of the `Runs` tree of NanoAOD that has the sums of the elements of a branch of weights."""


def _kind_of_place(place: Any) -> str:
    if isinstance(place, Settings):
        return type(place).__name__
    return "SumInHistogram" if isinstance(place, dict) and {"histogram", "bin"} & place.keys() else "SumInTree"


SumPlace = Annotated[
    Annotated[SumInTree, Tag("SumInTree")] | Annotated[SumInHistogram, Tag("SumInHistogram")],
    Discriminator(_kind_of_place),
]
"""A branch of a tree, whose rows are added, or an element of it, `name[2]`; or a bin of a histogram."""


class SumsOfDirections(Settings):
    """Places of the sums of weights under a variation in the files."""

    up: SumPlace = Field(examples=[{"histogram": "sums", "bin": 2}])
    """Place of the sum of the weights up."""
    down: SumPlace | None = Field(default=None, examples=[{"histogram": "sums", "bin": 3}])
    """Place of the sum of the weights down; left out where down mirrors up."""


def _kind_of_source(source: Any) -> str | None:
    """Which member of the union is meant, so that a message is about that one alone; None for none."""
    if isinstance(source, dict | SumsOfDirections):
        return "SumsOfDirections"
    return "str" if source in ("runs", "events") else None


UpAndDownSums = Annotated[
    Annotated[Literal["runs", "events"], Tag("str")] | Annotated[SumsOfDirections, Tag("SumsOfDirections")],
    Discriminator(
        _kind_of_source,
        custom_error_type="own_sums",
        custom_error_message="Input should be 'runs', 'events' or a group with the places `up` and `down`",
    ),
]
"""Source of the sums of generator weights under a variation with two directions."""


def own_sums_problem(normalise: Normalise, source: object, branch: str | None) -> str | None:
    """Why a source of own sums cannot be used, or is missing; None if it is right.

    Args:
        normalise: what yields are divided by.
        source: of the sums; None if it is not given.
        branch: branch of which elements are the varied weights; None for others.

    Example:
        >>> own_sums_problem("own", None, "PSWeight") is None
        True
    """
    if normalise != "own":
        return None if source is None else "sum_of_weights is used with `normalise: own` only; set that, or remove it"
    if branch in RUNS_SUMS or source not in (None, "runs"):
        return None
    if source == "runs":
        what = "this variation" if branch is None else f"elements of {branch!r}"
        hint = nearest_name(branch or "", RUNS_SUMS)
        return (
            f"the Runs tree of NanoAOD has no sums of weights for {what}.{hint} Set sum_of_weights to `events`, or to the "
            "places of the sums"
        )
    return (
        "normalise: own needs sum_of_weights: `events`, or the places of the sums as in {up: {histogram: sums, bin: 2}, "
        f"down: {{histogram: sums, bin: 3}}}}; only elements of {', '.join(RUNS_SUMS)} have sums in the Runs tree"
    )
