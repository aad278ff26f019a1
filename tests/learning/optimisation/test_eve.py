import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.learning.optimisation.steps import parameters, run
from zsig_hep.errors import TrainingError
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.optimisation.eve import Eve, relative_change, tracked_change
from zsig_hep.learning.optimisation.optimizers import step_with_loss
from zsig_hep.learning.tensor_files import read_tensors, write_tensors

STEPS = 40
SHAPES = ((2, 3), (3,))


def eve_in_numpy(start, gradients, losses, *, version, f_star=0.0, alpha=1e-3, decay=0.0):
    """The algorithm line by line, arXiv:1611.01505v3 algorithm 1, and v1 with its two branches in the right places."""
    b1, b2, b3, c, eps, k, K = 0.9, 0.999, 0.999, 10.0, 1e-8, 0.1, 10.0
    theta = [array.copy() for array in start]
    m, v = [np.zeros_like(array) for array in start], [np.zeros_like(array) for array in start]
    feedback, floors = [], 0
    d = before = hat = math.nan
    for t, (gradient, f) in enumerate(zip(gradients, losses, strict=True), start=1):
        if t == 1:
            d, hat = 1.0, f
        elif version == 3:
            change = abs(f - before) / (min(f, before) - f_star)
            floors += change < 1 / c
            d = b3 * d + (1 - b3) * min(max(change, 1 / c), c)
        else:
            low, high = (1 + k, 1 + K) if f >= hat else (1 / (1 + K), 1 / (1 + k))
            new = hat * min(max(f / hat, low), high)
            r = abs(new - hat) / min(new, hat)
            floors += math.isclose(r, k)
            d, hat = b3 * d + (1 - b3) * r, new
        before = f
        feedback.append(d)
        for i, g in enumerate(gradient):
            penalised = g + decay * theta[i]
            m[i] = b1 * m[i] + (1 - b1) * penalised
            v[i] = b2 * v[i] + (1 - b2) * penalised**2
            m_hat, v_hat = m[i] / (1 - b1**t), v[i] / (1 - b2**t)
            theta[i] = theta[i] - alpha / d * m_hat / (np.sqrt(v_hat) + eps)
    return theta, np.array(feedback), floors / (len(losses) - 1)


def random_run(seed=0, shapes=SHAPES, losses_shape=()):
    """A start, and gradients and losses that rise, fall, rest and jump."""
    generator = np.random.default_rng(seed)
    start = [generator.normal(size=shape) for shape in shapes]
    gradients = [[generator.normal(size=shape) for shape in shapes] for _ in range(STEPS)]
    losses = np.exp(np.cumsum(generator.normal(0, 0.5, (STEPS, *losses_shape)), axis=0))
    losses[7], losses[9], losses[20] = losses[6], 40 * losses[8], losses[19] / 40
    return start, gradients, losses


@pytest.mark.parametrize("version", [3, 1])
@pytest.mark.parametrize(("f_star", "decay"), [(0.0, 0.0), (-0.7, 0.0), (0.0, 0.3)])
def test_equals_the_algorithm_written_out_in_numpy(version, f_star, decay):
    start, gradients, losses = random_run()
    theta = parameters(start)
    eve = Eve(theta, lr=0.01, f_star=f_star, version=version, weight_decay=decay)
    feedback = run(eve, theta, gradients, losses)
    expected = eve_in_numpy(start, gradients, losses, version=version, f_star=f_star, alpha=0.01, decay=decay)
    for parameter, array in zip(theta, expected[0], strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), array, rtol=1e-12)
    np.testing.assert_allclose(np.array(feedback), expected[1], rtol=1e-13)
    assert eve.floor_fraction.item() == pytest.approx(expected[2], abs=1e-12)
    assert 0 < eve.floor_fraction < 1


