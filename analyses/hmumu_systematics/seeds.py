"""The numbers of this analysis over several seeds of folds and networks: mean and standard deviation.

    python -m analyses.hmumu_systematics.seeds --seeds 5

Each seed reads, trains and chooses anew. Printed are held-out significances: with the cut chosen by the Asimov significance, the
same cut with the background uncertainty that the variations leave, the cut that is chosen with that uncertainty, three score
categories of the best edges and of equal signal yield, and rectangular cuts without a classifier.
"""

import argparse
import os
import tempfile
from pathlib import Path

# Before torch is imported: OpenMP threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from zsig_hep.analysis import Analysis
from zsig_hep.pipeline.results import Results
from zsig_hep.pipeline.stages import Chain
from zsig_hep.selection import evaluate_classifier

HERE = Path(__file__).parent


def seeded(seed: int) -> Analysis:
    """The analysis with other folds and other networks."""
    analysis = Analysis.from_file(HERE).with_training(seed=1000 * seed + 1)
    ntuples = analysis.ntuples.model_copy(update={"fold_seed": seed})
    return analysis.model_copy(update={"ntuples": ntuples})


def measured(results: Results) -> dict[str, float]:
    """Held-out significances of one seed; NaN where there is none."""
    with_variations = results.analysis.selection.model_copy(
        update={"figure_of_merit": "asimov_with_uncertainty", "variations_in_figure": True}
    )
    found = {}
    for each in results.evaluations:
        table = results.systematics[each.name]
        varied = results.varied[each.name]
        scores = results.scores[each.name]
        chosen = evaluate_classifier(each.name, each.label, scores, results.table, with_variations, variations=varied)
        found |= {
            f"{each.label}: cut": each.working_point.significance,
            f"{each.label}: the same cut, uncertain background": None if table is None else table.significance,
            f"{each.label}: background uncertainty at this cut [%]": None
            if table is None
            else 100 * table.background_uncertainty / each.working_point.background.value,
            f"{each.label}: cut chosen with the variations": chosen.working_point.significance,
        }
    categories = results.categories
    label, equal = results.evaluations[0].label, categories.equal_signal[-1]
    found[f"{label}: three categories"] = categories.chosen.significance
    found[f"{label}: three of equal signal, if within limits"] = equal.significance if equal.within_limits else None
    found["rectangular cuts"] = results.cuts(results.analysis.cuts).held_out.significance
    return {name: np.nan if value is None else float(value) for name, value in found.items()}


def main() -> None:
    """Measure every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    arguments = parser.parse_args()
    rows = []
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory(prefix="zsig-seeds-") as folder:
            chain = Chain(seeded(seed), Path(folder))
            chain.scan()
            rows.append(measured(chain.results))
        print(f"seed {seed} done", flush=True)
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        print(
            f"{name:60s} {np.nanmean(values):7.3f} +- {np.nanstd(values, ddof=1):.3f} ({np.isfinite(values).sum()} seeds)"
        )


if __name__ == "__main__":
    main()
