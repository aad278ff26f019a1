"""Processes and datasets: what is read, its cross sections and the meaning of its weights, as strict models."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from zsig_hep.settings import Settings
from zsig_hep.statistics.process_table import Role


class SignOf(Settings):
    """An event weight that is only the sign of a branch: +1, 0 or -1."""

    sign_of: str = Field(examples=["genWeight"])
    """Branch whose sign is the event weight."""


class SumValue(Settings):
    """A sum of generator weights that is known from elsewhere."""

    value: float = Field(gt=0, examples=[23168.4])
    """Sum of the generator weights of all generated events of the dataset, before any selection or skim."""


Weight = str | list[str] | SignOf
"""A branch; several branches to multiply, the generator weight first; or the sign of a branch."""

SumOfWeights = Literal["runs", "events"] | SumValue
"""Where the sum of generator weights before any selection comes from."""


class Dataset(Settings):
    """Files that were produced together and share one cross section.

    Example:
        >>> Dataset(files=["ttbar_*.root"], cross_section_pb=832.0, branching_fraction=0.105).effective_cross_section_pb
        87.36
    """

    files: list[str] = Field(
        min_length=1, examples=[["ttbar_*.root"], ["root://eos.example.org//store/dy.root", "dy.root:ntuple"]]
    )
    """Names or globs of ROOT files, relative to the ntuple folder; `root://...` addresses and `file.root:tree` are
    passed on as they are.
    """
    tree: str | None = None
    """Name of the event tree; left out, that of `ntuples`."""
    cross_section_pb: float | None = Field(default=None, gt=0, examples=[832.0])
    """Cross section before the three factors below; simulation needs it, data have none [pb]."""
    k_factor: float = Field(default=1.0, gt=0, examples=[1.637])
    """Ratio of the best known cross section to `cross_section_pb`."""
    filter_efficiency: float = Field(default=1.0, gt=0, le=1, examples=[0.63])
    """Share of the generated cross section that a generator filter kept."""
    branching_fraction: float = Field(default=1.0, gt=0, le=1, examples=[0.105])
    """Branching fraction that `cross_section_pb` does not include yet."""
    sum_of_weights: SumOfWeights | None = Field(default=None, examples=["events", {"value": 23168.4}])
    """Where the sum of generator weights comes from; left out, that of `ntuples`."""
    weight: Weight | None = Field(default="inherit", examples=[["genWeight", "pileup_weight"]])
    """Event weight; "inherit" takes that of `ntuples` (data: unweighted), null means unweighted."""
    luminosity_mask: str | None = Field(default="inherit", examples=["certified_2018.json"])
    """Golden JSON file of certified luminosity blocks, for data only; "inherit" takes that of `ntuples`, null applies
    none.
    """

    @field_validator("weight")
    @classmethod
    def _weight_names_a_branch(cls, weight: Weight | None) -> Weight | None:
        return _checked_weight(weight)

    @property
    def effective_cross_section_pb(self) -> float | None:
        """Cross section times k-factor, filter efficiency and branching fraction, in pb; None for data."""
        if self.cross_section_pb is None:
            return None
        return self.cross_section_pb * self.k_factor * self.filter_efficiency * self.branching_fraction


class Process(Settings):
    """A physics process: one entry of the yields table, made of one or more datasets."""

    role: Role
    """What the process is in the search."""
    datasets: dict[str, Dataset] = Field(min_length=1)
    """Datasets by name, whose yields add up; names are unique over all processes."""
    label: str | None = Field(default=None, examples=["$t\\bar{t}$"])
    """Name in figures and tables; left out, the name of the process."""
    color: str | None = Field(default=None, examples=["#3f90da", "tab:blue"])
    """Any colour that matplotlib knows; left out, the next one of the palette."""

    @model_validator(mode="after")
    def _simulation_has_cross_sections(self) -> Self:
        known = {name: dataset.cross_section_pb is not None for name, dataset in self.datasets.items()}
        wrong = ", ".join(repr(name) for name, has_one in known.items() if has_one == (self.role == "data"))
        if wrong and self.role == "data":
            msg = f"dataset {wrong} is data: it has no cross_section_pb"
            raise ValueError(msg)
        if wrong:
            msg = f"dataset {wrong} of a {self.role} process needs cross_section_pb"
            raise ValueError(msg)
        masked = [name for name, dataset in self.datasets.items() if dataset.luminosity_mask not in {"inherit", None}]
        if masked and self.role != "data":
            msg = f"dataset {', '.join(map(repr, masked))} is simulation: a luminosity_mask is for data"
            raise ValueError(msg)
        return self


class NtupleSettings(Settings):
    """How the ntuples of an analysis are read."""

    folder: str = "."
    """Folder of the ntuples, relative to the analysis file."""
    tree: str = "Events"
    """Name of the event tree."""
    schema_name: Literal["nanoaod", "base"] = Field(default="base", alias="schema")
    """How coffea presents the branches to `columns`: "base" as they are in the file, "nanoaod" as objects."""
    columns: str | list[str] = Field(
        default="columns.py:columns", examples=["columns.py:columns", ["dimuon_mass", "dijet_mass"]]
    )
    """`file.py:function` relative to the analysis file, or a list of flat branches."""
    weight: Weight | None = Field(
        default="genWeight", examples=["genWeight", ["genWeight", "pileup_weight"], {"sign_of": "genWeight"}, None]
    )
    """Event weight of simulation: a branch, a list of branches to multiply with the generator weight first, `{sign_of:
    BRANCH}`, or null for unweighted events.
    """
    sum_of_weights: SumOfWeights = Field(default="runs", examples=["runs", "events", {"value": 23168.4}])
    """Where the sum of generator weights before any selection comes from: "runs" adds `genEventSumw` of the `Runs`
    trees, "events" adds the events of the files, and `{value: NUMBER}` is known from elsewhere.
    """
    event_identity: list[str] | Literal["content"] = Field(
        default=["run", "luminosityBlock", "event"], examples=[["runNumber", "eventNumber"], "content"]
    )
    """Branches that identify an event within a file, or "content" to take its features and weight."""
    folds: int = Field(default=5, ge=3, le=1000)
    """Number of folds for training and evaluation."""
    fold_seed: int = Field(default=0, ge=0)
    """Changes which events share a fold."""
    chunk_size: int = Field(default=100_000, ge=1)
    """Events that are processed at a time; changes memory and speed, never a result."""
    luminosity_mask: str | None = Field(default=None, examples=["certified_2018.json"])
    """Golden JSON file of the certified luminosity blocks of data, relative to the analysis file."""

    model_config = Settings.model_config | {"populate_by_name": True}

    @field_validator("weight")
    @classmethod
    def _weight_names_a_branch(cls, weight: Weight | None) -> Weight | None:
        return _checked_weight(weight)

    @field_validator("columns")
    @classmethod
    def _columns_name_a_function_or_branches(cls, columns: str | list[str]) -> str | list[str]:
        if isinstance(columns, str) and not re.fullmatch(r".+\.py:[^\W\d]\w*", columns):
            msg = f"{columns!r} is neither `file.py:function` nor a list of branches"
            raise ValueError(msg)
        _require_distinct("columns", columns)
        return columns

    @field_validator("event_identity")
    @classmethod
    def _identity_names_branches(cls, identity: list[str] | Literal["content"]) -> list[str] | Literal["content"]:
        _require_distinct("event_identity", identity)
        return identity


def _checked_weight(weight: Weight | None) -> Weight | None:
    if isinstance(weight, list):
        _require_distinct("weight", weight)
    return weight


def _require_distinct(key: str, names: str | list[str]) -> None:
    if isinstance(names, str):
        return
    if not names:
        msg = f"{key} names no branch"
        raise ValueError(msg)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        msg = f"{key} names {', '.join(map(repr, repeated))} more than once"
        raise ValueError(msg)


def weight_branches(weight: Weight | None) -> tuple[str, ...]:
    """Name the branches that an event weight needs, the generator weight first.

    Example:
        >>> weight_branches(["genWeight", "pileup_weight"])
        ('genWeight', 'pileup_weight')
    """
    if weight is None:
        return ()
    if isinstance(weight, SignOf):
        return (weight.sign_of,)
    return (weight,) if isinstance(weight, str) else tuple(weight)
