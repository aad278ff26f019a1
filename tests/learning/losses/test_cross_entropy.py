import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from tests.learning.losses.batches import random_batch
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELoss
from zsig_hep.learning.losses.cross_entropy import FocalLoss


def test_bce_normalises_each_class():
    scores, is_signal, weights = random_batch(2, 25)
    expected = 0.0
    for f, s, w in zip(scores.tolist(), is_signal.tolist(), weights.tolist(), strict=True):
        total = weights[is_signal == s].sum().item()
        expected += 0.5 * w / total * np.log1p(np.exp(-f if s else f))
    assert BCELoss()(scores, is_signal, weights).item() == pytest.approx(expected, rel=1e-12)
    assert gradcheck(lambda f: BCELoss()(f, is_signal, weights), scores.requires_grad_())


def test_unweighted_bce_counts_events_and_leaves_out_those_without_weight():
    scores, is_signal, weights = random_batch(2, 25)
    weights[5] = 0.0
    kept = weights > 0
    expected = BCELoss()(scores[kept], is_signal[kept], torch.ones(24, dtype=torch.float64))
    assert torch.isclose(BCELoss(weighting="events")(scores, is_signal, weights), expected)
    assert not torch.isclose(BCELoss()(scores, is_signal, weights), expected)


def test_processes_count_the_same_where_asked():
    scores, is_signal, weights = random_batch(2, 30)
    process = torch.where(is_signal, 0, 1 + torch.arange(30) % 3)
    each = [BCELoss()(scores[mine], is_signal[mine], weights[mine]) for mine in (process == p for p in range(4))]
    expected = each[0] + (each[1] + each[2] + each[3]) / 3
    for count in (None, 4, 6):
        loss = BCELoss(weighting="processes", process_count=count)
        assert torch.isclose(loss(scores, is_signal, weights, process), expected)
    with pytest.raises(TrainingError, match="give it `process`"):
        BCELoss(weighting="processes")(scores, is_signal, weights)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_its_formula(gamma):
    scores, is_signal, weights = random_batch(2, 25)
    expected = 0.0
    for f, s, w in zip(scores.tolist(), is_signal.tolist(), weights.tolist(), strict=True):
        p = 1 / (1 + np.exp(-f if s else f))
        expected += 0.5 * w / weights[is_signal == s].sum().item() * (1 - p) ** gamma * -np.log(p)
    loss = FocalLoss(gamma)
    assert loss(scores, is_signal, weights).item() == pytest.approx(expected, rel=1e-12)
    assert gradcheck(lambda f: loss(f, is_signal, weights), scores.requires_grad_())
    if gamma == 0:
        assert torch.isclose(loss(scores, is_signal, weights), BCELoss()(scores, is_signal, weights))


def test_focal_loss_is_finite_far_out_in_float32():
    scores = torch.tensor([300.0, -300.0, 300.0, -300.0], requires_grad=True)
    value = FocalLoss(2.0)(scores, torch.tensor([True, True, False, False]), torch.ones(4))
    value.backward()
    assert value.item() == pytest.approx(150.0)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(-1.0), "gamma >= 0, found -1"),
        (lambda: FocalLoss(weighting="cross_sections"), "Did you mean 'cross_section'"),
        (lambda: BCELoss(weighting="event"), "Did you mean 'events'"),
        (lambda: BCELoss(background_to_signal=0.0), "background_to_signal > 0, found 0"),
        (lambda: BCELoss(background_to_signal=float("inf")), "background_to_signal > 0, found inf"),
    ],
)
def test_wrong_options_of_the_cross_entropies_are_refused(make, message):
    with pytest.raises(TrainingError, match=message):
        make()


def test_bce_is_minimised_by_the_log_likelihood_ratio():
    is_signal = torch.tensor([True, False])
    at_ratio = BCELoss()(torch.zeros(2), is_signal, torch.tensor([1.0, 50.0]))
    for shift in (-0.1, 0.1):
        assert BCELoss()(torch.full((2,), shift), is_signal, torch.tensor([1.0, 50.0])) > at_ratio


@pytest.mark.parametrize("ratio", [0.01, 1.0, 300.0])
def test_the_minimiser_is_the_same_for_every_ratio_of_the_classes(ratio):
    # Five values of x with known densities of both classes.
    signal, background = torch.tensor([[0.5, 0.3, 0.1, 0.06, 0.04], [0.1, 0.2, 0.3, 0.3, 0.1]], dtype=torch.float64)
    is_signal, weights = torch.arange(10) < 5, torch.cat([signal, 70 * background])
    loss = BCELoss(background_to_signal=ratio)
    outputs = torch.log(signal / background).requires_grad_()
    loss(outputs.repeat(2), is_signal, weights).backward()
    assert outputs.grad.abs().max() < 1e-15
    assert not torch.allclose(signal, background)
    assert loss.shares(weights, is_signal, None)[is_signal].sum() == pytest.approx(1 / (1 + ratio))
    assert loss.shares(weights, is_signal, None).sum() == pytest.approx(1)


def test_a_ratio_of_the_classes_is_a_weight_of_the_background_and_a_shift():
    scores, is_signal, weights = random_batch(2, 25)
    c = torch.where(is_signal, weights / weights[is_signal].sum(), 20 * weights / weights[~is_signal].sum()) / 21
    right = torch.where(is_signal, 1, -1) * (scores - np.log(20))
    expected = (c * torch.log1p(torch.exp(-right))).sum()
    assert torch.isclose(BCELoss(background_to_signal=20.0)(scores, is_signal, weights), expected)


@pytest.mark.parametrize("loss", [BCELoss(), BCELoss(weighting="events"), FocalLoss()])
@pytest.mark.parametrize("present", ["signal", "background", "neither"])
def test_a_class_without_weight_contributes_nothing(loss, present):
    scores, is_signal, weights = random_batch(1, 10)
    kept = {"signal": is_signal, "background": ~is_signal, "neither": torch.zeros(10, dtype=torch.bool)}[present]
    scores.requires_grad_()
    value = loss(scores, is_signal, weights * kept)
    value.backward()
    assert torch.isclose(value, loss(scores[kept], is_signal[kept], weights[kept]))
    assert torch.isfinite(scores.grad).all()
    assert torch.equal(scores.grad != 0, kept)


@pytest.mark.parametrize("loss", [BCELoss(), FocalLoss()])
def test_the_process_is_taken_and_not_needed(loss):
    data = random_batch(1, 10)
    assert loss(*data, torch.zeros(10, dtype=torch.long)) == loss(*data)


@pytest.mark.parametrize("loss", [BCELoss(), BCELoss(weighting="processes"), FocalLoss(1.5)])
def test_order_scale_and_split_weights_do_not_matter(loss):
    scores, is_signal, weights = random_batch(3, 20)
    process = (~is_signal).long()
    value = loss(scores, is_signal, weights, process)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert torch.isclose(loss(scores[order], is_signal[order], weights[order], process[order]), value)
    assert torch.isclose(loss(scores, is_signal, 1e4 * weights, process), value)
    halves = loss(scores.repeat(2), is_signal.repeat(2), weights.repeat(2) / 2, process.repeat(2))
    assert torch.isclose(halves, value)
    members = loss(torch.stack([scores, -scores]), is_signal, weights, process)
    assert torch.isclose(members[0], value)
    assert not torch.isclose(members[1], value)
