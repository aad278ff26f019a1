"""The Lovasz loss of a submodular figure of merit."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.losses import submodular_figures as figures
from zsig_hep.learning.losses import submodular_figures_with_uncertainty as figures_with_uncertainty
from zsig_hep.learning.losses.base import EpsSetting, EpsSettings, LossContext, require_context
from zsig_hep.learning.losses.lovasz import lovasz_extension, lovasz_extension_by_process
from zsig_hep.learning.losses.margins import (
    ERRORS,
    ErrorName,
    check_set_loss_options,
    class_yields,
    inverse_or_zero,
    margin,
    require_non_negative,
    require_process,
)
from zsig_hep.learning.losses.submodular_figures import Step, SubmodularFigure
from zsig_hep.settings import PositiveNumber


class LovaszLoss(nn.Module):
    r"""Lovasz extension of the decrease of a submodular figure of merit F, normalised to one for the set of all events.

    For a set M of mispredicted events that loses the signal yield a and accepts the background yield b, the loss

        Delta(M) = [F(S, 0) - F(S - a, b)] / F(S, 0)

    is exact at every binary vertex, and its extension is convex, since F is submodular: see `submodular_figures` for
    the condition and `SUBMODULAR_FIGURES` for the names.  With s_over_sqrt_b it is `ZLoss`, whose remarks on eps are
    valid here too.

    Each call is normalised to the yields it is given.  Without background a relative eps is relative to the signal;
    without signal the loss is zero.

    Args:
        figure: name of the figure of merit.
        relative_eps: eps / B, positive; by default 0.05 for figures with a relative eps.
        eps: eps as a yield instead; by default 10 for ams_squared.  punzi has no eps.
        relative_uncertainty: k of the figures with uncertainty.
        process_uncertainties: k_p of each process, for s_over_sqrt_b_with_process_uncertainties.
        sigmas: a of punzi; default 3.
        error: hinge, sigmoid, cross_entropy or focal.
        check_weights: whether every call checks for negative weights, and for yields for which the figure is not
            submodular; False if the caller has checked them.

    Raises:
        TrainingError: for a figure that is unknown or not submodular, options it does not have, or negative weights.

    Example:
        >>> loss = LovaszLoss("s_over_b", eps=1.0)
        >>> loss(torch.tensor([1.0, 0.0]), torch.tensor([True, False]), torch.tensor([2.0, 1.0])).item()
        0.5
    """

    def __init__(
        self,
        figure: str,
        *,
        relative_eps: float | None = None,
        eps: float | None = None,
        relative_uncertainty: float | None = None,
        process_uncertainties: Sequence[float] | None = None,
        sigmas: float | None = None,
        error: str = "hinge",
        check_weights: bool = True,
    ) -> None:
        super().__init__()
        self.figure_of_merit = make_submodular_figure(
            figure,
            relative_uncertainty=relative_uncertainty,
            process_uncertainties=None if process_uncertainties is None else tuple(process_uncertainties),
            sigmas=sigmas,
        )
        check_set_loss_options(f"Lovasz loss of {figure}", error, relative_eps, eps)
        default_relative_eps, default_eps = self.figure_of_merit.default_relative_eps, self.figure_of_merit.default_eps
        if default_relative_eps is None and relative_eps is not None:
            known = "an absolute eps" if default_eps else "none: its working point is set by sigmas"
            message = f"The figure of merit {figure} has no relative_eps; it has {known}."
            raise TrainingError(message)
        if default_relative_eps is None and default_eps is None and eps is not None:
            message = f"The figure of merit {figure} has no eps; its working point is set by sigmas."
            raise TrainingError(message)
        if relative_eps is None and eps is None:
            relative_eps, eps = default_relative_eps, default_eps
        self.figure, self.relative_eps, self.eps = figure, relative_eps, eps
        self.error, self.check_weights = error, check_weights

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`.

        Raises:
            TrainingError: if the figure depends on the yield of each process and `process` is None.
        """
        weights = weights.to(scores.dtype)
        signal, background = class_yields(weights, is_signal)
        eps = self._eps(signal, background)
        if self.figure_of_merit.needs_process:
            process = require_process(process, f"The Lovasz loss of {self.figure}")
        if self.check_weights:
            self._check(weights, is_signal, eps, process)
        errors = ERRORS[self.error](margin(scores, is_signal))
        inverse = inverse_or_zero(self.figure_of_merit.best(signal, eps))

        def gains(*yields: Any) -> Tensor:
            signal_weight, background_weight, lost, accepted, *ordered_process = yields
            kept = (signal - lost).clamp(min=0)
            step = Step(signal_weight, background_weight, kept, accepted, eps, *ordered_process)
            return self.figure_of_merit.gains(step) * inverse

        if process is not None and self.figure_of_merit.needs_process:
            return lovasz_extension_by_process(errors, is_signal, weights, process, gains)
        return lovasz_extension(errors, is_signal, weights, gains)

    def _eps(self, signal: Tensor, background: Tensor) -> Tensor:
        if self.relative_eps is None:
            return torch.full_like(background, 1.0 if self.eps is None else self.eps)
        scale = torch.where(background > 0, background, signal)
        return self.relative_eps * torch.where(scale > 0, scale, 1)

    def require_submodular(self, yields: Tensor, is_signal: Tensor) -> None:
        """Refuse process yields for which the figure of merit is not submodular.

        Args:
            yields: total yield of each process, shape (..., P).
            is_signal: whether each process is signal, shape (P,).

        Raises:
            TrainingError: states the numbers and what to use instead.
        """
        signal, background = class_yields(yields, is_signal)
        self.figure_of_merit.require_submodular(self._eps(signal, background), yields * ~is_signal)

    def _check(self, weights: Tensor, is_signal: Tensor, eps: Tensor, process: Tensor | None) -> None:
        require_non_negative(weights)
        background_weight = weights * ~is_signal
        if self.figure_of_merit.needs_process and process is not None:
            count = max(int(process.max()) + 1, len(getattr(self.figure_of_merit, "process_uncertainties", ())))
            yields = [(background_weight * (process == index)).sum(-1) for index in range(count)]
            self.figure_of_merit.require_submodular(eps, torch.stack(yields, -1))
        else:
            self.figure_of_merit.require_submodular(eps, background_weight.sum(-1, keepdim=True))


