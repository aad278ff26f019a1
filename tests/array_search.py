"""A small search whose events are arrays."""

import numpy as np

from zsig_hep import EventTable

TRAINING = {
    "seeds": 1,
    "hidden": [8],
    "device": "cpu",
    "warm_start": {"epochs": 2, "batch_size": 256},
    "main": {"epochs": 2, "batch_size": 256},
}


def make_table(events=600, luminosity_ifb=140.0):
    rng = np.random.default_rng(0)
    signal = np.arange(2 * events) < events
    return EventTable.from_arrays(
        {"x": rng.normal(signal * 1.5), "y": rng.normal(size=2 * events)},
        weight=np.where(signal, 0.05, 1.0),
        process=np.where(signal, "higgs", "dy"),
        roles={"higgs": "signal", "dy": "background"},
        labels={"higgs": "H(125)"},
        luminosity_ifb=luminosity_ifb,
        folds=3,
    )
