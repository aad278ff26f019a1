"""The numbers of a run as plain lists and dictionaries: what `summary.json` holds and the report shows."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep import __version__
from zsig_hep.analysis import Analysis
from zsig_hep.learning import Classifier, RoundRecord, TrainingHistory
from zsig_hep.ntuples import ColumnsResult, EventTable
from zsig_hep.pipeline.selection_summary import JsonDict, figure_of_merit_label, working_point_summary, yield_row
from zsig_hep.selection import ClassifierEvaluation

_OF_THE_FIGURE = (
    "figure_of_merit",
    "ams_regularisation",
    "punzi_sigmas",
    "signals",
    "background_uncertainties",
    "relative_background_uncertainty",
    "simulation_uncertainty_in_figure",
    "variations_in_figure",
    "sensitivity",
)


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


def classifier_summary(evaluation: ClassifierEvaluation, classifier: Classifier) -> JsonDict:
    """Working point, separation and training of one classifier."""
    history = classifier.history
    return {
        "name": evaluation.name,
        "label": evaluation.label,
        "auc": evaluation.roc.area,
        "auc_entries": evaluation.roc.entry_area,
        "working_point": working_point_summary(evaluation.working_point),
        "observed": evaluation.observed,
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


def figure_of_merit_summary(analysis: Analysis) -> JsonDict:
    """What the cut maximises, in words: the figure of merit, its uncertainties, and how signals are combined."""
    selection = analysis.selection
    return {
        "figure_of_merit": figure_of_merit_label(selection.figure_of_merit, selection),
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
    selections: Mapping[str, object],
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
        **selections,
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
