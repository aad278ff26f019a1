"""The paper's figures with our numbers beside its own: boundaries, loss landscapes, efficiencies and significances."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from analyses.efficiency_curves import EfficiencyCurve
from analyses.paper_toy import published
from analyses.paper_toy.experiments import TOYS, Results, published_bce_line, published_line
from analyses.paper_toy.landscape import Landscape, landscape
from analyses.paper_toy.lines import Line
from analyses.paper_toy.measures import Selection, background_efficiencies, peak
from analyses.toys import GaussianToy
from zsig_hep.presentation.figures.style import FILL_COLORS, LINE_COLORS, SIGNAL_COLORS, Style, StyledFigure, new_figure

Floats = npt.NDArray[np.float64]

STYLE = Style("plain", "Simulation", 3000.0)
PROCESS_COLORS = (SIGNAL_COLORS[0], FILL_COLORS[3], FILL_COLORS[1])
PROCESS_LABELS = ("signal", "background 1", "background 2")
X_RANGE, Y_RANGE = (-1.8, 7.8), (1.5, 13.0)

SHOWN = {
    "linear, BCE with equal class weights": (LINE_COLORS[1], "BCE, equal class weights", "-"),
    "linear, weighted BCE": (LINE_COLORS[4], "weighted BCE", "-"),
    "linear, Z hinge, eps = 0.01 B": (LINE_COLORS[2], r"Z hinge, $\epsilon = 0.01\,B$", "-"),
    "MLP, weighted BCE": (LINE_COLORS[5], "MLP, weighted BCE", "-"),
    "MLP, Z hinge, eps = 0.01 B": (LINE_COLORS[3], r"MLP, Z hinge, $\epsilon = 0.01\,B$", "-"),
}
"""Colour, legend and line style of the selections in the figures of efficiencies."""


def boundaries(results: Results) -> StyledFigure:
    """Events of each process as contours, and the decision boundaries of both cases (the paper's figure 1)."""
    with STYLE.context():
        figure = new_figure(STYLE, 14.0, 7.6)
        for axes, toy in zip(figure.subplots(1, 2), TOYS, strict=True):
            _draw_processes(axes, toy)
            lines = {
                selection.label: selection.lines[toy.name][0]
                for selection in results.selections
                if selection.lines and selection.lines[toy.name]
            }
            approach = min(
                (each for passage in results.collapses for each in passage.approaches[toy.name]),
                key=lambda each: each.distance,
            )
            for line, color, dash, label in (
                (published_bce_line(), LINE_COLORS[1], "--", "BCE, paper"),
                (lines["linear, BCE with equal class weights"], LINE_COLORS[1], "-", "BCE, equal class weights"),
                (lines["linear, weighted BCE"], LINE_COLORS[4], "-", "weighted BCE"),
                (published_line(toy), LINE_COLORS[0], "--", "Z loss, paper"),
                (approach.line, LINE_COLORS[0], ":", r"Z hinge, $\epsilon = S$, while collapsing"),
                (lines["linear, Z hinge, eps = 0.05 B"], LINE_COLORS[2], "-", r"Z hinge, $\epsilon = 0.05\,B$"),
                (Line.from_cut(toy.best_linear_cut()), "black", "-.", "best linear cut"),
            ):
                _draw_line(axes, line, color=color, dash=dash, label=label)
            axes.set(xlim=X_RANGE, ylim=Y_RANGE, xlabel=r"$x_1$", ylabel=r"$x_2$")
            sigma = ", ".join(f"{process.cross_section_fb:g}" for process in toy.processes[1:])
            axes.set_title(f"{toy.name}: $\\sigma_b$ = {sigma} fb", fontsize=16)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=13)
        figure.subplots_adjust(left=0.06, right=0.985, top=0.93, bottom=0.26, wspace=0.16)
    return figure


def _draw_processes(axes: Axes, toy: GaussianToy) -> None:
    events = toy.draw(300, np.random.default_rng(1))
    turn = np.linspace(0, 2 * np.pi, 200)
    for index, (color, label) in enumerate(zip(PROCESS_COLORS, PROCESS_LABELS, strict=True)):
        mine = events.features[events.process == index]
        axes.plot(*mine.T, ".", color=color, markersize=2.5, alpha=0.5, zorder=1)
        for radius in (1, 2):
            circle = toy.centres[index][:, None] + radius * np.stack([np.cos(turn), np.sin(turn)])
            axes.plot(*circle, color=color, linewidth=1.6, zorder=2, label=label if radius == 1 else None)


def _draw_line(axes: Axes, line: Line, *, color: str, dash: str, label: str) -> None:
    start = line.offset * line.normal
    along = np.array([-line.normal[1], line.normal[0]])
    ends = start[:, None] + along[:, None] * np.array([-40.0, 40.0])
    axes.plot(*ends, color=color, linestyle=dash, linewidth=2.2, label=label, zorder=3)


def landscapes() -> StyledFigure:
    """Loss of one signal and one background event over their outputs (the paper's figure 3)."""
    with STYLE.context():
        figure = new_figure(STYLE, 13.0, 11.0)
        for axes, error in zip(figure.subplots(2, 2).flat, published.CORNERS, strict=True):
            _draw_landscape(axes, landscape(error))
        figure.subplots_adjust(left=0.08, right=0.96, top=0.95, bottom=0.08, wspace=0.3, hspace=0.34)
    return figure


