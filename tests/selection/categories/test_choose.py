from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zsig_hep.selection import (
    CategorySettings,
    WorkingPointSettings,
    category_index,
    choose_categories,
    choose_working_point,
    scan_thresholds,
    significance,
)
from zsig_hep.selection.categories import search
from zsig_hep.selection.categories.choose import Division
from zsig_hep.selection.categories.intervals import Intervals, candidate_columns
from zsig_hep.selection.categories.search import best_partitions
from zsig_hep.statistics import FigureOfMerit, evaluate

NAMES = ("hmumu", "dy", "top", "data")
ROLES = ("signal", "background", "background", "data")
LOOSE = WorkingPointSettings(
    figure_of_merit="s_over_sqrt_b",
    minimum_effective_background=1,
    minimum_signal_efficiency=0,
    dominant_background_fraction=1,
)


def scan_of(score, weight, process, options=LOOSE, names=NAMES, roles=ROLES):
    return scan_thresholds(score, weight, process, process_names=names, roles=roles, settings=options)


def chosen_of(score, weight, process, options=LOOSE, count=3, **given):
    return choose_categories(scan_of(score, weight, process, options), options, CategorySettings(count=count, **given))


def toy(seed=0, events=300, *, levels=12, signed=True):
    """Signal, two backgrounds and data with tied scores; weights are multiples of 1/64, so that sums are exact."""
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=events)
    score = np.round(rng.normal(1.5 * (process == 0), 1.0) * levels / 6) / levels * 6
    weight = np.ceil(rng.exponential(np.array([0.1, 2.0, 0.5, 1.0])[process]) * 64) / 64
    if signed:
        weight = np.where(rng.random(events) < 0.08, -weight, weight)
    return score, weight, process


def category_figure(weight, process, inside, dominant, options):
    """Z of the events inside a category from masks; None where it is none."""
    w = [weight[inside & (process == row)] for row in range(3)]
    totals, squares = np.array([x.sum() for x in w]), np.array([np.square(x).sum() for x in w])
    needed = [(totals[1:].sum(), squares[1:].sum()), *((totals[row], squares[row]) for row in dominant)]
    for total, square in needed:
        if not (total > 0 and total * total / square >= options.minimum_effective_background):
            return None
    z = float(significance(totals, squares, NAMES[:3], ROLES[:3], options).value)
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


OPTIONS = {
    "simple": LOOSE,
    "asimov": WorkingPointSettings(minimum_effective_background=4, minimum_signal_efficiency=0.4),
    "limits of each background": WorkingPointSettings(minimum_effective_background=6, minimum_signal_efficiency=0),
    "own uncertainty": WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={"top": 0.3},
        relative_background_uncertainty=0.1,
        simulation_uncertainty_in_figure=True,
        minimum_effective_background=2,
        dominant_background_fraction=0.5,
    ),
}


class TestAgainstAllCombinations:
    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    @pytest.mark.parametrize("seed", range(4))
    def test_the_optimum_for_every_number_of_categories(self, options, seed, monkeypatch):
        # Small tiles, so that a score of a dozen levels has several of them.
        monkeypatch.setattr(search, "_ROWS", 4)
        monkeypatch.setattr(search, "_WIDTH", 2)
        events = toy(seed)
        for chosen in chosen_of(*events, options, count=5):
            expected = brute_force(*events, options, chosen.count)
            assert (chosen.status == "ok") is (expected is not None)
            if expected is not None:
                assert chosen.significance == pytest.approx(expected[0], rel=1e-12)
                assert chosen.edges == expected[1]
            else:
                assert chosen.reason
                assert chosen.significance is chosen.significance_uncertainty is None

    def test_tiles_and_blocks_change_nothing(self, monkeypatch):
        score, weight, process = toy(7, 1500, levels=600)
        options = OPTIONS["asimov"]
        intervals = Intervals.of_scan(scan_of(score, weight, process, options), options, 10_000)
        found = best_partitions(intervals, 6)
        for rows, width, block in ((5, 5, 64), (64, 4, 1000), (10_000, 1, 100_000)):
            for name, value in (("_ROWS", rows), ("_WIDTH", width), ("_BLOCK", block)):
                monkeypatch.setattr(search, name, value)
            again = best_partitions(intervals, 6)
            np.testing.assert_array_equal(again.squares, found.squares)
            np.testing.assert_array_equal(again.following, found.following)

    @pytest.mark.parametrize("figure", [figure for figure in FigureOfMerit if figure.differentiable_counterpart is figure])
    def test_the_figure_of_merit_grows_with_signal_and_falls_with_background(self, figure):
        options = WorkingPointSettings(figure_of_merit=figure)
        yields = np.stack(np.meshgrid(np.linspace(0.1, 60, 40), np.linspace(0.1, 60, 40), indexing="ij"))
        z = significance(yields, yields, NAMES[:2], ROLES[:2], options).value
        assert (np.diff(z, axis=0) >= 0).all()
        assert (np.diff(z, axis=1) <= 0).all()


