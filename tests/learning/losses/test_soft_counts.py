"""Losses of soft counts against sums over events and the formulas of the papers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.soft_counts import BinnedAsimovLoss, InverseAsimovLoss, PunziLoss, SoftSignificanceLoss
from zsig_hep.statistics.significance import FigureOfMerit, FigureParameters

PROCESS_K = (0.0, 0.0, 0.05, 0.3)
SMOOTH_FIGURES = [figure for figure in FigureOfMerit if figure.differentiable_counterpart is figure]
LOSSES = {
    "inverse_asimov": InverseAsimovLoss(),
    "inverse_asimov_with_uncertainty": InverseAsimovLoss(0.2),
    "punzi": PunziLoss(),
    "punzi_hypotheses": PunziLoss(signal_processes=[0, 1]),
    "binned_asimov": BinnedAsimovLoss(4, 0.3),
} | {
    f"{figure}_{form}": SoftSignificanceLoss(figure, process_uncertainties=PROCESS_K, form=form)
    for figure in SMOOTH_FIGURES
    for form in ("inverse_square", "log")
}


def batch(seed, n, dtype=torch.float64):
    """Processes 0 and 1 are signal, 2 and 3 background."""
    generator = np.random.default_rng(seed)
    process = generator.integers(0, 4, n)
    process[:4] = range(4)
    weights = generator.exponential(1.0, n) * np.array([1.0, 0.3, 6.0, 2.0])[process]
    scores = torch.tensor(generator.normal(size=n), dtype=dtype)
    return scores, torch.tensor(process < 2), torch.tensor(weights, dtype=dtype), torch.tensor(process)


def soft_yields(scores, weights, process):
    """Soft yield of each process, event by event, and the totals."""
    soft, total = [0.0] * 4, [0.0] * 4
    for score, weight, index in zip(scores.tolist(), weights.tolist(), process.tolist(), strict=True):
        soft[index] += weight / (1 + math.exp(-score))
        total[index] += weight
    return soft, total


def z_squared(figure, yields, uncertainties):
    """The textbook formulas: s^2 / (b + sigma^2), Punzi's, and equations 2 and 4 of the statistics room."""
    s, b = sum(yields[:2]), sum(yields[2:])
    v = sum((k * y) ** 2 for k, y in zip(uncertainties, yields, strict=True)) if figure.endswith("uncertainty") else 0
    if figure == "punzi":
        return (s / (1.5 + math.sqrt(b))) ** 2
    if figure == "ams":
        b += 10
    if figure.startswith("s_over"):
        return s**2 / (b + v)
    if v == 0:
        return 2 * ((s + b) * math.log(1 + s / b) - s)
    first = (s + b) * math.log((s + b) * (b + v) / (b**2 + (s + b) * v))
    return 2 * (first - b**2 / v * math.log(1 + v * s / (b * (b + v))))


@pytest.mark.parametrize("figure", SMOOTH_FIGURES)
def test_soft_significance_is_the_figure_of_the_soft_counts(figure):
    scores, is_signal, weights, process = batch(0, 25)
    soft, total = soft_yields(scores, weights, process)
    expected = z_squared(figure, total, PROCESS_K) / z_squared(figure, soft, PROCESS_K)
    loss = LOSSES[f"{figure}_inverse_square"]
    assert loss(scores, is_signal, weights, process).item() == pytest.approx(expected, rel=1e-10)
    log = LOSSES[f"{figure}_log"](scores, is_signal, weights, process)
    assert log.item() == pytest.approx(math.log(expected), rel=1e-9)


@pytest.mark.parametrize("k", [0.0, 0.2])
def test_inverse_asimov_is_one_over_z_squared(k):
    scores, is_signal, weights, process = batch(3, 25)
    soft, total = soft_yields(scores, weights, process)
    collapsed = [[sum(each[:2]), 0.0, sum(each[2:]), 0.0] for each in (soft, total)]
    values = [z_squared("asimov_with_uncertainty", each, (0, 0, k, 0)) for each in collapsed]
    value = InverseAsimovLoss(k)(scores, is_signal, weights).item()
    assert value == pytest.approx(values[1] / values[0], rel=1e-10)