SUBMODULAR_FIGURES: dict[str, type[SubmodularFigure]] = {
    "s_over_sqrt_b": figures.SOverSqrtB,
    "s_over_b": figures.SOverB,
    "punzi": figures.Punzi,
    "asimov_squared": figures.AsimovSquared,
    "ams_squared": figures.AMSSquared,
    "asimov_squared_with_uncertainty": figures_with_uncertainty.AsimovSquaredWithUncertainty,
    "s_squared_over_b": figures.SSquaredOverB,
    "s_squared_over_s_plus_b": figures.SSquaredOverSPlusB,
    "s_over_sqrt_b_with_uncertainty": figures_with_uncertainty.SOverSqrtBWithUncertainty,
    "s_over_sqrt_b_with_uncertainty_of_b": figures_with_uncertainty.SOverSqrtBWithUncertaintyOfB,
    "s_over_sqrt_b_with_process_uncertainties": figures_with_uncertainty.SOverSqrtBWithProcessUncertainties,
}

_CONCAVE = "it is concave in the signal, so that losing the second signal event costs more than losing the first"

NOT_SUBMODULAR: dict[str, tuple[str, str]] = {
    "s_over_sqrt_s_plus_b": (_CONCAVE, "s_squared_over_s_plus_b"),
    "asimov": (_CONCAVE, "asimov_squared"),
    "ams": (_CONCAVE, "ams_squared"),
    "asimov_with_uncertainty": (_CONCAVE, "asimov_squared_with_uncertainty"),
    "log_s_over_sqrt_b": (_CONCAVE, "s_over_sqrt_b"),
    "log_asimov": (_CONCAVE, "asimov_squared"),
    "asimov_squared_with_constant_uncertainty": (
        "with a constant uncertainty it increases with the background where that is small against its uncertainty",
        "asimov_squared_with_uncertainty",
    ),
}
"""Why a figure of merit is not submodular, and the most similar one that is."""


