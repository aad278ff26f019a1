"""Significance over several background processes, each with a systematic uncertainty of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.statistics.arrays import floating_arrays, namespace, where
from zsig_hep.statistics.figures_of_merit import value_and_slopes
from zsig_hep.statistics.significance import DEFAULT_PARAMETERS, FigureOfMerit, FigureParameters, Significance

HigherMoments = tuple[Any, Any]
"""Sums of cubed weights and of the fourth powers of weights."""


@dataclass(frozen=True, eq=False)
class ProcessSignificance(Significance):
    """A significance with its derivatives in the yield of every process.

    The region that maximises F(s, b_1..b_P) is p_s(x) dF/ds > sum_p c_p lambda_p p_p(x) with the densities p_p and the
    yields lambda_p: a cut on the likelihood ratio of the signal and a mixture of the backgrounds with effective weights

        c_p = -dF/db_p.                                                                        (1)

    They are equal if F depends on the sum b_1 + ... + b_P only.

    Attributes:
        signal_slope: dF/ds, in the shape of the value; NaN outside the domain of F, like the other derivatives.
        background_slopes: dF/db_p at constant sum w^2, shape [P, ...].
        variance_slope: dF/d(sum w^2), in the shape of the value; zero where F does not include the simulation.
    """

    signal_slope: Any
    background_slopes: Any
    variance_slope: Any


def evaluate_processes(
    figure: FigureOfMerit,
    signal: Any,
    backgrounds: Any,
    signal_variance: Any,
    background_variances: Any,
    relative_uncertainties: Sequence[float] | Any,
    *,
    relative_background_uncertainty: float = 0.0,
    simulation_uncertainty_in_figure: bool = False,
    higher_moments: HigherMoments | None = None,
    parameters: FigureParameters = DEFAULT_PARAMETERS,
) -> ProcessSignificance:
    """Figure of merit over P background processes with independent uncertainties.

    With b = sum_p b_p, the figures with uncertainty have

        sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2 [+ sum_p sum w^2]                              (2)

    where k_p is the relative uncertainty of one process and k is common to all. The uncertainty from the finite
    simulation is

        sigma_Z^2 = (dZ/ds)^2 sum_s w^2 + sum_p [ Z_p^2 sum w^2 + 2 Z_p Z_v sum w^3 + Z_v^2 sum w^4 ]    (3)

    with the derivatives Z_p = Z_b + Z_v (2 k_p^2 b_p + 2 k^2 b) of Z(s, b, v = sigma_b^2) at constant sum w^2. The terms
    with Z_v are there only if v includes sum w^2, which fluctuates together with b; without them sigma_Z would be too
    small by a factor of 2 to 5. With P = 1 and a constant v these are equations 6 and 7 of
    `zsig_hep.statistics.figures_of_merit.evaluate`.

    Args:
        figure: the figure of merit.
        signal: expected signal yield s, any shape, in events.
        backgrounds: expected yields b_p, shape [P, ...], in events; the other axes broadcast with those of s. A
            single b_p may be negative (signed weights) as long as b > 0.
        signal_variance: sum of squared signal weights.
        background_variances: sums of squared weights of each process, shape [P, ...].
        relative_uncertainties: k_p >= 0, shape [P], or [P, ...] with the axes of the backgrounds; like the next two,
            used by the figures with uncertainty only.
        relative_background_uncertainty: k >= 0, common to all processes.
        simulation_uncertainty_in_figure: include the bracket of equation 2.
        higher_moments: sums of cubed and of fourth powers of the weights of each process, shape [P, ...] each; by
            default those of equal weights within each process, w = sum w^2 / sum w.
        parameters: numbers in the definition of the figure.

    Returns:
        Z, sigma_Z, dZ/ds and dZ/db_p; all but Z are NaN where b <= 0 or s <= -b.

    Raises:
        InputError: there is no background process, the number of relative uncertainties is not P, or an exact Poisson
            figure is given torch tensors.

    Example:
        >>> z = evaluate_processes(
        ...     FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, 20.0, [64.0, 20.0], 1.0, [4.0, 4.0], [0.0, 0.2])
        >>> float(z.value), z.background_slopes.round(6).tolist()
        (2.0, [-0.01, -0.026])
    """
    s, b_p, var_s, var_p, k_p = floating_arrays(
        signal, backgrounds, signal_variance, background_variances, relative_uncertainties
    )
    _check_counts(b_p, k_p)
    xp, k = namespace(b_p), relative_background_uncertainty
    if k_p.ndim == 1:
        k_p = xp.reshape(k_p, (-1,) + (1,) * (b_p.ndim - 1))
    b = xp.sum(b_p, axis=0)
    variance = xp.sum((k_p * b_p) ** 2, axis=0) + (k * b) ** 2
    if simulation_uncertainty_in_figure:
        variance = variance + xp.sum(var_p, axis=0)
    variance_slopes = 2 * (k_p * k_p * b_p + k * k * b)
    s, b = xp.broadcast_arrays(s, b)
    # A last row with dv/db larger by one gives dZ/dv as a difference.
    variance_slopes = xp.broadcast_to(variance_slopes, (b_p.shape[0], *b.shape))
    variance_slopes = xp.concat([variance_slopes, variance_slopes[:1] + 1.0])
    value, slope_s, slopes_b = value_and_slopes(figure, s, b, variance, variance_slopes, parameters)
    slopes_b = xp.broadcast_to(slopes_b, (b_p.shape[0] + 1, *value.shape))
    slope_v = slopes_b[-1] - slopes_b[0] if simulation_uncertainty_in_figure else 0.0 * slope_s
    slopes_b = slopes_b[:-1]
    moments = weight_moments(b_p, var_p, higher_moments)
    spread = xp.sqrt(slope_s**2 * var_s + background_fluctuation(slopes_b, slope_v, moments))
    return ProcessSignificance(value, spread, slope_s, slopes_b, slope_v)


def weight_moments(yields: Any, variances: Any, higher: HigherMoments | None) -> tuple[Any, ...]:
    """Sums of w^2, w^3 and w^4 of each process, by default of equal weights, shape [P, ...] each.

    Example:
        >>> import numpy as np
        >>> weight_moments(np.array([6.0]), np.array([12.0]), None)
        (array([12.]), array([24.]), array([48.]))
    """
    if higher is not None:
        return floating_arrays(variances, *higher)
    mean_weight = variances / where(yields > 0, yields, np.inf)
    return variances, mean_weight * variances, mean_weight**2 * variances


def background_fluctuation(slopes: Any, slope_v: Any, moments: tuple[Any, ...]) -> Any:
    """Variance of a function of the background yields and of sum w^2: the sum over backgrounds in equation 3.

    Args:
        slopes: derivative in the yield of each process at constant sum w^2, shape [P, ...].
        slope_v: derivative in sum w^2, shape [...], or [P, ...] where only some processes count.
        moments: sums of w^2, w^3 and w^4, shape [P, ...] each.

    Example:
        >>> import numpy as np
        >>> one = np.ones(1)
        >>> float(background_fluctuation(-3.0 * one, -1.0, (4.0 * one, 8.0 * one, 16.0 * one)))
        100.0
    """
    second, third, fourth = moments
    xp = namespace(slopes)
    terms = slopes**2 * second + 2 * slopes * slope_v * third + slope_v**2 * fourth
    # Not negative by Cauchy and Schwarz, but for rounding.
    return xp.clip(xp.sum(terms, axis=0), 0.0, None)


def combine_hypotheses(
    hypotheses: ProcessSignificance,
    signal_variances: Any,
    backgrounds: Any,
    background_variances: Any,
    combination: Literal["mean", "minimum"],
    *,
    higher_moments: HigherMoments | None = None,
) -> ProcessSignificance:
    """Mean or smallest significance of several signal hypotheses over one common background.

    All hypotheses depend on the same background, so that the mean of H hypotheses has the derivatives

        dF/ds_h = dF_h/ds_h / H,    dF/db_p = sum_h dF_h/db_p / H                              (4)

    and its uncertainty follows from equation 3. The smallest has the derivatives of its hypothesis.

    Args:
        hypotheses: of `evaluate_processes` with signals of shape [H, ...] and backgrounds of shape [P, 1, ...].
        signal_variances: sums of squared weights of each hypothesis, shape [H, ...].
        backgrounds: yields of each background, shape [P, ...].
        background_variances: sums of squared weights of each background, shape [P, ...].
        combination: "mean" or "minimum".
        higher_moments: as for `evaluate_processes`, shape [P, ...].

    Returns:
        F of shape [...] with dF/ds_h of shape [H, ...] and dF/db_p of shape [P, ...]. F is NaN where a hypothesis is
        not finite.

    Example:
        >>> two = evaluate_processes(FigureOfMerit.S_OVER_SQRT_B, [10.0, 20.0], [[25.0]], 0.0, [[4.0]], [0.0])
        >>> mean = combine_hypotheses(two, [0.0, 0.0], [25.0], [4.0], "mean")
        >>> float(mean.value), round(float(mean.uncertainty), 3), mean.signal_slope.tolist()
        (3.0, 0.12, [0.1, 0.1])
    """
    values, slopes_s, slopes_b, slopes_v, var_s, b_p, var_p = floating_arrays(
        hypotheses.value,
        hypotheses.signal_slope,
        hypotheses.background_slopes,
        hypotheses.variance_slope,
        signal_variances,
        backgrounds,
        background_variances,
    )
    xp = namespace(values)
    count = values.shape[0]
    finite = xp.all(xp.isfinite(values), axis=0)
    values = where(xp.broadcast_to(finite, values.shape), values, 0.0)
    if combination == "mean":
        value, slope_s, slope_b = xp.mean(values, axis=0), slopes_s / count, xp.mean(slopes_b, axis=1)
        slope_v = xp.mean(slopes_v, axis=0)
    else:
        column = xp.reshape(xp.arange(count), (-1,) + (1,) * (values.ndim - 1))
        chosen = column == xp.argmin(values, axis=0)
        value, slope_s = xp.min(values, axis=0), where(chosen, slopes_s, 0.0)
        slope_b = xp.sum(where(xp.broadcast_to(chosen, slopes_b.shape), slopes_b, 0.0), axis=1)
        slope_v = xp.sum(where(chosen, slopes_v, 0.0), axis=0)
    moments = weight_moments(b_p, var_p, higher_moments)
    spread = xp.sqrt(xp.sum(slope_s**2 * var_s, axis=0) + background_fluctuation(slope_b, slope_v, moments))
    return ProcessSignificance(where(finite, value, np.nan), where(finite, spread, np.nan), slope_s, slope_b, slope_v)


def _check_counts(backgrounds: Any, relative_uncertainties: Any) -> None:
    count = backgrounds.shape[0] if backgrounds.ndim else 0
    if count == 0:
        message = f"Background yields must have shape [processes, ...]; found shape {tuple(backgrounds.shape)}."
        raise InputError(message)
    found = relative_uncertainties.shape[0] if relative_uncertainties.ndim else 0
    if found != count:
        message = (
            f"Each background process needs one relative uncertainty; found {count} processes and {found} of them."
        )
        raise InputError(message)
