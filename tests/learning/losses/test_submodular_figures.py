"""Figures of merit of the Lovasz loss: submodular, or refused with a counterexample; gains precise in float32."""

import itertools

import mpmath
import numpy as np
import pytest
import torch

from tests.learning.losses.figures import (
    FIGURES,
    NAMES,
    PROCESS_FIGURE,
    K,
    batch,
    q0,
    set_function,
    with_relative_uncertainty,
)
from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.lovasz_loss import MERITS, NOT_SUBMODULAR, LovaszLoss, make_merit
from zsig_hep.learning.losses.submodular_figures import Step


def test_every_figure_is_tested():
    assert set(NAMES) == set(MERITS)


@pytest.mark.parametrize("name", NAMES)
def test_set_function_is_submodular(name):
    """Delta(A + i) - Delta(A) >= Delta(A + i + j) - Delta(A + j), for every A, i and j of six mixed events."""
    for seed in range(4):
        _, _, weights, process = batch(seed, 6, spread=10.0 ** (seed - 2))
        values = {
            vertex: set_function(name, vertex, process.tolist(), weights.tolist())
            for vertex in itertools.product((False, True), repeat=6)
        }
        for vertex, (i, j) in itertools.product(values, itertools.combinations(range(6), 2)):
            if not (vertex[i] or vertex[j]):
                with_i, with_j = (tuple(m or n == each for n, m in enumerate(vertex)) for each in (i, j))
                both = tuple(m or n in {i, j} for n, m in enumerate(vertex))
                assert values[with_i] + values[with_j] >= values[both] + values[vertex] - 1e-12


@pytest.mark.parametrize("name", list(FIGURES))
def test_condition_of_the_proof_holds(name):
    """F_ss >= 0, F_sb <= 0 and F_bb >= 0 on a grid, in float64 by automatic differentiation of the textbook formula."""
    grid = torch.logspace(-2, 2, 9, dtype=torch.float64)
    s, b = (each.requires_grad_() for each in torch.cartesian_prod(grid, grid).T.clone())
    value = TORCH_FORMULAS[name](s, b, 0.7)
    slopes = torch.autograd.grad(value.sum(), (s, b), create_graph=True)
    # Zero times both variables: a figure that is linear in s has no graph for its second derivative.
    (ss, sb), (_, bb) = (torch.autograd.grad((each + 0 * s * b).sum(), (s, b), retain_graph=True) for each in slopes)
    scale = torch.stack([ss, sb, bb]).abs().amax(0)
    assert (ss >= -1e-9 * scale).all()
    assert (sb <= 1e-9 * scale).all()
    assert (bb >= -1e-9 * scale).all()


def torch_q0(s, b):
    return 2 * ((s + b) * torch.log1p(s / b) - s)


TORCH_FORMULAS = {
    "s_over_sqrt_b": lambda s, b, eps: s / torch.sqrt(b + eps),
    "s_over_b": lambda s, b, eps: s / (b + eps),
    "punzi": lambda s, b, eps: s / (1.5 + torch.sqrt(b)),
    "asimov_squared": lambda s, b, eps: torch_q0(s, b + eps),
    "ams_squared": lambda s, b, eps: torch_q0(s, b + 10),
    "asimov_squared_with_uncertainty": lambda s, b, eps: torch_q0(s, b + eps) - torch_q0(s, b + eps + K**-2),
    "s_squared_over_b": lambda s, b, eps: s**2 / (b + eps),
    "s_squared_over_s_plus_b": lambda s, b, eps: s**2 / (s + b + eps),
    "s_over_sqrt_b_with_uncertainty": lambda s, b, eps: s / torch.sqrt(b + eps + (K * (b + eps)) ** 2),
    "s_over_sqrt_b_with_uncertainty_of_b": lambda s, b, eps: s / torch.sqrt(eps + b + (K * b) ** 2),
}


