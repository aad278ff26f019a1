"""The Lovasz losses: exact at every vertex, finite for every batch, precise in float32."""

import itertools

import mpmath
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.learning.losses.figures import (
    FIGURES,
    NAMES,
    PROCESS_FIGURE,
    PROCESS_K,
    K,
    at_every_vertex,
    batch,
    make_loss,
    q0,
    set_function,
    with_relative_uncertainty,
)
from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.lovasz_loss import NOT_SUBMODULAR, SUBMODULAR_FIGURES, LovaszLoss
from zsig_hep.learning.losses.z_loss import ZLoss


def test_every_figure_is_tested():
    assert set(NAMES) == set(SUBMODULAR_FIGURES)


@pytest.mark.parametrize("error", ["hinge", "cross_entropy"])
@pytest.mark.parametrize("name", NAMES)
def test_closed_form_agrees_with_differences_of_the_set_function(name, error):
    scores, is_signal, weights, process = batch(6, 12)
    y = torch.where(is_signal, 1.0, -1.0)
    errors = (1 - y * scores).clamp(min=0) if error == "hinge" else torch.log1p(torch.exp(-y * scores))
    expected, before, mispredicted = 0.0, 0.0, [False] * 12
    for index in sorted(range(12), key=lambda i: -errors[i]):
        mispredicted[index] = True
        after = set_function(name, mispredicted, process.tolist(), weights.tolist())
        expected += float(errors[index]) * (after - before)
        before = after
    value = make_loss(name, error=error)(scores, is_signal, weights, process)
    assert value.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_float32_gradients_at_many_events(name):
    n = 150_000
    scores, is_signal, weights, process = batch(0, n, torch.float32)
    scores = scores.clamp(-0.99, 0.99).requires_grad_()
    exact = scores.detach().double().requires_grad_()
    options = {"process_uncertainties": (0.0, 1e-3, 1e-3)} if name == PROCESS_FIGURE else FIGURES[name].options
    relative = {} if name in {"punzi", "ams_squared"} else {"relative_eps": 1e-5 if name.endswith("of_b") else 0.05}
    loss = LovaszLoss(name, **options, **relative)
    loss(scores, is_signal, weights, process).backward()
    loss(exact, is_signal, weights.double(), process).backward()
    # After the last signal event nothing is left to lose: there the exact gradient vanishes too.
    assert (exact.grad.abs()[scores.grad == 0] < 1e-11).all()
    assert (scores.grad == 0).float().mean() < 2e-3
    largest = exact.grad.abs().max().item()
    assert torch.allclose(scores.grad.double(), exact.grad, rtol=3e-4, atol=1e-6 * largest)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name):
    scores, is_signal, weights, process = batch(3, 10)
    loss = make_loss(name, check_weights=False)
    assert gradcheck(lambda f: loss(f, is_signal, weights, process), scores.requires_grad_())
    assert gradcheck(lambda w: loss(scores.detach(), is_signal, w, process), weights.requires_grad_())


@pytest.mark.parametrize("name", NAMES)
def test_invariances(name):
    scores, is_signal, weights, process = batch(8, 30)
    loss = make_loss(name)
    value = loss(scores, is_signal, weights, process)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    assert torch.isclose(loss(scores[order], is_signal[order], weights[order], process[order]), value)
    halves = torch.cat([weights / 2, weights / 2])
    assert torch.isclose(loss(scores.repeat(2), is_signal.repeat(2), halves, process.repeat(2)), value)
    everything = loss(torch.zeros_like(scores), is_signal, weights, process)
    assert torch.isclose(everything, torch.ones((), dtype=torch.float64))
    members = torch.stack([scores, -scores]).reshape(2, 1, 30)
    both = loss(members, is_signal, weights, process)
    assert both.shape == (2, 1)
    assert torch.isclose(both[0, 0], value)
    assert not torch.isclose(both[1, 0], value)


