"""Every figure of merit by its name, with its derivatives and its uncertainty from the finite simulation."""

from typing import Any

import numpy as np

from zsig_hep.statistics.arrays import floating_arrays, namespace, where
from zsig_hep.statistics.poisson_tail import tail_significance, tail_slopes
from zsig_hep.statistics.regularised import ams, punzi, punzi_slopes
from zsig_hep.statistics.significance import (
    DEFAULT_PARAMETERS,
    FigureOfMerit,
    FigureParameters,
    Significance,
    asimov,
    asimov_slopes,
    asimov_with_variance,
    in_domain,
    s_over_sqrt_b,
    simple_slopes,
    simple_with_variance,
    slopes_with_variance,
)


def evaluate(
    figure: FigureOfMerit,
    signal: Any,
    background: Any,
    signal_variance: Any,
    background_variance: Any,
    relative_background_uncertainty: float = 0.0,
    *,
    simulation_uncertainty_in_figure: bool = False,
    parameters: FigureParameters = DEFAULT_PARAMETERS,
) -> Significance:
    """Figure of merit with its uncertainty from the finite simulation.

        sigma_Z^2 = (dZ/ds)^2 sum_s w^2 + (dZ/db)^2 sum_b w^2                                  (6)

    with the derivatives of `value_and_slopes`; s and b are independent. The figures with uncertainty have

        sigma_b^2 = (k b)^2 [+ sum_b w^2],                                                     (7)

    and dZ/db includes the change of k b with b and, for equal weights, that of sum_b w^2. For other weights, and for
    uncertainties of single background processes, see `zsig_hep.statistics.processes.evaluate_processes`.

    Args:
        figure: the figure of merit.
        signal: expected signal yield s, any shape, in events.
        background: expected background yield b, in events.
        signal_variance: sum of squared signal weights.
        background_variance: sum of squared background weights.
        relative_background_uncertainty: k >= 0 of equation 7; used by the figures with uncertainty only.
        simulation_uncertainty_in_figure: include the bracket of equation 7; used by the figures with uncertainty only.
        parameters: numbers in the definition of the figure.

    Returns:
        Z and sigma_Z; sigma_Z is NaN where b <= 0 or s <= -b.

    Raises:
        InputError: an exact Poisson figure is given torch tensors.

    Example:
        >>> z = evaluate(FigureOfMerit.S_OVER_SQRT_B, 10.0, 25.0, 1.0, 4.0)
        >>> float(z.value), round(float(z.uncertainty), 6)
        (2.0, 0.215407)
        >>> ams_of = evaluate(FigureOfMerit.AMS, 10.0, 15.0, 1.0, 4.0)
        >>> round(float(ams_of.value), 6), round(float(ams_of.uncertainty), 6)
        (1.884955, 0.190807)
    """
    s, b, var_s, var_b = floating_arrays(signal, background, signal_variance, background_variance)
    k = relative_background_uncertainty
    variance, variance_slope = (k * b) ** 2, 2 * (k * k * b)
    if simulation_uncertainty_in_figure:
        variance, variance_slope = variance + var_b, variance_slope + var_b / where(b > 0, b, np.inf)
    value, slope_s, slope_b = value_and_slopes(figure, s, b, variance, variance_slope, parameters)
    return Significance(value, namespace(b).sqrt(slope_s**2 * var_s + slope_b**2 * var_b))


def value_and_slopes(
    figure: FigureOfMerit,
    signal: Any,
    background: Any,
    variance: Any,
    variance_slope: Any,
    parameters: FigureParameters = DEFAULT_PARAMETERS,
) -> tuple[Any, Any, Any]:
    """Figure of merit Z(s, b, sigma_b^2(b)) with its derivatives, analytic except for the exact Poisson tails.

    Args:
        figure: the figure of merit.
        signal: s, a floating point array of any shape, in events.
        background: b, same namespace.
        variance: sigma_b^2 >= 0; ignored by figures without uncertainty.
        variance_slope: d sigma_b^2 / db; with a leading axis of background processes, one dZ/db for each of them.
        parameters: numbers in the definition of the figure.

    Returns:
        Z, dZ/ds and dZ/db; the derivatives are NaN where b <= 0 (also for the figures that are defined at b = 0) or
        s <= -b.

    Raises:
        InputError: an exact Poisson figure is given torch tensors.
    """
    s, b, v = signal, background, variance
    xp = namespace(b)
    valid = in_domain(s, b)
    safe = where(valid, s, 0.0), where(valid, b, 1.0)
    match FigureOfMerit(figure):
        case FigureOfMerit.S_OVER_SQRT_B:
            value, slopes = s_over_sqrt_b(s, b), simple_slopes(*safe, 0.0 * safe[1], 0.0)
        case FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY:
            value, slopes = simple_with_variance(s, b, v), simple_slopes(*safe, v, variance_slope)
        case FigureOfMerit.ASIMOV:
            value, slopes = asimov(s, b), asimov_slopes(*safe)
        case FigureOfMerit.ASIMOV_WITH_UNCERTAINTY:
            value, slopes = asimov_with_variance(s, b, v), slopes_with_variance(*safe, v, variance_slope)
        case FigureOfMerit.AMS:
            constant = parameters.ams_regularisation
            value, slopes = ams(s, b, constant), asimov_slopes(safe[0], safe[1] + constant)
        case FigureOfMerit.PUNZI:
            a = parameters.punzi_sigmas
            value, slopes = punzi(s, b, a), punzi_slopes(*safe, a)
        case FigureOfMerit.POISSON:
            value, slopes = tail_significance(s, b, 0.0), tail_slopes(*safe, 0.0, 0.0)
        case FigureOfMerit.POISSON_WITH_UNCERTAINTY:
            value, slopes = tail_significance(s, b, v), tail_slopes(*safe, v, variance_slope)
    return value, *(where(xp.broadcast_to(valid, slope.shape), slope, np.nan) for slope in slopes)
