"""The union of the settings of all losses, and those of the recipe of effective weights."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator
from torch import nn

from zsig_hep.learning.losses.base import BaseLossSettings, LossContext
from zsig_hep.learning.losses.compositions import HypothesesLossSettings, PlainLossSettings, SumLossSettings
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.z_loss import ZLossSettings


class EffectiveWeightsLossSettings(BaseLossSettings):
    """Rounds of training with weights of the processes that follow from the working point of the previous round.

    The epochs of the phase are trained twice: once with the base loss, and once divided among the rounds.
    """

    name: Literal["effective_weights"] = "effective_weights"
    """Chooses this loss."""
    base: Annotated[ZLossSettings | BCELossSettings, Field(discriminator="name")] = BCELossSettings()
    """The loss of every round, by `name`: `bce` or `z`."""
    rounds: int = Field(default=4, gt=0, le=1000)
    """Number of rounds after the first training, among which the epochs of the phase are divided."""
    damping: float = Field(default=0.3, ge=0, lt=1)
    """Exponent of the previous weights in their geometric mean with the new ones; 0 takes the new ones."""

    @field_validator("base")
    @classmethod
    def _without_path(cls, base: ZLossSettings | BCELossSettings) -> ZLossSettings | BCELossSettings:
        if base.eps_path is not None:
            message = "the base loss of effective_weights needs a number as relative_eps, not `auto`"
            raise ValueError(message)
        if isinstance(base, BCELossSettings) and base.weighting != "cross_section":
            message = f"the base loss of effective_weights needs the weighting 'cross_section', not '{base.weighting}'"
            raise ValueError(message)
        return base

    @property
    def label(self) -> str:
        """Name for legends."""
        return "effective weights"

    def build(self, context: LossContext | None = None) -> nn.Module:
        """Make the base loss, which every round minimises."""
        return self.base.build(context)

    def at(self, progress: float) -> Self:
        """Settings with the base loss after a fraction `progress` of a phase."""
        return self.model_copy(update={"base": self.base.at(progress)})


LossSettings = Annotated[
    PlainLossSettings | HypothesesLossSettings | SumLossSettings | EffectiveWeightsLossSettings,
    Field(discriminator="name"),
]
