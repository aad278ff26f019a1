"""Events of a toy search for rectangular cuts."""

import numpy as np

from zsig_hep.ntuples import EventTable
from zsig_hep.selection import WorkingPointSettings

ROLES = {"higgs": "signal", "dy": "background", "top": "background"}
LOOSE = WorkingPointSettings(minimum_effective_background=1, minimum_signal_efficiency=0)


def toy(seed=0, events=600, *, signed=False, levels=None, missing=0.0, folds=4):
    """Signal in the middle of x and at large y; `noise` tells nothing apart, `jets` counts."""
    rng = np.random.default_rng(seed)
    process = np.concatenate([np.arange(3), rng.integers(0, 3, size=events - 3)])
    is_signal = process == 0
    x = rng.normal(0.0, np.where(is_signal, 0.5, 2.0))
    y = rng.normal(np.where(is_signal, 1.0, np.where(process == 1, -0.5, 0.3)))
    noise = rng.normal(size=events)
    if levels:
        x, y = np.round(x * levels) / levels, np.round(y * levels) / levels
    y = np.where(rng.random(events) < missing, np.nan, y)
    weight = np.array([0.02, 1.0, 0.5])[process]
    if signed:
        weight = np.where((rng.random(events) < 0.1) & (np.arange(events) > 2), -weight, weight)
    return EventTable.from_arrays(
        {"x": x, "y": y, "noise": noise, "jets": rng.poisson(np.where(is_signal, 3.0, 1.5))},
        weight=weight,
        process=np.array(list(ROLES))[process],
        roles=ROLES,
        luminosity_ifb=1.0,
        folds=folds,
    )
