import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.linear_solvers import (
    ConjugateGradient,
    Exact,
    Neumann,
    choose_solver,
    curvature_sign,
    dense_matrix,
    generic_vector,
)

ALL = [Exact(), ConjugateGradient(), Neumann()]


def problem(seed, batch, size, condition=20.0):
    """Matrices with given eigenvalues, and right-hand sides."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, size, size, dtype=torch.float64, generator=generator)
    basis, _ = torch.linalg.qr(noise)
    eigenvalues = torch.linspace(1, condition, size, dtype=torch.float64)
    matrix = basis @ torch.diag(eigenvalues) @ basis.mT
    return matrix, torch.randn(batch, size, dtype=torch.float64, generator=generator)


def product(matrix):
    return lambda v: (matrix @ v.unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("solver", ALL)
@pytest.mark.parametrize("damping", [0.0, 0.7])
@given(seed=st.integers(0, 1000), batch=st.integers(1, 3), size=st.integers(1, 7))
@settings(max_examples=10, deadline=None)
def test_every_solver_solves_the_damped_system(solver, damping, seed, batch, size):
    matrix, rhs = problem(seed, batch, size)
    found = solver.inverse(product(matrix), rhs, damping)(rhs)
    expected = torch.linalg.solve(matrix + damping * torch.eye(size, dtype=torch.float64), rhs)
    torch.testing.assert_close(found.value, expected, rtol=1e-7, atol=1e-8)
    assert found.residual < 2e-10
    # The eigenvalues are 1 and above, without the damping.
    assert found.smallest_curvature > 1 - 1e-9
    assert solver is not ALL[0] or found.smallest_curvature == pytest.approx(1)


def test_conjugate_gradients_need_as_many_products_as_distinct_eigenvalues():
    scale = torch.tensor([1.0, 1.0, 4.0, 4.0, 9.0], dtype=torch.float64)
    solution = ConjugateGradient().inverse(lambda v: scale * v, scale[None], 0.0)(torch.ones(1, 5, dtype=torch.float64))
    assert solution.iterations == 3


def test_the_neumann_series_is_its_partial_sum():
    scale, step, terms = torch.tensor([[0.5, 1.0]], dtype=torch.float64), 0.6, 4
    rhs = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    found = Neumann(tolerance=0.5, max_iterations=terms, step=step).inverse(lambda v: scale * v, rhs, 0.0)(rhs)
    expected = step * sum((1 - step * scale) ** k * rhs for k in range(found.iterations))
    torch.testing.assert_close(found.value, expected)
    assert 0 < found.iterations <= terms


def test_a_batch_index_of_zeros_stays_zero():
    matrix, rhs = problem(1, 2, 4)
    rhs[0] = 0
    for solver in ALL:
        found = solver.inverse(product(matrix), rhs, 0.0)(rhs)
        assert torch.equal(found.value[0], torch.zeros(4, dtype=torch.float64))
        torch.testing.assert_close(found.value[1], torch.linalg.solve(matrix[1], rhs[1]), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("solver", ALL)
@pytest.mark.parametrize(
    ("eigenvalues", "words"),
    [
        ([2.0, -0.5, 1.0], "indefinite .*damping larger than 0.5|negative curvature|damping larger than"),
        ([2.0, 0.0, 1.0], "singular|flat"),
        ([-2.0, -1.0, -1.5], "argmin and argmax|argmax instead"),
    ],
)
def test_matrices_that_are_not_positive_definite_are_refused(solver, eigenvalues, words):
    scale = torch.tensor([eigenvalues], dtype=torch.float64)
    rhs = generic_vector(scale)
    with pytest.raises(TrainingError, match=words):
        solver.inverse(lambda v: scale * v, rhs, 0.0)(rhs)


def test_enough_damping_helps_and_the_curvature_without_it_is_reported():
    scale = torch.tensor([[2.0, -0.5, 1.0]], dtype=torch.float64)
    rhs = torch.ones_like(scale)
    for solver in ALL:
        found = solver.inverse(lambda v: scale * v, rhs, 0.75)(rhs)
        torch.testing.assert_close(found.value, rhs / (scale + 0.75), rtol=1e-7, atol=1e-8)
        assert found.smallest_curvature < 1
    assert Exact().inverse(lambda v: scale * v, rhs, 0.75)(rhs).smallest_curvature == pytest.approx(-0.5)


@pytest.mark.parametrize("solver", [ConjugateGradient(max_iterations=2), Neumann(max_iterations=2)])
def test_an_iteration_that_does_not_converge_says_so(solver):
    matrix, rhs = problem(3, 1, 6, condition=100.0)
    with pytest.raises(TrainingError, match=r"stopped after 2 products .* max_iterations="):
        solver.inverse(product(matrix), rhs, 0.0)(rhs)


def test_an_unknown_solver_names_the_nearest():
    assert choose_solver("exact") == Exact()
    assert choose_solver(Neumann(step=0.1)) == Neumann(step=0.1)
    with pytest.raises(TrainingError, match="Did you mean 'conjugate_gradient'"):
        choose_solver("conjugate_gradients")


def test_curvature_signs():
    def sign(smallest, largest):
        return curvature_sign(torch.tensor(smallest), torch.tensor(largest), 3)

    assert sign([1.0, 2.0], [3.0, 2.0]) == "positive definite"
    assert sign([-3.0], [-1.0]) == "negative definite"
    assert sign([1.0, -1.0], [3.0, 1.0]) == "indefinite"
    assert sign([1.0, 0.0], [3.0, 1.0]) == "singular"
    assert sign([0.0], [0.0]) == "singular"


def test_the_dense_matrix_is_the_matrix():
    matrix, rhs = problem(4, 2, 3)
    torch.testing.assert_close(dense_matrix(product(matrix), rhs), matrix)
