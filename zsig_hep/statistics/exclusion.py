"""Expected exclusion of a counting experiment: CLs and upper limits on the signal strength if there is no signal.

The signal strength mu multiplies the expected signal. Each of the independent bins has a count Pois(n | mu s + B), and
a control count Pois(m | tau B) with tau = b / sigma_b^2 that constrains its background B to b +- sigma_b. The median
outcome without signal is the Asimov data set n = b, m = tau b, for which -2 ln of the profile likelihood ratio is

    q(mu) = sum over bins 2 b [p(y + u) + tau p(u)],   p(x) = x - ln(1 + x),   y = mu s / b,       (1)
    u = -2 c y / [1 + y + sqrt((1 + y)^2 - 4 c y)],    c = sigma_b^2 / (b + sigma_b^2),            (2)

where b (1 + u) is the best-fit background at mu. With (1 - c) / c = tau and psi of `zsig_hep.statistics.significance`

    q(mu) = sum over bins b [(y + u)^2 psi(y + u) + c (1 - c) w^2 psi(u)],   u = -c w,             (3)

in which no terms cancel, and which holds at sigma_b = 0. G. Cowan, K. Cranmer, E. Gross and O. Vitells, Eur. Phys. J. C
71 (2011) 1554, arXiv:1007.1727, section 3.6 and equations 88 and 89. q_mu and q_mu-tilde are equal for this data set.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from zsig_hep.errors import InputError
from zsig_hep.statistics.significance import psi

Floats = npt.NDArray[np.float64]

BAND_SIGMAS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Background fluctuations at which the bands are given, in standard deviations; the middle one is the median."""


