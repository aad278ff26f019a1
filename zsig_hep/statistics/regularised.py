"""Figures of merit that are finite without background, so that a scan does not choose the cut that leaves one event.

Both take NumPy arrays, torch tensors (with gradients) or numbers, which broadcast.
"""

from typing import Any

import numpy as np

from zsig_hep.statistics.arrays import floating_arrays, namespace, where
from zsig_hep.statistics.significance import asimov


def ams(signal: Any, background: Any, regularisation: float = 10.0) -> Any:
    """Approximate median significance of the HiggsML challenge.

        AMS = sqrt(2 [(s + b + b_r) ln(1 + s/(b + b_r)) - s]) = Z_A(s, b + b_r)                 (1)

    with Z_A of `zsig_hep.statistics.asimov` (C. Adam-Bourdarios et al., "The Higgs boson machine learning challenge",
    PMLR 42 (2015) 19, where b_r = 10). The constant b_r prevents cuts that leave few background events; it is not
    an uncertainty, and AMS is the significance of an experiment only if b_r = 0.

    Args:
        signal: expected signal yield s > -b - b_r, any shape, in events.
        background: expected background yield b >= 0, in events.
        regularisation: b_r >= 0, in events.

    Returns:
        AMS, with the sign of s. Where b < 0: NaN. Otherwise `asimov` of b + b_r.

    Example:
        >>> round(float(ams(10.0, 15.0)), 6), round(float(ams(10.0, 0.0)), 6)
        (1.884955, 2.779548)
    """
    s, b, constant = floating_arrays(signal, background, regularisation)
    return where(b >= 0, asimov(s, b + constant), np.nan)


def punzi(signal: Any, background: Any, sigmas: float = 3.0) -> Any:
    """Punzi's figure of merit for a search whose signal has an unknown cross section.

        F = s / (a/2 + sqrt(b))                                                                (2)

    G. Punzi, physics/0308063, has the signal efficiency in place of s. Here s is the signal yield for the cross section
    of the simulation, which differs by a constant factor and leads to the same cut. The smallest cross section for
    which a discovery at a standard deviations is expected, with an equal confidence level for the exclusion, is
    proportional to 1/F. F is not a significance.

    Args:
        signal: expected signal yield s, any shape and sign, in events.
        background: expected background yield b >= 0, in events.
        sigmas: significance a >= 0 that a discovery needs, in standard deviations.

    Returns:
        F, with the sign of s. Where b < 0: NaN. Where b = a = 0: as `zsig_hep.statistics.s_over_sqrt_b`.

    Example:
        >>> float(punzi(13.0, 25.0)), float(punzi(3.0, 0.0))
        (2.0, 2.0)
    """
    s, b, a = floating_arrays(signal, background, sigmas)
    xp = namespace(b)
    positive = b > 0
    # The root at 0 has an infinite gradient, which `where` would turn into NaN.
    root = where(positive, xp.sqrt(where(positive, b, 1.0)), 0.0)
    denominator = a / 2 + root
    finite = denominator > 0
    empty = where(s > 0, np.inf, where(s < 0, -np.inf, 0.0 * s))
    return where(b >= 0, where(finite, s / where(finite, denominator, 1.0), empty), np.nan)


def punzi_slopes(signal: Any, background: Any, sigmas: float) -> tuple[Any, Any]:
    """Derivatives of equation 2 in s and in b, for b > 0."""
    root = namespace(background).sqrt(background)
    denominator = sigmas / 2 + root
    return 1 / (denominator + 0 * signal), -signal / (2 * root * denominator * denominator)
