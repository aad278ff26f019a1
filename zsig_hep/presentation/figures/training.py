"""Figures of the training: losses of every network of an ensemble, and the stages of graduated schedules."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage
from zsig_hep.presentation.figures.layout import BOTTOM, LEFT, RIGHT, TOP, add_legend, panels
from zsig_hep.presentation.figures.style import DASHES, LINE_COLORS, Style, add_label, new_figure

_ROW_HEIGHT = 3.7
_ROW_GAP = 0.95
_PHASE_GAP = 1.05
_WIDTH = 11.5
# Narrower panels than this cannot hold their legend.
_PANEL_WIDTH = 4.6


def training_figure(histories: Mapping[str, TrainingHistory], style: Style) -> Figure:
    """Draw training and validation loss of every network or forest against the epoch or round: a row per classifier, a panel per phase.

    Colours show the test fold, and a dot marks the epoch whose parameters were kept. Networks that collapsed are grey
    with a cross. Phases have different losses and therefore separate axes.

    Args:
        histories: training histories by label of the classifier.
        style: style of the experiment.

    Returns:
        The figure.
    """
    with style.context():
        rows = len(histories)
        height = TOP + BOTTOM + rows * _ROW_HEIGHT + (rows - 1) * _ROW_GAP
        panels = max(len(list(_phases(history))) for history in histories.values())
        width = max(_WIDTH, LEFT + RIGHT + panels * _PANEL_WIDTH + (panels - 1) * _PHASE_GAP)
        figure = new_figure(style, width, height)
        for row, (label, history) in enumerate(histories.items()):
            bottom = height - TOP - _ROW_HEIGHT - row * (_ROW_HEIGHT + _ROW_GAP)
            phases = list(_phases(history))
            axes = [figure.add_axes(box) for box in _boxes(phases, bottom, (width, height))]
            inside = add_label(style, axes[0], axes[-1]) if row == 0 else []
            for number, (panel, epochs) in enumerate(zip(axes, phases, strict=True)):
                last = number == len(phases) - 1
                _draw_phase(panel, history, epochs, last=last)
                phase = history.phase[epochs.start]
                title = label if phase == label or len(phases) == 1 else f"{label}: {phase}"
                handles = _handles(history) if last else _fold_handles(history)
                add_legend(panel, inside=inside if number == 0 else (), handles=handles, title=title, ncols=2)
        return figure


def _phases(history: TrainingHistory) -> Iterator[range]:
    names = history.phase
    starts = [i for i in range(len(names)) if i == 0 or names[i] != names[i - 1]]
    yield from (range(first, last) for first, last in pairwise([*starts, len(names)]))


def _boxes(
    phases: list[range], bottom: float, size: tuple[float, float]
) -> Iterator[tuple[float, float, float, float]]:
    total, height = size
    width = (total - LEFT - RIGHT - _PHASE_GAP * (len(phases) - 1)) / len(phases)
    for number in range(len(phases)):
        left = LEFT + number * (width + _PHASE_GAP)
        yield left / total, bottom / height, width / total, _ROW_HEIGHT / height


def _draw_phase(axes: Axes, history: TrainingHistory, epochs: range, *, last: bool) -> None:
    number = np.asarray(history.epochs[epochs.start : epochs.stop])
    for member in range(len(history.member_fold)):
        collapsed = bool(history.collapsed[member])
        color = "0.6" if collapsed else _fold_color(history, member)
        training = history.training_loss[epochs.start : epochs.stop, member]
        validation = history.validation_loss[epochs.start : epochs.stop, member]
        axes.plot(number, training, color=color, lw=1.0, ls=(0, (1, 1)), alpha=0.8)
        axes.plot(number, validation, color=color, lw=1.4, alpha=0.85)
        if last:
            _mark_best(axes, number, validation, int(history.best_epoch[member]), color, collapsed=collapsed)
    axes.set_xlim(number[0] - 0.5, number[-1] + 0.5)
    axes.set_xlabel(history.step.capitalize())
    axes.set_ylabel("Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _mark_best(axes: Axes, number: Any, validation: Any, best: int, color: str, *, collapsed: bool) -> None:
    marker = "X" if collapsed else ("o" if best >= 0 else "<")
    x = number[best] if best >= 0 else number[0] - 0.25
    axes.plot([x], [validation[max(best, 0)]], marker, color=color, ms=7, mec="white", mew=0.8, zorder=5)


def _fold_color(history: TrainingHistory, member: int) -> str:
    return LINE_COLORS[int(history.member_fold[member]) % len(LINE_COLORS)]


def _fold_handles(history: TrainingHistory) -> list[Line2D]:
    folds = sorted({int(fold) for fold in history.member_fold})
    if len(folds) > len(LINE_COLORS):
        return []
    return [Line2D([], [], color=LINE_COLORS[fold % len(LINE_COLORS)], lw=2, label=f"fold {fold}") for fold in folds]


def _handles(history: TrainingHistory) -> list[Line2D]:
    handles = [
        Line2D([], [], color="0.2", lw=1.4, label="validation"),
        Line2D([], [], color="0.2", lw=1.0, ls=(0, (1, 1)), label="training"),
    ]
    kept = history.best_epoch[~history.collapsed]
    if (kept >= 0).any():
        handles.append(_mark("o", "0.2", f"kept {history.step}"))
    if (kept < 0).any():
        handles.append(_mark("<", "0.2", "kept the start"))
    if count := int(history.collapsed.sum()):
        handles.append(_mark("X", "0.6", f"collapsed ({count} of {len(history.collapsed)})"))
    return handles


def _mark(marker: str, color: str, label: str) -> Line2D:
    return Line2D([], [], color=color, ls="none", marker=marker, ms=8, mec="white", label=label)


_HEIGHT = 3.4
_Quantity = tuple[str, Callable[[GraduatedStage], float]]

_GEOMETRIC: tuple[_Quantity, ...] = (
    (r"Step size $\eta$", lambda stage: stage.learning_rate),
    ("Batch size $b$", lambda stage: stage.batch_size),
    (r"Smoothing $\delta$", lambda stage: stage.delta),
)
_LOSS: _Quantity = ("Loss", lambda stage: stage.loss)


def graduated_figure(stages: Mapping[str, Sequence[GraduatedStage]], style: Style) -> Figure:
    """Draw step size, batch size, degree of smoothing and loss of every stage of graduated schedules.

    The axes are logarithmic except for that of the loss, so that a schedule of equal factors has steps of equal height.

    Args:
        stages: stages of each schedule or classifier, by its label; one without stages is left out.
        style: style of the experiment.

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
