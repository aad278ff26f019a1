"""Discovery significance of a counting experiment: s signal events expected over b background events.

With x = s / b, terms cancel only in the two functions

    phi(x) = 2 [(1 + x) ln(1 + x) - x] / x^2     = 1 - x/3 + x^2/6 - ...                       (A)
    psi(x) = 2 [x - ln(1 + x)] / x^2             = 1 - 2x/3 + x^2/2 - ...                      (B)

which are smooth and positive for x > -1 and are computed without cancellation. Every significance below is s / sqrt(b)
or s / sqrt(b + sigma_b^2) times the square root of a sum of positive terms in phi and psi, so that it is exact to
rounding for any s / b and sigma_b, in float32 and in float64.

All functions take NumPy arrays, torch tensors (with gradients, finite for b > 0, s > -b) or numbers, which broadcast.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.statistics.arrays import floating_arrays, namespace, where

# Equations A and B are summed as series below this |x|; above it the logarithms lose less than one decimal digit.
_SERIES_LIMIT = 0.3
# For |x| < 0.3 the first omitted term, u^21 / 23 at |u| < 0.18, is below the rounding of float64.
_SERIES_TERMS = 10


class UnknownFigureError(InputError, ValueError):
    """A name is that of no figure of merit; a ValueError too, which settings list among their other problems."""


class FigureOfMerit(StrEnum):
    """Names of the figures of merit; `zsig_hep.statistics.figures_of_merit` evaluates them.

    Raises:
        UnknownFigureError: there is no figure of this name; names the nearest one.
    """

    S_OVER_SQRT_B = "s_over_sqrt_b"
    S_OVER_SQRT_B_WITH_UNCERTAINTY = "s_over_sqrt_b_with_uncertainty"
    ASIMOV = "asimov"
    ASIMOV_WITH_UNCERTAINTY = "asimov_with_uncertainty"
    AMS = "ams"
    PUNZI = "punzi"
    POISSON = "poisson"
    POISSON_WITH_UNCERTAINTY = "poisson_with_uncertainty"

    @classmethod
    def _missing_(cls, value: object) -> "FigureOfMerit":
        message = f"Unknown figure of merit {value!r}.{nearest_name(str(value), [figure.value for figure in cls])}"
        raise UnknownFigureError(message)

    @property
    def knows_background_uncertainty(self) -> bool:
        """Whether the figure depends on the uncertainty sigma_b of the background."""
        return self.value.endswith("_with_uncertainty")

    @property
    def with_background_uncertainty(self) -> "FigureOfMerit | None":
        """The figure that includes an uncertainty of the background and equals this one without it; None if there is none.

        Example:
            >>> FigureOfMerit.ASIMOV.with_background_uncertainty, FigureOfMerit.PUNZI.with_background_uncertainty
            (<FigureOfMerit.ASIMOV_WITH_UNCERTAINTY: 'asimov_with_uncertainty'>, None)
        """
        if self.knows_background_uncertainty:
            return self
        name = f"{self.value}_with_uncertainty"
        return FigureOfMerit(name) if name in set(FigureOfMerit) else None

    @property
    def differentiable_counterpart(self) -> "FigureOfMerit":
        """The figure itself; for an exact Poisson tail, which has no gradients, its limit, the Asimov significance."""
        return {
            FigureOfMerit.POISSON: FigureOfMerit.ASIMOV,
            FigureOfMerit.POISSON_WITH_UNCERTAINTY: FigureOfMerit.ASIMOV_WITH_UNCERTAINTY,
        }.get(self, self)


@dataclass(frozen=True)
class FigureParameters:
    """The numbers in the definitions of AMS and Punzi's figure; the other figures have none.

    Attributes:
        ams_regularisation: b_r of `zsig_hep.statistics.regularised.ams`, in events, not negative.
        punzi_sigmas: a of `zsig_hep.statistics.regularised.punzi`, in standard deviations, not negative.
    """

    ams_regularisation: float = 10.0
    punzi_sigmas: float = 3.0


DEFAULT_PARAMETERS = FigureParameters()


@dataclass(frozen=True, eq=False)
class Significance:
    """A significance and its uncertainty from the finite simulation.

    Attributes:
        value: the figure of merit Z, any shape.
        uncertainty: its standard deviation, same shape; NaN where Z is infinite or NaN.
    """

    value: Any
    uncertainty: Any


def s_over_sqrt_b(signal: Any, background: Any) -> Any:
    """Simple significance, the limit of equation 97 of arXiv:1007.1727 for s << b.

        Z = s / sqrt(b)                                                                        (1)

    Args:
        signal: expected signal yield s, any shape and sign, in events.
        background: expected background yield b >= 0, in events.

    Returns:
        Z, with the sign of s. Where b = 0: 0 if s = 0, otherwise infinite with the sign of s. Where b < 0: NaN.

    Example:
        >>> float(s_over_sqrt_b(10.0, 25.0))
        2.0
    """
    s, b = floating_arrays(signal, background)
    valid = b > 0
    z = s / namespace(b).sqrt(where(valid, b, 1.0))
    return where(valid, z, without_background(s, b))


def s_over_sqrt_b_with_uncertainty(signal: Any, background: Any, background_uncertainty: Any) -> Any:
    """Simple significance where the background is known to b +- sigma_b.

        Z = s / sqrt(b + sigma_b^2)                                                            (1a)

    is equation 1 with the variance of the background added to that of the count: the limit of equation 4 for s << b.

    Args:
        signal: expected signal yield s, any shape and sign, in events.
        background: expected background yield b >= 0, in events.
        background_uncertainty: absolute standard deviation sigma_b >= 0 of b, in events.

    Returns:
        Z, with the sign of s. Where b = sigma_b = 0: as `s_over_sqrt_b`. Where sigma_b^2 is infinite: 0. Where b < 0 or
        sigma_b < 0: NaN.

    Example:
        >>> float(s_over_sqrt_b_with_uncertainty(10.0, 16.0, 3.0))
        2.0
    """
    s, b, sigma = floating_arrays(signal, background, background_uncertainty)
    return where(sigma >= 0, simple_with_variance(s, b, squared(sigma)), np.nan)


def asimov(signal: Any, background: Any) -> Any:
    """Median discovery significance of s + b counts over a known background b (Asimov data set).

        Z_A = sqrt(2 [(s + b) ln(1 + s/b) - s])                                                (2)
            = s / sqrt(b) sqrt(phi(s/b))                                                       (3)

    Equation 2 is Cowan, Cranmer, Gross and Vitells, Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727, eq. 97. The
    code follows equation 3, which is equal and has no cancellation at s << b. The paper has s >= 0 only; here a
    negative s gives the negative root, as in equation 3, so that Z_A is smooth at s = 0.

    Args:
        signal: expected signal yield s > -b, any shape, in events.
        background: expected background yield b >= 0, in events.

    Returns:
        Z_A, with the sign of s. Where b = 0: 0 if s = 0, infinite if s > 0. Where b < 0 or s <= -b otherwise: NaN.

    Example:
        >>> round(float(asimov(10.0, 25.0)), 6)
        1.884955
        >>> float(asimov(0.0, 25.0))
        0.0
    """
    s, b = floating_arrays(signal, background)
    xp = namespace(b)
    valid = in_domain(s, b)
    s_safe, b_safe = where(valid, s, 0.0), where(valid, b, 1.0)
    z = s_safe / xp.sqrt(b_safe) * xp.sqrt(phi(s_safe / b_safe))
    return where(valid, z, without_background(s, b))


def asimov_with_uncertainty(signal: Any, background: Any, background_uncertainty: Any) -> Any:
    """Median discovery significance where the background is known to b +- sigma_b.

        Z_A^2 = 2 [ (s + b) ln( (s + b)(b + sigma_b^2) / (b^2 + (s + b) sigma_b^2) )
                    - b^2/sigma_b^2 ln(1 + sigma_b^2 s / (b (b + sigma_b^2))) ]                (4)

    is the profile likelihood ratio with b constrained by a control count of mean b^2 / sigma_b^2 (G. Cowan,
    "Discovery sensitivity for a counting experiment with background uncertainty", 2012). The code follows the identity

        Z_A = s / sqrt(b + sigma_b^2) sqrt(d / (1 + c x) phi(e) + c psi(c x)),                 (5)
        x = s/b,  c = sigma_b^2 / (b + sigma_b^2),  d = b / (b + sigma_b^2),  e = d x / (1 + c x),

    whose two terms are positive and which is equation 3 at sigma_b = 0.

    Args:
        signal: expected signal yield s > -b, any shape, in events.
        background: expected background yield b >= 0, in events.
        background_uncertainty: absolute standard deviation sigma_b >= 0 of b, in events.

    Returns:
        Z_A, with the sign of s. Where b = 0: as `asimov` if sigma_b = 0; 0 if sigma_b > 0, the limit of equation 4
        (a background without constraint). Where sigma_b^2 is infinite: 0, the limit. Where b < 0, sigma_b < 0 or
        s <= -b otherwise: NaN.

    Example:
        >>> round(float(asimov_with_uncertainty(10.0, 25.0, 5.0)), 6)
        1.294013
    """
    s, b, sigma = floating_arrays(signal, background, background_uncertainty)
    return where(sigma >= 0, asimov_with_variance(s, b, squared(sigma)), np.nan)


def squared(sigma: Any) -> Any:
    """sigma^2, infinite where it overflows, without a warning and with a finite gradient."""
    fits = ~(abs(sigma) > namespace(sigma).finfo(sigma.dtype).max ** 0.5)
    return where(fits, where(fits, sigma, 0.0) ** 2, np.inf)


def simple_with_variance(s: Any, b: Any, v: Any) -> Any:
    """Equation 1a; v = sigma_b^2."""
    valid = (b >= 0) & (b + v > 0)
    z = s / namespace(b).sqrt(where(valid, b + v, 1.0))
    return where(valid, z, without_background(s, b))


def simple_slopes(s: Any, b: Any, v: Any, variance_slope: Any) -> tuple[Any, Any]:
    """Derivatives of equation 1a along d sigma_b^2 / db."""
    root = namespace(b).sqrt(b + v)
    return 1 / root, -s / (b + v) / (2 * root) * (1 + variance_slope)


def asimov_with_variance(s: Any, b: Any, v: Any) -> Any:
    """Equation 5; v = sigma_b^2."""
    valid = in_domain(s, b)
    # Equation 5 with an infinite variance would be inf / inf.
    useless = valid & (v == np.inf)
    s_safe, b_safe, v_safe = where(valid, s, 0.0), where(valid, b, 1.0), where(valid & ~useless, v, 0.0)
    z = s_safe / namespace(b).sqrt(b_safe + v_safe) * namespace(b).sqrt(_shape_with_variance(s_safe, b_safe, v_safe))
    unknown = (b == 0) & (s >= 0) & (v > 0)
    known = where(v == 0, without_background(s, b), np.nan)
    return where(useless, 0.0, where(valid, z, where(unknown, 0.0, known)))


def asimov_slopes(s: Any, b: Any) -> tuple[Any, Any]:
    """Derivatives of equation 3: Z dZ/ds = ln(1 + x), Z dZ/db = ln(1 + x) - x."""
    xp = namespace(b)
    x = s / b
    root = xp.sqrt(b * phi(x))
    return _log1p_ratio(x) / root, -x * psi(x) / (2 * root)


def _shape_with_variance(s: Any, b: Any, v: Any) -> Any:
    """The sum under the second root of equation 5; v = sigma_b^2."""
    x, c, d = s / b, v / (b + v), b / (b + v)
    e = d * x / (1 + c * x)
    return d / (1 + c * x) * phi(e) + c * psi(c * x)


def slopes_with_variance(s: Any, b: Any, v: Any, variance_slope: Any) -> tuple[Any, Any]:
    """Derivatives of equation 5 along d sigma_b^2 / db.

    Z dZ/ds = ln(1 + e) and
    Z dZ/db = -x^2/2 d/(1 + cx) { d psi(e) / (1 + cx) - 2c [1 - phi(cx)] + d [2 - phi(cx)] d sigma_b^2/db },
    from p(x) = p(cx) + p(e) + c x e for p(x) = x - ln(1 + x) and (1 + x) psi(x) = 2 - phi(x).
    """
    xp = namespace(b)
    x, c, d = s / b, v / (b + v), b / (b + v)
    e = d * x / (1 + c * x)
    root = (1 + c * x) * xp.sqrt((b + v) * _shape_with_variance(s, b, v))
    curvature = phi(c * x)
    braces = d / (1 + c * x) * psi(e) - 2 * c * (1 - curvature) + d * (2 - curvature) * variance_slope
    return _log1p_ratio(e) / root, -x * braces / (2 * root)


def phi(x: Any) -> Any:
    """Equation A for x > -1: a series in u = x / (2 + x) near 0, (1 - u)[1 + u (1 + u) A(u^2)]."""
    xp = namespace(x)
    near = abs(x) < _SERIES_LIMIT
    u, rest = _inverse_tanh_series(where(near, x, 0.0))
    far = where(near, 1.0, x)
    # Divided by x twice: x^2 would overflow in float32.
    return where(near, (1 - u) * (1 + u * (1 + u) * rest), 2 * ((1 + far) / far * xp.log1p(far) - 1) / far)


def psi(x: Any) -> Any:
    """Equation B for x > -1: a series in u = x / (2 + x) near 0, (1 - u)[1 - u (1 - u) A(u^2)]."""
    xp = namespace(x)
    near = abs(x) < _SERIES_LIMIT
    u, rest = _inverse_tanh_series(where(near, x, 0.0))
    far = where(near, 1.0, x)
    return where(near, (1 - u) * (1 - u * (1 - u) * rest), 2 * (1 - xp.log1p(far) / far) / far)


def _inverse_tanh_series(x: Any) -> tuple[Any, Any]:
    """The pair u = x / (2 + x), A(u^2) = 1/3 + u^2/5 + u^4/7 + ..., from ln(1 + x) = 2 artanh(u) = 2u + 2u^3 A(u^2)."""
    u = x / (2 + x)
    square = u * u
    series = 0.0 * square + 1 / (2 * _SERIES_TERMS + 1)
    for order in range(_SERIES_TERMS - 2, -1, -1):
        series = series * square + 1 / (2 * order + 3)
    return u, series


def _log1p_ratio(x: Any) -> Any:
    """ln(1 + x) / x, and 1 at x = 0."""
    nonzero = x != 0
    safe = where(nonzero, x, 1.0)
    return where(nonzero, namespace(x).log1p(safe) / safe, 1.0)


def in_domain(s: Any, b: Any) -> Any:
    """Where equation 2 is defined."""
    return (b > 0) & (s > -b)


def without_background(s: Any, b: Any) -> Any:
    """Limits at b = 0: infinite with the sign of s, 0 at s = 0; NaN everywhere else."""
    limit = where(s > 0, np.inf, where(s < 0, -np.inf, where(s == 0, 0.0 * s, np.nan)))
    return where(b == 0, limit, np.nan)
