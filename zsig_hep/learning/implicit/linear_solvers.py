"""Solvers of H u = v for a symmetric H that is given by its products with vectors.

H is the Hessian at a stationary point, with one block per batch index: an operator maps (B, n) to (B, n).  Each solver
reports the smallest curvature u^T H u / u^T u that it found, because H must be positive definite at a minimum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from zsig_hep.errors import TrainingError, nearest_name

Operator = Callable[[Tensor], Tensor]
"""The product H v per batch index: (B, n) to (B, n)."""

Curvature = Literal["positive definite", "negative definite", "indefinite", "singular"]

POWER_ITERATIONS = 20
"""Number of products for the largest eigenvalue of H before a Neumann series."""


@dataclass(frozen=True, eq=False)
class LinearSolution:
    """The solution of (H + damping) u = v.

    Attributes:
        value: u, shape (B, n).
        iterations: number of products of H with a vector, counted once for the batch.
        residual: largest |(H + damping) u - v| / |v| over the batch.
        smallest_curvature: smallest curvature of H that was found, without the damping: for `Exact` the smallest
            eigenvalue, otherwise an upper bound of it.
    """

    value: Tensor
    iterations: int
    residual: float
    smallest_curvature: float


Inverse = Callable[[Tensor], LinearSolution]
"""Solution for a right-hand side (B, n)."""


class LinearSolver(Protocol):
    """A method to solve H u = v."""

    def inverse(self, operator: Operator, like: Tensor, damping: float) -> Inverse:
        """Function that solves (H + damping) u = v for vectors of the shape of `like`, (B, n)."""


@dataclass(frozen=True)
class Exact:
    """Cholesky factorisation of the matrix, from n products; for up to a few thousand unknowns.

    Example:
        >>> doubled = Exact().inverse(lambda v: 2 * v, torch.zeros(1, 3), damping=0.0)
        >>> doubled(torch.ones(1, 3)).value
        tensor([[0.5000, 0.5000, 0.5000]])
    """

    def inverse(self, operator: Operator, like: Tensor, damping: float) -> Inverse:
        """Compute and factorise the matrix.

        Raises:
            TrainingError: if H + damping is not positive definite.
        """
        matrix = dense_matrix(operator, like)
        eigenvalues = torch.linalg.eigvalsh(matrix)
        smallest, largest = eigenvalues[:, 0], eigenvalues[:, -1]
        require_definite(smallest + damping, largest + damping, like.shape[-1], damping)
        matrix = matrix + damping * torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
        factor = torch.linalg.cholesky(matrix)

        def solve(rhs: Tensor) -> LinearSolution:
            value = torch.cholesky_solve(rhs.unsqueeze(-1), factor)
            residual = _relative_norm((matrix @ value).squeeze(-1) - rhs, rhs)
            return LinearSolution(value.squeeze(-1), like.shape[-1], residual, float(smallest.min()))

        return solve


@dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradients with one product per iteration; their number is about the root of the condition number.

    M. R. Hestenes, E. Stiefel, J. Res. Natl. Bur. Stand. 49 (1952) 409, for all batch indices in parallel.

    Args:
        tolerance: relative residual at which to stop; by default sqrt(machine epsilon) / 100.
        max_iterations: largest number of iterations; by default 10 n.

    Example:
        >>> scale = torch.tensor([1.0, 2.0, 4.0])
        >>> inverse = ConjugateGradient().inverse(lambda v: scale * v, torch.zeros(1, 3), damping=0.0)
        >>> solution = inverse(torch.ones(1, 3))
        >>> solution.iterations, [round(x, 4) for x in solution.value[0].tolist()]
        (3, [1.0, 0.5, 0.25])
    """

    tolerance: float | None = None
    max_iterations: int | None = None

    def inverse(self, operator: Operator, like: Tensor, damping: float) -> Inverse:
        """Function that iterates, and raises TrainingError without convergence or for an H that is not definite."""
        size = like.shape[-1]
        limit = 10 * size if self.max_iterations is None else self.max_iterations
        tolerance = _tolerance(self.tolerance, like)

        def solve(rhs: Tensor) -> LinearSolution:
            value, remainder, direction = torch.zeros_like(rhs), rhs, rhs
            norm = _dot(rhs, rhs)
            target, seen, iterations = tolerance**2 * norm, _SeenCurvature(size, damping), 0
            while bool((norm > target).any()) and iterations < limit:
                product = operator(direction) + damping * direction
                running = norm > target
                curvature = seen.add(direction, product, running)
                step = torch.where(running, norm / torch.where(running, curvature, 1), 0)
                value = value + step * direction
                remainder = remainder - step * product
                new_norm = _dot(remainder, remainder)
                direction = remainder + torch.where(running, new_norm / torch.where(running, norm, 1), 0) * direction
                norm, iterations = torch.where(running, new_norm, norm), iterations + 1
            residual = _relative_norm(remainder, rhs)
            _require_converged("Conjugate gradients", residual, tolerance, iterations, size)
            return LinearSolution(value, iterations, residual, seen.smallest)

        return solve


