from dataclasses import replace

import numpy as np
import pytest
from matplotlib.container import StemContainer

from tests.presentation.conftest import Evaluations
from tests.presentation.figures.drawing import PLAIN, legend_texts, line
from zsig_hep.presentation import (
    efficiency_purity_figure,
    roc_figure,
    significance_figure,
)
from zsig_hep.presentation.wording import FIGURE_OF_MERIT_LABELS
from zsig_hep.statistics import FigureParameters, Objective
from zsig_hep.statistics.significance import FigureOfMerit


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
    scan = replace(evaluations[0].scan, objective=Objective(figure_of_merit))
    (axes,) = significance_figure([replace(evaluations[0], scan=scan)], PLAIN).axes
    assert axes.get_ylabel() == FIGURE_OF_MERIT_LABELS[figure_of_merit]


def test_classifiers_with_other_figures_of_merit_are_told_apart(evaluations: Evaluations) -> None:
    """The axis of two figures of merit is that of neither, and each curve has the name of its own."""
    punzi = Objective(FigureOfMerit.PUNZI, FigureParameters(punzi_sigmas=5))
    both = [
        replace(each, scan=replace(each.scan, objective=objective))
        for each, objective in zip(evaluations, (Objective(FigureOfMerit.ASIMOV), punzi), strict=True)
    ]
    (axes,) = significance_figure(both, PLAIN).axes
    assert axes.get_ylabel() == "Figure of merit"
    names = legend_texts(axes)
    assert "Z loss, Asimov significance" in names
    assert "Weighted BCE, Punzi's s/(a/2 + sqrt(b)), a = 5" in names
    # Uncertainties of the same figure need no other label.
    uncertain = [
        replace(
            each,
            scan=replace(
                each.scan,
                objective=Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, relative_background_uncertainty=k),
            ),
        )
        for each, k in zip(evaluations, (0.1, 0.2), strict=True)
    ]
    (axes,) = significance_figure(uncertain, PLAIN).axes
    assert axes.get_ylabel() == FIGURE_OF_MERIT_LABELS[FigureOfMerit.ASIMOV_WITH_UNCERTAINTY]
    assert "Z loss" in legend_texts(axes)


def test_efficiency_and_purity_are_those_of_the_scan(evaluations: Evaluations) -> None:
    upper, lower = efficiency_purity_figure(evaluations, PLAIN).axes
    scan = evaluations[1].scan
    for axes, values in ((upper, scan.signal_efficiency), (lower, scan.purity)):
        drawn = line(axes, "Weighted BCE")
        shown = drawn[np.isfinite(drawn[:, 1])]
        np.testing.assert_array_equal(shown[:, 1], values[np.searchsorted(scan.threshold, shown[:, 0])])
