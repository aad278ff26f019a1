import numpy as np
import pytest
import torch
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.forests import events
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELoss, FocalLoss, LovaszLoss, ZLoss
from zsig_hep.learning.training.tree_objective import FLOOR, Objective

SIGNAL = np.array([True, False, True, False, False, True])
WEIGHTS = np.array([1.0, 4.0, 0.5, 2.0, 3.0, 2.0])
PROCESS = np.array([0, 1, 0, 2, 1, 0])
OUTPUTS = np.array([0.7, -0.4, -1.3, 1.9, 0.2, 3.1])


def objective(loss, signal=SIGNAL, weights=WEIGHTS, process=PROCESS):
    return Objective(loss, *(torch.from_numpy(each) for each in (signal, weights, process)))


LOSSES = {
    "bce": BCELoss(),
    "bce, background x 30": BCELoss(background_to_signal=30.0),
    "focal": FocalLoss(2.0),
    "z, sigmoid": ZLoss(error="sigmoid"),
    "z, hinge": ZLoss(),
    "z, cross entropy": ZLoss(error="cross_entropy"),
    "lovasz": LovaszLoss("asimov_squared", error="sigmoid"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_n_times_the_loss(name):
    made = objective(LOSSES[name])
    value, gradient, _ = made.derivatives(OUTPUTS)
    assert value == made.value(OUTPUTS)
    step = 1e-6
    for event in range(6):
        moved = step * (np.arange(6) == event)
        expected = 6 * (made.value(OUTPUTS + moved) - made.value(OUTPUTS - moved)) / (2 * step)
        assert gradient[event] == pytest.approx(expected, abs=1e-7)
    assert (np.sign(gradient[gradient != 0]) == np.where(SIGNAL, -1, 1)[gradient != 0]).all()


def test_the_cross_entropy_has_its_own_curvature():
    made = objective(BCELoss())
    _, gradient, curvature = made.derivatives(OUTPUTS)
    p = 1 / (1 + np.exp(-OUTPUTS))
    # Each class has half of the weight, and the mean weight is one.
    c = 6 * WEIGHTS / np.where(SIGNAL, 3.5, 9.0) / 2
    assert made.shares == pytest.approx(c)
    assert gradient == pytest.approx(c * (p - SIGNAL))
    assert curvature == pytest.approx(c * p * (1 - p))


def test_the_curvature_with_a_larger_background_is_the_second_derivative():
    made, step = objective(BCELoss(background_to_signal=30.0)), 1e-5
    _, _, curvature = made.derivatives(OUTPUTS)
    gradients = [made.derivatives(OUTPUTS + sign * step)[1] for sign in (1, -1)]
    assert curvature == pytest.approx((gradients[0] - gradients[1]) / (2 * step), rel=1e-6)


def test_the_curvature_of_a_z_loss_is_gain_times_e_times_1_minus_e():
    _, gradient, curvature = objective(ZLoss(0.5, error="sigmoid")).derivatives(OUTPUTS)
    e = 1 / (1 + np.exp(np.where(SIGNAL, 1, -1) * OUTPUTS))
    gain = np.zeros(6)
    eps, lost, accepted = 0.5 * 9.0, 0.0, 0.0
    for event in np.argsort(-e):
        before = (3.5 - lost) / np.sqrt(eps + accepted)
        lost, accepted = lost + WEIGHTS[event] * SIGNAL[event], accepted + WEIGHTS[event] * ~SIGNAL[event]
        gain[event] = (before - (3.5 - lost) / np.sqrt(eps + accepted)) / (3.5 / np.sqrt(eps))
    assert curvature == pytest.approx(6 * gain * e * (1 - e))
    assert gradient == pytest.approx(np.where(SIGNAL, -1, 1) * curvature)


@given(st.lists(st.floats(-8, 8), min_size=6, max_size=6), st.sampled_from(["sigmoid", "cross_entropy"]))
def test_the_curvature_bounds_that_of_the_loss_at_a_fixed_order(outputs, error):
    """Second differences of one event that is alone, whose place in the order cannot change."""
    made = objective(ZLoss(error=error), np.array([True]), np.ones(1), np.zeros(1, dtype=np.int64))
    step = 1e-3
    for output in outputs:
        second = sum(
            factor * made.value(np.array([output + shift])) for factor, shift in ((1, step), (1, -step), (-2, 0))
        )
        _, _, curvature = made.derivatives(np.array([output]))
        assert abs(second / step**2) <= curvature[0] * 1.01 + 1e-6


def test_events_without_an_error_have_the_floor():
    far = np.where(SIGNAL, 50.0, -50.0)
    _, gradient, curvature = objective(ZLoss()).derivatives(far)
    assert (gradient == 0).all()
    assert (curvature == FLOOR).all()


def test_a_loss_that_is_not_finite_is_refused():
    made = objective(ZLoss(error="sigmoid"))
    for call in (made.value, made.derivatives):
        with pytest.raises(TrainingError, match="loss of boosted trees became NaN or infinite"):
            call(np.full(6, np.nan))


def test_boosting_with_it_is_xgboosts_own_cross_entropy():
    features, is_signal = events()
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(features))
    made = objective(BCELoss(), is_signal, weights, np.zeros(len(features), dtype=np.int64))
    parameters = {"objective": "binary:logistic", "base_score": 0.5, "max_depth": 3, "eta": 0.3, "nthread": 1}
    matrix = xgboost.DMatrix(features, is_signal.astype(float), weight=made.shares)
    own = xgboost.train(parameters, matrix, 5)
    ours = xgboost.Booster(parameters, [matrix])
    outputs = np.zeros(len(features))
    for number in range(5):
        _, gradient, curvature = made.derivatives(outputs)
        ours.boost(matrix, number, grad=gradient, hess=curvature)
        outputs = ours.predict(matrix, output_margin=True)
    assert outputs == pytest.approx(own.predict(matrix, output_margin=True), abs=1e-5)