class TestNumbers:
    def test_are_those_of_the_events_between_the_edges(self):
        score, weight, process = toy(1, 900)
        options = OPTIONS["asimov"]
        chosen = chosen_of(score, weight, process, options)[-1]
        category = category_index(score, np.zeros(score.size, dtype=int), (chosen.edges,))
        assert len(chosen.categories) == chosen.count == 3
        squares, variances = [], []
        for index, each in enumerate(chosen.categories):
            inside = category == index
            for row, name in enumerate(NAMES[:3]):
                expected = weight[inside & (process == row)]
                assert each.yields[name].value == expected.sum()
                assert each.yields[name].variance == np.square(expected).sum()
                assert each.yields[name].entries == expected.size
            assert each.signal == each.yields["hmumu"]
            assert each.background == each.yields["dy"] + each.yields["top"]
            z = evaluate(
                "asimov", each.signal.value, each.background.value, each.signal.variance, each.background.variance
            )
            assert each.significance == pytest.approx(float(z.value), rel=1e-12)
            assert each.significance_uncertainty == pytest.approx(float(z.uncertainty), rel=1e-12)
            squares.append(z.value**2)
            variances.append((z.value * z.uncertainty) ** 2)
        assert chosen.significance == pytest.approx(np.sqrt(np.sum(squares)), rel=1e-12)
        assert chosen.significance_uncertainty == pytest.approx(
            np.sqrt(np.sum(variances)) / chosen.significance, rel=1e-12
        )

    def test_worked_by_hand(self):
        # One interval per score: s = 2, 4, 6 over b = 16, 4, 4, so Z^2 = 1/4, 4, 9.
        score = np.repeat([0.1, 0.5, 0.9], 2)
        found = chosen_of(score, [2, 16, 4, 4, 6, 4], [0, 1, 0, 1, 0, 1])
        assert [each.edges for each in found] == [(0.5,), (0.5, 0.9), (0.1, 0.5, 0.9)]
        assert [each.significance**2 for each in found] == pytest.approx([12.5, 13.0, 13.25])

    def test_a_single_category_is_the_working_point(self):
        for seed in range(5):
            scan = scan_of(*toy(seed, 2000, levels=500), WorkingPointSettings())
            point = choose_working_point(scan, WorkingPointSettings())
            (chosen,) = choose_categories(scan, WorkingPointSettings(), CategorySettings())
            assert chosen.edges == (point.threshold,)
            assert chosen.significance == pytest.approx(point.significance, rel=1e-14)
            assert chosen.significance_uncertainty == pytest.approx(point.significance_uncertainty, rel=1e-14)

    @pytest.mark.parametrize("signals", ["mean", "minimum"])
    def test_several_signal_hypotheses(self, signals):
        rng = np.random.default_rng(3)
        process = np.repeat([0, 1, 2], [300, 300, 2000])
        score = rng.normal(np.array([2.0, 1.0, 0.0])[process])
        options = WorkingPointSettings(signals=signals)
        scan = scan_thresholds(
            score, np.array([0.02, 0.03, 0.5])[process], process, process_names=("vbf", "ggf", "dy"),
            roles=("signal", "signal", "background"), settings=options,
        )  # fmt: skip
        for chosen in choose_categories(scan, options, CategorySettings(count=3)):
            of_hypotheses = [each.value for each in chosen.combined.hypotheses.values()]
            bound = np.mean(of_hypotheses) if signals == "mean" else np.min(of_hypotheses)
            assert list(chosen.combined.hypotheses) == ["vbf", "ggf"]
            assert 0 < chosen.significance <= bound * (1 + 1e-12)


