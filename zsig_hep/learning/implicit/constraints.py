"""Constraints of an inner problem, as one function c(y) = 0 of those that hold at its solution, and their geometry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError

ConstraintFunction = Callable[[Tensor, Any], Tensor]
"""f(y, parameters) <= 0 where allowed: (..., n) to (..., k)."""


@dataclass(frozen=True)
class ActiveSet:
    """Inequalities of which those that hold as equalities at the solution are kept as such.

    The derivative is exact where the set does not change: no active inequality may have a zero multiplier.  Those that
    do are reported as degenerate; the derivative is then one-sided, that of the side on which they stay active.

    Args:
        function: f(y, parameters), allowed where f <= 0, shape (..., k).
        tolerance: an inequality is active where f >= -tolerance.

    Example:
        The number below 1 that is closest to x = 3 stays 1 when x moves.

        >>> from zsig_hep.learning.implicit.argmin import argmin
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> below_one = ActiveSet(lambda y, x: (y - 1).reshape(1))
        >>> result = argmin(lambda y, x: (y - x) ** 2, torch.tensor(1.0), x, inequality=below_one)
        >>> torch.autograd.grad(result.value, x)[0].item(), result.multipliers.tolist()
        (0.0, [4.0])
    """

    function: ConstraintFunction
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Barrier:
    """Inequalities as a logarithmic barrier: the solution minimises f(y) - (1/t) sum_i ln(-f_i(y)).

    Its derivative approaches that of the constrained problem as 1 / t where every active inequality has a multiplier
    (S. Gould et al., arXiv:1607.05447), with 8e-3 left at t = 1e3 and 8e-6 at 1e6 in a quadratic program with numbers
    of order one.  Where one has none it stays between the two one-sided derivatives for every t.

    Args:
        function: f(y, parameters), allowed where f < 0, shape (..., k).
        t: positive weight of the objective against the barrier.

    Example:
        The same number with a barrier, which minimises (y - 3)^2 - ln(1 - y) / t, follows x by 1 / (1 + 8 t) nearly.

        >>> from zsig_hep.learning.implicit.argmin import argmin
        >>> x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
        >>> y, below_one = 2 - torch.tensor(1 + 1 / 2e3, dtype=torch.float64).sqrt(), lambda y, x: (y - 1).reshape(1)
        >>> result = argmin(lambda y, x: (y - x) ** 2, y, x, inequality=Barrier(below_one, t=1e3))
        >>> round(torch.autograd.grad(result.value, x)[0].item(), 6)
        0.000125
    """

    function: ConstraintFunction
    t: float


@dataclass(frozen=True, eq=False)
class Tangents:
    """The directions in which the active constraints, with Jacobian J (B, m, n), leave y free.

    Attributes:
        jacobian: J; a row of an inactive constraint is zero.
        inverse_gram: (J J^T)^-1, shape (B, m, m), with ones on the diagonal for inactive rows.
    """

    jacobian: Tensor
    inverse_gram: Tensor

    @classmethod
    def of(cls, jacobian: Tensor, active: Tensor) -> "Tangents":
        """Prepare the projections.

        Args:
            jacobian: shape (B, m, n).
            active: bool, shape (B, m).

        Raises:
            TrainingError: for active constraints that depend on each other.
        """
        gram = jacobian @ jacobian.mT + torch.diag_embed((~active).to(jacobian.dtype))
        if gram.shape[-1]:
            size = gram.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
            eigenvalues = torch.linalg.eigvalsh(gram / size.unsqueeze(-1) / size.unsqueeze(-2))
            if bool((eigenvalues[:, 0] <= gram.shape[-1] * torch.finfo(gram.dtype).eps).any()):
                message = (
                    f"The {int(active.sum(-1).max())} active constraints of the inner problem depend on each other "
                    "(or one is constant), so their multipliers are not unique. Remove the redundant ones."
                )
                raise TrainingError(message)
        return cls(jacobian, torch.linalg.inv(gram))

    def project(self, vector: Tensor) -> Tensor:
        """Remove from (B, n) what leaves the constraints: v - J^T (J J^T)^-1 J v."""
        return vector - self.lift(self.apply(vector))

    def apply(self, vector: Tensor) -> Tensor:
        """J v, shape (B, m)."""
        return (self.jacobian @ vector.unsqueeze(-1)).squeeze(-1)

    def lift(self, values: Tensor) -> Tensor:
        """The shortest u with J u = w: J^T (J J^T)^-1 w, shape (B, n)."""
        return (self.jacobian.mT @ self._weigh(values)).squeeze(-1)

    def multipliers(self, vector: Tensor) -> Tensor:
        """The m with J^T m closest to v: (J J^T)^-1 J v, shape (B, m)."""
        return self._weigh(self.apply(vector)).squeeze(-1)

    def _weigh(self, values: Tensor) -> Tensor:
        return self.inverse_gram @ values.unsqueeze(-1)
