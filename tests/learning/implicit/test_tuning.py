import dataclasses

import numpy as np
import pytest
import torch

from tests.learning.implicit.logistic_toy import events
from zsig_hep.learning import tune
from zsig_hep.learning.implicit.tuning_problem import BOUNDS, TuningProblem


def test_penalties_keep_what_separates_and_remove_noise():
    columns = events(n=900, noise=10)
    problem = TuningProblem(*columns, tuned=["log_penalties"])
    steps = []
    result = tune(problem, max_evaluations=25, progress=steps.append)
    assert result.value < result.history[0].value
    assert result.value == min(step.value for step in result.history)
    assert tuple(steps) == result.history
    assert [step.evaluation for step in steps] == list(range(1, len(steps) + 1))
    assert result.inner_solves == len(steps) <= 30
    assert result.newton_iterations >= result.inner_solves
    penalties = result.hyperparameters["log_penalties"]
    assert penalties[0] < np.median(penalties[2:])
    low, high = BOUNDS["log_penalties"]
    assert ((low <= penalties) & (penalties <= high)).all()
    np.testing.assert_array_equal(result.hyperparameters["log_process_weights"], np.zeros(3))


def test_the_models_and_gradient_belong_to_the_best_values():
    problem = TuningProblem(*events())
    result = tune(problem, max_evaluations=6)
    assert result.status == "evaluation_limit"
    fresh = TuningProblem(*events(), start=result.hyperparameters)
    value, gradient = fresh.value_and_gradient(fresh.start_vector)
    assert value == pytest.approx(result.value, rel=1e-10)
    assert np.linalg.norm(gradient) == pytest.approx(result.gradient_norm, rel=1e-6)
    models = fresh.solve(fresh.start)
    np.testing.assert_allclose(models[:, 1:].numpy(), result.coefficients, atol=1e-8)
    np.testing.assert_allclose(models[:, 0].numpy(), result.intercepts, atol=1e-8)
    features = events()[0]
    expected = (torch.tensor(features) @ models[:, 1:].T + models[:, 0]).mean(-1)
    np.testing.assert_allclose(result.scores(features), expected.numpy(), atol=1e-8)


def test_two_hyperparameters_converge():
    features, is_signal, weights, process, fold = events(noise=0)
    result = tune(TuningProblem(features, is_signal, weights, process, fold, tuned=["log_penalties"]))
    assert result.status == "converged"
    assert dataclasses.is_dataclass(result)


def test_the_significance_rises():
    problem = TuningProblem(*events(n=900), objective="significance")
    result = tune(problem, max_evaluations=10)
    assert -result.value > -result.history[0].value + 1e-3