@dataclass(frozen=True)
class Neumann:
    """The series u = a sum_k (1 - a H)^k v, with one product per term; their number is about the condition number.

    Slower than conjugate gradients; with a loose tolerance it is the truncated series that is used for networks
    (J. Lorraine, P. Vicol, D. Duvenaud, arXiv:1911.02590).

    Args:
        tolerance: relative residual at which to stop; by default sqrt(machine epsilon) / 100.
        max_iterations: largest number of terms.
        step: a, below 2 over the largest eigenvalue of H + damping; by default 1 over an estimate by power iteration.

    Example:
        >>> inverse = Neumann(step=0.5).inverse(lambda v: v, torch.zeros(1, 2), damping=0.0)
        >>> [round(x, 4) for x in inverse(torch.ones(1, 2)).value[0].tolist()]
        [1.0, 1.0]
    """

    tolerance: float | None = None
    max_iterations: int = 10_000
    step: float | None = None

    def inverse(self, operator: Operator, like: Tensor, damping: float) -> Inverse:
        """Function that adds terms, and raises TrainingError without convergence or for an H that is not definite."""
        size, tolerance = like.shape[-1], _tolerance(self.tolerance, like)
        step = 1 / _largest_eigenvalue(operator, like, damping) if self.step is None else self.step

        def solve(rhs: Tensor) -> LinearSolution:
            value, term, target = torch.zeros_like(rhs), rhs, tolerance**2 * _dot(rhs, rhs)
            seen, iterations = _SeenCurvature(size, damping), 0
            while bool((running := _dot(term, term) > target).any()) and iterations < self.max_iterations:
                product = operator(term) + damping * term
                seen.add(term, product, running)
                value, term, iterations = value + step * term, term - step * product, iterations + 1
            residual = _relative_norm(term, rhs)
            _require_converged("The Neumann series", residual, tolerance, iterations, size)
            return LinearSolution(value, iterations, residual, seen.smallest)

        return solve


SOLVERS: Mapping[str, LinearSolver] = {
    "exact": Exact(),
    "conjugate_gradient": ConjugateGradient(),
    "neumann": Neumann(),
}


def choose_solver(solver: str | LinearSolver) -> LinearSolver:
    """The solver of a name; a solver is returned as it is.

    Raises:
        TrainingError: for an unknown name.
    """
    if not isinstance(solver, str):
        return solver
    if solver not in SOLVERS:
        message = f"Unknown linear solver {solver!r} of an implicit derivative.{nearest_name(solver, SOLVERS)}"
        raise TrainingError(message)
    return SOLVERS[solver]


def dense_matrix(operator: Operator, like: Tensor) -> Tensor:
    """H, shape (B, n, n), from its products with the unit vectors, exactly symmetric."""
    unit = torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    columns = torch.stack([operator(column.expand_as(like)) for column in unit], dim=-1)
    return (columns + columns.mT) / 2


def generic_vector(like: Tensor) -> Tensor:
    """A fixed vector of the shape of `like`, unlikely to be orthogonal to an eigenvector."""
    golden = (5**0.5 - 1) / 2
    index = torch.arange(1, like.numel() + 1, dtype=like.dtype, device=like.device)
    return (index * golden % 1 - 0.5).reshape(like.shape)