def test_first_feedbacks_by_hand():
    theta = [nn.Parameter(torch.zeros(1, dtype=torch.float64))]
    losses = [2.0, 1.5, 1.51, 50.0]
    # |1.5 - 2| / (1.5 - 1) = 1; |.01| / .5 = .02 -> 1/10; 48.49 / .51 -> 10.
    feedback = run(Eve(theta, f_star=1.0), theta, [[np.ones(1)]] * 4, losses)
    expected = [1.0, 1.0, 0.999 + 1e-4, (0.999 + 1e-4) * 0.999 + 0.01]
    assert [each.item() for each in feedback] == pytest.approx(expected, abs=1e-14)


def test_version_one_follows_the_loss_with_limited_speed():
    change, tracked, floor = tracked_change(torch.tensor([3.0, 0.5, 1.01, 0.99, 50.0]), torch.ones(5), 0.1, 10.0)
    torch.testing.assert_close(change, torch.tensor([2.0, 1.0, 0.1, 0.1, 10.0]))
    torch.testing.assert_close(tracked, torch.tensor([3.0, 0.5, 1.1, 1 / 1.1, 11.0]))
    assert floor.tolist() == [False, False, True, True, False]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1.0, 30.0))
@settings(max_examples=50, deadline=None)
def test_relative_change_stays_in_its_limits_and_does_not_know_the_direction(f, before, c):
    one, two = torch.tensor(f, dtype=torch.float64), torch.tensor(before, dtype=torch.float64)
    change, floor = relative_change(one, two, 0.0, c)
    assert 1 / c <= change.item() <= c
    assert relative_change(two, one, 0.0, c)[0] == change
    assert not floor or change.item() == 1 / c
    scaled = relative_change(7 * one, 7 * two, 0.0, c)[0]
    torch.testing.assert_close(scaled, change)


