"""Where things stand in a figure: axes of fixed margins, legends that cover no data, curves thinned for drawing."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from zsig_hep.presentation.figures.style import Style, StyledFigure, new_figure

Floats = npt.NDArray[np.float64]

PANEL_WIDTH = 7.2
PANEL_HEIGHT = 5.6
LEFT, RIGHT, TOP, BOTTOM = 1.05, 0.35, 0.55, 0.85
Corner = Literal["upper right", "upper left", "lower right", "lower left"]

GUIDE = "guide"
"""Group of artists that a legend may cover: lines that lead the eye and carry no data."""


def panels(
    style: Style, columns: int = 1, heights: Sequence[float] = (PANEL_HEIGHT,), *, gap: float = 0.12
) -> tuple[StyledFigure, list[list[Axes]]]:
    """Make columns of panels that share an x axis, at fixed margins so that figures of a paper align.

    Args:
        style: look of the figure.
        columns: number of columns.
        heights: heights of the panels of a column from top to bottom, in inches.
        gap: vertical distance of the panels in inches.

    Returns:
        The figure, and its axes by column from top to bottom.
    """
    stride = LEFT + PANEL_WIDTH - 1.0 + RIGHT
    width = stride * columns
    inner = sum(heights) + gap * (len(heights) - 1)
    height = inner + TOP + BOTTOM
    figure = new_figure(style, width, height)
    table: list[list[Axes]] = []
    for column in range(columns):
        top = BOTTOM + inner
        axes: list[Axes] = []
        for panel in heights:
            top -= panel
            box = ((column * stride + LEFT) / width, top / height, (stride - LEFT - RIGHT) / width, panel / height)
            axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
            top -= gap
        for upper in axes[:-1]:
            upper.tick_params(axis="x", which="both", labelbottom=False)
        table.append(axes)
    return figure, table


def add_legend(
    axes: Axes,
    *,
    inside: Sequence[Artist] = (),
    handles: Sequence[Any] | None = None,
    locations: Sequence[Corner] = ("upper right",),
    **options: Any,
) -> None:
    """Put a legend where it covers nothing; where there is no such place, raise the upper limit of the y axis.

    Args:
        axes: drawn completely, with its scale and limits final but for the upper one of y.
        inside: other artists inside the axes, such as an experiment's label; the legend goes beside or below them,
            and data are kept away from them too.
        handles: legend handles; None takes all labelled artists.
        locations: places to try in this order; the first is the one to make room at.
        options: passed to `Axes.legend`.
    """
    taken = [artist.get_window_extent() for artist in inside]
    if taken:
        _raise_top(axes, taken)
    found = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    if not found:
        return
    legend = axes.legend(handles=found, **options)
    legend.set_alignment("left")
    legend.get_title().set_fontweight("bold")
    everything = _paths(axes, guides=True)
    for location in locations:
        box = _move(axes, legend, location, taken)
        if box.y0 >= axes.bbox.y0 and not _touched([box], everything):
            return
    _raise_top(axes, [*taken, _move(axes, legend, locations[0], taken)])


def _move(axes: Axes, legend: Legend, location: Corner, taken: Sequence[Bbox]) -> Bbox:
    """Move a legend to a corner, or below what stands there already; return its extent in pixels."""
    legend.set_loc(location)
    legend.set_bbox_to_anchor((0.0, 0.0, 1.0, 1.0), transform=axes.transAxes)
    box = legend.get_window_extent()
    if any(box.overlaps(other) for other in taken):
        lowest = axes.transAxes.inverted().transform((0.0, min(other.y0 for other in taken)))[1]
        legend.set_bbox_to_anchor((0.0, 0.0, 1.0, lowest), transform=axes.transAxes)
        box = legend.get_window_extent()
    return box


def _raise_top(axes: Axes, boxes: Sequence[Bbox], *, step: float = 0.025, most: int = 80) -> None:
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(np.asarray(axes.get_ylim()))
    for count in range(most):
        axes.set_ylim(*scale.inverted().transform(np.array([low, high + count * step * (high - low)])))
        if not _touched(boxes, _paths(axes, guides=False)):
            return


def _touched(boxes: Sequence[Bbox], paths: Sequence[tuple[Path, bool]]) -> bool:
    return any(path.intersects_bbox(box.padded(5), filled=filled) for path, filled in paths for box in boxes)


def _paths(axes: Axes, *, guides: bool) -> list[tuple[Path, bool]]:
    """Outlines of what is drawn, in pixels, and whether each is filled."""
    drawn: list[Any] = [*axes.lines, *axes.patches, *axes.collections]
    artists = [artist for artist in drawn if guides or artist.get_gid() != GUIDE]
    found: list[tuple[Path, bool]] = []
    for artist in artists:
        transform = artist.get_transform()
        paths = artist.get_paths() if hasattr(artist, "get_paths") else [artist.get_path()]
        filled = artist not in axes.lines
        found += [(_finite(transform.transform_path(path)), filled) for path in paths if len(path.vertices)]
    return found


def _finite(path: Path) -> Path:
    return path if np.isfinite(path.vertices).all() else path.cleaned(remove_nans=True)


def drawn_points(threshold: Floats, *flags: npt.NDArray[np.bool_], count: int = 1500) -> npt.NDArray[np.intp]:
    """Choose the points of a scan to draw, so that a million thresholds do not make a file of a million points.

    Args:
        threshold: ascending, shape [T].
        flags: the points on both sides of each change of these are kept, shape [T] each.
        count: points evenly spaced in threshold, and again in rank.

    Returns:
        Ascending indices, with the first and the last.

    Example:
        >>> drawn_points(np.linspace(0, 1, 101), count=3)
        array([  0,  50, 100])
    """
    if len(threshold) <= count:
        return np.arange(len(threshold))
    even = np.searchsorted(threshold, np.linspace(threshold[0], threshold[-1], count))
    by_rank = np.linspace(0, len(threshold) - 1, count).round().astype(np.intp)
    edges = [np.flatnonzero(np.diff(flag)) for flag in flags]
    return np.unique(np.concatenate([even, by_rank, *edges, *[edge + 1 for edge in edges]]))
