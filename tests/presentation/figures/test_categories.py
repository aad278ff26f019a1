from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.presentation.figures.drawing import LABELS, LOOK, PLAIN, assert_legends_clear
from zsig_hep.ntuples.table import EventTable
from zsig_hep.presentation import Style, category_figure, save_figure
from zsig_hep.selection import (
    CategorySettings,
    HeldOutCategories,
    ScoredEvents,
    WorkingPointSettings,
    hold_out_categories,
)


def categories_of(table: EventTable, count: int, minimum: float = 5.0) -> HeldOutCategories:
    score = 1 / (1 + np.exp(-table.feature("logit").astype(np.float64)))
    return hold_out_categories(
        ScoredEvents.of_table(table, score),
        WorkingPointSettings(minimum_effective_background=minimum),
        CategorySettings(count=count, candidates=200),
    )


def errorbar_points(axes: Axes, label: str) -> np.ndarray:
    (found,) = [container for container in axes.containers if container.get_label() == label]
    return np.asarray(found.lines[0].get_xydata(), dtype=np.float64)


def test_draws_what_was_found(table: EventTable, style: Style) -> None:
    before = dict(mpl.rcParams)
    found = categories_of(table, 4)
    shown = [each for each in found.optima if each.status == "ok"]
    assert len(shown) > 1
    figure = category_figure(found, LOOK, style)
    upper, lower, numbers, gains = figure.axes
    drawn = errorbar_points(numbers, "best edges, held out")
    np.testing.assert_array_equal(drawn[:, 1], [each.significance for each in shown])
    (each,) = lower.containers
    np.testing.assert_array_equal(each.lines[0].get_ydata(), [c.significance for c in shown[-1].categories])
    signal = next(patch for patch in upper.patches if patch.get_label() == LABELS["vbf"])
    np.testing.assert_array_equal(signal.get_data().values, [c.signal.value for c in shown[-1].categories])
    gained = errorbar_points(gains, "best edges over single cut")
    np.testing.assert_array_equal(gained[:, 1], [each.value for each in found.over_single_cut if each is not None])
    edges = np.median([fold for fold in shown[-1].edges if fold is not None], axis=0)
    ticks = [text.get_text() for text in lower.get_xticklabels()]
    assert ticks == [f"{number}\n{edge:.3g}" for number, edge in enumerate(edges)]
    assert_legends_clear(figure)
    for axes in figure.axes:
        assert axes.get_ylabel()
    assert dict(mpl.rcParams) == before


def test_hollow_points_are_beyond_the_limits(table: EventTable) -> None:
    found = categories_of(table, 3, minimum=40.0)
    beyond = [each.count for each in found.equal_signal if not each.within_limits]
    axes = category_figure(found, LOOK, PLAIN).axes[2]
    assert beyond
    np.testing.assert_array_equal(errorbar_points(axes, "equal signal, requirements not met")[:, 0].round(), beyond)


@pytest.mark.parametrize(("count", "minimum"), [(1, 5.0), (3, 10_000.0)])
def test_a_single_category_or_none(table: EventTable, tmp_path: Path, count: int, minimum: float) -> None:
    found = categories_of(table, count, minimum)
    figure = category_figure(found, replace(LOOK, labels={}), PLAIN)
    paths = save_figure(figure, tmp_path, "categories", dots_per_inch=50)
    assert all(path.stat().st_size > 1000 for path in paths)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert ("no categories" in texts) is (minimum > 1000)
