"""Figures of rectangular cuts: each variable with all other cuts applied, and the significance after each cut."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsig_hep.presentation.figures.layout import GUIDE, Corner, add_legend, draw_curve, drawn_points, panels
from zsig_hep.presentation.figures.stacks import draw_stack, events_per_bin, frame_of, scale_ticks, stack_of
from zsig_hep.presentation.figures.style import LINE_COLORS, Look, Style, add_label
from zsig_hep.presentation.wording import figure_of_merit_label
from zsig_hep.selection.boxes.cuts import Cut
from zsig_hep.selection.boxes.results import CutflowStep, CutResult, EdgeCurve, NMinusOne
from zsig_hep.statistics.objective import Objective

_UPPER, _LOWER, _GAP = 3.9, 2.0, 0.14
_REJECTED = "0.93"
# Height of the lines at a cut, as a fraction of the highest bin; the legend is above them.
_LINE = 0.8
_EDGE_LABELS = {"low": "moving the lower cut", "high": "moving the upper cut"}
_FEWEST_STEPS = 3


def n_minus_one_figure(found: NMinusOne, look: Look, style: Style) -> Figure:
    """Draw one variable with the cuts on all others applied; below, the significance against each of its own edges.

    The rejected region is shaded. The significance in the lower panel is that on the events that chose the cuts, with
    one edge varied at a time; its curve is faint where the requirements are not met.

    Args:
        found: distribution, cut and curves.
        look: labels and colours of processes and variable.
        style: style of the experiment.

    Returns:
        The figure.
    """
    with style.context():
        stack = stack_of(found.histogram, look.roles)
        figure, ((upper, lower),) = panels(style, heights=(_UPPER, _LOWER), gap=_GAP)
        label = look.axis_label(found.cut.variable)
        frame = frame_of([stack], logarithmic=False)
        draw_stack((upper,), stack, frame, look)
        _draw_curves(lower, found.curves)
        for axes, top in ((upper, _LINE * frame.highest), (lower, lower.get_ylim()[1])):
            _draw_cut(axes, found.cut, (stack.edges[0], stack.edges[-1]), top)
        upper.set_ylabel(scale_ticks(upper) + events_per_bin(stack.edges, label))
        lower.set_xlabel(label)
        lower.set_ylabel(_short(found.objective), loc="center")
        title = "N−1: no cut" if found.cut.is_open else f"N−1: {cut_in_words(found.cut, 'x')}"
        add_legend(upper, inside=add_label(style, upper), ncols=2, title=title, framealpha=0)
        if len(found.curves) > 1:
            corners: tuple[Corner, ...] = ("upper right", "upper left", "lower right", "lower left")
            add_legend(lower, locations=corners, framealpha=0)
        figure.align_ylabels((upper, lower))
        return figure


def _draw_cut(axes: Axes, cut: Cut, limits: tuple[float, float], top: float) -> None:
    """Shade the rejected region, and draw each edge up to a height."""
    low, high = (None if value is None else float(np.clip(value, *limits)) for value in (cut.low, cut.high))
    for first, last in ((limits[0], low), (high, limits[1])):
        if first is not None and last is not None:
            axes.axvspan(first, last, color=_REJECTED, lw=0, gid=GUIDE, zorder=0.5)
    edges = [edge for edge in (low, high) if edge is not None]
    axes.vlines(edges, 0, top, color="black", lw=1.5, zorder=7)


def _draw_curves(axes: Axes, curves: Sequence[EdgeCurve]) -> None:
    highest = max((_highest(curve) for curve in curves), default=0.0) or 1.0
    for curve, color in zip(curves, LINE_COLORS, strict=False):
        # `drawn_points` needs ascending positions.
        order = np.argsort(curve.position, kind="stable")
        points = order[drawn_points(curve.position[order], curve.qualifies[order])]
        arrays = (curve.position, curve.significance, curve.significance_uncertainty)
        position, value, spread = (array[points] for array in arrays)
        look: dict[str, Any] = {"color": color, "lw": 2.0, "label": _EDGE_LABELS[curve.side], "zorder": 6}
        draw_curve(axes, position, value, spread, curve.qualifies[points], highest, **look)
    axes.set_ylim(0, 1.1 * highest)


def _highest(curve: EdgeCurve) -> float:
    upper = (curve.significance + curve.significance_uncertainty)[curve.qualifies]
    return float(upper[np.isfinite(upper)].max(initial=0.0))


def _short(objective: Objective) -> str:
    label = figure_of_merit_label(objective)
    return label.removeprefix("Significance ").removeprefix("Asimov significance ")


def cutflow_figure(result: CutResult, look: Look, style: Style) -> Figure:
    """Draw the significance after each cut: on the events that chose the cuts, and held out.

    Args:
        result: rectangular cuts with at least one cutflow.
        look: labels of the variables.
        style: style of the experiment.

    Returns:
        The figure.
    """
    flows = [
        (result.cutflow, "on the events that chose", LINE_COLORS[0], "o", -0.08),
        (result.held_out_cutflow, "held out", LINE_COLORS[1], "s", 0.08),
    ]
    longest = max((flow for flow, *_ in flows), key=len)
    with style.context():
        figure, ((axes,),) = panels(style)
        for flow, label, color, marker, shift in flows:
            known = [(number, step) for number, step in enumerate(flow) if step.significance is not None]
            if known:
                _draw_flow(axes, known, label, color, marker, shift)
        # Labels without their unit.
        names = ["no cut", *(look.axis_label(step.variable or "").partition(" [")[0] for step in longest[1:])]
        axes.set_xticks(range(len(longest)), names, rotation=25, ha="right", fontsize=13)
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set_xlim(-0.5, max(len(longest), _FEWEST_STEPS) - 0.5)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("Significance after the cut")
        add_legend(axes, inside=add_label(style, axes), locations=("upper left", "lower right"))
        return figure


def _draw_flow(
    axes: Axes, known: Sequence[tuple[int, CutflowStep]], label: str, color: str, marker: str, shift: float
) -> None:
    place = np.array([number + shift for number, _ in known])
    value = np.array([step.significance for _, step in known], dtype=np.float64)
    error = np.array([step.significance_uncertainty or 0.0 for _, step in known])
    axes.errorbar(
        place, value, yerr=error, fmt=marker, color=color, ms=7, mec="white", elinewidth=1.6, capsize=3, label=label
    )  # fmt: skip
    axes.step(place, value, where="mid", color=color, lw=1, alpha=0.5)


def cut_in_words(cut: Cut, name: str = "") -> str:
    """Write a cut as an inequality.

    Args:
        cut: the cut.
        name: name of the variable; by default its own.

    Example:
        >>> cut_in_words(Cut("mass", 120.0, 130.5)), cut_in_words(Cut("pt", low=30.0, missing="pass"), "pT")
        ('120 < mass < 130.5', 'pT > 30 or missing')
        >>> cut_in_words(Cut("eta"))
        'any eta'
    """
    name = name or cut.variable
    if cut.is_open:
        return f"any {name}"
    low, high = (
        None if value is None else np.format_float_positional(value, trim="-") for value in (cut.low, cut.high)
    )
    if low is not None and high is not None:
        text = f"{low} < {name} < {high}"
    else:
        text = f"{name} > {low}" if low is not None else f"{name} < {high}"
    return f"{text} or missing" if cut.missing == "pass" else text
