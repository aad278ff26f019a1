"""Legends, panels and how many points are drawn."""

import numpy as np

from zsig_hep.presentation.figures.layout import drawn_points


def test_drawn_points_keep_ends_and_changes() -> None:
    threshold = np.sort(np.random.default_rng(1).random(100_000))
    flag = (threshold > 0.4) & (threshold < 0.6)
    points = drawn_points(threshold, flag, count=200)
    assert points[0] == 0
    assert points[-1] == 99_999
    assert len(points) < 500
    first = int(np.argmax(flag))
    assert {first - 1, first} <= set(points.tolist())
