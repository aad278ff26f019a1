"""Processes and datasets: what is read, its cross sections and the meaning of its weights, as strict models."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from zsig_hep.settings import Settings

Role = Literal["signal", "background", "data"]


class SignOf(Settings):
    """An event weight that is only the sign of a branch: +1, 0 or -1."""

    sign_of: str


class SumValue(Settings):
    """A sum of generator weights that is known from elsewhere."""

    value: float = Field(gt=0)


Weight = str | list[str] | SignOf
"""A branch; several branches to multiply, the generator weight first; or the sign of a branch."""

SumOfWeights = Literal["runs", "events"] | SumValue
"""Where the sum of generator weights before any selection comes from."""


class Dataset(Settings):
    """Files that were produced together and share one cross section.

    Attributes:
        files: globs relative to the ntuple folder; `root://...` addresses and `file.root:tree` are passed through.
        tree: name of the event tree; None takes it from `NtupleSettings`.
        cross_section_pb: cross section in pb, before the factors below; None only for data.
        k_factor: ratio of the best known cross section to `cross_section_pb`.
        filter_efficiency: share of the generated cross section that a generator filter kept, in (0, 1].
        branching_fraction: branching fraction that `cross_section_pb` does not include yet, in (0, 1].
        sum_of_weights: source of the sum of generator weights; None takes it from `NtupleSettings`.
        weight: event weight; "inherit" takes it from `NtupleSettings` (data: unweighted), None means unweighted.
        luminosity_mask: golden JSON file of certified luminosity blocks, of data only; "inherit" takes it from
            `NtupleSettings`, None applies none.

    Example:
        >>> Dataset(files=["ttbar_*.root"], cross_section_pb=832.0, branching_fraction=0.105).effective_cross_section_pb
        87.36
    """

    files: list[str] = Field(min_length=1)
    tree: str | None = None
    cross_section_pb: float | None = Field(default=None, gt=0)
    k_factor: float = Field(default=1.0, gt=0)
    filter_efficiency: float = Field(default=1.0, gt=0, le=1)
    branching_fraction: float = Field(default=1.0, gt=0, le=1)
    sum_of_weights: SumOfWeights | None = None
    weight: Weight | None = "inherit"
    luminosity_mask: str | None = "inherit"

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
    """A physics process: one entry of the yields table, made of one or more datasets.

    Attributes:
        role: "signal", "background" or "data".
        datasets: datasets by name; names are unique over all processes.
        label: how figures call it; None shows its name.
        color: a colour that matplotlib knows.
    """

    role: Role
    datasets: dict[str, Dataset] = Field(min_length=1)
    label: str | None = None
    color: str | None = None

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
    """How the ntuples of an analysis are read.

    Attributes:
        folder: folder of the ntuples, relative to the analysis file.
        tree: default name of the event tree.
        schema_name: how coffea presents the branches to `columns`; YAML key `schema`.
        columns: `file.py:function` relative to the analysis file, or the names of flat branches.
        weight: default event weight of simulation; None means unweighted.
        sum_of_weights: default source of the sum of generator weights.
        event_identity: branches that identify an event in a file, or "content" to use its features and weight.
        folds: number of folds for training and evaluation, at least 3.
        fold_seed: changes which events share a fold.
        chunk_size: events that are processed at a time; changes memory and speed, never a result.
        luminosity_mask: golden JSON file of the certified luminosity blocks of data, relative to the analysis file.
    """

    folder: str = "."
    tree: str = "Events"
    schema_name: Literal["nanoaod", "base"] = Field(default="base", alias="schema")
    columns: str | list[str] = "columns.py:columns"
    weight: Weight | None = "genWeight"
    sum_of_weights: SumOfWeights = "runs"
    event_identity: list[str] | Literal["content"] = Field(default=["run", "luminosityBlock", "event"])
    folds: int = Field(default=5, ge=3, le=1000)
    fold_seed: int = Field(default=0, ge=0)
    chunk_size: int = Field(default=100_000, ge=1)
    luminosity_mask: str | None = None

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