class TestProperties:
    @given(st.integers(0, 10_000), st.randoms(use_true_random=False))
    @settings(max_examples=20, deadline=None)
    def test_order_of_events_does_not_matter(self, seed, random):
        score, weight, process = toy(seed)
        order = list(range(score.size))
        random.shuffle(order)
        assert chosen_of(score[order], weight[order], process[order]) == chosen_of(score, weight, process)

    @given(st.integers(0, 10_000), st.integers(0, 299))
    @settings(max_examples=20, deadline=None)
    def test_two_half_weights_are_one_event(self, seed, event):
        score, weight, process = toy(seed)
        halved = weight.copy()
        halved[event] /= 2
        split = chosen_of(
            np.append(score, score[event]), np.append(halved, halved[event]), np.append(process, process[event])
        )
        for once, twice in zip(chosen_of(score, weight, process), split, strict=True):
            assert once.edges == twice.edges
            assert once.significance == twice.significance

    @given(st.integers(0, 10_000))
    @settings(max_examples=20, deadline=None)
    def test_more_categories_are_never_worse(self, seed):
        score, weight, process = toy(seed, signed=False)
        every = np.unique(score)
        # A signal and a background event at each score: every category can be divided further.
        score = np.concatenate([score, every, every])
        weight = np.concatenate([weight, np.full(2 * every.size, 1 / 64)])
        process = np.concatenate([process, np.repeat([0, 1], every.size)])
        found = [chosen.significance for chosen in chosen_of(score, weight, process, count=6)]
        assert (np.diff(found) >= -1e-12).all()

    @given(st.integers(0, 10_000))
    @settings(max_examples=15, deadline=None)
    def test_equal_signal_is_never_better_and_is_equal(self, seed):
        score, weight, process = toy(seed, 1500, levels=600, signed=False)
        scan = scan_of(score, weight, process, WorkingPointSettings())
        division = Division.of_scan(scan, WorkingPointSettings(), CategorySettings(count=4))
        for count in range(1, 5):
            best, equal = division.optimum(count), division.equal_signal(count)
            if equal.within_limits and equal.status == "ok":
                assert equal.significance <= best.significance * (1 + 1e-12)
                signals = np.array([each.signal.value for each in equal.categories])
                largest = weight[process == 0].max()
                np.testing.assert_allclose(signals, signals.mean(), atol=3 * largest)

    def test_equal_signal_beyond_the_limits_says_so(self):
        # The upper half of the signal stands where a tenth of the background is.
        process = np.repeat([0, 0, 1, 1], [20, 20, 90, 10])
        score = np.repeat([0.2, 0.8, 0.2, 0.8], [20, 20, 90, 10]) + np.tile([0.0, 0.05], 70)
        options = LOOSE.model_copy(update={"minimum_effective_background": 15})
        division = Division.of_scan(scan_of(score, np.ones(140), process, options), options, CategorySettings(count=2))
        best, equal = division.optimum(2), division.equal_signal(2)
        assert (best.within_limits, equal.within_limits) == (True, False)
        assert (equal.status, equal.edges) == ("ok", (best.edges[0], 0.8))
        assert min(each.background.effective_entries for each in equal.categories) < 15

    def test_equal_signal_without_background_is_not_formed(self):
        score, process = np.repeat([0.2, 0.8], [30, 10]), np.repeat([0, 1, 0], [10, 20, 10])
        division = Division.of_scan(scan_of(score, np.ones(40), process), LOOSE, CategorySettings(count=2))
        equal = division.equal_signal(2)
        assert equal.status == "categories_not_formed"
        assert equal.significance is None

    def test_categories_honour_the_limits(self):
        options = WorkingPointSettings(minimum_effective_background=20, minimum_signal_efficiency=0.3)
        score, weight, process = toy(2, 4000, levels=400)
        found = chosen_of(score, weight, process, options, count=6, minimum_effective_background=30)
        assert found[-1].status == "ok"
        for chosen in found:
            passing = sum(each.signal.value for each in chosen.categories)
            assert passing >= 0.3 * weight[process == 0].sum()
            for each in chosen.categories:
                for one in (each.background, each.yields["dy"], each.yields["top"]):
                    assert one.value > 0
                    assert one.effective_entries >= 30


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

    def test_few_candidates_cost_little(self):
        score, weight, process = toy(0, 20_000, levels=10**6)
        options = WorkingPointSettings()
        some = chosen_of(score, weight, process, options, count=4, candidates=300)[-1]
        more = chosen_of(score, weight, process, options, count=4, candidates=2500)[-1]
        assert 0.98 * more.significance < some.significance <= more.significance


