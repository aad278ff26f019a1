from itertools import pairwise

import numpy as np
import pytest

from tests.selection.categories.category_toy import LOOSE, NAMES, OPTIONS, events_of, scan_of, toy
from tests.selection.exact_yields import exact_yields
from zsig_hep.selection.categories.intervals import (
    Intervals,
    best_allowed,
    best_equal_signal,
    candidate_columns,
    equal_signal_edges,
)
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable


def intervals_of(options, seed=0, **given):
    return Intervals.of_scan(scan_of(*toy(seed, **given), options), options, 10_000)


class TestCandidates:
    def test_all_scores_when_they_are_few(self):
        scan = scan_of(*toy(0))
        np.testing.assert_array_equal(candidate_columns(scan, 10_000), np.arange(scan.threshold.size))

    def test_evenly_spaced_in_efficiency(self):
        scan = scan_of(*toy(0, 20_000, levels=10**6, signed=False))
        columns = candidate_columns(scan, 200)
        assert columns[0] == 0
        assert 150 < columns.size <= 200
        assert (np.diff(columns) > 0).all()
        both = (scan.signal_efficiency + scan.background_efficiency)[columns]
        assert -np.diff(both).min() < 0.03

    def test_against_a_loop(self):
        # The tightest threshold at which each share of the sum of both efficiencies has been reached from above.
        scan = scan_of(*toy(1, 900, levels=300))
        reached, highest = [], [-np.inf, -np.inf]
        for column in reversed(range(scan.threshold.size)):
            for place, each in enumerate((scan.signal_efficiency, scan.background_efficiency)):
                highest[place] = max(highest[place], each[column])
            reached.append((column, sum(highest)))
        wanted = [reached[-1][1] * share / 19 for share in range(19)]
        expected = {0, *(next(column for column, sums in reached if sums >= each) for each in wanted)}
        assert candidate_columns(scan, 20).tolist() == sorted(expected)


class TestSquaredSignificance:
    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_every_interval_against_masks(self, options):
        """Sums by masks; an interval that lacks signal, background or effective entries cannot be a category."""
        score, weight, process = toy(3)
        intervals = intervals_of(options, 3)
        table = events_of(score, weight, process).processes.simulated
        totals = [weight[process == row].sum() for row in range(3)]
        dominant = [row for row in (1, 2) if totals[row] / sum(totals[1:]) > options.dominant_background_fraction]
        ends, possible = [*intervals.edge, np.inf], 0
        for lower in range(len(ends) - 1):
            for upper in range(lower + 1, len(ends)):
                inside = (score >= ends[lower]) & (score < ends[upper])
                w = [weight[inside & (process == row)] for row in range(3)]
                y, v = np.array([x.sum() for x in w]), np.array([np.square(x).sum() for x in w])
                needed = [(y[1:].sum(), v[1:].sum()), *((y[row], v[row]) for row in dominant)]
                least = options.minimum_effective_background
                enough = all(total > 0 and total**2 >= least * square for total, square in needed)
                z = float(options.objective.evaluate(y, v, table).value) if enough and y[0] > 0 else np.nan
                expected = z * z if np.isfinite(z) and z > 0 else -np.inf
                found = float(intervals.squared_significance(np.array(lower), np.array(upper)))
                assert found == pytest.approx(expected, rel=1e-12)
                possible += np.isfinite(expected)
        assert possible > 10

    def test_a_lowest_edge_has_enough_signal_above(self):
        options = LOOSE.model_copy(update={"minimum_signal_efficiency": 0.4})
        score, weight, process = toy(3)
        intervals = intervals_of(options, 3)
        above = np.array([weight[(process == 0) & (score >= edge)].sum() for edge in intervals.edge])
        np.testing.assert_array_equal(intervals.is_lowest, above >= 0.4 * weight[process == 0].sum())

    def test_processes_that_the_figure_sees_through_their_sum_are_one_group(self):
        assert intervals_of(LOOSE).groups == ProcessTable(NAMES[:2], ("signal", "background"))
        assert intervals_of(OPTIONS["own uncertainty"]).groups.names == ("hmumu", "top", "dy")
        both = OPTIONS["own uncertainty"].model_copy(update={"background_uncertainties": {"dy": 0.1, "top": 0.3}})
        np.testing.assert_array_equal(intervals_of(both).has_own_uncertainty, [False, True, True])


