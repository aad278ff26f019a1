"""Settings of a selection: what a cut is chosen by, and how much simulation must be left above it."""

from collections.abc import Mapping
from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from zsig_hep.settings import Settings
from zsig_hep.statistics.objective import Objective, SignalCombination
from zsig_hep.statistics.significance import FigureOfMerit, FigureParameters


class SensitivitySettings(Settings):
    """How the change of the optimal cut with cross sections is computed; see `zsig_hep.selection.thresholds.sensitivity`."""

    relative_bandwidth: PositiveFloat = 0.3
    """Width of the smoothed cut over the mean distance of the selected signal from the cut.

    The default is what a Gaussian toy of known derivatives asks for, with 20 000 events per process: 0.3 gives the
    derivative of the cut to 15 %, with bootstrap errors that cover; 0.1 gives two thirds of it, since the curvature
    follows single events, with errors four times too small; 0.8 lowers Z and its derivatives by 15 %.
    """
    replicas: int = Field(default=200, ge=2)
    """Replicas of the bootstrap."""


class WorkingPointSettings(Settings):
    """What a cut is chosen by, and how much simulation must be left above it.

    The significance of a cut that leaves few simulated background events is biased upward: the cut moves to where the
    simulation fluctuated down. A threshold therefore qualifies only if enough effective background entries pass it.
    """

    figure_of_merit: FigureOfMerit = FigureOfMerit.ASIMOV
    """What is maximised."""
    relative_background_uncertainty: float = Field(default=0.0, ge=0, examples=[0.1])
    """Relative systematic uncertainty k that moves all backgrounds together."""
    background_uncertainties: Mapping[str, NonNegativeFloat] = Field(
        default_factory=dict, examples=[{"dy": 0.03, "ttbar": 0.2}]
    )
    """Relative systematic uncertainties k_p by name of the background process, independent of each other and of k:
    sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2.
    """
    simulation_uncertainty_in_figure: bool = False
    """Whether sigma_b^2 holds the variance of the finite simulation too."""
    variations_in_figure: bool = False
    """Whether sigma_b^2 holds the shifts of the background under systematic variations too, at every threshold; they
    are not used in training.
    """
    signals: SignalCombination = "sum"
    """"sum" for one hypothesis in which all signal processes exist; otherwise each of them is a hypothesis of its own
    over the same background, and the mean or the smallest significance counts.
    """
    ams_regularisation: NonNegativeFloat | None = Field(default=None, examples=[5.0])
    """Constant b_r of "ams"; left out, 10 [events]."""
    punzi_sigmas: NonNegativeFloat | None = Field(default=None, examples=[5.0])
    """Number a of "punzi"; left out, 3 [standard deviations]."""
    # One or more: fewer are the rounding of weights that cancel, not an estimate.
    minimum_effective_background: float = Field(default=10.0, ge=1)
    """Effective entries that must pass the cut, of the whole background and of each dominant process."""
    minimum_signal_efficiency: float = Field(default=0.05, ge=0, le=1)
    """Efficiency that the signal keeps at least; unless the signals are summed, the mean or the smallest of their
    efficiencies.
    """
    dominant_background_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of the background before the cut that makes a process dominant."""
    sensitivity: SensitivitySettings = SensitivitySettings()
    """How the change of the cut with cross sections is computed."""

    @property
    def has_systematic_uncertainty(self) -> bool:
        """Whether any background is uncertain beyond its simulation."""
        return self.relative_background_uncertainty > 0 or any(k > 0 for k in self.background_uncertainties.values())

    @property
    def objective(self) -> Objective:
        """What is maximised; the other settings say where a cut may lie."""
        given = {"ams_regularisation": self.ams_regularisation, "punzi_sigmas": self.punzi_sigmas}
        return Objective(
            figure=self.figure_of_merit,
            parameters=FigureParameters(**{name: value for name, value in given.items() if value is not None}),
            background_uncertainties=dict(self.background_uncertainties),
            relative_background_uncertainty=self.relative_background_uncertainty,
            simulation_uncertainty_in_figure=self.simulation_uncertainty_in_figure,
            signals=self.signals,
        )

    @property
    def differentiable(self) -> "WorkingPointSettings":
        """These settings with a figure of merit that has gradients; see `FigureOfMerit.differentiable_counterpart`."""
        return self.model_copy(update={"figure_of_merit": self.figure_of_merit.differentiable_counterpart})

    @model_validator(mode="after")
    def _parameters_belong_to_the_figure(self) -> Self:
        owners = {"ams_regularisation": FigureOfMerit.AMS, "punzi_sigmas": FigureOfMerit.PUNZI}
        for name, owner in owners.items():
            if getattr(self, name) is not None and self.figure_of_merit is not owner:
                message = (
                    f"{name} is a number of the figure of merit '{owner}', and figure_of_merit is "
                    f"'{self.figure_of_merit}'; set that to '{owner}', or remove {name}"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _uncertainty_is_used(self) -> Self:
        given = self.has_systematic_uncertainty or self.simulation_uncertainty_in_figure or self.variations_in_figure
        if given and not self.figure_of_merit.knows_background_uncertainty:
            usable = " or ".join(f"'{figure}'" for figure in FigureOfMerit if figure.knows_background_uncertainty)
            message = (
                f"figure_of_merit '{self.figure_of_merit}' has no background uncertainty; set it to {usable}, or remove "
                "relative_background_uncertainty, background_uncertainties, simulation_uncertainty_in_figure and "
                "variations_in_figure"
            )
            raise ValueError(message)
        return self
