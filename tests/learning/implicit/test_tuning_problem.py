import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tests.learning.implicit.logistic_toy import events
from zsig_hep.errors import TrainingError
from zsig_hep.learning.implicit.held_out_objectives import NegativeHeldOutSignificance
from zsig_hep.learning.implicit.tuning_problem import TuningProblem


def problem(**options):
    return TuningProblem(*events(), **options)


def test_the_inner_solution_is_that_of_an_independent_minimiser():
    features, is_signal, weights, process, fold = events()
    start = {"log_process_weights": [0.3, -0.2, 0.5], "log_penalties": [-3.0, -4.0, -2.0, -5.0, -3.0]}
    mine = problem(validated=[2], start=start)
    models = mine.solve(mine.named(mine.start_vector))
    keep = fold != 2
    w = np.where(is_signal, weights / weights[is_signal & keep].sum(), weights / weights[~is_signal & keep].sum()) / 2
    w = w * np.exp(start["log_process_weights"])[process] * keep

    def loss(model):
        margins = np.where(is_signal, 1, -1) * (features @ model[1:] + model[0])
        return (w * np.logaddexp(0, -margins)).sum() + (np.exp(start["log_penalties"]) * model[1:] ** 2).sum() / 2

    expected = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-9, "xrtol": 1e-12})
    np.testing.assert_allclose(models[0].numpy(), expected.x, atol=2e-6)
    value = mine.inner_objective(models, mine.named(mine.start_vector))
    assert value[0].item() == pytest.approx(expected.fun, rel=1e-9)


@pytest.mark.parametrize(
    "objective",
    ["cross_entropy", NegativeHeldOutSignificance(), NegativeHeldOutSignificance(minimum_effective_background=80)],
)
@pytest.mark.parametrize("solver", ["exact", "conjugate_gradient"])
def test_the_implicit_gradient_agrees_with_finite_differences(objective, solver):
    mine = problem(objective=objective, solver=solver)
    vector = mine.start_vector + np.random.default_rng(2).normal(0, 0.3, len(mine.start_vector))
    value, gradient = mine.value_and_gradient(vector)
    assert value == pytest.approx(mine.value(vector), rel=1e-12)
    shifts = 1e-4 * np.eye(len(vector))
    differences = [(mine.value(vector + shift) - mine.value(vector - shift)) / 2e-4 for shift in shifts]
    np.testing.assert_allclose(gradient, differences, atol=1e-6 * np.abs(gradient).max())


def test_each_event_is_scored_by_the_model_that_did_not_see_its_fold():
    features, is_signal, weights, process, fold = events()
    together = TuningProblem(features, is_signal, weights, process, fold)
    models = together.solve(together.start)
    changed = weights.copy()
    changed[fold == 1] *= np.random.default_rng(0).random((fold == 1).sum())
    other = TuningProblem(features, is_signal, changed, process, fold)
    same = (models - other.solve(other.start)).abs().amax(dim=-1) < 1e-10
    assert same.tolist() == [False, True, False]
    single = TuningProblem(features, is_signal, weights, process, fold, validated=[2])
    torch.testing.assert_close(single.solve(single.start)[0], models[2])


def test_only_what_is_tuned_is_in_the_vector():
    mine = problem(tuned=["log_process_weights"], start={"log_penalties": -2.0})
    assert mine.start_vector.shape == (3,)
    assert mine.named(mine.start_vector + 1)["log_penalties"].tolist() == [-2.0] * 5
    assert mine.bounds == [(-4.0, 4.0)] * 3


def test_solutions_are_counted():
    mine = problem()
    mine.value(mine.start_vector)
    first = mine.newton_iterations
    mine.value_and_gradient(mine.start_vector)
    assert mine.inner_solves == 2
    # The second starts where the first ended.
    assert mine.newton_iterations == first + 1


def test_strong_separation_still_has_a_solution():
    features, is_signal, weights, process, fold = events()
    features[:, 0] = 20 * is_signal
    mine = TuningProblem(features, is_signal, weights, process, fold, start={"log_penalties": np.log(1e-6)})
    assert np.isfinite(mine.value_and_gradient(mine.start_vector)[1]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "significanse"}, "Did you mean 'significance'"),
        ({"tuned": ["log_penalty"]}, "Did you mean 'log_penalties'"),
        ({"tuned": []}, "No hyperparameter is tuned"),
        ({"start": {"penalties": 0}}, "Did you mean 'log_penalties'"),
        ({"start": {"log_penalties": [1.0, 2.0]}}, "takes one number or 5"),
        ({"solver": "exakt"}, "Did you mean 'exact'"),
        ({"validated": [7]}, r"no signal in fold 7.*folds are \[0, 1, 2\]"),
    ],
)
def test_bad_settings(changes, words):
    with pytest.raises(TrainingError, match=words):
        problem(**changes)


@pytest.mark.parametrize(
    ("position", "value", "words"),
    [
        (0, np.zeros(600), "features"),
        (0, np.full((600, 5), np.nan), "must be finite"),
        (1, np.zeros(600, dtype=bool), "no signal"),
        (1, np.ones(600, dtype=bool), "no background"),
        (2, -np.ones(600), "negative weights"),
        (2, np.ones(599), "weights"),
        (3, np.full(600, -1), "process must be an index from 0, found -1"),
        (4, np.zeros(600, dtype=int), "outside fold 0"),
    ],
)
def test_bad_events(position, value, words):
    columns = list(events())
    columns[position] = value
    with pytest.raises(TrainingError, match=words):
        TuningProblem(*columns)
