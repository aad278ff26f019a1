"""Submodular figures of merit with background uncertainties, and where they stop being submodular."""

import mpmath
import pytest
import torch

from tests.learning.losses.figures import (
    PROCESS_FIGURE,
    UNCERTAIN,
    assert_condition_of_the_proof,
    assert_precise_gains,
    assert_submodular,
    batch,
)
from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.lovasz_loss import LovaszLoss

OF_ALL_BACKGROUND = [name for name in UNCERTAIN if name != PROCESS_FIGURE]


@pytest.mark.parametrize("name", UNCERTAIN)
def test_set_function_is_submodular(name):
    assert_submodular(name)


@pytest.mark.parametrize("name", OF_ALL_BACKGROUND)
def test_condition_of_the_proof_holds(name):
    assert_condition_of_the_proof(name)


@pytest.mark.parametrize("name", OF_ALL_BACKGROUND)
def test_gains_keep_their_precision_in_float32(name):
    assert_precise_gains(name)


def test_equal_uncertainties_of_one_process_are_the_uncertainty_of_b():
    scores, is_signal, weights, _ = batch(2, 20)
    process = (~is_signal).long()
    one = LovaszLoss("s_over_sqrt_b_with_uncertainty_of_b", eps=0.5, relative_uncertainty=0.4)
    each = LovaszLoss(PROCESS_FIGURE, eps=0.5, process_uncertainties=(0.0, 0.4))
    assert torch.isclose(one(scores, is_signal, weights), each(scores, is_signal, weights, process))


def test_uncertainty_of_b_is_refused_beyond_its_condition():
    scores, is_signal, weights, _ = batch(0, 10)
    name = "s_over_sqrt_b_with_uncertainty_of_b"
    LovaszLoss(name, eps=0.75 / 0.2501, relative_uncertainty=0.5)(scores, is_signal, weights)
    with pytest.raises(
        TrainingError, match=r"k\^2 eps = 0.7525 may be 0.75 at most, that is eps <= 3.*covers b \+ eps"
    ):
        LovaszLoss(name, eps=3.01, relative_uncertainty=0.5)(scores, is_signal, weights)


@pytest.mark.parametrize(("others", "submodular"), [(2.95, True), (3.05, False)])
def test_condition_on_process_uncertainties_is_sharp(others, submodular):
    """k^2 (eps + other backgrounds) just below and just above 3/4, probed with small weights at b_p = 0."""
    k, eps, w = 0.5, 0.0 + 1e-9, mpmath.mpf("1e-4")
    values = [1 / mpmath.sqrt(eps + others + b + (k * b) ** 2) for b in (0 * w, w, 2 * w)]
    assert (values[0] - values[1] >= values[1] - values[2]) == submodular
    loss = LovaszLoss(PROCESS_FIGURE, eps=eps, process_uncertainties=(0.0, 0.0, k))
    arguments = torch.tensor([1.0, others, 1e-3]), torch.tensor([True, False, False])
    if submodular:
        loss.require_submodular(*arguments)
    else:
        with pytest.raises(TrainingError, match=r"k = 0.5 on process 2.*effective_weights.*soft_significance"):
            loss.require_submodular(*arguments)
