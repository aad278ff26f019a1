"""Layout of figures: panels with fixed margins, legends that cover no data, and thinned curves."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from zsig_hep.presentation.figures.style import Style, StyledFigure, new_figure

Floats = npt.NDArray[np.float64]

PANEL_WIDTH = 7.2
PANEL_HEIGHT = 5.6
LEFT, RIGHT, TOP, BOTTOM = 1.05, 0.35, 0.55, 0.85
Corner = Literal["upper right", "upper left", "lower right", "lower left"]

TALLEST_FAINT = 1.5
"""Height of a curve where requirements are not met, as a multiple of the highest value that meets them."""

GUIDE = "guide"
"""Group id of artists that a legend may cover: lines that show no data."""


def panels(
    style: Style, columns: int = 1, heights: Sequence[float] = (PANEL_HEIGHT,), *, gap: float = 0.12
) -> tuple[StyledFigure, list[list[Axes]]]:
    """Make columns of panels that share an x axis, with fixed margins so that figures of a paper align.

    Args:
        style: style of the experiment.
        columns: number of columns.
        heights: heights of the panels of a column from top to bottom, in inches.
        gap: vertical distance between panels, in inches.

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
    """Put a legend in a corner where it covers nothing; if there is none, raise the upper limit of the y axis.

    Args:
        axes: axes with everything drawn; scales and limits must be final except for the upper limit of y.
        inside: other artists inside the axes, such as the label of the experiment; neither the legend nor data may
            overlap them.
        handles: legend handles; by default those of all labelled artists.
        locations: corners to try, in this order; if none is free, room is made at the first.
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
    """Move a legend to a corner, or below what is already there; return its extent in pixels."""
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
    """Outlines of all artists in pixels, and whether each is filled."""
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


def draw_curve(
    axes: Axes, position: Floats, value: Floats, spread: Floats, qualifies: npt.NDArray[np.bool_], highest: float,
    *, color: str, **look: Any,
) -> Line2D:  # fmt: skip
    """Draw a curve with its uncertainty band where requirements are met, and a faint line where they are not.

    Args:
        axes: the axes.
        position: abscissa of each point, shape [T].
        value: ordinate of each point, shape [T]; points that are not finite are not drawn.
        spread: half of the height of the band, shape [T].
        qualifies: whether each point meets the requirements, shape [T].
        highest: highest value that meets them; the faint line ends at `TALLEST_FAINT` times this value.
        color: colour of line and band.
        look: other properties of the line.

    Returns:
        The line of the points that meet the requirements.
    """
    faint = np.where(np.isfinite(value) & (value < TALLEST_FAINT * highest), value, np.nan)
    chosen = np.where(qualifies & np.isfinite(value), value, np.nan)
    axes.plot(position, faint, color=color, ls="-", lw=0.9, alpha=0.4)
    axes.fill_between(position, chosen - spread, chosen + spread, color=color, alpha=0.22, lw=0)
    (line,) = axes.plot(position, chosen, color=color, **look)
    return line


def drawn_points(threshold: Floats, *flags: npt.NDArray[np.bool_], count: int = 1500) -> npt.NDArray[np.intp]:
    """Choose the points of a scan to draw, so that scans of many thresholds do not make large files.

    Args:
        threshold: ascending thresholds, shape [T].
        flags: booleans of shape [T]; points on both sides of each change are kept.
        count: number of points evenly spaced in threshold, and again in rank.

    Returns:
        Ascending indices, including the first and the last.

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