@pytest.mark.parametrize("name", list(FIGURES))
def test_gains_keep_their_precision_in_float32(name):
    """Against differences in 50 digits, weights from 1e-6 to 10 times the background."""
    generator = np.random.default_rng(1)
    n = 200
    b, eps = (
        10.0 ** generator.uniform(-2, 6, n),
        np.full(n, 10.0) if name == "ams_squared" else 10.0 ** generator.uniform(-2, 5, n),
    )
    b[:20] = 0.0
    s = (b + eps) * 10.0 ** generator.uniform(-5, 4, n)
    signal = np.arange(n) % 2 == 0
    scale = 10.0 ** generator.uniform(-6, 1, n)
    w = np.where(signal, s * np.minimum(scale, 1), (b + eps) * scale)
    s, b, eps, w = (each.astype(np.float32) for each in (s, b, eps, w))
    step = Step(*(torch.from_numpy(each) for each in (w * signal, w * ~signal, s, b, eps)))
    gains = make_merit(name, **FIGURES[name].options).gains(step)
    assert gains.dtype == torch.float32
    with mpmath.workdps(50):
        for index in range(n):
            kept, before, weight, e = (mpmath.mpf(float(each[index])) for each in (s, b, w, eps))
            formula = FIGURES[name].formula
            # The formula at s = 0, where its logarithms meet, is zero.
            left = kept - weight
            after = (
                (formula(left, before, e) if left > 0 else 0) if signal[index] else formula(kept, before + weight, e)
            )
            expected = formula(kept, before, e) - after
            assert abs(float(gains[index]) / float(expected) - 1) < 3e-6


@pytest.mark.parametrize(
    ("figure", "one_lost"),
    [
        (lambda s, b: s / mpmath.sqrt(s + b), 0.2929),
        (lambda s, b: mpmath.sqrt(q0(s, b + 1)), 0.4540),
        (lambda s, b: q0(s, b + 1), 0.7019),
    ],
)
def test_two_unit_signals_tell_which_figure_is_submodular(figure, one_lost):
    """Losing both costs 1; more than twice the cost of one is a counterexample."""
    two = figure(mpmath.mpf(2), mpmath.mpf(0))
    assert float((two - figure(mpmath.mpf(1), mpmath.mpf(0))) / two) == pytest.approx(one_lost, abs=5e-5)


REFUSED_FORMULAS = {
    "s_over_sqrt_s_plus_b": lambda s, b: s / mpmath.sqrt(s + b + 1),
    "asimov": lambda s, b: mpmath.sqrt(q0(s, b + 1)),
    "ams": lambda s, b: mpmath.sqrt(q0(s, b + 10)),
    "asimov_with_uncertainty": lambda s, b: mpmath.sqrt(with_relative_uncertainty(s, b + 1, K)),
    "log_s_over_sqrt_b": lambda s, b: mpmath.log(s / mpmath.sqrt(b + 1)),
    "log_asimov": lambda s, b: mpmath.log(q0(s, b + 1)) / 2,
    "asimov_squared_with_constant_uncertainty": lambda s, b: with_relative_uncertainty(s, b + 1, 3 / (b + 1)),
}


@pytest.mark.parametrize("name", list(NOT_SUBMODULAR))
def test_refused_figures_have_a_counterexample_and_name_a_relative(name):
    formula = REFUSED_FORMULAS[name]
    zero, one, two, three = (mpmath.mpf(number) for number in range(4))
    if name.endswith("constant_uncertainty"):
        # Two unit backgrounds beside ten signal events: Z_A^2 grows with each.
        first, second = (formula(10 * one, step) - formula(10 * one, step + 1) for step in (zero, one))
        assert first < second < 0
    else:
        first, second = formula(three, zero) - formula(two, zero), formula(two, zero) - formula(one, zero)
        assert second > first > 0
    relative = NOT_SUBMODULAR[name][1]
    assert relative in MERITS
    with pytest.raises(TrainingError, match=f"not submodular.*Its relative {relative} is"):
        LovaszLoss(name)


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
