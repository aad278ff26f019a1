import numpy as np
import pytest

from zsig_hep.selection import ScoredEvents
from zsig_hep.selection.thresholds import bootstrap
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances
from zsig_hep.statistics import FigureOfMerit, Objective

# Data stand between the others, so that a process taken by its old number shows.
NAMES, ROLES = ("higgs", "data", "dy", "top"), ("signal", "data", "background", "background")
UNCERTAIN = Objective(
    FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY,
    background_uncertainties={"top": 0.3},
    relative_background_uncertainty=0.1,
    simulation_uncertainty_in_figure=True,
)


def toy(size=400, seed=3):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=size)
    weight = np.array([0.05, 1.0, 0.5, 0.2])[process] * rng.choice([1.0, -0.3], p=[0.9, 0.1], size=size)
    score = rng.normal(np.array([1.0, 0.0, -0.5, 0.2])[process])
    return ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES)


def by_loop(events, selected, counts, common=0.1):
    """s / sqrt(b + sigma_b^2) with every event counted so many times, one event after the other."""
    sums = {name: [0.0, 0.0] for name in NAMES}
    for weight, process, chosen, count in zip(events.weight, events.process, selected, counts, strict=True):
        for _ in range(int(count) if chosen else 0):
            sums[NAMES[process]][0] += weight
            sums[NAMES[process]][1] += weight**2
    s, b, top = sums["higgs"][0], sums["dy"][0] + sums["top"][0], sums["top"][0]
    variance = sums["dy"][1] + sums["top"][1] + (0.3 * top) ** 2 + (common * b) ** 2
    return s / np.sqrt(b + variance)


class Counts:
    """Says beforehand how often each event that any selection accepts is counted, in the order of the events."""

    def __init__(self, counts):
        self.rows = list(counts)

    def poisson(self, mean, shape):
        assert mean == 1.0
        drawn = np.array([self.rows.pop(0) for _ in range(shape[0])])
        assert drawn.shape == shape
        return drawn


@pytest.mark.parametrize("replicas_in_a_block", [100, 2])
@pytest.mark.parametrize("common", [None, 0.4])
def test_every_replica_is_that_of_a_loop_over_events(monkeypatch, replicas_in_a_block, common):
    events = toy()
    selections = np.stack([events.score > 0.5, events.score > 1.0])
    used = selections.any(axis=0) & (events.process != 1)
    monkeypatch.setattr(bootstrap, "_BLOCK_BYTES", replicas_in_a_block * 8 * used.sum())
    counts = np.random.default_rng(5).integers(0, 4, (7, used.sum()))
    nominal, drawn = bootstrap_significances(
        selections, events, UNCERTAIN, generator=Counts(counts), replicas=7, common_uncertainty=common
    )
    assert (nominal.shape, drawn.shape) == ((2,), (2, 7))
    k = 0.1 if common is None else common
    for row, selected in enumerate(selections):
        assert nominal[row] == pytest.approx(by_loop(events, selected, np.ones(len(events)), k), rel=1e-12)
        for replica, of_used in enumerate(counts):
            every = np.zeros(len(events))
            every[used] = of_used
            assert drawn[row, replica] == pytest.approx(by_loop(events, selected, every, k), rel=1e-12)


def test_counts_are_poisson_of_mean_one():
    # Three signal events and one of background: every pair of counts has a known probability.
    events = ScoredEvents.from_arrays(np.zeros(4), np.ones(4), [0, 0, 0, 2], names=NAMES, roles=ROLES)
    _, drawn = bootstrap_significances(
        np.ones((1, 4), dtype=bool), events, Objective(FigureOfMerit.S_OVER_SQRT_B),
        generator=np.random.default_rng(0), replicas=20_000,
    )  # fmt: skip
    n, m = np.arange(40)[:, None], np.arange(30)
    factorial = np.cumprod([1.0, *range(1, 40)])
    chance = np.exp(-4) * 3.0**n / factorial[n] / factorial[m]
    # s / sqrt(b) is 0 by convention where nothing is drawn at all.
    finite = (m > 0) | (n == 0)
    z = n / np.sqrt(np.maximum(m, 1))
    mean, square = ((chance * each)[finite].sum() / chance[finite].sum() for each in (z, z**2))
    assert np.isfinite(drawn).mean() == pytest.approx(chance[finite].sum(), abs=0.01)
    assert np.nanmean(drawn) == pytest.approx(mean, rel=0.02)
    assert np.nanstd(drawn) == pytest.approx(np.sqrt(square - mean**2), rel=0.02)


def test_the_same_generator_gives_the_same_replicas():
    events = toy()
    first, second = (
        bootstrap_significances(
            (events.score > 0)[None], events, UNCERTAIN, generator=np.random.default_rng(1), replicas=5
        )[1]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert len(set(first[0].tolist())) == 5