@pytest.mark.parametrize(
    "name", ["s_over_sqrt_b", "s_over_b", "asimov_squared", "s_squared_over_b", "s_squared_over_s_plus_b"]
)
def test_homogeneous_figures_with_a_relative_eps_do_not_see_the_luminosity(name):
    scores, is_signal, weights, _ = batch(9, 30)
    value = LovaszLoss(name)(scores, is_signal, weights)
    for luminosity in (1e-6, 1e6):
        assert torch.isclose(LovaszLoss(name)(scores, is_signal, weights * luminosity), value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("present", ["signal", "background", "neither"])
def test_one_class_batches_have_finite_values_and_gradients(name, present):
    scores, is_signal, weights, process = batch(1, 12)
    relative = {} if name in {"punzi", "ams_squared"} else {"relative_eps": 0.05}
    options = {"process_uncertainties": PROCESS_K} if name == PROCESS_FIGURE else FIGURES[name].options
    weights = weights * {"signal": is_signal, "background": ~is_signal, "neither": 0}[present]
    scores.requires_grad_()
    weights.requires_grad_()
    value = LovaszLoss(name, **options, **relative)(scores, is_signal, weights, process)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()
    assert torch.isfinite(weights.grad).all()
    if present == "signal":
        assert value > 0
        wrong = LovaszLoss(name, **options, **relative)(torch.zeros_like(scores), is_signal, weights, process)
        assert torch.isclose(wrong, torch.ones((), dtype=torch.float64))
    else:
        assert value == 0


@pytest.mark.parametrize("name", NAMES)
def test_ties_have_one_value_in_any_order(name):
    scores = torch.tensor([0.3, 0.3, -0.3, -0.3, 0.3], dtype=torch.float64)
    process = torch.tensor([0, 0, 1, 2, 1])
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    orders = torch.tensor(list(itertools.permutations(range(5))))
    values = make_loss(name)(scores[orders], process[orders] == 0, weights[orders], process[orders])
    assert len(values) == 120
    torch.testing.assert_close(values, values[:1].expand(120), rtol=1e-11, atol=0)


def test_the_first_figure_is_the_z_loss():
    scores, is_signal, weights, _ = batch(2, 50)
    for error in ("hinge", "sigmoid", "cross_entropy", "focal"):
        expected = ZLoss(0.1, error=error)(scores, is_signal, weights)
        assert torch.isclose(
            LovaszLoss("s_over_sqrt_b", relative_eps=0.1, error=error)(scores, is_signal, weights), expected
        )
    assert torch.isclose(LovaszLoss("s_over_sqrt_b")(scores, is_signal, weights), ZLoss()(scores, is_signal, weights))


def test_process_uncertainties_are_checked_with_the_yields_of_a_batch():
    scores, is_signal, weights, process = batch(0, 30, spread=100.0)
    loss = LovaszLoss(PROCESS_FIGURE, process_uncertainties=PROCESS_K)
    with pytest.raises(TrainingError, match=r"not submodular with k = 0\.3 on process 2"):
        loss(scores, is_signal, weights, process)
    with pytest.raises(TrainingError, match="needs the process of each event"):
        loss(scores, is_signal, weights)
    with pytest.raises(TrainingError, match="2 values for 3 processes"):
        LovaszLoss(PROCESS_FIGURE, process_uncertainties=(0.0, 0.1))(scores, is_signal, weights, process)


@pytest.mark.parametrize(
    ("figure", "options", "message"),
    [
        ("asimov_squred", {}, "Did you mean 'asimov_squared'"),
        ("asimov_squared", {"relative_uncertainty": 0.1}, "no option relative_uncertainty; it has: none"),
        ("asimov_squared_with_uncertainty", {}, "needs the option relative_uncertainty"),
        ("asimov_squared_with_uncertainty", {"relative_uncertainty": 0.0}, "positive relative_uncertainty, found 0"),
        ("s_over_sqrt_b_with_uncertainty", {"relative_uncertainty": -1.0}, "positive relative_uncertainty, found -1"),
        ("s_over_sqrt_b_with_uncertainty_of_b", {"relative_uncertainty": np.nan}, "positive relative_uncertainty"),
        ("punzi", {"sigmas": 0.0}, "positive sigmas, found 0"),
        ("punzi", {"relative_eps": 0.1}, "punzi has no relative_eps"),
        ("punzi", {"eps": 0.1}, "punzi has no eps"),
        ("ams_squared", {"relative_eps": 0.1}, "has no relative_eps; it has an absolute eps"),
        ("s_over_b", {"eps": 0.0}, "eps > 0, found 0"),
        ("s_over_b", {"relative_eps": -0.1}, "relative_eps > 0, found -0.1"),
        ("s_over_b", {"relative_eps": 0.1, "eps": 1.0}, "either relative_eps"),
        ("s_over_b", {"error": "hing"}, "Did you mean 'hinge'"),
        (PROCESS_FIGURE, {"process_uncertainties": (0.1, -0.1)}, "one relative uncertainty >= 0 for each process"),
        (PROCESS_FIGURE, {}, "needs the option process_uncertainties"),
    ],
)
def test_wrong_options_are_refused(figure, options, message):
    with pytest.raises(TrainingError, match=message):
        LovaszLoss(figure, **options)


def test_negative_weights_are_refused():
    scores, is_signal, weights, _ = batch(0, 5)
    weights[0] = -1.0
    with pytest.raises(TrainingError, match="negative_weights: absolute"):
        LovaszLoss("asimov_squared")(scores, is_signal, weights)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_set_function_at_every_vertex(name):
    events = batch(5, 8)
    *_, weights, process = events
    weights[4] = 0.0
    vertices, values = at_every_vertex(name, events)
    expected = [set_function(name, vertex, process.tolist(), weights.tolist()) for vertex in vertices.bool().tolist()]
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-10)


