"""The impact figure: how the highest significance and the optimal cut depend on each parameter."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from zsig_hep.presentation.figures.layout import BOTTOM, GUIDE, RIGHT, TOP
from zsig_hep.presentation.figures.style import Look, Style, add_label, new_figure
from zsig_hep.presentation.wording import parameter_label
from zsig_hep.selection.thresholds.sensitivity import Impact, ImpactTable

_WIDTH, _NAMES, _GAP = 11.5, 3.1, 0.35
_ROW_HEIGHT, _LEGEND_HEIGHT = 0.46, 0.35
_RISES, _FALLS = "#0072b2", "#d55e00"
_MOST_ROWS = 20
_SIGNIFICANCE = r"$\partial Z_\mathrm{max}\,/\,\partial\,\ln\theta$"
_CUT = r"$\partial t^{*}/\,\partial\,\ln\theta$"


def impact_figure(table: ImpactTable, look: Look, style: Style) -> Figure:
    """Draw both derivatives of every parameter as bars, the largest change of the significance on top.

    Error bars are from the bootstrap. A diamond marks the change of Z when the yield of a background increases by its
    systematic uncertainty. Without derivatives of the cut the right panel is left out.

    Args:
        table: sensitivities with at least one row; the first twenty rows are drawn.
        look: labels of the processes.
        style: style of the experiment.

    Returns:
        The figure.
    """
    rows = table.rows[:_MOST_ROWS]
    with_cut = any(row.cut_slope is not None for row in rows)
    with style.context():
        inner = _ROW_HEIGHT * (len(rows) + 0.6)
        height = TOP + BOTTOM + _LEGEND_HEIGHT + inner
        figure = new_figure(style, _WIDTH, height)
        axes = _panels(figure, inner, height, 2 if with_cut else 1)
        _draw_significance(axes[0], rows)
        axes[0].set_yticks(range(len(rows)), [parameter_label(row.parameter, look.labels) for row in rows])
        if with_cut:
            _draw_bars(axes[1], [row.cut_slope for row in rows], [row.cut_slope_uncertainty for row in rows])
            axes[1].set_xlabel(_CUT)
        add_label(style, axes[0], axes[-1])
        _legend(figure, rows, height)
        return figure


def _panels(figure: Figure, inner: float, height: float, count: int) -> list[Axes]:
    width = (_WIDTH - _NAMES - RIGHT - _GAP * (count - 1)) / count
    bottom = BOTTOM + _LEGEND_HEIGHT
    axes: list[Axes] = []
    for number in range(count):
        left = _NAMES + number * (width + _GAP)
        box = (left / _WIDTH, bottom / height, width / _WIDTH, inner / height)
        panel = figure.add_axes(box, sharey=axes[0] if axes else None)
        panel.tick_params(axis="y", which="both", left=False, right=False, labelleft=number == 0)
        panel.axvline(0, color="0.25", lw=1, gid=GUIDE)
        axes.append(panel)
    return axes


def _draw_significance(axes: Axes, rows: Sequence[Impact]) -> None:
    _draw_bars(axes, [row.significance_slope for row in rows], [row.significance_slope_uncertainty for row in rows])
    shifts = [(number, row.shift) for number, row in enumerate(rows) if row.shift is not None]
    if shifts:
        axes.plot(
            [shift for _, shift in shifts], [number for number, _ in shifts], "D", color="black", ms=6, mec="white"
        )
    axes.set_xlabel(_SIGNIFICANCE)
    axes.set_ylim(len(rows) - 0.2, -0.8)


def _draw_bars(axes: Axes, values: Sequence[float | None], errors: Sequence[float | None]) -> None:
    known = [number for number, value in enumerate(values) if value is not None]
    length = np.array([values[number] for number in known], dtype=np.float64)
    spread = np.array([errors[number] or 0.0 for number in known])
    colors = [_RISES if value > 0 else _FALLS for value in length]
    axes.barh(known, length, height=0.62, color=colors, alpha=0.75, lw=0)
    axes.errorbar(length, known, xerr=spread, fmt="none", ecolor="0.15", elinewidth=1.5, capsize=3)
    reach = 1.12 * float(np.max(np.abs(length) + spread, initial=0.0)) or 1.0
    low, high = float(np.min(length - spread, initial=0.0)), float(np.max(length + spread, initial=0.0))
    axes.set_xlim(-reach if low < -1e-3 * reach else -0.1 * reach, reach if high > 1e-3 * reach else 0.1 * reach)


def _legend(figure: Figure, rows: Sequence[Impact], height: float) -> None:
    handles: list[Patch | Line2D] = [
        Patch(color=_RISES, alpha=0.75, lw=0, label="rises"),
        Patch(color=_FALLS, alpha=0.75, lw=0, label="falls"),
        Line2D([], [], color="0.15", marker="|", ms=9, lw=1.5, label="bootstrap error"),
    ]
    if any(row.shift is not None for row in rows):
        label = r"$\Delta Z$ for +1σ of the background's uncertainty"
        handles.append(Line2D([], [], color="black", marker="D", ls="none", ms=6, mec="white", label=label))
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(_NAMES / _WIDTH, 0.05 / height), ncols=len(handles),
        frameon=False, borderaxespad=0,
    )  # fmt: skip
