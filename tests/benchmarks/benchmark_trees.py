"""Boosted trees with and without significance rounds beside networks, on the same events, folds and weights.

    python -m tests.benchmarks.benchmark_trees analyses/hmumu --seeds 3

Each seed has other folds. Every classifier is trained as by default with two members a fold and the analysis's figure of
merit. Printed are, over events that were not trained on, mean and standard deviation over seeds of

- the class-balanced weighted log loss times 1000, for classifiers with cross entropy only (a score of another loss is no
  probability);
- the weighted 1 - AUC times 10^4;
- the binned Asimov significance in ten bins of equal signal, as if the simulation were exact and with the variance of its
  background in each bin;
- the held-out significance at the cut that the analysis chooses, and the share of the folds that kept the significance
  rounds;
- the CPU time relative to networks with cross entropy;
- the differences from networks with cross entropy, paired by seed, with the error of the mean.

"searched" are trees of the depth and the child weight with the smallest validation loss, as in `analyses.comparison`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
import torch

from analyses.compare import refolded
from analyses.comparison.trees import choose_trees
from analyses.comparison.units import Unit
from analyses.tables import Spread, paired_difference, table
from tests.benchmarks.benchmark_network import balanced, log_loss, mean_logit, one_minus_area
from zsig_hep.analysis import Analysis
from zsig_hep.learning import (
    BCELossSettings,
    BoostedTrees,
    LossSettings,
    TrainedEnsemble,
    TrainingSettings,
    ZLossSettings,
    make_sample,
    train,
    train_trees,
)
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.members import make_members
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline import Pipeline
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, hold_out_working_point, training_goal
from zsig_hep.statistics import asimov, asimov_with_uncertainty

Floats = npt.NDArray[np.float64]

BINS = 10
BASELINE = "network, BCE"


@dataclass(frozen=True)
class Method:
    """A classifier that is compared.

    Attributes:
        train: `train` or `train_trees`.
        loss: of its main phase.
        is_judged: whether the working point on validation events decides between a significance loss and its start.
    """

    train: Callable[..., TrainedEnsemble]
    loss: LossSettings
    is_judged: bool = True


def train_searched(
    events: EventTable, settings: TrainingSettings, *, loss: LossSettings, goal: Goal | None
) -> BoostedTrees:
    """Trees with the settings of the smallest validation loss."""
    sample = make_sample(events, settings)
    members = make_members(sample.fold, sample.fold_count, [settings.seed])
    trees = choose_trees(Unit((settings.seed,), sample, members, goal or training_goal(WorkingPointSettings())))
    print(f"searched: depth {trees.depth}, minimum_child_weight {trees.minimum_child_weight}", file=sys.stderr)
    return train_trees(events, settings.model_copy(update={"trees": trees}), loss=loss, goal=goal)


METHODS = {
    BASELINE: Method(train, BCELossSettings()),
    "network, BCE, background x 10": Method(train, BCELossSettings(background_to_signal=10)),
    "network, BCE, background x 100": Method(train, BCELossSettings(background_to_signal=100)),
    "network, Z loss": Method(train, ZLossSettings(error="sigmoid")),
    "trees, BCE": Method(train_trees, BCELossSettings()),
    "trees, BCE, background x 100": Method(train_trees, BCELossSettings(background_to_signal=100)),
    "trees, BCE, searched": Method(train_searched, BCELossSettings()),
    "trees, Z loss": Method(train_trees, ZLossSettings(error="sigmoid")),
    "trees, Z loss always": Method(train_trees, ZLossSettings(error="sigmoid"), is_judged=False),
}


def binned_significances(score: Floats, events: EventTable) -> tuple[float, float]:
    """Root of the sum of squares over bins of equal signal, without and with the variance of the background.

    A bin without background is joined with the next lower one.
    """
    order = np.argsort(score, kind="stable")
    signal, background = (np.where(events.is_signal == flag, events.weight, 0.0)[order] for flag in (True, False))
    share = np.cumsum(signal) / signal.sum()
    number = np.clip((share * BINS).astype(int), 0, BINS - 1)
    sums = np.stack([np.bincount(number, each, minlength=BINS) for each in (signal, background, background**2)])
    rows: list[Floats] = []
    waiting = np.zeros(3)
    for bin_sums in sums.T[::-1]:
        waiting = waiting + bin_sums
        if waiting[1] > 0:
            rows.append(waiting)
            waiting = np.zeros(3)
    s, b, variance = np.array(rows).T
    figures = asimov(s, b), asimov_with_uncertainty(s, b, np.sqrt(variance))
    return float(np.linalg.norm(figures[0])), float(np.linalg.norm(figures[1]))


def numbers(classifier: TrainedEnsemble, events: EventTable, analysis: Analysis, method: Method) -> dict[str, float]:
    """What is averaged over seeds; NaN for what a classifier does not have."""
    shares = balanced(events.weight, events.is_signal)
    features = events.features[:, classifier.columns_of(events.feature_names)]
    score = classifier.out_of_fold_scores(features, events.fold)
    is_probability = method.loss.name == "bce"
    point = hold_out_working_point(ScoredEvents.of_table(events, score), analysis.selection)
    plain, varied = binned_significances(score, events)
    kept = classifier.history.kept_round if classifier.history.rounds else ()
    outputs = mean_logit(classifier, events)
    return {
        "log_loss": 1e3 * log_loss(outputs, shares, events.is_signal) if is_probability else np.nan,
        "area": 1e4 * one_minus_area(score, shares, events.is_signal),
        "binned": plain,
        "binned_with_variance": varied,
        "significance": np.nan if point.significance is None else point.significance,
        "kept": float(np.mean(np.array(kept) > 0)) if kept else np.nan,
    }


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analysis", type=Path, help="folder of an analysis")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ntuples", type=Path, help="folder with ntuples in place of those of the analysis file")
    parser.add_argument("--output", type=Path, help="folder for the columns; default: output/benchmark-NAME")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write every number of every seed to this file")
    arguments = parser.parse_args()
    analysis = Analysis.from_file(arguments.analysis)
    if arguments.ntuples:
        analysis = analysis.with_ntuples(arguments.ntuples)
    pipeline = Pipeline(analysis, arguments.output or Path("output") / f"benchmark-{analysis.name}")
    pipeline.columns()
    goal = training_goal(analysis.selection).among(analysis.process_table.simulated)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.only}
    for seed in range(1, arguments.seeds + 1):
        events = refolded(pipeline.table.simulated, seed)
        for name in arguments.only:
            method = METHODS[name]
            settings = analysis.training.model_copy(update={"seed": 1000 * seed + 1})
            start = time.process_time()
            classifier = method.train(events, settings, loss=method.loss, goal=goal if method.is_judged else None)
            seconds = time.process_time() - start
            found[name].append(numbers(classifier, events, analysis, method) | {"seconds": seconds})
            print(f"seed {seed}: {name}: {found[name][-1]}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    print(markdown(found))


DIFFERENCES = {
    "log loss x 1000": "log_loss",
    "(1 - AUC) x 10^4": "area",
    "binned Z with variance": "binned_with_variance",
    "Z at the cut": "significance",
}


def markdown(found: dict[str, list[dict[str, float]]]) -> str:
    """Render the comparison, and the differences from the baseline."""
    columns = {name: {key: np.array([row[key] for row in rows]) for key in rows[0]} for name, rows in found.items()}
    base = columns.get(BASELINE)
    rows, differences = [], []
    for name, column in columns.items():
        rows.append(
            [
                name,
                Spread.of(column["log_loss"], 1) if np.isfinite(column["log_loss"]).all() else "",
                Spread.of(column["area"], 1),
                Spread.of(column["binned"]),
                Spread.of(column["binned_with_variance"]),
                Spread.of(column["significance"]),
                f"{column['kept'].mean():.2f}" if np.isfinite(column["kept"]).all() else "",
                Spread.of(column["seconds"] / base["seconds"], 1) if base else "",
            ]
        )
        if base and name != BASELINE:
            differences.append([name, *(paired_difference(column[key], base[key]) for key in DIFFERENCES.values())])
    heads = ["classifier", "log loss x 1000", "(1 - AUC) x 10^4", "binned Z", "with variance", "Z at the cut"]
    text = table([*heads, "folds with rounds", "CPU time"], rows)
    return f"{text}\n\n{table([f'minus {BASELINE}', *DIFFERENCES], differences)}" if differences else text


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
