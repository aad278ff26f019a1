from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.autograd import gradcheck, gradgradcheck

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.argmin import argmax, argmin
from zsig_hep.learning.implicit.constraints import ActiveSet, Barrier

SOLVERS = ["exact", "conjugate_gradient", "neumann"]
MATRIX = torch.tensor(
    [[4.0, 1.0, 0.5, 0.0], [1.0, 3.0, 0.2, 0.4], [0.5, 0.2, 2.0, 0.3], [0.0, 0.4, 0.3, 1.0]], dtype=torch.float64
)
LINEAR = torch.tensor([1.0, -2.0, 0.5, -3.0], dtype=torch.float64)


def tensor(*values, grad=False):
    return torch.tensor(values[0] if len(values) == 1 else values, dtype=torch.float64, requires_grad=grad)


def quadratic(y, parameters):
    matrix, linear = parameters
    return (y * (y @ matrix)).sum(-1) / 2 + (linear * y).sum(-1)


def equality_solution(matrix, linear, rows, target, solver="exact"):
    """The closed form of a quadratic program with A y = b, and ours; both as functions."""
    symmetric, count = (matrix + matrix.T) / 2, len(rows)
    kkt = torch.cat([torch.cat([symmetric, rows.T], 1), torch.cat([rows, rows.new_zeros(count, count)], 1)])
    closed = torch.linalg.solve(kkt, torch.cat([-linear, target]))
    result = argmin(quadratic, closed[: len(linear)], (matrix, linear), equality=(rows, target), solver=solver)
    return closed, result


def equality_inputs():
    rows = tensor([[1.0, 1.0, 1.0, 1.0], [0.5, -1.0, 2.0, 0.3]], grad=True)
    return MATRIX.clone().requires_grad_(), LINEAR.clone().requires_grad_(), rows, tensor([1.0, 0.2], grad=True)


@pytest.mark.parametrize("solver", SOLVERS)
def test_equalities_against_the_closed_form(solver):
    inputs = equality_inputs()
    closed, result = equality_solution(*inputs, solver=solver)
    ours = torch.cat([result.value, result.multipliers])
    torch.testing.assert_close(ours, closed)
    for row in range(6):
        found = torch.autograd.grad(ours[row], inputs, retain_graph=True)
        expected = torch.autograd.grad(closed[row], inputs, retain_graph=True)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_equalities_by_gradcheck_to_second_order():
    def ours(*inputs):
        result = equality_solution(*inputs)[1]
        return result.value, result.multipliers

    assert gradcheck(ours, equality_inputs())
    assert gradgradcheck(ours, equality_inputs())


