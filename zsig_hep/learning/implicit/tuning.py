"""Hyperparameters of a linear model, or of a network's last layer, by implicit gradients of held-out objectives.

The inner problem is a penalised logistic regression, strictly convex, solved to rounding by Newton's method; the outer
one goes down the exact gradient of a held-out objective with all hyperparameters at once (L-BFGS-B).  One gradient
costs about one more inner solution, whatever the number of hyperparameters: the method is for many of them (weights per
process, penalties per feature); for two or three random search does as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zsig_hep.learning.implicit.tuning_problem import Float64Array, TuningProblem

TuningStatus = Literal["converged", "evaluation_limit", "stopped"]


@dataclass(frozen=True)
class TuningStep:
    """One evaluation of the held-out objective: its value, and the length of its gradient by all hyperparameters."""

    evaluation: int
    value: float
    gradient_norm: float


@dataclass(frozen=True, eq=False)
class TuningResult:
    """The best hyperparameters that were met, and the models trained with them.

    Attributes:
        hyperparameters: natural logarithms by name, tuned or not.
        value: held-out objective at them.
        gradient_norm: of the objective at them, by those tuned, bounds ignored.
        status: `converged`; `evaluation_limit`; `stopped`, by the optimiser for the reason in `message`.
        message: the optimiser's own words.
        history: every evaluation in order.
        inner_solves: logistic regressions solved, each for every validated fold.
        newton_iterations: of all of them.
        coefficients: of the model of each validated fold, shape (K, F).
        intercepts: shape (K,).
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
        """Logits (n,) of events that no fold holds, shape (n, F): the mean over the models."""
        logits: Float64Array = np.asarray(features) @ self.coefficients.mean(axis=0) + self.intercepts.mean()
        return logits


@dataclass
class _Descent:
    """What the optimiser calls; keeps the best point and the history."""

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
    """Go down the held-out objective from the problem's starting values within `BOUNDS`.

    The optimiser is scipy's L-BFGS-B.  The value at the end has been optimised on the held-out events, and the more
    hyperparameters and the fewer events there are the more it flatters: quote a number from events that took no part.

    Args:
        problem: what is tuned.
        max_evaluations: largest number of values with gradient; the optimiser may finish the line search it is in.
        progress: called after each evaluation.

    Raises:
        TrainingError: as `argmin`, or where the inner problem has no solution.

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

    solves, newton = problem.inner_solves, problem.newton_iterations
    descent = _Descent(problem, progress)
    # By the logarithm of a penalty that hardly matters the gradient is small everywhere: stop on the value.
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