def curvature_sign(smallest: Tensor, largest: Tensor, size: int) -> Curvature:
    """Classify H by its smallest and largest eigenvalue per batch index; the worst index counts.

    Example:
        >>> curvature_sign(torch.tensor([-1.0]), torch.tensor([2.0]), 2)
        'indefinite'
    """
    rounding = size * torch.finfo(smallest.dtype).eps * torch.maximum(smallest.abs(), largest.abs())
    if bool((smallest > rounding).all()):
        return "positive definite"
    if bool((largest < -rounding).all()):
        return "negative definite"
    return "indefinite" if bool((smallest < -rounding).any()) else "singular"


def require_definite(smallest: Tensor, largest: Tensor, size: int, damping: float) -> None:
    """Refuse a matrix that is not positive definite.

    Raises:
        TrainingError: states the smallest eigenvalue and what to do.
    """
    found = curvature_sign(smallest, largest, size)
    if found == "positive definite":
        return
    value = float(smallest.min()) - damping
    advice = {
        "negative definite": "The point is a stationary point of the other kind: exchange argmin and argmax.",
        "indefinite": "The point is a saddle or of the other kind (argmax instead of argmin), or the inner optimisation "
        f"has not converged: continue it, or give damping larger than {max(-value, 0.0):.3g} for an approximate "
        "derivative.",
        "singular": "The objective is flat in some direction, along which the solution is not unique: remove the "
        "redundant unknown, add a penalty to the objective, or give damping for an approximate derivative.",
    }[found]
    message = (
        f"The Hessian of the inner problem is {found} (smallest curvature {value:.3g}, damping {damping:.3g}; signs as "
        f"for a minimum), so the derivative of its solution does not exist. {advice}"
    )
    raise TrainingError(message)


class _SeenCurvature:
    """The extreme curvatures u^T H u / u^T u in an iteration; raises if H is not positive definite."""

    def __init__(self, size: int, damping: float) -> None:
        self.size, self.damping = size, damping
        self.smallest, self._largest = float("inf"), 0.0

    def add(self, direction: Tensor, product: Tensor, running: Tensor) -> Tensor:
        """Add the direction u with the product (H + damping) u; return u^T (H + damping) u, shape (B, 1)."""
        curvature = _dot(direction, product)
        ratio = curvature[running] / _dot(direction, direction)[running]
        self._largest = max(self._largest, float(ratio.abs().max()))
        self.smallest = min(self.smallest, float(ratio.min()) - self.damping)
        require_definite(ratio, torch.full_like(ratio, self._largest), self.size, self.damping)
        return curvature


def _largest_eigenvalue(operator: Operator, like: Tensor, damping: float) -> float:
    vector = generic_vector(like)
    norm = vector.norm(dim=-1, keepdim=True)
    for _ in range(POWER_ITERATIONS):
        vector = operator(vector / norm) + damping * vector / norm
        norm = vector.norm(dim=-1, keepdim=True)
        if not bool((norm > 0).all()):
            zero = torch.zeros(1, dtype=like.dtype)
            require_definite(zero, zero, like.shape[-1], damping)
    return float(norm.max())


def _require_converged(name: str, residual: float, tolerance: float, iterations: int, size: int) -> None:
    # The recursively computed residual may exceed the target by rounding.
    if residual <= tolerance * 1.001:
        return
    message = (
        f"{name} stopped after {iterations} products with a relative residual of {residual:.2g}, above the tolerance "
        f"{tolerance:.2g}, for {size} unknowns. Allow more with max_iterations=, accept less with tolerance=, "
        "give damping=, or use the exact solver."
    )
    raise TrainingError(message)


def _tolerance(asked: float | None, like: Tensor) -> float:
    return float(torch.finfo(like.dtype).eps ** 0.5) / 100 if asked is None else asked


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(-1, keepdim=True)


def _relative_norm(remainder: Tensor, rhs: Tensor) -> float:
    norm = rhs.norm(dim=-1)
    return float((remainder.norm(dim=-1) / torch.where(norm > 0, norm, 1)).max())
