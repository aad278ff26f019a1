from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hist
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.container import StemContainer
from matplotlib.figure import Figure

from zsig_hep.errors import OutputError
from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.ntuples.table import EventTable
from zsig_hep.presentation import (
    Style,
    efficiency_purity_figure,
    feature_figure,
    impact_figure,
    roc_figure,
    save_figure,
    score_figure,
    significance_figure,
    training_figure,
)
from zsig_hep.presentation.figures.layout import _paths, _touched, drawn_points
from zsig_hep.presentation.figures.stacks import scale_factor
from zsig_hep.presentation.figures.style import fill_colors
from zsig_hep.selection import Impact, ImpactTable, Parameter
from zsig_hep.selection.histograms import feature_histogram
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation
from zsig_hep.statistics.significance import FigureOfMerit

Evaluations = list[ClassifierEvaluation]
LABELS = {"vbf": r"VBF $H\to\mu\mu$", "dy": r"$Z/\gamma^*\to\mu\mu$", "ttbar": r"$t\bar{t}$", "data": "Data"}
ROLES = {"vbf": "signal", "dy": "background", "ttbar": "background", "data": "data"}
PLAIN = Style("plain", "Simulation", 140.0, 13.0)


def legend_texts(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def texts(figure: Figure) -> str:
    return " | ".join(text.get_text() for axes in figure.axes for text in axes.texts)


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return np.asarray(found.get_xydata(), dtype=np.float64)


def assert_legends_clear(figure: Figure) -> None:
    figure.draw_without_rendering()
    for axes in figure.axes:
        if (legend := axes.get_legend()) is not None:
            box = legend.get_window_extent()
            assert not _touched([box.padded(-4)], _paths(axes, guides=False))
            assert not any(box.overlaps(text.get_window_extent()) for text in axes.texts if text.get_text())
            assert box.y0 >= axes.bbox.y0
            assert box.y1 <= axes.bbox.y1


def all_figures(
    evaluations: Evaluations, table: EventTable, history: TrainingHistory, style: Style
) -> dict[str, Figure]:
    return {
        "roc": roc_figure(evaluations, style),
        "significance": significance_figure(evaluations, style),
        "efficiency_purity": efficiency_purity_figure(evaluations, style),
        "score": score_figure(evaluations, LABELS, ROLES, {}, style),
        "feature": feature_figure(
            feature_histogram(table, "dimuon_mass"), LABELS, ROLES, {}, "Dimuon mass [GeV]", style
        ),
        "training": training_figure({"Z loss": history}, style),
    }


IMPACTS = ImpactTable(
    status="ok",
    rows=(
        Impact(Parameter("cross_section", "vbf"), 1.2, 0.1, -0.02, 0.01, (-0.01, -0.03), None),
        Impact(Parameter("cross_section", "ttbar", 0.2), -0.5, 0.05, 0.03, None, (None, 0.02), -0.1),
        Impact(Parameter("uncertainty", "ttbar", 0.2), -0.2, 0.02, 0.01, 0.002, (0.01, 0.01), None),
    ),
    cut=0.6,
)


@pytest.mark.parametrize("with_data", [False, True])
def test_figures_are_labelled_clear_and_leave_no_trace(
    evaluations: Evaluations,
    data_evaluations: Evaluations,
    table: EventTable,
    data_table: EventTable,
    make_history: Callable[..., TrainingHistory],
    style: Style,
    with_data: bool,
) -> None:
    before = dict(mpl.rcParams)
    events, scored = (data_table, data_evaluations) if with_data else (table, evaluations)
    figures = all_figures(scored, events, make_history(collapsed=(1,)), style)
    for name, figure in figures.items():
        assert_legends_clear(figure)
        assert "140" in texts(figure), name
        assert "13 TeV" in texts(figure), name
        assert style.experiment == "plain" or style.experiment in texts(figure), name
        shows_data = with_data and name in {"score", "feature"}
        assert ("Simulation" in texts(figure)) is not shows_data, name
        for axes in figure.axes:
            assert axes.get_ylabel(), name
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_figures_without_qualifying_thresholds(
    unqualified: Evaluations, table: EventTable, make_history: Callable[..., TrainingHistory]
) -> None:
    figures = all_figures(unqualified, table, make_history(), PLAIN)
    for figure in figures.values():
        assert_legends_clear(figure)
    assert legend_texts(figures["significance"].axes[0]).count("no cut qualifies") == 2


@pytest.mark.parametrize("moves", [True, False])
def test_impacts_are_bars_ranked_from_the_top(style: Style, moves: bool) -> None:
    rows = IMPACTS.rows if moves else tuple(replace(row, cut=None, cut_uncertainty=None) for row in IMPACTS.rows)
    figure = impact_figure(replace(IMPACTS, rows=rows), LABELS, style)
    figure.draw_without_rendering()
    left, *right = figure.axes
    assert len(right) == moves
    assert [text.get_text() for text in left.get_yticklabels()] == [
        rf"σ({LABELS['vbf']})",
        rf"σ({LABELS['ttbar']})",
        rf"uncertainty of {LABELS['ttbar']}",
    ]
    assert left.get_ylim()[0] > left.get_ylim()[1]
    expected = [[row.significance for row in rows]] + [[row.cut for row in rows]] * moves
    for axes, values in zip(figure.axes, expected, strict=True):
        bars = axes.patches
        assert [bar.get_width() for bar in bars] == values
        assert [bar.get_y() + bar.get_height() / 2 for bar in bars] == pytest.approx([0, 1, 2])
        assert len({bar.get_facecolor() for bar in bars}) == 2
        assert axes.get_xlim()[0] < min(values) < max(values) < axes.get_xlim()[1]
    (shift,) = [line for line in left.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(shift.get_xydata(), [[-0.1, 1]])
    legend = figure.legends[0].get_window_extent()
    assert legend.x1 <= figure.bbox.x1
    assert not any(legend.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    assert "140" in texts(figure)


def test_roc_draws_both_efficiencies_and_quotes_both_areas(evaluations: Evaluations) -> None:
    (axes,) = roc_figure(evaluations, PLAIN).axes
    first, second = (evaluation.roc for evaluation in evaluations)
    assert legend_texts(axes) == [
        f"Z loss, weighted: AUC {first.area:.4f}",
        f"Z loss, events: AUC {first.entry_area:.4f}",
        f"Weighted BCE, weighted: AUC {second.area:.4f}",
        f"Weighted BCE, events: AUC {second.entry_area:.4f}",
        "held-out working point",
    ]
    drawn = line(axes, f"Z loss, weighted: AUC {first.area:.4f}")
    np.testing.assert_array_equal(np.nan_to_num(drawn[:, 1]), np.maximum(first.background_efficiency, 0))
    np.testing.assert_array_equal(drawn[:, 0], first.signal_efficiency)
    events = line(axes, f"Z loss, events: AUC {first.entry_area:.4f}")
    np.testing.assert_array_equal(np.nan_to_num(events[:, 1]), first.background_entry_efficiency)
    assert axes.get_yscale() == "log"
    assert max(axes.yaxis.get_major_locator()()) <= 1


def test_significance_draws_qualifying_points_band_and_held_out_result(evaluations: Evaluations) -> None:
    (axes,) = significance_figure(evaluations, PLAIN).axes
    scan, point = evaluations[0].scan, evaluations[0].working_point
    drawn = line(axes, "Z loss")
    shown = drawn[np.isfinite(drawn[:, 1])]
    assert set(shown[:, 0]) <= set(scan.threshold[scan.qualifies])
    at = np.searchsorted(scan.threshold, shown[:, 0])
    np.testing.assert_array_equal(shown[:, 1], scan.significance[at])
    assert f"held out: {point.significance:.2f}"[:13] in legend_texts(axes)[1]
    band = axes.collections[0].get_paths()[0].vertices
    upper = (scan.significance + scan.significance_uncertainty)[at].max()
    assert band[np.isfinite(band[:, 1]), 1].max() == pytest.approx(upper)
    (container,) = [c for c in axes.containers if c.get_label() == legend_texts(axes)[1]]
    assert not isinstance(container, StemContainer)
    assert container.lines[0].get_ydata()[0] == point.significance
    assert container.lines[0].get_xdata()[0] == np.median(point.thresholds)


@pytest.mark.parametrize("figure_of_merit", list(FigureOfMerit))
def test_every_figure_of_merit_has_a_label(evaluations: Evaluations, figure_of_merit: FigureOfMerit) -> None:
    (axes,) = significance_figure(evaluations, PLAIN, figure_of_merit=figure_of_merit).axes
    assert axes.get_ylabel()


def test_efficiency_and_purity_are_those_of_the_scan(evaluations: Evaluations) -> None:
    upper, lower = efficiency_purity_figure(evaluations, PLAIN).axes
    scan = evaluations[1].scan
    for axes, values in ((upper, scan.signal_efficiency), (lower, scan.purity)):
        drawn = line(axes, "Weighted BCE")
        shown = drawn[np.isfinite(drawn[:, 1])]
        np.testing.assert_array_equal(shown[:, 1], values[np.searchsorted(scan.threshold, shown[:, 0])])


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
    main, ratio = feature_figure(histogram, LABELS, ROLES, {"dy": "#123456"}, "Mass [GeV]", PLAIN).axes
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
        (axes,) = feature_figure(histogram, LABELS, ROLES, {}, "", PLAIN).axes
        stairs = {patch.get_label(): patch for patch in axes.patches}
        colors.append(stairs[LABELS["dy"]].get_facecolor())
    assert colors[0] == colors[1]


@pytest.mark.parametrize(
    ("peak", "reference", "logarithmic", "factor"),
    [(0.0, 10.0, False, 1.0), (3.0, 10.0, False, 1.0), (1.0, 10.0, False, 5.0), (1e-6, 1.0, False, 5e5), (2.0, 0.1, True, 1.0),
     (0.01, 0.1, True, 200.0)],
)  # fmt: skip
def testscale_factor(peak: float, reference: float, logarithmic: bool, factor: float) -> None:
    assert scale_factor(peak, reference, logarithmic=logarithmic) == pytest.approx(factor)


def test_long_tick_labels_and_large_factors_become_powers_of_ten() -> None:
    histogram = one_bin_histogram({"vbf": (1.0, 1), "dy": (1e5, 10), "ttbar": (1e5, 1)})
    figure = feature_figure(histogram, LABELS, ROLES, {}, "Mass [GeV]", PLAIN)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert axes.get_ylabel() == "$10^{6}$ Events / 10 GeV"
    assert [tick.get_text() for tick in axes.yaxis.get_majorticklabels()][:3] == ["0", "0.2", "0.4"]
    assert LABELS["vbf"] + r" (×$5\times10^{5}$)" in legend_texts(axes)


def test_score_panels_share_axis_limits_and_mark_cuts(data_evaluations: Evaluations) -> None:
    figure = score_figure(data_evaluations, LABELS, ROLES, {}, PLAIN)
    first, first_ratio, second, _ = figure.axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_legend().get_title().get_text() == "Z loss"
    assert second.get_legend().get_title().get_text() == "Weighted BCE"
    assert first_ratio.get_ylabel() == "Data / MC"
    cuts = {line.get_xdata()[0] for line in first.lines if line.get_gid() == "guide"}
    assert cuts == set(data_evaluations[0].working_point.thresholds)


def test_training_marks_kept_epochs_and_collapsed_members(make_history: Callable[..., TrainingHistory]) -> None:
    history = make_history(collapsed=(1,))
    histories = {"Z loss": history, "Weighted BCE": make_history(phases=("cross entropy",))}
    warm, main, baseline = training_figure(histories, PLAIN).axes
    assert warm.get_legend().get_title().get_text() == "Z loss: warm start"
    assert "collapsed (1 of 4)" in legend_texts(main)
    assert "kept the start" in legend_texts(main)
    marks = [
        (line.get_marker(), line.get_xdata()[0], line.get_ydata()[0])
        for line in main.lines
        if len(line.get_xdata()) == 1
    ]
    assert marks[0] == ("o", 12, history.validation_loss[11, 0])
    assert [marker for marker, *_ in marks] == ["o", "X", "<", "o"]
    assert "collapsed (1 of 4)" not in legend_texts(baseline)
    np.testing.assert_array_equal(warm.lines[1].get_ydata(), history.validation_loss[:6, 0])
    np.testing.assert_array_equal(main.lines[0].get_ydata(), history.training_loss[6:, 0])


def test_drawn_points_keep_ends_and_changes() -> None:
    threshold = np.sort(np.random.default_rng(1).random(100_000))
    flag = (threshold > 0.4) & (threshold < 0.6)
    points = drawn_points(threshold, flag, count=200)
    assert points[0] == 0
    assert points[-1] == 99_999
    assert len(points) < 500
    first = int(np.argmax(flag))
    assert {first - 1, first} <= set(points.tolist())


def test_fill_colors_are_distinct_and_respect_choices() -> None:
    colors = fill_colors(["a", "b", "c"], {"b": "#ffa90e", "c": None})
    assert colors["b"] == "#ffa90e"
    assert len(set(colors.values())) == 3


def test_save_figure_writes_the_same_bytes_again(evaluations: Evaluations, tmp_path: Path) -> None:
    figure = roc_figure(evaluations, PLAIN)
    pdf, png = save_figure(figure, tmp_path / "one", "roc", dots_per_inch=50)
    again = save_figure(roc_figure(evaluations, PLAIN), tmp_path / "two", "roc", dots_per_inch=50)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert [path.read_bytes() for path in again] == [pdf.read_bytes(), png.read_bytes()]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["roc.pdf", "roc.png"]


def test_saved_figure_keeps_its_style_whatever_the_settings_at_that_time(
    evaluations: Evaluations, tmp_path: Path
) -> None:
    figure = roc_figure(evaluations, PLAIN)
    expected = save_figure(figure, tmp_path, "plain", dots_per_inch=50)[1].read_bytes()
    with mpl.rc_context({"font.family": "serif", "mathtext.fontset": "cm", "xtick.direction": "out"}):
        found = save_figure(roc_figure(evaluations, PLAIN), tmp_path, "other", dots_per_inch=50)[1].read_bytes()
    assert found == expected


def test_save_figure_in_an_impossible_folder(evaluations: Evaluations, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_figure(roc_figure(evaluations, PLAIN), tmp_path / "file", "roc")


def test_notebooks_show_a_png(evaluations: Evaluations) -> None:
    assert roc_figure(evaluations, PLAIN)._repr_png_().startswith(b"\x89PNG")
