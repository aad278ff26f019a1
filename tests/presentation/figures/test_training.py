import dataclasses
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.presentation.figures.drawing import PLAIN, legend_texts
from zsig_hep.learning import TrainingHistory
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage, measured_stage
from zsig_hep.learning.optimisation.schedules import GraduatedSettings
from zsig_hep.presentation import save_figure, training_figure
from zsig_hep.presentation.figures.layout import _paths, _touched
from zsig_hep.presentation.figures.style import Style
from zsig_hep.presentation.figures.training import graduated_figure


def stages(mode: str, epochs: int = 12) -> tuple[GraduatedStage, ...]:
    plan = GraduatedSettings(mode=mode).plan(epochs, 0.1, 32)
    variances, losses = [4.0, 3.6, 3.2, 3.0, 2.9], [0.5, 0.4, 0.35, 0.33, 0.32]
    return tuple(measured_stage(plan, m + 1, *each) for m, each in enumerate(zip(variances, losses, strict=True)))


def staircase(axes: Axes, label: str) -> np.ndarray:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    assert found.get_drawstyle() == "steps-post"
    return np.asarray(found.get_xydata(), dtype=np.float64)


def test_draws_what_the_stages_say(style: Style) -> None:
    before = dict(mpl.rcParams)
    tables = {"hybrid": stages("hybrid"), "batch": stages("batch"), "none": ()}
    figure = graduated_figure(tables, style)
    step, batch, smoothing, loss = figure.axes
    for axes, name in ((step, "learning_rate"), (batch, "batch_size"), (smoothing, "delta"), (loss, "loss")):
        assert axes.get_ylabel()
        assert axes.get_yscale() == ("linear" if name == "loss" else "log")
        for label in ("hybrid", "batch"):
            drawn = staircase(axes, label)
            values = [getattr(stage, name) for stage in tables[label]]
            np.testing.assert_array_equal(drawn[:, 1], [*values, values[-1]])
            # Twelve epochs in five stages: 3, 2, 3, 2, 2.
            np.testing.assert_array_equal(drawn[:, 0], [0.5, 3.5, 5.5, 8.5, 10.5, 12.5])
    legend = step.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["hybrid", "batch"]
    figure.draw_without_rendering()
    assert not _touched([legend.get_window_extent().padded(-4)], _paths(step, guides=False))
    assert "Simulation" in " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("tables", [{}, {"constant": stages("lr")[:1]}])
def test_no_stage_or_a_single_one(tables: dict[str, tuple[GraduatedStage, ...]], tmp_path: Path) -> None:
    paths = save_figure(graduated_figure(tables, Style()), tmp_path, "graduated", dots_per_inch=50)
    assert all(path.stat().st_size > 1000 for path in paths)


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


def test_boosted_trees_have_rounds(make_history: Callable[..., TrainingHistory]) -> None:
    history = dataclasses.replace(make_history(), step="round")
    figure = training_figure({"trees, Z loss": history}, PLAIN)
    assert {axes.get_xlabel() for axes in figure.axes} == {"Round"}
    assert "kept round" in legend_texts(figure.axes[-1])
