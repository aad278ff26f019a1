"""Derivatives of argmin and argmax: the derivative of the solution of an inner problem in its parameters.

The inner problem is solved elsewhere, by any method; `argmin` and `argmax` check the solution and return it as a
differentiable function of the parameters.  The equations are in `kkt`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.constraints import ActiveSet, Barrier
from zsig_hep.learning.implicit.kkt import ActiveConstraints, InnerProblem, KKTSystem, Objective, follow
from zsig_hep.learning.implicit.linear_solvers import Curvature, LinearSolver, choose_solver, curvature_sign

Parameters = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""A tensor, several, or several by name; the objective gets them in the same form."""


@dataclass(frozen=True, eq=False)
class ArgminResult:
    """A differentiable solution, and how well it solves the inner problem.

    Attributes:
        value: y*, in the shape of the solution, with gradients to the parameters.
        residual: length of the next Newton step, divided by the length of y* or by one if that is larger; the largest
            of the batch.  For constrained problems the step in y of equation 1 of `kkt`.
        curvature: sign of the Hessian in the directions that the active constraints leave free, without the damping;
            for an iterative solver, in the directions of its steps.
        smallest_curvature: the smallest eigenvalue of +-f_YY (+ for a minimum) in the free directions; for an iterative
            solver, the smallest curvature in the directions of its steps.
        solver_iterations: number of products with the Hessian in one solution of the linear system.
        multipliers: of the equalities, then of the inequalities (zero if inactive), shape (..., m + k), with gradients
            to the parameters; None without constraints.  f_Y + sum m c_Y = 0 for a minimum, and with -f for a maximum.
        active: mask of the inequalities that hold as equalities, shape (..., k); None without an active set.
        degenerate: mask of the active inequalities with a multiplier of zero, whose derivatives are one-sided, shape
            (..., k); None without an active set.
    """

    value: Tensor
    residual: float
    curvature: Curvature
    smallest_curvature: float
    solver_iterations: int
    multipliers: Tensor | None = None
    active: Tensor | None = None
    degenerate: Tensor | None = None


def argmin(
    objective: Objective,
    solution: Tensor,
    parameters: Parameters,
    *,
    equality: tuple[Tensor, Tensor] | None = None,
    inequality: ActiveSet | Barrier | None = None,
    solver: str | LinearSolver = "exact",
    damping: float = 0.0,
    tolerance: float | None = None,
    batch_dims: int = 0,
) -> ArgminResult:
    r"""Make the minimiser y*(x) = argmin_y f(y, x) differentiable by x.

        dy*/dx = -f_YY^{-1} f_YX                                    (arXiv:1607.05447, lemma 3.2)

    without constraints; with A y = b and f_i(y, x) <= 0 equation 1 of `kkt`, with derivatives in A and b too.  The
    gradient needs one linear system for any number of parameters.  With the exact solver and without damping the result
    can be differentiated any number of times; otherwise a second derivative is an error.

    Args:
        objective: f(y, parameters), twice differentiable, of shape `solution.shape[:batch_dims]`.  Tensors that are not
            among the parameters must not require gradients.
        solution: y*, any shape, also 0-d; its gradient graph is ignored.
        parameters: x, a tensor, a sequence or a mapping; each that requires a gradient gets one.
        equality: A, shape (m, n) or (*batch, m, n), and b, (m,) or (*batch, m), for the n numbers of a solution.
        inequality: `ActiveSet` or `Barrier`.
        solver: exact, conjugate_gradient or neumann, or an instance of a class in `linear_solvers`.
        damping: d >= 0, a multiple of the identity added to f_YY; the derivative is then an approximation.
        tolerance: largest accepted residual (see `ArgminResult`); by default 1e-6 in float64 and 1e-3 otherwise.
        batch_dims: number of leading axes of the solution that count independent problems; no value may depend on the y
            of another index.

    Raises:
        TrainingError: for a point that is not stationary or violates its constraints, a Hessian that is singular or
            indefinite, dependent constraints, multipliers of the wrong sign, an iteration that does not converge, an
            objective of the wrong shape or that uses other tensors with gradients, and an unknown solver; in the
            backward pass, for a second derivative with an iterative solver or damping.

    Example:
        The derivative of the ridge estimate of one number, y* = x / (1 + p), in the penalty p is -x / (1 + p)^2.

        >>> x, penalty = torch.tensor(3.0), torch.tensor(0.5, requires_grad=True)
        >>> result = argmin(lambda y, p: (y - x) ** 2 + p * y**2, torch.tensor(2.0), penalty)
        >>> result.value.backward()
        >>> round(penalty.grad.item(), 4), result.curvature
        (-1.3333, 'positive definite')
    """
    return _stationary(
        objective, solution, parameters, equality, inequality, solver, damping, tolerance, batch_dims, maximise=False
    )


