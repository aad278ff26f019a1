import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, roc_curve, scan_thresholds


def roc_of(score, weight, process):
    events = ScoredEvents.from_arrays(
        score, weight, process, names=("hmumu", "dy", "top"), roles=("signal", "background", "background")
    )
    return roc_curve(scan_thresholds(events, WorkingPointSettings()))


def pairs(score, weight, process):
    """The rank statistic P(score_s > score_b) + P(score_s = score_b)/2 over all weighted pairs."""
    signal = process == 0
    above = np.sign(score[signal][:, None] - score[~signal][None, :]) / 2 + 0.5
    product = weight[signal][:, None] * weight[~signal][None, :]
    return (above * product).sum() / product.sum()


def toy(seed, *, signed=False):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size=300)
    score = np.round(rng.normal(1.0 * (process == 0)), 1)
    weight = rng.exponential(np.array([0.1, 3.0, 1.0])[process])
    return score, np.where(rng.random(300) < 0.1 * signed, -weight, weight), process


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_areas_are_rank_statistics_over_pairs(seed, signed):
    score, weight, process = toy(seed, signed=signed)
    found = roc_of(score, weight, process)
    assert found.area == pytest.approx(pairs(score, weight, process), rel=1e-9)
    of_entries = np.where(process == 0, weight, 1.0)
    assert found.entry_area == pytest.approx(pairs(score, of_entries, process), rel=1e-9)


def test_the_curve_runs_from_nothing_to_everything():
    found = roc_of(*toy(2))
    for efficiency in (found.signal_efficiency, found.background_efficiency, found.background_entry_efficiency):
        assert (efficiency[0], efficiency[-1]) == (0.0, 1.0)
        assert (np.diff(efficiency) >= 0).all()


@pytest.mark.parametrize(("scores", "area"), [([0.9, 0.1], 1.0), ([0.1, 0.9], 0.0), ([0.5, 0.5], 0.5)])
def test_perfect_reversed_and_blind(scores, area):
    found = roc_of(np.array(scores), np.array([2.0, 5.0]), np.array([0, 1]))
    assert found.area == area
    assert found.entry_area == area


def test_cross_sections_weigh_the_background_but_not_its_entries():
    # The heavy background is rejected, the light one is not.
    found = roc_of(np.array([0.5, 0.1, 0.9]), np.array([1.0, 9.0, 1.0]), np.array([0, 1, 2]))
    assert found.area == pytest.approx(0.9)
    assert found.entry_area == pytest.approx(0.5)
