"""What a selection maximises: a figure of merit of the yields of all processes, with everything that defines it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import array_api_compat

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.statistics.process_table import ProcessTable
from zsig_hep.statistics.processes import HigherMoments, combine_hypotheses, evaluate_processes
from zsig_hep.statistics.significance import DEFAULT_PARAMETERS, FigureOfMerit, FigureParameters, Significance

SignalCombination = Literal["sum", "mean", "minimum"]


@dataclass(frozen=True, eq=False)
class SelectionSignificance(Significance):
    """Significance of a selection of P processes.

    Attributes:
        slopes: derivative of the value in the yield of each process, shape [P, ...]; of a background it is minus its
            effective weight (`zsig_hep.statistics.ProcessSignificance`).
        hypotheses: significance of each signal process, shape [S, ...] in their order; None where they are summed.
        variance_slope: derivative of the value in the sum of squared background weights, in the shape of the value; zero
            where the figure does not include the simulation.
    """

    slopes: Any
    hypotheses: Significance | None
    variance_slope: Any


@dataclass(frozen=True)
class Objective:
    """A figure of merit, its parameters, the uncertainties of the backgrounds, and how several signals count.

    The same object is used to choose cuts, to quote their significance, and in the training.

    Attributes:
        figure: the figure of merit.
        parameters: numbers in its definition.
        background_uncertainties: relative systematic uncertainty k_p of single background processes, by name.
        relative_background_uncertainty: relative systematic uncertainty k common to all backgrounds.
        simulation_uncertainty_in_figure: whether sigma_b^2 includes the variance of the simulation.
        signals: "sum" adds all signal processes, as one hypothesis; with "mean" and "minimum" each signal process is a
            hypothesis over the same background, and the mean or the smallest significance counts.
    """

    figure: FigureOfMerit = FigureOfMerit.ASIMOV
    parameters: FigureParameters = DEFAULT_PARAMETERS
    background_uncertainties: Mapping[str, float] = field(default_factory=dict)
    relative_background_uncertainty: float = 0.0
    simulation_uncertainty_in_figure: bool = False
    signals: SignalCombination = "sum"

    @property
    def differentiable(self) -> "Objective":
        """This objective with a figure that has gradients; see `FigureOfMerit.differentiable_counterpart`."""
        return replace(self, figure=self.figure.differentiable_counterpart)

    def tells_processes_apart(self, processes: ProcessTable | None = None) -> bool:
        """Whether the figure of merit depends on more than the sums of the signal and of the background yields.

        That is so if one of several backgrounds has an uncertainty of its own, or if several signals are separate
        hypotheses. Without `processes` several of each are assumed.
        """
        several = processes is None or len(processes.backgrounds) > 1, processes is None or len(processes.signals) > 1
        return (several[0] and any(k > 0 for k in self.background_uncertainties.values())) or (
            several[1] and self.signals != "sum"
        )

    def unknown_backgrounds(self, processes: ProcessTable) -> str:
        """Message about the uncertainties whose name is no background process; empty if there are none.

        Example:
            >>> objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"dyy": 0.1})
            >>> objective.unknown_backgrounds(ProcessTable(("hmumu", "dy"), ("signal", "background")))
            "background_uncertainties names 'dyy', which is no background process. Did you mean 'dy'?"
        """
        known = processes.backgrounds
        return "; ".join(
            f"background_uncertainties names '{name}', which is no background process.{nearest_name(name, known)}"
            for name in self.background_uncertainties
            if name not in known
        )

    def require_known_backgrounds(self, processes: ProcessTable) -> None:
        """Check that every uncertainty is that of a background process.

        Raises:
            InputError: one is not; names the nearest background process.
        """
        if message := self.unknown_backgrounds(processes):
            raise InputError(message)

    def uncertainties_of(self, names: tuple[str, ...]) -> list[float]:
        """k_p of each process, 0 if none is given."""
        return [float(self.background_uncertainties.get(name, 0.0)) for name in names]

    def evaluate(
        self,
        yields: Any,
        variances: Any,
        processes: ProcessTable,
        *,
        higher_moments: HigherMoments | None = None,
        own_uncertainties: Any = None,
        common_uncertainty: Any = None,
    ) -> SelectionSignificance:
        """Evaluate the figure of merit; for the equations see `zsig_hep.statistics.processes`.

        Args:
            yields: sum of weights of each process, shape [P, ...], NumPy or torch, in events.
            variances: sum of squared weights, same shape.
            processes: the P processes, none of them data.
            higher_moments: sums of cubed weights and of their fourth powers, shape [P, ...] each, for the uncertainty of
                a figure that includes the simulation; by default those of equal weights within each process.
            own_uncertainties: relative uncertainty of each of the B backgrounds, shape [B] or [B, ...], which replaces
                `background_uncertainties`, for gradients with respect to it.
            common_uncertainty: relative uncertainty common to all, which replaces `relative_background_uncertainty`.

        Returns:
            The significance, its uncertainty from the finite simulation, and its derivatives.

        Raises:
            InputError: an exact Poisson figure is given torch tensors; see `differentiable`.

        Example:
            >>> import numpy as np
            >>> processes = ProcessTable(("higgs", "dy", "top"), ("signal", "background", "background"))
            >>> objective = Objective(
            ...     FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, background_uncertainties={"top": 0.3})
            >>> z = objective.evaluate(np.array([20.0, 64.0, 20.0]), np.array([1.0, 4.0, 4.0]), processes)
            >>> round(float(z.value), 4), (z.slopes / z.slopes[1]).round(4).tolist()
            (1.8257, [-12.0, 1.0, 4.6])
        """
        signal, background = processes.rows("signal"), processes.rows("background")
        k_p: Any = self.uncertainties_of(processes.backgrounds) if own_uncertainties is None else own_uncertainties
        options: dict[str, Any] = {
            "relative_background_uncertainty": (
                self.relative_background_uncertainty if common_uncertainty is None else common_uncertainty
            ),
            "simulation_uncertainty_in_figure": self.simulation_uncertainty_in_figure,
            "parameters": self.parameters,
        }
        xp = array_api_compat.array_namespace(yields, variances)
        s, b, var_s, var_b = (values[rows] for values in (yields, variances) for rows in (signal, background))
        higher = None if higher_moments is None else tuple(each[background] for each in higher_moments)
        hypotheses = None
        if self.signals == "sum":
            z = evaluate_processes(
                self.figure, xp.sum(s, axis=0), b, xp.sum(var_s, axis=0), var_b, k_p, higher_moments=higher, **options
            )
            of_signals = [z.signal_slope] * len(signal)
        else:
            k_p = k_p[:, None] if getattr(k_p, "ndim", 1) > 1 else k_p
            of_each = None if higher is None else (higher[0][:, None], higher[1][:, None])
            each = evaluate_processes(
                self.figure, s, b[:, None], var_s, var_b[:, None], k_p, higher_moments=of_each, **options
            )
            z = combine_hypotheses(each, var_s, b, var_b, self.signals, higher_moments=higher)
            of_signals, hypotheses = list(z.signal_slope), Significance(each.value, each.uncertainty)
        slopes = dict(zip(signal + background, [*of_signals, *z.background_slopes], strict=True))
        ordered = xp.stack([slopes[row] for row in range(len(processes))])
        return SelectionSignificance(z.value, z.uncertainty, ordered, hypotheses, z.variance_slope)
