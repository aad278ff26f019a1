import numpy as np
import pytest
import torch

from zsig_hep.learning.ratios.targets import CompositionTarget, ShapeTarget, WeightTarget
from zsig_hep.learning.ratios.transforms import LARGEST_LOG_RATIO


def minimum_of(target, weights, steps=400):
    """Outputs, the same for all events, of the smallest weighted loss."""
    outputs = torch.zeros(target.outputs, dtype=torch.float64, requires_grad=True)
    events = torch.arange(len(weights))[None]
    optimizer = torch.optim.LBFGS([outputs], max_iter=steps)

    def loss():
        optimizer.zero_grad()
        value = (target.event_losses(outputs.expand(1, len(weights), -1), events)[0] * weights).sum()
        value.backward()
        return value

    optimizer.step(loss)
    return outputs.detach().numpy()


WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)


def test_composition_is_the_share_of_the_weight():
    target = CompositionTarget(torch.tensor([0, 1, 2, 1]), 3)
    np.testing.assert_allclose(target.transform([])(minimum_of(target, WEIGHTS)), [0.1, 0.6, 0.3], atol=1e-5)


def test_ratio_of_weights_is_their_weighted_mean():
    nominal = WEIGHTS.numpy()
    varied = np.array([[1.1, 0.5], [2.6, 3.0], [2.7, -1.0], [4.0, 4.0]])
    target = WeightTarget.of_weights(varied, nominal)
    target.prepare([np.arange(4)])
    found = target.transform([])(minimum_of(target, WEIGHTS)[None, None])[0, 0]
    np.testing.assert_allclose(found, varied.sum(0) / nominal.sum(), rtol=1e-5)
    ratio = varied / nominal[:, None]
    mean = np.average(ratio, axis=0, weights=nominal)
    spread = np.sqrt(np.average((ratio - mean) ** 2, axis=0, weights=nominal))
    np.testing.assert_allclose(target.scale[0, 0].numpy(), spread, rtol=1e-6)


def test_ratio_of_shifted_events_is_that_of_their_yields():
    # Nominal events of weight 1 + 2, shifted ones of 3 and of 4.
    target = ShapeTarget(torch.tensor([0, 0, 1, 2]), 2)
    np.testing.assert_allclose(target.transform([])(minimum_of(target, WEIGHTS)), [1.0, 4 / 3], rtol=1e-5)


def test_an_event_without_nominal_weight_has_no_ratio():
    target = WeightTarget.of_weights(np.array([[5.0], [1.2]]), np.array([0.0, 1.0]))
    assert target.values[0].item() == 1.0
    assert np.isfinite(target.values.numpy()).all()


def test_a_variation_without_effect_has_a_ratio_of_one():
    target = WeightTarget.of_weights(np.array([[2.0], [3.0]]), np.array([2.0, 3.0]))
    target.prepare([np.array([0, 1]), np.array([1])])
    assert target.scale.tolist() == [[[0.0]], [[0.0]]]
    assert target.transform([])(np.ones((2, 1, 1))).tolist() == [[[1.0]], [[1.0]]]


def test_ratios_of_an_empty_nominal_background_are_limited():
    target = ShapeTarget(torch.tensor([0]), 1)
    assert target.transform([])(np.full((1, 1, 1), 1e3))[0, 0, 0] == pytest.approx(np.exp(LARGEST_LOG_RATIO))


def test_ratios_of_shifted_events_are_calibrated_with_their_yields():
    # Outputs are half of the exact logarithm of the ratio, for a background that moves and grows by a tenth.
    rng = np.random.default_rng(2)
    shift = np.repeat([0, 1], 20_000)
    x = rng.normal(0.5 * shift)
    exact = 0.5 * x - 0.125 + np.log(1.1)
    target = ShapeTarget(torch.from_numpy(shift), 1)
    transform = target.transform([(exact[:, None] / 2, np.arange(40_000), np.where(shift == 0, 1.0, 1.1))])
    inside = np.abs(x) < 2
    ratios = transform(exact[None, :, None] / 2)[0, :, 0]
    assert np.abs(np.log(ratios) - exact)[inside].max() < 0.1
    assert np.abs(exact / 2 - exact)[inside].max() > 0.4
