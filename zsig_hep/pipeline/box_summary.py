"""Rectangular cuts as plain numbers: what a summary file holds."""

from collections.abc import Sequence
from typing import Any

from zsig_hep.errors import InputError
from zsig_hep.selection.boxes.cuts import Box
from zsig_hep.selection.boxes.results import CutflowStep, CutResult
from zsig_hep.selection.boxes.sensitivity import EdgeSensitivities
from zsig_hep.selection.thresholds.working_points import SelectionNumbers
from zsig_hep.statistics.yields import Yield


def cut_summary(result: CutResult) -> dict[str, Any]:
    """Cuts, held-out numbers, cutflows and derivatives as dictionaries, lists, text and numbers.

    Args:
        result: of `optimise_cuts`.

    Returns:
        `held_out`, the numbers to quote; `chosen`, the cuts to use with their numbers on the events that chose them;
        `cutflow`, `held_out_cutflow` and `sensitivities`. Numbers are None where the status is not ok.
    """
    held_out, chosen = result.held_out, result.chosen
    return {
        "held_out": {
            "status": held_out.status,
            "reason": held_out.reason,
            "boxes": [_box(box) for box in held_out.boxes],
            **_numbers(held_out),
            "choosing_significance": held_out.choosing_significance,
            "optimism": held_out.optimism,
        },
        "chosen": {
            "status": chosen.status,
            "reason": chosen.reason,
            "box": _box(chosen.box),
            "python": None if chosen.box is None else chosen.box.python(),
            "tree_draw": None if chosen.box is None else _tree_draw(chosen.box),
            "open_variables": [] if chosen.box is None else list(chosen.box.open_variables),
            "chosen_on_these_events": True,
            **_numbers(chosen),
        },
        "cutflow": _steps(result.cutflow),
        "held_out_cutflow": _steps(result.held_out_cutflow),
        "sensitivities": None if result.sensitivities is None else _sensitivities(result.sensitivities),
    }


def _box(box: Box | None) -> list[dict[str, Any]] | None:
    if box is None:
        return None
    return [{"variable": c.variable, "low": c.low, "high": c.high, "missing": c.missing} for c in box.cuts]


def _tree_draw(box: Box) -> str | None:
    """The selection for TTree::Draw; None where a name of a variable cannot be a branch."""
    try:
        return box.tree_draw()
    except InputError:
        return None


def _numbers(found: SelectionNumbers) -> dict[str, Any]:
    return {
        "yields": {name: _yield(value) for name, value in found.yields.items()},
        "signal": None if found.signal is None else _yield(found.signal),
        "background": None if found.background is None else _yield(found.background),
        "signal_efficiency": found.signal_efficiency,
        "background_efficiency": found.background_efficiency,
        "purity": found.purity,
        "significance": found.significance,
        "significance_uncertainty": found.significance_uncertainty,
        "hypotheses": {
            name: {"significance": each.value, "significance_uncertainty": each.uncertainty}
            for name, each in found.hypotheses.items()
        },
    }


def _yield(value: Yield) -> dict[str, Any]:
    return {
        "entries": value.entries,
        "yield": value.value,
        "uncertainty": value.uncertainty,
        "effective_entries": value.effective_entries,
    }


def _steps(steps: Sequence[CutflowStep]) -> list[dict[str, Any]]:
    return [
        {"variable": step.variable, "cut": None if step.cut is None else _box(Box((step.cut,))), **_numbers(step)}
        for step in steps
    ]


def _sensitivities(found: EdgeSensitivities) -> dict[str, Any]:
    return {
        "status": found.status,
        "reason": found.reason,
        "significance": found.significance,
        "replicas": found.replicas,
        "edges": [
            {"variable": edge.variable, "side": edge.side, "cut": edge.cut, "bandwidth": edge.bandwidth}
            for edge in found.edges
        ],
        "rows": [
            {
                "variable": row.edge.variable,
                "side": row.edge.side,
                "kind": row.parameter.kind,
                "process": row.parameter.process,
                "cut_slope": row.cut,
                "cut_slope_uncertainty": row.cut_uncertainty,
                "cut_slope_half_bandwidth": row.cut_with_bandwidths[0],
                "cut_slope_double_bandwidth": row.cut_with_bandwidths[1],
            }
            for row in found.rows
        ],
    }
