"""Figures of merit of the Lovasz losses as their textbook formulas, and their set functions event by event."""

from dataclasses import dataclass, field

import mpmath
import numpy as np
import torch

from zsig_hep.learning.losses.lovasz_loss import LovaszLoss

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
