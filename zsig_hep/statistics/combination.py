"""Significance of several bins or channels together."""

from zsig_hep.statistics.arrays import floating_arrays, namespace, where
from zsig_hep.statistics.significance import Significance


def combine_independent(significances: Significance, axis: int = 0) -> Significance:
    """Quadrature sum, with sign, of the significances of independent bins.

        Q = sum_i Z_i |Z_i|,    Z = sign(Q) sqrt|Q|,    sigma_Z^2 = sum_i (Z_i sigma_i / Z)^2       (1)

    For Z_i >= 0 of `zsig_hep.statistics.asimov` this is exact: likelihoods of independent bins multiply, and Z^2 is the
    logarithm of a likelihood ratio (arXiv:1007.1727, eq. 97). It is also exact if each bin has an independent
    background uncertainty. It is not exact for an uncertainty that bins share, nor for exact Poisson tails or Punzi's
    figure, whose squares are no logarithms of likelihood ratios.

    Departure from the likelihood, in which a bin with a negative expected signal adds to the significance: here such a
    bin, a fluctuation of signed weights in the simulation, is subtracted.

    Args:
        significances: Z_i with their standard deviations, independent of each other, NumPy or torch.
        axis: axis of the bins.

    Returns:
        Z and its uncertainty without that axis. The uncertainty is NaN at Z = 0, where equation 1 has no first
        derivative, unless there is only one bin. Both are NaN where any Z_i is.

    Example:
        >>> two = combine_independent(Significance([3.0, 4.0], [0.1, 0.2]))
        >>> float(two.value), round(float(two.uncertainty), 4)
        (5.0, 0.1709)
    """
    z, sigma = floating_arrays(significances.value, significances.uncertainty)
    xp = namespace(z)
    total = xp.sum(z * xp.abs(z), axis=axis)
    nonzero = total != 0
    root = xp.sqrt(xp.abs(where(nonzero, total, 1.0)))
    value = where(nonzero, xp.sign(total) * root, xp.zeros_like(total))
    spread = xp.sqrt(xp.sum((z * sigma) ** 2, axis=axis)) / root
    if z.shape[axis] == 1:
        return Significance(value, xp.sum(sigma, axis=axis))
    return Significance(value, where(nonzero, spread, float("nan")))