def test_punzi_is_the_formula_of_the_paper():
    """arXiv:2110.00810: its smallest cross section for a = 3, b = 1.28155, mean over the hypotheses."""
    scores, is_signal, weights, process = batch(4, 25)
    soft, total = soft_yields(scores, weights, process)

    def smallest(background, efficiency):
        a, b = 3, 1.28155
        constant = a**2 / 8 + 9 * b**2 / 13 + a * math.sqrt(background)
        return (constant + b / 2 * math.sqrt(b**2 + 4 * a * math.sqrt(background) + 4 * background)) / efficiency

    everything = smallest(sum(total[2:]), 1)
    each = [smallest(sum(soft[2:]), soft[index] / total[index]) / everything for index in (0, 1)]
    value = PunziLoss(signal_processes=[0, 1])(scores, is_signal, weights, process).item()
    assert value == pytest.approx(sum(each) / 2, rel=1e-12)
    one = smallest(sum(soft[2:]), sum(soft[:2]) / sum(total[:2])) / everything
    assert PunziLoss()(scores, is_signal, weights).item() == pytest.approx(one, rel=1e-12)


def test_a_hypothesis_without_events_is_left_out_of_the_mean():
    scores, is_signal, weights, process = batch(4, 25)
    weights = weights * (process != 1)
    both = PunziLoss(signal_processes=[0, 1])(scores, is_signal, weights, process)
    assert torch.isclose(both, PunziLoss(signal_processes=[0])(scores, is_signal, weights, process))


@pytest.mark.parametrize("bins", [1, 2, 5])
def test_binned_asimov_adds_the_bins_in_quadrature(bins):
    scores, is_signal, weights, _ = batch(5, 25)
    edges = [-math.inf, *(index / bins for index in range(1, bins)), math.inf]
    total, everything = 0.0, [0.0, 0.0]
    for index in range(bins):
        yields = [0.0, 0.0]
        for score, signal, weight in zip(scores.tolist(), is_signal.tolist(), weights.tolist(), strict=True):
            p = 1 / (1 + math.exp(-score))
            below, above = (1 / (1 + np.exp((edge - p) * bins / 0.3)) for edge in edges[index : index + 2])
            yields[0 if signal else 1] += weight * (below - above)
        everything = [one + other for one, other in zip(everything, yields, strict=True)]
        total += z_squared("asimov", [yields[0], 0, yields[1], 0], PROCESS_K)
    best = z_squared("asimov", [everything[0], 0, everything[1], 0], PROCESS_K)
    value = BinnedAsimovLoss(bins, 0.3)(scores, is_signal, weights).item()
    assert value == pytest.approx(best / total, rel=1e-10)


def test_little_smoothing_gives_the_histogram():
    scores, is_signal, weights, _ = batch(6, 200)
    probability = torch.sigmoid(scores).numpy()
    s, b = (
        np.histogram(probability[mine], 4, (0, 1), weights=weights.numpy()[mine])[0]
        for mine in (is_signal.numpy(), ~is_signal.numpy())
    )
    total = sum(z_squared("asimov", [x, 0, y, 0], PROCESS_K) for x, y in zip(s, b, strict=True))
    expected = z_squared("asimov", [s.sum(), 0, b.sum(), 0], PROCESS_K) / total
    assert BinnedAsimovLoss(4, 1e-5)(scores, is_signal, weights).item() == pytest.approx(expected, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), bins=st.integers(1, 8), smoothing=st.floats(0.01, 3.0))
def test_bins_never_lose_significance(seed, bins, smoothing):
    scores, is_signal, weights, _ = batch(seed, 30)
    value = BinnedAsimovLoss(bins, smoothing)(3 * scores, is_signal, weights)
    assert 0 < value <= 1 + 1e-12
    flat = BinnedAsimovLoss(bins, smoothing)(torch.full_like(scores, 0.3), is_signal, weights)
    assert flat.item() == pytest.approx(1)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name):
    scores, is_signal, weights, process = batch(7, 10)
    assert gradcheck(lambda f: LOSSES[name](f, is_signal, weights, process), scores.requires_grad_())
    assert gradcheck(lambda w: LOSSES[name](scores.detach(), is_signal, w, process), weights.requires_grad_())


def test_gradient_weighs_each_background_with_its_uncertainty():
    """For s / sqrt(b + sum (k b)^2) the weight of background p is 1 + 2 k_p^2 b_p, where cross entropy has one."""
    scores = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    weights, process = torch.tensor([1.0, 40.0, 60.0], dtype=torch.float64), torch.tensor([0, 1, 2])
    loss = SoftSignificanceLoss("s_over_sqrt_b_with_uncertainty", process_uncertainties=(0.0, 0.02, 0.3))
    loss(scores, process == 0, weights, process).backward()
    ratio = (scores.grad[2] / 60) / (scores.grad[1] / 40)
    assert ratio.item() == pytest.approx((1 + 2 * 0.3**2 * 30) / (1 + 2 * 0.02**2 * 20))


