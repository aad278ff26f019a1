"""Events of a toy search for score categories."""

import numpy as np

from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, scan_thresholds

NAMES, ROLES = ("hmumu", "dy", "top", "data"), ("signal", "background", "background", "data")
LOOSE = exact_yields(
    figure_of_merit="s_over_sqrt_b",
    minimum_effective_background=1,
    minimum_signal_efficiency=0,
    dominant_background_fraction=1,
)
# Settings in which different parts of a division matter; yields are counted, as in the loops of the tests.
OPTIONS = {
    "default": WorkingPointSettings(tail_entries=0),
    "simple": LOOSE,
    "asimov": exact_yields(minimum_effective_background=4, minimum_signal_efficiency=0.4),
    "limits of each background": exact_yields(minimum_effective_background=6, minimum_signal_efficiency=0),
    "own uncertainty": exact_yields(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={"top": 0.3},
        relative_background_uncertainty=0.1,
        simulation_uncertainty_in_figure=True,
        minimum_effective_background=2,
        dominant_background_fraction=0.5,
        tail_entries=0,
    ),
}


def events_of(score, weight, process):
    return ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES)


def scan_of(score, weight, process, options=LOOSE):
    return scan_thresholds(events_of(score, weight, process), options)


def toy(seed=0, events=300, *, levels=12, signed=True):
    """Signal, two backgrounds and data with tied scores; weights are multiples of 1/64, so that sums are exact."""
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=events)
    score = np.round(rng.normal(1.5 * (process == 0), 1.0) * levels / 6) / levels * 6
    weight = np.ceil(rng.exponential(np.array([0.1, 2.0, 0.5, 1.0])[process]) * 64) / 64
    if signed:
        weight = np.where(rng.random(events) < 0.08, -weight, weight)
    return score, weight, process
