"""The numbers of a run as plain lists and dictionaries: what `summary.json` holds and the report shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep import __version__
from zsig_hep.analysis import Analysis
from zsig_hep.learning import Classifier, RoundRecord, TrainingHistory
from zsig_hep.ntuples import ColumnsResult, EventTable
from zsig_hep.selection import (
    ClassifierEvaluation,
    Difference,
    HeldOutWorkingPoint,
    ImpactTable,
    SystematicTable,
)
from zsig_hep.statistics.yields import Yield

JsonDict = dict[str, object]

_OF_THE_FIGURE = (
    "figure_of_merit",
    "signals",
    "background_uncertainties",
    "relative_background_uncertainty",
    "simulation_uncertainty_in_figure",
    "variations_in_figure",
    "sensitivity",
)

FIGURE_OF_MERIT_LABELS = {
    "s_over_sqrt_b": "s/sqrt(b)",
    "s_over_sqrt_b_with_uncertainty": "s/sqrt(b) with background uncertainty",
    "asimov": "Asimov significance",
    "asimov_with_uncertainty": "Asimov significance with background uncertainty",
}


def columns_summary(analysis: Analysis, result: ColumnsResult) -> JsonDict:
    """Yields, normalisation, cutflow and notes of the reading stage."""
    return {
        "processes": process_rows(analysis, result.table),
        "normalisation": [asdict(normalisation) for normalisation in result.normalisations],
        "cutflow": {
            process: [
                {"cut": row.cut, "entries": row.entries, "yield": row.value, "uncertainty": row.uncertainty}
                for row in rows
            ]
            for process, rows in result.cutflows.items()
        },
        "notes": list(result.notes),
    }


def process_rows(analysis: Analysis, table: EventTable) -> list[JsonDict]:
    """The yields table before the cut, one row per process."""
    return [
        {"name": name, "label": analysis.labels[name], "role": analysis.processes[name].role} | yield_row(value)
        for name, value in table.yields().items()
    ]


def yield_row(value: Yield) -> JsonDict:
    """A yield with its statistical error and the simulation behind it."""
    return {
        "entries": value.entries,
        "yield": value.value,
        "uncertainty": value.uncertainty,
        "effective_entries": value.effective_entries,
    }


def classifier_summary(
    evaluation: ClassifierEvaluation, classifier: Classifier, systematics: SystematicTable | None = None
) -> JsonDict:
    """Working point with its variations, separation and training of one classifier."""
    history = classifier.history
    return {
        "name": evaluation.name,
        "label": evaluation.label,
        "auc": evaluation.roc.area,
        "auc_entries": evaluation.roc.entry_area,
        "working_point": working_point_summary(evaluation.working_point),
        "observed": evaluation.observed,
        "systematics": systematics_summary(systematics),
        "training": {
            "loss": history.loss_name,
            "members": len(history.collapsed),
            "epochs": len(history.phase),
            "collapsed_members": int(history.collapsed.sum()),
            "advice": history.advice(),
            "input_hash": classifier.input_hash,
            "rounds": round_rows(history),
        },
    }


def round_rows(history: TrainingHistory) -> list[JsonDict]:
    """What the rounds of a training reached, averaged over the test folds; the networks they start from first."""
    rows: list[JsonDict] = []
    for index, record in enumerate(history.rounds):
        rows.append(
            {
                "number": record.number,
                "relative_eps": record.relative_eps,
                "effective_weights": dict(zip(history.process_names, record.factors.mean(0).tolist(), strict=True)),
                "change": _change(record, history.rounds[index - 1]) if index else None,
                "figure": _mean(record.figure),
                "figure_spread": float(np.nanstd(record.figure)) if np.isfinite(record.figure).any() else None,
                "signal_efficiency": _mean(record.signal_efficiency),
                "folds_that_kept_it": history.kept_round.count(record.number),
            }
        )
    return rows


def _change(record: RoundRecord, before: RoundRecord) -> float | None:
    """Largest change of the effective weights; None where they do not change but for rounding."""
    change = record.change(before)
    return change if change > 1e-9 else None


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Mean over the folds that have a working point."""
    found = values[np.isfinite(values)]
    return float(found.mean()) if len(found) else None


def theory_notes(analysis: Analysis) -> list[str]:
    """What theory expects of the loss that was trained, where it expects nothing."""
    figure_differs = analysis.goal.tells_processes_apart or analysis.selection.simulation_uncertainty_in_figure
    if figure_differs or list(analysis.losses) == ["bce"]:
        return []
    note = (
        "The figure of merit knows no difference between the backgrounds, so the best selection is a cut on the "
        "likelihood ratio that weighted cross entropy learns. Theory expects no gain from another loss unless the model "
        "is limited: a linear or very small network, or few events."
    )
    return [note]


