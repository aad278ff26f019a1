"""Stacked distributions of scores and features."""

from dataclasses import replace

import hist
import matplotlib as mpl
import numpy as np
import pytest

from tests.presentation.conftest import Evaluations
from tests.presentation.figures.drawing import LABELS, LOOK, PLAIN, legend_texts
from zsig_hep.presentation import (
    feature_figure,
    score_figure,
)


def one_bin_histogram(contents: dict[str, tuple[float, int]]) -> hist.Hist:
    histogram = hist.Hist(
        hist.axis.StrCategory(list(contents), name="process"),
        hist.axis.Variable([0.0, 10.0, 20.0], name="x"),
        storage=hist.storage.Weight(),
    )
    for name, (weight, count) in contents.items():
        histogram.fill(name, np.full(count, 5.0), weight=weight)
    return histogram


def test_feature_stacks_backgrounds_with_their_uncertainty_and_scales_the_signal() -> None:
    histogram = one_bin_histogram({"vbf": (0.01, 50), "dy": (2.0, 100), "ttbar": (1.0, 50), "data": (1.0, 275)})
    main, ratio = feature_figure(histogram, replace(LOOK, colors={"dy": "#123456"}), PLAIN).axes
    stairs = {patch.get_label(): patch for patch in main.patches}
    assert main.get_ylabel() == "Events / 10 GeV"
    assert stairs[LABELS["ttbar"]].get_data().values[0] == 50
    assert stairs[LABELS["dy"]].get_data().values[0] == 250
    assert mpl.colors.to_hex(stairs[LABELS["dy"]].get_facecolor()) == "#123456"
    spread = np.sqrt(100 * 4 + 50)
    band = stairs["MC stat. unc."].get_data()
    assert band.values[0] == pytest.approx(250 + spread)
    assert band.baseline[0] == pytest.approx(250 - spread)
    assert stairs[LABELS["vbf"] + " (×200)"].get_data().values[0] == pytest.approx(100)
    assert ratio.containers[0].lines[0].get_ydata()[0] == pytest.approx(1.1)
    ratio_band = ratio.patches[0].get_data()
    assert ratio_band.values[0] == pytest.approx(1 + spread / 250)


def test_colours_of_processes_do_not_depend_on_the_order_in_the_stack() -> None:
    few = one_bin_histogram({"vbf": (1.0, 1), "dy": (1.0, 1), "ttbar": (1.0, 9)})
    many = one_bin_histogram({"vbf": (1.0, 1), "dy": (1.0, 9), "ttbar": (1.0, 1)})
    colors = []
    for histogram in (few, many):
        (axes,) = feature_figure(histogram, LOOK, PLAIN).axes
        stairs = {patch.get_label(): patch for patch in axes.patches}
        colors.append(stairs[LABELS["dy"]].get_facecolor())
    assert colors[0] == colors[1]


def test_long_tick_labels_and_large_factors_become_powers_of_ten() -> None:
    histogram = one_bin_histogram({"vbf": (1.0, 1), "dy": (1e5, 10), "ttbar": (1e5, 1)})
    figure = feature_figure(histogram, LOOK, PLAIN)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert axes.get_ylabel() == "$10^{6}$ Events / 10 GeV"
    assert [tick.get_text() for tick in axes.yaxis.get_majorticklabels()][:3] == ["0", "0.2", "0.4"]
    assert LABELS["vbf"] + r" (×$5\times10^{5}$)" in legend_texts(axes)


def test_score_panels_share_axis_limits_and_mark_cuts(data_evaluations: Evaluations) -> None:
    figure = score_figure(data_evaluations, LOOK, PLAIN)
    first, first_ratio, second, _ = figure.axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_legend().get_title().get_text() == "Z loss"
    assert second.get_legend().get_title().get_text() == "Weighted BCE"
    assert first_ratio.get_ylabel() == "Data / MC"
    cuts = {line.get_xdata()[0] for line in first.lines if line.get_gid() == "guide"}
    assert cuts == set(data_evaluations[0].working_point.thresholds)
