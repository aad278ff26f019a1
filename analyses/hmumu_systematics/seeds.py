"""The numbers of this analysis over several seeds of folds and networks: mean and standard deviation.

    python -m analyses.hmumu_systematics.seeds --seeds 5

Each seed reads, trains and chooses anew. Printed are held-out significances: with the cut chosen by the Asimov significance, the
same cut with the background uncertainty that the variations leave, the cut that is chosen with that uncertainty, three score
categories of the best edges and of equal signal yield, and rectangular cuts without a classifier.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: OpenMP threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from analyses.tables import Spread
from zsig_hep.analysis import Analysis
from zsig_hep.pipeline import Pipeline, Results
from zsig_hep.selection import WorkingPointSettings, hold_out_working_point

HERE = Path(__file__).parent


def seeded(seed: int) -> Analysis:
    """The analysis with other folds and other networks."""
    analysis = Analysis.from_file(HERE).with_training(seed=1000 * seed + 1)
    ntuples = analysis.ntuples.model_copy(update={"fold_seed": seed})
    return analysis.model_copy(update={"ntuples": ntuples})


def pipelines(seeds: int) -> Iterator[tuple[int, Pipeline]]:
    """Number and pipeline of each seed; its output folder is removed when the next one is asked for."""
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory(prefix="zsig-seeds-") as folder:
            yield seed, Pipeline(seeded(seed), folder)


def with_variations(analysis: Analysis) -> WorkingPointSettings:
    """The settings of the cut, with the background uncertainty of all variations in the figure of merit."""
    update = {"figure_of_merit": "asimov_with_uncertainty", "variations_in_figure": True}
    return WorkingPointSettings.model_validate(analysis.selection.model_dump() | update)


def measured(results: Results) -> dict[str, float]:
    """Held-out significances of one seed; NaN where there is none."""
    settings = with_variations(results.analysis)
    found: dict[str, float | None] = {}
    for each in results.evaluations:
        table = results.systematics[each.name]
        chosen = hold_out_working_point(results.events[each.name], settings)
        found |= {
            f"{each.label}: cut": each.working_point.significance,
            f"{each.label}: exported cut": each.working_point.exported_significance,
            f"{each.label}: the same cut, uncertain background": None if table is None else table.significance,
            f"{each.label}: background uncertainty at this cut [%]": None
            if table is None
            else 100 * table.background_uncertainty / each.working_point.background.value,
            f"{each.label}: cut chosen with the variations": chosen.significance,
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
    for seed, pipeline in pipelines(arguments.seeds):
        pipeline.scan()
        rows.append(measured(pipeline.results))
        print(f"seed {seed} done", flush=True)
    for name in rows[0]:
        values = np.array([row[name] for row in rows if np.isfinite(row[name])])
        print(f"{name:60s} {Spread.of(values, 3)} ({len(values)} seeds)")


if __name__ == "__main__":
    main()
