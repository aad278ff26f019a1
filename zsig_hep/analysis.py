"""An analysis: the settings of every room composed, built in Python or read from its file with all problems at once."""

import re
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PositiveFloat, ValidationError, ValidationInfo, field_validator, model_validator

from zsig_hep.errors import AnalysisFileError
from zsig_hep.fits import ExportSettings
from zsig_hep.learning import Goal, LossSettings, TrainingSettings
from zsig_hep.ntuples import EventTable, NtupleSettings, Process, Variation, expand_variations
from zsig_hep.ntuples.variations import variation_problems
from zsig_hep.presentation import PresentationSettings, Style
from zsig_hep.selection import CategorySettings, CutSettings, WorkingPointSettings, training_goal
from zsig_hep.settings import Settings, problem, problems_of, read_yaml, refusal
from zsig_hep.statistics import FigureOfMerit, ProcessTable


class Analysis(Settings):
    """Everything that one search reads, trains, cuts and draws."""

    title: str
    """One line that heads the report."""
    name: str = Field(default="analysis", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Short name of the output folder; the name of the folder of the analysis file where it is left out."""
    luminosity_ifb: PositiveFloat = Field(examples=[140])
    """Integrated luminosity to which all simulation is normalised [1/fb]."""
    sqrt_s_tev: PositiveFloat = 13.0
    """Centre-of-mass energy, for the labels of figures [TeV]."""
    ntuples: NtupleSettings = NtupleSettings()
    """How the ntuples are read."""
    processes: dict[str, Process] = Field(
        examples=[
            {
                "higgs": {"role": "signal", "datasets": {"vbf": {"files": ["vbf*.root"], "cross_section_pb": 0.00082}}},
                "dy": {"role": "background", "datasets": {"dy": {"files": ["dy*.root"], "cross_section_pb": 6077.2}}},
            }
        ]
    )
    """Physics processes by name, in the order of tables and stacks; at least one signal and one background."""
    training: TrainingSettings = TrainingSettings()
    """What the classifier and its baseline are trained with."""
    selection: WorkingPointSettings = WorkingPointSettings()
    """How the cut on the score is chosen."""
    presentation: PresentationSettings = PresentationSettings()
    """How figures look."""
    categories: CategorySettings = CategorySettings()
    """Score categories, which become the channels of fits; one category is the single cut."""
    cuts: CutSettings | None = Field(
        default=None, examples=[{"variables": {"dijet_mass": "above", "dimuon_mass": "window"}}]
    )
    """Rectangular cuts that are optimised beside the classifier; left out, none are."""
    variations: dict[str, Variation] = Field(
        default_factory=dict,
        examples=[{"luminosity": {"kind": "luminosity", "relative": 0.0083}, "jes": {"kind": "shape"}}],
    )
    """Systematic variations by name."""
    export: ExportSettings = ExportSettings()
    """How selected events are binned for fits."""
    unblind: bool = False
    """Whether data above the cut are looked at; otherwise they are left out of every result."""
    folder: Path = Field(default_factory=Path.cwd, exclude=True)
    """Folder where relative names in the settings start: that of the analysis file, which sets it."""

    @field_validator("processes")
    @classmethod
    def _has_signal_and_background(cls, processes: dict[str, Process]) -> dict[str, Process]:
        roles = {process.role for process in processes.values()}
        if absent := [role for role in ("signal", "background") if role not in roles]:
            message = f"none has the role {' or '.join(map(repr, absent))}; a search needs at least one of each"
            raise ValueError(message)
        return processes

    @field_validator("selection")
    @classmethod
    def _uncertain_backgrounds_exist(
        cls, selection: WorkingPointSettings, validated: ValidationInfo
    ) -> WorkingPointSettings:
        processes: dict[str, Process] = validated.data.get("processes", {})
        table = ProcessTable.of(list(processes), [process.role for process in processes.values()])
        # Without valid processes there is nothing to compare with; they are a problem of their own.
        if processes and (message := selection.objective.unknown_backgrounds(table)):
            raise ValueError(message)
        return selection

    @field_validator("variations")
    @classmethod
    def _varied_processes_exist(
        cls, variations: dict[str, Variation], validated: ValidationInfo
    ) -> dict[str, Variation]:
        processes: dict[str, Process] = validated.data.get("processes", {})
        if processes and (problems := variation_problems(variations, processes)):
            raise ValueError("; ".join(problems))
        return variations

    @field_validator("categories")
    @classmethod
    def _figures_of_categories_combine(
        cls, categories: CategorySettings, validated: ValidationInfo
    ) -> CategorySettings:
        selection = validated.data.get("selection")
        if categories.count > 1 and selection is not None and selection.figure_of_merit == FigureOfMerit.PUNZI:
            message = "Punzi's figure of merit is no significance, so that those of several categories do not add; set count: 1"
            raise ValueError(message)
        return categories

    @model_validator(mode="after")
    def _variations_of_the_figure_exist(self) -> Self:
        backgrounds = {name for name, process in self.processes.items() if process.role == "background"}
        touched = [backgrounds if each.processes is None else set(each.processes) for each in self.variations.values()]
        if self.selection.variations_in_figure and not any(backgrounds & processes for processes in touched):
            message = (
                "selection.variations_in_figure takes the uncertainty of the background from `variations`, of which none "
                "touches a background; add them, or remove it"
            )
            raise ValueError(message)
        return self

    @classmethod
    def of_table(cls, table: EventTable, *, title: str, **settings: Any) -> Self:
        """An analysis of events that are at hand, with the processes of their table and no datasets.

        Args:
            table: the selected events.
            title: one line for the report.
            settings: as in an analysis file, such as `training={"seeds": 1}`.

        Raises:
            AnalysisFileError: listing every setting that is not valid.

        Example:
            >>> table = EventTable.from_arrays(
            ...     {"mass": range(6)}, weight=[1.0] * 6, process=["higgs"] * 3 + ["dy"] * 3,
            ...     roles={"higgs": "signal", "dy": "background"}, luminosity_ifb=140.0, folds=3)
            >>> Analysis.of_table(table, title="A search").processes["dy"].role
            'background'
        """
        rows = zip(table.process_names, table.roles, table.labels, strict=True)
        processes = {
            name: Process.model_construct(role=role, datasets={}, label=label, color=None) for name, role, label in rows
        }
        try:
            return cls(title=title, luminosity_ifb=table.luminosity_ifb, processes=processes, **settings)
        except ValidationError as error:
            refused = refusal("the analysis of the table", problems_of(error, cls))
            raise refused from error

    def require_processes(self, table: EventTable) -> None:
        """Refuse a table of other processes, or at another luminosity.

        Raises:
            AnalysisFileError: saying what differs.
        """
        if table.processes != self.process_table:
            found, expected = (
                ", ".join(f"{name} ({role})" for name, role in zip(each.names, each.roles, strict=True))
                for each in (table.processes, self.process_table)
            )
            message = f"The table has the processes {found}, but the analysis has {expected}, in this order."
            raise AnalysisFileError(message)
        if table.luminosity_ifb != self.luminosity_ifb:
            message = f"The table is at {table.luminosity_ifb:g}/fb, but the analysis at {self.luminosity_ifb:g}/fb."
            raise AnalysisFileError(message)

    @property
    def expanded_variations(self) -> dict[str, Variation]:
        """Variations that each move all of their processes together, with their processes named."""
        return expand_variations(self.variations, self.processes)

    @property
    def process_table(self) -> ProcessTable:
        """Names and roles of the processes."""
        return ProcessTable.of(list(self.processes), [process.role for process in self.processes.values()])

    @property
    def goal(self) -> Goal:
        """What trainings are told of the selection."""
        return training_goal(self.selection).among(self.process_table.simulated)

    @property
    def losses(self) -> dict[str, LossSettings]:
        """What is trained, by name: the loss that was chosen, or that suits the selection, and its baseline."""
        return self.training.losses(self.goal)

    @property
    def style(self) -> Style:
        """What every figure's label says."""
        return Style(
            experiment=self.presentation.experiment,
            label=self.presentation.label,
            luminosity_ifb=self.luminosity_ifb,
            sqrt_s_tev=self.sqrt_s_tev,
        )

    @property
    def labels(self) -> dict[str, str]:
        """Label of each process."""
        return {name: process.label or name for name, process in self.processes.items()}

    @property
    def colors(self) -> dict[str, str]:
        """Colour of the processes that were given one."""
        return {name: process.color for name, process in self.processes.items() if process.color}

    def with_ntuples(self, folder: Path) -> "Analysis":
        """The same analysis on ntuples in another folder."""
        ntuples = self.ntuples.model_copy(update={"folder": str(folder.resolve())})
        return self.model_copy(update={"ntuples": ntuples})

    def with_training(self, **changes: object) -> "Analysis":
        """The same analysis with some training settings replaced, as in `with_training(seeds=5)`.

        Raises:
            AnalysisFileError: listing every change that is not valid.
        """
        try:
            training = TrainingSettings.model_validate(self.training.model_dump() | changes)
        except ValidationError as error:
            refused = refusal("the changed training", problems_of(error, type(self), within=("training",)))
            raise refused from error
        return self.model_copy(update={"training": training})

    def unblinded(self) -> "Analysis":
        """The same analysis with data above the cut."""
        return self.model_copy(update={"unblind": True})

    @classmethod
    def from_file(cls, path: Path | str) -> "Analysis":
        """Read an analysis file.

        Args:
            path: the file, or a folder that holds `analysis.yaml`.

        Returns:
            The analysis; its relative names start from the file's folder.

        Raises:
            AnalysisFileError: listing every problem with its place, what was found and the nearest valid name.
        """
        path = Path(path)
        file = path / "analysis.yaml" if path.is_dir() else path
        content, root, problems = read_yaml(file)
        if not isinstance(content, dict):
            found = {type(None): "nothing", str: "text", list: "a list"}.get(type(content), repr(content))
            message = f"{file} holds {found}, not settings such as `title: My search`."
            raise AnalysisFileError(message)
        folder = file.resolve().parent
        if "folder" in content:
            problems.append(problem(("folder",), "unknown key; the folder of the ntuples is ntuples.folder", root))
        defaults = {"name": re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.name).lstrip("-._") or "analysis"}
        try:
            analysis = cls.model_validate(defaults | content | {"folder": folder})
        except ValidationError as error:
            problems += problems_of(error, cls, root)
        if problems:
            raise refusal(str(file), problems)
        return analysis
