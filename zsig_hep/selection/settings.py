"""Settings of a selection: the figure of merit that chooses the cut, and the requirements on a cut."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from zsig_hep.settings import NonNegativeNumber, PositiveNumber, Settings
from zsig_hep.statistics.objective import Objective, SignalCombination
from zsig_hep.statistics.significance import FigureOfMerit, FigureParameters

ScoreKind = Literal["classifier", "optimal"]


class SensitivitySettings(Settings):
    """How the derivatives of the optimal cut are computed; see `zsig_hep.selection.thresholds.sensitivity`."""

    relative_bandwidth: PositiveNumber = 0.3
    """Width of the smoothed cut, as a fraction of the mean distance of the selected signal from the cut.

    The default was chosen with a Gaussian toy of known derivatives and 20 000 events per process. With 0.3 the
    derivative of the cut is right to 15 % and the bootstrap errors cover the deviation. With 0.1 it is a third too
    small, since the curvature follows single events, and the errors are four times too small. With 0.8 Z and its
    derivatives are 15 % too small.
    """
    replicas: int = Field(default=200, ge=2, le=10_000)
    """Number of bootstrap replicas that give the errors of the derivatives."""


class WorkingPointSettings(Settings):
    """The figure of merit that chooses the cut, and the requirements on a cut.

    The significance of a cut that few simulated background events pass is biased upward, because the cut moves to where
    the simulation fluctuated down. The variance of the simulated background in the figure of merit keeps the cut from
    going there: it costs significance exactly where the simulation knows little, and nothing where a cut removes a
    background. A few effective entries of the whole background are required in addition.
    """

    figure_of_merit: FigureOfMerit = FigureOfMerit.ASIMOV
    """Figure of merit that the cut maximises."""
    score: ScoreKind = "classifier"
    """Score of the chain that is cut, divided into categories and fitted: "classifier", or "optimal", the one in the
    family of likelihood ratios that maximises the figure of merit with its uncertainties and variations. The ratios are
    trained once, besides the classifiers, whose results stay in the report for comparison.
    """
    relative_background_uncertainty: NonNegativeNumber = Field(default=0.0, examples=[0.1])
    """Relative systematic uncertainty k common to all backgrounds (fully correlated)."""
    background_uncertainties: Mapping[str, NonNegativeNumber] = Field(
        default_factory=dict, examples=[{"dy": 0.03, "ttbar": 0.2}]
    )
    """Relative systematic uncertainties k_p by name of the background process, independent of each other and of k:
    sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2.
    """
    simulation_uncertainty_in_figure: bool | None = None
    """Whether sigma_b^2 includes the variance sum w^2 of the simulated background; "asimov" is then
    "asimov_with_uncertainty", and so on. Default: wherever the figure of merit can, which AMS and Punzi's cannot.
    """
    variations_in_figure: bool = False
    """Whether sigma_b^2 includes the shifts of the background under the systematic variations, at every threshold. The
    variations are not used in training.
    """
    signals: SignalCombination = "sum"
    """"sum": all signal processes together are one hypothesis. "mean" or "minimum": each signal process is a separate
    hypothesis over the same background, and the mean or the smallest of their significances is maximised.
    """
    ams_regularisation: NonNegativeNumber | None = Field(default=None, examples=[5.0])
    """Constant b_r of the figure of merit "ams"; default 10 [events]."""
    punzi_sigmas: NonNegativeNumber | None = Field(default=None, examples=[5.0])
    """Number a of the figure of merit "punzi"; default 3 [standard deviations]."""
    # Weights that cancel can give less than one effective entry, which is no estimate of a background.
    minimum_effective_background: float = Field(default=3.0, ge=1, le=1e9)
    """Smallest number of effective entries that must pass the cut, of the whole background and of each dominant
    background process.
    """
    tail_entries: float = Field(default=10.0, ge=0, le=1e9)
    """Where fewer effective entries of a background pass, the choice of the cut takes its yield and variance to be at
    least those of a power law in the signal efficiency, extrapolated from this many entries. 0: as counted. Used where
    the figure of merit includes the variance of the simulation; quoted yields are always counted.
    """
    minimum_signal_efficiency: float = Field(default=0.05, ge=0, le=1)
    """Smallest signal efficiency of a cut; with signals "mean" or "minimum", the mean or the smallest efficiency of the
    signal processes.
    """
    dominant_background_fraction: float = Field(default=1.0, ge=0, le=1)
    """A background process is dominant if it makes more than this fraction of the background before the cut; by default
    none is. A smaller fraction keeps the cut loose for the sake of backgrounds that it removes, which costs significance
    wherever they are thinly simulated.
    """
    partitions: int = Field(default=5, ge=1, le=100)
    """Number of partitions of the events into folds over which the choice of the cut is repeated, at the cost of a scan of
    each fold. The significance is the mean over the partitions, and its error includes their spread. The cuts that are
    exported and their yields are those of the folds of the training. 1: these alone.
    """
    sensitivity: SensitivitySettings = SensitivitySettings()
    """How the derivatives of the cut in cross sections and uncertainties are computed."""

    @property
    def has_systematic_uncertainty(self) -> bool:
        """Whether any background has a systematic uncertainty."""
        return self.relative_background_uncertainty > 0 or any(k > 0 for k in self.background_uncertainties.values())

    @property
    def includes_simulation(self) -> bool:
        """Whether the figure of merit includes the variance of the simulated background."""
        wanted = self.simulation_uncertainty_in_figure
        return self.figure_of_merit.with_background_uncertainty is not None if wanted is None else wanted

    @property
    def objective(self) -> Objective:
        """The figure of merit with its parameters and uncertainties, without the requirements on a cut."""
        figure = self.figure_of_merit
        if self.includes_simulation:
            figure = figure.with_background_uncertainty or figure
        given = {"ams_regularisation": self.ams_regularisation, "punzi_sigmas": self.punzi_sigmas}
        return Objective(
            figure=figure,
            parameters=FigureParameters(**{name: value for name, value in given.items() if value is not None}),
            background_uncertainties=dict(self.background_uncertainties),
            relative_background_uncertainty=self.relative_background_uncertainty,
            simulation_uncertainty_in_figure=self.includes_simulation,
            signals=self.signals,
        )

    @property
    def differentiable(self) -> "WorkingPointSettings":
        """The settings with a figure of merit that has gradients; see `FigureOfMerit.differentiable_counterpart`."""
        return self.model_copy(update={"figure_of_merit": self.figure_of_merit.differentiable_counterpart})

    @model_validator(mode="after")
    def _parameters_belong_to_the_figure(self) -> Self:
        owners = {"ams_regularisation": FigureOfMerit.AMS, "punzi_sigmas": FigureOfMerit.PUNZI}
        for name, owner in owners.items():
            if getattr(self, name) is not None and self.figure_of_merit is not owner:
                message = (
                    f"{name} is a parameter of the figure of merit '{owner}', but figure_of_merit is "
                    f"'{self.figure_of_merit}'; set figure_of_merit to '{owner}', or remove {name}"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _uncertainty_is_used(self) -> Self:
        given = self.has_systematic_uncertainty or self.variations_in_figure
        if given and not self.figure_of_merit.knows_background_uncertainty:
            usable = " or ".join(f"'{figure}'" for figure in FigureOfMerit if figure.knows_background_uncertainty)
            message = (
                f"figure_of_merit '{self.figure_of_merit}' has no background uncertainty; set it to {usable}, or remove "
                "relative_background_uncertainty, background_uncertainties and variations_in_figure"
            )
            raise ValueError(message)
        if self.simulation_uncertainty_in_figure and self.figure_of_merit.with_background_uncertainty is None:
            usable = ", ".join(f"'{figure}'" for figure in FigureOfMerit if figure.with_background_uncertainty)
            message = (
                f"figure_of_merit '{self.figure_of_merit}' cannot include the variance of the simulation; set it to one of "
                f"{usable}, or remove simulation_uncertainty_in_figure"
            )
            raise ValueError(message)
        return self
