"""The Karush-Kuhn-Tucker system of an inner problem: its linearisation, its solution, and gradients through it.

With the Lagrangian L(y, m, x) = f(y, x) + m^T c(y, x) of the constraints c = 0 that hold at the solution, (y, m) is a
stationary point of L, and the implicit function theorem gives for any parameters x

    [ L_yy  J^T ] [ dy/dx ]     [ L_yx ]
    [  J     0  ] [ dm/dx ] = - [ c_x  ],     J = c_y,                                             (1)

with the special cases of S. Gould et al., arXiv:1607.05447: without c, dy/dx = -f_yy^-1 f_yx; with c = A y - b,
dy/dx = -F (F^T f_yy F)^-1 F^T f_yx, where the columns of F are a basis of the null space of A, and
dy/db = f_yy^-1 A^T (A f_yy^-1 A^T)^-1.  As the matrix is symmetric, a gradient (v, w) with respect to (y, m) becomes
the gradient -d/dx (L_y . u + c . q) with respect to x, where (u, q) solves the system for the right-hand side (v, w).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.constraints import ActiveSet, Barrier, Tangents
from zsig_hep.learning.implicit.linear_solvers import (
    Exact,
    Inverse,
    LinearSolver,
    Operator,
    dense_matrix,
    generic_vector,
)

Objective = Callable[[Tensor, Any], Tensor]
"""f(y, parameters), one value per batch index."""


@dataclass(frozen=True, eq=False)
class InnerProblem:
    """The inner problem in flat form: y has shape (B, n); leaves are the parameters, followed by A and b if they exist.

    Attributes:
        objective: as given by the user.
        rebuild: function from leaves to the user's parameters.
        shape: shape of the user's solution.
        batch_shape: its leading axes, which count the problems.
        sign: +1 for a minimum, -1 for a maximum.
        inequality: as given by the user.
        with_equality: whether the last two leaves are A and b.
    """

    objective: Objective
    rebuild: Callable[[Sequence[Tensor]], Any]
    shape: torch.Size
    batch_shape: torch.Size
    sign: int
    inequality: ActiveSet | Barrier | None
    with_equality: bool

    def value(self, y: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        """The function to minimise, with its barrier, shape (B,)."""
        found: Any = self.objective(y.reshape(self.shape), self._parameters(leaves))
        if not isinstance(found, Tensor):
            message = f"The objective must return a tensor, found {type(found).__name__}."
            raise TrainingError(message)
        value: Tensor = found
        if value.shape != self.batch_shape:
            message = (
                f"The objective gave shape {tuple(value.shape)} for a solution of shape {tuple(self.shape)}; expected "
                f"{tuple(self.batch_shape)}, one value per batch index (batch_dims= counts the leading batch axes)."
            )
            raise TrainingError(message)
        value = self.sign * value.reshape(-1)
        if isinstance(self.inequality, Barrier):
            value = value - torch.log(-self.inequalities(y, leaves)).sum(-1) / self.inequality.t
        return value

    def inequalities(self, y: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        """The values f_i, shape (B, k); k is 0 without inequalities."""
        if self.inequality is None:
            return y[:, :0]
        return self.inequality.function(y.reshape(self.shape), self._parameters(leaves)).reshape(len(y), -1)

    def equalities(self, y: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        """A y - b, shape (B, m); m is 0 without equalities."""
        if not self.with_equality:
            return y[:, :0]
        matrix, target = leaves[-2], leaves[-1]
        matrix = matrix.reshape(-1, *matrix.shape[-2:])
        return (matrix @ y.unsqueeze(-1)).squeeze(-1) - target.reshape(-1, target.shape[-1])

    def _parameters(self, leaves: Sequence[Tensor]) -> Any:
        return self.rebuild(leaves[:-2] if self.with_equality else leaves)


@dataclass(frozen=True, eq=False)
class ActiveConstraints:
    """The constraints c(y) = 0: all equalities, then the inequalities that are active for at least one batch index.

    Attributes:
        rows: indices of these inequalities, shape (r,).
        active: whether each constraint holds at the solution, bool, shape (B, m + r); true for equalities.
        inequalities: number k of all inequalities.
    """

    rows: Tensor
    active: Tensor
    inequalities: int

    def values(self, problem: InnerProblem, y: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        """The function c, shape (B, m + r); zero where inactive."""
        values = torch.cat([problem.equalities(y, leaves), problem.inequalities(y, leaves)[:, self.rows]], dim=-1)
        return torch.where(self.active, values, 0)


@dataclass(frozen=True, eq=False)
class Linearisation:
    """The Lagrangian at one point, with the graph of its derivatives.

    Attributes:
        y: shape (B, n).
        leaves: the parameters.
        multipliers: m, shape (B, c).
        slope: L_y, shape (B, n).
        constraints: c, shape (B, c).
        jacobian: J, shape (B, c, n).
    """

    y: Tensor
    leaves: tuple[Tensor, ...]
    multipliers: Tensor
    slope: Tensor
    constraints: Tensor
    jacobian: Tensor

    @classmethod
    def at(
        cls,
        problem: InnerProblem,
        active: ActiveConstraints,
        y: Tensor,
        leaves: Sequence[Tensor],
        multipliers: Tensor | None = None,
    ) -> "Linearisation":
        """Evaluate at y, which requires a gradient; by default with the multipliers for the smallest |L_y|."""
        slope = vector_jacobian(problem.value(y, leaves), y, create_graph=True)
        constraints = active.values(problem, y, leaves)
        rows = [vector_jacobian(column, y, create_graph=True) for column in constraints.unbind(-1)]
        jacobian = torch.stack(rows, dim=-2) if rows else y.new_zeros(len(y), 0, y.shape[-1])
        if multipliers is None:
            multipliers = -Tangents.of(jacobian.detach(), active.active).multipliers(slope.detach())
        slope = slope + vector_jacobian(constraints, y, multipliers, create_graph=True)
        return cls(y, tuple(leaves), multipliers, slope, constraints, jacobian)

    def hessian_product(self, vector: Tensor, *, create_graph: bool = False) -> Tensor:
        """L_yy v, shape (B, n)."""
        return vector_jacobian(self.slope, self.y, vector, create_graph=create_graph)

    def pair(self, u: Tensor, q: Tensor, *, create_graph: bool = False) -> list[Tensor]:
        """-d/dx (L_y . u + c . q) for each parameter x."""
        paired = (self.slope * u).sum() + (self.constraints * q).sum()
        wanted = [leaf for leaf in self.leaves if leaf.requires_grad]
        if not wanted or not paired.requires_grad:
            return [torch.zeros_like(leaf) for leaf in self.leaves]
        found = iter(
            torch.autograd.grad(paired, wanted, retain_graph=True, create_graph=create_graph, materialize_grads=True)
        )
        return [-next(found) if leaf.requires_grad else torch.zeros_like(leaf) for leaf in self.leaves]


class KKTSystem:
    """Equation 1 at a solution, which can be solved for any right-hand side.

    The linear solver gets the matrix P L_yy P + s (1 - P), with the projection P on the space that the active
    constraints leave free and any positive scale s, which is positive definite at a minimum.

    Args:
        problem: the inner problem.
        active: its active constraints.
        y: the solution, without graph.
        leaves: the parameters, without graph; those with gradients require one.
        solver: for the projected system.
        damping: added to L_yy.

    Raises:
        TrainingError: if the solver finds that the projected matrix is not positive definite.
    """

    def __init__(
        self,
        problem: InnerProblem,
        active: ActiveConstraints,
        y: Tensor,
        leaves: Sequence[Tensor],
        solver: LinearSolver,
        damping: float,
    ) -> None:
        self.problem, self.active, self.damping = problem, active, damping
        self.second_order = isinstance(solver, Exact) and damping == 0
        with torch.enable_grad():
            self.point = Linearisation.at(problem, active, y.requires_grad_(), leaves)
        self.tangents = Tangents.of(self.point.jacobian.detach(), active.active)
        probe = generic_vector(y.detach())
        scale = (self.point.hessian_product(probe).norm(dim=-1) / probe.norm(dim=-1)).unsqueeze(-1)
        self.scale = torch.where(scale > 0, scale, 1)
        self._inverse: Inverse = solver.inverse(self._projected, probe, damping)
        solution = self._inverse(self._project(probe))
        self.iterations, self.smallest_curvature = solution.iterations, solution.smallest_curvature

    def newton_step(self) -> Tensor:
        """The next step in y of a Newton iteration for L_y = 0 and c = 0, shape (B, n)."""
        return self.solve(-self.point.slope.detach(), -self.point.constraints.detach())[0]

    def solve(self, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Solution (u, q) of the system with the matrix of equation 1 and the right-hand side (v, w)."""
        if not w.shape[-1]:
            return self._inverse(v).value, w
        u = self.tangents.lift(w)
        u = u + self._inverse(self.tangents.project(v - self._damped(u))).value
        return u, self.tangents.multipliers(v - self._damped(u))

    def pull_back(self, v: Tensor, w: Tensor) -> list[Tensor]:
        """Gradients of the parameters from gradients of the solution and the multipliers."""
        u, q = self.solve(v, w)
        with torch.enable_grad():
            return self.point.pair(u, q)

    def pull_back_with_graph(
        self, y: Tensor, multipliers: Tensor, leaves: Sequence[Tensor], v: Tensor, w: Tensor
    ) -> list[Tensor]:
        """As `pull_back`, differentiable in y, the multipliers, the leaves, v and w.

        Raises:
            TrainingError: for an iterative or damped solver.
        """
        if not self.second_order:
            message = (
                "The derivative of argmin or argmax by an iterative or damped solver is a first-order result: it cannot "
                'be differentiated again (create_graph=True). Use solver="exact" without damping.'
            )
            raise TrainingError(message)
        u, q = self._solve_with_graph(self._relinearise(y, multipliers, leaves), v, w)
        # A second linearisation, since the derivative in `pair` is at fixed y, m, u and q.
        return self._relinearise(y, multipliers, leaves).pair(u, q, create_graph=True)

    def _relinearise(self, y: Tensor, multipliers: Tensor, leaves: Sequence[Tensor]) -> Linearisation:
        aliases = [leaf.view_as(leaf) for leaf in leaves]
        # Derivatives in y are needed also if y does not depend on the parameters.
        y = y.view_as(y) if y.requires_grad else y.detach().requires_grad_()
        return Linearisation.at(self.problem, self.active, y, aliases, multipliers)

    def _solve_with_graph(self, point: Linearisation, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        def operator(vector: Tensor) -> Tensor:
            return point.hessian_product(vector, create_graph=True)

        jacobian = point.jacobian
        inactive = torch.diag_embed((~self.active.active).to(v.dtype))
        upper = torch.cat([dense_matrix(operator, v), jacobian.mT], dim=-1)
        matrix = torch.cat([upper, torch.cat([jacobian, inactive], dim=-1)], dim=-2)
        both = torch.linalg.solve(matrix, torch.cat([v, w], dim=-1).unsqueeze(-1)).squeeze(-1)
        return both[..., : v.shape[-1]], both[..., v.shape[-1] :]

    def _damped(self, vector: Tensor) -> Tensor:
        return self.point.hessian_product(vector) + self.damping * vector

    def _project(self, vector: Tensor) -> Tensor:
        return self.tangents.project(vector) if self.point.constraints.shape[-1] else vector

    @property
    def _projected(self) -> Operator:
        if not self.point.constraints.shape[-1]:
            return self.point.hessian_product

        def operator(vector: Tensor) -> Tensor:
            inside = self.tangents.project(vector)
            return self.tangents.project(self.point.hessian_product(inside)) + self.scale * (vector - inside)

        return operator


class StationaryPoint(torch.autograd.Function):
    """The identity for a solution and its multipliers, with gradients to the parameters by equation 1."""

    @staticmethod
    def forward(ctx: Any, system: KKTSystem, y: Tensor, multipliers: Tensor, *leaves: Tensor) -> tuple[Tensor, Tensor]:
        """Return the point of a system; the parameters are arguments to get gradients."""
        ctx.system = system
        y, multipliers = y.clone(), multipliers.clone()
        ctx.save_for_backward(y, multipliers, *leaves)
        return y, multipliers

    @staticmethod
    def backward(ctx: Any, v: Tensor, w: Tensor) -> tuple[Tensor | None, ...]:
        """Solve equation 1 with the gradients as right-hand side."""
        # Gradients are enabled here if and only if the result will be differentiated again (create_graph=True).
        if torch.is_grad_enabled():
            y, multipliers, *leaves = ctx.saved_tensors
            return None, None, None, *ctx.system.pull_back_with_graph(y, multipliers, leaves, v, w)
        return None, None, None, *ctx.system.pull_back(v, w)


def follow(system: KKTSystem, leaves: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The point of a system, (B, n), and its multipliers, (B, c), as functions of the parameters."""
    y, multipliers = StationaryPoint.apply(  # type: ignore[no-untyped-call]
        system, system.point.y.detach(), system.point.multipliers, *leaves
    )
    return y, multipliers


def vector_jacobian(
    output: Tensor, point: Tensor, cotangent: Tensor | None = None, *, create_graph: bool = False
) -> Tensor:
    """The gradient of sum(output * cotangent) in the point, zero if the output does not depend on it."""
    if not output.requires_grad:
        return torch.zeros_like(point)
    cotangent = torch.ones_like(output) if cotangent is None else cotangent
    (gradient,) = torch.autograd.grad(
        output, point, cotangent, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return gradient
