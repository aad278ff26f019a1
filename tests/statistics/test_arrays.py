import numpy as np
import pytest
import torch

from zsig_hep.statistics.arrays import floating_arrays, namespace, where


def test_numbers_and_integers_become_floating_arrays_of_numpy():
    number, integers = floating_arrays(3, np.array([1, 2]))
    assert (number.dtype, integers.dtype) == (np.float64, np.float64)
    assert (number.shape, integers.tolist()) == ((), [1.0, 2.0])
    assert all(array.dtype == np.float64 for array in floating_arrays(1, 2.5, True))


@pytest.mark.parametrize(("array", "float32"), [(np.asarray, np.float32), (torch.tensor, torch.float32)])
def test_numbers_and_integers_take_the_floating_type_of_the_arrays(array, float32):
    single = array([1.5], dtype=float32)
    found = floating_arrays(single, 2.0, array([3]))
    assert [each.dtype for each in found] == [float32] * 3
    assert [type(each) for each in found] == [type(single)] * 3
    assert [each.reshape(-1).tolist() for each in found] == [[1.5], [2.0], [3.0]]


def test_single_and_double_precision_meet_in_double():
    single, double = floating_arrays(np.float32([0.5]), np.array([0.25]))
    assert single.dtype == double.dtype == np.float64


def test_tensors_stay_in_their_graph():
    x = torch.tensor([2.0], requires_grad=True)
    double, _ = floating_arrays(x, torch.ones(1, dtype=torch.float64))
    (double**2).sum().backward()
    assert double.dtype == torch.float64
    assert x.grad.item() == 4.0


@pytest.mark.parametrize("array", [np.asarray, torch.tensor])
def test_where_takes_a_number_on_either_side_and_keeps_the_type_of_the_array(array):
    condition, values = array([True, False]), array(np.array([1.0, 2.0], "f4"))
    for found, expected in (
        (where(condition, values, -1), [1.0, -1.0]),
        (where(condition, -1, values), [-1.0, 2.0]),
        (where(condition, values, 10 * values), [1.0, 20.0]),
    ):
        assert found.tolist() == expected
        assert found.dtype == values.dtype
    assert where(condition, 1.0, 0.0).tolist() == [1.0, 0.0]


def test_the_namespace_is_that_of_the_array():
    assert namespace(np.ones(1)).sum(np.ones(2)) == 2
    assert isinstance(namespace(torch.ones(1)).ones(1), torch.Tensor)
