"""Scored events of four processes with features, and variations of them."""

from dataclasses import replace

import numpy as np

from zsig_hep.selection import ScoredEvents, VariedEvents

# Data stand between the others, so that a process taken by its number among the simulated ones shows.
NAMES, ROLES = ("higgs", "dy", "data", "top"), ("signal", "background", "data", "background")
COUNT = 3000

_RNG = np.random.default_rng(4)
PROCESS = _RNG.choice(list(NAMES), COUNT, p=[0.3, 0.4, 0.1, 0.2])
WEIGHT = np.where(PROCESS == "data", 1.0, _RNG.normal(1.0, 0.6, COUNT))
SCORE = _RNG.random(COUNT)
MASS = _RNG.normal(125.0, 10.0, COUNT).astype(np.float32)
ROW = np.array([NAMES.index(name) for name in PROCESS])


def make_events(*variations, mass=MASS, names=NAMES):
    """Event i is in fold i modulo 5."""
    events = ScoredEvents.from_arrays(SCORE, WEIGHT, ROW, names=names, roles=ROLES)
    features = np.stack([mass, np.zeros_like(mass)], axis=1)
    return replace(events, features=features, feature_names=("dimuon_mass", "pt"), variations=variations)


def make_varied(name, direction, touched, *, factor=1.0, shift=0.0, kind="weight"):
    """The events of the processes that are touched, with scaled weights and a shifted mass."""
    events = make_events()
    events = events.select(np.isin(PROCESS, touched))
    features = events.features.copy()
    features[:, 0] += shift
    return VariedEvents(
        name,
        kind,
        direction,
        tuple(touched),
        events.score,
        factor * events.weight,
        events.process,
        events.fold,
        features,
    )


def make_pair(name, touched, up=None, down=None):
    return make_varied(name, "up", touched, **up or {}), make_varied(name, "down", touched, **down or {})
