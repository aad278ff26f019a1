import pytest
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.argmin import argmin
from zsig_hep.learning.implicit.constraints import ActiveSet, Barrier
from zsig_hep.learning.implicit.kkt import (
    ActiveConstraints,
    InnerProblem,
    KKTSystem,
    Linearisation,
    follow,
    vector_jacobian,
)
from zsig_hep.learning.implicit.linear_solvers import ConjugateGradient, Exact, Neumann

HESSIAN = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]], dtype=torch.float64)
ROWS = torch.tensor([[1.0, 1.0, -2.0], [0.5, -1.0, 3.0]], dtype=torch.float64)
TARGET = torch.tensor([[1.0, 0.2], [-0.5, 2.0]], dtype=torch.float64)
LINEAR = torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.0, -1.0]], dtype=torch.float64)
SOLVERS = [Exact(), ConjugateGradient(), Neumann()]


def quadratic(y, parameters):
    """y H y / 2 + g y with two equalities A y = b, two problems side by side."""
    (linear,) = parameters
    return (y * (y @ HESSIAN)).sum(-1) / 2 + (linear * y).sum(-1)


def problem(*, equality=True, inequality=None, sign=1):
    batch = torch.Size([2])
    return InnerProblem(quadratic, tuple, torch.Size([2, 3]), batch, sign, inequality, with_equality=equality)


def system(solver=None, *, y=None, damping=0.0):
    leaves = [LINEAR.clone().requires_grad_(), ROWS.clone().requires_grad_(), TARGET.clone().requires_grad_()]
    active = ActiveConstraints(torch.arange(0), torch.ones(2, 2, dtype=torch.bool), 0)
    y = closed_form(*leaves)[:, :3].detach() if y is None else y
    return KKTSystem(problem(), active, y.clone(), leaves, solver or Exact(), damping)


def whole_matrix(rows, damping=0.0):
    """The matrix of equation 1, dense."""
    hessian = HESSIAN + damping * torch.eye(3, dtype=torch.float64)
    return torch.cat([torch.cat([hessian, rows.T], 1), torch.cat([rows, rows.new_zeros(2, 2)], 1)])


def closed_form(linear, rows, target):
    """Solution and multipliers, (2, 5)."""
    return torch.linalg.solve(whole_matrix(rows), torch.cat([-linear, target], -1).unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_the_projected_solution_is_that_of_the_whole_matrix(solver, damping):
    v, w = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).split([3, 2], -1)
    found = torch.cat(system(solver, damping=damping).solve(v, w), -1)
    expected = torch.linalg.solve(whole_matrix(ROWS, damping), torch.cat([v, w], -1).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_a_newton_step_from_anywhere_ends_at_the_solution_of_a_quadratic_problem():
    start = torch.tensor([[5.0, 0.0, -1.0], [0.0, 3.0, 7.0]], dtype=torch.float64)
    exact = closed_form(LINEAR, ROWS, TARGET)
    torch.testing.assert_close(start + system(y=start).newton_step(), exact[:, :3])
    assert system().newton_step().abs().max() < 1e-12


def test_multipliers_make_the_slope_of_the_lagrangian_vanish():
    point = system().point
    torch.testing.assert_close(point.multipliers, closed_form(LINEAR, ROWS, TARGET)[:, 3:])
    assert point.slope.abs().max() < 1e-12
    assert point.constraints.abs().max() < 1e-12
    torch.testing.assert_close(point.jacobian, ROWS.expand(2, 2, 3))
    torch.testing.assert_close(point.hessian_product(torch.eye(3, dtype=torch.float64)[:2]), HESSIAN[:2])


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda each: type(each).__name__)
def test_gradients_flow_back_as_through_the_closed_form(solver):
    v, w = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).split([3, 2], -1)
    leaves = [each.clone().requires_grad_() for each in (LINEAR, ROWS, TARGET)]
    expected = torch.autograd.grad((closed_form(*leaves) * torch.cat([v, w], -1)).sum(), leaves)
    for one, other in zip(system(solver).pull_back(v, w), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
    y, multipliers = follow(system(solver), leaves)
    followed = torch.autograd.grad((y * v).sum() + (multipliers * w).sum(), leaves)
    for one, other in zip(followed, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_an_inactive_constraint_counts_as_zero_and_moves_nothing():
    inequality = ActiveSet(lambda y, parameters: y[..., :2] - 1)
    of_two = problem(equality=False, inequality=inequality)
    active = ActiveConstraints(torch.tensor([1]), torch.tensor([[True], [False]]), 2)
    y = torch.tensor([[0.0, 1.25, 0.0], [0.0, 5.0, 0.0]], dtype=torch.float64)
    assert active.values(of_two, y, [LINEAR]).tolist() == [[0.25], [0.0]]
    point = Linearisation.at(of_two, active, y.requires_grad_(), [LINEAR])
    assert point.jacobian.tolist() == [[[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]
    assert point.multipliers[1].tolist() == [0.0]


def test_a_barrier_is_part_of_the_value_and_a_maximum_turns_the_sign_of_the_objective_only():
    y = torch.tensor([[0.0, 0.5, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    barrier = Barrier(lambda y, parameters: y[..., :2] - 1, t=4.0)
    plain = quadratic(y, (LINEAR,))
    # ln(1 - 0) and ln(1 - 0.5); ln(1 - 0) and ln(1 + 1).
    height = -torch.tensor([0.5, 2.0], dtype=torch.float64).log() / 4
    for sign in (1, -1):
        value = problem(equality=False, inequality=barrier, sign=sign).value(y, [LINEAR])
        torch.testing.assert_close(value, sign * plain + height)


@pytest.mark.parametrize(
    "options",
    [{"solver": "conjugate_gradient"}, {"solver": "neumann"}, {"damping": 1e-3}, {"solver": "neumann", "damping": 0.1}],
)
def test_a_first_order_result_cannot_be_used_twice(options):
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    y = argmin(lambda y, x: torch.exp(y) - x * y, x.detach().log(), x, **options).value
    with pytest.raises(TrainingError, match="first-order result"):
        torch.autograd.grad(y, x, create_graph=True)
    # Without a second use in view the first is still there.
    assert torch.autograd.grad(y, x)[0].item() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, "must return a tensor, found float"),
        (torch.zeros(3), r"gave shape \(3,\) for a solution of shape \(2, 3\); expected \(2,\), one value per batch"),
    ],
)
def test_an_objective_without_one_value_per_problem_is_refused(value, message):
    wrong = InnerProblem(
        lambda y, parameters: value, tuple, torch.Size([2, 3]), torch.Size([2]), 1, None, with_equality=False
    )
    with pytest.raises(TrainingError, match=message):
        wrong.value(torch.zeros(2, 3), [LINEAR])


def test_the_gradient_of_what_does_not_depend_on_the_point_is_zero():
    point = torch.tensor([1.0, 2.0], requires_grad=True)
    other = torch.tensor([3.0, 4.0], requires_grad=True)
    assert vector_jacobian(torch.ones(2), point).tolist() == [0.0, 0.0]
    assert vector_jacobian(other**2, point).tolist() == [0.0, 0.0]
    assert vector_jacobian(point**2, point, torch.tensor([1.0, 10.0])).tolist() == [2.0, 40.0]
