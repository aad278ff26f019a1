"""Submodular figures of merit F(s, b) and the marginal gains of the set functions that they define.

For a set M of mispredicted events that loses the signal a and accepts the background b, with the total signal S,

    Delta(M) = F(S, 0) - F(S - a, b)

is submodular for all non-negative weights if F_ss >= 0, F_sb <= 0 and F_bb >= 0: a figure of merit must be convex in
the signal, which s / sqrt(b) is and Z_A is not.  The formulas use

    s = S - a    the signal that is kept before an event is added to M,    t = s - w   after a signal event,
    B = b + eps  the background that is accepted before an event is added, B' = B + w  after a background event,

for the gains F(s, B) - F(t, B) of signal and F(s, B) - F(s, B') of background of weight w, without differences of
nearly equal numbers.  They were derived for this package; tests compare them with differences in higher precision.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.margins import root_or_zero
from zsig_hep.statistics.significance import asimov, phi


@dataclass(frozen=True, eq=False)
class Step:
    """The yields when each event, in order, is added to the mispredicted set.

    Attributes:
        signal_weight: w if the event is signal, else zero, shape (..., n).
        background_weight: w if the event is background, else zero.
        kept: signal s that is kept before the event is added.
        accepted: background b that is accepted before the event is added.
        eps: the regularisation, positive, shape (..., 1).
        process: index of the event's process; None if the figure does not need it.
    """

    signal_weight: Tensor
    background_weight: Tensor
    kept: Tensor
    accepted: Tensor
    eps: Tensor
    process: Tensor | None = None

    @cached_property
    def left(self) -> Tensor:
        """The signal t that is kept after the event is added; not negative despite rounding."""
        return (self.kept - self.signal_weight).clamp(min=0)

    @cached_property
    def before(self) -> Tensor:
        """The regularised background B before the event is added."""
        return self.accepted + self.eps

    @cached_property
    def after(self) -> Tensor:
        """The regularised background B' after the event is added."""
        return self.before + self.background_weight


@dataclass(frozen=True)
class SubmodularFigure(ABC):
    """A submodular figure of merit; its fields are its options.

    Attributes:
        label: name for legends.
        default_relative_eps: default eps over the background yield; None for a figure without a relative eps.
        default_eps: default eps as a yield; a figure without both defaults has no eps.
        needs_process: whether the figure depends on the yield of each background process.
    """

    label: ClassVar[str]
    default_relative_eps: ClassVar[float | None] = 0.05
    default_eps: ClassVar[float | None] = None
    needs_process: ClassVar[bool] = False

    @abstractmethod
    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """F(S, 0), the value without mispredicted events, for S >= 0 and eps > 0 of one shape."""

    @abstractmethod
    def gains(self, step: Step) -> Tensor:
        """Increase of Delta when each event is added to the mispredicted set, shape (..., n)."""

    def require_submodular(self, eps: Tensor, background_yields: Tensor) -> None:
        """Refuse yields for which the figure is not submodular; most figures are submodular for all yields.

        Args:
            eps: shape (..., 1).
            background_yields: total of each background process, shape (..., P), zero for signal.

        Raises:
            TrainingError: states the numbers and what to use instead.
        """
        del eps, background_yields


