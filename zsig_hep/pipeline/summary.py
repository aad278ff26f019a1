"""The summary of a run: the numbers in `summary.json` and in the report, as plain lists and dictionaries."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep import __version__
from zsig_hep.analysis import Analysis
from zsig_hep.learning import RoundRecord, TrainedEnsemble, TrainingHistory
from zsig_hep.learning.training.sentinels import find_sentinels
from zsig_hep.ntuples import ColumnsResult, EventTable
from zsig_hep.pipeline.optimal import optimal_summary, ratio_training_summary
from zsig_hep.pipeline.plain import plain
from zsig_hep.pipeline.results import Results
from zsig_hep.presentation.wording import FIGURE_OF_MERIT_NAMES, figure_of_merit_name
from zsig_hep.selection import ClassifierEvaluation

JsonDict = dict[str, Any]

_NO_REQUIREMENTS = (
    "figure_of_merit",
    "score",
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
    """Yields, normalisation, cutflow and notes of the columns stage."""
    return {
        "processes": process_rows(analysis, result.table),
        "normalisation": plain(result.normalisations),
        "cutflow": {
            process: [
                {"cut": row.cut, "entries": row.entries, "yield": row.value, "uncertainty": row.uncertainty}
                for row in rows
            ]
            for process, rows in result.cutflows.items()
        },
        "notes": [*result.notes, *sentinel_notes(result.table)],
    }


def process_rows(analysis: Analysis, table: EventTable) -> list[JsonDict]:
    """The yields table before the cut, one row per process."""
    return [
        {"name": name, "label": analysis.labels[name], "role": analysis.processes[name].role} | plain(value)
        for name, value in table.yields().items()
    ]


def selections_summary(results: Results) -> JsonDict:
    """Working points, comparison, impacts, categories and fit templates of all classifiers."""
    templates, impacts = results.templates, results.impacts
    objective = results.analysis.selection.objective
    # An exact Poisson tail has no derivatives, so that another figure of merit was differentiated.
    differentiated = objective if impacts.figure_of_merit is None else objective.differentiable
    return {
        "classifiers": [_classifier(results, each) for each in results.evaluations],
        "optimal": None if results.optimal is None else optimal_summary(results.optimal),
        "comparison": plain(results.comparisons),
        "impact": plain(impacts)
        | {
            "classifier": results.evaluations[0].label,
            "figure_of_merit": figure_of_merit_name(differentiated),
        },
        "categories": plain(results.categories),
        "fit": None
        if templates is None
        else {"channels": [channel.name for channel in templates.channels], "notes": list(templates.notes)},
    }


def _classifier(results: Results, evaluation: ClassifierEvaluation) -> JsonDict:
    """Working point, separation, uncertainties, exclusion, variations and training of one classifier."""
    name = evaluation.name
    varied = results.systematics[name]
    systematics = None if varied is None else plain(varied) | {"figure_of_merit": FIGURE_OF_MERIT_NAMES[varied.figure]}
    return {
        "name": name,
        "label": evaluation.label,
        "auc": evaluation.roc.area,
        "auc_entries": evaluation.roc.entry_area,
        "working_point": plain(evaluation.working_point),
        "one_more_event": plain(evaluation.one_more_event),
        "observed": evaluation.observed,
        "training": _training(results, name),
        "systematics": systematics,
        "uncertainties": plain(results.uncertainties[name]),
        # The hypothesis of all signals together has no name.
        "exclusion": [{"signal": signal or None} | plain(each) for signal, each in results.exclusions[name].items()],
    }


def _training(results: Results, name: str) -> JsonDict:
    if name in results.classifiers:
        return training_summary(results.classifiers[name])
    return {} if results.ratio_model is None else ratio_training_summary(results.ratio_model)


def training_summary(classifier: TrainedEnsemble) -> JsonDict:
    """Loss, size and outcome of the training of a classifier."""
    history = classifier.history
    return {
        "loss": history.loss_name,
        "members": len(history.collapsed),
        "epochs": len(history.phase),
        "collapsed_members": int(history.collapsed.sum()),
        "advice": classifier.advice,
        "input_hash": classifier.input_hash,
        "rounds": round_rows(history),
    }


def round_rows(history: TrainingHistory) -> list[JsonDict]:
    """Results of the rounds of a training, averaged over the test folds; round 0 is the start of the rounds."""
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
    """Largest relative change of the effective weights; None if it is rounding."""
    change = record.change(before)
    return change if change > 1e-9 else None


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    """Mean over the folds that have a working point."""
    found = values[np.isfinite(values)]
    return float(found.mean()) if len(found) else None


def sentinel_notes(table: EventTable) -> list[str]:
    """Notes of values that probably stand for missing ones."""
    return [sentinel.note for sentinel in find_sentinels(table.features, table.feature_names)]


def theory_notes(analysis: Analysis) -> list[str]:
    """A note if theory expects no gain from the loss over weighted cross entropy."""
    if analysis.goal.tells_processes_apart or analysis.selection.variations_in_figure:
        return []
    if list(analysis.training.losses(analysis.goal)) == ["bce"]:
        return []
    note = (
        "The figure of merit treats all backgrounds alike, so the best selection is a cut on the likelihood ratio, which "
        "weighted cross entropy learns. Theory expects no gain from another loss unless the classifier is limited: a "
        "linear or very small network, or few events."
    )
    return [note]


def figure_of_merit_summary(analysis: Analysis) -> JsonDict:
    """The figure of merit: its name, its uncertainties, and how signals are combined."""
    selection = analysis.selection
    return {
        "figure_of_merit": figure_of_merit_name(selection.objective, variations=selection.variations_in_figure),
        "signals": selection.signals,
        "background_uncertainties": [
            {"name": name, "label": analysis.labels[name], "relative": relative}
            for name, relative in selection.background_uncertainties.items()
        ],
        "relative_background_uncertainty": selection.relative_background_uncertainty,
        "simulation_uncertainty_in_figure": selection.includes_simulation,
        "variations_in_figure": selection.variations_in_figure,
    }


def run_summary(
    analysis: Analysis,
    columns: Mapping[str, object],
    selections: Mapping[str, object],
    provenance: Mapping[str, object],
) -> JsonDict:
    """The content of `summary.json`, which the report shows.

    Args:
        analysis: the analysis.
        columns: result of `columns_summary`.
        selections: result of `selections_summary`, and the cuts.
        provenance: command, versions, device and fingerprints.
    """
    requirements = analysis.selection.model_dump(mode="json", exclude=set(_NO_REQUIREMENTS))
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
