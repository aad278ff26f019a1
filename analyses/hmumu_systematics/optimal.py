"""The optimal score of this analysis over several seeds of folds and networks, beside all coefficients one.

    python -m analyses.hmumu_systematics.optimal --seeds 3

The figure of merit is the Asimov significance with the variance of the simulation and all variations. Each seed reads, trains
weighted cross entropy and the likelihood ratios, and chooses anew. Printed are held-out significances, their paired
difference with its error from the simulation and the choice of cuts, the difference that smooth yields predict, and the
ratios that do not close.
"""

import argparse
import os
import tempfile

# Before torch is imported: OpenMP threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from analyses.hmumu_systematics.seeds import seeded, with_variations
from analyses.tables import Spread, paired_difference
from zsig_hep.analysis import Analysis
from zsig_hep.pipeline import Pipeline
from zsig_hep.pipeline.optimal import OptimalSelection


def with_optimal_score(seed: int) -> Analysis:
    """The analysis of a seed with the optimal score, for which cross entropy is trained alone."""
    analysis = seeded(seed).with_training(loss={"name": "bce"})
    selection = with_variations(analysis).model_copy(update={"score": "optimal"})
    return analysis.model_copy(update={"selection": selection})


def line(found: OptimalSelection) -> str:
    """The numbers of one seed."""
    held_out, gain = found.held_out, found.comparison.of("significance")
    difference = "no difference" if gain is None else f"difference {gain.value:+.3f} +- {gain.uncertainty:.3f}"
    predicted = "none" if held_out.smooth_gain is None else f"{held_out.smooth_gain:+.3f}"
    closing = ", ".join(found.closure.failing) or "none"
    return (
        f"optimal {held_out.point.significance or np.nan:.3f}, c = 1 {held_out.unweighted.significance or np.nan:.3f}, "
        f"{difference}, predicted {predicted}, not closing: {closing}"
    )


def main() -> None:
    """Measure every seed and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    arguments = parser.parse_args()
    optimal, unweighted = [], []
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory(prefix="zsig-optimal-") as folder:
            pipeline = Pipeline(with_optimal_score(seed), folder)
            pipeline.train()
            found = pipeline.results.optimal
            if found is not None:
                print(f"seed {seed}: {line(found)}", flush=True)
                optimal.append(found.held_out.point.significance or np.nan)
                unweighted.append(found.held_out.unweighted.significance or np.nan)
    print(f"optimal {Spread.of(optimal, 3)}, c = 1 {Spread.of(unweighted, 3)}")
    print(f"paired difference {paired_difference(optimal, unweighted)} (error of the mean over seeds)")


if __name__ == "__main__":
    main()
