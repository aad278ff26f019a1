"""Exact significance of a Poisson count, from the probability of its tail.

The expected count is n = s + b over a background b, which a control count of mean m = tau b, tau = b / sigma_b^2,
constrains to b +- sigma_b. The probability p of n or more counts without signal, of equations 1 and 2 below, is

    p = exp(-Z_A^2/2 - S(n) + S(n + m) - S(m)) / [(1 + sigma_b^2/b) K]                             (A)

with the Asimov significance Z_A (`zsig_hep.statistics.asimov_with_uncertainty`), the remainder of Stirling's formula
S(k) = ln k! - k ln k + k, and the continued fraction K of DLMF 8.17.22. Z is computed from ln p, so that p may be
smaller than any number of float64.

NumPy only: SciPy's incomplete gamma and beta functions have no gradients, and those in their first parameter have no
closed form.
"""

from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt
from scipy import special

from zsig_hep.errors import InputError
from zsig_hep.statistics.significance import asimov_with_variance, squared

Floats = npt.NDArray[np.float64]

# Z_A above which equation A is used. scipy's gammainc is exact to rounding below 4.5. Above, it truncates a series and
# is wrong for large counts (by 10 % of p at b = 1e8, Z = 10), and p underflows float64 for Z > 38.
_FAR = 4.0
# n / m below which the uncertainty of the background is smaller than the rounding.
_KNOWN = 1e-17
# Above _FAR 60 terms are enough for any counts.
_MOST_TERMS = 1000
# Two units in the last place of one.
_CONVERGED = 2.0**-51
# Largest steps h of the derivatives, in a logarithm and in Z. The relative error of a central difference is about
# h^2 / 6, 1e-8 for the first; the second limits the change of Z, which is large for large counts.
_LARGEST_STEP = 3e-4
_LARGEST_SHIFT = 0.5


def poisson(signal: Any, background: Any) -> Any:
    """Significance of s + b counts over a known background b, from the tail of the Poisson distribution.

        p = P(N >= s + b | b) = gamma(s + b, b) / Gamma(s + b),   Z = -Phi^-1(p)                (1)

    with the lower incomplete gamma function, which is the sum of the Poisson probabilities from s + b on if s + b is an
    integer, and its analytic continuation otherwise. `zsig_hep.statistics.asimov` is the limit for large b. Z < 0 at
    s = 0: a count is equal to its mean or larger in more than half of all cases.

    Args:
        signal: expected signal yield s > -b, any shape, NumPy or numbers, in events.
        background: expected background yield b >= 0, in events.

    Returns:
        Z, also where p underflows float64; minus infinity where 1 - p underflows (Z < -37). Where b = 0: infinite if
        s > 0, minus infinity if s = 0 (p = 1). Where b < 0 or s <= -b otherwise: NaN.

    Raises:
        InputError: for torch tensors.

    Example:
        >>> round(float(poisson(10.0, 25.0)), 4), round(float(poisson(1e4, 100.0)), 4)
        (1.8271, 270.5983)
    """
    return poisson_with_uncertainty(signal, background, 0.0)


def poisson_with_uncertainty(signal: Any, background: Any, background_uncertainty: Any) -> Any:
    """Significance of s + b counts over a background of b +- sigma_b: Z_Bi of the on/off problem.

        p_Bi = I_x(n, m + 1),   x = 1 / (1 + tau),   n = s + b,   m = tau b,   tau = b / sigma_b^2   (2)

    is the binomial probability that n or more of n + m counts are in the signal region, with the regularised incomplete
    beta function I as its analytic continuation to counts that are no integers. J. T. Linnemann, physics/0312059;
    R. D. Cousins, J. T. Linnemann and J. Tucker, Nucl. Instrum. Meth. A 595 (2008) 480, arXiv:physics/0702156. It
    equals the Poisson probability averaged over a gamma distribution of b, and equation 1 at sigma_b = 0.

    Args:
        signal: expected signal yield s > -b, any shape, NumPy or numbers, in events.
        background: expected background yield b >= 0, in events.
        background_uncertainty: absolute standard deviation sigma_b >= 0 of b, in events.

    Returns:
        Z_Bi, as `poisson`; minus infinity where b = 0 and sigma_b > 0, or sigma_b^2 is infinite (p = 1). Where
        sigma_b < 0: NaN.

    Raises:
        InputError: for torch tensors.

    Example:
        >>> round(float(poisson_with_uncertainty(50.0, 100.0, 10.0)), 4)
        3.108
    """
    s, b, sigma = _numpy_arrays(signal, background, background_uncertainty)
    return np.where(sigma >= 0, tail_significance(s, b, squared(sigma)), np.nan)


def tail_significance(signal: Any, background: Any, variance: Any) -> Floats:
    """Equations 1 and 2 with the variance sigma_b^2 as argument."""
    s, b, v = np.broadcast_arrays(*_numpy_arrays(signal, background, variance))
    value = np.full(s.shape, np.nan)
    empty = (b == 0) & (s >= 0) & (v >= 0)
    value[empty] = np.where((s > 0) & (v == 0), np.inf, -np.inf)[empty]
    value[(b > 0) & (s > -b) & np.isfinite(s + b) & np.isposinf(v)] = -np.inf
    valid = (b > 0) & (s > -b) & (v >= 0) & np.isfinite(s + b + v)
    value[valid] = _significance(s[valid] + b[valid], b[valid], v[valid])
    return value


