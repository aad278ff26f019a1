"""Hyperparameters of a linear model, or of a network's last layer, by implicit gradients of held-out objectives.

The inner problem is a penalised logistic regression, strictly convex, solved to rounding by Newton's method.  The outer
problem minimises a held-out objective in all hyperparameters with its exact gradient (L-BFGS-B).  A gradient takes as
long as another inner solution for any number of hyperparameters: the method is for many of them (weights of processes,
penalties of features); for two or three, random search is as good.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zsig_hep.learning.implicit.argmin import no_implicit_derivatives
from zsig_hep.learning.implicit.tuning_problem import Float64Array, TuningProblem

TuningStatus = Literal["converged", "evaluation_limit", "stopped"]


@dataclass(frozen=True)
class TuningStep:
    """One evaluation of the held-out objective: its value, and the length of its gradient in the hyperparameters."""

    evaluation: int
    value: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class TuningResult:
    """The best hyperparameters of all evaluations, and the models trained with them.

    Attributes:
        hyperparameters: natural logarithms by name, tuned or not.
        value: held-out objective.
        gradient_norm: length of its gradient in the tuned hyperparameters, without regard to bounds.
        status: `converged`; `evaluation_limit`; `stopped` by the optimiser for the reason in `message`.
        message: of the optimiser.
        history: all evaluations in order.
        inner_solves: number of logistic regressions solved, each for all validated folds.
        newton_iterations: number of Newton steps in all of them.
        coefficients: of the model of each validated fold, shape (K, F).
        intercepts: of the model of each validated fold, shape (K,).
    """

    hyperparameters: Mapping[str, Float64Array]
    value: float
    gradient_norm: float
    status: TuningStatus
    message: str
    history: tuple[TuningStep, ...]
    inner_solves: int
    newton_iterations: int
    coefficients: Float64Array
    intercepts: Float64Array

    def scores(self, features: npt.ArrayLike) -> Float64Array:
        """Logits (n,) of new events with features (n, F), the mean over the models."""
        logits: Float64Array = np.asarray(features) @ self.coefficients.mean(axis=0) + self.intercepts.mean()
        return logits


@dataclass
class _Descent:
    """The function that the optimiser calls, with a record of all evaluations."""

    problem: TuningProblem
    progress: Callable[[TuningStep], None] | None
    history: list[TuningStep] = field(default_factory=list)
    points: list[tuple[float, Float64Array, float, Tensor]] = field(default_factory=list)

    @property
    def best_point(self) -> tuple[float, Float64Array, float, Tensor]:
        return min(self.points, key=lambda point: point[0])

    def __call__(self, vector: Float64Array) -> tuple[float, Float64Array]:
        value, gradient = self.problem.value_and_gradient(vector)
        step = TuningStep(len(self.history) + 1, value, float(np.linalg.norm(gradient)))
        self.history.append(step)
        self.points.append((value, vector.copy(), step.gradient_norm, self.problem.beta))
        if self.progress:
            self.progress(step)
        return value, gradient


def tune(
    problem: TuningProblem,
    *,
    max_evaluations: int = 50,
    progress: Callable[[TuningStep], None] | None = None,
) -> TuningResult:
    """Minimise the held-out objective from the problem's starting values within `BOUNDS`, by scipy's L-BFGS-B.

    The value at the end is biased, since it was optimised on the held-out events: the more, the more hyperparameters
    and the fewer events there are.  Quote results on other events.

    Args:
        problem: the problem.
        max_evaluations: number of evaluations after which the optimiser stops, at the end of its line search.
        progress: called after each evaluation.

    Raises:
        TrainingError: as `argmin`, if the inner problem has no solution, or for anything but a `TuningProblem`.

    Example:
        >>> generator = np.random.default_rng(1)
        >>> is_signal = np.arange(400) < 200
        >>> features = generator.normal(size=(400, 6)) + np.outer(is_signal, [1, 0, 0, 0, 0, 0])
        >>> fold = np.arange(400) % 2
        >>> problem = TuningProblem(
        ...     features, is_signal, np.ones(400), ~is_signal, fold, tuned=["log_penalties"], validated=[1]
        ... )
        >>> result = tune(problem, max_evaluations=30)
        >>> penalties = result.hyperparameters["log_penalties"]
        >>> result.value < result.history[0].value, bool(penalties[0] < np.median(penalties))
        (True, True)
    """
    from scipy.optimize import minimize

    if not isinstance(problem, TuningProblem):
        raise no_implicit_derivatives(problem, "a TuningProblem")
    solves, newton = problem.inner_solves, problem.newton_iterations
    descent = _Descent(problem, progress)
    # The stopping rule is on the value: the gradient in the logarithm of an irrelevant penalty is small everywhere.
    options = {"maxfun": max_evaluations, "maxiter": max_evaluations, "gtol": 1e-9, "ftol": 1e-9}
    end = minimize(descent, problem.start_vector, jac=True, method="L-BFGS-B", bounds=problem.bounds, options=options)
    value, vector, gradient_norm, models = descent.best_point
    statuses: dict[int, TuningStatus] = {0: "converged", 1: "evaluation_limit"}
    return TuningResult(
        {name: values.detach().numpy() for name, values in problem.named(vector).items()},
        value,
        gradient_norm,
        statuses.get(end.status, "stopped"),
        str(end.message),
        tuple(descent.history),
        problem.inner_solves - solves,
        problem.newton_iterations - newton,
        models[:, 1:].numpy(),
        models[:, 0].numpy(),
    )
