"""Inequality constraints of an inner problem, and projections on the space that active constraints leave free."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError

ConstraintFunction = Callable[[Tensor, Any], Tensor]
"""f(y, parameters), allowed where f <= 0: (..., n) to (..., k)."""


@dataclass(frozen=True)
class ActiveSet:
    """Inequalities of which those that hold as equalities at the solution are treated as equalities.

    The derivative is exact if the set of these does not change, that is, if no active inequality has a multiplier of
    zero.  Those that have are reported as degenerate; the derivative is then that of the side on which they are active.

    Args:
        function: f(y, parameters), allowed where f <= 0, shape (..., k).
        tolerance: an inequality is active where f >= -tolerance.

    Example:
        The number below 1 that is closest to x = 3 is 1, and does not depend on x.

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

    If every active inequality has a positive multiplier, the derivative approaches that of the constrained problem as
    1 / t (S. Gould et al., arXiv:1607.05447); the difference is 8e-3 at t = 1e3 and 8e-6 at 1e6 in a quadratic program
    with numbers of order one.  With a multiplier of zero it is between the two one-sided derivatives for every t.

    Args:
        function: f(y, parameters), allowed where f < 0, shape (..., k).
        t: positive weight of the objective relative to the barrier.

    Example:
        With a barrier the same number, the minimum of (y - x)^2 - ln(1 - y) / t, has a derivative of about
        1 / (1 + 8 t).

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
    """The directions that the active constraints, with the Jacobian J, shape (B, m, n), leave free.

    Attributes:
        jacobian: J; zero in the rows of inactive constraints.
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
            TrainingError: for linearly dependent active constraints.
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
        """Projection on the free directions: v - J^T (J J^T)^-1 J v, shape (B, n)."""
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