class TestBound:
    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    @pytest.mark.parametrize("signed", [False, True])
    def test_no_interval_of_a_tile_exceeds_it(self, options, signed):
        intervals = intervals_of(options, 1, events=900, levels=60, signed=signed)
        edges = intervals.edge.size
        lower = np.arange(4, 10)
        starts = np.append(np.arange(lower[-1] + 1, edges, 5), edges)
        bounds = intervals.squared_bound(lower, starts)
        assert (bounds < 1e300).any()
        for bound, (start, stop) in zip(bounds, pairwise([*starts, edges + 1]), strict=True):
            upper = np.arange(start, stop)
            assert intervals.squared_significance(lower[:, None], upper[None, :]).max() <= bound

    @pytest.mark.parametrize("uncertain", [{}, {"relative_background_uncertainty": 0.3}, {"dy": 0.8}])
    def test_it_holds_where_z_increases_with_the_background(self, uncertain):
        # A hundred signal events over a few background events of large weight: more of them are known better.
        rng = np.random.default_rng(4)
        score = np.concatenate([rng.uniform(0, 1, 400), rng.uniform(0, 1, 60)])
        process = np.repeat([0, 1], [400, 60])
        process[-20:] = 2
        own = {"background_uncertainties": uncertain} if "dy" in uncertain else uncertain
        options = exact_yields(
            figure_of_merit="asimov_with_uncertainty", simulation_uncertainty_in_figure=True,
            minimum_effective_background=1, minimum_signal_efficiency=0, dominant_background_fraction=1, **own,
        )  # fmt: skip
        weight = np.where(process == 0, 2.0, np.where(process == 1, 0.5, 0.05))
        intervals = Intervals.of_scan(scan_of(score, weight, process, options), options, 1000)
        edges = intervals.edge.size
        lower = np.arange(4)
        starts = np.append(np.arange(lower[-1] + 1, edges, 8), edges)
        bounds = intervals.squared_bound(lower, starts)
        for bound, (start, stop) in zip(bounds, pairwise([*starts, edges + 1]), strict=True):
            assert intervals.squared_significance(lower[:, None], np.arange(start, stop)[None, :]).max() <= bound

    def test_nothing_is_known_where_a_background_with_an_uncertainty_of_its_own_may_be_negative(self):
        # A more negative top yield would raise the uncertainty that the figure of merit sees.
        score, process = np.repeat(np.arange(6) / 10, 3), np.tile([0, 1, 2], 6)
        weight = np.where(process == 0, 1.0, 8.0)
        weight[score == 0.1] = [1.0, 8.0, -3.0]
        options = OPTIONS["own uncertainty"]
        intervals = Intervals.of_scan(scan_of(score, weight, process, options), options, 100)
        bounds = intervals.squared_bound(np.array([1]), np.array([2, 3, 4, 5, 6]))
        # Between 0.1 and 0.2 there are -3 top events, between 0.1 and 0.3 there are 5.
        assert (bounds == np.finfo(np.float64).max).tolist() == [True, False, False, False, False]

    @pytest.mark.parametrize("figure", [each for each in FigureOfMerit if each.differentiable_counterpart is each])
    def test_the_figure_of_merit_grows_with_signal_and_falls_with_background(self, figure):
        processes = ProcessTable.of(["s", "b"], ["signal", "background"])
        yields = np.stack(np.meshgrid(np.linspace(0.1, 60, 40), np.linspace(0.1, 60, 40), indexing="ij"))
        z = Objective(figure).evaluate(yields, yields, processes).value
        assert (np.diff(z, axis=0) >= 0).all()
        assert (np.diff(z, axis=1) <= 0).all()


class TestEqualSignal:
    def test_edges_above_every_candidate_by_hand(self):
        # Six scores with one signal event each, over background.
        score = np.repeat(np.arange(6) / 10, 2)
        intervals = Intervals.of_scan(scan_of(score, np.ones(12), np.tile([0, 1], 6)), LOOSE, 100)
        np.testing.assert_array_equal(equal_signal_edges(intervals, 2)[:, 1], [3, 3, 4, 4, 5, 5])
        np.testing.assert_array_equal(equal_signal_edges(intervals, 3)[0], [0, 2, 4])

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_the_best_lowest_edge_against_a_loop(self, count):
        intervals = intervals_of(LOOSE, 2, events=900, levels=60, signed=False)
        best = (-np.inf, None)
        for row in equal_signal_edges(intervals, count):
            ends = [*row, intervals.edge.size]
            if intervals.is_lowest[row[0]] and (np.diff(ends) > 0).all():
                squares = [float(intervals.squared_significance(*map(np.array, pair))) for pair in pairwise(ends)]
                if sum(squares) > best[0]:
                    best = (sum(squares), tuple(row.tolist()))
        assert best_equal_signal(intervals, count) == best[1]
        assert best[1] is not None

    def test_none_within_the_limits(self):
        options = LOOSE.model_copy(update={"minimum_effective_background": 1e6})
        assert best_equal_signal(intervals_of(options), 2) is None


def test_the_first_of_the_highest_that_are_allowed():
    totals, infinite = np.array([1.0, 5.0, 3.0, 3.0]), np.full(2, -np.inf)
    assert best_allowed(totals, np.array([True, False, True, True])) == 2
    assert best_allowed(totals, np.zeros(4, dtype=bool)) is None
    assert best_allowed(infinite, np.ones(2, dtype=bool)) is None
