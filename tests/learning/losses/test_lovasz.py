import itertools

import pytest
import torch
from torch.autograd import gradcheck

from tests.learning.losses.batches import random_batch
from zsig_hep.learning.losses.lovasz import cumulative_before, lovasz_extension, lovasz_extension_by_process


def set_function(members, weights, is_signal):
    """The root of the lost signal plus the root of the accepted background: submodular, and neither sum alone."""
    lost = sum(w for m, w, s in zip(members, weights, is_signal, strict=True) if m and s)
    accepted = sum(w for m, w, s in zip(members, weights, is_signal, strict=True) if m and not s)
    return lost**0.5 + accepted**0.5


def gains(signal_weight, background_weight, lost, accepted):
    return (lost + signal_weight).sqrt() - lost.sqrt() + (accepted + background_weight).sqrt() - accepted.sqrt()


def test_it_is_the_set_function_at_every_vertex():
    _, is_signal, weights = random_batch(1, 6)
    for vertex in itertools.product((False, True), repeat=6):
        errors = torch.tensor(vertex, dtype=torch.float64)
        expected = set_function(vertex, weights.tolist(), is_signal.tolist())
        assert lovasz_extension(errors, is_signal, weights, gains).item() == pytest.approx(expected, abs=1e-14)


def test_it_is_the_sum_of_errors_times_what_the_set_grows_by():
    _, is_signal, weights = random_batch(2, 8)
    errors = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected, before, members = 0.0, 0.0, [False] * 8
    for index in errors.argsort(descending=True).tolist():
        members[index] = True
        after = set_function(members, weights.tolist(), is_signal.tolist())
        expected += errors[index].item() * (after - before)
        before = after
    assert lovasz_extension(errors, is_signal, weights, gains).item() == pytest.approx(expected, rel=1e-13)


def test_it_is_convex_and_grows_in_proportion_to_the_errors():
    _, is_signal, weights = random_batch(3, 12)
    first, second = torch.rand(2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    value = lovasz_extension(torch.stack([first, second, (first + second) / 2]), is_signal, weights, gains)
    assert value[2] < value[:2].mean()
    torch.testing.assert_close(lovasz_extension(3 * first, is_signal, weights, gains), 3 * value[0])


def test_gradients_reach_errors_weights_and_what_is_in_the_gains():
    _, is_signal, weights = random_batch(5, 7)
    errors = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    scale = torch.tensor(2.0, dtype=torch.float64)

    def value(errors, weights, scale):
        return lovasz_extension(
            errors, is_signal, weights, lambda *yields: scale * gains(*(1 + each for each in yields))
        )

    assert gradcheck(value, [each.requires_grad_() for each in (errors, weights, scale)])


def test_processes_stand_in_the_order_of_the_errors():
    errors = torch.tensor([[0.2, 0.9, 0.5], [0.5, 0.2, 0.9]])
    is_signal, weights, process = (
        torch.tensor([True, False, False]),
        torch.tensor([1.0, 2.0, 4.0]),
        torch.tensor([0, 1, 2]),
    )

    def of_process_two(signal_weight, background_weight, lost, accepted, process):
        return background_weight * (process == 2)

    value = lovasz_extension_by_process(errors, is_signal, weights, process, of_process_two)
    torch.testing.assert_close(value, torch.tensor([4 * 0.5, 4 * 0.9]))


def test_sums_of_earlier_entries_leave_no_residue_in_float32():
    # Subtracting each entry from the inclusive sum gives 0 for the second here.
    assert cumulative_before(torch.tensor([0.1, 1e9, 0.1])).tolist() == [0.0, pytest.approx(0.1), 1e9]
    assert cumulative_before(torch.ones(2, 3)).tolist() == [[0.0, 1.0, 2.0]] * 2
