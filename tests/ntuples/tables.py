"""A small event table from arrays."""

import numpy as np

from zsig_hep.ntuples import EventTable

ROLES = {"higgs": "signal", "dy": "background"}


def make(features=None, events=40, **changes):
    rng = np.random.default_rng(1)
    features = {"pt": rng.exponential(30, events), "n": rng.integers(0, 4, events)} if features is None else features
    arguments = {
        "weight": rng.normal(1.0, 0.5, events),
        "process": np.where(np.arange(events) % 3 == 0, "higgs", "dy"),
        "roles": ROLES,
        "luminosity_ifb": 140.0,
    }
    return EventTable.from_arrays(features, **(arguments | changes))
