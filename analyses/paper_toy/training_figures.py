"""What training does: the collapse at eps = S, and eps as the knob of the working point."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from analyses.paper_toy.experiments import TOYS, Passage, Results, published_line
from analyses.paper_toy.figures import STYLE
from analyses.paper_toy.lines import Line
from analyses.paper_toy.population import COLLAPSED_SPREAD
from analyses.paper_toy.working_points import WorkingPoints
from analyses.toys import GaussianToy
from zsig_hep.presentation.figures.style import LINE_COLORS, StyledFigure, new_figure

Panels = npt.NDArray[Any]
"""Axes of one row or column."""

KNOBS = {
    "linear, hinge": (LINE_COLORS[1], "o", "linear, hinge"),
    "linear, sigmoid": (LINE_COLORS[4], "s", "linear, sigmoid"),
    "MLP, hinge": (LINE_COLORS[0], "o", "MLP, hinge"),
    "MLP, sigmoid": (LINE_COLORS[5], "s", "MLP, sigmoid"),
}
"""Colour, marker and legend of the paths of eps."""

STARTS = (LINE_COLORS[0], LINE_COLORS[1])


def collapse(results: Results) -> StyledFigure:
    """Loss, spread of the outputs, and angle and position of the boundary against the step, for eps = S."""
    with STYLE.context():
        figure = new_figure(STYLE, 16.0, 8.4)
        panels = figure.subplots(2, 4, sharex=True)
        for row, toy in zip(panels, TOYS, strict=True):
            for found, color in zip(results.collapses, STARTS, strict=True):
                _draw_trajectories(row, toy, found, color)
            _draw_targets(row, toy, results.exact[toy.name].valley)
            row[0].set_ylabel(f"{toy.name}\nloss")
        for axes in panels[1]:
            axes.set_xlabel("step")
        handles, labels = panels[0, 2].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=13.5)
        figure.subplots_adjust(left=0.065, right=0.98, top=0.97, bottom=0.16, wspace=0.36, hspace=0.1)
    return figure


def _draw_trajectories(row: Panels, toy: GaussianToy, found: Passage, color: str) -> None:
    for seed, trajectory in enumerate(found.trajectories[toy.name]):
        alive = trajectory.spread > COLLAPSED_SPREAD
        label = found.label if seed == 0 else None
        row[0].plot(trajectory.steps, trajectory.losses(toy), color=color, linewidth=1.2)
        row[1].plot(trajectory.steps, trajectory.spread, color=color, linewidth=1.2)
        for axes, quantity in ((row[2], _angle), (row[3], _position(toy))):
            values = np.array([quantity(line) for line in trajectory.lines])
            axes.plot(trajectory.steps, np.where(alive, values, np.nan), color=color, linewidth=1.2, label=label)


def _draw_targets(row: Panels, toy: GaussianToy, valley: Line) -> None:
    for line, dash, label in (
        (published_line(toy), "--", "Z line of the paper"),
        (valley, ":", "least rise of the loss"),
    ):
        row[2].axhline(_angle(line), color="black", linestyle=dash, linewidth=1.5, label=label)
        row[3].axhline(_position(toy)(line), color="black", linestyle=dash, linewidth=1.5)
    row[0].axhline(1, color="grey", linewidth=1)
    row[1].axhspan(1e-5, COLLAPSED_SPREAD, color="grey", alpha=0.2, linewidth=0)
    row[0].set(ylim=(0.9, 3.2))
    row[1].set(yscale="log", ylim=(1e-4, 4), ylabel="spread of the outputs")
    row[2].set(ylim=(-70, 70), ylabel="angle of the boundary [°]")
    row[3].set(ylim=(0, 1), ylabel=r"signal efficiency of $F > 0$")


def _angle(line: Line) -> float:
    return float(np.degrees(line.angle))


def _position(toy: GaussianToy) -> Callable[[Line], float]:
    return lambda line: line.signal_efficiency(toy)


def eps_working_point(results: Results) -> StyledFigure:
    """Signal efficiency at the best cut and the significance there, against eps relative to the background yield."""
    with STYLE.context():
        figure = new_figure(STYLE, 11.5, 9.6)
        panels = figure.subplots(2, 2, sharex=True, sharey="row")
        for column, toy in zip(panels.T, TOYS, strict=True):
            for name, (color, marker, label) in KNOBS.items():
                _draw_path(column, results.working_points[name][toy.name], color=color, marker=marker, label=label)
            cut = toy.best_linear_cut()
            column[1].axhline(cut.significance, color="black", linestyle="-.", linewidth=1.4, label="best linear cut")
            column[0].set_title(toy.name, fontsize=16)
            column[0].set(ylim=(0, 1))
            column[1].set(yscale="log", xscale="log", xlabel=r"$\epsilon$ / background yield", xlim=(1.4, 0.0007))
            column[1].set_yticks([2, 3, 4, 6, 8, 10, 14], labels=["2", "3", "4", "6", "8", "10", "14"])
            column[1].set(ylim=(2.0, 14))
            column[1].minorticks_off()
        panels[0, 0].set_ylabel("signal efficiency")
        panels[1, 0].set_ylabel("Z at the best cut")
        handles, labels = panels[1, 0].get_legend_handles_labels()
        own = Line2D([], [], color="grey", linestyle=":", linewidth=1.5)
        collapsed = Line2D([], [], color="grey", linestyle="none", marker="o", markerfacecolor="white")
        names = [*labels, "F > 0 instead of the best cut", "outputs collapsed"]
        figure.legend([*handles, own, collapsed], names, loc="lower center", ncols=3, fontsize=13)
        figure.subplots_adjust(left=0.09, right=0.985, top=0.95, bottom=0.18, wspace=0.08, hspace=0.08)
    return figure


def _draw_path(column: Panels, points: WorkingPoints, *, color: str, marker: str, label: str) -> None:
    eps = np.array(points.relative_eps)
    alive = np.median(points.spread, axis=1) > COLLAPSED_SPREAD
    for axes, values in ((column[0], points.best_efficiency), (column[1], points.significance)):
        mean, deviation = values.mean(1), values.std(1)
        shown = np.where(alive, mean, np.nan)
        axes.errorbar(
            eps, shown, deviation, color=color, marker=marker, markersize=5, linewidth=1.8, elinewidth=1, label=label
        )
        axes.plot(eps[~alive], mean[~alive], marker, color=color, markersize=6, markerfacecolor="white")
    column[0].plot(
        eps, np.where(alive, points.own_efficiency.mean(1), np.nan), color=color, linestyle=":", linewidth=1.5
    )
