"""The settings of an analysis, built in Python or read from an analysis file."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from zsig_hep.errors import AnalysisFileError, shortened
from zsig_hep.fits import ExportSettings, fit_name_notes, fit_name_problems
from zsig_hep.learning import BCELossSettings, Goal, LossSettings, PlannedTraining, TrainingSettings
from zsig_hep.names import LONGEST_SLUG, slug
from zsig_hep.ntuples import (
    EventTable,
    NtupleSettings,
    Process,
    Variation,
    cross_section_problems,
    expand_variations,
)
from zsig_hep.ntuples.variations import variation_problems
from zsig_hep.presentation import PresentationSettings, Style, color_problem, label_problem
from zsig_hep.selection import CategorySettings, CutSettings, WorkingPointSettings, training_goal
from zsig_hep.settings import Line, Name, Settings, problem, problems_of, read_yaml, refusal
from zsig_hep.statistics import FigureOfMerit, ProcessTable

# Adam holds four numbers for each parameter, 8 GB together.
_MOST_PARAMETERS = 500_000_000

# Each network has scores of all events of a batch, and curves of its losses.
_MOST_NETWORKS = 10_000


class Analysis(Settings):
    """The settings of an analysis: input, training, selection, figures and exports."""

    title: Line
    """Title of the report, one line."""
    name: str = Field(default="analysis", max_length=LONGEST_SLUG, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Short name, used for the output folder; default: the name of the folder of the analysis file."""
    luminosity_ifb: float = Field(ge=1e-12, le=1e6, examples=[140])
    """Integrated luminosity to which all simulation is normalised [1/fb]."""
    sqrt_s_tev: float = Field(default=13.0, ge=1e-6, le=1e6)
    """Centre-of-mass energy, for the labels of figures [TeV]."""
    ntuples: NtupleSettings = NtupleSettings()
    """How the ntuples are read."""
    processes: dict[Name, Process] = Field(
        examples=[
            {
                "higgs": {"role": "signal", "datasets": {"vbf": {"files": ["vbf*.root"], "cross_section_pb": 0.00082}}},
                "dy": {"role": "background", "datasets": {"dy": {"files": ["dy*.root"], "cross_section_pb": 6077.2}}},
            }
        ]
    )
    """Physics processes by name, in the order of tables and stacks; at least one signal and one background."""
    training: TrainingSettings = TrainingSettings()
    """How the classifier and its baseline are trained."""
    selection: WorkingPointSettings = WorkingPointSettings()
    """How the cut on the score is chosen."""
    presentation: PresentationSettings = PresentationSettings()
    """Style and labels of figures."""
    categories: CategorySettings = CategorySettings()
    """Score categories, which become the channels of fits; one category is a single cut."""
    cuts: CutSettings | None = Field(
        default=None, examples=[{"variables": {"dijet_mass": "above", "dimuon_mass": "window"}}]
    )
    """Rectangular cuts to optimise in addition to the classifier; default: none."""
    variations: dict[Name, Variation] = Field(
        default_factory=dict,
        examples=[{"luminosity": {"kind": "luminosity", "relative": 0.0083}, "jes": {"kind": "shape"}}],
    )
    """Systematic variations by name."""
    export: ExportSettings = ExportSettings()
    """How selected events are binned for fits."""
    unblind: bool = False
    """Whether data above the cut are used; otherwise they are left out of every result."""
    folder: Path = Field(default_factory=Path.cwd, exclude=True)
    """Folder to which relative paths in the settings refer; for an analysis file its own folder."""

    @field_validator("processes")
    @classmethod
    def _has_signal_and_background(cls, processes: dict[str, Process]) -> dict[str, Process]:
        roles = {process.role for process in processes.values()}
        if absent := [role for role in ("signal", "background") if role not in roles]:
            message = f"none has the role {' or '.join(map(repr, absent))}; a search needs at least one of each"
            raise ValueError(message)
        return processes

    @field_validator("processes")
    @classmethod
    def _simulation_can_be_normalised(
        cls, processes: dict[str, Process], validated: ValidationInfo
    ) -> dict[str, Process]:
        # Absent if they are not valid, which is reported separately.
        ntuples = validated.data.get("ntuples")
        if ntuples is not None and (problems := cross_section_problems(ntuples, processes)):
            raise ValueError("; ".join(problems))
        return processes

    @field_validator("selection")
    @classmethod
    def _uncertain_backgrounds_exist(
        cls, selection: WorkingPointSettings, validated: ValidationInfo
    ) -> WorkingPointSettings:
        processes: dict[str, Process] = validated.data.get("processes", {})
        table = ProcessTable.of(list(processes), [process.role for process in processes.values()])
        # Processes are missing here if they are not valid, which is reported separately.
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
            message = (
                "Punzi's figure of merit is no significance, so those of several categories do not add; set count: 1"
            )
            raise ValueError(message)
        return categories

    @field_validator("name")
    @classmethod
    def _name_is_that_of_a_folder(cls, name: str) -> str:
        if slug(name) != name:
            message = f"{name!r} is a device of Windows, which no folder can be called; choose another name"
            raise ValueError(message)
        return name

    @model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        problems = [
            *self._size_problems(self.training),
            *self._drawing_problems(),
            *fit_name_problems(
                self.process_table.simulated.names,
                {name: each.kind for name, each in self.expanded_variations.items()},
                self.export.signal_strength,
            ),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _size_problems(self, training: TrainingSettings) -> list[str]:
        """Problems of an ensemble that no memory holds, with one feature if their number is not known yet."""
        networks = training.seeds * self.ntuples.folds
        of_network = sum(training.hidden) + sum(first * second for first, second in pairwise(training.hidden))
        if training.periodic is not None:
            of_network += len(training.features or [""]) * training.periodic.parameters_of_feature
        problems = []
        if networks > _MOST_NETWORKS:
            problems.append(
                f"training.seeds and ntuples.folds make {networks} networks; at most {_MOST_NETWORKS} can be trained together"
            )
        if networks * of_network > _MOST_PARAMETERS:
            problems.append(
                f"training.hidden, training.embedding, training.seeds and ntuples.folds make {networks * of_network:.1e} parameters in "
                f"{networks} networks; at most {_MOST_PARAMETERS:.0e} can be trained together"
            )
        return problems

    def _drawing_problems(self) -> list[str]:
        """Labels and colours that matplotlib would refuse after the training."""
        labels = {f"processes.{name}.label": label for name, label in self.labels.items()}
        labels |= {f"presentation.axis_labels.{name}": text for name, text in self.presentation.axis_labels.items()}
        labels["presentation.label"] = self.presentation.label
        found = {key: label_problem(label) for key, label in labels.items()}
        found |= {f"processes.{name}.color": color_problem(color) for name, color in self.colors.items()}
        return [f"{key} {what}" for key, what in found.items() if what is not None]

    @model_validator(mode="after")
    def _variations_of_the_figure_exist(self) -> Self:
        backgrounds = {name for name, process in self.processes.items() if process.role == "background"}
        touched = [backgrounds if each.processes is None else set(each.processes) for each in self.variations.values()]
        if self.selection.variations_in_figure and not any(backgrounds & processes for processes in touched):
            message = (
                "selection.variations_in_figure takes the uncertainty of the background from `variations`, of which none "
                "touches a background; add such variations, or remove variations_in_figure"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _optimal_score_exists(self) -> Self:
        if self.selection.score == "optimal" and (problems := self._optimal_score_problems()):
            raise ValueError("; ".join(problems))
        return self

    def _optimal_score_problems(self) -> list[str]:
        """Why there is no optimal score, or none that differs from the classifier."""
        selection, processes, problems = self.selection, self.process_table, []
        if self.ratio_baseline is None:
            problems.append(
                "selection.score 'optimal' is built on the logit of the weighted cross entropy, which is not trained; remove "
                "`baseline: false` from the training"
            )
        if self.training.warm_start.epochs == 0:
            problems.append(
                "selection.score 'optimal' needs likelihood ratios, which are trained in training.warm_start; give it epochs"
            )
        if len(processes.backgrounds) == 1 and not selection.variations_in_figure:
            problems.append(
                f"selection.score 'optimal': with the single background '{processes.backgrounds[0]}' and no variations in "
                "the figure of merit, the likelihood ratio is optimal, which the classifier learns; remove score, or set "
                "selection.variations_in_figure"
            )
        if len(processes.signals) > 1 and selection.signals != "sum":
            problems.append(
                f"selection.score 'optimal' takes all signals together, but selection.signals is '{selection.signals}'; set "
                "one of them to its default"
            )
        return problems

    @classmethod
    def of_table(cls, table: EventTable, *, title: str, **settings: Any) -> Self:
        """An analysis of the events of a table, with the processes of the table and no datasets.

        Args:
            table: the selected events.
            title: title of the report.
            settings: settings as in an analysis file, such as `training={"seeds": 1}`.

        Raises:
            AnalysisFileError: a setting is not valid; the message lists all of them.

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
        """Refuse a table with other processes or another luminosity.

        Raises:
            AnalysisFileError: the processes or the luminosity differ.
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
        """Variations by name, each of which varies all of its processes together, with the names of its processes."""
        return expand_variations(self.variations, self.processes)

    @property
    def name_notes(self) -> list[str]:
        """One sentence for each process and variation that has another name in ROOT histograms and fit inputs."""
        return fit_name_notes(self.process_table.simulated.names, list(self.expanded_variations))

    @property
    def process_table(self) -> ProcessTable:
        """Names and roles of the processes."""
        return ProcessTable.of(list(self.processes), [process.role for process in self.processes.values()])

    @property
    def goal(self) -> Goal:
        """The goal of the training: the figure of merit of the selection among the processes of the analysis."""
        return training_goal(self.selection).among(self.process_table.simulated)

    @property
    def trainings(self) -> dict[str, PlannedTraining]:
        """The classifiers to train, by name: each kind with its loss, and with that of the baseline; the main one first."""
        return {each.name: each for each in self.training.trainings(self.goal)}

    @property
    def ratio_baseline(self) -> PlannedTraining | None:
        """The classifier whose logit the optimal score is built on: the first kind with the weighted cross entropy.

        None if none is trained, or the score is not the optimal one.
        """
        if self.selection.score != "optimal":
            return None
        kind = self.training.classifiers[0]
        planned = self.trainings.values()
        return next((each for each in planned if (each.classifier, each.loss) == (kind, BCELossSettings())), None)

    @property
    def losses(self) -> dict[str, LossSettings]:
        """Losses of the classifiers to train, by name: that of the settings, or the default, and the baseline."""
        return {name: each.loss for name, each in self.trainings.items()}

    @property
    def style(self) -> Style:
        """Style and label of all figures."""
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
        """Colours of the processes whose settings have one."""
        return {name: process.color for name, process in self.processes.items() if process.color}

    def with_ntuples(self, folder: Path) -> "Analysis":
        """The same analysis on ntuples in another folder."""
        ntuples = self.ntuples.model_copy(update={"folder": str(folder.resolve())})
        return self.model_copy(update={"ntuples": ntuples})

    def with_training(self, **changes: object) -> "Analysis":
        """The same analysis with some training settings replaced, as in `with_training(seeds=5)`.

        Raises:
            AnalysisFileError: a change is not valid; the message lists all of them.
        """
        try:
            training = TrainingSettings.model_validate(self.training.model_dump() | changes)
        except ValidationError as error:
            refused = refusal("the changed training", problems_of(error, type(self), within=("training",)))
            raise refused from error
        if problems := self._size_problems(training):
            message = "; ".join(problems)
            raise AnalysisFileError(message)
        return self.model_copy(update={"training": training})

    def unblinded(self) -> "Analysis":
        """The same analysis with `unblind` set to true."""
        return self.model_copy(update={"unblind": True})

    @classmethod
    def from_file(cls, path: Path | str) -> "Analysis":
        """Read an analysis file.

        Args:
            path: the file, or a folder that holds `analysis.yaml`.

        Returns:
            The analysis; its relative paths refer to the folder of the file.

        Raises:
            AnalysisFileError: the file is not valid; the message lists every problem with its key and line, what was
                found and the nearest valid name.
        """
        path = Path(path)
        file = path / "analysis.yaml" if _is_folder(path) else path
        content, lines, problems = read_yaml(file)
        if not isinstance(content, dict):
            found = {type(None): "nothing", str: "text", list: "a list"}.get(
                type(content), shortened(repr(content), 100)
            )
            message = f"{file} holds {found}, not settings such as `title: My search`."
            raise AnalysisFileError(message)
        folder = file.resolve().parent
        if "folder" in content:
            problems.append(problem(("folder",), "unknown key; the folder of the ntuples is ntuples.folder", lines))
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.name).lstrip("-._")
        defaults = {"name": slug(name).lstrip("_") if name else "analysis"}
        try:
            analysis = cls.model_validate(defaults | content | {"folder": folder})
        except ValidationError as error:
            problems += problems_of(error, cls, lines)
        if problems:
            raise refusal(str(file), problems)
        return analysis


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder; one that the system refuses, such as one that is too long, is reported when read."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