@dataclass(frozen=True)
class ExpectedExclusion:
    """What an experiment is expected to exclude if there is no signal, in the asymptotic approximation.

    Attributes:
        confidence_level: of the upper limits.
        significance: sqrt(q(1)), by which the median outcome disfavours mu = 1, in standard deviations.
        cls: CLs at mu = 1 for background fluctuations of -2, -1, 0, 1 and 2 standard deviations, ascending; mu = 1 is
            expected to be excluded if the middle one is below 1 - confidence_level.
        limits: upper limits on mu for the same fluctuations, ascending; infinite if no signal is expected.
    """

    confidence_level: float
    significance: float
    cls: tuple[float, ...]
    limits: tuple[float, ...]

    @property
    def median_cls(self) -> float:
        """CLs at mu = 1 of the median outcome."""
        return self.cls[len(BAND_SIGMAS) // 2]

    @property
    def median_limit(self) -> float:
        """Upper limit on mu of the median outcome."""
        return self.limits[len(BAND_SIGMAS) // 2]


def expected_exclusion(
    signal: Any, background: Any, background_uncertainty: Any = 0.0, *, confidence_level: float = 0.95
) -> ExpectedExclusion:
    """Expected CLs at mu = 1 and upper limits on mu, with the bands of one and two standard deviations.

        CLs(mu; N) = Phi(N - sqrt q(mu)) / Phi(N),                                             (4)
        mu(N): sqrt q(mu) = N + Phi^-1(1 - (1 - CL) Phi(N))                                    (5)

    for an outcome N standard deviations above the background. Equation 5 is equation 89 of the paper with the width of
    mu-hat at the limit itself, as in pyhf.

    Args:
        signal: expected signal yield s >= 0 at mu = 1, of one bin or of each, shape [bins], in events.
        background: expected background yield b >= 0 of each bin, in events.
        background_uncertainty: absolute standard deviation sigma_b >= 0 of each b, independent between bins.
        confidence_level: of the limits, in (0, 1).

    Returns:
        CLs, limits and their bands. In the asymptotic approximation limits are too low for fewer than about five
        background events.

    Raises:
        InputError: a yield is negative or not finite, shapes differ, or the confidence level is not in (0, 1).

    Example:
        >>> found = expected_exclusion(20.0, 50.0, 7.0)
        >>> round(found.median_cls, 4), [round(limit, 3) for limit in found.limits]
        (0.0468, [0.525, 0.707, 0.985, 1.383, 1.88])
    """
    if not 0 < confidence_level < 1:
        message = f"The confidence level must be between 0 and 1; found {confidence_level}."
        raise InputError(message)
    s, b, sigma = _checked_bins(signal, background, background_uncertainty)
    root = math.sqrt(asimov_statistic(1.0, s, b, sigma))
    return ExpectedExclusion(
        confidence_level=confidence_level,
        significance=root,
        cls=tuple(cls_of(root, number) for number in BAND_SIGMAS),
        limits=tuple(upper_limit(s, b, sigma, confidence_level, number) for number in BAND_SIGMAS),
    )


def asimov_statistic(strength: float, signal: Floats, background: Floats, background_uncertainty: Floats) -> float:
    """Equation 3: q(mu) of the Asimov data set without signal, summed over bins of shape [bins].

    A bin without background has q = 2 mu s, the limit of equation 3 whatever the uncertainty.
    """
    empty = background == 0
    b = np.where(empty, 1.0, background)
    y, v = strength * signal / b, np.where(empty, 0.0, background_uncertainty**2)
    c = v / (b + v)
    w = 2 * y / (1 + y + np.sqrt((1 - y) ** 2 + 4 * (1 - c) * y))
    u = -c * w
    q = b * ((y + u) ** 2 * psi(y + u) + c * (1 - c) * w**2 * psi(u))
    return float(np.where(empty, 2 * strength * signal, q).sum())


def cls_of(root: float, number: float = 0.0) -> float:
    """Equation 4 from sqrt(q) for an outcome of N standard deviations; in logarithms, since Phi underflows."""
    return math.exp(float(log_ndtr(number - root)) - float(log_ndtr(number)))


def upper_limit(s: Floats, b: Floats, sigma: Floats, confidence_level: float, number: float = 0.0) -> float:
    """Equation 5 for bins of shape [bins]; infinite without signal."""
    if not s.any():
        return math.inf
    wanted = number - float(ndtri((1 - confidence_level) * ndtr(number)))

    def excess(logarithm: float) -> float:
        return math.sqrt(asimov_statistic(math.exp(logarithm), s, b, sigma)) - wanted

    # Start from a Gaussian mu-hat; its variance includes the signal, so that it is positive in bins without background.
    low = high = math.log(wanted) - math.log(float((s**2 / np.maximum(b + sigma**2 + s, 1e-300)).sum())) / 2
    while excess(low) > 0:
        low -= 1
    # q grows with mu without bound.
    while excess(high) < 0:
        high += 1
    return math.exp(float(brentq(excess, low, high, xtol=1e-12)))


def _checked_bins(signal: Any, background: Any, background_uncertainty: Any) -> tuple[Floats, Floats, Floats]:
    given = {"signal": signal, "background": background, "background uncertainty": background_uncertainty}
    arrays = {name: np.atleast_1d(np.asarray(values, dtype=np.float64)) for name, values in given.items()}
    for name, values in arrays.items():
        unusable = ~(np.isfinite(values) & (values >= 0))
        if unusable.any():
            first = int(np.argmax(unusable))
            message = (
                f"The {name} of bin {first} is {values.flat[first]}; an exclusion needs yields that are finite and not "
                "negative. Merge bins until no sum of weights is negative."
            )
            raise InputError(message)
    shapes = {values.shape for values in arrays.values() if values.size > 1} or {(1,)}
    if len(shapes) > 1 or any(len(shape) > 1 for shape in shapes):
        message = (
            f"Signal, background and uncertainty must have one value per bin; found shapes {sorted(map(str, shapes))}."
        )
        raise InputError(message)
    s, b, sigma = np.broadcast_arrays(*arrays.values())
    return s, b, sigma
