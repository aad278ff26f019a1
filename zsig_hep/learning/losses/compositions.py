"""Losses made of losses: sums, and several signal hypotheses at once."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, field_validator
from torch import Tensor, nn

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.losses.base import (
    BaseLossSettings,
    LinearPath,
    LossContext,
    require_context,
    start_of,
)
from zsig_hep.learning.losses.cross_entropy import BCELossSettings, FocalLossSettings
from zsig_hep.learning.losses.lovasz_loss import LovaszLossSettings
from zsig_hep.learning.losses.margins import require_process
from zsig_hep.learning.losses.soft_counts import (
    BinnedAsimovLossSettings,
    InverseAsimovLossSettings,
    PunziLossSettings,
    SoftSignificanceLossSettings,
)
from zsig_hep.learning.losses.z_loss import ZLossSettings
from zsig_hep.settings import Settings


class SumLoss(nn.Module):
    """The sum of c_i L_i over several losses.

    Args:
        terms: pairs of a coefficient >= 0 and a loss.

    Raises:
        TrainingError: without terms, or for a coefficient that is negative or not finite.

    Example:
        >>> from zsig_hep.learning.losses.cross_entropy import BCELoss
        >>> from zsig_hep.learning.losses.z_loss import ZLoss
        >>> loss = SumLoss([(0.5, ZLoss()), (1.0, BCELoss())])
        >>> round(loss(torch.zeros(2), torch.tensor([True, False]), torch.ones(2)).item(), 4)
        1.1931
    """

    def __init__(self, terms: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.coefficients = tuple(float(coefficient) for coefficient, _ in terms)
        if not terms or not all(0 <= coefficient < float("inf") for coefficient in self.coefficients):
            message = f"A sum of losses needs terms with coefficients >= 0, found {list(self.coefficients)}."
            raise TrainingError(message)
        self.losses = nn.ModuleList(loss for _, loss in terms)

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`."""
        values = (loss(scores, is_signal, weights, process) for loss in self.losses)
        terms = [coefficient * value for coefficient, value in zip(self.coefficients, values, strict=True)]
        return torch.stack(terms).sum(0)


