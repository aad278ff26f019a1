import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.presentation.figures.drawing import LOOK, PLAIN, assert_legends_clear, legend_texts, texts
from zsig_hep.ntuples.table import EventTable
from zsig_hep.presentation import Style, cut_in_words, cutflow_figure, n_minus_one_figure
from zsig_hep.selection import (
    Cut,
    CutResult,
    CutSettings,
    NMinusOne,
    WorkingPointSettings,
    feature_histogram,
    optimise_cuts,
)
from zsig_hep.statistics import FigureOfMerit, Objective

CUTS = CutSettings(
    variables={"dimuon_mass": {"side": "window", "step": 0.5}, "logit": "above"}, starts=1, kicks=0, sensitivities=False
)  # fmt: skip


@pytest.fixture(scope="module")
def result(data_table: EventTable) -> CutResult:
    return optimise_cuts(data_table, CUTS, WorkingPointSettings(), np.random.default_rng(0))


def draw(found: NMinusOne, style: Style = PLAIN) -> Figure:
    return n_minus_one_figure(found, LOOK, style)


def shaded(axes: Axes) -> list[tuple[float, float]]:
    """Extents of the grey areas."""
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches if hasattr(patch, "get_x")]


def edges(axes: Axes) -> list[float]:
    """Where vertical lines stand."""
    (lines,) = [each for each in axes.collections if hasattr(each, "get_segments")]
    return [float(segment[0, 0]) for segment in lines.get_segments()]


def test_both_edges_of_a_window_are_drawn_and_what_they_reject_is_shaded(result: CutResult, style: Style) -> None:
    found = result.n_minus_one["dimuon_mass"]
    figure = draw(found, style)
    assert_legends_clear(figure)
    assert "140" in texts(figure)
    upper, lower = figure.axes
    for axes in (upper, lower):
        assert edges(axes) == [found.cut.low, found.cut.high]
        (_, low), (high, _) = shaded(axes)
        assert (low, high) == (found.cut.low, found.cut.high)
    assert upper.get_ylabel().endswith("GeV")
    assert lower.get_xlabel() == "Dimuon mass [GeV]"
    assert lower.get_ylabel() == r"$Z_\mathrm{A}$ with the variance of the simulation"
    assert legend_texts(lower) == ["moving the lower cut", "moving the upper cut"]
    assert upper.get_legend().get_title().get_text() == f"N−1: {found.cut.low:g} < x < {found.cut.high:g}"
    # Recorded events would show the region that a search keeps blind.
    assert "Data" not in legend_texts(upper)


def test_the_curve_is_the_significance_where_requirements_are_met(result: CutResult) -> None:
    found = result.n_minus_one["logit"]
    lower = draw(found).axes[1]
    assert lower.get_legend() is None
    faint, chosen = (np.asarray(line.get_xydata(), dtype=float) for line in lower.lines)
    (curve,) = found.curves
    known = np.isfinite(chosen[:, 1])
    expected = dict(zip(curve.position.tolist(), curve.significance.tolist(), strict=True))
    assert [expected[place] for place in chosen[known, 0].tolist()] == chosen[known, 1].tolist()
    assert np.nanmax(chosen[:, 1]) == pytest.approx(result.chosen.significance, rel=1e-9)
    assert np.isfinite(faint[:, 1]).sum() > known.sum()


def test_a_variable_without_a_cut_and_another_figure_of_merit(table: EventTable) -> None:
    objective = Objective(FigureOfMerit.S_OVER_SQRT_B)
    figure = draw(NMinusOne(Cut("logit"), feature_histogram(table, "logit"), (), objective))
    assert figure.axes[0].get_legend().get_title().get_text() == "N−1: no cut"
    assert figure.axes[1].get_ylabel() == "$s$/√$b$"
    assert edges(figure.axes[0]) == []


def test_a_cut_outside_of_what_is_drawn_stands_at_its_edge(table: EventTable) -> None:
    found = NMinusOne(Cut("logit", low=-1e3), feature_histogram(table, "logit"), (), Objective())
    axes = draw(found).axes[0]
    assert edges(axes) == [axes.get_xlim()[0]]


def test_the_cutflow_has_both_significances(result: CutResult, style: Style) -> None:
    figure = cutflow_figure(result, LOOK, style)
    assert_legends_clear(figure)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names[0] == "no cut"
    assert "Dimuon mass" in names
    assert legend_texts(axes) == ["on the events that chose", "held out"]
    chosen, held_out = (container[0].get_ydata() for container in axes.containers)
    assert chosen[-1] == result.chosen.significance
    assert held_out[-1] == pytest.approx(result.held_out.significance, rel=1e-12)


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (Cut("m", 120.0, 130.5), "120 < m < 130.5"),
        (Cut("m", high=1e-7), "m < 0.0000001"),
        (Cut("m", low=30.0, missing="pass"), "m > 30 or missing"),
        (Cut("m"), "any m"),
    ],
)
def test_cuts_in_words(cut: Cut, text: str) -> None:
    assert cut_in_words(cut) == text
