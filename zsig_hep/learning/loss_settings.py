"""Settings of the losses in the analysis file, and how they change over a phase of the training.

A loss that changes gives its settings at any point of the phase by `at(progress)`; `build` makes the loss of that point.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator
from torch import nn

from zsig_hep.learning.compositions import HypothesesLoss, SumLoss
from zsig_hep.learning.loss_base import (
    BaseLossSettings,
    GeometricPath,
    LinearPath,
    LossContext,
    require_context,
    start_of,
)
from zsig_hep.learning.plain_loss_settings import (
    BCELossSettings,
    BinnedAsimovLossSettings,
    FocalLossSettings,
    InverseAsimovLossSettings,
    LovaszLossSettings,
    PunziLossSettings,
    SoftSignificanceLossSettings,
    ZLossSettings,
)
from zsig_hep.settings import Settings

__all__ = [
    "BCELossSettings",
    "BinnedAsimovLossSettings",
    "EffectiveWeightsLossSettings",
    "FocalLossSettings",
    "GeometricPath",
    "HypothesesLossSettings",
    "InverseAsimovLossSettings",
    "LinearPath",
    "LossContext",
    "LossSettings",
    "LovaszLossSettings",
    "PunziLossSettings",
    "SoftSignificanceLossSettings",
    "SumLossSettings",
    "TermSettings",
    "ZLossSettings",
]


_Plain = (
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
    loss: Annotated[_Plain, Field(discriminator="name")] = ZLossSettings()
    combine: Literal["mean", "minimum"] = "mean"

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
        return HypothesesLoss(self.loss.build(known), known.signal_processes, combine=self.combine)

    def at(self, progress: float) -> Self:
        """Settings with the loss inside at its place."""
        return self.model_copy(update={"loss": self.loss.at(progress)})

    def with_eps(self, relative_eps: float) -> Self:
        """The same loss with an `auto` inside replaced by a number."""
        return self.model_copy(update={"loss": self.loss.with_eps(relative_eps)})


class TermSettings(Settings):
    """One term of a sum: a coefficient, constant or on a linear path, and a loss."""

    coefficient: NonNegativeFloat | LinearPath = 1.0
    loss: Annotated[_Plain | HypothesesLossSettings, Field(discriminator="name")]

    def at(self, progress: float) -> Self:
        """Term with its coefficient and its loss at their places."""
        coefficient = self.coefficient
        if isinstance(coefficient, LinearPath):
            coefficient = coefficient.at(progress)
        return self.model_copy(update={"coefficient": coefficient, "loss": self.loss.at(progress)})


class SumLossSettings(BaseLossSettings):
    """A sum of losses with coefficients; at most one of them has an eps to be chosen (`auto`)."""

    name: Literal["sum"] = "sum"
    terms: tuple[TermSettings, ...] = Field(min_length=1)

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


class EffectiveWeightsLossSettings(BaseLossSettings):
    """The recipe of self-consistent effective weights.

    The phase is trained with the base loss first, then its epochs once more, shared by the rounds.
    `damping` is the share of the previous weights that each round keeps.
    """

    name: Literal["effective_weights"] = "effective_weights"
    base: Annotated[ZLossSettings | BCELossSettings, Field(discriminator="name")] = BCELossSettings()
    rounds: PositiveInt = 4
    damping: float = Field(default=0.3, ge=0, lt=1)

    @field_validator("base")
    @classmethod
    def _without_path(cls, base: ZLossSettings | BCELossSettings) -> ZLossSettings | BCELossSettings:
        if base.eps_path is not None:
            message = "the base loss of effective_weights needs a number as relative_eps, not `auto`"
            raise ValueError(message)
        if isinstance(base, BCELossSettings) and base.weighting != "cross_section":
            message = (
                f"the base loss of effective_weights needs weights to change; weighting '{base.weighting}' has none"
            )
            raise ValueError(message)
        return base

    @property
    def label(self) -> str:
        """Name for legends."""
        return "effective weights"

    def build(self, context: LossContext | None = None) -> nn.Module:
        """Make the base loss, which is that of each round."""
        return self.base.build(context)

    def at(self, progress: float) -> Self:
        """Settings with the base loss at its place."""
        return self.model_copy(update={"base": self.base.at(progress)})


LossSettings = Annotated[
    _Plain | HypothesesLossSettings | SumLossSettings | EffectiveWeightsLossSettings, Field(discriminator="name")
]
