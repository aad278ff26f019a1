import numpy as np
import pytest

from zsig_hep.learning.classifier.calibration import LEVELS, signal_quantiles, signal_share_below


def test_weights_count_and_not_events():
    outputs = np.repeat([0.0, 1.0], [900, 100])
    weights = np.where(outputs == 0, 1.0, 9.0)
    quantiles = signal_quantiles(outputs, weights)
    assert quantiles[80] == 0
    assert quantiles[120] == 1


def test_the_map_inverts_the_quantiles():
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=5000)
    quantiles = signal_quantiles(outputs, generator.exponential(1.0, 5000))
    assert np.all(np.diff(quantiles) > 0)
    assert signal_share_below(quantiles[None], quantiles[None])[0] == pytest.approx(LEVELS, abs=1e-6)


def test_the_map_never_reverses_an_order_and_ends_at_the_extremes():
    generator = np.random.default_rng(1)
    quantiles = np.stack([signal_quantiles(generator.normal(size=200), np.ones(200)) for _ in range(2)])
    outputs = np.sort(generator.normal(0, 3, (2, 500)).astype(np.float32), axis=1)
    shares = signal_share_below(outputs, quantiles)
    assert np.all(np.diff(shares, axis=1) >= 0)
    assert shares.min() == 0
    assert shares.max() == 1


def test_splitting_an_event_in_two_moves_no_share_by_more_than_its_weight():
    generator = np.random.default_rng(2)
    outputs, weights = generator.normal(size=50), generator.exponential(1.0, 50)
    whole = signal_quantiles(outputs, weights)
    halves = signal_quantiles(np.repeat(outputs, 2), np.repeat(weights / 2, 2))
    shares = [signal_share_below(outputs[None].astype(np.float32), each[None])[0] for each in (whole, halves)]
    assert np.all(np.abs(shares[0] - shares[1]) <= weights / weights.sum() / 2 + 0.01)
