"""What selections give, as plain lists and dictionaries: working points, variations, categories, impacts."""

from dataclasses import fields

from zsig_hep.selection import (
    Difference,
    HeldOutCategories,
    HeldOutWorkingPoint,
    ImpactTable,
    SystematicTable,
)
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
