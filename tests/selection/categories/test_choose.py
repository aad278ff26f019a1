import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.selection.categories.category_toy import LOOSE, NAMES, OPTIONS, scan_of, toy
from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import (
    CategorySettings,
    ScoredEvents,
    WorkingPointSettings,
    choose_categories,
    choose_working_point,
    scan_thresholds,
)
from zsig_hep.selection.categories.choose import Division
from zsig_hep.statistics import weighted_yield


def chosen_of(score, weight, process, options=LOOSE, count=3, **given):
    return choose_categories(scan_of(score, weight, process, options), options, CategorySettings(count=count, **given))


class TestNumbers:
    def test_are_those_of_the_events_between_the_edges(self):
        score, weight, process = toy(1, 900)
        chosen = chosen_of(score, weight, process, OPTIONS["asimov"])[-1]
        assert len(chosen.categories) == chosen.count == len(chosen.edges) == 3
        limits = [*chosen.edges, np.inf]
        for each, low, high in zip(chosen.categories, limits, limits[1:], strict=False):
            inside = (score >= low) & (score < high)
            for row, name in enumerate(NAMES[:3]):
                assert each.yields[name] == weighted_yield(weight[inside & (process == row)])

    def test_worked_by_hand(self):
        # One interval per score: s = 2, 4, 6 over b = 16, 4, 4, so Z^2 = 1/4, 4, 9.
        score = np.repeat([0.1, 0.5, 0.9], 2)
        found = chosen_of(score, [2, 16, 4, 4, 6, 4], [0, 1, 0, 1, 0, 1])
        assert [each.edges for each in found] == [(0.5,), (0.5, 0.9), (0.1, 0.5, 0.9)]
        assert [each.significance**2 for each in found] == pytest.approx([12.5, 13.0, 13.25])

    def test_a_single_category_is_the_working_point(self):
        for seed in range(3):
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
        events = ScoredEvents.from_arrays(
            score, np.array([0.02, 0.03, 0.5])[process], process, names=("vbf", "ggf", "dy"),
            roles=("signal", "signal", "background"),
        )  # fmt: skip
        scan = scan_thresholds(events, options)
        for chosen in choose_categories(scan, options, CategorySettings(count=3)):
            of_hypotheses = [each.significance for each in chosen.combined.hypotheses.values()]
            bound = np.mean(of_hypotheses) if signals == "mean" else np.min(of_hypotheses)
            assert list(chosen.combined.hypotheses) == ["vbf", "ggf"]
            assert 0 < chosen.significance <= bound * (1 + 1e-12)


class TestProperties:
    @given(st.integers(0, 10_000), st.randoms(use_true_random=False))
    @settings(max_examples=12, deadline=None)
    def test_order_of_events_does_not_matter(self, seed, random):
        score, weight, process = toy(seed)
        order = list(range(score.size))
        random.shuffle(order)
        assert chosen_of(score[order], weight[order], process[order]) == chosen_of(score, weight, process)

    @given(st.integers(0, 10_000), st.integers(0, 299))
    @settings(max_examples=12, deadline=None)
    def test_two_half_weights_are_one_event(self, seed, event):
        # Of positive weights: two halves change the effective entries, of which every category has at least one.
        score, weight, process = toy(seed, signed=False)
        halved = weight.copy()
        halved[event] /= 2
        split = chosen_of(
            np.append(score, score[event]), np.append(halved, halved[event]), np.append(process, process[event])
        )
        for once, twice in zip(chosen_of(score, weight, process), split, strict=True):
            assert once.edges == twice.edges
            assert once.significance == twice.significance

    @given(st.integers(0, 10_000))
    @settings(max_examples=12, deadline=None)
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
    @settings(max_examples=6, deadline=None)
    def test_equal_signal_is_never_better_and_is_equal(self, seed):
        score, weight, process = toy(seed, 1500, levels=600, signed=False)
        options = WorkingPointSettings(tail_entries=0)
        scan = scan_of(score, weight, process, options)
        division = Division.of_scan(scan, options, CategorySettings(count=4))
        for count in range(1, 5):
            best, equal = division.optimum(count), division.equal_signal(count)
            if equal.within_limits and equal.status == "ok":
                assert equal.significance <= best.significance * (1 + 1e-12)
                signals = np.array([each.signal.value for each in equal.categories])
                largest = weight[process == 0].max()
                np.testing.assert_allclose(signals, signals.mean(), atol=3 * largest)

    def test_categories_honour_the_limits(self):
        options = exact_yields(minimum_effective_background=20, minimum_signal_efficiency=0.3)
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


class TestEqualSignal:
    """Signal and background at three scores, as effective entries of weight one."""

    def division(self, signal, background, minimum=15):
        score = np.repeat([0.2, 0.5, 0.8, 0.2, 0.5, 0.8], [*signal, *background])
        process = np.repeat([0, 1], [sum(signal), sum(background)])
        options = LOOSE.model_copy(update={"minimum_effective_background": minimum})
        scan = scan_of(score, np.ones(score.size), process, options)
        return Division.of_scan(scan, options, CategorySettings(count=2))

    def test_beyond_the_limits_it_stands_above_the_lowest_edge_of_the_optimum(self):
        # Half of the signal is above 0.5, and only 14 background events are below.
        division = self.division((10, 10, 1), (14, 20, 16))
        best, equal = division.optimum(2), division.equal_signal(2)
        assert (best.edges, best.within_limits) == ((0.2, 0.8), True)
        assert (equal.status, equal.edges, equal.within_limits) == ("ok", (0.2, 0.5), False)
        assert equal.categories[0].background.effective_entries == 14
        assert equal.significance == pytest.approx(np.sqrt(10**2 / 14 + 11**2 / 36))

    def test_within_the_limits_its_lowest_edge_is_the_best(self):
        # Above 0.5 the two highest scores share the signal: 25/15 + 25/15 against 49/40 + 64/30 above 0.2.
        equal = self.division((5, 5, 5), (25, 15, 15)).equal_signal(2)
        assert (equal.edges, equal.within_limits) == ((0.2, 0.5), True)
        assert equal.significance == pytest.approx(np.sqrt(5**2 / 25 + 10**2 / 30))

    def test_where_no_optimum_exists_it_is_not_formed(self):
        division = self.division((10, 10, 10), (20, 20, 20), minimum=40)
        assert division.optimum(2).status == division.equal_signal(2).status == "categories_not_formed"

    def test_a_category_without_background_is_not_formed(self):
        # The optimum keeps the highest scores together; half of the signal is at 0.8, without background.
        division = self.division((10, 4, 16), (20, 15, 0))
        assert division.optimum(2).edges == (0.2, 0.5)
        equal = division.equal_signal(2)
        assert (equal.status, equal.significance) == ("categories_not_formed", None)
        assert "no lowest edge gives 2 categories of equal signal yield" in equal.reason


def test_few_candidates_cost_little():
    score, weight, process = toy(0, 20_000, levels=10**6)
    options = WorkingPointSettings(tail_entries=0)
    some = chosen_of(score, weight, process, options, count=4, candidates=300)[-1]
    more = chosen_of(score, weight, process, options, count=4, candidates=1500)[-1]
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