class SOverSqrtB(SubmodularFigure):
    """F = s / sqrt(B): signal w / sqrt(B), background s w / (sqrt(B) sqrt(B') (sqrt(B) + sqrt(B'))).

    The figure of arXiv:2412.09500; `ZLoss` is a slightly faster implementation of the same loss.
    """

    label = "s / sqrt(b)"

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S / sqrt(eps)."""
        return signal / torch.sqrt(eps)

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        return gains_of_variance(step, step.before, step.background_weight)


class SOverB(SubmodularFigure):
    """F = s / B: signal w / B, background s w / (B B')."""

    label = "s / b"

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S / eps."""
        return signal / eps

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        return (step.signal_weight + step.kept * (step.background_weight / step.after)) / step.before


@dataclass(frozen=True)
class Punzi(SubmodularFigure):
    """F = s / D with D = a/2 + sqrt(b): signal w / D, background s w / ((sqrt(b) + sqrt(b + w)) D D').

    G. Punzi, physics/0308063: the sensitivity of a search for a discovery at a = `sigmas` standard deviations.  It is
    finite without background and needs no eps; a sets the working point instead.
    """

    label: ClassVar[str] = "s / (a/2 + sqrt(b))"
    default_relative_eps: ClassVar[float | None] = None
    sigmas: float = 3.0

    def __post_init__(self) -> None:
        """Check the option."""
        require_positive("sigmas", self.sigmas, "3 or 5 is usual")

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """2 S / a."""
        del eps
        return signal * (2 / self.sigmas)

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        before, after = root_or_zero(step.accepted), root_or_zero(step.accepted + step.background_weight)
        growth = step.background_weight / torch.where(after > 0, before + after, 1)
        of_background = step.kept * (growth / (self.sigmas / 2 + after))
        return (step.signal_weight + of_background) / (self.sigmas / 2 + before)


class AsimovSquared(SubmodularFigure):
    """F = q0 = Z_A^2(s, B), arXiv:1007.1727 eq. 97 squared.

        signal      w [2 ln(1 + t/B) + u phi(u)],  u = w / (t + B)
        background  s^2 w / (B' (s + B')) [(w/B) phi(x1) + phi(x2)],  x1 = s w / (B (s + B')),  x2 = -s / (s + B')

    with phi of `zsig_hep.statistics.significance`, equation A.
    """

    label = "Z_A^2"

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """Z_A^2(S, eps)."""
        return squared(asimov(signal, eps))

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        share, growth = step.kept / (step.kept + step.after), step.background_weight / step.before
        u = step.signal_weight / (step.left + step.before)
        # u is zero for background and x1 is zero for signal: one evaluation of phi for both.
        curvature = phi(u + share * growth)
        of_signal = step.signal_weight * (2 * torch.log1p(step.left / step.before) + u * curvature)
        # Where s + B' is rounded to s, x2 would be -1, where ln(1 + x2) is infinite.
        of_kept = phi(-share.clamp(max=1 - torch.finfo(share.dtype).eps))
        scale = step.kept * share * (step.background_weight / step.after)
        result: Tensor = of_signal + scale * (growth * curvature + of_kept)
        return result


class AMSSquared(AsimovSquared):
    """F = AMS^2 of the HiggsML challenge: Z_A^2(s, b + b_r) with the regularisation eps = b_r = 10 events."""

    label = "AMS^2"
    default_relative_eps = None
    default_eps = 10.0


class SSquaredOverB(SubmodularFigure):
    """F = s^2 / B: signal w (s + t) / B, background s^2 w / (B B')."""

    label = "s^2 / b"

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S^2 / eps."""
        return signal * (signal / eps)

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        of_signal = step.signal_weight * ((step.kept + step.left) / step.before)
        return of_signal + step.kept * (step.kept / step.after) * (step.background_weight / step.before)


class SSquaredOverSPlusB(SubmodularFigure):
    """F = s^2 / (s + B): signal w [s t + B (s + t)] / ((s + B) (t + B)), background s^2 w / ((s + B) (s + B')).

    The signal's fraction is p + q - p q for the purities p = s / (s + B) and q = t / (t + B).
    """

    label = "s^2 / (s + b)"

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S^2 / (S + eps)."""
        return signal * (signal / (signal + eps))

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        purity, purity_left = step.kept / (step.kept + step.before), step.left / (step.left + step.before)
        of_signal = step.signal_weight * (purity + purity_left - purity * purity_left)
        return of_signal + step.kept * purity * (step.background_weight / (step.kept + step.after))


def gains_of_variance(step: Step, variance: Tensor, increment: Tensor) -> Tensor:
    """Gains of F = s / sqrt(V): signal w / sqrt(V), background s dV / (sqrt(V) sqrt(V') (sqrt(V) + sqrt(V'))).

    Args:
        step: yields at each event.
        variance: V before the event joins, positive.
        increment: dV = V' - V, zero for signal.

    Returns:
        The gains, shape (..., n).
    """
    before, after = torch.sqrt(variance), torch.sqrt(variance + increment)
    return (step.signal_weight + step.kept * (increment / (after * (before + after)))) / before


def require_positive(option: str, value: float, advice: str) -> None:
    """Refuse an option that is not a positive number.

    Raises:
        TrainingError: states the advice.
    """
    if not 0 < value < float("inf"):
        message = f"The Lovasz loss needs a positive {option}, found {value}; {advice}."
        raise TrainingError(message)


def squared(values: Tensor) -> Tensor:
    """Square of a significance, whose type is that of any array."""
    return values * values
