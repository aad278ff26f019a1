"""How often one of two equally good trainings is called better than the other by n standard deviations.

Run by name: `python -m tests.benchmarks.benchmark_differences`. A pseudo-experiment is a new simulated sample of finite
size with four features, of which the first separates. A "training" returns a direction in these features whose error is
drawn at random, anew for every fold and seed, and the score is the share of the signal below the projection: both
classifiers are means over the seeds of such trainings, of the same distribution, so that neither is better but by chance.
Printed is the share of experiments in which |A - B| exceeds 1, 2 and 3 standard deviations, beside that of a Gaussian,
for the error of the report and for errors that lack parts: the simulation at fixed cuts alone, and that without the
training.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, hold_out_working_point
from zsig_hep.selection.comparison.compare import Comparison, ScoredClassifier, compare_classifiers
from zsig_hep.statistics import ProcessTable

PROCESSES = ProcessTable(("signal", "dy", "top"), ("signal", "background", "background"))
YIELDS = np.array([30.0, 3000.0, 300.0])
CENTRES = np.array([1.5, -0.5, 0.5])
FEATURES, FOLDS = 4, 5
LEVELS = (1.0, 2.0, 3.0)

Array = npt.NDArray[np.float64]


def sample(events: int, rng: np.random.Generator) -> tuple[ScoredEvents, Array]:
    """Simulated events without a score, and their features."""
    process = np.repeat(np.arange(3), rng.poisson(events / 3, size=3))
    features = rng.normal(size=(process.size, FEATURES))
    features[:, 0] += CENTRES[process]
    scored = ScoredEvents.from_arrays(
        np.zeros(process.size), (3 * YIELDS / events)[process], process, names=PROCESSES.names, roles=PROCESSES.roles,
        fold_count=FOLDS,
    )  # fmt: skip
    shuffled = rng.permutation(process.size)
    return scored.select(shuffled), features[shuffled]


def trainings(
    features: Array, fold: npt.NDArray[np.int64], seeds: int, error: float, rng: np.random.Generator
) -> Array:
    """Out-of-fold scores of trainings of the same distribution, shape [seeds, N]."""
    scores = np.empty((seeds, len(features)))
    for seed in range(seeds):
        for number in range(FOLDS):
            direction = np.append(1.0, error * rng.normal(size=FEATURES - 1))
            direction /= np.linalg.norm(direction)
            inside = fold == number
            scores[seed, inside] = stats.norm.cdf(features[inside] @ direction - CENTRES[0] * direction[0])
    return scores


def pseudo_experiment(
    events: int, seeds: int, error: float, settings: WorkingPointSettings, rng: np.random.Generator
) -> Comparison:
    """The difference of two classifiers that are equally good by construction."""
    sampled, features = sample(events, rng)

    def trained(name: str) -> ScoredClassifier:
        scores = trainings(features, sampled.fold, seeds, error, rng)
        scored = replace(sampled, score=scores.mean(axis=0))
        return ScoredClassifier(name, scored, hold_out_working_point(scored, settings), scores)

    return compare_classifiers([trained("A"), trained("B")], settings, rng)[0]


def rate(exceeds: npt.NDArray[np.bool_]) -> str:
    share = float(exceeds.mean())
    return f"{100 * share:5.1f} +- {100 * np.sqrt(max(share * (1 - share), 1 / exceeds.size) / exceeds.size):.1f}"


def report(found: Sequence[Comparison]) -> None:
    nominal = [f"{100 * 2 * stats.norm.sf(level):.1f}" for level in LEVELS]
    heads = [f"{level:g} sigma ({percent} %)" for level, percent in zip(LEVELS, nominal, strict=True)]
    print(f"{'|A - B| above':42} " + "  ".join(head.ljust(16) for head in heads))
    for quantity in ("binned_significance", "area", "log_loss", "significance"):
        each = [one for comparison in found if (one := comparison.of(quantity)) is not None]
        value = np.abs([one.value for one in each])
        simulation = np.array([one.simulation for one in each])
        without_training = np.hypot(simulation, [one.choice or 0.0 for one in each])
        deviations = {
            "simulation alone": value / simulation,
            "and the choice": value / without_training,
            "and the training": np.array([one.standard_deviations for one in each]),
        }
        if quantity != "significance":
            del deviations["and the choice"]
        quoted = np.mean([one.uncertainty for one in each])
        print(f"{quantity}: scatter of A - B {np.std([one.value for one in each]):.4f}, mean error {quoted:.4f}")
        for label, each_deviation in deviations.items():
            print(f"  {label:40} " + "  ".join(rate(each_deviation > level).ljust(16) for level in LEVELS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--events", type=int, default=6000, help="expected simulated events of all processes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--error", type=float, default=0.4, help="of a direction, per component")
    parser.add_argument("--random-seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write every number to this file")
    arguments = parser.parse_args()
    rng, start = np.random.default_rng(arguments.random_seed), time.perf_counter()
    found = [
        pseudo_experiment(arguments.events, arguments.seeds, arguments.error, WorkingPointSettings(), rng)
        for _ in range(arguments.experiments)
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps([[vars(each) for each in one.quantities] for one in found]))
    print(f"{len(found)} experiments, {arguments.seeds} seeds, {time.perf_counter() - start:.0f} s")
    report(found)


if __name__ == "__main__":
    main()
