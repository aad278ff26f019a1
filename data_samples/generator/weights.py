"""Event weights and their sums over all generated events, which are the denominator of every yield."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BRANCHING_TAU_TO_MUON = 0.1739
"""BR(tau -> mu nu nu), Particle Data Group."""


def tau_branching_factor(prompt_taus: NDArray[np.int64]) -> NDArray[np.float64]:
    """BR(tau -> mu nu nu) for each prompt tau, because Pythia is told to decay all taus that way.

    Taus from B and D decays get no factor: they are a non-isolated, percent-level effect.

    Args:
        prompt_taus: number of taus of each hard process, shape [N].

    Returns:
        One factor per hard process, shape [N].
    """
    return BRANCHING_TAU_TO_MUON ** prompt_taus.astype(np.float64)


def with_emulated_signs(
    weight: NDArray[np.float64], negative_fraction: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Give weights random signs as next-to-leading-order generators do, without changing any expectation.

    With probability p the weight turns negative and all are divided by 1 - 2p, so that E[sign] / (1 - 2p) = 1; what
    suffers is the variance, as in the real case. At p = 0 nothing is drawn and the weights are returned as they are.

    Args:
        weight: shape [N].
        negative_fraction: p, in [0, 0.5).
        rng: source of the signs.
    """
    if not negative_fraction:
        return weight
    signs = np.where(rng.random(len(weight)) < negative_fraction, -1.0, 1.0)
    return weight * signs / (1 - 2 * negative_fraction)


@dataclass
class WeightSums:
    """Running sums over generated events (`generated`...) and over stored ones (`selected`...).

    Attributes:
        events: number of generated events.
        generated: sum of weights.
        generated_squared: sum of squared weights.
        raw: sum of Pythia's own weights.
        raw_with_tau: the same times the tau branching factor.
        selected: sum of the weights of stored events.
        selected_squared: sum of their squares.
    """

    events: int = 0
    generated: float = 0.0
    generated_squared: float = 0.0
    raw: float = 0.0
    raw_with_tau: float = 0.0
    selected: float = 0.0
    selected_squared: float = 0.0

    def add(self, raw: NDArray[np.float64], tau_factor: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
        """Add generated events, arrays of shape [M] each."""
        self.events += len(weight)
        self.generated += float(weight.sum())
        self.generated_squared += float((weight**2).sum())
        self.raw += float(raw.sum())
        self.raw_with_tau += float((raw * tau_factor).sum())

    def add_stored(self, weight: NDArray[np.float64]) -> None:
        """Add the weights of stored events, which are among the generated ones."""
        self.selected += float(weight.sum())
        self.selected_squared += float((weight**2).sum())

    @property
    def mean_tau_factor(self) -> float:
        """What the forced tau decays take from the generator's cross section."""
        return self.raw_with_tau / self.raw

    @property
    def skim_efficiency(self) -> float:
        """Weighted fraction of generated events that are stored."""
        return self.selected / self.generated

    @property
    def effective_entries(self) -> float:
        """(sum w)^2 / sum w^2 of the stored events, 0 without any."""
        return self.selected**2 / max(self.selected_squared, 1e-300)
