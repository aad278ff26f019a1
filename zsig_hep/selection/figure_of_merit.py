"""What a cut is chosen by: the settings of the working point, and their figure of merit of the yields of all processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import array_api_compat
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.datasets import Role
from zsig_hep.settings import Settings
from zsig_hep.statistics.processes import combine_hypotheses, evaluate_processes
from zsig_hep.statistics.significance import FigureOfMerit, FigureParameters, Significance


class SensitivitySettings(Settings):
    """How the answer of the optimal cut to cross sections is computed; see `zsig_hep.selection.thresholds.sensitivity`.

    Attributes:
        relative_bandwidth: width of the smoothed cut over the mean distance of the selected signal from the cut. The
            default is what a Gaussian toy of known derivatives asks for, with 20 000 events per process: 0.3 gives the
            derivative of the cut to 15 %, with bootstrap errors that cover; 0.1 gives two thirds of it, since the
            curvature follows single events, with errors four times too small; 0.8 lowers Z and its derivatives by 15 %.
        replicas: of the bootstrap.
    """

    relative_bandwidth: PositiveFloat = 0.3
    replicas: int = Field(default=200, ge=2)


class WorkingPointSettings(Settings):
    """What a cut is chosen by, and how much simulation must be left above it.

    The significance of a cut that leaves few simulated background events is biased upward: the cut moves to where the
    simulation fluctuated down. A threshold therefore qualifies only if enough effective background entries pass it.

    Attributes:
        figure_of_merit: what is maximised.
        relative_background_uncertainty: systematic uncertainty k that moves all backgrounds together.
        background_uncertainties: relative systematic uncertainties k_p by name of the background process, independent
            of each other and of k: sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2.
        simulation_uncertainty_in_figure: whether sigma_b^2 holds the variance of the simulation too.
        variations_in_figure: whether sigma_b^2 holds the shifts of the background under systematic variations too, at every
            threshold; trainings know nothing of them.
        signals: "sum" for one hypothesis in which all signal processes exist; otherwise each of them is a hypothesis of
            its own over the same background, and the mean or the smallest significance counts.
        ams_regularisation: b_r of "ams" in events, 10 unless given.
        punzi_sigmas: a of "punzi" in standard deviations, 3 unless given.
        minimum_effective_background: effective entries required of the whole background and of each dominant one.
        minimum_signal_efficiency: required of the signal; unless the signals are summed, of the mean or of the smallest
            of their efficiencies.
        dominant_background_fraction: share of the background before the cut that makes a process dominant.
        sensitivity: how the answer of the cut to cross sections is computed.
    """

    figure_of_merit: FigureOfMerit = FigureOfMerit.ASIMOV
    relative_background_uncertainty: float = Field(default=0.0, ge=0)
    background_uncertainties: Mapping[str, NonNegativeFloat] = Field(default_factory=dict)
    simulation_uncertainty_in_figure: bool = False
    variations_in_figure: bool = False
    signals: Literal["sum", "mean", "minimum"] = "sum"
    ams_regularisation: NonNegativeFloat | None = None
    punzi_sigmas: NonNegativeFloat | None = None
    # One or more: fewer are the rounding of weights that cancel, not an estimate.
    minimum_effective_background: float = Field(default=10.0, ge=1)
    minimum_signal_efficiency: float = Field(default=0.05, ge=0, le=1)
    dominant_background_fraction: float = Field(default=0.1, ge=0, le=1)
    sensitivity: SensitivitySettings = SensitivitySettings()

    @property
    def has_systematic_uncertainty(self) -> bool:
        """Whether any background is uncertain beyond its simulation."""
        return self.relative_background_uncertainty > 0 or any(k > 0 for k in self.background_uncertainties.values())

    @property
    def figure_parameters(self) -> FigureParameters:
        """The numbers in the definition of the figure of merit."""
        given = {"ams_regularisation": self.ams_regularisation, "punzi_sigmas": self.punzi_sigmas}
        return FigureParameters(**{name: value for name, value in given.items() if value is not None})

    @property
    def smooth_relative(self) -> "WorkingPointSettings":
        """These settings with the figure of merit that has gradients; see `FigureOfMerit.smooth_relative`."""
        return self.model_copy(update={"figure_of_merit": self.figure_of_merit.smooth_relative})

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


@dataclass(frozen=True, eq=False)
class SelectionSignificance(Significance):
    """Significance of a selection of P processes.

    Attributes:
        slopes: derivative of the value in the yield of each process, shape [P, ...]; of a background it is minus its
            effective weight (`zsig_hep.statistics.ProcessSignificance`).
        hypotheses: significance of each signal process, shape [S, ...] in their order; None where they are summed.
    """

    slopes: Any
    hypotheses: Significance | None


def significance(
    yields: Any,
    variances: Any,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    *,
    own_uncertainties: Any = None,
    common_uncertainty: Any = None,
) -> SelectionSignificance:
    """The figure of merit of the settings; see `zsig_hep.statistics.processes`.

    Args:
        yields: sum of weights of each process, shape [P, ...], NumPy or torch, in events.
        variances: sum of squared weights, same shape.
        process_names: names of the P processes.
        roles: "signal" or "background" for each.
        settings: figure of merit, uncertainties, and how signals are combined.
        own_uncertainties: relative uncertainty of each background in their order, shape [B] or [B, ...], in place of
            those of the settings, for gradients in them.
        common_uncertainty: relative uncertainty of all together, likewise.

    Returns:
        The significance, its uncertainty from the finite simulation, and its derivatives.

    Raises:
        InputError: an exact Poisson figure is asked of torch tensors; see `WorkingPointSettings.smooth_relative`.

    Example:
        >>> import numpy as np
        >>> settings = WorkingPointSettings(
        ...     figure_of_merit="s_over_sqrt_b_with_uncertainty", background_uncertainties={"top": 0.3})
        >>> z = significance(
        ...     np.array([20.0, 64.0, 20.0]), np.array([1.0, 4.0, 4.0]), ("higgs", "dy", "top"),
        ...     ("signal", "background", "background"), settings)
        >>> round(float(z.value), 4), (z.slopes / z.slopes[1]).round(4).tolist()
        (1.8257, [-12.0, 1.0, 4.6])
    """
    signal = [row for row, role in enumerate(roles) if role == "signal"]
    background = [row for row, role in enumerate(roles) if role != "signal"]
    k_p = own_uncertainties
    if k_p is None:
        k_p = [settings.background_uncertainties.get(process_names[row], 0.0) for row in background]
    options: dict[str, Any] = {
        "relative_background_uncertainty": (
            settings.relative_background_uncertainty if common_uncertainty is None else common_uncertainty
        ),
        "simulation_uncertainty_in_figure": settings.simulation_uncertainty_in_figure,
        "parameters": settings.figure_parameters,
    }
    xp = array_api_compat.array_namespace(yields, variances)
    s, b, var_s, var_b = (values[rows] for values in (yields, variances) for rows in (signal, background))
    figure, hypotheses = settings.figure_of_merit, None
    if settings.signals == "sum":
        z = evaluate_processes(figure, xp.sum(s, axis=0), b, xp.sum(var_s, axis=0), var_b, k_p, **options)
        of_signals = [z.signal_slope] * len(signal)
    else:
        k_p = k_p[:, None] if getattr(k_p, "ndim", 1) > 1 else k_p
        each = evaluate_processes(figure, s, b[:, None], var_s, var_b[:, None], k_p, **options)
        z = combine_hypotheses(each, var_s, var_b, settings.signals)
        of_signals, hypotheses = list(z.signal_slope), Significance(each.value, each.uncertainty)
    slopes = dict(zip(signal + background, [*of_signals, *z.background_slopes], strict=True))
    return SelectionSignificance(
        z.value, z.uncertainty, xp.stack([slopes[row] for row in range(len(roles))]), hypotheses
    )


def unknown_backgrounds(settings: WorkingPointSettings, process_names: Sequence[str], roles: Sequence[Role]) -> str:
    """Say which uncertainties are given for what is no background process; empty when there is none.

    Example:
        >>> settings = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", background_uncertainties={"dyy": 0.1})
        >>> unknown_backgrounds(settings, ("hmumu", "dy"), ("signal", "background"))
        "background_uncertainties names 'dyy', which is no background process. Did you mean 'dy'?"
    """
    known = [name for name, role in zip(process_names, roles, strict=True) if role == "background"]
    return "; ".join(
        f"background_uncertainties names '{name}', which is no background process.{nearest_name(name, known)}"
        for name in settings.background_uncertainties
        if name not in known
    )


def check_background_uncertainties(
    settings: WorkingPointSettings, process_names: Sequence[str], roles: Sequence[Role]
) -> None:
    """Refuse uncertainties of what is no background process.

    Raises:
        InputError: with the nearest name.
    """
    if message := unknown_backgrounds(settings, process_names, roles):
        raise InputError(message)
