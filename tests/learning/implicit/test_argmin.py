import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.argmin import argmax, argmin
from zsig_hep.learning.implicit.linear_solvers import ConjugateGradient, Neumann

SOLVERS = ["exact", "conjugate_gradient", "neumann"]


def tensor(*values, grad=False):
    return torch.tensor(values[0] if len(values) == 1 else values, dtype=torch.float64, requires_grad=grad)


def chain(y, parameters):
    """A strictly convex function of four numbers without closed solution, and with third derivatives."""
    weight, centre, coupling = parameters["weight"], parameters["centre"], parameters["coupling"]
    return (weight * torch.cosh(y - centre)).sum(-1) + coupling / 2 * (y.sum(-1) - 1) ** 2


def minimise(objective, start, parameters):
    """Newton's method with torch's own Hessian."""
    y = start
    for _ in range(12):
        gradient = torch.autograd.functional.jacobian(lambda z: objective(z, parameters), y)
        y = y - torch.linalg.solve(torch.autograd.functional.hessian(lambda z: objective(z, parameters), y), gradient)
    return y


def solve_chain(weight, centre, coupling, solver="exact"):
    parameters = {"weight": weight, "centre": centre, "coupling": coupling}
    fixed = {name: value.detach() for name, value in parameters.items()}
    return argmin(chain, minimise(chain, torch.zeros(4, dtype=torch.float64), fixed), parameters, solver=solver).value


def chain_parameters():
    return tensor([0.6, 1.1, 0.9, 1.4], grad=True), tensor([0.3, -0.5, 1.2, 0.1], grad=True), tensor(1.3, grad=True)