def argmax(
    objective: Objective,
    solution: Tensor,
    parameters: Parameters,
    *,
    equality: tuple[Tensor, Tensor] | None = None,
    inequality: ActiveSet | Barrier | None = None,
    solver: str | LinearSolver = "exact",
    damping: float = 0.0,
    tolerance: float | None = None,
    batch_dims: int = 0,
) -> ArgminResult:
    """Make the maximiser y*(x) = argmax_y f(y, x) differentiable by x; everything else as in `argmin`.

    The global maximum may jump from one local maximum to another as x changes, which derivatives do not show; for one
    unknown use `argmax_on_grid`, which compares the two largest maxima.

    Example:
        >>> centre = torch.tensor(2.0, requires_grad=True)
        >>> result = argmax(lambda y, c: -((y - 3 * c) ** 2), torch.tensor(6.0), centre)
        >>> torch.autograd.grad(result.value, centre), result.curvature
        ((tensor(3.),), 'negative definite')
    """
    return _stationary(
        objective, solution, parameters, equality, inequality, solver, damping, tolerance, batch_dims, maximise=True
    )


def no_implicit_derivatives(found: object, expected: str) -> TrainingError:
    """The error for something that is not the solution of a smooth problem, such as boosted trees."""
    return TrainingError(
        f"Implicit derivatives need {expected}, found {type(found).__name__}. Boosted trees have none: their splits jump as a "
        "parameter changes; compare their settings by the validation loss in their history."
    )


def _stationary(
    objective: Objective,
    solution: Tensor,
    parameters: Parameters,
    equality: tuple[Tensor, Tensor] | None,
    inequality: ActiveSet | Barrier | None,
    solver: str | LinearSolver,
    damping: float,
    tolerance: float | None,
    batch_dims: int,
    *,
    maximise: bool,
) -> ArgminResult:
    if not isinstance(solution, Tensor):
        raise no_implicit_derivatives(solution, "the solution as a tensor")
    leaves, rebuild = _flatten(parameters)
    leaves = (*leaves, *(equality or ()))
    _require_usable(solution, leaves, inequality, damping, batch_dims)
    problem = InnerProblem(
        objective,
        rebuild,
        solution.shape,
        solution.shape[:batch_dims],
        -1 if maximise else 1,
        inequality,
        equality is not None,
    )
    y = solution.detach().reshape(max(problem.batch_shape.numel(), 1), -1)
    constants = [leaf.detach().requires_grad_(leaf.requires_grad) for leaf in leaves]
    held = _active_constraints(problem, y, constants)
    _require_finite_without_graph(problem, y, leaves)
    tolerance = (1e-6 if y.dtype == torch.float64 else 1e-3) if tolerance is None else tolerance
    system = KKTSystem(problem, held, y.clone(), constants, choose_solver(solver), damping)
    unit = y.norm(dim=-1, keepdim=True).clamp(min=1)
    residual = float((system.newton_step().norm(dim=-1, keepdim=True) / unit).max())
    _require_stationary(residual, tolerance, float(system.point.slope.detach().norm(dim=-1).max()))
    degenerate = _check_multipliers(system, unit, tolerance)
    value, multipliers = follow(system, leaves)
    return ArgminResult(
        value.reshape(problem.shape),
        residual,
        _curvature(system, maximise=maximise),
        system.smallest_curvature,
        system.iterations,
        **_constraint_report(problem, held, multipliers, degenerate),
    )


def _flatten(parameters: Parameters) -> tuple[tuple[Tensor, ...], Callable[[Sequence[Tensor]], Any]]:
    if isinstance(parameters, Tensor):
        return (parameters,), lambda leaves: leaves[0]
    if isinstance(parameters, Mapping):
        names = tuple(parameters)
        return tuple(parameters.values()), lambda leaves: dict(zip(names, leaves, strict=True))
    return tuple(parameters), tuple


def _require_usable(
    solution: Tensor,
    leaves: Sequence[Tensor],
    inequality: ActiveSet | Barrier | None,
    damping: float,
    batch_dims: int,
) -> None:
    message = None
    if not all(isinstance(leaf, Tensor) for leaf in leaves):
        message = "The parameters of argmin must be tensors, or a sequence or mapping of tensors."
    elif not solution.is_floating_point():
        message = f"The solution given to argmin must be of a floating type, found {solution.dtype}."
    elif not bool(torch.isfinite(solution).all()) or not solution.numel():
        message = "The solution given to argmin is empty, NaN or infinite; the inner optimisation has failed."
    elif not 0 <= batch_dims <= solution.ndim:
        message = f"batch_dims must be between 0 and {solution.ndim}, the axes of the solution, found {batch_dims}."
    elif not damping >= 0:
        message = f"damping must not be negative, found {damping}."
    elif isinstance(inequality, Barrier) and not inequality.t > 0:
        message = f"The barrier needs t > 0, found {inequality.t}; 1e3 to 1e6 is usual."
    if message:
        raise TrainingError(message)


