"""Figures of merit of the Lovasz losses as their textbook formulas, and their set functions event by event."""

import itertools
from dataclasses import dataclass, field

import mpmath
import numpy as np
import torch

from zsig_hep.learning.losses.lovasz_loss import LovaszLoss, make_submodular_figure
from zsig_hep.learning.losses.submodular_figures import Step

K = 0.3
PROCESS_K = (0.0, 0.1, 0.3)


@dataclass(frozen=True)
class Figure:
    """A figure of merit as its textbook formula in mpmath; `b` is eps included unless the formula says otherwise."""

    formula: object
    options: dict = field(default_factory=dict)
    eps: float | None = 0.7

    def loss(self, figure, **more):
        return LovaszLoss(figure, eps=self.eps, **self.options, **more)


def q0(s, b):
    return 2 * ((s + b) * mpmath.log(1 + s / b) - s)


def with_relative_uncertainty(s, b, k):
    v = (k * b) ** 2
    first = (s + b) * mpmath.log((s + b) * (b + v) / (b**2 + (s + b) * v))
    return 2 * (first - b**2 / v * mpmath.log(1 + v * s / (b * (b + v))))


FIGURES = {
    "s_over_sqrt_b": Figure(lambda s, b, eps: s / mpmath.sqrt(b + eps)),
    "s_over_b": Figure(lambda s, b, eps: s / (b + eps)),
    "punzi": Figure(lambda s, b, eps: s / (mpmath.mpf(3) / 2 + mpmath.sqrt(b)), {"sigmas": 3.0}, None),
    "asimov_squared": Figure(lambda s, b, eps: q0(s, b + eps)),
    "ams_squared": Figure(lambda s, b, eps: q0(s, b + 10), {}, None),
    "asimov_squared_with_uncertainty": Figure(
        lambda s, b, eps: with_relative_uncertainty(s, b + eps, K), {"relative_uncertainty": K}
    ),
    "s_squared_over_b": Figure(lambda s, b, eps: s**2 / (b + eps)),
    "s_squared_over_s_plus_b": Figure(lambda s, b, eps: s**2 / (s + b + eps)),
    "s_over_sqrt_b_with_uncertainty": Figure(
        lambda s, b, eps: s / mpmath.sqrt(b + eps + (K * (b + eps)) ** 2), {"relative_uncertainty": K}
    ),
    "s_over_sqrt_b_with_uncertainty_of_b": Figure(
        lambda s, b, eps: s / mpmath.sqrt(eps + b + (K * b) ** 2), {"relative_uncertainty": K}
    ),
}


def process_figure(s, yields, eps):
    return s / mpmath.sqrt(eps + sum(yields) + sum((k * b) ** 2 for k, b in zip(PROCESS_K, yields, strict=True)))


PROCESS_FIGURE = "s_over_sqrt_b_with_process_uncertainties"
NAMES = [*FIGURES, PROCESS_FIGURE]
UNCERTAIN = [name for name in NAMES if "uncertain" in name]


def make_loss(name, **options):
    if name == PROCESS_FIGURE:
        # The yields of the tests here are beyond the condition in places; what is computed holds for all.
        options = {"check_weights": False} | options
        return LovaszLoss(name, eps=0.7, process_uncertainties=PROCESS_K, **options)
    return FIGURES[name].loss(name, **options)


def set_function(name, mispredicted, process, weights):
    """Delta(M) / F(S, 0), summed event by event; process 0 is the signal."""
    kept = sum(w for m, p, w in zip(mispredicted, process, weights, strict=True) if p == 0 and not m)
    total = sum(w for p, w in zip(process, weights, strict=True) if p == 0)
    yields = [
        mpmath.mpf(sum(w for m, p, w in zip(mispredicted, process, weights, strict=True) if m and p == index > 0))
        for index in range(3)
    ]
    if name == PROCESS_FIGURE:
        best, value = (
            process_figure(total, [0, 0, 0], mpmath.mpf("0.7")),
            process_figure(kept, yields, mpmath.mpf("0.7")),
        )
    else:
        figure, eps = FIGURES[name], mpmath.mpf(FIGURES[name].eps or 0)
        best, value = figure.formula(total, mpmath.mpf(0), eps), figure.formula(kept, sum(yields), eps)
    return float((best - value) / best)


def batch(seed, n, dtype=torch.float64, spread=1.0):
    generator = np.random.default_rng(seed)
    process = generator.integers(0, 3, n)
    process[:3] = [0, 1, 2]
    weights = spread * generator.exponential(1.0, n) * np.array([1.0, 3.0, 0.5])[process]
    scores = torch.tensor(generator.normal(size=n), dtype=dtype)
    return scores, torch.tensor(process == 0), torch.tensor(weights, dtype=dtype), torch.tensor(process)


def at_every_vertex(name, events):
    """The vertices of some events, bool (2^n, n), and the loss at each, by hinge errors of exactly 0 and 1."""
    _, is_signal, weights, process = events
    vertices = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(weights))), dtype=torch.float64)
    return vertices, make_loss(name)(torch.where(is_signal, 1 - vertices, vertices - 1), is_signal, weights, process)


def assert_submodular(name):
    """Delta(A + i) - Delta(A) >= Delta(A + i + j) - Delta(A + j), for every A, i and j of six mixed events."""
    for seed in range(4):
        vertices, values = at_every_vertex(name, batch(seed, 6, spread=10.0 ** (seed - 2)))
        for i, j in itertools.combinations(range(6), 2):
            neither = (vertices[:, i] == 0) & (vertices[:, j] == 0)
            # A vertex counts in binary, its first event most.
            here = neither.nonzero().squeeze(-1)
            with_i, with_j = here + 2 ** (5 - i), here + 2 ** (5 - j)
            both = with_i + 2 ** (5 - j)
            assert (values[with_i] + values[with_j] >= values[both] + values[here] - 1e-12).all()


def assert_condition_of_the_proof(name):
    """F_ss >= 0, F_sb <= 0 and F_bb >= 0: what a small event costs, on a grid of yields in float64."""
    grid = torch.logspace(-2, 2, 9, dtype=torch.float64)
    s, b = torch.meshgrid(grid, grid, indexing="ij")
    zero, weight = torch.zeros_like(s), torch.full_like(s, 1e-3)
    eps = torch.full_like(s, 10.0 if name == "ams_squared" else 0.7)
    figure = make_submodular_figure(name, **FIGURES[name].options)
    of_signal, of_background = (figure.gains(Step(*weights, s, b, eps)) for weights in ((weight, zero), (zero, weight)))
    rounding = 1e-9 * torch.maximum(of_signal.abs(), of_background.abs()).max()
    assert (torch.diff(of_signal, dim=0) >= -rounding).all()
    assert (torch.diff(of_signal, dim=1) <= rounding).all()
    assert (torch.diff(of_background, dim=0) >= -rounding).all()
    assert (torch.diff(of_background, dim=1) <= rounding).all()


def assert_precise_gains(name):
    """Against differences in 50 digits, weights from 1e-6 to 10 times the background, in float32."""
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
    gains = make_submodular_figure(name, **FIGURES[name].options).gains(step)
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
