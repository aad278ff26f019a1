"""Small Gaussian samples whose best separation is known to be easy."""

import numpy as np

from zsig_hep.ntuples import EventTable


def gaussian_events(n=600, seed=0, missing=False):
    """Signal at (1, 1) over two backgrounds, as arrays."""
    generator = np.random.default_rng(seed)
    centres = {"higgs": (1.0, 1.0), "dy": (0.0, 0.0), "top": (-1.0, 1.0)}
    features = np.concatenate([generator.normal(centre, 1.0, (n, 2)) for centre in centres.values()])
    if missing:
        features[::7, 1] = np.nan
    process = np.repeat(list(centres), n)
    weight = np.repeat([50 / n, 1000 / n, 300 / n], n) * generator.exponential(1.0, 3 * n)
    return {"x": features[:, 0], "y": features[:, 1]}, weight, process


def make_table(n=600, seed=0, missing=False, negative=False):
    features, weight, process = gaussian_events(n, seed, missing)
    if negative:
        weight = np.where((process == "dy") & (np.arange(3 * n) % 6 == 0), -weight, weight)
    roles = {"higgs": "signal", "dy": "background", "top": "background"}
    return EventTable.from_arrays(features, weight=weight, process=process, roles=roles, luminosity_ifb=140.0)
