"""Settings of the losses in the analysis file, and how they change over a phase of the training.

A loss that changes gives its settings at any point of the phase by `at(progress)`; `build` makes the loss of that point.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, field_validator
from torch import nn

from zsig_hep.learning.losses.base import (
    BaseLossSettings,
    LossContext,
)
from zsig_hep.learning.losses.compositions import HypothesesLossSettings, PlainLossSettings, SumLossSettings
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.z_loss import ZLossSettings


class EffectiveWeightsLossSettings(BaseLossSettings):
    """The recipe of self-consistent effective weights.

    The phase is trained with the base loss first, then its epochs once more, shared by the rounds.
    """

    name: Literal["effective_weights"] = "effective_weights"
    """Chooses this loss."""
    base: Annotated[ZLossSettings | BCELossSettings, Field(discriminator="name")] = BCELossSettings()
    """The loss of every round, by `name`: `bce` or `z`."""
    rounds: PositiveInt = 4
    """Number of rounds after the first training; they share the epochs of the phase."""
    damping: float = Field(default=0.3, ge=0, lt=1)
    """Share of the weights of the previous round in those of the next one."""

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
    PlainLossSettings | HypothesesLossSettings | SumLossSettings | EffectiveWeightsLossSettings,
    Field(discriminator="name"),
]