def test_the_gradient_agrees_with_differences_of_reoptimisation():
    assert gradcheck(solve_chain, chain_parameters(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", ["conjugate_gradient", "neumann"])
def test_iterative_solvers_give_the_gradient_of_the_exact_one(solver):
    parameters, direction = chain_parameters(), tensor([0.7, -1.0, 0.2, 0.5])
    exact, found = (
        torch.autograd.grad(solve_chain(*parameters, each) @ direction, parameters) for each in ("exact", solver)
    )
    for one, other in zip(exact, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9)


def test_the_second_derivative_of_the_exact_solver_is_right():
    assert gradgradcheck(solve_chain, chain_parameters(), atol=1e-6, rtol=1e-5)


def test_a_pinned_scalar_with_its_second_derivative():
    # y* = ln x minimises exp(y) - x y: first derivative 1/x, second -1/x^2, third 2/x^3.
    x = tensor(2.0, grad=True)
    y = argmin(lambda y, x: torch.exp(y) - x * y, x.detach().log(), x)
    (first,) = torch.autograd.grad(y.value, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, create_graph=True)
    (third,) = torch.autograd.grad(second, x)
    assert (first.item(), second.item(), third.item()) == pytest.approx((0.5, -0.25, 0.25))
    assert y.value.shape == ()
    assert y.residual < 1e-15
    assert y.smallest_curvature == pytest.approx(2.0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_zero_dimensional_solutions_have_gradients(solver):
    x = tensor(2.0, grad=True)
    argmin(lambda y, x: torch.exp(y) - x * y, x.detach().log(), x, solver=solver).value.backward()
    assert x.grad.item() == pytest.approx(0.5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_ridge_regression_against_its_closed_form(solver):
    generator = torch.Generator().manual_seed(2)
    design = torch.randn(20, 5, dtype=torch.float64, generator=generator)
    target = torch.randn(20, dtype=torch.float64, generator=generator)

    def closed(log_penalties, target):
        matrix = design.T @ design + torch.diag(log_penalties.exp())
        return torch.linalg.solve(matrix, design.T @ target)

    def objective(beta, parameters):
        log_penalties, target = parameters
        return ((design @ beta - target) ** 2).sum() + (log_penalties.exp() * beta**2).sum()

    parameters = (torch.linspace(-1, 2, 5, dtype=torch.float64).requires_grad_(), target.requires_grad_())
    beta = argmin(objective, closed(*parameters), parameters, solver=solver).value
    direction = torch.randn(5, dtype=torch.float64, generator=generator)
    found = torch.autograd.grad(beta @ direction, parameters)
    expected = torch.autograd.grad(closed(*parameters) @ direction, parameters)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_maximum_is_a_minimum_of_the_opposite(solver):
    curvature, shift = tensor([2.0, 3.0], grad=True), tensor([0.4, -1.0], grad=True)

    def utility(y, parameters):
        return -(parameters["curvature"] * (y - parameters["shift"] ** 2) ** 2).sum()

    parameters = {"curvature": curvature, "shift": shift}
    result = argmax(utility, shift.detach() ** 2, parameters, solver=solver)
    assert result.curvature == "negative definite"
    by_curvature, by_shift = torch.autograd.grad(result.value.sum(), (curvature, shift))
    torch.testing.assert_close(by_shift, 2 * shift.detach())
    torch.testing.assert_close(by_curvature, torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_is_as_many_single_problems(solver):
    # Shared and per-index parameters, solutions of shape (2, 3, 4).
    generator = torch.Generator().manual_seed(5)
    weight = (torch.rand(2, 3, 4, dtype=torch.float64, generator=generator) + 0.5).requires_grad_()
    centre = torch.randn(4, dtype=torch.float64, generator=generator).requires_grad_()
    coupling = torch.rand(2, 1, dtype=torch.float64, generator=generator).requires_grad_()
    leaves = (weight, centre, coupling)
    parameters = {"weight": weight, "centre": centre, "coupling": coupling}
    cotangent = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    singles = [[solve_chain(weight[i, j], centre, coupling[i, 0]) for j in range(3)] for i in range(2)]
    expected = torch.autograd.grad(
        sum((singles[i][j] * cotangent[i, j]).sum() for i in range(2) for j in range(3)), leaves
    )
    solution = torch.stack([torch.stack(row) for row in singles]).detach()
    result = argmin(chain, solution, parameters, solver=solver, batch_dims=2)
    assert result.value.shape == (2, 3, 4)
    for ours, theirs in zip(torch.autograd.grad((result.value * cotangent).sum(), leaves), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_damping_is_what_it_says():
    x = tensor(2.0, grad=True)
    y = argmin(lambda y, x: torch.exp(y) - x * y, x.detach().log(), x, damping=0.5)
    assert torch.autograd.grad(y.value, x)[0].item() == pytest.approx(1 / 2.5)


def test_a_saddle_is_refused_and_damping_helps():
    def saddle(y, p):
        return y[0] ** 2 - 0.25 * y[1] ** 2 + (p * y).sum()

    p, y = tensor([0.0, 0.0], grad=True), tensor([0.0, 0.0])
    for solver in SOLVERS:
        with pytest.raises(TrainingError, match=r"indefinite \(smallest curvature -.*damping larger than"):
            argmin(saddle, y, p, solver=solver)
    result = argmin(saddle, y, p, damping=1.0)
    assert result.curvature == "indefinite"
    assert result.smallest_curvature == pytest.approx(-0.5)


def test_a_flat_direction_is_refused():
    for solver in SOLVERS:
        with pytest.raises(TrainingError, match="singular"):
            argmin(lambda y, p: (y.sum() - p) ** 2, tensor([0.5, 0.5]), tensor(1.0, grad=True), solver=solver)
    with pytest.raises(TrainingError, match="singular"):
        argmin(lambda y, p: p * 1.0, tensor(0.5), tensor(1.0, grad=True))


def test_a_maximum_given_as_a_minimum_is_named():
    with pytest.raises(TrainingError, match=r"negative definite .* exchange argmin and argmax"):
        argmin(lambda y, p: -((y - p) ** 2), tensor(1.0), tensor(1.0, grad=True))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_point_that_is_not_stationary_is_refused_with_its_distance(solver):
    with pytest.raises(TrainingError, match=r"residual is 0\.000999, above the tolerance 1e-06 .*tighter tolerance"):
        argmin(lambda y, p: (y - p) ** 2, tensor(1.001), tensor(1.0, grad=True), solver=solver, tolerance=1e-6)
    accepted = argmin(lambda y, p: (y - p) ** 2, tensor(1.001), tensor(1.0, grad=True), solver=solver, tolerance=0.01)
    assert accepted.residual == pytest.approx(1e-3 / 1.001)


def test_float32_has_a_tolerance_of_its_own():
    x = torch.tensor(2.0, requires_grad=True)
    y = argmin(lambda y, x: torch.exp(y) - x * y, torch.tensor(0.6931), x).value
    y.backward()
    assert y.dtype == torch.float32
    assert x.grad.item() == pytest.approx(0.5, rel=1e-3)


def test_a_hidden_tensor_with_gradients_is_refused():
    hidden = tensor(1.0, grad=True)
    with pytest.raises(TrainingError, match="not among the parameters"):
        argmin(lambda y, p: (y - p * hidden) ** 2, tensor(2.0), tensor(2.0, grad=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"solution": tensor(np.nan)}, "NaN or infinite"),
        ({"solution": torch.zeros(0)}, "empty"),
        ({"solution": torch.tensor(1)}, r"floating type, found torch\.int64"),
        ({"parameters": tensor(np.nan)}, "objective is NaN"),
        ({"parameters": (1.0,)}, "must be tensors"),
        ({"batch_dims": 1}, "batch_dims must be between 0 and 0"),
        ({"damping": -1.0}, "damping must not be negative"),
        ({"solver": "exakt"}, "Did you mean 'exact'"),
    ],
)
def test_bad_input(arguments, words):
    usual = {"objective": lambda y, p: (y - p) ** 2, "solution": tensor(1.0), "parameters": tensor(1.0, grad=True)}
    with pytest.raises(TrainingError, match=words):
        argmin(**{**usual, **arguments})


def test_parameters_without_gradient_give_a_constant():
    result = argmin(lambda y, p: (y - p) ** 2, tensor(1.0), tensor(1.0))
    assert not result.value.requires_grad
    assert (result.multipliers, result.active, result.degenerate) == (None, None, None)


def test_nothing_that_was_given_is_changed():
    y, p = tensor(1.0), tensor(1.0, grad=True)
    argmin(lambda y, p: (y - p) ** 2, y, p).value.backward()
    assert not y.requires_grad
    assert y.item() == 1.0


def test_iterations_are_reported():
    exact, conjugate, neumann = (
        argmin(
            lambda y, p: (p * (y - 1) ** 2).sum(), torch.ones(4, dtype=torch.float64), tensor([1.0, 2, 3, 4]), solver=s
        )
        for s in ("exact", ConjugateGradient(), Neumann(step=0.2))
    )
    assert exact.solver_iterations == conjugate.solver_iterations == 4
    assert neumann.solver_iterations > 20


def test_boosted_trees_have_no_implicit_derivatives():
    from tests.learning.forests import tree_settings
    from tests.learning.toy import make_table
    from zsig_hep.learning import train_trees, tune

    trees = train_trees(make_table(100), tree_settings(seeds=1))
    with pytest.raises(
        TrainingError, match=r"need the solution as a tensor, found BoostedTrees\. Boosted trees have none"
    ):
        argmin(lambda y, p: (y - p) ** 2, trees, torch.tensor(1.0))
    with pytest.raises(TrainingError, match="need a TuningProblem, found BoostedTrees"):
        tune(trees)