def _draw_landscape(axes: Axes, shown: Landscape) -> None:
    low, high = shown.outputs[0], shown.outputs[-1]
    filled = axes.contourf(shown.outputs, shown.outputs, shown.loss.T, levels=24, cmap="viridis")
    axes.contour(shown.outputs, shown.outputs, shown.loss.T, levels=12, colors="white", linewidths=0.6, alpha=0.6)
    axes.figure.colorbar(filled, ax=axes, label="loss", format="%.2g")
    inset = 0.03 * (high - low)
    positions = [(first, second) for first in (low, high) for second in (low, high)]
    for (first, second), value in zip(positions, shown.corners, strict=True):
        axes.text(
            first + inset if first == low else first - inset,
            second + inset if second == low else second - inset,
            f"{value:.4f}",
            ha="left" if first == low else "right",
            va="bottom" if second == low else "top",
            fontsize=14,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2},
        )
    axes.set(xlabel=r"$F_1$ (signal event)", ylabel=r"$F_2$ (background event)")
    axes.set_title(shown.error.replace("_", " "), fontsize=17)


def efficiencies(results: Results, toy: GaussianToy) -> StyledFigure:
    """ROC curves with both background efficiencies, and significance (the paper's figure 4)."""
    with STYLE.context():
        figure = new_figure(STYLE, 18.0, 7.4)
        total, true, significance = figure.subplots(1, 3)
        for selection in results.selections:
            if selection.label in SHOWN:
                color, label, dash = SHOWN[selection.label]
                _draw_selection((total, true, significance), toy, selection, color=color, dash=dash, label=label)
        for line, color, label in (
            (published_bce_line(), LINE_COLORS[1], "line of the paper's BCE"),
            (published_line(toy), LINE_COLORS[0], "line of the paper's Z loss"),
        ):
            _draw_curve((total, true, significance), toy, line.curve(toy), color=color, dash="--", label=label)
        for limit, dash in zip(results.limits, ("-.", "-"), strict=True):
            (curve,) = limit.curves[toy.name]
            _draw_curve((total, true, significance), toy, curve, color="black", dash=dash, label=limit.label)
        if toy is TOYS[0]:
            _draw_published(total, true, significance)
        total.set(xlabel="signal efficiency", ylabel="total background efficiency", yscale="log", ylim=(1e-4, 1))
        true.set(xlabel="signal efficiency", ylabel="true background efficiency", yscale="log", ylim=(1e-6, 1))
        top = 1.15 * max(peak(curve).significance for limit in results.limits for curve in limit.curves[toy.name])
        significance.set(xlabel="signal efficiency", ylabel="Z = s / √b", yscale="log", ylim=(0.8, top))
        significance.set_yticks([1, 2, 3, 5, 10, 20], labels=["1", "2", "3", "5", "10", "20"])
        for axes in (total, true, significance):
            axes.set(xlim=(0, 1))
        handles, labels = significance.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=13.5)
        figure.suptitle(toy.name, fontsize=17, y=0.985)
        figure.subplots_adjust(left=0.055, right=0.99, top=0.92, bottom=0.29, wspace=0.24)
    return figure


def _draw_selection(
    panels: Sequence[Axes], toy: GaussianToy, selection: Selection, *, color: str, dash: str, label: str
) -> None:
    grid = np.linspace(0.01, 0.99, 99)
    values = np.stack([_panel_values(toy, curve, grid) for curve in selection.curves[toy.name]])
    for axes, of_panel in zip(panels, values.swapaxes(0, 1), strict=True):
        axes.plot(grid, of_panel.mean(0), color=color, linestyle=dash, linewidth=2, label=label)
        axes.fill_between(grid, of_panel.min(0), of_panel.max(0), color=color, alpha=0.2, linewidth=0)


def _draw_curve(
    panels: Sequence[Axes], toy: GaussianToy, curve: EfficiencyCurve, *, color: str, dash: str, label: str
) -> None:
    grid = np.linspace(0.01, 0.99, 99)
    for axes, values in zip(panels, _panel_values(toy, curve, grid), strict=True):
        axes.plot(grid, values, color=color, linestyle=dash, linewidth=1.6, label=label)


def _panel_values(toy: GaussianToy, curve: EfficiencyCurve, grid: Floats) -> Floats:
    total, true = background_efficiencies(toy, curve, grid)
    enough = curve.background_yields_at(grid).sum(0) >= published.MINIMUM_BACKGROUND
    return np.stack([total, true, np.where(enough, curve.significance_at(grid), np.nan)])


def _draw_published(total: Axes, true: Axes, significance: Axes) -> None:
    for name, color, marker in (("BCE", LINE_COLORS[1], "s"), ("Z loss", LINE_COLORS[0], "o")):
        options: dict[str, Any] = {
            "color": color,
            "marker": marker,
            "linestyle": "none",
            "markersize": 8,
            "markeredgecolor": "black",
        }
        total.plot(published.ROC_EFFICIENCIES, published.TOTAL_BACKGROUND[name], **options)
        true.plot(published.ROC_EFFICIENCIES, published.TRUE_BACKGROUND[name], **options)
        value, efficiency = published.PEAK[name]
        significance.plot(
            [efficiency, *published.EFFICIENCIES],
            [value, *published.SIGNIFICANCES[name]],
            **options,
            label=f"{name}, published",
        )
