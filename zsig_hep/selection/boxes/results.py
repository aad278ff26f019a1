"""What rectangular cuts select: yields and significance, the same step by step, and each variable without its own cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zsig_hep.ntuples.table import EventTable
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.boxes.cuts import Box, Cut
from zsig_hep.selection.boxes.sensitivity import EdgeSensitivities
from zsig_hep.selection.events import Booleans, Floats
from zsig_hep.selection.histograms import WeightedHist
from zsig_hep.selection.numbers import SelectionNumbers, selection_numbers
from zsig_hep.statistics.objective import Objective

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


@dataclass(frozen=True, eq=False, repr=False)
class EdgeCurve(ShortRepr):
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


@dataclass(frozen=True, eq=False, repr=False)
class NMinusOne(ShortRepr):
    """One variable with the cuts on all others applied, on all simulated events.

    Recorded events are left out: they would show the region that a search keeps blind.

    Attributes:
        cut: the cut on the variable itself.
        histogram: axes "process" and the variable, Weight storage.
        curves: one for each edge that could be chosen.
        objective: what the significances are.
    """

    cut: Cut
    histogram: WeightedHist
    curves: tuple[EdgeCurve, ...]
    objective: Objective


@dataclass(frozen=True, eq=False, repr=False)
class CutResult(ShortRepr):
    """Rectangular cuts: the numbers to quote, and the cuts to use.

    Attributes:
        held_out: the result to quote: cuts chosen on other folds.
        chosen: cuts chosen on all events, to be printed and applied; their significance is not to be quoted.
        cutflow: of the chosen cuts on the events that chose them; empty without cuts.
        held_out_cutflow: of the cuts of the folds, each on the fold that did not choose it; its last step has the
            held-out significance; empty without cuts.
        n_minus_one: by variable, with the chosen cuts on the others; empty without cuts.
        sensitivities: how the chosen cuts depend on cross sections, luminosity and uncertainties; None without cuts,
            or where the settings do not ask for them.
        objective: what the significances are.
    """

    held_out: HeldOutBox
    chosen: ChosenBox
    cutflow: tuple[CutflowStep, ...]
    held_out_cutflow: tuple[CutflowStep, ...]
    n_minus_one: Mapping[str, NMinusOne]
    sensitivities: EdgeSensitivities | None
    objective: Objective


def box_numbers(table: EventTable, selected: Booleans, objective: Objective) -> dict[str, Any]:
    """The fields of `SelectionNumbers` of the selected events.

    Args:
        table: simulated events.
        selected: which pass, shape [N].
        objective: the figure of merit.
    """
    before = {name: each.value for name, each in table.yields().items()}
    return selection_numbers(table.select(selected).yields(), before, table.processes, objective)


def make_cutflow(
    table: EventTable,
    passes: Mapping[str, Booleans],
    cuts: Mapping[str, Cut],
    objective: Objective,
    *,
    by_gain: bool,
) -> tuple[CutflowStep, ...]:
    """What is left after each cut.

    Args:
        table: simulated events.
        passes: which events pass the cut on each variable, in the order of the variables, shape [N] each.
        cuts: to be named in the steps, by variable.
        objective: the figure of merit.
        by_gain: apply first what raises the significance most, given the cuts already applied; otherwise as given.

    Returns:
        The events before any cut, then one step for each variable.
    """
    left = np.ones(len(table), dtype=np.bool_)
    steps = [CutflowStep(**box_numbers(table, left, objective))]
    remaining = list(passes)
    while remaining:
        trials = remaining if by_gain else remaining[:1]
        found = {name: box_numbers(table, left & passes[name], objective) for name in trials}
        best = max(trials, key=lambda name: _rank(found[name]["significance"]))
        steps.append(CutflowStep(variable=best, cut=cuts.get(best), **found[best]))
        left = left & passes[best]
        remaining.remove(best)
    return tuple(steps)


def _rank(value: float | None) -> float:
    return -np.inf if value is None else value
