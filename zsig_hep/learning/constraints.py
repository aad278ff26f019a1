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
    """

    function: ConstraintFunction
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Barrier:
    """Inequalities as a logarithmic barrier: the solution minimises f(y) - (1/t) sum_i ln(-f_i(y)).

    Its derivative approaches that of the constrained problem as 1 / t where every active inequality has a multiplier
    (S. Gould et al., arXiv:1607.05447, section 3.4), and as 1 / sqrt(t) where one has none.

    Args:
        function: f(y, parameters), allowed where f < 0, shape (..., k).
        t: positive weight of the objective against the barrier.
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
