from dataclasses import replace

import numpy as np
import pytest
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.classifier.preprocessing import Standardisation, fit_preprocessing


@pytest.fixture
def events():
    generator = np.random.default_rng(0)
    features = generator.normal((3.0, -1.0), (2.0, 0.5), (400, 2)).astype(np.float32)
    weights = generator.exponential(1.0, 400)
    is_signal = np.arange(400) < 100
    return features, weights, is_signal


def fit(events, missing=None, members=None):
    features, weights, is_signal = events
    members = members or [np.arange(400)]
    return fit_preprocessing(features, weights, is_signal, members, ("pt", "eta"), missing or {})


def test_classes_count_half_each_with_their_weights(events):
    features, weights, is_signal = events
    preprocessing = fit(events)
    means = [np.average(features[mask, 0], weights=weights[mask]) for mask in (is_signal, ~is_signal)]
    assert preprocessing.mean[0, 0] == pytest.approx(np.mean(means), rel=1e-5)
    standardised = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0].numpy()
    share = np.where(is_signal, weights / weights[is_signal].sum(), weights / weights[~is_signal].sum()) / 2
    assert share @ standardised == pytest.approx(0, abs=1e-5)
    assert share @ standardised**2 == pytest.approx(1, rel=1e-4)


def test_only_training_events_of_the_member_are_used(events):
    first, second = np.arange(0, 400, 2), np.arange(1, 400, 2)
    before = fit(events, members=[first, second])
    events[0][second] += 100
    after = fit(events, members=[first, second])
    assert np.array_equal(before.mean[0], after.mean[0])
    assert not np.array_equal(before.mean[1], after.mean[1])


@pytest.mark.parametrize(("rule", "expected"), [(-7.5, -7.5), ("mean", None), ("median", None)])
def test_missing_values_follow_their_rule(events, rule, expected):
    features, weights, is_signal = events
    features[::3, 0] = np.nan
    preprocessing = fit(events, {"pt": rule})
    present = ~np.isnan(features[:, 0])
    share = np.where(is_signal, weights / weights[is_signal].sum(), weights / weights[~is_signal].sum())
    if rule == "mean":
        expected = np.average(features[present, 0], weights=share[present])
    if rule == "median":
        order = np.argsort(features[present, 0])
        cumulative = np.cumsum(share[present][order])
        expected = features[present, 0][order][np.searchsorted(cumulative, cumulative[-1] / 2)]
    assert preprocessing.fill[0, 0] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(preprocessing.fill[0, 1])
    standardised = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0]
    filled = (preprocessing.fill[0, 0] - preprocessing.mean[0, 0]) / preprocessing.scale[0, 0]
    assert torch.allclose(standardised[::3, 0], torch.tensor(filled), atol=1e-5)
    assert torch.isfinite(standardised).all()


def test_a_constant_feature_is_only_shifted(events):
    events[0][:, 1] = 5.0
    preprocessing = fit(events)
    assert preprocessing.scale[0, 1] == 1
    assert preprocessing.mean[0, 1] == 5


def test_nan_without_a_rule_is_refused_by_name(events):
    events[0][3, 1] = np.nan
    with pytest.raises(TrainingError, match=r"Missing values \(NaN\) in 'eta'"):
        fit(events)


def test_infinite_values_are_refused_by_name(events):
    events[0][3, 1] = np.inf
    with pytest.raises(TrainingError, match="Infinite values in 'eta'"):
        fit(events)


def test_a_rule_for_an_unknown_feature_is_refused(events):
    with pytest.raises(TrainingError, match="Did you mean 'eta'"):
        fit(events, {"etaa": "mean"})


def test_a_feature_that_is_always_missing_has_no_mean(events):
    events[0][:, 0] = np.nan
    with pytest.raises(TrainingError, match="has no mean; give a number"):
        fit(events, {"pt": "mean"})


def test_only_results_of_a_fit_are_usable(events):
    events[0][::7, 1] = np.nan
    fitted = fit(events, {"eta": "mean"}, [np.arange(200), np.arange(200, 400)])
    fitted.require_usable()
    changed = {"fill": (0, 1, np.nan), "mean": (1, 0, np.inf), "scale": (1, 1, 0.0)}
    for name, (member, feature, value) in changed.items():
        array = getattr(fitted, name).copy()
        array[member, feature] = value
        with pytest.raises(ValueError, match=f"^{name} "):
            replace(fitted, **{name: array}).require_usable()
