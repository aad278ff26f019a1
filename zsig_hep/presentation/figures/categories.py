"""The figure of score categories: yields and significance of each, and the gain by their number."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from zsig_hep.presentation.figures.layout import GUIDE, LEFT, RIGHT, TOP, Floats, add_legend
from zsig_hep.presentation.figures.style import LINE_COLORS, Look, Style, add_label, new_figure
from zsig_hep.presentation.wording import figure_of_merit_label
from zsig_hep.selection import Category, CombinedSignificance, Difference, HeldOutCategories, HeldOutDivision

_WIDTHS, _COLUMN_GAP = (7.0, 5.2), 1.25
_UPPER, _LOWER, _GAP, _BOTTOM = 3.9, 1.9, 0.12, 1.1
_OPTIMAL, _EQUAL = LINE_COLORS[1], LINE_COLORS[0]


def category_figure(held_out: HeldOutCategories, look: Look, style: Style) -> Figure:
    """Draw held-out yields and significance of each category, and the significance against the number of categories.

    Left, for the largest number of categories that has a result: stacked backgrounds with their Monte-Carlo uncertainty
    and signals, with one bin per category, labelled with the median over folds of its lower edge; below, the
    significance of each category alone. Right: combined significance against the number of categories, for the best
    edges held out and on the events that chose them, and for categories of equal signal yield (hollow if they do not
    meet the requirements); below, the gain of the best edges over a single cut and over equal signal, with errors that
    include the correlation.

    Args:
        held_out: categories for each number of them.
        look: labels and colours of the processes.
        style: style of the experiment.

    Returns:
        The figure; without a result it has a note in place of the yields.
    """
    with style.context():
        figure, ((upper, lower), (numbers, gains)) = _panels(style)
        shown = [division for division in held_out.optima if division.status == "ok"]
        inside = add_label(style, upper, numbers)
        if shown:
            _draw_yields(upper, shown[-1].categories, look)
            _draw_each(lower, shown[-1])
            add_legend(upper, inside=inside, ncols=2)
        else:
            upper.text(0.5, 0.5, "no categories", transform=upper.transAxes, ha="center", va="center")
        _draw_numbers(numbers, held_out)
        _draw_gains(gains, held_out)
        upper.set_ylabel("Events per category")
        lower.set_ylabel("Significance")
        lower.set_xlabel("Category, and its lower edge of the score")
        # The panel is too low for a long name on one line.
        numbers.set_ylabel(
            figure_of_merit_label(held_out.objective).replace(" with ", "\nwith ", 1), fontsize="x-small"
        )
        gains.set_ylabel("Gain")
        gains.set_xlabel("Number of categories")
        for axes in (numbers, gains):
            add_legend(axes, locations=("upper left", "lower right", "upper right"))
        figure.align_ylabels([upper, lower])
        figure.align_ylabels([numbers, gains])
        return figure


def _panels(style: Style) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """Two columns of an upper and a lower panel that share their x axis."""
    width = LEFT + sum(_WIDTHS) + _COLUMN_GAP + RIGHT
    height = TOP + _UPPER + _GAP + _LOWER + _BOTTOM
    figure = new_figure(style, width, height)
    columns: list[tuple[Axes, Axes]] = []
    left = LEFT
    for across in _WIDTHS:
        upper = figure.add_axes((left / width, (_BOTTOM + _LOWER + _GAP) / height, across / width, _UPPER / height))
        lower = figure.add_axes((left / width, _BOTTOM / height, across / width, _LOWER / height), sharex=upper)
        upper.tick_params(axis="x", which="both", labelbottom=False)
        columns.append((upper, lower))
        left += across + _COLUMN_GAP
    return figure, columns


def _draw_yields(axes: Axes, categories: Sequence[Category], look: Look) -> None:
    edges = np.arange(len(categories) + 1) - 0.5
    values = {name: np.array([each.yields[name].value for each in categories]) for name in categories[0].yields}
    backgrounds = sorted(
        (n for n in values if look.roles[n] == "background"), key=lambda name: float(values[name].sum())
    )
    signals = [name for name in values if look.roles[name] == "signal"]
    total = np.array([each.background.value for each in categories])
    spread = np.array([each.background.uncertainty for each in categories])
    lowest = _lowest([total, *(values[name] for name in signals)])
    axes.set_yscale("log")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(lowest, 2.0 * float((total + spread).max()))
    filled, base = look.fill_colors(list(values)), np.zeros(len(categories))
    for name in backgrounds:
        bounds = np.maximum(base + values[name], lowest), np.maximum(base, lowest)
        area: dict[str, Any] = {"fill": True, "color": filled[name], "lw": 0}
        axes.stairs(bounds[0], edges, baseline=bounds[1], label=look.label(name), **area)
        base = base + values[name]
    band: dict[str, Any] = {"fill": True, "color": "none", "edgecolor": "0.35", "hatch": "/////", "lw": 0}
    axes.stairs(total + spread, edges, baseline=np.maximum(total - spread, lowest), label="MC uncertainty", **band)
    lines = look.signal_colors(signals)
    for name in signals:
        axes.stairs(values[name], edges, baseline=lowest, color=lines[name], lw=2.2, label=look.label(name))


def _lowest(yields: Sequence[Floats]) -> float:
    positive = np.concatenate(yields)
    return 0.4 * float(positive[positive > 0].min())


def _draw_each(axes: Axes, division: HeldOutDivision) -> None:
    places = np.arange(division.count)
    values = [each.significance for each in division.categories]
    errors = [each.significance_uncertainty for each in division.categories]
    axes.errorbar(places, values, xerr=0.5, yerr=errors, fmt="o", color=_OPTIMAL, ms=7, elinewidth=1.6)
    axes.set_ylim(0, 1.15 * float(np.max(np.add(values, errors))))
    lower = np.median([edges for edges in division.edges if edges is not None], axis=0)
    axes.xaxis.set_major_locator(FixedLocator(places.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    names = [f"{number}\n{edge:.3g}" for number, edge in enumerate(lower)]
    axes.set_xticklabels(names, fontsize=14 if division.count < 8 else 11)
    for edge in places[1:] - 0.5:
        axes.axvline(edge, color="0.7", lw=0.8, gid=GUIDE)


def _draw_numbers(axes: Axes, held_out: HeldOutCategories) -> None:
    within = [each for each in held_out.equal_signal if each.within_limits]
    beyond = [each for each in held_out.equal_signal if not each.within_limits]
    solid = {"color": _EQUAL, "fmt": "s", "ls": "-"}
    hollow = {"color": _EQUAL, "fmt": "s", "ls": "none", "mfc": "white"}
    best = {"color": _OPTIMAL, "fmt": "o", "ls": "-", "mec": "white"}
    _draw_divisions(axes, held_out.optima, -0.06, {"label": "best edges, held out", **best})
    _draw_divisions(axes, within, 0.06, {"label": "equal signal, held out", "mec": "white", **solid})
    _draw_divisions(axes, beyond, 0.06, {"label": "equal signal, requirements not met", **hollow})
    chosen = [(each.count, each.choosing_significance) for each in held_out.optima if each.status == "ok"]
    if chosen:
        axes.plot(*zip(*chosen, strict=True), color=_OPTIMAL, ls=":", lw=1.6, label="best edges, choosing events")
    axes.set_xlim(0.5, len(held_out.optima) + 0.5)
    axes.margins(y=0.12)


def _draw_gains(axes: Axes, held_out: HeldOutCategories) -> None:
    rows = (
        (held_out.over_single_cut, "best edges over single cut", "black", "D", -0.06),
        (held_out.over_equal_signal, "best edges over equal signal", _EQUAL, "s", 0.06),
    )
    for differences, label, color, marker, shift in rows:
        known = [(count, each) for count, each in enumerate(differences, start=1) if each is not None]
        if known:
            places = [count + shift for count, _ in known]
            look = {"label": label, "color": color, "fmt": marker, "ls": "-", "mec": "white"}
            _draw_points(axes, places, [each for _, each in known], look)
    axes.axhline(0, color="0.7", lw=0.8, gid=GUIDE)
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_divisions(axes: Axes, divisions: Sequence[HeldOutDivision], shift: float, look: Mapping[str, Any]) -> None:
    known = [(each.count + shift, each.combined) for each in divisions if each.combined is not None]
    if known:
        _draw_points(axes, [place for place, _ in known], [combined for _, combined in known], look)


def _draw_points(
    axes: Axes,
    places: Sequence[float],
    numbers: Sequence[CombinedSignificance | Difference],
    look: Mapping[str, Any],
) -> None:
    values, errors = [each.value for each in numbers], [each.uncertainty for each in numbers]
    axes.errorbar(places, values, yerr=errors, ms=7, elinewidth=1.6, capsize=3, lw=1.2, **look)
