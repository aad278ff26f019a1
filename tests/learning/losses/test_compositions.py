"""Sums of losses and losses over several signal hypotheses."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.compositions import HypothesesLoss, SumLoss
from zsig_hep.learning.losses.cross_entropy import BCELoss
from zsig_hep.learning.losses.lovasz_loss import LovaszLoss
from zsig_hep.learning.losses.soft_counts import InverseAsimovLoss
from zsig_hep.learning.losses.z_loss import ZLoss


def batch(seed=0, n=24, members=()):
    """Processes 0 and 2 are signal, 1 and 3 background."""
    generator = np.random.default_rng(seed)
    process = torch.tensor(generator.permutation(np.arange(n) % 4))
    weights = torch.tensor(generator.exponential(1.0, n)) * torch.tensor([1.0, 5.0, 0.2, 2.0])[process]
    scores = torch.tensor(generator.normal(size=(*members, n)))
    return scores, process % 2 == 0, weights, process


def test_a_sum_weighs_its_losses():
    data = batch()
    value = SumLoss([(0.5, ZLoss()), (0.0, InverseAsimovLoss()), (2.0, BCELoss())])(*data)
    assert torch.isclose(value, 0.5 * ZLoss()(*data) + 2.0 * BCELoss()(*data))
    members = batch(members=(3, 2))
    assert SumLoss([(0.5, ZLoss()), (2.0, BCELoss())])(*members).shape == (3, 2)


@pytest.mark.parametrize("loss", [ZLoss(), BCELoss(), InverseAsimovLoss(), LovaszLoss("asimov_squared")])
def test_each_hypothesis_has_its_own_signal_and_all_backgrounds(loss):
    scores, is_signal, weights, process = batch(1)
    each = torch.stack(
        [loss(*(part[~is_signal | (process == index)] for part in (scores, is_signal, weights))) for index in (0, 2)]
    )
    assert not torch.isclose(each[0], each[1])
    mean = HypothesesLoss(loss, [0, 2])(scores, is_signal, weights, process)
    worst = HypothesesLoss(loss, [0, 2], combine="minimum")(scores, is_signal, weights, process)
    assert torch.isclose(mean, each.mean())
    assert torch.isclose(worst, each.max())


@pytest.mark.parametrize("per_member", [False, True])
def test_hypotheses_of_an_ensemble(per_member):
    scores, is_signal, weights, process = batch(2, members=(2, 3))
    rest = [part.expand(2, 3, 24) if per_member else part for part in (is_signal, weights, process)]
    loss = HypothesesLoss(ZLoss(), [0, 2], combine="minimum")
    value = loss(scores, *rest)
    assert value.shape == (2, 3)
    assert torch.isclose(value[1, 2], loss(scores[1, 2], is_signal, weights, process))


@pytest.mark.parametrize("combine", ["mean", "minimum"])
def test_gradients_agree_with_finite_differences(combine):
    scores, is_signal, weights, process = batch(3, 12)
    loss = HypothesesLoss(SumLoss([(1.0, ZLoss()), (0.3, BCELoss())]), [0, 2], combine=combine)
    assert gradcheck(lambda f: loss(f, is_signal, weights, process), scores.requires_grad_())


def test_worst_hypothesis_moves_only_its_own_signal():
    scores, is_signal, weights, process = batch(4)
    scores = torch.where(process == 2, -0.5, scores.clamp(-0.9, 0.9)).requires_grad_()
    HypothesesLoss(BCELoss(), [0, 2], combine="minimum")(scores, is_signal, weights, process).backward()
    assert (scores.grad[process == 0] == 0).all()
    assert (scores.grad[process == 2] < 0).all()
    assert (scores.grad[~is_signal] > 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SumLoss([]), "needs terms with coefficients >= 0"),
        (lambda: SumLoss([(-1.0, ZLoss())]), r"coefficients >= 0, found \[-1.0\]"),
        (lambda: HypothesesLoss(ZLoss(), []), "at least one signal process"),
        (lambda: HypothesesLoss(ZLoss(), [0], combine="minimums"), "Did you mean 'minimum'"),
        (lambda: HypothesesLoss(ZLoss(), [0])(*batch()[:3]), "give it `process`"),
    ],
)
def test_wrong_compositions_are_refused(make, message):
    with pytest.raises(TrainingError, match=message):
        make()
