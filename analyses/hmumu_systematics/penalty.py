"""Does a penalty on the jet energy scale in the training raise the significance with variations?

    python -m analyses.hmumu_systematics.penalty --seeds 5

A network is trained with weighted cross entropy plus lambda times the mean squared difference of its outputs for the same
background event with nominal and with shifted jets. The cut is chosen, and quoted on other folds, with the background
uncertainty of all variations. lambda = 0 is the baseline; each seed has other folds and networks, and differences are paired
by seed.
"""

import argparse
import os

# Before torch is imported: OpenMP threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from analyses.hmumu_systematics.seeds import pipelines, with_variations
from analyses.tables import Spread, paired_difference
from zsig_hep.learning import BCELoss
from zsig_hep.learning.classifier.calibration import signal_quantiles, signal_share_below
from zsig_hep.ntuples import EventTable
from zsig_hep.pipeline import Results
from zsig_hep.selection import ScoredEvents, hold_out_working_point, varied_events

LAMBDAS = (0.0, 1.0, 10.0, 100.0)
LEARNING_RATE, HIDDEN = 5e-3, 48


def inputs(table: EventTable, mean: np.ndarray, scale: np.ndarray) -> torch.Tensor:
    """Standardised features, with the mean for what is missing."""
    return torch.from_numpy(np.nan_to_num((table.features - mean) / scale).astype(np.float32))


def scored(
    table: EventTable, shapes: dict[str, EventTable], strength: float, seed: int, steps: int
) -> list[np.ndarray]:
    """Out-of-fold scores of the nominal and of the shifted events, for one strength of the penalty."""
    tables = [table, *shapes.values()]
    scores = [np.empty(len(each)) for each in tables]
    mean, scale = np.nanmean(table.features, axis=0), np.nanstd(table.features, axis=0)
    features = [inputs(each, mean, scale) for each in tables]
    for fold in range(table.fold_count):
        torch.manual_seed(100 * seed + fold)
        network = torch.nn.Sequential(
            torch.nn.Linear(table.features.shape[1], HIDDEN), torch.nn.SiLU(), torch.nn.Linear(HIDDEN, HIDDEN),
            torch.nn.SiLU(), torch.nn.Linear(HIDDEN, 1), torch.nn.Flatten(0),
        )  # fmt: skip
        fit(network, table, list(shapes.values()), features, fold, strength, steps)
        with torch.no_grad():
            outputs = [network(each).numpy() for each in features]
        signal = table.is_signal & (table.fold != fold)
        quantiles = signal_quantiles(outputs[0][signal], table.weight[signal])
        for score, output, each in zip(scores, outputs, tables, strict=True):
            chosen = each.fold == fold
            score[chosen] = signal_share_below(output[chosen][None], quantiles[None])[0]
    return scores


def fit(
    network: torch.nn.Module,
    table: EventTable,
    shapes: list[EventTable],
    features: list[torch.Tensor],
    fold: int,
    strength: float,
    steps: int,
) -> None:
    """Full-batch training on the other folds."""
    trained = torch.from_numpy(table.fold != fold)
    signal, weight = torch.from_numpy(table.is_signal), torch.from_numpy(table.weight)
    # The same background event in both tables, by its identity.
    usable = np.flatnonzero(table.is_background & (table.fold != fold))
    pairs = [np.intersect1d(table.identity[usable], each.identity, return_indices=True)[1:] for each in shapes]
    optimizer, loss = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE), BCELoss()
    for _ in range(steps):
        optimizer.zero_grad()
        output = network(features[0])
        total = loss(output[trained], signal[trained], weight[trained])
        if strength:
            moved = [
                output[usable[i]] - network(shifted[j]) for (i, j), shifted in zip(pairs, features[1:], strict=True)
            ]
            total = total + strength * torch.cat(moved).square().mean()
        total.backward()
        optimizer.step()


def significance(results: Results, strength: float, seed: int, steps: int) -> float:
    """Held-out significance with the uncertainty of all variations; NaN where there is none."""
    table, shapes = results.table, results.shapes
    scores = scored(table, shapes, strength, seed, steps)
    varied = varied_events(table, results.variations, scores[0], shapes, dict(zip(shapes, scores[1:], strict=True)))
    events = ScoredEvents.of_table(table, scores[0], varied)
    point = hold_out_working_point(events, with_variations(results.analysis))
    return np.nan if point.significance is None else point.significance


def main() -> None:
    """Measure every strength for every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--steps", type=int, default=100, help="of the optimiser; 400 overfit without a penalty")
    arguments = parser.parse_args()
    found = []
    for seed, pipeline in pipelines(arguments.seeds):
        pipeline.columns()
        found.append([significance(pipeline.results, strength, seed, arguments.steps) for strength in LAMBDAS])
        print(f"seed {seed}: " + "  ".join(f"{value:.3f}" for value in found[-1]), flush=True)
    baseline, *_ = columns = np.array(found).T
    for strength, values in zip(LAMBDAS, columns, strict=True):
        minus_baseline = paired_difference(values, baseline)
        print(f"lambda {strength:5g}: Z = {Spread.of(values, 3)}, minus baseline {minus_baseline}")


if __name__ == "__main__":
    main()
