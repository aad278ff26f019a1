"""Expected exclusion by the selection of a working point."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.selection.events import Floats
from zsig_hep.selection.numbers import higher_moments
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint
from zsig_hep.selection.thresholds.working_points import WorkingPoint
from zsig_hep.statistics.exclusion import (
    ExpectedExclusion,
    asimov_statistic,
    cls_of,
    expected_exclusion,
    upper_limit,
)
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.process_table import ProcessTable
from zsig_hep.statistics.processes import background_fluctuation, weight_moments
from zsig_hep.statistics.yields import NO_EVENTS

# Relative step of the numerical derivatives: large against the accuracy of the limit, small against its curvature.
_STEP = 1e-4


@dataclass(frozen=True)
class SelectionExclusion:
    """Expected exclusion by the selection of a working point.

    Attributes:
        expected: CLs at mu = 1 and upper limits on mu, with their bands from the fluctuations of the experiment.
        limit_uncertainty: standard deviation of the median limit from the finite simulation.
        cls_uncertainty: standard deviation of the median CLs from the finite simulation.
    """

    expected: ExpectedExclusion
    limit_uncertainty: float
    cls_uncertainty: float


def selection_exclusion(
    point: WorkingPoint | HeldOutWorkingPoint,
    processes: ProcessTable,
    objective: Objective,
    *,
    signal: str | None = None,
    confidence_level: float = 0.95,
) -> SelectionExclusion | None:
    """CLs and upper limit on the signal strength from the yields of a working point, as one counting experiment.

    The background uncertainty is that of the figure of merit, sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2, where k includes
    the systematic variations and sigma_b^2 the simulation's sum w^2 if the settings include them; see
    `zsig_hep.statistics.exclusion`. Only the exclusion of a held-out working point is unbiased.

    Args:
        point: working point with its yields by process.
        processes: processes of the working point.
        objective: uncertainties of the background.
        signal: name of the signal process to exclude, with all others absent; by default all of them together.
        confidence_level: confidence level of the limits, in (0, 1).

    Returns:
        The exclusion; None if the working point has no yields, or the signal or background yield is not positive.

    Raises:
        InputError: there is no such signal process, or the confidence level is not in (0, 1).

    Example:
        >>> from zsig_hep.statistics import Yield
        >>> yields = {"hmumu": Yield(20.0, 0.1, 4000), "dy": Yield(50.0, 0.5, 5000)}
        >>> found = selection_exclusion(
        ...     WorkingPoint("ok", yields=yields), ProcessTable(("hmumu", "dy"), ("signal", "background")), Objective())
        >>> round(found.expected.median_limit, 4), round(found.limit_uncertainty, 4)
        (0.7584, 0.013)
    """
    signals = processes.signals
    if signal is not None and point.yields and signal not in signals:
        message = f"'{signal}' is no signal process.{nearest_name(signal, signals)}"
        raise InputError(message)
    if not point.yields:
        return None
    of_signal = sum((point.yields[name] for name in (signals if signal is None else [signal])), NO_EVENTS)
    of_background = [point.yields[name] for name in processes.backgrounds]
    yields = np.array([of_signal.value, *(each.value for each in of_background)])
    variances = np.array([of_signal.variance, *(each.variance for each in of_background)])
    if not (yields[0] > 0 and yields[1:].sum() > 0):
        return None
    relative = np.array(objective.uncertainties_of(processes.backgrounds))
    common = point.common_uncertainty
    k = objective.relative_background_uncertainty if common is None else common
    simulation = variances[1:].sum() if objective.simulation_uncertainty_in_figure else 0.0

    def bin_of(values: Floats) -> tuple[Floats, Floats, Floats]:
        of_process, b = values[1:-1], values[1:-1].sum()
        systematic = np.square(relative * of_process).sum() + (k * b) ** 2
        return values[:1], np.array([b]), np.array([np.sqrt(systematic + values[-1])])

    def medians(values: Floats) -> Floats:
        counts = bin_of(values)
        return np.array([upper_limit(*counts, confidence_level), cls_of(math.sqrt(asimov_statistic(1.0, *counts)))])

    values = np.append(yields, simulation)
    expected = expected_exclusion(*bin_of(values), confidence_level=confidence_level)
    higher = higher_moments(point.yields, processes.select(processes.rows("background")))
    moments = weight_moments(yields[1:], variances[1:], higher)
    limit, cls = (
        math.sqrt(slopes[0] ** 2 * variances[0] + background_fluctuation(slopes[1:-1], slopes[-1], moments))
        for slopes in _slopes(medians, values)
    )
    return SelectionExclusion(expected, limit, cls)


def _slopes(function: Callable[[Floats], Floats], values: Floats) -> Floats:
    """Numerical derivatives of M values in the signal, in every background and in sum w^2, shape [M, 1 + B + 1]."""
    steps = _STEP * np.array([values[0], *[values[1:-1].sum()] * (len(values) - 2), values[-1]])
    columns = [
        (function(values + shift) - function(values - shift)) / (2 * step) if step > 0 else np.zeros(2)
        for step, shift in zip(steps, np.diag(steps), strict=True)
    ]
    return np.stack(columns, axis=1)
