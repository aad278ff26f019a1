"""Optimisation of rectangular cuts for the highest significance, with a held-out result."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.boxes.cuts import Box, Cut, CutSettings
from zsig_hep.selection.boxes.edges import check_variables
from zsig_hep.selection.boxes.problem import BoxProblem, qualifies, shortage
from zsig_hep.selection.boxes.results import (
    ChosenBox,
    CutflowStep,
    CutResult,
    EdgeCurve,
    HeldOutBox,
    NMinusOne,
    box_numbers,
    make_cutflow,
)
from zsig_hep.selection.boxes.search import drop_weak_cuts, search
from zsig_hep.selection.boxes.sensitivity import edge_sensitivities
from zsig_hep.selection.boxes.soft_cuts import smooth_starts
from zsig_hep.selection.events import Booleans, Integers
from zsig_hep.selection.histograms import feature_histogram
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.held_out import why_folds_fail, why_not_quotable


def optimise_cuts(
    table: EventTable, settings: CutSettings, selection: WorkingPointSettings, generator: np.random.Generator
) -> CutResult:
    """Choose rectangular cuts for the highest significance.

    Gradient ascent moves all edges of soft cuts at once (`smooth_starts`); from there exact scans of one edge at a time
    (`search`) go on until no edge can be improved. Cuts that do not increase the significance by `minimum_pull`
    standard deviations are dropped. The same is done for each fold on the other folds, with weights multiplied by
    fold_count / (fold_count - 1) so that the figure of merit is that of the whole luminosity. The events of a fold take
    no part in the choice of the cuts that `held_out` applies to them.

    Args:
        table: events with signed weights, processes and folds; data are left out.
        settings: variables and how they may be cut.
        selection: figure of merit and requirements, which must be met on the events that choose.
        generator: random generator.

    Returns:
        Cuts, held-out yields and significance, cutflows, the distribution of each variable with all other cuts applied,
        and the derivatives of the cuts; a status with its reason if no cuts meet the requirements.

    Raises:
        InputError: a variable is no feature, is NaN or has the same value for every event, or has a start outside of
            its values; an uncertainty is given for a name that is no background process; the settings include
            systematic variations in the figure of merit; the signal or background yield of the choosing events is not
            positive.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> process = np.repeat(["higgs", "dy"], 2000)
        >>> is_signal = process == "higgs"
        >>> table = EventTable.from_arrays(
        ...     {"mass": rng.normal(125, np.where(is_signal, 2.0, 20.0)), "noise": rng.normal(size=4000)},
        ...     weight=np.where(is_signal, 0.01, 0.5), process=process,
        ...     roles={"higgs": "signal", "dy": "background"}, luminosity_ifb=1.0)
        >>> cuts = CutSettings(variables={"mass": {"side": "window", "step": 0.5}, "noise": "above"}, kicks=0)
        >>> found = optimise_cuts(table, cuts, WorkingPointSettings(), rng)
        >>> print(found.chosen.box.python())
        (events["mass"] > 122.0) & (events["mass"] < 127.5)
        >>> found.chosen.box.open_variables, round(found.held_out.significance, 1)
        (('noise',), 1.3)
    """
    selection.objective.require_known_backgrounds(table.processes)
    check_variables(table, settings)
    if selection.variations_in_figure:
        message = (
            "The figure of merit of rectangular cuts cannot include systematic variations (variations_in_figure); set "
            "relative_background_uncertainty or background_uncertainties instead."
        )
        raise InputError(message)
    table = table.simulated
    of_all, *of_folds = generator.spawn(table.fold_count + 1)
    problem = BoxProblem.of_table(table, settings, selection)
    edges, value = _choose(problem, of_all)
    held_out = _hold_out(table, settings, selection, of_folds)
    if not qualifies(value):
        return CutResult(
            held_out=held_out,
            chosen=ChosenBox(status="no_box_qualifies", reason=shortage(problem, edges)),
            cutflow=(),
            held_out_cutflow=_held_out_cutflow(table, held_out, (), settings, selection),
            n_minus_one={},
            sensitivities=None,
            objective=selection.objective,
        )
    box = problem.box(edges)
    cutflow = _chosen_cutflow(table, box, settings, selection)
    return CutResult(
        held_out=held_out,
        chosen=ChosenBox(status="ok", box=box, **box_numbers(table, box.select(table), selection.objective)),
        cutflow=cutflow,
        held_out_cutflow=_held_out_cutflow(table, held_out, cutflow, settings, selection),
        n_minus_one=_n_minus_one(problem, table, box, edges),
        sensitivities=edge_sensitivities(problem, edges, of_all) if settings.sensitivities else None,
        objective=selection.objective,
    )


def _choose(problem: BoxProblem, generator: np.random.Generator) -> tuple[Integers, float]:
    starts = [problem.nothing, *smooth_starts(problem, generator)]
    edges, value = search(problem, starts, generator)
    return drop_weak_cuts(problem, edges, value) if qualifies(value) else (edges, value)


def _hold_out(
    table: EventTable,
    settings: CutSettings,
    selection: WorkingPointSettings,
    generators: list[np.random.Generator],
) -> HeldOutBox:
    boxes: list[Box | None] = []
    reasons: list[str] = []
    values: list[float] = []
    for fold, generator in enumerate(generators):
        problem = _problem_of_fold(table, fold, settings, selection)
        edges, value = _choose(problem, generator)
        boxes.append(problem.box(edges) if qualifies(value) else None)
        reasons.append("" if qualifies(value) else shortage(problem, edges))
        values.append(value)
    if reason := why_folds_fail("no cuts could be chosen for {}", reasons):
        return HeldOutBox(status="no_box_qualifies", reason=reason, boxes=tuple(boxes))
    found = HeldOutBox(status="ok", boxes=tuple(boxes))
    numbers = box_numbers(table, found.select(table), selection.objective)
    if reason := why_not_quotable(numbers):
        return HeldOutBox(status="no_held_out_background", reason=reason, boxes=tuple(boxes))
    on_choosing = float(np.mean(values))
    return replace(found, choosing_significance=on_choosing, optimism=on_choosing - numbers["significance"], **numbers)


def _problem_of_fold(
    table: EventTable, fold: int, settings: CutSettings, selection: WorkingPointSettings
) -> BoxProblem:
    scale = table.fold_count / (table.fold_count - 1)
    try:
        return BoxProblem.of_table(table.select(table.fold != fold), settings, selection, scale=scale)
    except InputError as error:
        message = f"The cuts of fold {fold} cannot be chosen on the other folds. {error}"
        raise InputError(message) from error


def _chosen_cutflow(
    table: EventTable, box: Box, settings: CutSettings, selection: WorkingPointSettings
) -> tuple[CutflowStep, ...]:
    cuts = {cut.variable: cut for cut in box.cuts if not cut.is_open}
    passes = {name: Box((cut,)).select(table) for name, cut in cuts.items()}
    return make_cutflow(table, passes, cuts, selection.objective, by_gain=settings.cutflow_order == "gain")


def _held_out_cutflow(
    table: EventTable,
    held_out: HeldOutBox,
    chosen: tuple[CutflowStep, ...],
    settings: CutSettings,
    selection: WorkingPointSettings,
) -> tuple[CutflowStep, ...]:
    """The cutflow in the order of the chosen cuts, for comparison; cuts that only some folds have come last."""
    if held_out.status != "ok":
        return ()
    ordered = [step.variable for step in chosen if step.variable is not None]
    closed = [name for name in settings.variables if any(box and not box.cut(name).is_open for box in held_out.boxes)]
    names = [*ordered, *(name for name in closed if name not in ordered)]
    passes: Mapping[str, Booleans] = {name: held_out.select(table, only=[name]) for name in names}
    return make_cutflow(
        table, passes, {}, selection.objective, by_gain=settings.cutflow_order == "gain" and not ordered
    )


def _n_minus_one(problem: BoxProblem, table: EventTable, box: Box, edges: Integers) -> dict[str, NMinusOne]:
    found: dict[str, NMinusOne] = {}
    for cut in box.cuts:
        events = table.select(box.select(table, without=[cut.variable]))
        if np.isfinite(events.feature(cut.variable)).any():
            sides = [index for index, side in enumerate(problem.sides) if side.variable == cut.variable]
            curves = tuple(_edge_curve(problem, cut, edges, index) for index in sides)
            histogram = feature_histogram(events, cut.variable)
            found[cut.variable] = NMinusOne(cut, histogram, curves, problem.selection.objective)
    return found


def _edge_curve(problem: BoxProblem, cut: Cut, edges: Integers, index: int) -> EdgeCurve:
    side, found = problem.sides[index], problem.scan_side(edges, index)
    position = np.clip((side.lower[found.edge] + side.upper[found.edge]) / 2, *side.range)
    return EdgeCurve(
        side="low" if side.sign == 1 else "high",
        cut=cut.low if side.sign == 1 else cut.high,
        position=side.sign * position,
        significance=found.scan.significance[found.rows],
        significance_uncertainty=found.scan.significance_uncertainty[found.rows],
        qualifies=found.scan.qualifies[found.rows],
    )