@pytest.mark.parametrize("name", LOSSES)
def test_accepting_everything_is_the_unit_and_members_are_independent(name):
    scores, is_signal, weights, process = batch(8, 20)
    everything = LOSSES[name](torch.full_like(scores, 50.0), is_signal, weights, process)
    assert everything.item() == pytest.approx(0.0 if name.endswith("log") else 1.0, abs=1e-12)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    value = LOSSES[name](scores, is_signal, weights, process)
    shuffled = LOSSES[name](scores[order], is_signal[order], weights[order], process[order])
    assert torch.isclose(shuffled, value)
    halves = LOSSES[name](scores.repeat(2), is_signal.repeat(2), weights.repeat(2) / 2, process.repeat(2))
    assert torch.isclose(halves, value)
    members = LOSSES[name](torch.stack([scores, 1 - 2 * scores]).reshape(2, 1, 20), is_signal, weights, process)
    assert members.shape == (2, 1)
    assert torch.isclose(members[0, 0], value)
    assert not torch.isclose(members[1, 0], value)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_scores_leave_values_and_gradients_finite_in_float32(name):
    scores, is_signal, weights, process = batch(9, 20, torch.float32)
    shifts = [
        torch.where(is_signal, of_signal, of_background)
        for level in (-200.0, -80.0, -30.0, 200.0)
        for of_signal, of_background in ((level, 0.0), (0.0, level), (level, level))
    ]
    shifted = (scores + torch.stack(shifts)).requires_grad_()
    value = LOSSES[name](shifted, is_signal, 1e4 * weights, process)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(shifted.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_float32_agrees_with_float64_at_many_events(name):
    scores, is_signal, weights, process = batch(0, 100_000, torch.float32)
    single = scores.clone().requires_grad_()
    double = scores.double().requires_grad_()
    LOSSES[name](single, is_signal, weights, process).backward()
    LOSSES[name](double, is_signal, weights.double(), process).backward()
    assert torch.allclose(single.grad.double(), double.grad, rtol=1e-4, atol=1e-6 * double.grad.abs().max().item())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("present", ["signal", "background", "neither"])
def test_one_class_batches_have_finite_values_and_gradients(name, present):
    scores, is_signal, weights, process = batch(1, 12)
    weights = (weights * {"signal": is_signal, "background": ~is_signal, "neither": 0}[present]).requires_grad_()
    scores.requires_grad_()
    value = LOSSES[name](scores, is_signal, weights, process)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()
    assert torch.isfinite(weights.grad).all()
    if present != "signal":
        assert value.item() == (0 if name.endswith("log") else 1)
        assert (scores.grad == 0).all()


@pytest.mark.parametrize(
    "name", ["s_over_sqrt_b_with_uncertainty_log", "asimov_with_uncertainty_log", "punzi_hypotheses"]
)
def test_losses_that_need_the_process_say_so(name):
    with pytest.raises(TrainingError, match="give it `process`"):
        LOSSES[name](*batch(0, 8)[:3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftSignificanceLoss("asimof"), "Did you mean 'asimov'"),
        (lambda: SoftSignificanceLoss(form="logarithm"), "Unknown form 'logarithm'"),
        (lambda: SoftSignificanceLoss(process_uncertainties=[0.1, -0.2]), "must not be negative"),
        (lambda: InverseAsimovLoss(-0.1), "must not be negative"),
        (lambda: PunziLoss(a=0.0), "a > 0 and b > 0"),
        (lambda: BinnedAsimovLoss(0), "bins >= 1"),
        (lambda: BinnedAsimovLoss(smoothing=0.0), "smoothing > 0"),
    ],
)
def test_wrong_options_are_refused(make, message):
    with pytest.raises(TrainingError, match=message):
        make()


def test_the_numbers_of_a_figure_reach_its_loss():
    scores, is_signal, weights, process = batch(0, 25)
    soft, total = soft_yields(scores, weights, process)
    parameters = FigureParameters(ams_regularisation=2.0, punzi_sigmas=5.0)

    def values(yields):
        s, b = sum(yields[:2]), sum(yields[2:])
        return {"ams": z_squared("asimov", [s, 0, b + 2, 0], PROCESS_K), "punzi": (s / (2.5 + math.sqrt(b))) ** 2}

    for figure in ("ams", "punzi"):
        loss = SoftSignificanceLoss(figure, figure_parameters=parameters)
        expected = values(total)[figure] / values(soft)[figure]
        assert loss(scores, is_signal, weights).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("suffix", ["", "_with_uncertainty"])
def test_an_exact_tail_is_replaced_by_the_asimov_significance(suffix):
    arguments = batch(1, 25)
    exact, relative = (
        SoftSignificanceLoss(f"{name}{suffix}", process_uncertainties=PROCESS_K) for name in ("poisson", "asimov")
    )
    assert exact.figure == f"asimov{suffix}"
    assert exact(*arguments) == relative(*arguments)
