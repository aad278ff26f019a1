import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.learning.losses.batches import random_batch
from zsig_hep.errors import TrainingError
from zsig_hep.learning import rescale_to_process_yields
from zsig_hep.learning.losses.margins import (
    ERRORS,
    check_set_loss_options,
    class_yields,
    inverse_or_zero,
    margin,
    require_non_negative,
    require_process,
)


def error(name, score, is_signal):
    return ERRORS[name](margin(torch.tensor([score], dtype=torch.float64), torch.tensor([is_signal]))).item()


@given(st.floats(-20, 20), st.booleans())
def test_errors_are_their_formulas_of_the_probability(score, is_signal):
    p = 1 / (1 + math.exp(-score if is_signal else score))
    assert error("hinge", score, is_signal) == max(1 - (score if is_signal else -score), 0)
    assert error("sigmoid", score, is_signal) == pytest.approx(1 - p, abs=1e-15)
    assert error("cross_entropy", score, is_signal) == pytest.approx(-math.log(p), abs=1e-14)
    assert error("focal", score, is_signal) == pytest.approx(-(1 - p) * math.log(p), abs=1e-14)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_fall_with_the_margin_and_mirror_the_classes(name):
    scores = torch.linspace(-30, 30, 121, dtype=torch.float64)
    signal, background = (ERRORS[name](margin(scores, torch.full((121,), value))) for value in (True, False))
    assert (signal >= 0).all()
    assert (torch.diff(signal) <= 0).all()
    assert signal[0] > signal[-1]
    torch.testing.assert_close(background, signal.flip(0))


def test_class_yields_keep_the_axis_of_events():
    weights = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    signal, background = class_yields(weights, torch.tensor([True, False, True]))
    assert signal.tolist() == [[5.0], [40.0]]
    assert background.tolist() == [[2.0], [16.0]]


def test_an_absent_yield_has_no_inverse_and_no_gradient():
    total = torch.tensor([4.0, 0.0], requires_grad=True)
    inverse = inverse_or_zero(total)
    inverse.sum().backward()
    assert inverse.tolist() == [0.25, 0.0]
    assert total.grad.tolist() == [-1 / 16, 0.0]


def test_rescaling_gives_every_process_its_yield():
    weights = torch.rand(3, 20, dtype=torch.float64)
    process = torch.arange(20) % 4
    yields = torch.tensor([1.0, 20.0, 3.0, 0.5], dtype=torch.float64)
    rescaled = rescale_to_process_yields(weights, process, yields)
    for index in range(4):
        assert torch.allclose(rescaled[:, process == index].sum(-1), yields[index])
        ratio = rescaled[:, process == index] / weights[:, process == index]
        assert torch.allclose(ratio, ratio[:, :1])


def test_a_process_without_weight_in_the_batch_stays_without():
    weights, process = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0, 0, 1])
    assert rescale_to_process_yields(weights, process, torch.tensor([5.0, 6.0, 7.0])).tolist() == [0.0, 0.0, 6.0]


def test_negative_and_missing_weights_are_refused_with_the_way_out():
    _, _, weights = random_batch(0, 5)
    require_non_negative(weights)
    require_non_negative(torch.zeros(3))
    with pytest.raises(TrainingError, match=r"given 2 negative weights.*negative_weights: absolute"):
        require_non_negative(torch.cat([weights, torch.tensor([-1.0, -2.0])]))
    for bad in (torch.nan, torch.inf):
        with pytest.raises(TrainingError, match="NaN or infinite"):
            require_non_negative(torch.cat([weights, torch.tensor([bad])]))


def test_an_absent_process_is_asked_for():
    process = torch.tensor([0, 1])
    assert require_process(process, "The loss") is process
    with pytest.raises(TrainingError, match=r"The loss needs the process of each event.*give it `process`"):
        require_process(None, "The loss")


@pytest.mark.parametrize(
    ("error", "relative_eps", "eps", "message"),
    [
        ("hing", 0.1, None, "error measure 'hing' of the Z loss. Did you mean 'hinge'"),
        ("hinge", 0.0, None, "Z loss needs relative_eps > 0, found 0"),
        ("hinge", None, -1.0, "Z loss needs eps > 0, found -1"),
        ("hinge", math.nan, None, "relative_eps > 0, found nan"),
        ("hinge", 0.1, 1.0, "Give the Z loss either relative_eps"),
    ],
)
def test_options_outside_their_domain_are_named(error, relative_eps, eps, message):
    check_set_loss_options("Z loss", "hinge", None, None)
    with pytest.raises(TrainingError, match=message):
        check_set_loss_options("Z loss", error, relative_eps, eps)
