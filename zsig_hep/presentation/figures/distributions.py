"""Stacked distributions of scores and features."""

from collections.abc import Sequence
from typing import Any

import hist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsig_hep.presentation.figures.layout import GUIDE, PANEL_HEIGHT, add_legend, panels
from zsig_hep.presentation.figures.stacks import draw_stack, events_per_bin, frame_of, scale_ticks, stack_of
from zsig_hep.presentation.figures.style import Look, Style, add_label
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation

_RATIO_HEIGHT = 1.4
_SCORE_LABEL = "Classifier score"


def score_figure(evaluations: Sequence[ClassifierEvaluation], look: Look, style: Style) -> Figure:
    """Draw the score of each classifier, with stacked backgrounds and overlaid signals, in one column per classifier.

    The hatched band is the Monte-Carlo uncertainty of the background, sqrt(sum w^2). A signal below the range of the
    axis is scaled by the factor in its legend entry. Data are points with Garwood intervals, with their ratio to the
    background in a second panel. Dotted lines mark the cuts of the folds.

    Args:
        evaluations: classifiers to compare.
        look: labels and colours of the processes.
        style: style of the experiment.

    Returns:
        The figure.
    """
    with style.context():
        stacks = [stack_of(evaluation.score_histogram, look.roles) for evaluation in evaluations]
        has_data = any(stack.data is not None for stack in stacks)
        figure, columns = panels(style, len(evaluations), _heights(has_data=has_data))
        inside = add_label(style, columns[0][0], columns[-1][0], data=has_data)
        frame = frame_of(stacks, logarithmic=True)
        for column, evaluation, stack in zip(columns, evaluations, stacks, strict=True):
            draw_stack(column, stack, frame, look)
            _draw_cuts(column, evaluation)
            column[0].set_ylabel(events_per_bin(stack.edges, ""))
            column[-1].set_xlabel(_SCORE_LABEL)
            first = column is columns[0]
            add_legend(column[0], inside=inside if first else (), title=evaluation.label, ncols=2)
        _share_top([column[0] for column in columns])
        return figure


def feature_figure(histogram: hist.Hist[Any], look: Look, style: Style) -> Figure:
    """Draw an input feature, with stacked backgrounds, overlaid and scaled signals, and data with their ratio if any.

    Args:
        histogram: histogram with axes "process" and the feature, `Weight` storage.
        look: labels and colours of processes and feature.
        style: style of the experiment.

    Returns:
        The figure.
    """
    with style.context():
        stack = stack_of(histogram, look.roles)
        has_data = stack.data is not None
        figure, (column,) = panels(style, 1, _heights(has_data=has_data))
        label = look.axis_label(histogram.axes[1].name)
        draw_stack(column, stack, frame_of([stack], logarithmic=False), look)
        column[0].set_ylabel(scale_ticks(column[0]) + events_per_bin(stack.edges, label))
        column[-1].set_xlabel(label)
        add_legend(column[0], inside=add_label(style, column[0], data=has_data), ncols=2)
        return figure


def _heights(*, has_data: bool) -> tuple[float, ...]:
    return (PANEL_HEIGHT - 1.0, _RATIO_HEIGHT) if has_data else (PANEL_HEIGHT,)


def _draw_cuts(axes: Sequence[Axes], evaluation: ClassifierEvaluation) -> None:
    cuts = [cut for cut in evaluation.working_point.thresholds if cut is not None]
    for panel in axes:
        for i, cut in enumerate(cuts):
            label = "cuts of the folds" if i == 0 and panel is axes[0] else None
            panel.axvline(cut, color="black", lw=1, ls=":", gid=GUIDE, label=label, zorder=5)


def _share_top(axes: Sequence[Axes]) -> None:
    highest = max(panel.get_ylim()[1] for panel in axes)
    for panel in axes:
        panel.set_ylim(top=highest)
