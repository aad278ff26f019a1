from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest

from tests.selection.categories.category_toy import LOOSE, OPTIONS, scan_of, toy
from zsig_hep.selection.categories import search
from zsig_hep.selection.categories.intervals import Intervals
from zsig_hep.selection.categories.search import best_partitions
from zsig_hep.statistics import FigureOfMerit, asimov_with_uncertainty


def figure_by_hand(s, dy, top, simulation, options):
    """The figures of merit of `OPTIONS`."""
    b = dy + top
    simulation = simulation if options.includes_simulation else 0.0
    if options.figure_of_merit is FigureOfMerit.S_OVER_SQRT_B:
        return s / np.sqrt(b)
    if options.figure_of_merit is FigureOfMerit.ASIMOV:
        return float(asimov_with_uncertainty(s, b, np.sqrt(simulation)))
    return float(asimov_with_uncertainty(s, b, np.sqrt((0.3 * top) ** 2 + (0.1 * b) ** 2 + simulation)))


def category_figure(weight, process, inside, dominant, options):
    """Z of the events inside a category from masks; None where it is none."""
    w = [weight[inside & (process == row)] for row in range(3)]
    totals, squares = np.array([x.sum() for x in w]), np.array([np.square(x).sum() for x in w])
    needed = [(totals[1:].sum(), squares[1:].sum()), *((totals[row], squares[row]) for row in dominant)]
    for total, square in needed:
        if not (total > 0 and total * total / square >= options.minimum_effective_background):
            return None
    z = figure_by_hand(*totals, squares[1:].sum(), options)
    return z if totals[0] > 0 and np.isfinite(z) and z > 0 else None


def brute_force(score, weight, process, options, count):
    """The best of all combinations of distinct scores as edges, from masks; None without one."""
    simulated = process < 3
    totals = np.array([weight[process == row].sum() for row in range(3)])
    share = totals / totals[1:].sum()
    dominant = [row for row in (1, 2) if share[row] > options.dominant_background_fraction]

    @cache
    def figure(low, high):
        return category_figure(weight, process, (score >= low) & (score < high), dominant, options)

    best = None
    for edges in combinations(np.unique(score[simulated]).tolist(), count):
        signal = weight[(score >= edges[0]) & (process == 0)].sum()
        if signal / totals[0] < options.minimum_signal_efficiency or signal <= 0:
            continue
        limits = [*edges, np.inf]
        figures = [figure(low, high) for low, high in pairwise(limits)]
        if None not in figures:
            z = np.sqrt(np.sum(np.square(figures)))
            if best is None or z > best[0] * (1 + 1e-12):
                best = (z, edges)
    return best


class TestAgainstAllCombinations:
    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    @pytest.mark.parametrize("seed", range(3))
    def test_the_optimum_for_every_number_of_categories(self, options, seed, monkeypatch):
        # Small tiles, so that a score of a dozen levels has several of them.
        monkeypatch.setattr(search, "_ROWS", 4)
        monkeypatch.setattr(search, "_WIDTH", 2)
        events = toy(seed)
        intervals = Intervals.of_scan(scan_of(*events, options), options, 10_000)
        partitions = best_partitions(intervals, 5)
        for count in range(1, 6):
            edges, expected = partitions.edges(count), brute_force(*events, options, count)
            assert (edges is None) is (expected is None)
            if expected is not None:
                assert tuple(intervals.edge[list(edges)].tolist()) == expected[1]
                assert partitions.squares[count, edges[0]] == pytest.approx(expected[0] ** 2, rel=1e-12)

    @pytest.mark.parametrize("options", [OPTIONS[each] for each in ("asimov", "default", "own uncertainty")])
    def test_tiles_and_blocks_change_nothing(self, monkeypatch, options):
        score, weight, process = toy(7, 1500, levels=600)
        intervals = Intervals.of_scan(scan_of(score, weight, process, options), options, 10_000)
        found = best_partitions(intervals, 6)
        for rows, width, block in ((5, 5, 64), (64, 4, 1000), (10_000, 1, 100_000)):
            for name, value in (("_ROWS", rows), ("_WIDTH", width), ("_BLOCK", block)):
                monkeypatch.setattr(search, name, value)
            again = best_partitions(intervals, 6)
            np.testing.assert_array_equal(again.squares, found.squares)
            np.testing.assert_array_equal(again.following, found.following)


def test_of_equal_optima_the_lowest_edges():
    # Nothing stands at the lowest score, so that Z^2 is the same with and without it.
    score = np.repeat([0.1, 0.2, 0.3], [1, 2, 2])
    scan = scan_of(score, [0.0, 1.0, 1.0, 1.0, 1.0], [0, 0, 1, 0, 1])
    partitions = best_partitions(Intervals.of_scan(scan, LOOSE, 10), 2)
    assert (partitions.edges(1), partitions.edges(2)) == ((0,), (0, 2))


def test_worked_by_hand():
    # One interval per score: s = 2, 4, 6 over b = 16, 4, 4, so Z^2 = 1/4, 4, 9 alone, 100/8 of the upper two.
    scan = scan_of(np.repeat([0.1, 0.5, 0.9], 2), [2, 16, 4, 4, 6, 4], [0, 1, 0, 1, 0, 1])
    partitions = best_partitions(Intervals.of_scan(scan, LOOSE, 10), 3)
    np.testing.assert_allclose(partitions.squares[1], [144 / 24, 100 / 8, 9, -np.inf])
    np.testing.assert_allclose(partitions.squares[2], [0.25 + 12.5, 13, -np.inf, -np.inf])
    np.testing.assert_allclose(partitions.squares[3], [13.25, -np.inf, -np.inf, -np.inf])
    assert [partitions.edges(count) for count in (1, 2, 3)] == [(1,), (1, 2), (0, 1, 2)]
