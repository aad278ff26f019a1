"""Submodular figures of merit F(s, b) and the marginal gains of the set functions that they define.

For a set M of mispredicted events that loses the signal a and accepts the background b, with S the total signal,

    Delta(M) = F(S, 0) - F(S - a, b)

is submodular for all non-negative weights if F_ss >= 0, F_sb <= 0 and F_bb >= 0: a figure of merit has to be convex in
the signal, which s / sqrt(b) is and Z_A is not.  The formulas use

    s = S - a  the signal still kept before the event joins M,   t = s - w  after a signal event of weight w has joined,
    B = b + eps  the background accepted before,                 B' = B + w  after a background event has joined,

and give F(s, B) - F(t, B) for signal and F(s, B) - F(s, B') for background without a difference of nearly equal
numbers.  They were derived for this package; the tests hold them against such differences in higher precision.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.statistics.significance import asimov, phi


@dataclass(frozen=True, eq=False)
class Step:
    """The yields at which each event, in order, joins the mispredicted set.

    Attributes:
        signal_weight: w if the event is signal, else zero, shape (..., n).
        background_weight: w if the event is background, else zero.
        kept: signal kept before it joins, s.
        accepted: background accepted before it joins, b.
        eps: the regularisation, positive, shape (..., 1).
        process: index of the event's process, where it is known.
    """

    signal_weight: Tensor
    background_weight: Tensor
    kept: Tensor
    accepted: Tensor
    eps: Tensor
    process: Tensor | None = None

    @cached_property
    def left(self) -> Tensor:
        """The signal kept after the event has joined, t; rounding must not make it negative."""
        return (self.kept - self.signal_weight).clamp(min=0)

    @cached_property
    def before(self) -> Tensor:
        """The regularised background before the event joins, B."""
        return self.accepted + self.eps

    @cached_property
    def after(self) -> Tensor:
        """The regularised background after the event has joined, B'."""
        return self.before + self.background_weight


@dataclass(frozen=True)
class SubmodularFigure(ABC):
    """A submodular figure of merit; its fields are its options.

    Attributes:
        label: name for legends.
        default_relative_eps: eps over the background yield where the user names none; None if there is no such default.
        default_eps: eps as a yield where the user names none; with neither default the figure has no eps.
        needs_process: whether the figure tells the background processes apart.
    """

    label: ClassVar[str]
    default_relative_eps: ClassVar[float | None] = 0.05
    default_eps: ClassVar[float | None] = None
    needs_process: ClassVar[bool] = False

    @abstractmethod
    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """F(S, 0), the value without a mistake, for S >= 0 and eps > 0 of one shape."""

    @abstractmethod
    def gains(self, step: Step) -> Tensor:
        """What Delta grows by when each event joins the mispredicted set, shape (..., n)."""

    def require_submodular(self, eps: Tensor, background_yields: Tensor) -> None:
        """Refuse yields for which the figure is not submodular; most figures are for all.

        Args:
            eps: shape (..., 1).
            background_yields: total of each background process, shape (..., P), zero for signal.

        Raises:
            TrainingError: with the numbers and what to use instead.
        """
        del eps, background_yields


class SOverSqrtB(SubmodularFigure):
    """F = s / sqrt(B): signal w / sqrt(B), background s w / (sqrt(B) sqrt(B') (sqrt(B) + sqrt(B'))).

    The figure of arXiv:2412.09500; `ZLoss` is the same loss, a little faster.
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

    G. Punzi, physics/0308063: the sensitivity of a search that claims at a = `sigmas` standard deviations.  Finite
    without background, it has no eps; a is the working-point knob instead.
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
        before, after = _sqrt(step.accepted), _sqrt(step.accepted + step.background_weight)
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
        # u is zero for background and x1 for signal, so that one evaluation of phi serves both.
        curvature = phi(u + share * growth)
        of_signal = step.signal_weight * (2 * torch.log1p(step.left / step.before) + u * curvature)
        # Where B is lost in the rounding of s + B', x2 would be -1, where ln(1 + x2) is infinite.
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
        TrainingError: with the advice.
    """
    if not 0 < value < float("inf"):
        message = f"The Lovasz loss needs a positive {option}, found {value}; {advice}."
        raise TrainingError(message)


def squared(values: Tensor) -> Tensor:
    """Square, as a product: the package's significances are typed as any array."""
    return values * values


def _sqrt(values: Tensor) -> Tensor:
    """Square root with a zero gradient, instead of an infinite one, at exactly zero."""
    positive = values > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, values, 1)), 0)
