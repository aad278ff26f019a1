"""Figures that compare classifiers: ROC curves, and significance, efficiency and purity against the threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter

from zsig_hep.presentation.figures.layout import (
    GUIDE,
    TALLEST_FAINT,
    Corner,
    Floats,
    add_legend,
    draw_curve,
    drawn_points,
    panels,
)
from zsig_hep.presentation.figures.style import DASHES, LINE_COLORS, Style, add_label
from zsig_hep.presentation.rounding import with_uncertainty
from zsig_hep.presentation.wording import figure_of_merit_label, figure_of_merit_name
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation

_MARKERS = ("o", "s", "D", "^")
_THRESHOLD_LABEL = "Threshold on the classifier score"
_COMBINED = {"sum": "", "mean": "Mean over signals: ", "minimum": "Smallest over signals: "}


def roc_figure(evaluations: Sequence[ClassifierEvaluation], style: Style) -> Figure:
    """Draw background efficiency against signal efficiency on a logarithmic axis.

    There are two curves per classifier: the fraction of the background yield, which includes cross sections, and the
    fraction of the simulated background events. A marker is at the held-out working point.

    Args:
        evaluations: classifiers to compare.
        style: style of the experiment.

    Returns:
        The figure, which `save_figure` writes and a notebook shows.
    """
    with style.context():
        figure, ((axes,),) = panels(style)
        axes.set_yscale("log")
        handles: list[Line2D] = []
        for evaluation, color, _, marker in _looks(evaluations):
            handles += _draw_roc(axes, evaluation, color, marker)
        axes.set_xlim(0, 1)
        axes.set_ylim(_lowest_efficiency(evaluations), 1.0)
        axes.set_xlabel("Signal efficiency")
        axes.set_ylabel("Background efficiency")
        if any(evaluation.working_point.status == "ok" for evaluation in evaluations):
            handles.append(_proxy("0.3", "none", marker="o", label="held-out working point"))
        add_legend(axes, inside=add_label(style, axes), handles=handles, locations=("upper left", "lower right"))
        _hide_ticks_above_one(axes)
        return figure


def _hide_ticks_above_one(axes: Axes) -> None:
    decades = 10.0 ** np.arange(-12, 1)
    axes.yaxis.set_major_locator(FixedLocator(decades.tolist()))
    axes.yaxis.set_minor_locator(FixedLocator(np.outer(decades[:-1], np.arange(2, 10)).ravel().tolist()))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw_roc(axes: Axes, evaluation: ClassifierEvaluation, color: str, marker: str) -> list[Line2D]:
    roc = evaluation.roc
    order = np.arange(len(roc.signal_efficiency), dtype=np.float64)
    points = drawn_points(order, count=3000)
    signal = roc.signal_efficiency[points]
    curves = (
        (roc.background_efficiency, "-", f"{evaluation.label}, weighted: AUC {roc.area:.4f}"),
        (roc.background_entry_efficiency, (0, (2, 1.2)), f"{evaluation.label}, events: AUC {roc.entry_area:.4f}"),
    )
    handles = [
        axes.plot(signal, np.where(curve[points] > 0, curve[points], np.nan), color=color, ls=line, lw=2, label=label)[
            0
        ]
        for curve, line, label in curves
    ]
    chosen = evaluation.working_point
    if chosen.signal_efficiency is not None and chosen.background_efficiency is not None:
        x, y = chosen.signal_efficiency, chosen.background_efficiency
        axes.plot([x], [y], marker, color=color, ms=8, mec="white", zorder=5)
    return handles


def _lowest_efficiency(evaluations: Sequence[ClassifierEvaluation]) -> float:
    lowest = 0.1
    for evaluation in evaluations:
        roc = evaluation.roc
        for curve in (roc.background_efficiency, roc.background_entry_efficiency):
            shown = curve[(roc.signal_efficiency >= 0.02) & (curve > 0)]
            lowest = min(lowest, float(shown.min()) if shown.size else lowest)
    return max(0.7 * lowest, 1e-7)


def significance_figure(evaluations: Sequence[ClassifierEvaluation], style: Style) -> Figure:
    """Draw the significance against the threshold with its uncertainty from the finite simulation, and the chosen cuts.

    Where thresholds do not meet the requirements, the curve is faint and ends at 1.5 times the highest significance
    that meets them, since there it follows single simulated events. A marker shows the held-out result: its horizontal
    bar is the range of the cuts of the folds, its vertical bar the error of Z. The axis is that of the
    figure of merit of the scans; if they have several, each curve has the name of its own.

    Args:
        evaluations: classifiers to compare.
        style: style of the experiment.

    Returns:
        The figure.
    """
    objectives = [each.scan.objective for each in evaluations]
    varied = any(each.scan.common_uncertainty is not None for each in evaluations)
    names = [_COMBINED[each.signals] + figure_of_merit_name(each, variations=varied) for each in objectives]
    axis_label = _COMBINED[objectives[0].signals] + figure_of_merit_label(objectives[0], variations=varied)
    if len(set(names)) > 1:
        axis_label = "Figure of merit"
        evaluations = [
            replace(each, label=f"{each.label}, {name}") for each, name in zip(evaluations, names, strict=True)
        ]
    with style.context():
        figure, ((axes,),) = panels(style)
        highest = _highest_significance(evaluations)
        handles: list[Any] = []
        for evaluation, color, dash, marker in _looks(evaluations):
            handles.append(_draw_significance(axes, evaluation, color, dash, highest))
            handles.append(_draw_working_point(axes, evaluation, color, marker))
        handles.append(_proxy("0.6", "-", label="requirements not met", width=1.0))
        _threshold_axis(axes, evaluations)
        axes.set_ylim(0, 1.05 * highest)
        axes.set_ylabel(axis_label)
        add_legend(axes, inside=add_label(style, axes), handles=handles, locations=("upper left", "upper right"))
        return figure


def _highest_significance(evaluations: Sequence[ClassifierEvaluation]) -> float:
    highest = 0.0
    for evaluation in evaluations:
        scan, chosen = evaluation.scan, evaluation.working_point
        upper = (scan.significance + scan.significance_uncertainty)[scan.qualifies]
        upper = np.append(upper, (chosen.significance or 0.0) + (chosen.significance_uncertainty or 0.0))
        highest = max(highest, float(upper[np.isfinite(upper)].max(initial=0.0)))
    if highest > 0:
        return highest
    finite = [e.scan.significance[np.isfinite(e.scan.significance)] for e in evaluations]
    return max((float(values.max(initial=0.0)) for values in finite), default=0.0) or 1.0


def _draw_significance(axes: Axes, evaluation: ClassifierEvaluation, color: str, dash: Any, highest: float) -> Line2D:
    scan = evaluation.scan
    points = drawn_points(scan.threshold, scan.qualifies)
    threshold, value, spread = (
        array[points] for array in (scan.threshold, scan.significance, scan.significance_uncertainty)
    )
    look: dict[str, Any] = {"color": color, "ls": dash, "lw": 2.2, "label": evaluation.label, "zorder": 3}
    return draw_curve(axes, threshold, value, spread, scan.qualifies[points], highest, **look)


def _draw_working_point(axes: Axes, evaluation: ClassifierEvaluation, color: str, marker: str) -> Any:
    chosen = evaluation.working_point
    cuts = [cut for cut in chosen.thresholds if cut is not None]
    if chosen.status != "ok" or chosen.significance is None or not cuts:
        return _proxy("none", "none", label="no cut qualifies")
    middle = float(np.median(cuts))
    error = chosen.significance_uncertainty or 0.0
    label = f"held out: {with_uncertainty(chosen.significance, error)}"
    axes.vlines(cuts, 0, chosen.significance, color=color, lw=1, ls=":", gid=GUIDE)
    spread = [[middle - min(cuts)], [max(cuts) - middle]]
    look: dict[str, Any] = {"color": color, "ms": 8, "mec": "white", "elinewidth": 1.6, "capsize": 3, "zorder": 6}
    return axes.errorbar([middle], [chosen.significance], yerr=[error], xerr=spread, fmt=marker, label=label, **look)


def efficiency_purity_figure(evaluations: Sequence[ClassifierEvaluation], style: Style) -> Figure:
    """Draw signal efficiency, and below it purity s/(s+b), against the threshold.

    Curves are faint where thresholds do not meet the requirements; dotted lines mark the cuts of the folds.

    Args:
        evaluations: classifiers to compare.
        style: style of the experiment.

    Returns:
        The figure.
    """
    with style.context():
        figure, ((upper, lower),) = panels(style, heights=(3.1, 3.1), gap=0.2)
        purest = _highest_purity(evaluations)
        for evaluation, color, dash, _ in _looks(evaluations):
            scan = evaluation.scan
            _draw_qualified(upper, evaluation, scan.signal_efficiency, color, dash, 2.0)
            _draw_qualified(lower, evaluation, scan.purity, color, dash, TALLEST_FAINT * purest)
            for axes in (upper, lower):
                _draw_cuts(axes, evaluation, color)
        _threshold_axis(lower, evaluations)
        upper.set_ylim(0, 1.05)
        lower.set_ylim(0, 1.1 * purest)
        upper.set_ylabel("Signal efficiency")
        lower.set_ylabel(r"Purity $s/(s+b)$")
        extra = [
            _proxy("0.6", "-", label="requirements not met", width=1.0),
            _proxy("0.3", ":", label="cuts of the folds", width=1.0),
        ]
        handles = [*upper.get_legend_handles_labels()[0], *extra]
        corners: tuple[Corner, ...] = ("upper right", "lower left", "lower right")
        add_legend(upper, inside=add_label(style, upper), handles=handles, locations=corners)
        return figure


def _highest_purity(evaluations: Sequence[ClassifierEvaluation]) -> float:
    highest = 0.0
    for evaluation in evaluations:
        purity = evaluation.scan.purity
        chosen = purity[evaluation.scan.qualifies & np.isfinite(purity)]
        highest = max(highest, float(chosen.max(initial=0.0)))
    return highest or 1.0


def _draw_qualified(
    axes: Axes, evaluation: ClassifierEvaluation, values: Floats, color: str, dash: Any, ceiling: float
) -> None:
    scan = evaluation.scan
    points = drawn_points(scan.threshold, scan.qualifies)
    threshold, shown = scan.threshold[points], values[points]
    axes.plot(threshold, np.where(shown < ceiling, shown, np.nan), color=color, lw=0.9, alpha=0.4)
    qualified = np.where(scan.qualifies[points], shown, np.nan)
    axes.plot(threshold, qualified, color=color, ls=dash, lw=2.2, label=evaluation.label)


def _draw_cuts(axes: Axes, evaluation: ClassifierEvaluation, color: str) -> None:
    for cut in evaluation.working_point.thresholds:
        if cut is not None:
            axes.axvline(cut, color=color, lw=1, ls=":", gid=GUIDE)


def _threshold_axis(axes: Axes, evaluations: Sequence[ClassifierEvaluation]) -> None:
    lowest = min(float(evaluation.scan.threshold[0]) for evaluation in evaluations)
    highest = max(float(evaluation.scan.threshold[-1]) for evaluation in evaluations)
    if lowest >= 0 and highest <= 1:
        lowest, highest = 0.0, 1.0
    axes.set_xlim(lowest, highest if highest > lowest else lowest + 1.0)
    axes.set_xlabel(_THRESHOLD_LABEL)


def _looks(evaluations: Sequence[ClassifierEvaluation]) -> Iterator[tuple[ClassifierEvaluation, str, Any, str]]:
    for i, evaluation in enumerate(evaluations):
        yield (
            evaluation,
            LINE_COLORS[i % len(LINE_COLORS)],
            DASHES[i % len(DASHES)],
            _MARKERS[i % len(_MARKERS)],
        )


def _proxy(color: str, line: Any, *, label: str, marker: str = "", width: float = 2.0) -> Line2D:
    return Line2D([], [], color=color, ls=line, marker=marker, lw=width, ms=8, mec="white", label=label)
