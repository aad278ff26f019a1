"""What rectangular cuts select: yields and significance, the same step by step, and each variable without its own cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.boxes.cuts import Box, Cut
from zsig_hep.selection.boxes.sensitivity import EdgeSensitivities
from zsig_hep.selection.events import Booleans, Floats
from zsig_hep.selection.figure_of_merit import WorkingPointSettings, significance
from zsig_hep.selection.histograms import WeightedHist
from zsig_hep.selection.thresholds.scan import scan_thresholds
from zsig_hep.selection.thresholds.working_points import HypothesisSignificance, SelectionNumbers
from zsig_hep.statistics.yields import Yield

CutStatus = Literal["ok", "no_box_qualifies", "no_held_out_background"]


@dataclass(frozen=True, kw_only=True)
class ChosenBox(SelectionNumbers):
    """Cuts and what passes them on the very events that chose them: the cuts are for use, the numbers are biased upward.

    Attributes:
        status: "ok", or "no_box_qualifies" when no cuts were found that meet the requirements.
        reason: empty when ok; otherwise which requirement fails, the best that could be had, and what to change.
        box: the cuts; None unless ok.
    """

    status: CutStatus
    reason: str = ""
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOutBox(SelectionNumbers):
    """Cuts chosen for every fold on the other folds, and what passes them in the folds that did not choose.

    Attributes:
        status: "ok", or why there is no result; "no_held_out_background" when the cuts that were chosen select no
            positive background yield in the held-out folds, so that no finite significance exists.
        reason: empty when ok; otherwise which folds fail, which requirement, and what to change.
        boxes: the cuts of each fold, None where none qualify.
        choosing_significance: mean over folds of the figure of merit on the events that chose the cuts.
        optimism: choosing_significance - significance; what quoting the former would have gained by the choice.
    """

    status: CutStatus
    reason: str = ""
    boxes: tuple[Box | None, ...] = ()
    choosing_significance: float | None = None
    optimism: float | None = None

    def select(self, table: EventTable, *, only: Sequence[str] | None = None) -> Booleans:
        """Which events pass the cuts of their own fold, shape [N]; none in a fold without cuts.

        Args:
            table: with a feature for each cut.
            only: variables whose cuts are applied; all by default.
        """
        passing = np.zeros(len(table), dtype=np.bool_)
        for fold, box in enumerate(self.boxes):
            if box is not None:
                left_out = () if only is None else [cut.variable for cut in box.cuts if cut.variable not in only]
                passing |= (table.fold == fold) & box.select(table, without=left_out)
        return passing


@dataclass(frozen=True, kw_only=True)
class CutflowStep(SelectionNumbers):
    """What is left after one more cut.

    Attributes:
        variable: whose cut was applied last; None for the events before any cut.
        cut: the cut; None before any, and where each fold has its own.
    """

    variable: str | None = None
    cut: Cut | None = None


@dataclass(frozen=True, eq=False)
class EdgeCurve:
    """Significance against one edge of a cut, while all other edges stay; T selections that differ.

    Attributes:
        side: which edge moves.
        cut: where it was chosen; None is open.
        position: of the edge, in the unit of the variable, ascending in tightness; the first is open, shape [T].
        significance: figure of merit on the events that chose the cuts, shape [T].
        significance_uncertainty: from the finite simulation, shape [T].
        qualifies: whether the selection meets the requirements, shape [T].
    """

    side: Literal["low", "high"]
    cut: float | None
    position: Floats
    significance: Floats
    significance_uncertainty: Floats
    qualifies: Booleans


@dataclass(frozen=True, eq=False)
class NMinusOne:
    """One variable with the cuts on all others applied, on all simulated events.

    Recorded events are left out: they would show the region that a search keeps blind.

    Attributes:
        cut: the cut on the variable itself.
        histogram: axes "process" and the variable, Weight storage.
        curves: one for each edge that could be chosen.
    """

    cut: Cut
    histogram: WeightedHist
    curves: tuple[EdgeCurve, ...]


@dataclass(frozen=True, eq=False)
class CutResult:
    """Rectangular cuts: the numbers to quote, and the cuts to use.

    Attributes:
        held_out: the result to quote: cuts chosen on other folds.
        chosen: cuts chosen on all events, to be printed and applied; their significance is not to be quoted.
        cutflow: of the chosen cuts on the events that chose them; empty without cuts.
        held_out_cutflow: of the cuts of the folds, each on the fold that did not choose it; its last step has the
            held-out significance; empty without cuts.
        n_minus_one: by variable, with the chosen cuts on the others; empty without cuts.
        sensitivities: how the chosen cuts answer to cross sections, luminosity and uncertainties; None without cuts,
            or where the settings do not ask for them.
    """

    held_out: HeldOutBox
    chosen: ChosenBox
    cutflow: tuple[CutflowStep, ...]
    held_out_cutflow: tuple[CutflowStep, ...]
    n_minus_one: Mapping[str, NMinusOne]
    sensitivities: EdgeSensitivities | None


def selection_numbers(table: EventTable, selected: Booleans, selection: WorkingPointSettings) -> dict[str, Any]:
    """The fields of `SelectionNumbers` of the selected events.

    Args:
        table: simulated events.
        selected: which pass, shape [N].
        selection: figure of merit.

    Raises:
        InputError: the signal or the background of the table has no positive yield.
    """
    scan = scan_thresholds(
        np.concatenate([selected.astype(np.float64), np.ones(len(table.roles))]),
        # An event of no weight keeps the column of the selected events where there are none.
        np.concatenate([table.weight, np.zeros(len(table.roles))]),
        np.concatenate([table.process, np.arange(len(table.roles), dtype=table.process.dtype)]),
        process_names=table.process_names,
        roles=table.roles,
        settings=selection,
    )
    entries = np.bincount(table.process[selected], minlength=len(table.roles)).tolist()
    yields = {
        name: Yield(float(scan.yields[row, -1]), float(scan.variances[row, -1]), entries[row])
        for row, name in enumerate(scan.process_names)
    }
    signal, background = (
        sum(
            (yields[name] for name, has in zip(scan.process_names, scan.roles, strict=True) if has == role),
            Yield(0, 0, 0),
        )
        for role in ("signal", "background")
    )
    z, uncertainty, purity = (
        float(values[-1]) for values in (scan.significance, scan.significance_uncertainty, scan.purity)
    )
    return {
        "yields": yields,
        "signal": signal,
        "background": background,
        "signal_efficiency": float(scan.signal_efficiency[-1]),
        "background_efficiency": float(scan.background_efficiency[-1]),
        "purity": purity if np.isfinite(purity) else None,
        "significance": z if np.isfinite(z) else None,
        "significance_uncertainty": uncertainty if np.isfinite(uncertainty) else None,
        "hypotheses": _hypotheses(yields, table, selection),
    }


def _hypotheses(
    yields: Mapping[str, Yield], table: EventTable, selection: WorkingPointSettings
) -> dict[str, HypothesisSignificance]:
    if selection.signals == "sum":
        return {}
    values, variances = (np.array([getattr(each, name) for each in yields.values()]) for name in ("value", "variance"))
    found = significance(values, variances, tuple(yields), table.roles, selection).hypotheses
    if found is None:
        return {}
    signals = [name for name, role in zip(table.process_names, table.roles, strict=True) if role == "signal"]
    each = zip(signals, found.value.tolist(), found.uncertainty.tolist(), strict=True)
    return {name: HypothesisSignificance(value, uncertainty) for name, value, uncertainty in each}


def make_cutflow(
    table: EventTable,
    passes: Mapping[str, Booleans],
    cuts: Mapping[str, Cut],
    selection: WorkingPointSettings,
    *,
    by_gain: bool,
) -> tuple[CutflowStep, ...]:
    """What is left after each cut.

    Args:
        table: simulated events.
        passes: which events pass the cut on each variable, in the order of the variables, shape [N] each.
        cuts: to be named in the steps, by variable.
        selection: figure of merit.
        by_gain: apply first what raises the significance most, given the cuts already applied; otherwise as given.

    Returns:
        The events before any cut, then one step for each variable.
    """
    left = np.ones(len(table), dtype=np.bool_)
    steps = [CutflowStep(**selection_numbers(table, left, selection))]
    remaining = list(passes)
    while remaining:
        trials = remaining if by_gain else remaining[:1]
        found = {name: selection_numbers(table, left & passes[name], selection) for name in trials}
        best = max(trials, key=lambda name: _rank(found[name]["significance"]))
        steps.append(CutflowStep(variable=best, cut=cuts.get(best), **found[best]))
        left = left & passes[best]
        remaining.remove(best)
    return tuple(steps)


def _rank(value: float | None) -> float:
    return -np.inf if value is None else value