def make_submodular_figure(figure: str, **options: Any) -> SubmodularFigure:
    """Make a figure of merit from its name and the options that are not None.

    Args:
        figure: one of `SUBMODULAR_FIGURES`.
        options: `sigmas`, `relative_uncertainty`, `process_uncertainties`.

    Returns:
        The figure of merit.

    Raises:
        TrainingError: for a figure that is unknown or not submodular, a missing option, or one that it does not have.

    Example:
        >>> make_submodular_figure("punzi", sigmas=5.0)
        Punzi(sigmas=5.0)
    """
    if figure in NOT_SUBMODULAR:
        reason, relative = NOT_SUBMODULAR[figure]
        message = f"{figure} has no Lovasz loss: it is not submodular, because {reason}. Use {relative}, which is."
        raise TrainingError(message)
    if figure not in SUBMODULAR_FIGURES:
        message = f"Unknown figure of merit {figure!r} of the Lovasz loss.{nearest_name(figure, SUBMODULAR_FIGURES)}"
        raise TrainingError(message)
    kind = SUBMODULAR_FIGURES[figure]
    known = [field.name for field in fields(kind)]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            message = f"The figure of merit {figure} has no option {name}; it has: {', '.join(known) or 'none'}."
            raise TrainingError(message)
    try:
        return kind(**given)
    except TypeError:
        missing = [name for name in known if name not in given]
        message = f"The figure of merit {figure} needs the option {missing[0]}."
        raise TrainingError(message) from None


class LovaszLossSettings(EpsSettings):
    """The Lovasz extension of a submodular figure of merit.

    Options have the defaults of the figure; an option that the figure does not have is an error.
    """

    name: Literal["lovasz"] = "lovasz"
    """Chooses this loss."""
    figure: str = Field(default="asimov_squared", examples=["s_over_b", "asimov_squared_with_uncertainty"])
    """Name of the figure of merit, which must be submodular; the error for another one names a similar one that is."""
    error: ErrorName = "hinge"
    """Error measure of an event as a function of its margin."""
    relative_eps: EpsSetting | None = None
    """Ratio of eps to the total background yield, as in the Z loss; by default that of the figure."""
    eps: PositiveNumber | None = None
    """The yield eps itself, instead of `relative_eps` [events]."""
    relative_uncertainty: PositiveNumber | None = None
    """Relative uncertainty of the background, for figures with uncertainty."""
    sigmas: PositiveNumber | None = None
    """Significance that a discovery needs, for "punzi" [standard deviations]."""

    @model_validator(mode="after")
    def _figure_knows_the_options(self) -> Self:
        # The uncertainties of the processes are not known before the loss is built.
        stand_in = (0.0,) if self._needs_process else None
        try:
            self._make(self.path[0] if self.eps_path else self.first_eps, stand_in)
        except TrainingError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def label(self) -> str:
        """Name for legends."""
        return f"Lovasz loss of {SUBMODULAR_FIGURES[self.figure].label}"

    def build(self, context: LossContext | None = None) -> LovaszLoss:
        """Make the loss, with the first value of a path and the uncertainties of processes of the context.

        Raises:
            TrainingError: if the figure is not submodular for the yields of the context, or needs a context.
        """
        if not self._needs_process:
            loss = self._make(self.first_eps)
        else:
            loss = self._make(self.first_eps, require_context(context, self.label).process_uncertainties)
        if context is not None:
            loss.require_submodular(torch.tensor(context.yields), torch.from_numpy(context.processes.is_signal))
        return loss

    @property
    def _needs_process(self) -> bool:
        return self.figure in SUBMODULAR_FIGURES and SUBMODULAR_FIGURES[self.figure].needs_process

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
