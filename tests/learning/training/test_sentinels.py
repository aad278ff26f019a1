import numpy as np
import pytest

from zsig_hep.learning.training.sentinels import find_sentinels


@pytest.fixture
def momentum():
    return np.random.default_rng(0).exponential(50.0, 2000).astype("f4") + 20


@pytest.mark.parametrize("value", [-9999.0, -999.0, np.finfo(np.float32).max, np.finfo(np.float32).min])
def test_a_value_far_outside_that_many_events_share_is_found(momentum, value):
    momentum[:100] = value
    momentum[100:150] = np.nan
    (found,) = find_sentinels(np.stack([momentum, momentum[::-1] * 0 + 1], axis=1), ["pt", "one"])
    assert (found.feature, found.value) == ("pt", value)
    assert found.share == pytest.approx(100 / 1950)
    assert "feature 'pt': 5.13 % of the events have the value" in found.note


def test_an_angle_of_minus_99_is_found():
    eta = np.random.default_rng(0).normal(0, 1.5, 2000).astype("f4")
    eta[::50] = -99
    (found,) = find_sentinels(eta[:, None], ["eta"])
    assert "2 % of the events have the value -99, far" in found.note


def test_a_feature_of_99_per_cent_sentinels_is_found(momentum):
    momentum[:1980] = -999
    (found,) = find_sentinels(momentum[:, None], ["pt"])
    assert "99 % of the events have the value -999" in found.note


@pytest.mark.parametrize(
    "change",
    [
        lambda pt: pt[:1].fill(1e6),  # one event far outside
        lambda pt: pt[:100].fill(20.0),  # a threshold
        lambda pt: np.minimum(pt, 100, out=pt),  # an overflow
        lambda pt: pt.fill(-999),
        lambda pt: pt.fill(np.nan),
        lambda pt: np.copyto(pt, np.arange(2000) % 50 == 0),  # a flag
        lambda pt: np.copyto(pt, np.random.default_rng(1).poisson(0.1, 2000)),  # a multiplicity
    ],
    ids=["one event", "threshold", "overflow", "constant", "missing", "flag", "multiplicity"],
)
def test_measurements_are_not(momentum, change):
    change(momentum)
    assert find_sentinels(momentum[:, None], ["pt"]) == []
