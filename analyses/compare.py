"""Compare selections of one analysis on the same events, folds, weights and scan, over several seeds.

    python -m analyses.compare analyses/hmumu --seeds 5

Each seed has other folds and other networks. Compared are losses of this package, boosted trees (extra `trees`),
and the analysis's own cuts without a classifier (`cut_variable` in its cut.py), whose last cut is chosen like every other
threshold. Printed are held-out significances: mean and standard deviation over seeds, the Monte-Carlo error of one seed,
and the difference to the weighted cross entropy, paired by seed.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

# Before torch is imported: OpenMP threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt

from analyses.tables import Spread, paired_difference, table
from zsig_hep.analysis import Analysis
from zsig_hep.errors import ZsigError
from zsig_hep.learning import (
    BCELossSettings,
    LossSettings,
    TrainingSettings,
    TreeSettings,
    ZLossSettings,
    train,
    train_trees,
)
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.identity import assign_folds
from zsig_hep.pipeline import Pipeline
from zsig_hep.selection import (
    ClassifierEvaluation,
    ScoredEvents,
    evaluate_classifier,
    significance_at_signal_efficiency,
)

Scores = npt.NDArray[np.float64]
Method = Callable[[EventTable, TrainingSettings, int], Scores]

BASELINE = "weighted BCE"
EFFICIENCIES = (0.1, 0.2, 0.3, 0.5, 0.7)

TREES = TreeSettings(depth=4, subsample=0.7, feature_share=0.8, minimum_child_weight=10.0, l2_penalty=1.0)
"""Settings of boosted trees in the comparisons."""


def trained_with(loss: LossSettings) -> Method:
    """Out-of-fold scores of the package's own training with a loss."""

    def scores(table: EventTable, settings: TrainingSettings, seed: int) -> Scores:
        seeded = settings.model_copy(update={"seed": 1000 * seed + 1})
        classifier = train(table, seeded, loss=loss)
        return classifier.out_of_fold_scores(table.features[:, classifier.columns_of(table.feature_names)], table.fold)

    return scores


def boosted_trees(table: EventTable, settings: TrainingSettings, seed: int) -> Scores:
    """Out-of-fold scores of one forest of boosted trees for each fold, with weighted cross entropy."""
    seeded = settings.model_copy(update={"seed": seed, "seeds": 1, "trees": TREES})
    forests = train_trees(table, seeded, loss=BCELossSettings())
    return forests.out_of_fold_scores(table.features[:, forests.columns_of(table.feature_names)], table.fold)


def plain_cuts(folder: Path) -> Method:
    """The variable of the analysis's cut.py; events that fail its fixed cuts score lowest."""
    specification = importlib.util.spec_from_file_location("cut", folder / "cut.py")
    if specification is None or specification.loader is None:
        message = f"there is no {folder / 'cut.py'}"
        raise ZsigError(message)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def scores(table: EventTable, _settings: TrainingSettings, _seed: int) -> Scores:
        features = {name: table.feature(name).astype(np.float64) for name in table.feature_names}
        variable, passes = module.cut_variable(features)
        return np.where(passes, variable, variable.min() - 1.0)

    return scores


def methods(analysis: Analysis) -> dict[str, Method]:
    """What is compared, by name."""
    return {
        "cuts, no classifier": plain_cuts(analysis.folder),
        BASELINE: trained_with(BCELossSettings()),
        "Z loss, sigmoid error": trained_with(ZLossSettings(error="sigmoid")),
        "Z loss, hinge error": trained_with(ZLossSettings(error="hinge")),
        "boosted trees": boosted_trees,
    }


def refolded(table: EventTable, seed: int) -> EventTable:
    """The same events in other folds."""
    return dataclasses.replace(table, fold=assign_folds(table.identity, table.fold_count, seed))


def compare(analysis: Analysis, events: EventTable, seeds: int, only: set[str]) -> dict[str, list[dict[str, float]]]:
    """Numbers of every method for every seed."""
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(1, seeds + 1):
        folded = refolded(events, seed)
        for name, method in methods(analysis).items():
            if only and name not in only:
                continue
            scored = ScoredEvents.of_table(folded, method(folded, analysis.training, seed))
            found = numbers(evaluate_classifier("compared", name, scored, analysis.selection))
            results.setdefault(name, []).append(found)
            print(f"seed {seed}: {name}: Z = {found['significance']:.3f}", file=sys.stderr)
    return results


def numbers(evaluation: ClassifierEvaluation) -> dict[str, float]:
    """What is averaged over seeds; NaN where no threshold qualifies."""
    point = evaluation.working_point
    found = point.significance is not None and point.signal is not None and point.background is not None
    at_efficiency = significance_at_signal_efficiency(evaluation.scan, EFFICIENCIES).value
    return {
        "significance": point.significance if found else np.nan,
        "simulation_error": point.significance_uncertainty if found else np.nan,
        "signal": point.signal.value if found else np.nan,
        "background": point.background.value if found else np.nan,
        "effective_background": point.background.effective_entries if found else np.nan,
        "signal_efficiency": point.signal_efficiency if found else np.nan,
        "area": evaluation.roc.area,
    } | {f"at_{efficiency}": float(z) for efficiency, z in zip(EFFICIENCIES, at_efficiency, strict=True)}


def markdown(results: Mapping[str, list[dict[str, float]]]) -> str:
    """Render the comparison."""
    heads = ["selection", "held-out Z", "error", f"minus {BASELINE}", "s", "b", "b eff. entries", "signal eff."]
    heads += [f"Z at {efficiency}" for efficiency in EFFICIENCIES]
    columns = {name: {key: np.array([row[key] for row in rows]) for key in rows[0]} for name, rows in results.items()}
    lines = []
    for name, column in columns.items():
        z, is_compared = column["significance"], name != BASELINE and BASELINE in columns
        lines.append(
            [
                name,
                Spread.of(z, 3),
                f"{column['simulation_error'].mean():.3f}",
                paired_difference(z, columns[BASELINE]["significance"]) if is_compared else "",
                f"{column['signal'].mean():.1f}",
                f"{column['background'].mean():.1f}",
                f"{column['effective_background'].mean():.0f}",
                f"{column['signal_efficiency'].mean():.2f}",
                *(Spread.of(column[f"at_{efficiency}"]) for efficiency in EFFICIENCIES),
            ]
        )
    return table(heads, lines)


def main() -> None:
    """Read the command line, compare, print."""
    parser = argparse.ArgumentParser(
        prog="python -m analyses.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("analysis", type=Path, help="folder of an analysis")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ntuples", type=Path, help="read the ntuples from this folder instead")
    parser.add_argument("--output", type=Path, help="folder for the columns; default: output/compare-NAME")
    parser.add_argument("--only", nargs="*", default=[], help="names of the selections to compare")
    parser.add_argument("--json", type=Path, help="also write every number of every seed to this file")
    arguments = parser.parse_args()
    try:
        analysis = Analysis.from_file(arguments.analysis)
        if arguments.ntuples:
            analysis = analysis.with_ntuples(arguments.ntuples)
        pipeline = Pipeline(analysis, arguments.output or Path("output") / f"compare-{analysis.name}")
        pipeline.columns()
        events = pipeline.table.simulated
        results = compare(analysis, events, arguments.seeds, set(arguments.only))
    except ZsigError as error:
        sys.exit(f"compare: {error}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    for name, value in events.yields().items():
        print(f"{name}: {value.value:.5g} +- {value.uncertainty:.2g} events, {value.effective_entries:.0f} effective")
    print(markdown(results))


if __name__ == "__main__":
    main()
