import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.grid_maximum import argmax_on_grid, local_maxima

GRID = torch.linspace(-3, 6, 46, dtype=torch.float64)


def significance(t, log_yields):
    """Z of a cut on a score for Gaussian scores: signal at 2, backgrounds at 0 and 1, known to 2 % and 30 %."""
    means, widths = (2.0, 0.0, 1.0), (0.8, 1.0, 0.7)
    above = [torch.erfc((t - mean) / (width * math.sqrt(2))) / 2 for mean, width in zip(means, widths, strict=True)]
    s, b1, b2 = (torch.exp(yields) * share for yields, share in zip(log_yields, above, strict=True))
    return s / torch.sqrt(b1 + b2 + (0.02 * b1) ** 2 + (0.3 * b2) ** 2 + 1)


LOG_YIELDS = torch.tensor([20.0, 500.0, 100.0], dtype=torch.float64).log()


def reoptimised(log_yields):
    return local_maxima(lambda t: significance(t, log_yields), GRID)[0]


def test_the_cut_and_its_significance_follow_the_cross_sections_to_six_digits():
    log_yields = LOG_YIELDS.clone().requires_grad_()
    best = argmax_on_grid(significance, GRID, log_yields)
    assert best.status == "unique"
    by_cut = torch.autograd.grad(best.location, log_yields)[0]
    by_z = torch.autograd.grad(best.value, log_yields)[0]
    hessian = torch.autograd.functional.hessian(lambda x: argmax_on_grid(significance, GRID, x).value, LOG_YIELDS)
    for p, shift in enumerate(torch.eye(3, dtype=torch.float64) * 1e-4):
        up, down = reoptimised(LOG_YIELDS + shift), reoptimised(LOG_YIELDS - shift)
        slope_of_cut = (up.location - down.location) / 2e-4
        slope_of_z = (up.value - down.value) / 2e-4
        assert by_cut[p].item() == pytest.approx(slope_of_cut, rel=1e-6, abs=1e-9)
        assert by_z[p].item() == pytest.approx(slope_of_z, rel=1e-6)
        second = (up.value - 2 * best.value.item() + down.value) / 1e-8
        assert hessian[p, p].item() == pytest.approx(second, rel=1e-4, abs=1e-6)
    # The signal yield only scales Z, the cut stays; its own relative error on Z is one.
    assert by_cut[0].item() == pytest.approx(0, abs=1e-9)
    assert by_z[0].item() == pytest.approx(best.value.item())


def test_a_linearised_cut_regains_what_a_kept_cut_loses():
    risen = LOG_YIELDS + torch.tensor([0.0, 0.0, math.log(1.5)], dtype=torch.float64)
    before = reoptimised(LOG_YIELDS)
    log_yields = LOG_YIELDS.clone().requires_grad_()
    slope = torch.autograd.grad(argmax_on_grid(significance, GRID, log_yields).location, log_yields)[0][2]
    linearised = torch.tensor(before.location + float(slope) * math.log(1.5), dtype=torch.float64)
    kept = significance(torch.tensor(before.location, dtype=torch.float64), risen).item()
    following, best = significance(linearised, risen).item(), reoptimised(risen).value
    assert kept < following <= best
    assert best - following < 0.1 * (best - kept)


def test_location_and_value_by_gradcheck_to_second_order():
    def found(log_yields):
        best = argmax_on_grid(significance, GRID, log_yields)
        return best.location, best.value

    leaves = (LOG_YIELDS.clone().requires_grad_(),)
    assert gradcheck(found, leaves)
    assert gradgradcheck(found, leaves)


def two_peaks(t, heights):
    return heights[0] * torch.exp(-((t - 1) ** 2)) + heights[1] * torch.exp(-2 * (t - 4.03) ** 2)


