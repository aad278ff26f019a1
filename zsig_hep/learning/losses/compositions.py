"""Losses composed of losses: sums, and losses over several signal hypotheses."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.losses.base import BaseLossSettings, LinearPath, LossContext, require_context, start_of
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
from zsig_hep.settings import NonNegativeNumber, Settings


class SumLoss(nn.Module):
    """The sum of several losses, L = sum_i c_i L_i.

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
    r"""A combination of the losses of several signal hypotheses, each with one signal process and all backgrounds.

        mean      L = (1/H) sum_h L_h
        minimum   L = max_h L_h, the hypothesis with the smallest significance relative to the best possible one

    The normalisation of L_h, one for the set of all events, makes hypotheses comparable relative to their best
    significance, not in significance itself.  A loss without hypotheses adds the yields of the signal processes and is
    dominated by the largest.

    Args:
        loss: the loss of one hypothesis.
        signal_processes: process index of the signal of each hypothesis.
        combine: mean or minimum.

    Raises:
        TrainingError: without a signal process, for an unknown combination, or if called without `process`.

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
        # Hypotheses are a leading axis, like the members of an ensemble.
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
    """A loss for several signal hypotheses, each with one signal process: their mean, or the worst of them."""

    name: Literal["hypotheses"] = "hypotheses"
    """Chooses this loss."""
    loss: Annotated[PlainLossSettings, Field(discriminator="name")] = ZLossSettings()
    """The loss of one hypothesis, by `name`."""
    combine: Literal["mean", "minimum"] = "mean"
    """Whether the mean of the hypotheses is minimised ("mean"), or the worst of them ("minimum")."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"{self.loss.label}, {'mean' if self.combine == 'mean' else 'worst'} hypothesis"

    @property
    def eps_path(self) -> tuple[float, ...] | None:
        """Values of eps of the loss of one hypothesis."""
        return self.loss.eps_path

    def build(self, context: LossContext | None = None) -> HypothesesLoss:
        """Make the loss.

        Raises:
            TrainingError: without a context, which has the signal processes.
        """
        known = require_context(context, self.label)
        return HypothesesLoss(self.loss.build(known), known.processes.rows("signal"), combine=self.combine)

    def at(self, progress: float) -> Self:
        """Settings with those of the loss after a fraction `progress` of a phase."""
        return self.model_copy(update={"loss": self.loss.at(progress)})

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with an `auto` eps replaced by a number."""
        return self.model_copy(update={"loss": self.loss.with_eps(relative_eps)})


class TermSettings(Settings):
    """One term of a sum of losses."""

    coefficient: NonNegativeNumber | LinearPath = Field(default=1.0, examples=[0.3, {"start": 1.0, "stop": 0.0}])
    """Factor of the term: a number, or a linear path over the phase."""
    loss: Annotated[PlainLossSettings | HypothesesLossSettings, Field(discriminator="name")]
    """The loss of the term, by `name`."""

    def at(self, progress: float) -> Self:
        """The term after a fraction `progress` of a phase."""
        coefficient = self.coefficient
        if isinstance(coefficient, LinearPath):
            coefficient = coefficient.at(progress)
        return self.model_copy(update={"coefficient": coefficient, "loss": self.loss.at(progress)})


class SumLossSettings(BaseLossSettings):
    """A sum of losses with coefficients."""

    name: Literal["sum"] = "sum"
    """Chooses this loss."""
    terms: tuple[TermSettings, ...] = Field(min_length=1, max_length=100)
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
        """Values of eps of the term with `relative_eps: auto`."""
        return next((term.loss.eps_path for term in self.terms if term.loss.eps_path), None)

    def build(self, context: LossContext | None = None) -> SumLoss:
        """Make the loss, with the first values of paths."""
        return SumLoss([(start_of(term.coefficient), term.loss.build(context)) for term in self.terms])

    def at(self, progress: float) -> Self:
        """Settings with the terms after a fraction `progress` of a phase."""
        return self._with_terms(term.at(progress) for term in self.terms)

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with an `auto` eps of a term replaced by a number."""
        return self._with_terms(
            term.model_copy(update={"loss": term.loss.with_eps(relative_eps)}) for term in self.terms
        )

    def _with_terms(self, terms: Iterable[TermSettings]) -> Self:
        return self.model_copy(update={"terms": tuple(terms)})