def test_a_loss_at_rest_at_its_bound_asks_for_adams_step():
    zero = torch.zeros(2)
    torch.testing.assert_close(relative_change(zero, torch.tensor([0.0, 1.0]), 0.0, 10.0)[0], torch.tensor([1.0, 10.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_is_adam_bit_by_bit_while_the_feedback_is_one(dtype, decay):
    start, gradients, losses = random_run()
    theta, reference = parameters(start, dtype), parameters(start, dtype)
    run(Eve(theta, lr=0.01, f_star=0.0, c=1.0, weight_decay=decay), theta, gradients, losses)
    run(torch.optim.Adam(reference, lr=0.01, weight_decay=decay), reference, gradients, losses)
    for one, other in zip(theta, reference, strict=True):
        assert torch.equal(one, other)


def test_parameter_groups_and_missing_gradients_are_handled_as_by_adam():
    start, gradients, _ = random_run()
    results = []
    for make in (torch.optim.Adam, lambda groups: Eve(groups, f_star=0.0, c=1.0)):
        theta = parameters(start)
        optimizer = make([{"params": [theta[0]], "lr": 0.1}, {"params": [theta[1]], "lr": 0.01, "weight_decay": 0.2}])
        for number, gradient in enumerate(gradients):
            theta[0].grad = torch.tensor(gradient[0]) if number % 3 else None
            theta[1].grad = torch.tensor(gradient[1])
            step_with_loss(optimizer, torch.tensor(1.0))
        results.append(theta)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_a_bound_far_below_the_minimum_is_adam_with_c_times_the_step():
    start, gradients, losses = random_run()
    losses = 5 + 0.1 * np.tanh(losses)
    theta, reference = parameters(start), parameters(start)
    eve = Eve(theta, lr=0.001, f_star=-1000.0, c=8.0, betas=(0.9, 0.999, 0.0))
    run(eve, theta, gradients[:1], losses[:1])
    adam = torch.optim.Adam(reference, lr=0.001)
    run(adam, reference, gradients[:1], losses[:1])
    adam.param_groups[0]["lr"] = 0.008
    run(eve, theta, gradients[1:], losses[1:])
    run(adam, reference, gradients[1:], losses[1:])
    assert eve.feedback.item() == pytest.approx(1 / 8, rel=1e-14)
    assert eve.floor_fraction == 1
    for one, other in zip(theta, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("version", [3, 1])
def test_members_of_an_ensemble_go_the_way_they_would_go_alone(version):
    members, x = 3, torch.randn(3, 20, 2, generator=torch.Generator().manual_seed(1))
    y = torch.randn(3, 20, generator=torch.Generator().manual_seed(2))

    def train(network, x, y):
        eve = Eve(network.parameters(), lr=0.02, f_star=0.0, c=1e4, version=version)
        for _ in range(STEPS):
            eve.zero_grad()
            losses = (network(x) - y).square().mean(-1) + 1e-3
            losses.sum().backward()
            eve.step(loss=losses)
        return eve

    together = StackedMLP(2, [4], member_seeds=range(members))
    eve = train(together, x, y)
    assert eve.feedback.shape == eve.floor_fraction.shape == (members,)
    assert len(set(eve.feedback.tolist())) == members
    for member in range(members):
        alone = StackedMLP(2, [4], member_seeds=[member])
        single = train(alone, x[member : member + 1], y[member : member + 1])
        torch.testing.assert_close(single.feedback[0], eve.feedback[member])
        for one, all_of_them in zip(alone.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(one[0], all_of_them[member])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("version", [3, 1])
@pytest.mark.parametrize("members", [None, 4])
def test_a_stored_run_goes_on_bit_by_bit_from_its_tensors(tmp_path, dtype, version, members):
    shapes = SHAPES if members is None else tuple((members, *shape) for shape in SHAPES)
    start, gradients, losses = random_run(3, shapes, () if members is None else (members,))
    half = STEPS // 2
    theta = parameters(start, dtype)
    through = Eve(theta, f_star=0.0, version=version)
    run(through, theta, gradients, losses)

    stopped = parameters(start, dtype)
    first = Eve(stopped, f_star=0.0, version=version)
    run(first, stopped, gradients[:half], losses[:half])
    stored = first.state_dict()["state"]
    tensors = {f"{index}.{name}": value for index, state in stored.items() for name, value in state.items()}
    write_tensors(tmp_path / "state.safetensors", tensors, {})
    read, _ = read_tensors(tmp_path / "state.safetensors")

    resumed = [nn.Parameter(parameter.detach().clone()) for parameter in stopped]
    second = Eve(resumed, f_star=0.0, version=version)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in read.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    second.load_state_dict(second.state_dict() | {"state": state})
    run(second, resumed, gradients[half:], losses[half:])

    for one, other in zip(theta, resumed, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(through.feedback, second.feedback)
    assert torch.equal(through.floor_fraction, second.floor_fraction)
    for index, values in through.state_dict()["state"].items():
        for name, value in values.items():
            assert torch.equal(value, second.state_dict()["state"][index][name]), name


def test_a_copy_goes_on_like_the_original():
    start, gradients, losses = random_run()
    theta = parameters(start)
    eve = Eve(theta, lr=0.01, f_star=-1.0)
    run(eve, theta, gradients[:10], losses[:10])
    other_theta, other = copy.deepcopy((theta, eve))
    run(eve, theta, gradients[10:], losses[10:])
    run(other, other_theta, gradients[10:], losses[10:])
    for one, copied in zip(theta, other_theta, strict=True):
        assert torch.equal(one, copied)


def test_closure_and_loss_are_the_same():
    results = []
    for with_closure in (True, False):
        theta = nn.Parameter(torch.tensor([3.0, -2.0]))
        eve = Eve([theta], lr=0.1, f_star=0.0)

        def closure(theta=theta, eve=eve):
            eve.zero_grad()
            loss = theta.square().sum()
            loss.backward()
            return loss

        for _ in range(30):
            value = eve.step(closure) if with_closure else eve.step(loss=closure())
        assert value.requires_grad
        results.append((theta.detach(), eve.feedback, value.item()))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]
    assert results[0][2] < 1


def test_before_the_first_step():
    eve = Eve([nn.Parameter(torch.zeros(2))], f_star=0.0)
    assert eve.feedback == 1
    assert eve.floor_fraction == 0
    eve.step(loss=1.0)
    assert eve.floor_fraction == 0


def small_eve(**options):
    theta = nn.Parameter(torch.ones(2, 3))
    theta.grad = torch.ones(2, 3)
    return theta, Eve([theta], **({"f_star": 0.0} | options))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (-0.25, r"a loss of -0\.25, below its bound f_star = 0\. Set f_star to a number that no batch can fall below"),
        (math.nan, r"not finite, nan\. Lower the learning rate"),
        (math.inf, r"not finite, inf\. Lower"),
        (torch.tensor([1.0, -2.0]), r"a loss of -2 \(member 1\), below its bound"),
        (torch.tensor([math.nan, 1.0]), r"not finite, nan \(member 0\)"),
        (torch.ones(3), r"losses of 3 members, but parameter 0 has shape \(2, 3\)"),
        (torch.ones(1, 2), r"shape \(\) or \(M,\).* it has \(1, 2\)"),
    ],
)
def test_a_bad_loss_is_refused_and_nothing_has_moved(loss, message):
    theta, eve = small_eve()
    with pytest.raises(TrainingError, match=message):
        eve.step(loss=loss)
    assert torch.equal(theta.detach(), torch.ones(2, 3))
    assert "step" not in eve.state[theta]


def test_a_loss_below_zero_is_refused_by_version_one():
    _, eve = small_eve(version=1, f_star=None)
    with pytest.raises(TrainingError, match=r"Version 1 of Eve needs a loss >= 0, found -1\. Use version 3"):
        eve.step(loss=-1.0)


def test_the_shape_of_the_loss_stays():
    _, eve = small_eve()
    eve.step(loss=torch.ones(2))
    with pytest.raises(TrainingError, match=r"it has \(\) and had \(2,\) before"):
        eve.step(loss=1.0)


def test_exactly_one_of_closure_and_loss():
    _, eve = small_eve()
    with pytest.raises(TrainingError, match="either a closure that returns it or `loss=`"):
        eve.step()
    with pytest.raises(TrainingError, match="either a closure"):
        eve.step(lambda: torch.tensor(1.0), loss=1.0)


@pytest.mark.parametrize(("bad", "message"), [(-1.0, "a loss of -1 "), (math.nan, "nan"), (math.inf, "not finite")])
def test_a_deferred_check_finds_what_was_below_the_bound_in_between(bad, message):
    theta, eve = small_eve(check_every=5)
    for loss in ([1.0, 1.0], [1.0, bad], [1.0, 2.0], [1.0, 2.0]):
        eve.step(loss=torch.tensor(loss))
    if bad == -1.0:
        assert torch.isfinite(theta).all()
    with pytest.raises(TrainingError, match=message):
        _ = eve.feedback
    for _ in range(4):
        eve.step(loss=torch.ones(2))
    with pytest.raises(TrainingError, match="member 1"):
        eve.step(loss=torch.ones(2))


def test_a_deferred_check_sees_the_first_loss():
    _, eve = small_eve(check_every=3)
    eve.step(loss=math.inf)
    eve.step(loss=1.0)
    with pytest.raises(TrainingError, match="not finite"):
        eve.floor_fraction.item()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"f_star": None}, "f_star, a lower bound of the loss"),
        ({"f_star": -math.inf}, "a finite f_star, found -inf"),
        ({"version": 2}, "version 1 or 3, found 2"),
        ({"lr": -1.0}, "lr >= 0"),
        ({"betas": (0.9, 1.0, 0.9)}, r"betas in \[0, 1\)"),
        ({"c": 0.5}, "c >= 1, found 0.5"),
        ({"change_limits": (2.0, 1.0)}, "0 < k <= K"),
        ({"eps": -1.0}, "eps >= 0"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
        ({"check_every": 0}, "check_every > 0"),
    ],
)
def test_numbers_outside_their_domain(options, message):
    with pytest.raises(TrainingError, match=message):
        small_eve(**options)


def test_half_precision_is_refused():
    with pytest.raises(TrainingError, match=r"float32 or float64, found torch\.bfloat16"):
        Eve([nn.Parameter(torch.ones(2, dtype=torch.bfloat16))], f_star=0.0)
