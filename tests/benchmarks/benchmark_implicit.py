"""Implicit gradients: accuracy and time against finite differences, linear solvers, and tuning against random search.

Run from the repository root: python -m tests.benchmarks.benchmark_implicit
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from zsig_hep.analysis import Analysis
from zsig_hep.learning.implicit.held_out_objectives import NegativeHeldOutSignificance
from zsig_hep.learning.implicit.linear_solvers import ConjugateGradient, Exact, Neumann
from zsig_hep.learning.implicit.tuning import tune
from zsig_hep.learning.implicit.tuning_problem import TuningProblem
from zsig_hep.pipeline import Pipeline

EVALUATIONS = 25
SEEDS = range(5)
MINIMUM_EFFECTIVE_BACKGROUND = 50.0
RANGES = {"log_process_weights": (-2.0, 2.0), "log_penalties": (np.log(1e-6), np.log(1.0))}


@dataclass(frozen=True)
class Sample:
    """Events in three parts: 0 trains, 1 validates, 2 tests."""

    features: np.ndarray
    is_signal: np.ndarray
    weights: np.ndarray
    process: np.ndarray
    part: np.ndarray

    def problem(self, objective: str, **options: object) -> TuningProblem:
        """The tuning problem of the first two parts, the validation part standing for all events."""
        use, share = self.part < 2, self.weights[self.part == 1].sum() / self.weights.sum()
        columns = (self.features, self.is_signal, self.weights / share, self.process, self.part)
        tuned, measure = OBJECTIVES[objective]
        chosen = (column[use] for column in columns)
        return TuningProblem(*chosen, validated=[1], objective=measure, tuned=tuned, **options)


# Weights per process move the cross entropy's own optimum, so that only penalties are tuned for it.
OBJECTIVES = {
    "cross entropy": (["log_penalties"], "cross_entropy"),
    "Z": (
        ["log_process_weights", "log_penalties"],
        NegativeHeldOutSignificance(minimum_effective_background=MINIMUM_EFFECTIVE_BACKGROUND),
    ),
}


def synthetic(seed: int, events: int = 1_500, tests: int = 60_000) -> Sample:
    """Two features that separate, and forty that do not, with few training events."""
    generator = np.random.default_rng(seed)
    n = 2 * events + tests
    process = generator.integers(0, 3, n)
    features = generator.normal(size=(n, 42))
    features[:, 0] += 1.0 * (process == 0)
    features[:, 1] += 0.8 * (process == 0) + 0.8 * (process == 2)
    part = np.where(np.arange(n) < events, 0, np.where(np.arange(n) < 2 * events, 1, 2))
    weights = np.array([50.0, 5000.0, 1500.0])[process] / n
    return Sample(features, process == 0, weights, process, part)


def hmumu(table: object, seed: int) -> Sample:
    """The sample of the hmumu analysis in three random parts, standardised on the first."""
    part = np.random.default_rng(seed).integers(0, 3, len(table))
    features = np.nan_to_num(table.features.astype(np.float64), nan=3.0)
    features = (features - features[part == 0].mean(axis=0)) / features[part == 0].std(axis=0)
    return Sample(features, table.is_signal, table.weight, table.process.astype(np.int64), part)


def hmumu_table() -> object:
    """Read the ntuples."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(Analysis.from_file("analyses/hmumu"), folder)
        pipeline.columns()
        return pipeline.table


