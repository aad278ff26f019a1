"""Members of the family of scores that holds the optimal selection of every figure of merit.

For a figure F(s_1.., b_1.., D_1..) of the yields of the signals, of the backgrounds, and of the shifts D_v of the
background under variations, every argument is an integral of a density over the selected region. The best region is
therefore a likelihood ratio,

    sum_j p_j F_{s_j} > sum_k lambda_k p_k (-F_{b_k}) + sum_v (p_v - p_b) (-F_{D_v}),

whatever F is, and is found in the scores

    t(x; d, c, a) = logit + ln sum_j d_j g_j - ln( sum_k c_k f_k + sum_v a_v u_v )                            (1)

of the ratios of `zsig_hep.selection.ratios`. With d = c = 1 and a = 0 it is the logit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.selection.ratios import Floats, LikelihoodRatios

CERTAIN = 30.0
"""Score at which the bracket of equation 1 is zero."""


@dataclass(frozen=True)
class FamilyCoefficients:
    """The coefficients of one score of the family.

    A variation has two shifts, u = (r_up - r_down) / 2 and u' = (r_up + r_down) / 2 - 1; the second is zero if up and
    down mirror each other. The squares of their yields add up to the variance of the symmetrised variation.

    Attributes:
        backgrounds: c_k > 0 by name, with a yield-weighted mean of one.
        signals: d_j > 0 by name, with a yield-weighted mean of one.
        variations: a_v of u and of u', by name.

    Example:
        >>> ratios = LikelihoodRatios.from_arrays(
        ...     [2.0, -1.0], [[0.9, 0.1], [0.3, 0.7]], {"jes": [1.0, 1.2]}, backgrounds=["dy", "top"])
        >>> FamilyCoefficients({"dy": 1.0, "top": 1.0}).score(ratios)
        array([ 2., -1.])
        >>> FamilyCoefficients({"dy": 0.5, "top": 2.0}, variations={"jes": (3.0, 0.0)}).score(ratios).round(3)
        array([ 2.431, -1.765])
    """

    backgrounds: Mapping[str, float]
    signals: Mapping[str, float] = field(default_factory=dict)
    variations: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def bracket(self, ratios: LikelihoodRatios) -> Floats:
        """sum_k c_k f_k + sum_v a_v u_v, shape [N]; an event is accepted for sure where it is not positive.

        Raises:
            InputError: a background or a variation has no ratio.
        """
        c = np.array([self.backgrounds[_known(name, self.backgrounds)] for name in ratios.backgrounds])
        value = ratios.composition @ c
        for name, (odd, even) in self.variations.items():
            column = ratios.variation_names.index(_known(name, ratios.variation_names))
            value = value + odd * ratios.odd_shifts[:, column] + even * ratios.even_shifts[:, column]
        return np.asarray(value)

    def score(self, ratios: LikelihoodRatios) -> Floats:
        """Equation 1, shape [N], continued to brackets that are not positive; see `family_score`.

        Raises:
            InputError: a background or a variation has no ratio, or the signals have different coefficients and no
                composition.
        """
        logit = ratios.logit
        if len(set(self.signals.values())) > 1:
            if ratios.signal_composition is None:
                message = "The signals have different coefficients, but no signal composition is given."
                raise InputError(message)
            d = np.array([self.signals[_known(name, self.signals)] for name in ratios.signals])
            logit = logit + np.log(ratios.signal_composition @ d)
        return family_score(logit, self.bracket(ratios))


def family_score(logit: npt.ArrayLike, bracket: npt.ArrayLike) -> Floats:
    """Return logit - ln(bracket), continued to events that every threshold accepts.

    Where the bracket is negative, an event lowers the uncertainty by more than it adds background, and is accepted
    whatever the threshold: its score is +infinity. Among these events the order is that of bracket e^-logit, which falls
    through zero without a jump from events that are nearly sure. So that scores stay finite, they are

        t = T - asinh( bracket e^(T - logit) / 2 ),    T = 30,

    which is logit - ln(bracket) up to e^(2 (t - T)) for t < T, exactly T where the bracket is zero, and above T where it
    is negative.

    Args:
        logit: any shape.
        bracket: same shape.

    Example:
        >>> family_score([2.0, 2.0, 2.0, 3.0], [1.0, np.e, -1.0, 0.0])
        array([ 2.,  1., 58., 30.])
    """
    value = np.asarray(bracket, dtype=np.float64)
    with np.errstate(divide="ignore"):
        exponent = np.log(np.abs(value)) - np.asarray(logit, dtype=np.float64) + CERTAIN
    # asinh(e^x / 2) = x + ln((1 + sqrt(1 + 4 e^(-2 x))) / 2), which does not overflow for large x.
    small = np.minimum(exponent, 0.0)
    large = np.maximum(exponent, 0.0)
    size = np.where(
        exponent > 0,
        large + np.log1p((np.sqrt(1 + 4 * np.exp(-2 * large)) - 1) / 2),
        np.arcsinh(np.exp(small) / 2),
    )
    return np.asarray(CERTAIN - np.sign(value) * size)


def _known(name: str, names: Mapping[str, float] | tuple[str, ...]) -> str:
    if name not in names:
        message = f"There is no coefficient or ratio of '{name}'.{nearest_name(name, names)}"
        raise InputError(message)
    return name
