"""A held-out objective of a penalised logistic regression as a function of hyperparameters."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.implicit.argmin import argmin
from zsig_hep.learning.implicit.held_out_objectives import OBJECTIVES, HeldOutEvents, HeldOutObjective
from zsig_hep.learning.implicit.linear_solvers import LinearSolver, choose_solver
from zsig_hep.learning.losses.margins import require_non_negative

Float64Array = npt.NDArray[np.float64]

START = {"log_process_weights": 0.0, "log_penalties": float(np.log(1e-3))}
BOUNDS = {"log_process_weights": (-4.0, 4.0), "log_penalties": (float(np.log(1e-6)), float(np.log(1e2)))}

_NEWTON_STEPS = 100
_NEWTON_ROUNDING = 1e-11


class TuningProblem:
    r"""A held-out objective as a function of hyperparameters, with its gradient.

    For each validated fold k the inner model (beta, intercept) minimises over the events of all other folds

        sum_i e^{a_p(i)} w_i ln(1 + exp(-y_i F_i)) + 1/2 sum_f e^{l_f} beta_f^2,    F = x . beta + intercept,

    with the weights w of each class normalised to one half, the log process weights a and the log penalties l.  The
    outer objective is a function of its scores of fold k and the unmodified weights.

    Args:
        features: standardised, shape (n, F).
        is_signal: bool, shape (n,).
        weights: non-negative yields, shape (n,).
        process: index of each event's process, shape (n,).
        fold: fold of each event, integer, shape (n,).
        validated: folds that are scored, by default all; (1,) with folds 0 and 1 is a single split into training and
            validation.
        objective: cross_entropy, significance, or a `HeldOutObjective`.
        tuned: log_process_weights, log_penalties, or both.
        start: starting values of the tuned hyperparameters and values of the others, a number or one for each process
            or feature; by default `START`.
        solver: of the linear system, as in `argmin`.

    Raises:
        TrainingError: for invalid arguments.

    Example:
        >>> x = np.array([[1.0], [-1.0], [0.5], [-0.5]])
        >>> is_signal, fold = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
        >>> problem = TuningProblem(x, is_signal, np.ones(4), ~is_signal, fold, validated=[1], tuned=["log_penalties"])
        >>> value, gradient = problem.value_and_gradient(problem.start_vector)
        >>> round(value, 4), gradient.round(4)
        (0.0701, array([0.0286]))
    """

    def __init__(
        self,
        features: npt.ArrayLike,
        is_signal: npt.ArrayLike,
        weights: npt.ArrayLike,
        process: npt.ArrayLike,
        fold: npt.ArrayLike,
        *,
        validated: Sequence[int] | None = None,
        objective: str | HeldOutObjective = "cross_entropy",
        tuned: Sequence[str] = ("log_process_weights", "log_penalties"),
        start: Mapping[str, npt.ArrayLike] | None = None,
        solver: str | LinearSolver = "exact",
    ) -> None:
        self.objective, self.tuned, self.solver = _choose_objective(objective), tuple(tuned), choose_solver(solver)
        x = torch.from_numpy(np.array(features, dtype=np.float64))
        self.is_signal = torch.from_numpy(np.array(is_signal, dtype=np.bool_))
        w = torch.from_numpy(np.array(weights, dtype=np.float64))
        self.process, folds = (torch.from_numpy(np.array(column, dtype=np.int64)) for column in (process, fold))
        _require_events(x, self.is_signal, w, self.process, folds)
        self.inputs = torch.cat([torch.ones_like(w).unsqueeze(-1), x], dim=-1)
        chosen = torch.unique(folds).tolist() if validated is None else list(validated)
        self.training_weights = torch.stack([_training_weights(w, self.is_signal, folds, k) for k in chosen])
        self.held_out = [(folds == k).nonzero().squeeze(-1) for k in chosen]
        together = torch.cat(self.held_out)
        self.events = HeldOutEvents.of(self.is_signal[together], w[together], self.process[together])
        sizes = {"log_process_weights": int(self.process.max()) + 1, "log_penalties": x.shape[-1]}
        self.start = _starting_values(sizes, self.tuned, start or {})
        self.beta = torch.zeros(len(chosen), x.shape[-1] + 1, dtype=torch.float64)
        self.inner_solves = self.newton_iterations = 0

    @property
    def start_vector(self) -> Float64Array:
        """The starting values of all tuned hyperparameters in one vector."""
        return np.concatenate([self.start[name].numpy() for name in self.tuned])

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Bounds of the entries of `start_vector`."""
        return [BOUNDS[name] for name in self.tuned for _ in range(len(self.start[name]))]

    def named(self, vector: Float64Array) -> dict[str, Tensor]:
        """Hyperparameters by name from a vector of the tuned ones; the others have their starting values."""
        sizes = [len(self.start[name]) for name in self.tuned]
        parts = torch.split(torch.from_numpy(np.array(vector, dtype=np.float64)), sizes)
        return {**self.start, **dict(zip(self.tuned, parts, strict=True))}

    def value(self, vector: Float64Array) -> float:
        """The held-out objective."""
        return float(self.objective(self._held_out_scores(self.solve(self.named(vector))), self.events).detach())

    def value_and_gradient(self, vector: Float64Array) -> tuple[float, Float64Array]:
        """The held-out objective and its implicit gradient."""
        parameters = self.named(vector)
        solution = self.solve(parameters)
        leaves = [parameters[name].requires_grad_() for name in self.tuned]
        beta = argmin(self.inner_objective, solution, parameters, batch_dims=1, solver=self.solver).value
        value = self.objective(self._held_out_scores(beta), self.events)
        gradient = torch.cat(torch.autograd.grad(value, leaves, materialize_grads=True)).numpy()
        return float(value.detach()), gradient

    def inner_objective(self, beta: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The penalised cross entropy of the models (K, F + 1), one value per model."""
        margins = torch.where(self.is_signal, 1.0, -1.0) * (beta @ self.inputs.T)
        weights = self.training_weights * parameters["log_process_weights"].exp()[self.process]
        penalty = (parameters["log_penalties"].exp() * beta[:, 1:] ** 2).sum(-1) / 2
        # The argument `weight` of torch's binary_cross_entropy_with_logits has no derivative.
        value: Tensor = (weights * softplus(-margins)).sum(-1) + penalty
        return value

    def solve(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Minimise the inner objective by Newton's method from the previous solution.

        Returns:
            Models, shape (K, F + 1), the intercept first.

        Raises:
            TrainingError: without convergence.
        """
        beta = self.beta
        self.inner_solves += 1
        for _ in range(_NEWTON_STEPS):
            self.newton_iterations += 1
            step = self._newton_step(beta, parameters)
            beta = self._descend(beta, step, parameters)
            if bool((step.norm(dim=-1) <= _NEWTON_ROUNDING * beta.norm(dim=-1).clamp(min=1)).all()):
                self.beta = beta
                return beta
        message = (
            f"The logistic regression did not converge in {_NEWTON_STEPS} Newton steps: a penalty is too small for "
            f"features that separate the classes. Keep log penalties above {BOUNDS['log_penalties'][0]:.3g}."
        )
        raise TrainingError(message)

    def _newton_step(self, beta: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        x = self.inputs
        probability = torch.sigmoid(beta @ x.T)
        weights = self.training_weights * parameters["log_process_weights"].exp()[self.process]
        penalties = torch.nn.functional.pad(parameters["log_penalties"].exp(), (1, 0))
        slope = (weights * (probability - self.is_signal.to(x.dtype))) @ x + penalties * beta
        curvatures = weights * probability * (1 - probability)
        hessian = torch.stack([(x * row.unsqueeze(-1)).T @ x for row in curvatures]) + torch.diag(penalties)
        step: Tensor = -torch.linalg.solve(hessian, slope)
        return step

    def _descend(self, beta: Tensor, step: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Make the step, halved until the objective of no model increases by more than rounding."""
        before = self.inner_objective(beta, parameters)
        slack, scale = 1e-12 * before.abs(), torch.ones_like(before)
        for _ in range(_NEWTON_STEPS):
            rises = self.inner_objective(beta + scale.unsqueeze(-1) * step, parameters) > before + slack
            if not bool(rises.any()):
                break
            scale = torch.where(rises, scale / 2, scale)
        stepped: Tensor = beta + scale.unsqueeze(-1) * step
        return stepped

    def _held_out_scores(self, beta: Tensor) -> Tensor:
        return torch.cat([self.inputs[events] @ model for events, model in zip(self.held_out, beta, strict=True)])


def _choose_objective(objective: str | HeldOutObjective) -> HeldOutObjective:
    if not isinstance(objective, str):
        return objective
    if objective not in OBJECTIVES:
        message = f"Unknown held-out objective {objective!r}.{nearest_name(objective, OBJECTIVES)}"
        raise TrainingError(message)
    return OBJECTIVES[objective]


def _require_events(x: Tensor, is_signal: Tensor, weights: Tensor, process: Tensor, fold: Tensor) -> None:
    columns = {"is_signal": is_signal, "weights": weights, "process": process, "fold": fold}
    for name, column in columns.items():
        if x.ndim != 2 or column.shape != x.shape[:1]:
            message = f"Tuning needs features (n, F) and {name} (n,), found {tuple(x.shape)} and {tuple(column.shape)}."
            raise TrainingError(message)
    if not bool(torch.isfinite(x).all()):
        message = "The features of a linear model must be finite; fill missing values and standardise them first."
        raise TrainingError(message)
    if bool((process < 0).any()):
        message = f"process must be an index from 0, found {int(process.min())}."
        raise TrainingError(message)
    require_non_negative(weights)


def _training_weights(weights: Tensor, is_signal: Tensor, fold: Tensor, validated: int) -> Tensor:
    """Weights of the model that is validated on a fold: zero in it, with a sum of one half for each class outside."""
    trains = fold != validated
    result = torch.zeros_like(weights)
    for name, members in (("signal", is_signal), ("background", ~is_signal)):
        for where, events in (("outside", members & trains), ("in", members & ~trains)):
            if not float(weights[events].sum()) > 0:
                message = (
                    f"There is no {name} {where} fold {validated}, which is to be validated; folds are "
                    f"{torch.unique(fold).tolist()}."
                )
                raise TrainingError(message)
        result = torch.where(members & trains, weights / weights[members & trains].sum() / 2, result)
    return result


def _starting_values(
    sizes: Mapping[str, int], tuned: Sequence[str], given: Mapping[str, npt.ArrayLike]
) -> dict[str, Tensor]:
    for name in (*tuned, *given):
        if name not in sizes:
            message = f"There is no hyperparameter {name!r}.{nearest_name(name, sizes)}"
            raise TrainingError(message)
    if not tuned:
        message = f"No hyperparameter is tuned; name some of {', '.join(sizes)}."
        raise TrainingError(message)
    values = {name: np.asarray(given.get(name, START[name]), dtype=np.float64) for name in sizes}
    for name, value in values.items():
        if value.shape not in {(), (sizes[name],)}:
            message = f"{name} takes one number or {sizes[name]}, found shape {value.shape}."
            raise TrainingError(message)
    return {name: torch.from_numpy(np.broadcast_to(value, sizes[name]).copy()) for name, value in values.items()}
