"""Expected exclusion of the selection of a working point, beside its discovery significance."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.selection.events import Floats
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

# Of the signal and of the whole background: large against the accuracy of the root, small against its curvature.
_STEP = 1e-4


@dataclass(frozen=True)
class SelectionExclusion:
    """What the selection of a working point can be expected to exclude.

    Attributes:
        expected: CLs at mu = 1 and upper limits on mu, with their bands.
        limit_uncertainty: standard deviation of the median limit from the finite simulation; the bands are of the
            experiment.
        cls_uncertainty: that of the median CLs.
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

    The background is uncertain as in the figure of merit: sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2, with systematic
    variations in k and the simulation's sum w^2 beside it if the settings put them in; see
    `zsig_hep.statistics.exclusion`. Quote it of a held-out working point only.

    Args:
        point: with its yields by process.
        processes: of the working point.
        objective: uncertainties of the background.
        signal: the only signal process that exists, by name; all of them by default.
        confidence_level: of the limits.

    Returns:
        The exclusion; None where the working point has no yields, or no positive signal or background.

    Raises:
        InputError: there is no such signal process, or the confidence level is none.

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
    of_signal = [point.yields[name] for name in (signals if signal is None else [signal])]
    of_background = [point.yields[name] for name in processes.backgrounds]
    yields = np.array([sum(each.value for each in of_signal), *(each.value for each in of_background)])
    variances = np.array([sum(each.variance for each in of_signal), *(each.variance for each in of_background)])
    if not (yields[0] > 0 and yields[1:].sum() > 0):
        return None
    relative = np.array(objective.uncertainties_of(processes.backgrounds))
    common = point.common_uncertainty
    k = objective.relative_background_uncertainty if common is None else common
    simulation = variances[1:].sum() if objective.simulation_uncertainty_in_figure else 0.0

    def bin_of(values: Floats) -> tuple[Floats, Floats, Floats]:
        b = values[1:].sum()
        systematic = np.square(relative * values[1:]).sum() + (k * b) ** 2
        return values[:1], np.array([b]), np.array([np.sqrt(systematic + simulation)])

    def medians(values: Floats) -> Floats:
        counts = bin_of(values)
        return np.array([upper_limit(*counts, confidence_level), cls_of(math.sqrt(asimov_statistic(1.0, *counts)))])

    expected = expected_exclusion(*bin_of(yields), confidence_level=confidence_level)
    limit, cls = np.sqrt(np.square(_slopes(medians, yields)) @ variances)
    return SelectionExclusion(expected, float(limit), float(cls))


def _slopes(function: Callable[[Floats], Floats], yields: Floats) -> Floats:
    """Derivatives of the function's M values in the signal and in every background, shape [M, 1 + B]."""
    steps = _STEP * np.array([yields[0], *[yields[1:].sum()] * (len(yields) - 1)])
    columns = [
        (function(yields + shift) - function(yields - shift)) / (2 * step)
        for step, shift in zip(steps, np.diag(steps), strict=True)
    ]
    return np.stack(columns, axis=1)
