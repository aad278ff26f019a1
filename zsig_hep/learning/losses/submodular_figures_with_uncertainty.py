"""Submodular figures of merit with a relative uncertainty of the background; symbols as in `submodular_figures`.

With an uncertainty proportional to B = b + eps the figures are submodular.  With an uncertainty of b, or of each
background process, the variance increases more than linearly at small b, and the figure is submodular only if

    k_p^2 [eps + sum over the other processes q of (lambda_q + k_q^2 lambda_q^2)] <= 3/4   for each process p    (1)

with the total yields lambda_q: F_bb of s / sqrt(V) is non-negative where 3 (dV/db)^2 >= 2 V d^2V/db^2, and this
condition is strictest at b_p = 0 with all other backgrounds accepted; mixed derivatives of V vanish.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.lovasz import cumulative_before
from zsig_hep.learning.losses.margins import require_process
from zsig_hep.learning.losses.submodular_figures import Step, SubmodularFigure, gains_of_variance, require_positive


@dataclass(frozen=True)
class AsimovSquaredWithUncertainty(SubmodularFigure):
    """F = Z_A^2(s, B) with the background uncertainty sigma_b = k B, k = `relative_uncertainty`.

    By the identity Z_A^2(s, B; k B) = q0(s, B) - q0(s, B + K), K = 1/k^2, which is exact for equation 4 of
    `zsig_hep.statistics.significance`,

        F(s, B)     2 [(s + B) ln(1 + y) - K ln(1 + s / (B + K))],  y(s) = s K / (B (B + K + s))
        signal      2 w ln(1 + y(t)) + F(w, t + B)
        background  2 [(s + B) ln(1 + v) - w ln(1 + s K / (B' (B' + K + s))) - K ln(1 + s w / ((B + K) (B' + K + s)))],
                    v(s) = s K w (B + B' + K + s) / (B (B + K + s) (B' + s) (B' + K))

    The terms in brackets cancel where s << B; there the same value is computed as the integral of 2 ln(1 + y), or
    2 ln(1 + v), from 0 to s, by Gauss-Legendre quadrature.
    """

    label: ClassVar[str] = "Z_A^2 with uncertainty"
    relative_uncertainty: float

    def __post_init__(self) -> None:
        """Check the option."""
        require_positive("relative_uncertainty", self.relative_uncertainty, "asimov_squared has none")

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """Z_A^2(S, eps; k eps)."""
        return _value(signal, eps, self.relative_uncertainty**-2)

    def gains(self, step: Step) -> Tensor:
        """Gains as given for the class."""
        s, w, before, inverse = step.kept, step.background_weight, step.before, self.relative_uncertainty**-2
        slope = 2 * torch.log1p(_y(step.left, before, inverse))
        rest = _value(step.signal_weight, step.left + before, inverse)
        near = _integral(lambda upper: _v(upper, w, before, inverse), torch.minimum(s, before))
        of_background = torch.where(s < before / 2, near, _three_terms(s, w, before, inverse))
        return step.signal_weight * slope + rest + of_background


def _value(s: Tensor, before: Tensor, inverse: float) -> Tensor:
    near = _integral(lambda upper: _y(upper, before, inverse), torch.minimum(s, before))
    far = (s + before) * torch.log1p(_y(s, before, inverse)) - inverse * torch.log1p(s / (before + inverse))
    return torch.where(s < before / 2, near, 2 * far)


def _three_terms(s: Tensor, w: Tensor, before: Tensor, inverse: float) -> Tensor:
    after = before + w
    end = after + inverse + s
    first = (s + before) * torch.log1p(_v(s, w, before, inverse))
    second = w * torch.log1p(s / after * (inverse / end))
    third = inverse * torch.log1p(s / end * (w / (before + inverse)))
    return 2 * (first - second - third)


def _y(s: Tensor, before: Tensor, inverse: float) -> Tensor:
    return s / before * (inverse / (before + inverse + s))


def _v(s: Tensor, w: Tensor, before: Tensor, inverse: float) -> Tensor:
    after = before + w
    # A product of ratios: the product of four yields overflows in float32.
    last = (before + after + inverse + s) / (after + inverse)
    return _y(s, before, inverse) * (w / (after + s)) * last


def _integral(argument: Callable[[Tensor], Tensor], upper: Tensor) -> Tensor:
    """Integral of 2 ln(1 + argument) from 0 to `upper`."""
    # The nearest pole is at -B: for s < B/2 six nodes leave a relative error below 1e-10.
    nodes, weights = (
        torch.from_numpy(each).to(upper).view(-1, *(1,) * upper.ndim) for each in np.polynomial.legendre.leggauss(6)
    )
    return upper * (weights * torch.log1p(argument(upper * ((1 + nodes) / 2)))).sum(0)


@dataclass(frozen=True)
class SOverSqrtBWithUncertainty(SubmodularFigure):
    """F = s / sqrt(V) with V = B + (k B)^2 and V' - V = w (1 + k^2 (B + B')), k = `relative_uncertainty`."""

    label: ClassVar[str] = "s / sqrt(B + (k B)^2)"
    relative_uncertainty: float

    def __post_init__(self) -> None:
        """Check the option."""
        require_positive("relative_uncertainty", self.relative_uncertainty, "s_over_sqrt_b has none")

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S / sqrt(eps + (k eps)^2)."""
        return signal / torch.sqrt(eps + (self.relative_uncertainty * eps) ** 2)

    def gains(self, step: Step) -> Tensor:
        """Gains of V as given for the class."""
        k = self.relative_uncertainty
        increment = step.background_weight * (1 + k**2 * (step.before + step.after))
        return gains_of_variance(step, step.before + (k * step.before) ** 2, increment)


@dataclass(frozen=True)
class SOverSqrtBWithUncertaintyOfB(SubmodularFigure):
    """F = s / sqrt(V) with V = eps + b + (k b)^2, submodular only while k^2 eps <= 3/4 (equation 1)."""

    label: ClassVar[str] = "s / sqrt(b + (k b)^2)"
    relative_uncertainty: float

    def __post_init__(self) -> None:
        """Check the option."""
        require_positive("relative_uncertainty", self.relative_uncertainty, "s_over_sqrt_b has none")

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S / sqrt(eps)."""
        return signal / torch.sqrt(eps)

    def gains(self, step: Step) -> Tensor:
        """Gains of V as given for the class."""
        k = self.relative_uncertainty
        increment = step.background_weight * (1 + k**2 * (2 * step.accepted + step.background_weight))
        return gains_of_variance(step, step.before + (k * step.accepted) ** 2, increment)

    def require_submodular(self, eps: Tensor, background_yields: Tensor) -> None:
        """Refuse k^2 eps > 3/4.

        Raises:
            TrainingError: states the numbers and what to use instead.
        """
        del background_yields
        k, largest = self.relative_uncertainty, float(eps.detach().max())
        if k**2 * largest > 0.75:
            message = (
                f"s / sqrt(eps + b + (k b)^2) with k = {k:g} and eps = {largest:.4g} events is not submodular: k^2 eps = "
                f"{k**2 * largest:.4g} may be 0.75 at most, that is eps <= {0.75 / k**2:.4g}. Use "
                "s_over_sqrt_b_with_uncertainty, which is submodular, as its uncertainty covers b + eps."
            )
            raise TrainingError(message)


@dataclass(frozen=True)
class SOverSqrtBWithProcessUncertainties(SubmodularFigure):
    """F = s / sqrt(V) with V = eps + sum_p [b_p + (k_p b_p)^2], submodular only where equation 1 holds.

    An event of process p adds V' - V = w (1 + k_p^2 (2 b_p + w)).  `process_uncertainties` has k_p of each process in
    the order of the process index, zero for processes without uncertainty.
    """

    label: ClassVar[str] = "s / sqrt(b + sum (k_p b_p)^2)"
    needs_process: ClassVar[bool] = True
    process_uncertainties: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the option."""
        if not self.process_uncertainties or not all(0 <= k < float("inf") for k in self.process_uncertainties):
            message = (
                "process_uncertainties must have one relative uncertainty >= 0 for each process, found "
                f"{list(self.process_uncertainties)}."
            )
            raise TrainingError(message)

    def best(self, signal: Tensor, eps: Tensor) -> Tensor:
        """S / sqrt(eps)."""
        return signal / torch.sqrt(eps)

    def gains(self, step: Step) -> Tensor:
        """Gains of V as given for the class, with one cumulative sum for each process that has an uncertainty."""
        process = require_process(step.process, "The Lovasz loss with an uncertainty per process")
        variance, increment = step.before, step.background_weight
        for index, k in enumerate(self.process_uncertainties):
            if k > 0:
                own = step.background_weight * (process == index)
                before = cumulative_before(own)
                variance = variance + (k * before) ** 2
                increment = increment + k**2 * own * (2 * before + own)
        return gains_of_variance(step, variance, increment)

    def require_submodular(self, eps: Tensor, background_yields: Tensor) -> None:
        """Refuse yields and uncertainties that violate equation 1.

        Raises:
            TrainingError: states the numbers and what to use instead.
        """
        count = len(self.process_uncertainties)
        if background_yields.shape[-1] != count:
            message = f"process_uncertainties has {count} values for {background_yields.shape[-1]} processes."
            raise TrainingError(message)
        k = torch.tensor(self.process_uncertainties, dtype=background_yields.dtype, device=background_yields.device)
        variance = background_yields + (k * background_yields) ** 2
        product = k**2 * (eps + variance.sum(-1, keepdim=True) - variance)
        present = product.detach() * (background_yields > 0)
        if bool((present > 0.75).any()):
            worst = int(present.reshape(-1, count).amax(0).argmax())
            message = (
                f"s / sqrt(b + sum (k_p b_p)^2) is not submodular with k = {float(k[worst]):g} on process {worst}: k^2 "
                f"times eps and the variance of the other backgrounds is {float(present.max()):.4g} and may be 0.75 at "
                "most. Use effective_weights with `base: {name: z}`, or soft_significance, which use these "
                "uncertainties without that condition."
            )
            raise TrainingError(message)