def seconds(action: Callable[[], object]) -> tuple[float, object]:
    """Time an action once."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def gradients() -> None:
    """The implicit gradient of 45 hyperparameters by each solver against central differences."""
    print("| objective | solver | largest error / largest component | time [ms] | differences [ms] | ratio |")
    print("|---|---|---|---|---|---|")
    sample = synthetic(0, tests=0)
    for objective in OBJECTIVES:
        problem = sample.problem(objective)
        vector = problem.start_vector + np.random.default_rng(1).normal(0, 0.3, len(problem.start_vector))
        problem.value(vector)
        shifts = 1e-4 * np.eye(len(vector))

        def differences(
            problem: TuningProblem = problem, vector: np.ndarray = vector, shifts: np.ndarray = shifts
        ) -> np.ndarray:
            return np.array([(problem.value(vector + d) - problem.value(vector - d)) / 2e-4 for d in shifts])

        by_differences, expected = seconds(differences)
        for solver in (
            Exact(),
            ConjugateGradient(),
            Neumann(max_iterations=100_000),
            ConjugateGradient(tolerance=1e-2),
            Neumann(tolerance=1e-2),
        ):
            problem = sample.problem(objective, solver=solver)
            problem.value_and_gradient(vector)
            taken, (_, gradient) = seconds(lambda problem=problem, vector=vector: problem.value_and_gradient(vector))
            error = np.abs(gradient - expected).max() / np.abs(expected).max()
            print(
                f"| {objective} | {solver} | {error:.1e} | {1e3 * taken:.0f} | {1e3 * by_differences:.0f} | {by_differences / taken:.0f} |"
            )


def random_search(problem: TuningProblem, seed: int, *, common_penalty: bool) -> np.ndarray:
    """The best of as many draws as the descent has evaluations, the starting values first."""
    generator = np.random.default_rng(1000 + seed)
    draws = [problem.start_vector]
    for _ in range(EVALUATIONS - 1):
        parts = []
        for name in problem.tuned:
            size = len(problem.start[name])
            common = common_penalty and name == "log_penalties"
            parts.append(generator.uniform(*RANGES[name], 1 if common else size) * np.ones(size))
        draws.append(np.concatenate(parts))
    return min(draws, key=problem.value)


def test_numbers(sample: Sample, problem: TuningProblem, vector: np.ndarray) -> tuple[float, float]:
    """Cross entropy on the test part, and Z there with the hard cut that is best on the validation part."""
    model = problem.solve(problem.named(vector))[0].numpy()
    scores = sample.features @ model[1:] + model[0]
    validation, test = sample.part == 1, sample.part == 2
    thresholds = np.quantile(scores[validation & sample.is_signal], np.linspace(0.05, 0.95, 91))
    best = max(thresholds, key=lambda t: significance(scores, sample, validation, t))
    return cross_entropy(scores, sample, test), significance(scores, sample, test, best, minimum=0)


def cross_entropy(scores: np.ndarray, sample: Sample, events: np.ndarray) -> float:
    """Each class counts one half."""
    total = 0.0
    for members, sign in ((sample.is_signal & events, -1), (~sample.is_signal & events, 1)):
        total += np.average(np.logaddexp(0, sign * scores[members]), weights=sample.weights[members]) / 2
    return total


def significance(
    scores: np.ndarray,
    sample: Sample,
    events: np.ndarray,
    threshold: float,
    minimum: float = MINIMUM_EFFECTIVE_BACKGROUND,
) -> float:
    """The value s / sqrt(b) above a threshold, of all events, scaled up from the part."""
    keep = events & (scores > threshold)
    s, b = sample.weights[keep & sample.is_signal].sum(), sample.weights[keep & ~sample.is_signal]
    if b.size == 0 or b.sum() ** 2 / (b**2).sum() < minimum:
        return -np.inf
    scale = sample.weights.sum() / sample.weights[events].sum()
    return float(s / np.sqrt(b.sum()) * np.sqrt(scale))


def comparison(name: str, make: Callable[[int], Sample]) -> None:
    """Tuned on the validation part, judged on the test part; gains are paired differences to the starting values."""
    print(f"\n{name}: {EVALUATIONS} inner solutions each, {len(SEEDS)} seeds, mean +- standard deviation")
    print("| tuned for | method | validation | test | test gain +- standard error | seconds |")
    print("|---|---|---|---|---|---|")
    samples = [make(seed) for seed in SEEDS]
    for objective in OBJECTIVES:
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for seed, sample in zip(SEEDS, samples, strict=True):
            problem = sample.problem(objective)
            methods = {
                "starting values": lambda p=problem: p.start_vector,
                "random, one common penalty": lambda p=problem, s=seed: random_search(p, s, common_penalty=True),
                "random, a penalty per feature": lambda p=problem, s=seed: random_search(p, s, common_penalty=False),
                "implicit gradient": lambda p=problem: best_vector(p),
            }
            for method, action in methods.items():
                taken, vector = seconds(action)
                tested = test_numbers(sample, problem, vector)[objective == "Z"]
                rows.setdefault(method, []).append((abs(problem.value(vector)), tested, taken))
        first = np.array(rows["starting values"])[:, 1]
        for method, numbers in rows.items():
            validated, tested, taken = np.array(numbers).T
            gains = tested - first
            cells = " | ".join(f"{c.mean():.4f} +- {c.std(ddof=1):.4f}" for c in (validated, tested))
            error = gains.std(ddof=1) / len(gains) ** 0.5
            print(f"| {objective} | {method} | {cells} | {gains.mean():+.4f} +- {error:.4f} | {taken.mean():.1f} |")


def best_vector(problem: TuningProblem) -> np.ndarray:
    """The hyperparameters that the descent ends with."""
    result = tune(problem, max_evaluations=EVALUATIONS)
    return np.concatenate([result.hyperparameters[name] for name in problem.tuned])


if __name__ == "__main__":
    torch.set_num_threads(1)
    begin = time.perf_counter()
    gradients()
    comparison("42 features, 40 of them noise, 1500 training events", synthetic)
    table = hmumu_table()
    comparison("hmumu, 16 features, 4 processes", lambda seed: hmumu(table, seed))
    print(f"\n{time.perf_counter() - begin:.0f} s in all")