class HypothesesLoss(nn.Module):
    r"""A loss evaluated with one signal process at a time, all backgrounds present, and combined.

        mean      L = (1/H) sum_h L(signal of h only)
        minimum   L = max_h L(signal of h only): the hypothesis that loses the largest share of what it can reach

    Losses are normalised to one for the loss of everything, so these compare hypotheses relative to their own best, not
    in significance itself.

    A sum over signal processes instead, as a loss on its own has it, follows the hypothesis with the largest yield.

    Args:
        loss: the loss of one hypothesis.
        signal_processes: process index of the signal of each hypothesis.
        combine: mean or minimum.

    Raises:
        TrainingError: without a signal process, for an unknown way to combine, or if called without `process`.

    Example:
        >>> from zsig_hep.learning.losses.z_loss import ZLoss
        >>> loss = HypothesesLoss(ZLoss(), [0, 1], combine="minimum")
        >>> scores, process = torch.tensor([2.0, 0.0, -2.0]), torch.tensor([0, 1, 2])
        >>> loss(scores, process < 2, torch.ones(3), process).item()
        1.0
    """

    def __init__(
        self, loss: nn.Module, signal_processes: Sequence[int], *, combine: Literal["mean", "minimum"] = "mean"
    ) -> None:
        super().__init__()
        if not signal_processes:
            message = "A loss over hypotheses needs at least one signal process."
            raise TrainingError(message)
        if combine not in {"mean", "minimum"}:
            message = f"Unknown way {combine!r} to combine hypotheses.{nearest_name(combine, ['mean', 'minimum'])}"
            raise TrainingError(message)
        self.loss, self.signal_processes, self.combine = loss, tuple(signal_processes), combine

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`."""
        process = require_process(process, "A loss over hypotheses")
        # A leading axis of hypotheses, so that the loss sees them as members of an ensemble.
        kept = torch.stack([~is_signal | (process == index) for index in self.signal_processes])
        hypotheses = kept.view(len(kept), *(1,) * (scores.ndim + 1 - kept.ndim), *kept.shape[1:])
        stacked = scores.expand(len(kept), *scores.shape)
        values: Tensor = self.loss(stacked, is_signal, weights * hypotheses, process)
        return values.mean(0) if self.combine == "mean" else values.amax(0)


PlainLossSettings = (
    ZLossSettings
    | LovaszLossSettings
    | BCELossSettings
    | FocalLossSettings
    | InverseAsimovLossSettings
    | PunziLossSettings
    | BinnedAsimovLossSettings
    | SoftSignificanceLossSettings
)


class HypothesesLossSettings(BaseLossSettings):
    """A loss evaluated for each signal process alone: the mean of the hypotheses, or the worst of them."""

    name: Literal["hypotheses"] = "hypotheses"
    """Chooses this loss."""
    loss: Annotated[PlainLossSettings, Field(discriminator="name")] = ZLossSettings()
    """The loss of one hypothesis, by `name`."""
    combine: Literal["mean", "minimum"] = "mean"
    """Whether the mean of the hypotheses counts or the worst of them."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"{self.loss.label}, {'mean' if self.combine == 'mean' else 'worst'} hypothesis"

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Path of the loss inside."""
        return self.loss.eps_path

    def build(self, context: LossContext | None = None) -> HypothesesLoss:
        """Make the loss.

        Raises:
            TrainingError: without a context, which tells the signal processes.
        """
        known = require_context(context, self.label)
        return HypothesesLoss(self.loss.build(known), known.processes.rows("signal"), combine=self.combine)

    def at(self, progress: float) -> Self:
        """Settings with the loss inside at its place."""
        return self.model_copy(update={"loss": self.loss.at(progress)})

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with an `auto` inside replaced by a number."""
        return self.model_copy(update={"loss": self.loss.with_eps(relative_eps)})


class TermSettings(Settings):
    """One term of a sum: a coefficient, constant or on a linear path, and a loss."""

    coefficient: NonNegativeFloat | LinearPath = Field(default=1.0, examples=[0.3, {"start": 1.0, "stop": 0.0}])
    """Factor of the term: a number, or a linear path over the phase."""
    loss: Annotated[PlainLossSettings | HypothesesLossSettings, Field(discriminator="name")]
    """The loss of the term, by `name`."""

    def at(self, progress: float) -> Self:
        """Term with its coefficient and its loss at their places."""
        coefficient = self.coefficient
        if isinstance(coefficient, LinearPath):
            coefficient = coefficient.at(progress)
        return self.model_copy(update={"coefficient": coefficient, "loss": self.loss.at(progress)})


class SumLossSettings(BaseLossSettings):
    """A sum of losses with coefficients; at most one of them has an eps to be chosen (`auto`)."""

    name: Literal["sum"] = "sum"
    """Chooses this loss."""
    terms: tuple[TermSettings, ...] = Field(min_length=1)
    """The terms; at most one has `relative_eps: auto`."""

    @field_validator("terms")
    @classmethod
    def _one_path(cls, terms: tuple[TermSettings, ...]) -> tuple[TermSettings, ...]:
        if sum(term.loss.eps_path is not None for term in terms) > 1:
            message = "only one term of a sum may have `relative_eps: auto`"
            raise ValueError(message)
        return terms

    @property
    def label(self) -> str:
        """Name for legends."""
        return " + ".join(term.loss.label for term in self.terms)

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Path of the term that has one."""
        return next((term.loss.eps_path for term in self.terms if term.loss.eps_path), None)

    def build(self, context: LossContext | None = None) -> SumLoss:
        """Make the loss; paths give their first value."""
        return SumLoss([(start_of(term.coefficient), term.loss.build(context)) for term in self.terms])

    def at(self, progress: float) -> Self:
        """Settings with coefficients and losses at their places."""
        return self._with_terms(term.at(progress) for term in self.terms)

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with the `auto` of its term replaced by a number."""
        return self._with_terms(
            term.model_copy(update={"loss": term.loss.with_eps(relative_eps)}) for term in self.terms
        )

    def _with_terms(self, terms: Iterable[TermSettings]) -> Self:
        return self.model_copy(update={"terms": tuple(terms)})
