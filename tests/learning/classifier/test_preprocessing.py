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


def quantile(values, weights, level):
    """Smallest value up to which the weights have a share of the level, event by event."""
    return min(v for v in values if weights[values <= v].sum() >= level * weights.sum() * (1 - 1e-12))


def shares_of(weights, is_signal):
    return np.where(is_signal, weights / weights[is_signal].sum(), weights / weights[~is_signal].sum()) / 2


def test_centre_and_scale_are_quantiles_in_which_classes_count_half_each_with_their_weights(events):
    features, weights, is_signal = events
    preprocessing = fit(events)
    shares = shares_of(weights, is_signal)
    for feature in range(2):
        lower, median, upper = (quantile(features[:, feature], shares, level) for level in (0.25, 0.5, 0.75))
        assert preprocessing.centre[0, feature] == median
        assert preprocessing.scale[0, feature] == pytest.approx(upper - lower, rel=1e-6)


def test_values_far_outside_are_bounded_in_their_order(events):
    preprocessing = fit(events)
    centre, scale = preprocessing.centre[0, 0], preprocessing.scale[0, 0]
    z = np.array([0.0, 1.0, -3.0, 300.0])
    features = np.stack([centre + scale * z, np.zeros(4)], axis=1).astype(np.float32)
    found = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0, :, 0]
    expected = z / np.sqrt(1 + (z / 3) ** 2)
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    assert found[2].item() == pytest.approx(-3 / np.sqrt(2), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_numbers_are_at_the_bound_and_fit_themselves(events, dtype):
    largest = np.finfo(np.float32).max
    extreme = torch.tensor([[[largest, -largest]]], dtype=dtype)
    found = Standardisation(fit(events)).to(dtype)(extreme)
    assert found[0, 0].tolist() == pytest.approx([3, -3], rel=1e-6)
    events[0][:200, 0], events[0][200:, 0] = largest, -largest
    fitted = fit(events)
    fitted.require_usable()
    assert torch.isfinite(Standardisation(fitted).to(dtype)(torch.from_numpy(events[0])[None].to(dtype))).all()


def test_a_linear_model_is_not_bounded(events):
    features, weights, is_signal = events
    preprocessing = fit_preprocessing(
        features, weights, is_signal, [np.arange(400)], ("pt", "eta"), {}, is_bounded=False
    )
    found = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0].numpy()
    assert found == pytest.approx((features - preprocessing.centre[0]) / preprocessing.scale[0], abs=1e-5)
    assert np.abs(found).max() > 1.8


def test_only_training_events_of_the_member_are_used(events):
    first, second = np.arange(0, 400, 2), np.arange(1, 400, 2)
    before = fit(events, members=[first, second])
    events[0][second] += 100
    after = fit(events, members=[first, second])
    assert np.array_equal(before.centre[0], after.centre[0])
    assert not np.array_equal(before.centre[1], after.centre[1])


@pytest.mark.parametrize(("rule", "expected"), [(-7.5, -7.5), ("mean", None), ("median", None)])
def test_missing_values_follow_their_rule(events, rule, expected):
    features, weights, is_signal = events
    features[::3, 0] = np.nan
    preprocessing = fit(events, {"pt": rule})
    present = ~np.isnan(features[:, 0])
    shares = shares_of(weights, is_signal)[present]
    median = quantile(features[present, 0], shares, 0.5)
    if rule == "mean":
        expected = np.average(features[present, 0], weights=shares)
    if rule == "median":
        expected = median
    assert preprocessing.fill[0, 0] == pytest.approx(expected, rel=1e-5)
    assert preprocessing.centre[0, 0] == median
    assert np.isnan(preprocessing.fill[0, 1])
    assert preprocessing.indicated == ()
    standardised = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0]
    z = (preprocessing.fill[0, 0] - preprocessing.centre[0, 0]) / preprocessing.scale[0, 0]
    assert torch.allclose(standardised[::3, 0], torch.tensor(z / np.sqrt(1 + z**2 / 9)), atol=1e-5)
    assert torch.isfinite(standardised).all()


def test_without_a_rule_missing_values_are_the_median_and_their_absence_is_an_input(events):
    features = events[0]
    features[::3, 1] = np.nan
    preprocessing = fit(events)
    assert preprocessing.indicated == ("eta",)
    assert np.isnan(preprocessing.fill[0, 0])
    found = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0]
    assert found.shape == (400, 3)
    assert found[:, 2].tolist() == np.isnan(features[:, 1]).tolist()
    assert (found[::3, 1] == 0).all()


def test_constant_features_are_only_shifted(events):
    events[0][:, 1] = 5.0
    preprocessing = fit(events)
    assert (preprocessing.centre[0, 1], preprocessing.scale[0, 1]) == (5, 1)


def test_a_feature_with_two_values_keeps_both(events):
    features, weights, is_signal = events
    features[:, 1] = np.arange(400) % 10 == 0
    preprocessing = fit(events)
    shares = shares_of(weights, is_signal)
    share = shares[features[:, 1] == 1].sum()
    assert preprocessing.scale[0, 1] == pytest.approx(np.sqrt(share * (1 - share)), rel=1e-5)
    found = Standardisation(preprocessing)(torch.from_numpy(features)[None])[0, :, 1]
    assert len(found.unique()) == 2


def test_a_feature_that_the_training_always_had_may_not_be_missing(events):
    preprocessing = fit(events)
    events[0][3, 1] = np.nan
    with pytest.raises(TrainingError, match=r"Missing values \(NaN\) in 'eta', of which no event of the training"):
        preprocessing.require_known_missing(events[0])


def test_infinite_values_are_refused_by_name(events):
    events[0][3, 1] = np.inf
    with pytest.raises(TrainingError, match="Infinite values in 'eta'"):
        fit(events)


def test_a_rule_for_an_unknown_feature_is_refused(events):
    with pytest.raises(TrainingError, match="Did you mean 'eta'"):
        fit(events, {"etaa": "mean"})


@pytest.mark.parametrize(("rules", "name"), [({"pt": "mean"}, "mean"), ({}, "median")])
def test_a_feature_that_is_always_missing_has_no_mean(events, rules, name):
    events[0][:, 0] = np.nan
    with pytest.raises(TrainingError, match=f"has no {name}; give a number"):
        fit(events, rules)


def test_a_number_stands_for_a_feature_that_is_always_missing(events):
    events[0][:, 0] = np.nan
    preprocessing = fit(events, {"pt": 20.0})
    assert (Standardisation(preprocessing)(torch.from_numpy(events[0])[None])[0, :, 0] == 0).all()


def test_only_results_of_a_fit_are_usable(events):
    events[0][::7, 1] = np.nan
    fitted = fit(events, None, [np.arange(200), np.arange(200, 400)])
    fitted.require_usable()
    with pytest.raises(ValueError, match="indicated has a feature without a value in fill"):
        replace(fitted, indicated=("pt",)).require_usable()
    changed = {"fill": (0, 1, np.nan), "centre": (1, 0, np.inf), "scale": (1, 1, 0.0)}
    for name, (member, feature, value) in changed.items():
        array = getattr(fitted, name).copy()
        array[member, feature] = value
        with pytest.raises(ValueError, match=f"^{name} "):
            replace(fitted, **{name: array}).require_usable()
