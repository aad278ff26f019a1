"""Losses of soft counts, in which the weight of each event is multiplied by the probability that the network predicts.

With the probability p = 1 / (1 + exp(-F)) of the score F, the soft yield of a set of events is sum w p, which tends to
the yield above the cut p > 1/2 where p is near 0 or 1.  S and B are the total signal and background yields of the
events given; each batch must have the full yield of every process.

Every loss is divided by its value for "accept everything" (p = 1), which is the same for every batch and in training
and validation.  The loss then does not depend on the luminosity, and is of order one for an untrained network, so that
step sizes and coefficients of sums do not depend on the yields.

Efficiencies below 1e-12 are replaced by 1e-12, without gradient, since the losses diverge for a vanishing signal
efficiency: losses and gradients are finite in float32.  Gradients are steep already at larger efficiencies, so start
from a network trained with cross entropy.  For a batch without signal the loss has its value for "accept everything";
in a batch without background the background is a constant as large as the signal.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.losses.base import BaseLossSettings, LossContext, require_context
from zsig_hep.learning.losses.margins import class_yields, inverse_or_zero, require_process, root_or_zero
from zsig_hep.settings import NonNegativeNumber, PositiveNumber
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.regularised import ams, punzi
from zsig_hep.statistics.significance import (
    DEFAULT_PARAMETERS,
    FigureOfMerit,
    FigureParameters,
    asimov,
    asimov_with_uncertainty,
)

SMALLEST_EFFICIENCY = 1e-12

Form = Literal["inverse_square", "log"]


class SoftSignificanceLoss(nn.Module):
    r"""Inverse square or negative logarithm of a significance of the soft counts (s, b_1, ..., b_P).

        inverse_square   L = Z(S, B)^2 / Z(s, b)^2
        log              L = 2 ln [Z(S, B) / Z(s, b)], its logarithm, with the same minimiser and smaller gradients

    with the soft yields s and b_p, b = sum_p b_p and, for the figures with uncertainty,
    sigma_b^2 = sum_p (k_p b_p)^2 + (k b)^2.  Cross entropy, in contrast, ignores the uncertainties of backgrounds.

    Args:
        figure: any of `FigureOfMerit`; an exact Poisson tail, which has no gradients, is replaced by its limit, the
            Asimov significance.
        process_uncertainties: k_p of each process in the order of the process index; None or zeros for none.
        relative_uncertainty: k, common to all backgrounds.
        form: inverse_square (positive) or log.
        figure_parameters: numbers in the definition of the figure.

    Raises:
        TrainingError: for an unknown figure or form, a negative uncertainty, or without `process` where it is needed.

    Example:
        >>> loss = SoftSignificanceLoss("s_over_sqrt_b")
        >>> scores = torch.tensor([40.0, 0.0])
        >>> loss(scores, torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item()
        0.5
    """

    def __init__(
        self,
        figure: FigureOfMerit | str = FigureOfMerit.ASIMOV,
        *,
        process_uncertainties: Sequence[float] | None = None,
        relative_uncertainty: float = 0.0,
        form: Form = "inverse_square",
        figure_parameters: FigureParameters = DEFAULT_PARAMETERS,
    ) -> None:
        super().__init__()
        _require_known("figure of merit", figure, [str(each) for each in FigureOfMerit])
        _require_known("form", form, ["inverse_square", "log"])
        given = [*(process_uncertainties or ()), relative_uncertainty]
        if any(not 0 <= k < float("inf") for k in given):
            message = f"A relative uncertainty must not be negative, found {given}."
            raise TrainingError(message)
        self.figure, self.form = FigureOfMerit(figure).differentiable_counterpart, form
        self.figure_parameters = figure_parameters
        self.process_uncertainties = tuple(process_uncertainties or ())
        self.relative_uncertainty = relative_uncertainty

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`, scores being logits."""
        weights = weights.to(scores.dtype)
        accepted = weights * torch.sigmoid(scores)
        totals = _Totals(weights, is_signal)
        s, b = totals.soft(accepted)
        variances = (
            self._variance(b, accepted, is_signal, process),
            self._variance(totals.background, weights, is_signal, process),
        )
        # One call for both, since the overhead of a call is larger than the cost of a few numbers.
        both = ((s, totals.signal), (b, totals.background), variances)
        soft, best = self._log_significance(
            *(torch.stack([of_soft, of_all.expand_as(of_soft)]) for of_soft, of_all in both)
        )
        log_ratio = 2 * (best - soft) * totals.has_signal
        return log_ratio if self.form == "log" else torch.exp(log_ratio)

    def _variance(self, background: Tensor, weights: Tensor, is_signal: Tensor, process: Tensor | None) -> Tensor:
        """sigma_b^2 for soft weights of events and their background yield, shape (...)."""
        if not self.figure.knows_background_uncertainty:
            return torch.zeros_like(background)
        variance = (self.relative_uncertainty * background) ** 2
        if not any(self.process_uncertainties):
            return variance
        process = require_process(process, "The soft significance loss with an uncertainty per process")
        of_background = weights * ~is_signal
        for index, k in enumerate(self.process_uncertainties):
            if k > 0:
                variance = variance + (k * (of_background * (process == index)).sum(-1)) ** 2
        return variance

    def _log_significance(self, s: Tensor, b: Tensor, variance: Tensor) -> Tensor:
        if self.figure in {FigureOfMerit.S_OVER_SQRT_B, FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY}:
            return torch.log(s) - torch.log(b + variance) / 2
        if self.figure is FigureOfMerit.AMS:
            return torch.log(ams(s, b, self.figure_parameters.ams_regularisation))
        if self.figure is FigureOfMerit.PUNZI:
            return torch.log(punzi(s, b, self.figure_parameters.punzi_sigmas))
        if self.figure is FigureOfMerit.ASIMOV:
            return torch.log(asimov(s, b))
        return torch.log(asimov_with_uncertainty(s, b, root_or_zero(variance)))


class InverseAsimovLoss(SoftSignificanceLoss):
    r"""1 / Z_A^2 of the soft counts: A. Elwood, D. Kruecker, M. Shchedrolosiev, arXiv:1806.00322.

        L = Z_A(S, B; k B)^2 / Z_A(s, b; k b)^2

    with a relative uncertainty k of the total background, zero by default.

    Args:
        relative_uncertainty: k >= 0.

    Raises:
        TrainingError: for a negative k.

    Example:
        >>> value = InverseAsimovLoss()(torch.tensor([40.0, 0.0]), torch.tensor([True, False]), torch.tensor([1.0, 10.0]))
        >>> round(value.item(), 4)
        0.5154
    """

    def __init__(self, relative_uncertainty: float = 0.0) -> None:
        super().__init__(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, relative_uncertainty=relative_uncertainty)


class PunziLoss(nn.Module):
    r"""Smallest cross section that a search is sensitive to, averaged over signal hypotheses: arXiv:2110.00810.

        sigma_min = [a^2/8 + 9 b^2/13 + a sqrt(B) + (b/2) sqrt(b^2 + 4 a sqrt(B) + 4 B)] / (efficiency L)
        L         = mean over hypotheses of sigma_min(soft) / sigma_min(accept everything)

    for a discovery at a and an exclusion at b standard deviations (G. Punzi, physics/0308063).  The luminosity cancels.
    Each signal process is one hypothesis; hypotheses without events are not in the mean.  Departure from the paper: no
    mass windows, so that all hypotheses have the same background.

    Args:
        a: significance that a discovery needs, in standard deviations, positive.
        b: significance of the exclusion, positive; 1.28155 is a one-sided confidence level of 90 %.
        signal_processes: indices of the signal processes; None takes all signal as one hypothesis.

    Raises:
        TrainingError: if a or b is not positive, or without `process` where there are hypotheses.

    Example:
        >>> loss = PunziLoss()
        >>> scores = torch.tensor([0.0, 40.0])
        >>> loss(scores, torch.tensor([True, False]), torch.tensor([1.0, 10.0])).item()
        2.0
    """

    def __init__(self, a: float = 3.0, b: float = 1.28155, *, signal_processes: Sequence[int] | None = None) -> None:
        super().__init__()
        if not (a > 0 and b > 0):
            message = f"The Punzi loss needs a > 0 and b > 0 standard deviations, found {a} and {b}."
            raise TrainingError(message)
        self.a, self.b = a, b
        self.signal_processes = None if signal_processes is None else tuple(signal_processes)

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`, scores being logits."""
        weights = weights.to(scores.dtype)
        accepted = weights * torch.sigmoid(scores)
        totals = _Totals(weights, is_signal)
        ratio = self._numerator(totals.soft(accepted)[1]) / self._numerator(totals.background)
        inverse, present = torch.zeros_like(ratio), torch.zeros_like(ratio)
        for mine in self._hypotheses(is_signal, process):
            total = (weights * mine).sum(-1)
            efficiency = _efficiency((accepted * mine).sum(-1), total)
            inverse, present = inverse + (total > 0) / efficiency, present + (total > 0)
        return torch.where(present > 0, ratio * inverse * inverse_or_zero(present), 1)

    def _hypotheses(self, is_signal: Tensor, process: Tensor | None) -> list[Tensor]:
        if self.signal_processes is None:
            return [is_signal]
        process = require_process(process, "The Punzi loss over several hypotheses")
        return [is_signal & (process == index) for index in self.signal_processes]

    def _numerator(self, background: Tensor) -> Tensor:
        a, b, root = self.a, self.b, root_or_zero(background)
        constant = a**2 / 8 + 9 * b**2 / 13
        return constant + a * root + b / 2 * torch.sqrt(b**2 + 4 * a * root + 4 * background)


class BinnedAsimovLoss(nn.Module):
    r"""Asimov significance of a histogram of the probability, combined in quadrature over its bins.

        L = Z_A(S, B)^2 / sum_j Z_A(s_j, b_j)^2,    s_j = sum_signal w m_j(p),  b_j = sum_background w m_j(p)

    The fractions m_j(p) of an event in the bins are those of its probability smeared with a logistic distribution of
    scale h: with edges e_j = j / k,

        m_j(p) = sigma((p - e_j) / h) - sigma((p - e_{j+1}) / h),    h = smoothing / k,

    and the outermost edges at infinity, so that the fractions of each event are positive and their sum is one.  Since
    Z_A^2 of separate bins is not below that of their sum, 0 < L <= 1, and L = 1 for a network without any separation.
    The loss is the same for p and 1 - p: start from a network trained with cross entropy, in which signal has large p.

    Args:
        bins: number of bins k, at least 1.
        smoothing: h in units of the bin width, positive.

    Raises:
        TrainingError: for fewer than one bin or a smoothing that is not positive.

    Example:
        >>> scores, is_signal = torch.tensor([40.0, -40.0]), torch.tensor([True, False])
        >>> round(BinnedAsimovLoss(1)(scores, is_signal, torch.tensor([1.0, 10.0])).item(), 4)
        1.0
    """

    def __init__(self, bins: int = 10, smoothing: float = 0.2) -> None:
        super().__init__()
        if bins < 1 or not smoothing > 0:
            message = f"The binned Asimov loss needs bins >= 1 and smoothing > 0, found {bins} and {smoothing}."
            raise TrainingError(message)
        self.bins, self.smoothing = bins, smoothing

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`, scores being logits; `process` is not used."""
        del process
        weights = weights.to(scores.dtype)
        totals = _Totals(weights, is_signal)
        position = torch.sigmoid(scores) * (self.bins / self.smoothing)
        counts = [totals.soft(weights * self._shares(position, index)) for index in range(self.bins)]
        everything = totals.signal.expand_as(counts[0][0]), totals.background.expand_as(counts[0][1])
        s, b = (torch.stack(each) for each in zip(everything, *counts, strict=True))
        best, *bins = asimov(s, b).square()
        return torch.where(totals.has_signal, best / torch.stack(bins).sum(0), 1)

    def _shares(self, position: Tensor, index: int) -> Tensor:
        """Fraction of each event in a bin; `position` is p / h."""
        width = 1 / self.smoothing
        # sigma(x) - sigma(x - d) = (1 - exp(-d)) sigma(x) sigma(d - x), without cancellation.
        above = torch.sigmoid(position - index * width) if index > 0 else torch.ones_like(position)
        if index == self.bins - 1:
            return above
        below = torch.sigmoid((index + 1) * width - position)
        return below if index == 0 else -math.expm1(-width) * above * below


class _Totals:
    """Yields of "accept everything"; a class without events gets the yields described at the top."""

    def __init__(self, weights: Tensor, is_signal: Tensor) -> None:
        signal, background = class_yields(weights, is_signal)
        self.is_signal = is_signal
        self.given = signal.squeeze(-1), background.squeeze(-1)
        self.has_signal = self.given[0] > 0
        self.signal = torch.where(self.has_signal, self.given[0], 1)
        self.background = torch.where(self.given[1] > 0, self.given[1], self.signal)

    def soft(self, accepted: Tensor) -> tuple[Tensor, Tensor]:
        """Soft signal and background yields, at least `SMALLEST_EFFICIENCY` of each."""
        s, b = (total.squeeze(-1) for total in class_yields(accepted, self.is_signal))
        return self.signal * _efficiency(s, self.given[0]), self.background * _efficiency(b, self.given[1])


def _efficiency(accepted: Tensor, total: Tensor) -> Tensor:
    """Accepted over total, at least `SMALLEST_EFFICIENCY`; one without events."""
    return torch.where(total > 0, (accepted * inverse_or_zero(total)).clamp(min=SMALLEST_EFFICIENCY), 1)


def _require_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        message = f"Unknown {what} {name!r} of the soft significance loss.{nearest_name(name, known)}"
        raise TrainingError(message)


class InverseAsimovLossSettings(BaseLossSettings):
    """1 / Z_A^2 of soft counts, arXiv:1806.00322, with a relative uncertainty of the total background."""

    name: Literal["inverse_asimov"] = "inverse_asimov"
    """Chooses this loss."""
    relative_uncertainty: NonNegativeNumber = 0.0
    """Relative uncertainty of the total background."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "1 / Z_A^2 loss"

    def build(self, context: LossContext | None = None) -> InverseAsimovLoss:
        """Make the loss."""
        del context
        return InverseAsimovLoss(self.relative_uncertainty)


class PunziLossSettings(BaseLossSettings):
    """The Punzi loss of soft counts, arXiv:2110.00810; each signal process is one hypothesis."""

    name: Literal["punzi"] = "punzi"
    """Chooses this loss."""
    a: PositiveNumber = 3.0
    """Significance that a discovery needs [standard deviations]."""
    b: PositiveNumber = 1.28155
    """Significance of the exclusion; 1.28155 is a one-sided confidence level of 90 % [standard deviations]."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Punzi loss"

    def build(self, context: LossContext | None = None) -> PunziLoss:
        """Make the loss; without a context all signal is one hypothesis."""
        return PunziLoss(self.a, self.b, signal_processes=None if context is None else context.processes.rows("signal"))


class BinnedAsimovLossSettings(BaseLossSettings):
    """The Asimov significance of a histogram of the score."""

    name: Literal["binned_asimov"] = "binned_asimov"
    """Chooses this loss."""
    bins: int = Field(default=10, gt=0, le=1000)
    """Number of bins of the score."""
    smoothing: PositiveNumber = 0.2
    """Width of the smeared edge of a bin, in units of the bin width."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "binned Asimov loss"

    def build(self, context: LossContext | None = None) -> BinnedAsimovLoss:
        """Make the loss."""
        del context
        return BinnedAsimovLoss(self.bins, self.smoothing)


class SoftSignificanceLossSettings(BaseLossSettings):
    """The significance of soft counts with the uncertainties of the backgrounds in `selection`."""

    name: Literal["soft_significance"] = "soft_significance"
    """Chooses this loss."""
    figure: FigureOfMerit | None = None
    """Figure of merit; by default that of `selection`."""
    form: Form = "inverse_square"
    """"inverse_square" minimises 1 / Z^2, "log" its logarithm, which has the same minimum and smaller gradients."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "soft significance loss"

    def build(self, context: LossContext | None = None) -> SoftSignificanceLoss:
        """Make the loss.

        Raises:
            TrainingError: without a context if the figure is not given or has an uncertainty.
        """
        if self.figure is None:
            require_context(context, self.label)
        objective = (context and context.objective) or Objective()
        figure = self.figure or objective.figure
        if not figure.knows_background_uncertainty:
            return SoftSignificanceLoss(figure, form=self.form, figure_parameters=objective.parameters)
        known = require_context(context, self.label)
        return SoftSignificanceLoss(
            figure,
            process_uncertainties=known.process_uncertainties,
            relative_uncertainty=objective.relative_background_uncertainty,
            form=self.form,
        )
