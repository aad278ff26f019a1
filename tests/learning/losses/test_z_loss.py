import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.learning.losses.batches import random_batch
from zsig_hep.errors import TrainingError
from zsig_hep.learning import ZLoss, rescale_to_process_yields
from zsig_hep.learning.losses.margins import ERRORS, margin

GOLDEN = {
    "hinge": (3.0, 3.0, 0.0, 2.0954659),
    "sigmoid": (1.0, 1.0, 0.0, 0.6984887),
    "cross_entropy": (0.6931472, 1.1262912, 0.5786075, 1.0117511),
    "focal": (0.3465754, 0.7750951, 0.2674819, 0.6960015),
}


def delta_z(mispredicted, is_signal, weights, eps):
    """The set function of arXiv:2412.09500, summed event by event."""
    lost = sum(w for m, s, w in zip(mispredicted, is_signal, weights, strict=True) if m and s)
    accepted = sum(w for m, s, w in zip(mispredicted, is_signal, weights, strict=True) if m and not s)
    total = sum(w for s, w in zip(is_signal, weights, strict=True) if s)
    return (total / np.sqrt(eps) - (total - lost) / np.sqrt(eps + accepted)) / (total / np.sqrt(eps))


def slow_lovasz(errors, is_signal, weights, eps):
    """The Lovasz extension from differences of the set function, in the order of decreasing error."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    value, before, mispredicted = 0.0, 0.0, [False] * len(errors)
    for index in order:
        mispredicted[index] = True
        after = delta_z(mispredicted, is_signal, weights, eps)
        value += errors[index] * (after - before)
        before = after
    return value


@pytest.mark.parametrize("error", GOLDEN)
def test_golden_corner_values_of_figure_3(error):
    low, high = (-2.0, 2.0) if error == "hinge" else (0.0, 1.0)
    if error == "sigmoid":
        # The figure's axis is the probability itself, which the loss takes as a logit.
        low, high = -40.0, 40.0
    corners = itertools.product((low, high), (low, high))
    loss = ZLoss(eps=1.0, error=error)
    for (signal_output, background_output), expected in zip(corners, GOLDEN[error], strict=True):
        scores = torch.tensor([signal_output, background_output], dtype=torch.float64)
        value = loss(scores, torch.tensor([True, False]), torch.tensor([1.0, 10.0]))
        # The figure's numbers carry about six digits: its focal corner is 0.3465754, ln(2) / 2 is 0.3465736.
        assert value.item() == pytest.approx(expected, abs=3e-6)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_set_function_at_every_vertex(seed):
    _, is_signal, weights = random_batch(seed, 7)
    weights[3] = 0.0
    for vertex in itertools.product((False, True), repeat=7):
        # A hinge error of exactly 0 or 1.
        error = torch.tensor(vertex, dtype=torch.float64)
        scores = torch.where(is_signal, 1 - error, error - 1)
        value = ZLoss(eps=0.7)(scores, is_signal, weights).item()
        assert value == pytest.approx(delta_z(vertex, is_signal.tolist(), weights.tolist(), 0.7), abs=1e-12)


@pytest.mark.parametrize("error", GOLDEN)
@pytest.mark.parametrize("seed", range(3))
def test_closed_form_agrees_with_differences_of_the_set_function(seed, error):
    scores, is_signal, weights = random_batch(seed, 40)
    eps = 0.05 * weights[~is_signal].sum().item()
    errors = ERRORS[error](margin(scores, is_signal)).tolist()
    expected = slow_lovasz(errors, is_signal.tolist(), weights.tolist(), eps)
    assert ZLoss(0.05, error=error)(scores, is_signal, weights).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("error", GOLDEN)
def test_gradient_agrees_with_finite_differences(error):
    scores, is_signal, weights = random_batch(3, 12)
    assert gradcheck(lambda f: ZLoss(0.1, error=error)(f, is_signal, weights), scores.requires_grad_())


def test_gradient_in_the_weights_agrees_with_finite_differences():
    scores, is_signal, weights = random_batch(4, 10)
    assert gradcheck(lambda w: ZLoss(0.1)(scores, is_signal, w), weights.requires_grad_())


def test_float32_has_no_zero_gradients_where_differences_have_many():
    n = 150_000
    scores, is_signal, weights = random_batch(0, n, torch.float32)
    scores = scores.clamp(-0.99, 0.99).requires_grad_()
    ZLoss(0.05)(scores, is_signal, weights).backward()
    closed = scores.grad.abs()
    exact = scores.detach().double().requires_grad_()
    ZLoss(0.05)(exact, is_signal, weights.double()).backward()

    order = torch.argsort(ERRORS["hinge"](margin(scores.detach(), is_signal)), descending=True)
    w, s = weights[order], is_signal[order]
    total = weights[is_signal].sum()
    eps = 0.05 * weights[~is_signal].sum()
    values = total / eps.sqrt() - (total - torch.cumsum(w * s, 0)) / torch.sqrt(eps + torch.cumsum(w * ~s, 0))
    differences = torch.diff(values, prepend=torch.zeros(1))

    # After the last signal event nothing is left to lose: there the exact gradient vanishes too.
    assert (exact.grad.abs()[closed == 0] < 1e-12).all()
    assert (closed == 0).float().mean() < 1e-3
    assert (differences == 0).float().mean() > 0.02
    assert torch.allclose(closed.double(), exact.grad.abs(), rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 60), scale=st.floats(1e-6, 1e6))
def test_invariances(seed, n, scale):
    scores, is_signal, weights = random_batch(seed, n)
    loss = ZLoss(0.05)
    value = loss(scores, is_signal, weights)
    permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert torch.isclose(loss(scores[permutation], is_signal[permutation], weights[permutation]), value)
    assert torch.isclose(loss(scores, is_signal, weights * scale), value)
    halves = torch.cat([weights / 2, weights / 2])
    assert torch.isclose(loss(scores.repeat(2), is_signal.repeat(2), halves), value)
    assert torch.isclose(loss(torch.zeros_like(scores), is_signal, weights), torch.ones((), dtype=torch.float64))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_convex_in_the_scores(seed, share):
    first, is_signal, weights = random_batch(seed, 20)
    second, _, _ = random_batch(seed + 1, 20)
    loss = ZLoss(0.02)
    mixed = loss(share * first + (1 - share) * second, is_signal, weights)
    assert mixed <= share * loss(first, is_signal, weights) + (1 - share) * loss(second, is_signal, weights) + 1e-12


def test_leading_axes_are_independent_members():
    batches = [random_batch(seed, 30) for seed in range(6)]
    scores, is_signal, weights = (torch.stack(part).reshape(2, 3, 30) for part in zip(*batches, strict=True))
    value = ZLoss(0.05)(scores, is_signal, weights)
    expected = [ZLoss(0.05)(*batch) for batch in batches]
    assert torch.allclose(value, torch.stack(expected).reshape(2, 3))
    shared = ZLoss(0.05)(scores, is_signal[0, 0], weights[0, 0])
    assert torch.allclose(shared[1, 2], ZLoss(0.05)(scores[1, 2], is_signal[0, 0], weights[0, 0]))


@pytest.mark.parametrize("loss", [ZLoss(0.05), ZLoss(eps=1.0)])
@pytest.mark.parametrize("present", ["signal", "background", "neither"])
def test_one_class_batches_have_finite_values_and_gradients(loss, present):
    scores, is_signal, weights = random_batch(1, 10)
    weights = weights * {"signal": is_signal, "background": ~is_signal, "neither": 0}[present]
    scores.requires_grad_()
    value = loss(scores, is_signal, weights)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()
    assert (value == 0) == (present != "signal")


def test_without_background_the_loss_is_the_lost_signal_fraction():
    scores = torch.tensor([2.0, 0.0])
    assert ZLoss(0.05)(scores, torch.tensor([True, True]), torch.tensor([3.0, 1.0])).item() == pytest.approx(0.25)


def test_ties_have_one_value_in_any_order():
    scores = torch.tensor([0.3, 0.3, -0.3, -0.3, 0.3, -0.3], dtype=torch.float64)
    is_signal = torch.tensor([True, True, False, False, True, False])
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    orders = torch.tensor(list(itertools.permutations(range(6))))
    values = ZLoss(0.1)(scores[orders], is_signal[orders], weights[orders])
    assert len(values) == 720
    torch.testing.assert_close(values, values[:1].expand(720), rtol=1e-12, atol=0)


def test_the_process_is_taken_and_not_needed():
    data = random_batch(1, 10)
    assert ZLoss()(*data, torch.zeros(10, dtype=torch.long)) == ZLoss()(*data)


def test_batch_loss_sees_the_full_yield():
    scores, is_signal, weights = random_batch(5, 400)
    process = torch.where(is_signal, 0, 1)
    yields = torch.stack([weights[is_signal].sum(), weights[~is_signal].sum()])
    half = rescale_to_process_yields(weights[:200], process[:200], yields)
    full = ZLoss(eps=2.0)(scores, is_signal, weights).item()
    assert ZLoss(eps=2.0)(scores[:200], is_signal[:200], half).item() == pytest.approx(full, rel=0.1)
    assert ZLoss(eps=2.0)(scores[:200], is_signal[:200], weights[:200]).item() != pytest.approx(full, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"error": "hing"}, "Did you mean 'hinge'"),
        ({"relative_eps": 0.0}, "relative_eps > 0, found 0"),
        ({"eps": -1.0}, "eps > 0, found -1"),
        ({"relative_eps": float("nan")}, "relative_eps > 0"),
        ({"relative_eps": 0.1, "eps": 1.0}, "either relative_eps"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(TrainingError, match=message):
        ZLoss(**arguments)


def test_negative_and_missing_weights_are_refused_with_the_way_out():
    scores, is_signal, weights = random_batch(0, 5)
    weights[0] = -1.0
    with pytest.raises(TrainingError, match="negative_weights: absolute"):
        ZLoss(0.05)(scores, is_signal, weights)
    weights[0] = torch.nan
    with pytest.raises(TrainingError, match="NaN or infinite"):
        ZLoss(0.05)(scores, is_signal, weights)


@pytest.mark.parametrize("error", ["hinge", "sigmoid", "cross_entropy", "focal"])
@pytest.mark.parametrize("event", [0, 1])
def test_a_score_that_is_not_a_number_is_a_loss_that_is_not(error, event):
    """The training stops for a loss that is NaN: one such score must not be hidden by a clamp, a sort or a zero weight."""
    scores, is_signal, weights = random_batch(0, 40)
    scores, weights = scores.expand(2, 40).clone(), weights.clone()
    scores[1, event] = torch.nan
    weights[event] = 0.0
    losses = ZLoss(error=error)(scores, is_signal, weights)
    assert torch.isfinite(losses).tolist() == [True, False]
