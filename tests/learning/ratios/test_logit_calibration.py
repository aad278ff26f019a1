import numpy as np
import pytest

from zsig_hep.errors import TrainingError
from zsig_hep.learning.ratios.logit_calibration import LogitCalibration


def gaussian_logits(events, seed=0, bend=lambda logit: logit):
    """Events of two unit Gaussians two apart, whose exact logit is 2 x; weights without meaning."""
    rng = np.random.default_rng(seed)
    is_signal = np.arange(events) % 2 == 0
    exact = 2 * rng.normal(np.where(is_signal, 1.0, -1.0))
    return exact, bend(exact), np.where(is_signal, 0.01, 5.0), is_signal


def saturated(logit):
    return 3 * np.tanh(logit / 3)


def test_a_logit_that_saturates_is_straightened():
    exact, logit, weight, is_signal = gaussian_logits(40_000, bend=saturated)
    calibrated = LogitCalibration.fit(logit, weight, is_signal)(logit)
    inside = (exact > 0) & (exact < 4)
    assert np.abs(calibrated - exact)[inside].mean() < 0.1
    assert np.abs(logit - exact)[inside].mean() > 0.3


def test_a_calibrated_logit_stays():
    exact, logit, weight, is_signal = gaussian_logits(40_000)
    calibrated = LogitCalibration.fit(logit, weight, is_signal)(logit)
    assert np.abs(calibrated - exact)[np.abs(exact) < 4].max() < 0.3


def test_an_offset_is_removed():
    exact, logit, weight, is_signal = gaussian_logits(40_000, bend=lambda logit: logit - 1.5)
    calibrated = LogitCalibration.fit(logit, weight, is_signal)(logit)
    assert np.median(calibrated - exact) == pytest.approx(0.0, abs=0.05)


def test_few_events_change_little():
    _, logit, weight, is_signal = gaussian_logits(10, bend=saturated)
    calibration = LogitCalibration.fit(logit, weight, is_signal)
    assert np.abs(calibration.coefficients).max() < 1.0


def test_scaled_weights_of_a_class_change_nothing():
    _, logit, weight, is_signal = gaussian_logits(2000, bend=saturated)
    first = LogitCalibration.fit(logit, weight, is_signal)
    second = LogitCalibration.fit(logit, np.where(is_signal, 7.0, 1.0) * weight, is_signal)
    np.testing.assert_allclose(first.coefficients, second.coefficients, rtol=1e-8)


def test_one_class_only():
    with pytest.raises(TrainingError, match="signal and background"):
        LogitCalibration.fit(np.zeros(3), np.ones(3), np.ones(3, dtype=bool))


def test_totals_of_any_ratio():
    _, logit, weight, is_signal = gaussian_logits(4000, bend=saturated)
    calibration = LogitCalibration.fit(logit, weight, is_signal)
    x = np.linspace(-4, 4, 50)
    np.testing.assert_allclose(calibration.between(0.7)(x + 0.7), calibration(x) + 0.7, atol=1e-12)
