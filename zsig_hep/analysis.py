"""An analysis: the settings of every room composed, built in Python or read from its file with all problems at once."""

import re
from pathlib import Path
from typing import Self

from pydantic import Field, PositiveFloat, ValidationError, ValidationInfo, field_validator, model_validator

from zsig_hep.errors import AnalysisFileError
from zsig_hep.fits import ExportSettings
from zsig_hep.learning import Goal, LossSettings, TrainingSettings
from zsig_hep.ntuples import NtupleSettings, Process, Variation, expand_variations
from zsig_hep.ntuples.variations import variation_problems
from zsig_hep.presentation import PresentationSettings, Style
from zsig_hep.selection import CategorySettings, CutSettings, WorkingPointSettings, training_goal, unknown_backgrounds
from zsig_hep.settings import Settings, problem, problems_of, read_yaml, refusal
from zsig_hep.statistics import FigureOfMerit


class Analysis(Settings):
    """Everything that one search reads, trains, cuts and draws.

    Attributes:
        title: one line for the report.
        name: short name for folders; the analysis file's folder by default.
        luminosity_ifb: integrated luminosity in inverse femtobarns.
        sqrt_s_tev: centre-of-mass energy in TeV.
        ntuples: how the ntuples are read.
        processes: by name, in the order of the tables and stacks.
        training: of the classifier and its baseline.
        selection: choice of the working point.
        presentation: style of the figures.
        categories: score categories, which become the channels of fits; one is the cut of the working point alone.
        cuts: rectangular cuts that are optimised beside the classifier; None optimises none.
        variations: systematic variations by name.
        export: how selected events are binned for fits.
        unblind: whether data above the cut are looked at; otherwise they are left out of every result.
        folder: where relative names in the settings start: the analysis file's folder, which sets it, or the working
            directory.
    """

    title: str
    name: str = Field(default="analysis", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    luminosity_ifb: PositiveFloat
    sqrt_s_tev: PositiveFloat = 13.0
    ntuples: NtupleSettings = NtupleSettings()
    processes: dict[str, Process]
    training: TrainingSettings = TrainingSettings()
    selection: WorkingPointSettings = WorkingPointSettings()
    presentation: PresentationSettings = PresentationSettings()
    categories: CategorySettings = CategorySettings()
    cuts: CutSettings | None = None
    variations: dict[str, Variation] = Field(default_factory=dict)
    export: ExportSettings = ExportSettings()
    unblind: bool = False
    folder: Path = Field(default_factory=Path.cwd, exclude=True)

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
        roles = [process.role for process in processes.values()]
        # Without valid processes there is nothing to compare with; they are a problem of their own.
        if processes and (message := unknown_backgrounds(selection, tuple(processes), roles)):
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

    @property
    def expanded_variations(self) -> dict[str, Variation]:
        """Variations that each move all of their processes together, with their processes named."""
        return expand_variations(self.variations, self.processes)

    @property
    def goal(self) -> Goal:
        """What trainings are told of the selection."""
        roles = [process.role for process in self.processes.values() if process.role != "data"]
        return training_goal(self.selection).among([role == "signal" for role in roles])

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
