"""Settings of processes and datasets: files, cross sections, weights and how they are normalised."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from zsig_hep.errors import nearest_name
from zsig_hep.settings import DatasetName, Events, Line, PathText, Seed, Settings
from zsig_hep.statistics.process_table import Role


class SignOf(Settings):
    """An event weight that is the sign of a branch: +1, 0 or -1."""

    sign_of: str = Field(examples=["genWeight"])
    """Branch whose sign is the event weight."""


class SumValue(Settings):
    """A sum of generator weights as a number."""

    value: float = Field(ge=1e-12, le=1e30, examples=[23168.4])
    """Sum of the generator weights of all generated events of the dataset, before any selection or skim."""


class SumInTree(Settings):
    """A sum of generator weights in a tree of the files, one number per row, which are added."""

    tree: str = Field(min_length=1, examples=["metadata/Runs"])
    """Name of the tree, with its folder; `*` stands for any characters."""
    branch: str = Field(default="genEventSumw", min_length=1, examples=["sumWeights"])
    """Branch with the sum of each row."""


class SumInHistogram(Settings):
    """A sum of generator weights in a bin of a histogram of the files, which are added."""

    histogram: str = Field(min_length=1, examples=["CutBookkeeper_*_NOSYS"])
    """Name of the histogram, with its folder; `*` stands for any characters."""
    bin: Annotated[int, Field(ge=1, le=10**9)] | str = Field(examples=[2, "initial, weighted"])
    """Number of the bin as ROOT counts, from 1, or its label."""


class WeightsAtLuminosity(Settings):
    """Event weights that are expected yields at a luminosity."""

    weights_at_luminosity_ifb: float = Field(ge=1e-9, le=1e9, examples=[1.0, 36.1])
    """Integrated luminosity at which the weights of the events add to the expected yield [1/fb]; 1 for `scale1fb`."""


Weight = str | list[str] | SignOf
"""A branch; several branches to multiply, the generator weight first; or the sign of a branch."""

_SUM_KEYS = {
    "value": "SumValue",
    "tree": "SumInTree",
    "branch": "SumInTree",
    "histogram": "SumInHistogram",
    "bin": "SumInHistogram",
    "weights_at_luminosity_ifb": "WeightsAtLuminosity",
}


_SUM_WORDS = ("runs", "events", "normalised")


def _kind_of_sum(source: Any) -> str | None:
    """Which member of the union is meant, so that a message is about that one alone; None for none."""
    if isinstance(source, Settings):
        return type(source).__name__
    if isinstance(source, dict):
        return next((kind for key, kind in _SUM_KEYS.items() if key in source), "SumValue")
    return "str" if source in _SUM_WORDS else None


SumOfWeights = Annotated[
    Annotated[Literal["runs", "events", "normalised"], Tag("str")]
    | Annotated[SumValue, Tag("SumValue")]
    | Annotated[SumInTree, Tag("SumInTree")]
    | Annotated[SumInHistogram, Tag("SumInHistogram")]
    | Annotated[WeightsAtLuminosity, Tag("WeightsAtLuminosity")],
    Discriminator(
        _kind_of_sum,
        custom_error_type="sum_of_weights",
        custom_error_message="Input should be 'runs', 'events', 'normalised', or a group with `value`, `tree`, `histogram` or "
        "`weights_at_luminosity_ifb`",
    ),
]
"""Source of the sum of generator weights before any selection."""

_SOURCES: list[Any] = [
    "runs",
    "events",
    {"histogram": "CutBookkeeper_*_NOSYS", "bin": 2},
    {"weights_at_luminosity_ifb": 1.0},
]


def _distinct_branches(names: Any, info: ValidationInfo) -> Any:
    """Refuse a list that is empty, and one or a tuple that names a branch twice."""
    if isinstance(names, list | tuple):
        if names == []:
            msg = f"{info.field_name} names no branch"
            raise ValueError(msg)
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            msg = f"{info.field_name} names {', '.join(map(repr, repeated))} more than once"
            raise ValueError(msg)
    return names


class Dataset(Settings):
    """Files that were produced together and share one cross section.

    Example:
        >>> Dataset(files=["ttbar_*.root"], cross_section_pb=832.0, branching_fraction=0.105).effective_cross_section_pb
        87.36
    """

    files: list[PathText] = Field(
        min_length=1, examples=[["ttbar_*.root"], ["root://eos.example.org//store/dy.root", "dy.root:ntuple"]]
    )
    """Names or globs of ROOT files, relative to `ntuples: folder`, also as `file://...`, or `root://...` addresses;
    `file.root:tree` names the tree of a file.
    """
    tree: str | None = None
    """Name of the event tree; by default that of `ntuples`."""
    cross_section_pb: float | None = Field(default=None, ge=1e-18, le=1e12, examples=[832.0])
    """Cross section before the three factors below [pb]. Required for simulation, unless its weights are normalised or the
    dataset extends another; not allowed for data.
    """
    k_factor: float = Field(default=1.0, ge=1e-3, le=1e3, examples=[1.637])
    """Ratio of the best known cross section to `cross_section_pb`."""
    filter_efficiency: float = Field(default=1.0, ge=1e-12, le=1, examples=[0.63])
    """Efficiency of the generator filter."""
    branching_fraction: float = Field(default=1.0, ge=1e-12, le=1, examples=[0.105])
    """Branching fraction that `cross_section_pb` does not include."""
    sum_of_weights: SumOfWeights | None = Field(default=None, examples=_SOURCES)
    """Source of the sum of generator weights before any selection; by default that of `ntuples`."""
    extends: DatasetName | None = Field(default=None, examples=["ttbar"])
    """Another dataset of the process, of which this one is an extension: more events of the same cross section, which
    is given there. The sums of weights of both are added.
    """
    weight: Weight | None = Field(default="inherit", examples=[["genWeight", "pileup_weight"]])
    """Event weight; "inherit" takes that of `ntuples` for simulation and no weight for data, null means unweighted."""
    luminosity_mask: PathText | None = Field(default="inherit", examples=["certified_2018.json"])
    """Golden JSON file of certified luminosity blocks, for data only; "inherit" takes that of `ntuples`, null uses all
    events.
    """

    triggers: tuple[str, ...] = Field(default=(), examples=[["HLT_IsoMu24", "HLT_Mu50"]])
    """Branches of triggers, for data only: an event is kept if one of them fired, and none of the triggers of the datasets
    above this one in the process. So an event of several primary datasets counts once.
    """
    shares_events_with: DatasetName | None = Field(default=None, examples=["zjets"])
    """Another dataset that reads the same files on purpose, such as one simulation that `columns` splits into two
    processes, or data from which `columns` estimates a background; copies of an event are then in one fold. Without it a
    file may be in one dataset only.
    """

    _branches_are_distinct = field_validator("weight", "triggers")(_distinct_branches)

    @property
    def effective_cross_section_pb(self) -> float | None:
        """Cross section times k-factor, filter efficiency and branching fraction, in pb; None for data."""
        if self.cross_section_pb is None:
            return None
        return self.cross_section_pb * self.k_factor * self.filter_efficiency * self.branching_fraction


class Process(Settings):
    """A physics process: one row of the table of yields, the sum of one or more datasets."""

    role: Role
    """Whether the process is signal, background or recorded data."""
    datasets: dict[DatasetName, Dataset] = Field(min_length=1)
    """Datasets by name, whose yields are added; names are unique over all processes."""
    label: Line | None = Field(default=None, examples=["$t\\bar{t}$"])
    """Name in figures and tables; by default the name of the process."""
    color: Line | None = Field(default=None, examples=["#3f90da", "tab:blue"])
    """Colour in figures, in any notation of matplotlib; by default the next colour of the palette."""

    @model_validator(mode="after")
    def _simulation_and_data_differ(self) -> Self:
        with_cross_section = [name for name, dataset in self.datasets.items() if dataset.cross_section_pb is not None]
        if with_cross_section and self.role == "data":
            msg = f"dataset {', '.join(map(repr, with_cross_section))} is data: it has no cross_section_pb"
            raise ValueError(msg)
        masked = [name for name, dataset in self.datasets.items() if dataset.luminosity_mask not in {"inherit", None}]
        if masked and self.role != "data":
            msg = f"dataset {', '.join(map(repr, masked))} is simulation: a luminosity_mask is for data"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _extended_datasets_exist(self) -> Self:
        for name, dataset in self.datasets.items():
            extended = self.datasets.get(dataset.extends or "")
            if dataset.extends is None:
                continue
            if extended is None or extended is dataset:
                near = nearest_name(dataset.extends, self.datasets.keys() - {name})
                msg = f"dataset {name!r} extends {dataset.extends!r}, which is no other dataset of the process.{near}"
            elif extended.extends is not None:
                msg = f"dataset {name!r} extends {dataset.extends!r}, which is an extension itself: name {extended.extends!r}"
            elif self.role == "data":
                msg = f"dataset {name!r} is data: it cannot extend another; list the files in one dataset"
            elif dataset.model_fields_set & _CROSS_SECTION_KEYS:
                given = ", ".join(sorted(dataset.model_fields_set & _CROSS_SECTION_KEYS))
                msg = f"dataset {name!r} extends {dataset.extends!r} and has its cross section: remove {given}"
            else:
                continue
            raise ValueError(msg)
        return self


_CROSS_SECTION_KEYS = {"cross_section_pb", "k_factor", "filter_efficiency", "branching_fraction"}


class NtupleSettings(Settings):
    """How the ntuples of an analysis are read."""

    folder: PathText = "."
    """Folder of the ntuples, relative to the analysis file."""
    tree: str = "Events"
    """Name of the event tree."""
    schema_name: Literal["nanoaod", "base"] = Field(default="base", alias="schema")
    """Schema of coffea for the events that `columns` gets: "base" has branches as in the file, "nanoaod" has objects."""
    columns: PathText | list[str] = Field(
        default="columns.py:columns", examples=["columns.py:columns", ["dimuon_mass", "dijet_mass"]]
    )
    """Function that returns the features, the cuts and factors on the weights, as `file.py:function` relative to the
    analysis file, or a list of branches with one number per event.
    """
    preselection: str | None = Field(default=None, max_length=10_000, examples=["nJet >= 2 && MET_pt < 60"])
    """Events that are read where `columns` is a list: comparisons of branches or their elements, joined by `&&`, `||` and
    `!`, with uproot's functions such as `sqrt` and `log`.
    """
    depends_on: tuple[PathText, ...] = Field(default=(), max_length=1000, examples=[["muon_scale_factors.json"]])
    """Other files that `columns` and functions of variations read, such as corrections, relative to the analysis file. The
    events are read again when one of them changes.
    """
    weight: Weight | None = Field(
        default="genWeight", examples=["genWeight", ["genWeight", "pileup_weight"], {"sign_of": "genWeight"}, None]
    )
    """Event weight of simulation: a branch, a list of branches to multiply, the generator weight first,
    `{sign_of: BRANCH}`, or null for unweighted events.
    """
    sum_of_weights: SumOfWeights = Field(default="runs", examples=_SOURCES)
    """Source of the sum of generator weights before any selection: "runs" adds `genEventSumw` of the `Runs` trees,
    "events" adds the weights of the events in the files, `{value: NUMBER}` states the sum, `{tree: NAME, branch: NAME}`
    and `{histogram: NAME, bin: NUMBER OR LABEL}` add what the files store. With "normalised" the weights are the yields
    at the luminosity of the analysis, with `{weights_at_luminosity_ifb: NUMBER}` those at another one; then datasets
    have no cross section.
    """
    event_identity: list[str] | Literal["content"] = Field(
        default=["run", "luminosityBlock", "event"], examples=[["runNumber", "eventNumber"], "content"]
    )
    """Branches that identify an event within a file, or "content" to identify it by its features and weight."""
    folds: int = Field(default=5, ge=3, le=1000)
    """Number of folds for training and evaluation."""
    fold_seed: Seed = 0
    """Seed of the assignment of events to folds."""
    chunk_size: Events = 100_000
    """Number of events that are processed at a time; changes memory and speed, not the results."""
    luminosity_mask: PathText | None = Field(default=None, examples=["certified_2018.json"])
    """Golden JSON file of the certified luminosity blocks of data, relative to the analysis file."""

    model_config = Settings.model_config | {"populate_by_name": True}

    _branches_are_distinct = field_validator("weight", "columns", "event_identity")(_distinct_branches)

    @field_validator("columns")
    @classmethod
    def _columns_name_a_function_or_branches(cls, columns: str | list[str]) -> str | list[str]:
        if isinstance(columns, str) and not re.fullmatch(r".+\.py:[^\W\d]\w*", columns):
            msg = f"{columns!r} is neither `file.py:function` nor a list of branches"
            raise ValueError(msg)
        return columns

    @field_validator("preselection")
    @classmethod
    def _preselection_is_an_expression(cls, preselection: str | None, info: ValidationInfo) -> str | None:
        if preselection is None:
            return None
        if isinstance(info.data.get("columns"), str):
            msg = "a preselection needs columns as a list of branches; a function returns its cuts itself"
            raise ValueError(msg)  # noqa: TRY004  # pydantic reports only ValueError
        from zsig_hep.ntuples.preselection import parse_preselection  # it loads coffea

        parse_preselection(preselection)
        return preselection


def weight_branches(weight: Weight | None) -> tuple[str, ...]:
    """Branches of an event weight, the generator weight first.

    Example:
        >>> weight_branches(["genWeight", "pileup_weight"])
        ('genWeight', 'pileup_weight')
    """
    if weight is None:
        return ()
    if isinstance(weight, SignOf):
        return (weight.sign_of,)
    return (weight,) if isinstance(weight, str) else tuple(weight)


def cross_section_problems(settings: NtupleSettings, processes: Mapping[str, Process]) -> list[str]:
    """Which simulated datasets lack a cross section, have one beside weights that are yields, or extend others wrongly.

    Args:
        settings: the default of `sum_of_weights`.
        processes: processes by name.

    Returns:
        One sentence for each dataset.
    """
    problems = []
    for process in processes.values():
        for name, dataset in process.datasets.items():
            if process.role == "data":
                continue
            source = dataset.sum_of_weights or settings.sum_of_weights
            normalised = source == "normalised" or isinstance(source, WeightsAtLuminosity)
            if dataset.extends is not None:
                other = process.datasets[dataset.extends].sum_of_weights or settings.sum_of_weights
                if type(other) is not type(source) or (isinstance(source, str) and other != source):
                    problems.append(
                        f"dataset {name!r} extends {dataset.extends!r}, but their sums of weights come from different sources"
                    )
                continue
            if normalised and (given := sorted(dataset.model_fields_set & _CROSS_SECTION_KEYS)):
                problems.append(
                    f"dataset {name!r} has weights that are yields (sum_of_weights), so {', '.join(given)} would count twice: "
                    "remove it, or give the source of the sum of weights"
                )
            elif not normalised and dataset.cross_section_pb is None:
                problems.append(f"dataset {name!r} of a {process.role} process needs cross_section_pb")
    return problems
