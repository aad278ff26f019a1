"""Settings of the losses that are not made of other losses."""

from typing import Literal, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from zsig_hep.errors import TrainingError
from zsig_hep.learning.loss_base import BaseLossSettings, EpsSetting, EpsSettings, LossContext, require_context
from zsig_hep.learning.losses import BCELoss, FocalLoss, Weighting, ZLoss
from zsig_hep.learning.lovasz_loss import LovaszLoss
from zsig_hep.learning.margins import ErrorName
from zsig_hep.learning.merit_registry import MERITS
from zsig_hep.learning.soft_counts import BinnedAsimovLoss, Form, InverseAsimovLoss, PunziLoss, SoftSignificanceLoss
from zsig_hep.statistics.significance import DEFAULT_PARAMETERS, FigureOfMerit


class ZLossSettings(EpsSettings):
    """Settings of the Z loss in the analysis file."""

    name: Literal["z"] = "z"
    error: ErrorName = "hinge"
    relative_eps: EpsSetting = 0.05

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Z loss"

    def build(self, context: LossContext | None = None) -> ZLoss:
        """Make the loss; a path gives its first value."""
        del context
        return ZLoss(self.first_eps, error=self.error, check_weights=False)


class LovaszLossSettings(EpsSettings):
    """Settings of the Lovasz loss of a submodular figure of merit.

    An option that is left out takes the default of the figure; one that the figure does not have is refused.
    """

    name: Literal["lovasz"] = "lovasz"
    figure: str = "asimov_squared"
    error: ErrorName = "hinge"
    relative_eps: EpsSetting | None = None
    eps: PositiveFloat | None = None
    relative_uncertainty: PositiveFloat | None = None
    sigmas: PositiveFloat | None = None

    @model_validator(mode="after")
    def _figure_knows_the_options(self) -> Self:
        # The uncertainties of the processes are known only when the loss is built.
        stand_in = (0.0,) if self._needs_process else None
        try:
            self._make(self.path[0] if self.eps_path else self.first_eps, stand_in)
        except TrainingError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"Lovasz loss of {MERITS[self.figure].label}"

    def build(self, context: LossContext | None = None) -> LovaszLoss:
        """Make the loss; a path gives its first value, and uncertainties of processes come from the context.

        Raises:
            TrainingError: if the figure is not submodular for the yields of the context, or needs one and has none.
        """
        if not self._needs_process:
            loss = self._make(self.first_eps)
        else:
            loss = self._make(self.first_eps, require_context(context, self.label).process_uncertainties)
        if context is not None:
            loss.require_submodular(torch.tensor(context.yields), torch.tensor(context.signal))
        return loss

    @property
    def _needs_process(self) -> bool:
        return self.figure in MERITS and MERITS[self.figure].needs_process

    def _make(self, relative_eps: float | None, process_uncertainties: tuple[float, ...] | None = None) -> LovaszLoss:
        return LovaszLoss(
            self.figure,
            relative_eps=relative_eps,
            eps=self.eps,
            relative_uncertainty=self.relative_uncertainty,
            process_uncertainties=process_uncertainties,
            sigmas=self.sigmas,
            error=self.error,
            check_weights=False,
        )


class BCELossSettings(BaseLossSettings):
    """Settings of the binary cross entropy in the analysis file."""

    name: Literal["bce"] = "bce"
    weighting: Weighting = "cross_section"

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"{_WEIGHTING_LABELS[self.weighting]} BCE"

    def build(self, context: LossContext | None = None) -> BCELoss:
        """Make the loss."""
        return BCELoss(weighting=self.weighting, process_count=_process_count(context))


class FocalLossSettings(BaseLossSettings):
    """Settings of the focal loss."""

    name: Literal["focal"] = "focal"
    gamma: NonNegativeFloat = 2.0
    weighting: Weighting = "cross_section"

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"{_WEIGHTING_LABELS[self.weighting]} focal loss"

    def build(self, context: LossContext | None = None) -> FocalLoss:
        """Make the loss."""
        return FocalLoss(self.gamma, weighting=self.weighting, process_count=_process_count(context))


_WEIGHTING_LABELS = {"cross_section": "weighted", "events": "unweighted", "processes": "process-balanced"}


class InverseAsimovLossSettings(BaseLossSettings):
    """Settings of 1 / Z_A^2 on soft counts, with a relative uncertainty of the whole background."""

    name: Literal["inverse_asimov"] = "inverse_asimov"
    relative_uncertainty: NonNegativeFloat = 0.0

    @property
    def label(self) -> str:
        """Name for legends."""
        return "1 / Z_A^2 loss"

    def build(self, context: LossContext | None = None) -> InverseAsimovLoss:
        """Make the loss."""
        del context
        return InverseAsimovLoss(self.relative_uncertainty)


class PunziLossSettings(BaseLossSettings):
    """Settings of the Punzi loss on soft counts, each signal process one hypothesis."""

    name: Literal["punzi"] = "punzi"
    a: PositiveFloat = 3.0
    b: PositiveFloat = 1.28155

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Punzi loss"

    def build(self, context: LossContext | None = None) -> PunziLoss:
        """Make the loss; without a context all signal is one hypothesis."""
        return PunziLoss(self.a, self.b, signal_processes=None if context is None else context.signal_processes)


class BinnedAsimovLossSettings(BaseLossSettings):
    """Settings of the Asimov significance over bins of the score."""

    name: Literal["binned_asimov"] = "binned_asimov"
    bins: PositiveInt = 10
    smoothing: PositiveFloat = 0.2

    @property
    def label(self) -> str:
        """Name for legends."""
        return "binned Asimov loss"

    def build(self, context: LossContext | None = None) -> BinnedAsimovLoss:
        """Make the loss."""
        del context
        return BinnedAsimovLoss(self.bins, self.smoothing)


class SoftSignificanceLossSettings(BaseLossSettings):
    """Settings of a significance of soft counts with the uncertainties that the analysis declares.

    The figure of merit is by default that of the analysis.
    """

    name: Literal["soft_significance"] = "soft_significance"
    figure: FigureOfMerit | None = None
    form: Form = "inverse_square"

    @property
    def label(self) -> str:
        """Name for legends."""
        return "soft significance loss"

    def build(self, context: LossContext | None = None) -> SoftSignificanceLoss:
        """Make the loss.

        Raises:
            TrainingError: without a context if the figure is not named or knows uncertainties.
        """
        figure = self.figure
        if figure is None:
            figure = require_context(context, self.label).figure or FigureOfMerit.ASIMOV
        if not figure.knows_background_uncertainty:
            parameters = DEFAULT_PARAMETERS if context is None else context.figure_parameters
            return SoftSignificanceLoss(figure, form=self.form, figure_parameters=parameters)
        known = require_context(context, self.label)
        return SoftSignificanceLoss(
            figure,
            process_uncertainties=known.process_uncertainties,
            relative_uncertainty=known.relative_background_uncertainty,
            form=self.form,
        )


def _process_count(context: LossContext | None) -> int | None:
    return None if context is None else len(context.process_names)
