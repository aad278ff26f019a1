"""What selections give, as plain lists and dictionaries: working points, variations, categories, impacts."""

from collections.abc import Mapping
from dataclasses import asdict, fields

from zsig_hep.selection import (
    Difference,
    HeldOutCategories,
    HeldOutWorkingPoint,
    ImpactTable,
    SelectionExclusion,
    SignificanceUncertainties,
    SystematicTable,
    WorkingPointSettings,
)
from zsig_hep.statistics.significance import FigureOfMerit
from zsig_hep.statistics.yields import Yield

JsonDict = dict[str, object]

FIGURE_OF_MERIT_LABELS = {
    "s_over_sqrt_b": "s/sqrt(b)",
    "s_over_sqrt_b_with_uncertainty": "s/sqrt(b) with background uncertainty",
    "asimov": "Asimov significance",
    "asimov_with_uncertainty": "Asimov significance with background uncertainty",
    "ams": "approximate median significance (AMS)",
    "punzi": "Punzi's s/(a/2 + sqrt(b))",
    "poisson": "exact Poisson significance",
    "poisson_with_uncertainty": "exact Poisson significance with background uncertainty (Z_Bi)",
}


def figure_of_merit_label(figure: FigureOfMerit, settings: WorkingPointSettings) -> str:
    """Name a figure of merit for readers, with the numbers in its definition.

    Example:
        >>> figure_of_merit_label(FigureOfMerit.PUNZI, WorkingPointSettings(figure_of_merit="punzi", punzi_sigmas=5))
        "Punzi's s/(a/2 + sqrt(b)), a = 5"
    """
    parameters = settings.figure_parameters
    numbers = {
        FigureOfMerit.AMS: f", b_r = {parameters.ams_regularisation:g}",
        FigureOfMerit.PUNZI: f", a = {parameters.punzi_sigmas:g}",
    }
    return FIGURE_OF_MERIT_LABELS[str(figure)] + numbers.get(figure, "")


def yield_row(value: Yield) -> JsonDict:
    """A yield with its statistical error and the simulation behind it."""
    return {
        "entries": value.entries,
        "yield": value.value,
        "uncertainty": value.uncertainty,
        "effective_entries": value.effective_entries,
    }


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


def impact_summary(table: ImpactTable, classifier: str, settings: WorkingPointSettings) -> JsonDict:
    """How the optimal cut of a classifier answers to cross sections, luminosity and uncertainties.

    An exact Poisson tail has no derivatives: then the figure of merit that was differentiated is another.
    """
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
        "figure_of_merit": figure_of_merit_label(table.figure_of_merit or settings.figure_of_merit, settings),
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


def uncertainties_summary(found: SignificanceUncertainties | None) -> JsonDict | None:
    """Three standard deviations of the held-out significance."""
    return None if found is None else asdict(found)


def exclusion_summary(found: Mapping[str, SelectionExclusion]) -> list[JsonDict]:
    """Expected exclusion of each signal hypothesis, by name; one without a name for all signals together."""
    return [
        {
            "signal": name or None,
            "confidence_level": each.expected.confidence_level,
            "significance": each.expected.significance,
            "cls": list(each.expected.cls),
            "median_cls": each.expected.median_cls,
            "cls_uncertainty": each.cls_uncertainty,
            "limits": list(each.expected.limits),
            "median_limit": each.expected.median_limit,
            "limit_uncertainty": each.limit_uncertainty,
        }
        for name, each in found.items()
    ]


def categories_summary(found: HeldOutCategories | None) -> JsonDict | None:
    """Score categories: what each holds, and Z of 1, 2, ... of them beside equal signal yields and the single cut."""
    if found is None:
        return None
    rows = zip(found.optima, found.equal_signal, found.over_equal_signal, found.over_single_cut, strict=True)
    return {
        "status": found.chosen.status,
        "reason": found.chosen.reason,
        "edges": [None if edges is None else list(edges) for edges in found.chosen.edges],
        "categories": [
            {
                "significance": each.significance,
                "significance_uncertainty": each.significance_uncertainty,
                "yields": {name: yield_row(value) for name, value in each.yields.items()},
            }
            for each in found.chosen.categories
        ],
        "divisions": [
            {
                "count": best.count,
                "status": best.status,
                "reason": best.reason,
                "significance": best.significance,
                "significance_uncertainty": best.significance_uncertainty,
                "optimism": best.optimism,
                "equal_signal": equal.significance,
                "equal_signal_uncertainty": equal.significance_uncertainty,
                "equal_signal_within_limits": equal.within_limits,
                "over_equal_signal": difference_summary(over_equal),
                "over_single_cut": difference_summary(over_cut),
            }
            for best, equal, over_equal, over_cut in rows
        ],
    }
