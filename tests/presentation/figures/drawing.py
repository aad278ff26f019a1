"""What tests of figures look at."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from zsig_hep.presentation import Look, Style
from zsig_hep.presentation.figures.layout import GUIDE

LABELS = {"vbf": r"VBF $H\to\mu\mu$", "dy": r"$Z/\gamma^*\to\mu\mu$", "ttbar": r"$t\bar{t}$", "data": "Data"}
LOOK = Look(
    {"vbf": "signal", "dy": "background", "ttbar": "background", "data": "data"},
    LABELS,
    axis_labels={"dimuon_mass": "Dimuon mass [GeV]", "x": "Mass [GeV]"},
)
PLAIN = Style("plain", "Simulation", 140.0, 13.0)
# Of the box of a legend, whose frame may touch what it stands beside.
_BORDER = 4


def legend_texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def texts(figure: Figure) -> str:
    return " | ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(found.get_xydata(), dtype=np.float64)


def pixels(figure: Figure) -> np.ndarray:
    """What is drawn, from 0 for black to 1 for white, with the origin in the lower left corner."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    buffer.seek(0)
    return imread(buffer)[::-1, :, :3].min(axis=-1)


def assert_legends_clear(figure: Figure) -> None:
    """Every legend stands inside its panel, on nothing but paper and guide lines."""
    figure.draw_without_rendering()
    legends = [(axes, axes.get_legend()) for axes in figure.axes if axes.get_legend() is not None]
    boxes = [legend.get_window_extent() for _, legend in legends]
    hidden = [legend for _, legend in legends]
    hidden += [artist for axes in figure.axes for artist in axes.get_children() if artist.get_gid() == GUIDE]
    for artist in hidden:
        artist.set_visible(False)
    drawn = pixels(figure)
    for artist in hidden:
        artist.set_visible(True)
    for (axes, _), box in zip(legends, boxes, strict=True):
        rows = slice(int(box.y0) + _BORDER, int(box.y1) - _BORDER)
        columns = slice(int(box.x0) + _BORDER, int(box.x1) - _BORDER)
        assert drawn[rows, columns].min() > 0.99
        assert box.y0 >= axes.bbox.y0
        assert box.y1 <= axes.bbox.y1