class TestBadInput:
    def test_more_categories_than_scores(self):
        found = chosen_of([0.1, 0.1, 0.9, 0.9], [1, 4, 2, 4], [0, 1, 0, 1])
        assert [each.status for each in found] == ["ok", "ok", "categories_not_formed"]
        assert "3 categories need as many different scores, and there are 2" in found[2].reason
        assert found[2].edges == found[2].categories == ()

    def test_too_little_simulation_for_so_many(self):
        options = LOOSE.model_copy(update={"minimum_effective_background": 10})
        process = np.tile([0, 1], 25)
        found = chosen_of(np.linspace(0, 1, 50), np.ones(50), process, options, count=3)
        assert [each.status for each in found] == ["ok", "ok", "categories_not_formed"]
        for part in ("at most 2 can", "10 effective entries", "25 of the whole background", "fewer categories"):
            assert part in found[2].reason

    def test_not_even_one(self):
        options = WorkingPointSettings(minimum_effective_background=40)
        (chosen,) = chosen_of([0.5, 0.4, *[0.1] * 20], np.ones(22), [0, 0, *[1] * 20], options, count=1)
        assert chosen.status == "categories_not_formed"
        assert "at best 20 effective entries of the whole background" in chosen.reason

    @pytest.mark.parametrize("background", [0.0, -4.0])
    def test_an_interval_without_positive_background_is_no_category(self, background):
        # Alone the highest score would have an infinite or undefined Z: it joins the one below.
        score = [0.1, 0.1, 0.5, 0.5, 0.5, 0.9, 0.9]
        found = chosen_of(score, [2, 64, 4, 8, 8, 6, background], [0, 1, 0, 1, 1, 0, 1])
        assert [each.status for each in found] == ["ok", "ok", "categories_not_formed"]
        assert found[1].edges == (0.1, 0.5)
        assert "positive signal" in found[2].reason

    def test_an_interval_with_negative_signal_is_no_category(self):
        # Z^2 of s = -9 over b = 1 is 81 and would win.
        score = np.repeat([0.1, 0.5, 0.9], 2)
        found = chosen_of(score, [-9, 1, 8, 4, 12, 4], [0, 1, 0, 1, 0, 1])
        assert found[1].edges == (0.5, 0.9)
        assert found[2].status == "categories_not_formed"

    def test_negative_yield_of_a_dominant_process(self):
        options = LOOSE.model_copy(update={"dominant_background_fraction": 0.1})
        score = np.repeat([0.1, 0.9], [4, 3])
        found = chosen_of(score, [1, 4, 4, 4, 3, 4, -1], [0, 1, 2, 2, 0, 1, 2], options, count=2)
        assert [each.status for each in found] == ["ok", "categories_not_formed"]
        assert found[0].edges == (0.1,)

    @pytest.mark.parametrize(
        ("values", "part"),
        [
            ({"count": 0}, "greater than or equal to 1"),
            ({"count": 11}, "less than or equal to 10"),
            ({"count": 5, "candidates": 4}, "fewer than the 5 categories"),
            ({"minimum_effective_background": 0.5}, "greater than or equal to 1"),
            ({"counts": 5}, "Extra inputs"),
        ],
    )
    def test_settings(self, values, part):
        with pytest.raises(ValidationError, match=part):
            CategorySettings(**values)
