"""The Lovasz loss of a submodular figure of merit: (scores, signal mask, weights, process) -> one value per member."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zsig_hep.errors import TrainingError
from zsig_hep.learning.lovasz import lovasz_extension, lovasz_extension_by_process
from zsig_hep.learning.margins import (
    ERRORS,
    check_set_loss_options,
    class_yields,
    inverse_or_zero,
    margin,
    require_non_negative,
    require_process,
)
from zsig_hep.learning.merit_registry import make_merit
from zsig_hep.learning.merits import Step


class LovaszLoss(nn.Module):
    r"""Lovasz extension of the loss of a submodular figure of merit F, normalised to one for the loss of everything.

    The set function of the mispredicted events M, with a lost signal and b accepted background yield,

        Delta(M) = [F(S, 0) - F(S - a, b)] / F(S, 0),

    is exact at every binary vertex and has a convex extension, since F is submodular: see `merits` for the condition
    and `merit_registry.MERITS` for the names.  With s_over_sqrt_b it is `ZLoss`, whose remarks on eps hold here too.

    Each call normalises to the yields it is given.  Without background a relative eps is taken relative to the signal;
    without signal the loss is zero.

    Args:
        figure: name of the figure of merit.
        relative_eps: eps / B, positive; default 0.05 for figures whose eps is relative.
        eps: eps as a yield instead; default 10 for ams_squared.  punzi has neither.
        relative_uncertainty: k of the figures with uncertainty.
        process_uncertainties: k_p of each process, for s_over_sqrt_b_with_process_uncertainties.
        sigmas: a of punzi; default 3.
        error: hinge, sigmoid, cross_entropy or focal.
        check_weights: refuse, in every call, negative weights and yields for which the figure is not submodular; off
            where the caller has checked them once.

    Raises:
        TrainingError: for a figure that is unknown or not submodular, unfit options, or negative weights.

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
        self.merit = make_merit(
            figure,
            relative_uncertainty=relative_uncertainty,
            process_uncertainties=None if process_uncertainties is None else tuple(process_uncertainties),
            sigmas=sigmas,
        )
        check_set_loss_options(f"Lovasz loss of {figure}", error, relative_eps, eps)
        if self.merit.default_relative_eps is None and relative_eps is not None:
            known = "an absolute eps" if self.merit.default_eps else "none: its working point is set by sigmas"
            message = f"The figure of merit {figure} has no relative_eps; it has {known}."
            raise TrainingError(message)
        if self.merit.default_relative_eps is None and self.merit.default_eps is None and eps is not None:
            message = f"The figure of merit {figure} has no eps; its working point is set by sigmas."
            raise TrainingError(message)
        if relative_eps is None and eps is None:
            relative_eps, eps = self.merit.default_relative_eps, self.merit.default_eps
        self.figure, self.relative_eps, self.eps = figure, relative_eps, eps
        self.error, self.check_weights = error, check_weights

    def forward(self, scores: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor | None = None) -> Tensor:
        """Evaluate the loss; arguments and result as for `ZLoss`.

        Raises:
            TrainingError: if the figure tells the processes apart and `process` is None.
        """
        weights = weights.to(scores.dtype)
        signal, background = class_yields(weights, is_signal)
        eps = self._eps(signal, background)
        if self.merit.needs_process:
            process = require_process(process, f"The Lovasz loss of {self.figure}")
        if self.check_weights:
            self._check(weights, is_signal, eps, process)
        errors = ERRORS[self.error](margin(scores, is_signal))
        inverse = inverse_or_zero(self.merit.best(signal, eps))

        def gains(*yields: Any) -> Tensor:
            signal_weight, background_weight, lost, accepted, *ordered_process = yields
            kept = (signal - lost).clamp(min=0)
            step = Step(signal_weight, background_weight, kept, accepted, eps, *ordered_process)
            return self.merit.gains(step) * inverse

        if process is not None and self.merit.needs_process:
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
            TrainingError: with the numbers and what to use instead.
        """
        signal, background = class_yields(yields, is_signal)
        self.merit.require_submodular(self._eps(signal, background), yields * ~is_signal)

    def _check(self, weights: Tensor, is_signal: Tensor, eps: Tensor, process: Tensor | None) -> None:
        require_non_negative(weights)
        background_weight = weights * ~is_signal
        if self.merit.needs_process and process is not None:
            count = max(int(process.max()) + 1, len(getattr(self.merit, "process_uncertainties", ())))
            yields = [(background_weight * (process == index)).sum(-1) for index in range(count)]
            self.merit.require_submodular(eps, torch.stack(yields, -1))
        else:
            self.merit.require_submodular(eps, background_weight.sum(-1, keepdim=True))
