import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.statistics import Yield, effective_entries, weighted_yield

weights = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), max_size=50)


def test_a_signed_sum_worked_by_hand():
    found = weighted_yield([3.0, -1.0, 2.0])
    assert found == Yield(value=4.0, variance=14.0, entries=3)
    assert found.uncertainty == pytest.approx(math.sqrt(14.0), rel=1e-15)
    assert found.effective_entries == pytest.approx(16.0 / 14.0, rel=1e-15)


def test_equal_weights_are_worth_their_number():
    assert weighted_yield(np.full(37, 0.125)).effective_entries == 37.0


def test_no_event_has_no_effective_entry():
    empty = weighted_yield([])
    assert empty == Yield(0.0, 0.0, 0)
    assert empty.effective_entries == 0.0
    assert empty.uncertainty == 0.0


@given(weights)
def test_the_sum_agrees_with_exact_summation(values):
    found = weighted_yield(values)
    scale = math.fsum(abs(value) for value in values)
    assert found.value == pytest.approx(math.fsum(values), abs=1e-14 * scale + 1e-300)
    assert found.variance == pytest.approx(math.fsum(value**2 for value in values), rel=1e-13)
    assert found.entries == len(values)


@given(weights, weights)
def test_yields_of_two_samples_add_to_the_yield_of_both(left, right):
    both, total = weighted_yield(left + right), weighted_yield(left) + weighted_yield(right)
    scale = math.fsum(abs(value) for value in left + right)
    assert total.value == pytest.approx(both.value, abs=1e-14 * scale + 1e-300)
    assert total.variance == pytest.approx(both.variance, rel=1e-13)
    assert total.entries == both.entries


def test_float32_weights_are_summed_in_float64():
    weight = np.full(1_000_001, 0.1, dtype=np.float32)
    weight[0] = 2**24
    assert weighted_yield(weight).value == pytest.approx(2**24 + 1_000_000 * float(np.float32(0.1)), rel=1e-14)


def test_adding_something_else_is_refused():
    with pytest.raises(TypeError, match="unsupported operand"):
        Yield(1.0, 1.0, 1) + 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_named(bad):
    with pytest.raises(InputError, match="Event weight 1 is"):
        weighted_yield([1.0, bad, 2.0])


def test_weights_in_two_dimensions_are_refused():
    with pytest.raises(InputError, match=r"found shape \(2, 2\)"):
        weighted_yield(np.ones((2, 2)))


def test_the_weights_given_are_not_changed():
    weight = np.array([1.0, -2.0])
    weighted_yield(weight)
    np.testing.assert_array_equal(weight, [1.0, -2.0])


@pytest.mark.parametrize("make", [np.array, lambda values: torch.tensor(values, dtype=torch.float64)])
def test_effective_entries_of_arrays(make):
    found = effective_entries(make([6.0, -3.0, 0.0, 0.0]), make([12.0, 3.0, 2.0, 0.0]))
    assert isinstance(found, type(make([1.0])))
    np.testing.assert_array_equal(np.asarray(found), [3.0, 3.0, 0.0, 0.0])


def test_the_array_and_the_scalar_rule_agree():
    rng = np.random.default_rng(3)
    weight = rng.normal(1.0, 2.0, size=(20, 7))
    each = [weighted_yield(row).effective_entries for row in weight]
    np.testing.assert_allclose(effective_entries(weight.sum(1), np.square(weight).sum(1)), each, rtol=1e-12)


def test_gradient_of_effective_entries_is_finite_without_events():
    sum_w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    effective_entries(sum_w, torch.zeros(2, dtype=torch.float64)).sum().backward()
    assert torch.isfinite(sum_w.grad).all()
