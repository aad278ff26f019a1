"""Toys whose densities are known, as smooth yields at the points of a quadrature."""

import numpy as np

from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable


def plane(low, high, points):
    """Midpoints [G, 2] of equal cells, and the area of one."""
    step = (high - low) / points
    axis = low + step * (np.arange(points) + 0.5)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2), step**2


def gaussian(x, centre):
    return np.exp(-((x - np.asarray(centre)) ** 2).sum(-1) / 2) / (2 * np.pi)


def quadrature(signal, backgrounds, totals, names, area, variations=None, processes=None):
    """Smooth yields from densities at points, shape [G] each; `variations` are densities of the varied background."""
    totals = np.asarray(totals, dtype=float)
    parts = totals[1:, None] * np.asarray(backgrounds)
    background = parts.sum(0) / totals[1:].sum()
    ratios = LikelihoodRatios.from_arrays(
        np.log(signal / background),
        (parts / parts.sum(0)).T,
        {name: varied / background for name, varied in (variations or {}).items()},
        backgrounds=names[1:],
    )
    processes = processes or ProcessTable.of(names, ["signal"] + ["background"] * (len(names) - 1))
    return SmoothYields.of_mixture(ratios, (signal + background) / 2 * area, totals, processes)


def overlap(luminosity_ifb, background_fb, points=400):
    """The overlap toy of `analyses.toys`."""
    x, area = plane(-4.5, 9.0, points)
    totals = luminosity_ifb * np.array([1.0, background_fb, background_fb])
    centres = [(3.0, 3.0), (1.5, 3.0), (3.0, 1.5)]
    signal, *backgrounds = (gaussian(x, centre) for centre in centres)
    return quadrature(signal, backgrounds, totals, ["signal", "known", "uncertain"], area)


OVERLAP_FIGURE = Objective(
    FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, background_uncertainties={"known": 0.02, "uncertain": 0.3}
)


def moved_background(y, delta, s, b, points=601):
    """One background, moved by `delta` along the first axis under a variation; see the table in the tests."""
    x, area = plane(-6.0, 9.0, points)
    signal, nominal, moved = (gaussian(x, centre) for centre in ((1.5, y), (0.0, 0.0), (delta, 0.0)))
    return quadrature(signal, [nominal], [s, b], ["signal", "background"], area, {"scale": moved})


VARIATION_FIGURE = Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY)
