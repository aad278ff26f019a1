"""The figure of impacts."""

from dataclasses import replace

import numpy as np
import pytest

from tests.presentation.figures.drawing import LABELS, LOOK, texts
from zsig_hep.presentation import (
    Style,
    impact_figure,
)
from zsig_hep.selection import Impact, ImpactTable, Parameter

IMPACTS = ImpactTable(
    status="ok",
    rows=(
        Impact(Parameter("cross_section", "vbf"), 1.2, 0.1, -0.02, 0.01, (-0.01, -0.03), None),
        Impact(Parameter("cross_section", "ttbar", 0.2), -0.5, 0.05, 0.03, None, (None, 0.02), -0.1),
        Impact(Parameter("uncertainty", "ttbar", 0.2), -0.2, 0.02, 0.01, 0.002, (0.01, 0.01), None),
    ),
    cut=0.6,
)


@pytest.mark.parametrize("moves", [True, False])
def test_impacts_are_bars_ranked_from_the_top(style: Style, moves: bool) -> None:
    rows = (
        IMPACTS.rows
        if moves
        else tuple(replace(row, cut_slope=None, cut_slope_uncertainty=None) for row in IMPACTS.rows)
    )
    figure = impact_figure(replace(IMPACTS, rows=rows), LOOK, style)
    figure.draw_without_rendering()
    left, *right = figure.axes
    assert len(right) == moves
    assert [text.get_text() for text in left.get_yticklabels()] == [
        rf"σ({LABELS['vbf']})",
        rf"σ({LABELS['ttbar']})",
        rf"uncertainty of {LABELS['ttbar']}",
    ]
    assert left.get_ylim()[0] > left.get_ylim()[1]
    expected = [[row.significance_slope for row in rows]] + [[row.cut_slope for row in rows]] * moves
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
