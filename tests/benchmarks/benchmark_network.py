"""Weighted cross entropy of networks and boosted trees on the same events, folds and weights.

    python -m tests.benchmarks.benchmark_network analyses/hmumu --seeds 1

Each seed has other folds. Printed are, over events that were not trained on, the class-balanced weighted log loss times
1000, the weighted 1 - AUC times 10^4, and the CPU time relative to that of the first classifier, the plain network: mean
and standard deviation over seeds. No phase with another loss follows, except for the plain network the second half of its
epochs.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from analyses.compare import TREES, refolded
from analyses.tables import Spread, table
from zsig_hep.analysis import Analysis
from zsig_hep.learning import BCELossSettings, TrainedEnsemble, TrainingSettings, train, train_trees
from zsig_hep.learning.training.settings import MainSettings, WarmStartSettings
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline import Pipeline

Logits = npt.NDArray[np.float64]
Method = Callable[[EventTable, TrainingSettings, int], Logits]

NO_MAIN = MainSettings(epochs=0)
PLAIN = {
    "embedding": "none",
    "seeds": 2,
    "warm_start": {"epochs": 20, "batch_size": 1024, "learning_rate": 3e-3, "optimizer": {"name": "adam"}},
    "main": {"epochs": 15, "batch_size": 4096, "learning_rate": 3e-4},
}


def mean_logit(classifier: TrainedEnsemble, events: EventTable) -> Logits:
    """Logit of the mean probability of the members of an event's fold."""
    features = events.features[:, classifier.columns_of(events.feature_names)]
    outputs = np.empty(len(events.weight))
    for fold in range(events.fold_count):
        tested, mine = events.fold == fold, classifier.history.member_fold == fold
        outputs[tested] = logit(expit(classifier.logits(features[tested], members=mine)).mean(axis=0))
    return outputs


def networks(**changes: object) -> Method:
    """Logit of the mean probability of the networks of an event's fold."""

    def logits(events: EventTable, settings: TrainingSettings, seed: int) -> Logits:
        content = settings.model_dump() | {"seed": 1000 * seed + 1, "loss": None, "phases": ()} | changes
        return mean_logit(train(events, TrainingSettings.model_validate(content), loss=BCELossSettings()), events)

    return logits


def trees(events: EventTable, settings: TrainingSettings, seed: int) -> Logits:
    """Logits of one forest for each fold, as in `analyses.compare`."""
    seeded = settings.model_copy(update={"seed": seed, "seeds": 1, "trees": TREES})
    return mean_logit(train_trees(events, seeded, loss=BCELossSettings()), events)


METHODS: dict[str, Method] = {
    "plain network": networks(**PLAIN),
    "default, one network": networks(seeds=1, main=NO_MAIN.model_dump(), warm_start=WarmStartSettings().model_dump()),
    "default": networks(main=NO_MAIN.model_dump(), warm_start=WarmStartSettings().model_dump()),
    "boosted trees": trees,
}


def balanced(weights: Logits, is_signal: npt.NDArray[np.bool_]) -> Logits:
    """Weights with a sum of one half in each class."""
    sums = [weights[is_signal == flag].sum() for flag in (False, True)]
    return weights / np.where(is_signal, sums[1], sums[0]) / 2


def log_loss(outputs: Logits, shares: Logits, is_signal: npt.NDArray[np.bool_]) -> float:
    """Log loss of outputs that are logits for classes of equal weight."""
    return float(shares @ np.logaddexp(0, np.where(is_signal, -outputs, outputs)))


def one_minus_area(outputs: Logits, shares: Logits, is_signal: npt.NDArray[np.bool_]) -> float:
    """Probability that background is above signal; equal outputs count as one half."""
    _, place = np.unique(outputs, return_inverse=True)
    signal, background = (np.bincount(place, np.where(is_signal == flag, shares, 0.0)) for flag in (True, False))
    return float(1 - (signal * (np.cumsum(background) - background / 2)).sum() * 4)


def main() -> None:
    """Read the command line, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analysis", type=Path, help="folder of an analysis")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="folder for the columns; default: output/benchmark-NAME")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    arguments = parser.parse_args()
    analysis = Analysis.from_file(arguments.analysis)
    pipeline = Pipeline(analysis, arguments.output or Path("output") / f"benchmark-{analysis.name}")
    pipeline.columns()
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in arguments.only}
    for seed in range(1, arguments.seeds + 1):
        events = refolded(pipeline.table.simulated, seed)
        shares = balanced(events.weight, events.is_signal)
        for name in arguments.only:
            start = time.process_time()
            outputs = METHODS[name](events, analysis.training, seed)
            seconds = time.process_time() - start
            numbers = (log_loss(outputs, shares, events.is_signal), one_minus_area(outputs, shares, events.is_signal))
            found[name].append((1e3 * numbers[0], 1e4 * numbers[1], seconds))
            print(f"seed {seed}: {name}: {found[name][-1]}", file=sys.stderr)
    first = np.array(found[arguments.only[0]])[:, 2]
    rows = []
    for name, numbers_of_seeds in found.items():
        loss, area, seconds = np.array(numbers_of_seeds).T
        rows.append([name, Spread.of(loss), Spread.of(area, 1), Spread.of(seconds / first)])
    print(table(["classifier", "log loss x 1000", "(1 - AUC) x 10^4", "CPU time"], rows))


if __name__ == "__main__":
    main()