def test_the_equations_of_the_paper():
    # dy/dx = -F (F^T H F)^-1 F^T f_YX with F of the null space, and dy/db = H^-1 A^T (A H^-1 A^T)^-1.
    matrix, linear, rows, target = equality_inputs()
    _, result = equality_solution(matrix, linear, rows, target)
    by_linear = torch.stack([torch.autograd.grad(y, linear, retain_graph=True)[0] for y in result.value])
    by_target = torch.stack([torch.autograd.grad(y, target, retain_graph=True)[0] for y in result.value])
    null = torch.linalg.svd(rows.detach()).Vh[2:].T
    torch.testing.assert_close(by_linear, -null @ torch.linalg.inv(null.T @ MATRIX @ null) @ null.T)
    inverse = torch.linalg.inv(MATRIX)
    a = rows.detach()
    torch.testing.assert_close(by_target, inverse @ a.T @ torch.linalg.inv(a @ inverse @ a.T))


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_entropic_projection_onto_the_simplex_is_the_softmax(solver):
    x = tensor([[0.3, -1.0, 0.8], [2.0, 0.0, 0.5]], grad=True)

    def utility(y, x):
        return (x * y).sum(-1) - torch.xlogy(y, y).sum(-1)

    ones, total = torch.ones(1, 3, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    solution = torch.softmax(x, -1)
    result = argmax(utility, solution, x, equality=(ones, total), solver=solver, batch_dims=1)
    assert result.curvature == "negative definite"
    cotangent = tensor([[1.0, -0.5, 2.0], [0.1, 1.0, -3.0]])
    found = torch.autograd.grad((result.value * cotangent).sum(), x)[0]
    expected = torch.autograd.grad((solution * cotangent).sum(), x)[0]
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_a_batch_with_its_own_equalities():
    rows = tensor([[[1.0, 1.0]], [[1.0, -2.0]]], grad=True)
    target = tensor([[1.0], [2.0]], grad=True)
    # The shortest y with a . y = b is a b / |a|^2.
    closed = (rows * target.unsqueeze(-1) / (rows**2).sum(-1, keepdim=True)).squeeze(1)
    result = argmin(lambda y, p: (y**2).sum(-1), closed, (), equality=(rows, target), batch_dims=1)
    for one, other in zip(
        torch.autograd.grad((result.value**3).sum(), (rows, target)),
        torch.autograd.grad((closed**3).sum(), (rows, target)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    assert result.multipliers.shape == (2, 1)


def box(y, parameters):
    """Minus one to the upper bound in each direction."""
    return torch.cat([y - parameters["upper"], -1 - y], dim=-1)


def box_objective(y, parameters):
    return quadratic(y, (MATRIX, parameters["linear"]))


def box_solution(linear, upper):
    """The closed form: SciPy finds which bounds hold, the rest is linear algebra."""
    bounds = [(-1.0, u) for u in upper.tolist()]
    found = minimize(
        lambda y: (0.5 * y @ MATRIX.numpy() @ y + linear.numpy() @ y, MATRIX.numpy() @ y + linear.numpy()),
        np.zeros(4),
        jac=True,
        bounds=bounds,
        method="L-BFGS-B",
        options={"ftol": 0, "gtol": 1e-9},
    ).x
    at_upper, at_lower = np.abs(found - upper.numpy()) < 1e-6, np.abs(found + 1) < 1e-6
    free = torch.from_numpy(~(at_upper | at_lower))
    y = torch.where(torch.from_numpy(at_upper), upper, -1.0)
    y[free] = torch.linalg.solve(MATRIX[free][:, free], -linear[free] - MATRIX[free][:, ~free] @ y[~free])
    return y


def constrained(linear, upper, inequality, solver="exact"):
    parameters = {"linear": linear, "upper": upper}
    solution = box_solution(linear.detach(), upper.detach())
    return argmin(box_objective, solution, parameters, inequality=inequality, solver=solver)


UPPER = [0.4, 0.5, 2.0, 0.8]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_box_by_its_active_set_has_the_multipliers_of_the_slope(solver):
    result = constrained(LINEAR, tensor(UPPER), ActiveSet(box), solver)
    # Two of the upper bounds hold, none of the lower.
    assert result.active.tolist() == [False, True, False, True] + [False] * 4
    assert not result.degenerate.any()
    slope = MATRIX @ result.value + LINEAR
    expected = torch.where(result.active[:4], -slope, 0)
    torch.testing.assert_close(result.multipliers, torch.cat([expected, torch.zeros(4).double()]))


def box_values(linear, upper, solver="exact"):
    found = constrained(linear, upper, ActiveSet(box), solver)
    return found.value, found.multipliers


def box_inputs():
    return LINEAR.clone().requires_grad_(), tensor(UPPER, grad=True)


def test_a_box_by_its_active_set_agrees_with_reoptimisation():
    assert gradcheck(box_values, box_inputs(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", ["conjugate_gradient", "neumann"])
def test_iterative_solvers_give_the_gradients_of_the_exact_one(solver):
    inputs, direction = box_inputs(), torch.linspace(-1, 1, 12, dtype=torch.float64)
    exact, found = (
        torch.autograd.grad(torch.cat(box_values(*inputs, each)) @ direction, inputs) for each in ("exact", solver)
    )
    for one, other in zip(exact, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)


def test_a_curved_active_constraint_counts_in_the_hessian():
    # The point of the disc |y|^2 <= r^2 closest to x is r x / |x|; its derivative shrinks with the distance of x.
    x, radius = tensor([3.0, 4.0], grad=True), tensor(2.0, grad=True)
    closed = radius * x / x.norm()
    disc = ActiveSet(lambda y, p: (y**2).sum(-1, keepdim=True) - p[1] ** 2)
    result = argmin(lambda y, p: ((y - p[0]) ** 2).sum(), closed, (x, radius), inequality=disc)
    cotangent = tensor([0.7, -0.2])
    for one, other in zip(
        torch.autograd.grad(result.value @ cotangent, (x, radius), create_graph=True),
        torch.autograd.grad(closed @ cotangent, (x, radius), create_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
        again = [torch.autograd.grad(part.sum(), x, retain_graph=True)[0] for part in (one, other)]
        torch.testing.assert_close(*again)


def test_the_active_set_may_differ_within_a_batch():
    # y = min(x, u) elementwise.
    x = tensor([[0.5, 2.0], [3.0, -1.0], [0.1, 0.2]], grad=True)
    upper = tensor(1.0, grad=True)
    result = argmin(
        lambda y, p: ((y - p[0]) ** 2).sum(-1),
        x.detach().clamp(max=1),
        (x, upper),
        inequality=ActiveSet(lambda y, p: y - p[1]),
        batch_dims=1,
    )
    assert result.active.tolist() == [[False, True], [True, False], [False, False]]
    by_x, by_upper = torch.autograd.grad(result.value.sum(), (x, upper))
    torch.testing.assert_close(by_x, (x < 1).double())
    assert by_upper.item() == pytest.approx(2.0)


def test_a_vertex_follows_its_constraints_alone():
    upper = tensor([0.3, 0.6], grad=True)
    result = argmin(lambda y, p: -y.sum(), upper, upper, inequality=ActiveSet(lambda y, p: y - p))
    torch.testing.assert_close(torch.autograd.grad(result.value @ tensor([1.0, 5.0]), upper)[0], tensor([1.0, 5.0]))
    assert result.multipliers.tolist() == [1.0, 1.0]


def test_a_degenerate_inequality_is_reported():
    x = tensor(1.0, grad=True)
    result = argmin(lambda y, x: (y - x) ** 2, x, x, inequality=ActiveSet(lambda y, x: (y - 1).reshape(1)))
    assert result.active.tolist() == result.degenerate.tolist() == [True]


def barrier_solution(linear, upper, t):
    """The minimiser of the box problem with its barrier, by Newton's method from inside the box."""
    parameters = {"linear": linear.detach(), "upper": upper.detach()}

    def value(y):
        return box_objective(y, parameters) - torch.log(-box(y, parameters)).sum(-1) / t

    y = torch.zeros(4, dtype=torch.float64)
    for _ in range(200):
        gradient = torch.autograd.functional.jacobian(value, y)
        step = torch.linalg.solve(torch.autograd.functional.hessian(value, y), gradient)
        scale = 1.0
        while not bool((box(y - scale * step, parameters) < 0).all()) or value(y - scale * step) > value(y) + 1e-14:
            scale /= 2
            if scale < 1e-12:
                return y
        y = y - scale * step
        if step.norm() < 1e-14:
            return y
    return y


@pytest.mark.parametrize(("t", "error"), [(1e3, 7.95e-3), (1e6, 8.16e-6)])
def test_the_barrier_error_falls_as_one_over_t(t, error):
    linear, upper = LINEAR.clone().requires_grad_(), tensor(UPPER, grad=True)
    parameters = {"linear": linear, "upper": upper}
    exact = constrained(linear, upper, ActiveSet(box)).value
    near = argmin(box_objective, barrier_solution(linear, upper, t), parameters, inequality=Barrier(box, t)).value
    differences = []
    for row in range(4):
        theirs = torch.cat(torch.autograd.grad(exact[row], (linear, upper), retain_graph=True))
        ours = torch.cat(torch.autograd.grad(near[row], (linear, upper), retain_graph=True))
        differences.append(float((ours - theirs).abs().max()))
    assert max(differences) == pytest.approx(error, rel=0.01)


@pytest.mark.parametrize("t", [1e2, 1e6])
def test_the_barrier_derivative_lies_between_the_sides_of_a_degenerate_constraint(t):
    # y = min(x, 1) at x = 1 has the derivatives 1 and 0; (y - x)^2 / 2 - ln(1 - y) / t has its minimum 1 / sqrt(t) below.
    x = tensor(1.0, grad=True)
    barrier = Barrier(lambda y, x: (y - 1).reshape(1), t)
    result = argmin(lambda y, x: (y - x) ** 2 / 2, tensor(1 - t**-0.5), x, inequality=barrier)
    assert torch.autograd.grad(result.value, x)[0].item() == pytest.approx(0.5)


def test_the_barrier_derivative_is_exact_for_the_barrier_problem():
    def ours(linear, upper):
        parameters = {"linear": linear, "upper": upper}
        return argmin(
            box_objective, barrier_solution(linear, upper, 50.0), parameters, inequality=Barrier(box, 50.0)
        ).value

    inputs = (LINEAR.clone().requires_grad_(), tensor(UPPER, grad=True))
    assert gradcheck(ours, inputs, atol=1e-6, rtol=1e-6)


def test_bad_constraints():
    x = tensor([2.0, 2.0], grad=True)
    distance = partial(lambda y, p: ((y - p) ** 2).sum(-1))
    upper = ActiveSet(lambda y, p: y - 1)
    with pytest.raises(TrainingError, match=r"violates an inequality f_i <= 0 by 0\.5"):
        argmin(distance, tensor([1.5, 1.0]), x, inequality=upper)
    with pytest.raises(TrainingError, match=r"multiplier of -.* wrong sign"):
        argmin(distance, tensor([1.0, 1.0]), tensor([0.5, 2.0], grad=True), inequality=upper)
    with pytest.raises(TrainingError, match="use ActiveSet"):
        argmin(distance, tensor([1.0, 1.0]), x, inequality=Barrier(upper.function, 1e3))
    with pytest.raises(TrainingError, match="t > 0, found 0"):
        argmin(distance, tensor([0.0, 0.0]), x, inequality=Barrier(upper.function, 0.0))
    twice = ActiveSet(lambda y, p: torch.cat([y - 1, y - 1]))
    with pytest.raises(TrainingError, match="depend on each other"):
        argmin(distance, tensor([1.0, 1.0]), x, inequality=twice)
    with pytest.raises(TrainingError, match="not stationary"):
        argmin(distance, tensor([2.0, 2.0]), x, equality=(tensor([[1.0, 1.0]]), tensor([3.0])))
    with pytest.raises(TrainingError, match="not stationary"):
        argmin(distance, tensor([1.4, 1.6]), x, equality=(tensor([[1.0, 1.0]]), tensor([3.0])))


def test_a_saddle_is_a_minimum_where_its_bad_direction_is_not_free():
    # y0^2 - y1^2 with y1 held has a minimum; with y0 held it has none.
    target = tensor([0.5], grad=True)

    def saddle(y, p):
        return y[0] ** 2 - y[1] ** 2

    for solver in SOLVERS:
        result = argmin(saddle, tensor([0.0, 0.5]), (), equality=(tensor([[0.0, 1.0]]), target), solver=solver)
        assert result.curvature == "positive definite"
        with pytest.raises(TrainingError, match="Hessian of the inner problem is"):
            argmin(saddle, tensor([0.5, 0.0]), (), equality=(tensor([[1.0, 0.0]]), target), solver=solver)
