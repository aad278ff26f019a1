"""Collect the results that the figures of a report show."""

from typing import Any

from zsig_hep.pipeline.results import Results
from zsig_hep.presentation import CutGallery, Gallery, Look
from zsig_hep.selection import CutResult, feature_histogram


def report_gallery(results: Results) -> Gallery:
    """The results that the figures of the report show."""
    return Gallery(
        evaluations=results.evaluations,
        histories={
            each.label: results.classifiers[each.name].history
            for each in results.evaluations
            if each.name in results.classifiers
        },
        features={name: feature_histogram(results.shown, name) for name in results.table.feature_names},
        impacts=results.impacts,
        categories=results.categories,
        blinded=bool(results.table.is_data.any()) and not results.analysis.unblind,
        **_look(results),
    )


def cut_gallery(results: Results, cuts: CutResult) -> CutGallery:
    """The results that the figures of rectangular cuts show."""
    return CutGallery(cuts=cuts, **_look(results))


def _look(results: Results) -> dict[str, Any]:
    """Labels and style of all figures of an analysis."""
    analysis = results.analysis
    return {
        "look": Look(
            {name: process.role for name, process in analysis.processes.items()},
            analysis.labels,
            analysis.colors,
            analysis.presentation.axis_labels,
        ),
        "style": analysis.style,
    }
