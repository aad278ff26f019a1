"""Every figure of merit as its paper prints it, at the precision of mpmath's context."""

import mpmath

from zsig_hep.statistics import FigureOfMerit
from zsig_hep.statistics.significance import DEFAULT_PARAMETERS

SMOOTH_FIGURES = [figure for figure in FigureOfMerit if figure.differentiable_counterpart is figure]
TAIL_FIGURES = [figure for figure in FigureOfMerit if figure.differentiable_counterpart is not figure]


def exact_root(s, b, v):
    """Root of the logarithm of the likelihood ratio, v = sigma_b^2: equations 2 and 4 of `significance`."""
    square = 2 * ((s + b) * mpmath.log(1 + s / b) - s)
    if v > 0:
        square = 2 * (
            (s + b) * mpmath.log((s + b) * (b + v) / (b**2 + (s + b) * v))
            - b**2 / v * mpmath.log(1 + v * s / (b * (b + v)))
        )
    return mpmath.sign(s) * mpmath.sqrt(square)


def log_tail(s, b, v):
    """Logarithm of the probability of s + b counts or more, by the hypergeometric series of the incomplete functions."""
    n = s + b
    if v == 0:
        return n * mpmath.log(b) - b - mpmath.loggamma(n + 1) + mpmath.log(mpmath.hyp1f1(1, n + 1, b))
    m, x = b**2 / v, v / (b + v)
    log_front = n * mpmath.log(x) + (m + 1) * mpmath.log(1 - x)
    log_front += mpmath.loggamma(n + m + 1) - mpmath.loggamma(n + 1) - mpmath.loggamma(m + 1)
    return log_front + mpmath.log(mpmath.hyp2f1(1, n + m + 1, n + 1, x))


def exact_tail(s, b, v):
    """Z = -Phi^-1(p), also for p that no floating point number holds."""
    wanted = log_tail(s, b, v)
    return mpmath.findroot(
        lambda z: mpmath.log(mpmath.erfc(z / mpmath.sqrt(2)) / 2) - wanted, exact_root(s, b, v) if s else mpmath.mpf(0)
    )


def exact_figure(figure, s, b, v, parameters=DEFAULT_PARAMETERS):
    """Z(s, b, sigma_b^2); v is ignored by figures without uncertainty."""
    s, b, v = (mpmath.mpf(each) for each in (s, b, v))
    v = v if figure.knows_background_uncertainty else mpmath.mpf(0)
    if figure in {FigureOfMerit.S_OVER_SQRT_B, FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY}:
        return s / mpmath.sqrt(b + v)
    if figure == FigureOfMerit.AMS:
        return exact_root(s, b + parameters.ams_regularisation, v)
    if figure == FigureOfMerit.PUNZI:
        return s / (mpmath.mpf(parameters.punzi_sigmas) / 2 + mpmath.sqrt(b))
    return exact_tail(s, b, v) if figure in TAIL_FIGURES else exact_root(s, b, v)