def tail_slopes(signal: Any, background: Any, variance: Any, variance_slope: Any) -> tuple[Floats, Floats]:
    """Derivatives of equations 1 and 2 in s and in b, along d sigma_b^2 / db.

    The incomplete functions have no derivatives in n and m in closed form. These are central differences in ln n, in
    ln b at fixed s, and in ln sigma_b^2, on which Z depends smoothly on the scale of 1; they are exact to seven digits.
    Where sigma_b^2 = 0 its derivative is left out: sigma_b^2 = (k b)^2 is then zero for all b.

    Args:
        signal: s > -b, in events.
        background: b > 0, in events.
        variance: sigma_b^2 >= 0.
        variance_slope: d sigma_b^2 / db; with a leading axis of background processes, one dZ/db for each of them.

    Returns:
        dZ/ds, and dZ/db with the leading axis of `variance_slope`.
    """
    s, b, v = (each.copy() for each in np.broadcast_arrays(*_numpy_arrays(signal, background, variance)))
    n, uncertain = s + b, v > 0
    of_n = _slope_in_logarithm(lambda factor: _significance(n * factor, b, v), _LARGEST_SHIFT * np.sqrt(b + v) / n)
    # At fixed s Z depends little on b: derivatives in b at fixed n and in n would cancel.
    of_b = _slope_in_logarithm(lambda factor: _significance(s + b * factor, b * factor, v))
    of_v = np.zeros_like(v)
    of_v[uncertain] = _slope_in_logarithm(
        lambda factor: _significance(n[uncertain], b[uncertain], v[uncertain] * factor)
    )  # fmt: skip
    return of_n / n, of_b / b + of_v / np.where(uncertain, v, 1.0) * variance_slope


def _slope_in_logarithm(function: Callable[[Any], Floats], largest_step: Any = np.inf) -> Floats:
    """Derivative in ln x of function(factor), which multiplies x, at factor = 1."""
    h = np.minimum(_LARGEST_STEP, largest_step)
    with np.errstate(invalid="ignore"):  # Z is minus infinity at both points where 1 - p underflows
        return np.asarray((function(np.exp(h)) - function(np.exp(-h))) / (2 * h))


def _significance(n: Floats, b: Floats, v: Floats) -> Floats:
    """Z of valid n, b > 0 and v = sigma_b^2 >= 0."""
    v = np.where(v * n > _KNOWN * b * b, v, 0.0)
    z_asimov = np.asarray(asimov_with_variance(n - b, b, v))
    z = np.empty_like(z_asimov)
    far = z_asimov > _FAR
    z[far] = -special.ndtri_exp(_log_tail(z_asimov[far], n[far], b[far], v[far]))
    z[~far] = _near_significance(n[~far], b[~far], v[~far])
    return z


def _near_significance(n: Floats, b: Floats, v: Floats) -> Floats:
    """Z from the smaller of the two tails, by equations 1 and 2."""
    upper, lower = special.gammainc(n, b), special.gammaincc(n, b)
    for of, uncertain in (((v > 0) & (v <= b), False), (v > b, True)):
        on, off, share = n[of], b[of] * (b[of] / v[of]), np.minimum(v, b)[of] / (b[of] + v[of])
        # Use the smaller of x and 1 - x, which is exact to rounding.
        first, second = (off + 1, on) if uncertain else (on, off + 1)
        tails = special.betainc(first, second, share), special.betaincc(first, second, share)
        upper[of], lower[of] = tails[::-1] if uncertain else tails
    return np.asarray(np.where(upper < lower, -special.ndtri(upper), special.ndtri(lower)))


def _log_tail(z_asimov: Floats, n: Floats, b: Floats, v: Floats) -> Floats:
    """Logarithm of equation A for n well above b."""
    of = v > 0
    control = np.zeros_like(n)
    off = b[of] * (b[of] / v[of])
    control[of] = _stirling_rest(n[of] + off) - _stirling_rest(off)
    log_p = -z_asimov * z_asimov / 2 - _stirling_rest(n) + control
    return np.asarray(log_p - np.log1p(v / b) - np.log(_continued_fraction(n, b, v)))


def _stirling_rest(k: Floats) -> Floats:
    """S(k) = ln k! - k ln k + k; for k >= 10 a series in 1/k, since the terms cancel."""
    near = k < 10
    small, large = np.where(near, k, 1.0), np.where(near, 10.0, k)
    square = 1 / (large * large)
    series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))) / large
    return np.where(
        near,
        special.gammaln(small + 1) - special.xlogy(small, small) + small,
        np.log(2 * np.pi * large) / 2 + series,
    )


def _continued_fraction(n: Floats, b: Floats, v: Floats) -> Floats:
    """K = 1 + d_1/(1 + d_2/(1 + ...)) of DLMF 8.17.22 for a = n, b = m + 1, by the modified method of Lentz.

    The products x (m + j) = (b^2 + j v) / (b + v) are finite at v = 0, the case of the incomplete gamma function.
    """
    fraction, numerator, denominator = np.ones_like(n), np.ones_like(n), np.zeros_like(n)
    for order in range(1, _MOST_TERMS):
        half = order // 2
        if order % 2:
            term = -(n + half) * (b * b + (n + half + 1) * v) / (b + v)
        else:
            term = half * (b * b + (1 - half) * v) / (b + v)
        term = term / ((n + order - 1) * (n + order))
        denominator = 1 / (1 + term * denominator)
        numerator = 1 + term / numerator
        change = numerator * denominator
        fraction = fraction * change
        if (np.abs(change - 1) < _CONVERGED).all():
            break
    return fraction


def _numpy_arrays(*values: Any) -> tuple[Floats, ...]:
    if any(array_api_compat.is_torch_array(value) for value in values):
        message = (
            "The exact Poisson significances are computed with NumPy alone, without gradients; found a torch tensor. "
            "Take 'asimov' or 'asimov_with_uncertainty', their limit for large counts, or convert the tensor."
        )
        raise InputError(message)
    return tuple(np.asarray(value, dtype=np.float64) for value in values)