def _require_finite_without_graph(problem: InnerProblem, y: Tensor, leaves: Sequence[Tensor]) -> None:
    """Refuse objectives that are not finite, or use tensors that would silently get no gradient."""
    with torch.enable_grad():
        value = problem.value(y, [leaf.detach() for leaf in leaves])
    if not bool(torch.isfinite(value).all()):
        message = "The objective is NaN or infinite at the solution; check the solution and the parameters."
        raise TrainingError(message)
    if value.requires_grad:
        message = (
            "The objective uses a tensor that requires gradients and is not among the parameters, so that it would get "
            "none. Pass it in parameters=, or detach it."
        )
        raise TrainingError(message)


def _active_constraints(problem: InnerProblem, y: Tensor, leaves: Sequence[Tensor]) -> ActiveConstraints:
    """The constraints that hold as equalities at the solution; none for a barrier, whose solution must be inside."""
    with torch.no_grad():
        inequalities, equalities = problem.inequalities(y, leaves), problem.equalities(y, leaves)
    always = torch.ones_like(equalities, dtype=torch.bool)
    if isinstance(problem.inequality, Barrier):
        if bool((inequalities >= 0).any()):
            message = (
                f"A barrier needs f_i < 0 at the solution, found {float(inequalities.max()):.3g}: give the minimiser "
                "of f - sum ln(-f_i) / t, not of f, or use ActiveSet."
            )
            raise TrainingError(message)
        return ActiveConstraints(torch.arange(0, device=y.device), always, inequalities.shape[-1])
    slack = problem.inequality.tolerance if problem.inequality else 0.0
    if bool((inequalities > slack).any()):
        message = f"The solution violates an inequality f_i <= 0 by {float(inequalities.max()):.3g}."
        raise TrainingError(message)
    active = inequalities >= -slack
    rows = active.any(dim=0).nonzero().squeeze(-1)
    return ActiveConstraints(rows, torch.cat([always, active[:, rows]], dim=-1), inequalities.shape[-1])


def _require_stationary(residual: float, tolerance: float, slope: float) -> None:
    if residual <= tolerance:
        return
    message = (
        f"The inner solution is not stationary: its relative residual is {residual:.3g}, above the tolerance "
        f"{tolerance:.3g} (gradient {slope:.3g}). Run the inner optimisation to a tighter tolerance, finish with a "
        "Newton step, compute it in float64, or raise tolerance= and accept a derivative of that accuracy."
    )
    raise TrainingError(message)


def _check_multipliers(system: KKTSystem, unit: Tensor, tolerance: float) -> Tensor:
    """Mask (B, c) of active inequalities with a multiplier of zero, in units of the shift of y without them."""
    count = len(system.active.rows)
    equalities = system.active.active.shape[-1] - count
    strength = system.point.jacobian.detach().norm(dim=-1) / system.scale / unit
    moved = (system.point.multipliers * strength)[:, equalities:]
    active = system.active.active[:, equalities:]
    if bool((active & (moved < -tolerance)).any()):
        smallest = float(system.point.multipliers[:, equalities:].min())
        message = (
            f"An active inequality has a multiplier of {smallest:.3g}, of the wrong sign: the objective is better "
            "inside, so the point is not a solution. Continue the inner optimisation."
        )
        raise TrainingError(message)
    degenerate: Tensor = active & (moved <= tolerance)
    return degenerate


def _constraint_report(
    problem: InnerProblem, held: ActiveConstraints, multipliers: Tensor, degenerate: Tensor
) -> dict[str, Tensor]:
    """The fields of the result for constraints, in the user's shapes."""
    report: dict[str, Tensor] = {}
    batch, equalities = problem.batch_shape, multipliers.shape[-1] - len(held.rows)
    if isinstance(problem.inequality, ActiveSet):
        blank = torch.zeros(len(multipliers), held.inequalities, dtype=torch.bool, device=multipliers.device)
        for name, of_rows in (("active", held.active[:, equalities:]), ("degenerate", degenerate)):
            report[name] = blank.index_copy(1, held.rows, of_rows).reshape(*batch, -1)
        of_all = multipliers.new_zeros(blank.shape).index_copy(1, held.rows, multipliers[:, equalities:])
        multipliers = torch.cat([multipliers[:, :equalities], of_all], dim=-1)
    if isinstance(problem.inequality, ActiveSet) or problem.with_equality:
        report["multipliers"] = multipliers.reshape(*batch, -1)
    return report


def _curvature(system: KKTSystem, *, maximise: bool) -> Curvature:
    smallest = system.scale.new_full((1,), system.smallest_curvature)
    sign = curvature_sign(smallest, torch.maximum(system.scale.max(), smallest), system.point.y.shape[-1])
    return "negative definite" if maximise and sign == "positive definite" else sign
