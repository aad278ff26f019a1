"""Figure of graduated schedules: what changed from stage to stage, and what it did to the loss."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from zsig_hep.learning.schedules import GraduatedStage
from zsig_hep.presentation.layout import add_legend, panels
from zsig_hep.presentation.style import DASHES, LINE_COLORS, Style, add_label

_HEIGHT = 3.4
_Quantity = tuple[str, Callable[[GraduatedStage], float]]

_GEOMETRIC: tuple[_Quantity, ...] = (
    (r"Step size $\eta$", lambda stage: stage.learning_rate),
    ("Batch size $b$", lambda stage: stage.batch_size),
    (r"Smoothing $\delta$", lambda stage: stage.delta),
)
_LOSS: _Quantity = ("Loss", lambda stage: stage.loss)


def graduated_figure(stages: Mapping[str, Sequence[GraduatedStage]], style: Style) -> Figure:
    r"""Draw step size and batch size of every stage, and beside them the smoothing degree and the loss.

    The first three axes are logarithmic, on which a schedule of equal factors is an even staircase.

    Args:
        stages: of each schedule or classifier, by its label; one without stages is left out.
        style: look and label.

    Returns:
        The figure.
    """
    drawn = {label: of_label for label, of_label in stages.items() if of_label}
    with style.context():
        figure, (left, right) = panels(style, 2, (_HEIGHT, _HEIGHT))
        for axes, quantity in zip((*left, right[0]), _GEOMETRIC, strict=True):
            _draw(axes, drawn, quantity)
            _logarithmic(axes)
        _draw(right[1], drawn, _LOSS)
        for axes in (left[1], right[1]):
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        inside = add_label(style, left[0], right[0])
        add_legend(left[0], inside=inside)
        figure.align_ylabels()
        return figure


def _draw(axes: Axes, stages: Mapping[str, Sequence[GraduatedStage]], quantity: _Quantity) -> None:
    title, value = quantity
    for number, (label, of_label) in enumerate(stages.items()):
        edges = [*(stage.first_epoch - 0.5 for stage in of_label), of_label[-1].first_epoch + of_label[-1].epochs - 0.5]
        values = np.array([value(stage) for stage in of_label])
        look = {"color": LINE_COLORS[number % len(LINE_COLORS)], "ls": DASHES[number % len(DASHES)]}
        axes.step(edges, [*values, values[-1]], where="post", lw=2, label=label, **look)
    axes.margins(y=0.1)
    axes.set_ylabel(title)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    # A constant quantity has no range of its own.
    axes.set_ylim(low / 1.3, high * 1.3)
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