def working_point_summary(point: HeldOutWorkingPoint) -> JsonDict:
    """The held-out working point with statistical errors; numbers are null unless its status is ok."""
    return {
        "status": point.status,
        "reason": point.reason,
        "thresholds": list(point.thresholds),
        "signal": None if point.signal is None else point.signal.value,
        "signal_uncertainty": None if point.signal is None else point.signal.uncertainty,
        "background": None if point.background is None else point.background.value,
        "background_uncertainty": None if point.background is None else point.background.uncertainty,
        "effective_background": None if point.background is None else point.background.effective_entries,
        "signal_efficiency": point.signal_efficiency,
        "background_efficiency": point.background_efficiency,
        "purity": point.purity,
        "significance": point.significance,
        "significance_uncertainty": point.significance_uncertainty,
        "hypotheses": {
            name: {"significance": each.value, "significance_uncertainty": each.uncertainty}
            for name, each in point.hypotheses.items()
        },
        "choosing_significance": point.choosing_significance,
        "optimism": point.optimism,
        "yields": {name: yield_row(value) for name, value in point.yields.items()},
    }


def difference_summary(difference: Difference | None) -> JsonDict | None:
    """Significance of the first classifier minus that of the second."""
    return None if difference is None else {"difference": difference.value, "uncertainty": difference.uncertainty}


def impact_summary(table: ImpactTable, classifier: str) -> JsonDict:
    """How the optimal cut of a classifier answers to cross sections, luminosity and uncertainties."""
    runner_up = table.runner_up
    rows = [
        {
            "kind": row.parameter.kind,
            "process": row.parameter.process,
            "relative_uncertainty": row.parameter.relative_uncertainty,
            "significance_slope": row.significance,
            "significance_slope_uncertainty": row.significance_uncertainty,
            "cut_slope": row.cut,
            "cut_slope_uncertainty": row.cut_uncertainty,
            "cut_slope_half_bandwidth": row.cut_with_bandwidths[0],
            "cut_slope_double_bandwidth": row.cut_with_bandwidths[1],
            "shift": row.shift,
        }
        for row in table.rows
    ]
    of_table = {
        field.name: getattr(table, field.name) for field in fields(table) if field.name not in {"rows", "runner_up"}
    }
    return {
        "classifier": classifier,
        **of_table,
        "runner_up": None if runner_up is None else dict(zip(("cut", "significance"), runner_up, strict=True)),
        "rows": rows,
    }


def systematics_summary(table: SystematicTable | None) -> JsonDict | None:
    """Yields up and down of every variation at the cut, what they do to Z, and the background uncertainty."""
    if table is None:
        return None
    rows = [
        {
            "name": row.name,
            "kind": row.kind,
            "significance_up": row.significance_up,
            "significance_down": row.significance_down,
            "yields": {
                process: {
                    "nominal": each.nominal.value,
                    "up": each.up.value,
                    "up_uncertainty": each.up.uncertainty,
                    "down": each.down.value,
                    "down_uncertainty": each.down.uncertainty,
                }
                for process, each in row.yields.items()
            },
        }
        for row in table.rows
    ]
    return {
        "rows": rows,
        "background_uncertainty": table.background_uncertainty,
        "figure_of_merit": FIGURE_OF_MERIT_LABELS[str(table.figure)],
        "significance": table.significance,
        "significance_without": table.significance_without,
        "notes": list(table.notes),
    }


def figure_of_merit_summary(analysis: Analysis) -> JsonDict:
    """What the cut maximises, in words: the figure of merit, its uncertainties, and how signals are combined."""
    selection = analysis.selection
    return {
        "figure_of_merit": FIGURE_OF_MERIT_LABELS[str(selection.figure_of_merit)],
        "signals": selection.signals,
        "background_uncertainties": [
            {"name": name, "label": analysis.labels[name], "relative": relative}
            for name, relative in selection.background_uncertainties.items()
        ],
        "relative_background_uncertainty": selection.relative_background_uncertainty,
        "simulation_uncertainty_in_figure": selection.simulation_uncertainty_in_figure,
        "variations_in_figure": selection.variations_in_figure,
    }


def run_summary(
    analysis: Analysis,
    columns: Mapping[str, object],
    classifiers: Sequence[JsonDict],
    difference: Difference | None,
    impact: JsonDict,
    provenance: Mapping[str, object],
) -> JsonDict:
    """Everything that the report shows."""
    requirements = analysis.selection.model_dump(mode="json", exclude=set(_OF_THE_FIGURE))
    return {
        "title": analysis.title,
        "name": analysis.name,
        "zsig_hep_version": __version__,
        "luminosity_ifb": analysis.luminosity_ifb,
        "sqrt_s_tev": analysis.sqrt_s_tev,
        **columns,
        "classifiers": list(classifiers),
        "comparison": difference_summary(difference),
        "impact": impact,
        **figure_of_merit_summary(analysis),
        "requirements": requirements,
        "blinded": any(process.role == "data" for process in analysis.processes.values()) and not analysis.unblind,
        "provenance": dict(provenance),
    }


def without_nan(value: Any) -> Any:
    """Replace numbers that JSON cannot hold by null, all the way down."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