REFUSED_FORMULAS = {
    "s_over_sqrt_s_plus_b": lambda s, b: s / mpmath.sqrt(s + b + 1),
    "asimov": lambda s, b: mpmath.sqrt(q0(s, b + 1)),
    "ams": lambda s, b: mpmath.sqrt(q0(s, b + 10)),
    "asimov_with_uncertainty": lambda s, b: mpmath.sqrt(with_relative_uncertainty(s, b + 1, K)),
    "log_s_over_sqrt_b": lambda s, b: mpmath.log(s / mpmath.sqrt(b + 1)),
    "log_asimov": lambda s, b: mpmath.log(q0(s, b + 1)) / 2,
    "asimov_squared_with_constant_uncertainty": lambda s, b: with_relative_uncertainty(s, b + 1, 3 / (b + 1)),
}


@pytest.mark.parametrize("name", list(NOT_SUBMODULAR))
def test_refused_figures_have_a_counterexample_and_name_a_relative(name):
    formula = REFUSED_FORMULAS[name]
    zero, one, two, three = (mpmath.mpf(number) for number in range(4))
    if name.endswith("constant_uncertainty"):
        # Two unit backgrounds beside ten signal events: Z_A^2 grows with each.
        first, second = (formula(10 * one, step) - formula(10 * one, step + 1) for step in (zero, one))
        assert first < second < 0
    else:
        first, second = formula(three, zero) - formula(two, zero), formula(two, zero) - formula(one, zero)
        assert second > first > 0
    relative = NOT_SUBMODULAR[name][1]
    assert relative in SUBMODULAR_FIGURES
    with pytest.raises(TrainingError, match=f"not submodular.*Use {relative}, which is"):
        LovaszLoss(name)


@pytest.mark.parametrize("error", ["hinge", "sigmoid", "cross_entropy", "focal"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("event", [0, 1])
def test_a_score_that_is_not_a_number_is_a_loss_that_is_not(name, error, event):
    """The training stops for a loss that is NaN: one such score must not be hidden by a clamp, a sort or a zero weight."""
    scores, is_signal, weights, process = batch(3, 40)
    scores, weights = scores.expand(2, 40).clone(), weights.clone()
    scores[1, event] = torch.nan
    weights[event] = 0.0
    losses = make_loss(name, error=error)(scores, is_signal, weights, process)
    assert torch.isfinite(losses).tolist() == [True, False]
