"""Results of rectangular cuts: yields and significance, cutflows, and distributions without the variable's own cut."""

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
    """Cuts chosen on all events, and their numbers on the same events, which are biased upward.

    Attributes:
        status: "ok", or "no_box_qualifies" when no cuts were found that meet the requirements.
        reason: empty when ok; otherwise which requirement fails, the best value that was found, and what to change.
        box: the cuts; None unless ok.
    """

    status: CutStatus
    reason: str = ""
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class HeldOutBox(SelectionNumbers):
    """Cuts chosen for every fold on the other folds, and their numbers on the held-out folds.

    Attributes:
        status: "ok", or why there is no result; "no_held_out_background" when the background yield that the cuts select
            in the held-out folds is not positive or the significance is not finite.
        reason: empty when ok; otherwise which folds fail, which requirement, and what to change.
        boxes: the cuts of each fold, None where none qualify.
        choosing_significance: mean over folds of the figure of merit on the events that chose the cuts.
        optimism: choosing_significance - significance, the bias of the former from the choice of the cuts.
    """

    status: CutStatus
    reason: str = ""
    boxes: tuple[Box | None, ...] = ()
    choosing_significance: float | None = None
    optimism: float | None = None

    def select(self, table: EventTable, *, only: Sequence[str] | None = None) -> Booleans:
        """Select the events that pass the cuts of their own fold, as booleans [N]; none in a fold without cuts.

        Args:
            table: events with the feature of every cut.
            only: variables whose cuts are applied; by default all.
        """
        passing = np.zeros(len(table), dtype=np.bool_)
        for fold, box in enumerate(self.boxes):
            if box is not None:
                left_out = () if only is None else [cut.variable for cut in box.cuts if cut.variable not in only]
                passing |= (table.fold == fold) & box.select(table, without=left_out)
        return passing


@dataclass(frozen=True, kw_only=True)
class CutflowStep(SelectionNumbers):
    """One step of a cutflow: the events that pass its cut and all cuts before it.

    Attributes:
        variable: variable of the cut; None for the events before any cut.
        cut: the cut; None before any cut, and where each fold has its own.
    """

    variable: str | None = None
    cut: Cut | None = None


@dataclass(frozen=True, eq=False, repr=False)
class EdgeCurve(ShortRepr):
    """Significance against one edge of a cut at fixed other edges, for T different selections.

    Attributes:
        side: the edge that is varied.
        cut: its chosen value; None for no cut.
        position: position of the edge in units of the variable, in ascending order of tightness, shape [T]; the first
            is open.
        significance: figure of merit on the events that chose the cuts, shape [T].
        significance_uncertainty: its standard deviation from the finite simulation, shape [T].
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
    """One variable with the cuts on all other variables applied, on all simulated events.

    Data are left out, since they would show the blinded region.

    Attributes:
        cut: the cut on the variable itself.
        histogram: histogram with axes "process" and the variable, `Weight` storage.
        curves: one for each edge that could be chosen.
        objective: the figure of merit.
    """

    cut: Cut
    histogram: WeightedHist
    curves: tuple[EdgeCurve, ...]
    objective: Objective


@dataclass(frozen=True, eq=False, repr=False)
class CutResult(ShortRepr):
    """Rectangular cuts: the cuts to apply, and the numbers to quote.

    Attributes:
        held_out: the result to quote, with cuts chosen on other folds.
        chosen: cuts chosen on all events, to be printed and applied; their significance is not to be quoted.
        cutflow: cutflow of the chosen cuts on the events that chose them; empty without cuts.
        held_out_cutflow: cutflow of the cuts of each fold on that fold; its last step has the held-out significance;
            empty without cuts.
        n_minus_one: distribution of each variable with the chosen cuts on the others; empty without cuts.
        sensitivities: derivatives of the chosen cuts in cross sections, luminosity and uncertainties; None without
            cuts, or if the settings switch them off.
        objective: the figure of merit.
    """

    held_out: HeldOutBox
    chosen: ChosenBox
    cutflow: tuple[CutflowStep, ...]
    held_out_cutflow: tuple[CutflowStep, ...]
    n_minus_one: Mapping[str, NMinusOne]
    sensitivities: EdgeSensitivities | None
    objective: Objective


def box_numbers(table: EventTable, selected: Booleans, objective: Objective) -> dict[str, Any]:
    """Compute the fields of `SelectionNumbers` for selected events.

    Args:
        table: simulated events.
        selected: events that pass, shape [N].
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
    """Apply cuts one after the other.

    Args:
        table: simulated events.
        passes: events that pass the cut on each variable, in the order of the variables, shape [N] each.
        cuts: cuts that the steps record, by variable.
        objective: the figure of merit.
        by_gain: whether the next cut is the one of highest significance after the cuts already applied; otherwise the
            order is that of `passes`.

    Returns:
        The events before any cut, then one step for each variable.
    """
    passing = np.ones(len(table), dtype=np.bool_)
    steps = [CutflowStep(**box_numbers(table, passing, objective))]
    remaining = list(passes)
    while remaining:
        trials = remaining if by_gain else remaining[:1]
        found = {name: box_numbers(table, passing & passes[name], objective) for name in trials}
        best = max(trials, key=lambda name: _rank(found[name]["significance"]))
        steps.append(CutflowStep(variable=best, cut=cuts.get(best), **found[best]))
        passing = passing & passes[best]
        remaining.remove(best)
    return tuple(steps)


def _rank(value: float | None) -> float:
    return -np.inf if value is None else value
