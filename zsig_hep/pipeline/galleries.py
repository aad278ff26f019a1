"""What a report is made of: the numbers of all selections, and what its figures are drawn from."""

from typing import Any

from zsig_hep.pipeline.results import Results
from zsig_hep.pipeline.selection_summary import (
    JsonDict,
    categories_summary,
    difference_summary,
    exclusion_summary,
    impact_summary,
    systematics_summary,
    uncertainties_summary,
)
from zsig_hep.pipeline.summary import classifier_summary
from zsig_hep.presentation import CutGallery, Gallery
from zsig_hep.selection import CutResult, feature_histogram


def selections_summary(results: Results) -> JsonDict:
    """What is selected, as plain numbers."""
    return {
        "classifiers": [
            classifier_summary(each, results.classifiers[each.name])
            | {
                "systematics": systematics_summary(results.systematics[each.name]),
                "uncertainties": uncertainties_summary(results.uncertainties[each.name]),
                "exclusion": exclusion_summary(results.exclusions[each.name]),
            }
            for each in results.evaluations
        ],
        "comparison": difference_summary(results.difference),
        "impact": impact_summary(results.impacts, results.evaluations[0].label, results.analysis.selection),
        "categories": categories_summary(results.categories),
        "fit": _fit_summary(results),
    }


def _fit_summary(results: Results) -> JsonDict | None:
    """Channels of the fit inputs and what was changed to make them usable; None where there is nothing to fit."""
    if (templates := results.templates) is None:
        return None
    return {"channels": [channel.name for channel in templates.channels], "notes": list(templates.notes)}


def report_gallery(results: Results) -> Gallery:
    """What the figures of the report are drawn from."""
    return Gallery(
        evaluations=results.evaluations,
        histories={each.label: results.classifiers[each.name].history for each in results.evaluations},
        features={name: feature_histogram(results.shown, name) for name in results.table.feature_names},
        signals=results.analysis.selection.signals,
        impacts=results.impacts,
        categories=results.categories,
        blinded=bool(results.table.is_data.any()) and not results.analysis.unblind,
        **_look(results),
    )


def cut_gallery(results: Results, cuts: CutResult) -> CutGallery:
    """What the figures of rectangular cuts are drawn from."""
    return CutGallery(cuts=cuts, **_look(results))


def _look(results: Results) -> dict[str, Any]:
    """What all figures of an analysis have in common."""
    analysis = results.analysis
    return {
        "labels": analysis.labels,
        "roles": {name: process.role for name, process in analysis.processes.items()},
        "style": analysis.style,
        "figure_of_merit": analysis.selection.figure_of_merit,
        "colors": analysis.colors,
        "axis_labels": analysis.presentation.axis_labels,
    }