@pytest.mark.parametrize(("second", "status"), [(0.5, "unique"), (0.97, "unique"), (0.995, "multi_modal")])
def test_the_runner_up_is_found_and_judged(second, status):
    heights = torch.tensor([1.0, second], dtype=torch.float64, requires_grad=True)
    best = argmax_on_grid(two_peaks, GRID, heights)
    assert best.status == status
    assert (best.location.item(), best.value.item()) == pytest.approx((1.0, 1.0), abs=1e-3)
    assert best.curvature == pytest.approx(-2, abs=1e-3)
    assert best.plateau_half_width == pytest.approx(0.1, abs=1e-3)
    assert (best.runner_up.location, best.runner_up.value) == pytest.approx((4.03, second), abs=1e-3)


def test_peaks_that_the_grid_ranks_wrongly_are_refined_first():
    # The higher peak lies between two grid points, which see less of it than of the lower one.
    heights = torch.tensor([1.0, 1.05], dtype=torch.float64)
    grid = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.5, 4.5, 6.0], dtype=torch.float64)
    values = two_peaks(grid, heights)
    assert values.argmax() == 2
    best, runner_up = local_maxima(lambda t: two_peaks(t, heights), grid)
    assert (best.location, best.value) == pytest.approx((4.03, 1.05), abs=1e-3)
    assert (runner_up.location, runner_up.value) == pytest.approx((1.0, 1.0), abs=1e-3)


def test_a_maximum_at_the_edge_is_called_so_and_does_not_move():
    slope = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    best = argmax_on_grid(lambda t, a: a * t + 1, GRID, slope)
    assert (best.status, best.location.item(), best.plateau_half_width) == ("edge", 6.0, None)
    assert not best.location.requires_grad
    assert torch.autograd.grad(best.value, slope)[0].item() == pytest.approx(6.0)
    lower, _ = local_maxima(lambda t: -t, GRID)
    assert (lower.location, lower.at_edge) == (-3.0, True)


def test_a_maximum_just_inside_the_first_interval_is_not_an_edge():
    best, _ = local_maxima(lambda t: -((t + 2.95) ** 2), GRID)
    assert best.location == pytest.approx(-2.95)
    assert not best.at_edge


def test_a_maximum_on_a_grid_point_is_exact():
    best, runner_up = local_maxima(lambda t: -((t - GRID[20]) ** 2), GRID)
    assert best.location == GRID[20].item()
    assert runner_up is None


def test_a_grid_point_on_the_tail_of_a_peak_leads_to_the_peak():
    # The curvature at the grid point 1.3 is positive: Newton's method alone would run away.
    grid = torch.tensor([0.0, 1.3, 2.9, 4.0], dtype=torch.float64)
    best, _ = local_maxima(lambda t: torch.exp(-4 * (t - 2) ** 2), grid)
    assert (best.location, best.value, best.curvature) == pytest.approx((2.0, 1.0, -8.0))


def test_bad_input():
    with pytest.raises(TrainingError, match="flat, 2 between -3 and 6"):
        local_maxima(lambda t: 2 + 0 * t, GRID)
    with pytest.raises(TrainingError, match="flat"):
        argmax_on_grid(lambda t, p: p - 1e-9 * t**2, GRID, torch.tensor(2.0, dtype=torch.float64))
    with pytest.raises(TrainingError, match=r"NaN or infinite at threshold 0\.2"):
        local_maxima(lambda t: 1 / torch.where(t > 0.1, 0, t), GRID)
    for grid in (GRID[:2], GRID.flip(0), GRID.reshape(2, -1)):
        with pytest.raises(TrainingError, match="at least 3 increasing"):
            local_maxima(lambda t: -(t**2), grid)


def test_named_parameters():
    parameters = {"centre": torch.tensor(0.5, dtype=torch.float64, requires_grad=True)}
    best = argmax_on_grid(lambda t, p: -((t - p["centre"]) ** 2), GRID, parameters)
    assert torch.autograd.grad(best.location, parameters["centre"])[0].item() == pytest.approx(1.0)
