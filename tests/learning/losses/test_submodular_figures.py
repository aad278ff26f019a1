"""Figures of merit of the Lovasz loss: submodular, with gains precise in float32."""

import pytest
import torch

from tests.learning.losses.figures import (
    FIGURES,
    UNCERTAIN,
    assert_condition_of_the_proof,
    assert_precise_gains,
    assert_submodular,
)
from zsig_hep.learning.losses.lovasz_loss import LovaszLoss

NAMES = [name for name in FIGURES if name not in UNCERTAIN]


@pytest.mark.parametrize("name", NAMES)
def test_set_function_is_submodular(name):
    assert_submodular(name)


@pytest.mark.parametrize("name", NAMES)
def test_condition_of_the_proof_holds(name):
    assert_condition_of_the_proof(name)


@pytest.mark.parametrize("name", NAMES)
def test_gains_keep_their_precision_in_float32(name):
    assert_precise_gains(name)


@pytest.mark.parametrize(
    ("figure", "one_lost"),
    [("s_over_sqrt_b", 0.5), ("asimov_squared", 0.7019), ("s_squared_over_s_plus_b", 1 - 1 / 2 / (4 / 3))],
)
def test_losing_one_of_two_unit_signals_costs_half_or_more(figure, one_lost):
    """With eps = 1; more than half leaves less for the second, as a submodular figure has to."""
    scores, is_signal = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([True, True])
    value = LovaszLoss(figure, eps=1.0)(scores, is_signal, torch.ones(2, dtype=torch.float64))
    assert value.item() == pytest.approx(one_lost, abs=5e-5)
