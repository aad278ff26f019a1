from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.selection.exact_yields import exact_yields
from tests.selection.varied_toy import varied_toy
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPointSettings,
    choose_working_point,
    scan_thresholds,
    significance_at_signal_efficiency,
)
from zsig_hep.selection.thresholds.scan import sufficient_signal
from zsig_hep.selection.varied_events import background_uncertainty_above
from zsig_hep.statistics import FigureOfMerit, asimov_with_uncertainty, evaluate_processes, weighted_yield

NAMES = ("hmumu", "dy", "top", "data")
ROLES = ("signal", "background", "background", "data")
LOOSE = exact_yields(minimum_effective_background=1, minimum_signal_efficiency=0)
INSIDE = LOOSE.model_copy(update={"simulation_uncertainty_in_figure": None})


def events_of(score, weight, process, names=NAMES, roles=ROLES):
    return ScoredEvents.from_arrays(score, weight, process, names=names, roles=roles)


def scan_of(score, weight, process, options=LOOSE, names=NAMES, roles=ROLES):
    return scan_thresholds(events_of(score, weight, process, names, roles), options)


def toy(seed=0, events=600, *, signed=True, levels=40):
    """Signal, two backgrounds and data, with tied scores and, if signed, one negative weight in ten."""
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=events)
    score = np.round(rng.normal(1.0 * (process == 0), 1.0) * levels / 4) / levels * 4
    weight = rng.exponential(np.array([0.1, 2.0, 0.5, 1.0])[process])
    if signed:
        weight = np.where(rng.random(events) < 0.1, -weight, weight)
    return score, weight, process


def loop_over_thresholds(score, weight, process, options):
    """Every column of the scan from masks, one threshold at a time."""
    rows = []
    simulated = process < 3
    for threshold in sorted(set(score[simulated].tolist())):
        passing = [weighted_yield(weight[(score >= threshold) & (process == index)]) for index in range(3)]
        signal, background = passing[0], passing[1] + passing[2]
        z = evaluate_processes(
            options.objective.figure,
            signal.value,
            [background.value],
            signal.variance,
            [background.variance],
            [0.0],
            relative_background_uncertainty=options.relative_background_uncertainty,
            simulation_uncertainty_in_figure=options.simulation_uncertainty_in_figure is not False,
            higher_moments=([background.third_moment], [background.fourth_moment]),
        )
        rows.append((threshold, passing, signal, background, float(z.value), float(z.uncertainty)))
    return rows


def loop_qualifies(row, totals, options):
    _, passing, signal, background, z, _ = row
    if signal.value <= 0 or background.value <= 0 or not np.isfinite(z):
        return False
    if signal.value / totals[0] < options.minimum_signal_efficiency:
        return False
    all_background = totals[1] + totals[2]
    dominant = [
        passing[index] for index in (1, 2) if totals[index] / all_background > options.dominant_background_fraction
    ]
    needed = [background, *dominant]
    return all(part.value > 0 and part.effective_entries >= options.minimum_effective_background for part in needed)


class TestWorkedByHand:
    def test_cumulative_yields(self):
        found = scan_of([0.9, 0.5, 0.5, 0.1, 0.7], [2.0, 1.0, 4.0, 3.0, 9.0], [0, 0, 1, 2, 3])
        np.testing.assert_array_equal(found.threshold, [0.1, 0.5, 0.9])
        assert found.processes.names == ("hmumu", "dy", "top")
        assert found.processes.roles == ("signal", "background", "background")
        np.testing.assert_array_equal(found.yields, [[3, 3, 2], [4, 4, 0], [3, 0, 0]])
        np.testing.assert_array_equal(found.variances, [[5, 5, 4], [16, 16, 0], [9, 0, 0]])
        np.testing.assert_array_equal(found.entries, [[2, 2, 1], [1, 1, 0], [1, 0, 0]])
        np.testing.assert_array_equal(found.total_yields, [3, 4, 3])
        np.testing.assert_array_equal(found.total_entries, [2, 1, 1])
        np.testing.assert_array_equal(found.signal, [3, 3, 2])
        np.testing.assert_array_equal(found.background, [7, 4, 0])
        np.testing.assert_array_equal(found.background_variance, [25, 16, 0])
        np.testing.assert_allclose(found.signal_efficiency, [1, 1, 2 / 3])
        np.testing.assert_allclose(found.background_efficiency, [1, 4 / 7, 0])
        np.testing.assert_allclose(found.background_entry_efficiency, [1, 0.5, 0])
        np.testing.assert_allclose(found.purity, [0.3, 3 / 7, 1])
        np.testing.assert_allclose(found.effective_background, [49 / 25, 1, 0])

    def test_tied_scores_stand_on_one_side(self):
        found = scan_of(np.zeros(6), np.ones(6), [0, 1, 1, 0, 2, 2])
        np.testing.assert_array_equal(found.threshold, [0.0])
        np.testing.assert_array_equal(found.entries[:, 0], [2, 2, 2])

    def test_negative_and_positive_zero_are_one_threshold(self):
        assert scan_of([0.0, -0.0], [1.0, 1.0], [0, 1]).threshold.size == 1

    def test_significance_at_signal_efficiency_takes_the_tightest_threshold(self):
        options = exact_yields(figure_of_merit="s_over_sqrt_b")
        found = scan_of([0.8, 0.6, 0.9, 0.7, 0.1], [1.0, 3.0, 4.0, 5.0, 7.0], [0, 0, 1, 1, 1], options)
        z = significance_at_signal_efficiency(found, [0.0, 0.25, 0.26, 1.0])
        np.testing.assert_allclose(z.value, [0.0, 0.5, 4 / 3, 4 / 3])
        assert z.uncertainty.shape == (4,)
        assert np.isnan(significance_at_signal_efficiency(found, 1.5).value)


class TestAgainstALoop:
    @pytest.mark.parametrize(("seed", "signed"), [(0, True), (1, False)])
    @pytest.mark.parametrize(
        "options",
        [
            WorkingPointSettings(),
            exact_yields(),
            exact_yields(figure_of_merit="s_over_sqrt_b", minimum_effective_background=3),
            WorkingPointSettings(figure_of_merit="poisson", minimum_effective_background=5),
            WorkingPointSettings(
                figure_of_merit="asimov_with_uncertainty",
                relative_background_uncertainty=0.1,
                simulation_uncertainty_in_figure=True,
                dominant_background_fraction=0.5,
            ),
        ],
    )
    def test_every_threshold(self, seed, signed, options):
        score, weight, process = toy(seed, signed=signed)
        found = scan_of(score, weight, process, options)
        rows = loop_over_thresholds(score, weight, process, options)
        totals = [part.value for part in rows[0][1]]
        assert found.threshold.tolist() == [row[0] for row in rows]
        for name, of in (("yields", "value"), ("variances", "variance"), ("entries", "entries")):
            expected = np.array([[getattr(part, of) for part in row[1]] for row in rows]).T
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12, atol=1e-12)
        for of, power in zip(found.higher_moments, (3, 4), strict=True):
            expected = [
                [(weight[(score >= row[0]) & (process == index)] ** power).sum() for row in rows] for index in range(3)
            ]
            np.testing.assert_allclose(of, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.significance, [row[4] for row in rows], rtol=1e-9)
        np.testing.assert_allclose(found.significance_uncertainty, [row[5] for row in rows], rtol=1e-6)
        expected = [loop_qualifies(row, totals, options) for row in rows]
        assert found.qualifies.tolist() == expected
        assert any(expected)
        best = max((row for row, good in zip(rows, expected, strict=True) if good), key=lambda row: row[4])
        chosen = choose_working_point(found, options)
        assert chosen.threshold == best[0]
        assert chosen.significance == pytest.approx(best[4], rel=1e-9)
        assert chosen.yields["dy"].entries == best[1][1].entries


class TestProperties:
    def assert_same(self, left, right, rtol=1e-9):
        for field in fields(left):
            if field.name in {"processes", "objective", "common_uncertainty"}:
                assert getattr(left, field.name) == getattr(right, field.name)
            else:
                np.testing.assert_allclose(getattr(left, field.name), getattr(right, field.name), rtol=rtol, atol=1e-10)

    @given(st.integers(0, 1000))
    @settings(max_examples=25, deadline=None)
    def test_the_order_of_events_does_not_matter(self, seed):
        events = toy(seed, 200)
        order = np.random.default_rng(seed).permutation(200)
        self.assert_same(scan_of(*events), scan_of(*(array[order] for array in events)))

    @given(st.integers(0, 1000), st.floats(0.01, 100))
    @settings(max_examples=25, deadline=None)
    def test_luminosity_scales_the_yields_and_the_root_of_it_the_significance(self, seed, luminosity):
        score, weight, process = toy(seed, 200, signed=False)
        one, scaled = scan_of(score, weight, process), scan_of(score, luminosity * weight, process)
        np.testing.assert_allclose(scaled.yields, luminosity * one.yields, rtol=1e-12)
        finite = np.isfinite(one.significance)
        np.testing.assert_allclose(
            scaled.significance[finite], np.sqrt(luminosity) * one.significance[finite], rtol=1e-9
        )
        np.testing.assert_allclose(scaled.effective_background, one.effective_background, rtol=1e-9)
        np.testing.assert_allclose(scaled.signal_efficiency, one.signal_efficiency, rtol=1e-12)

    @given(st.integers(0, 1000), st.floats(1.01, 100))
    @settings(max_examples=10, deadline=None)
    def test_what_the_simulation_does_not_know_grows_with_the_luminosity(self, seed, luminosity):
        # sum w^2 grows with its square: the figure gains, but less than by the root.
        score, weight, process = toy(seed, 200, signed=False)
        one = scan_of(score, weight, process, INSIDE)
        scaled = scan_of(score, luminosity * weight, process, INSIDE)
        some = np.isfinite(one.significance) & (one.signal > 0)
        gain = scaled.significance[some] / one.significance[some]
        assert (gain > 1).all()
        assert (gain < np.sqrt(luminosity)).all()

    @given(st.integers(0, 1000))
    @settings(max_examples=25, deadline=None)
    def test_two_half_weights_are_one_event_but_twice_the_effective_entries(self, seed):
        score, weight, process = events = toy(seed, 200)
        twice = np.tile(score, 2), np.tile(weight / 2, 2), np.tile(process, 2)
        one, two = scan_of(*events), scan_of(*twice)
        np.testing.assert_allclose(two.yields, one.yields, rtol=1e-12, atol=1e-12)
        finite = np.isfinite(one.significance)
        np.testing.assert_allclose(two.significance[finite], one.significance[finite], rtol=1e-7)
        # With the variance in the figure, half of it makes the figure larger wherever there is signal and background.
        inside, halved = (scan_of(*each, INSIDE).significance[finite] for each in (events, twice))
        gains = (one.signal[finite] > 0) & (one.background[finite] > 0)
        assert (halved[gains] > inside[gains]).all()
        assert (inside[gains] < one.significance[finite][gains]).all()
        np.testing.assert_allclose(two.variances, one.variances / 2, rtol=1e-12)
        np.testing.assert_allclose(two.effective_background, 2 * one.effective_background, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(two.entries, 2 * one.entries)

    @given(st.integers(0, 1000))
    @settings(max_examples=25, deadline=None)
    def test_a_monotone_map_of_the_score_keeps_everything_but_the_thresholds(self, seed):
        score, weight, process = toy(seed, 200)
        one, mapped = scan_of(score, weight, process), scan_of(np.arctan(score), weight, process)
        np.testing.assert_array_equal(mapped.yields, one.yields)
        np.testing.assert_array_equal(mapped.significance, one.significance)

    def test_data_change_nothing(self):
        score, weight, process = toy(1)
        simulated = process < 3
        self.assert_same(
            scan_of(score, weight, process), scan_of(score[simulated], weight[simulated], process[simulated])
        )

    def test_float32_scores_give_their_own_values_as_thresholds(self):
        score, weight, process = toy(2)
        score32 = (score + 0.1).astype(np.float32)
        found = scan_of(score32, weight, process)
        assert set(found.threshold) <= {float(value) for value in score32}
        middle = found.threshold.size // 2
        passing = weighted_yield(weight[(score32 >= float(found.threshold[middle])) & (process == 1)])
        assert found.yields[1, middle] == pytest.approx(passing.value, rel=1e-12)


class TestEffectiveEntries:
    def test_the_highest_significance_without_simulation_does_not_win(self):
        # Above 0.5 one light background event is left: Z is large there and means nothing.
        score = np.concatenate([np.full(50, 0.9), np.full(100, 0.2), [0.8]])
        weight = np.concatenate([np.full(50, 0.1), np.full(100, 1.0), [1e-3]])
        process = np.concatenate([np.zeros(50), np.ones(101)]).astype(int)
        options = exact_yields()
        found = scan_of(score, weight, process, options)
        assert found.significance[1] > 10 * found.significance[0]
        assert choose_working_point(found, options).threshold == 0.2

    def test_by_default_three_effective_entries_of_the_whole_background_are_enough(self):
        # 'top' makes half of the background before the cut and nothing above 0.5.
        score = np.concatenate([np.full(50, 0.9), np.full(100, 0.2), np.full(100, 0.2), np.full(3, 0.9)])
        process = np.repeat([0, 1, 2, 1], [50, 100, 100, 3])
        for kept, qualifies in ((253, True), (252, False)):
            found = scan_of(score[:kept], np.ones(kept), process[:kept], WorkingPointSettings())
            assert found.qualifies.tolist() == [True, qualifies]
            chosen = choose_working_point(found, WorkingPointSettings())
            assert chosen.threshold == (0.9 if qualifies else 0.2)

    def test_with_the_fraction_one_no_background_is_dominant(self):
        # Not even one that makes more than all of a background to which another contributes negatively.
        found = scan_of([0.1, 0.9, 0.1], [1.0, 12.0, -2.0], [0, 1, 2], WorkingPointSettings())
        assert found.dominant_backgrounds(1.0).size == 0
        assert found.dominant_backgrounds(0.999).tolist() == [1]

    def test_every_dominant_background_needs_its_own(self):
        # The rare heavy background hides behind many light events of the other until it is asked alone.
        score = np.concatenate([[0.9, 0.1], np.full(100, 0.9), np.full(20, 0.1), [0.9]])
        weight = np.concatenate([[1.0, 1.0], np.full(100, 1.0), np.full(20, 5.0), [1.0]])
        process = np.concatenate([[0, 0], np.full(100, 1), np.full(21, 2)])
        dominant = scan_of(score, weight, process, exact_yields(dominant_background_fraction=0.4))
        assert dominant.qualifies.tolist() == [True, False]
        lenient = scan_of(score, weight, process, exact_yields(dominant_background_fraction=0.6))
        assert lenient.qualifies.tolist() == [True, True]

    def test_dominance_is_of_the_yield_before_the_cut(self):
        # 'top' makes all of the background above 0.9 but only a hundredth before the cut.
        score = np.concatenate([np.full(3, 0.9), np.full(99, 0.1), np.full(2, 0.9)])
        weight = np.concatenate([np.ones(3), np.full(99, 1.0), np.full(2, 0.5)])
        process = np.concatenate([np.zeros(3), np.full(99, 1), np.full(2, 2)]).astype(int)
        found = scan_of(score, weight, process, exact_yields(minimum_effective_background=2))
        np.testing.assert_array_equal(found.dominant_backgrounds(0.1), [1])
        assert found.qualifies.tolist() == [True, False]
        assert not scan_of(score, weight, process, exact_yields(minimum_effective_background=3)).qualifies[1]

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    def test_a_background_that_is_not_positive_never_wins(self, figure):
        # Above 0.5 the background is, in turn: nothing, exactly zero of many, negative of many.
        for above in ([], [1.0, -1.0] * 50, [-1.0] * 100):
            score = np.concatenate([np.full(10, 0.9), np.full(200, 0.1), np.full(len(above), 0.8)])
            weight = np.concatenate([np.full(10, 1.0), np.full(200, 2.0), above])
            process = np.concatenate([np.zeros(10), np.ones(200 + len(above))]).astype(int)
            options = WorkingPointSettings(figure_of_merit=figure, minimum_effective_background=1)
            found = scan_of(score, weight, process, options)
            tight = found.threshold > 0.5
            assert not found.qualifies[tight].any()
            np.testing.assert_array_equal(found.effective_background[tight], 0.0)
            chosen = choose_working_point(found, options)
            assert chosen.threshold == 0.1
            assert np.isfinite(chosen.significance)

    def test_a_dominant_background_that_turned_negative_does_not_qualify(self):
        score = np.concatenate([[0.9], np.full(100, 0.1), np.full(40, 0.9), np.full(200, 0.9)])
        weight = np.concatenate([[1.0], np.full(100, 1.0), np.full(40, -1.0), np.full(200, 1.0)])
        process = np.concatenate([[0], np.full(140, 1), np.full(200, 2)])
        found = scan_of(score, weight, process, exact_yields())
        assert found.effective_background[1] > 10
        assert found.qualifies.tolist() == [True, False]


class TestSeveralSignals:
    NAMES = ("vbf", "dy", "ggf", "top", "data")
    ROLES = ("signal", "background", "signal", "background", "data")
    UNCERTAIN = exact_yields(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={"dy": 0.03, "top": 0.2},
        minimum_effective_background=5,
    )

    def toy(self, events=4000):
        rng = np.random.default_rng(0)
        process = rng.integers(0, 5, size=events)
        score = rng.normal(np.array([1.5, -0.5, 0.8, 0.3, 0.0])[process])
        weight = np.array([0.02, 1.0, 0.05, 0.3, 1.0])[process] * rng.choice([1.0, 1.0, 1.0, 1.0, -0.5], size=events)
        return events_of(score, weight, process, self.NAMES, self.ROLES)

    @pytest.mark.parametrize("inside", [False, None])
    @pytest.mark.parametrize("signals", ["sum", "mean", "minimum"])
    def test_every_threshold_by_hand(self, signals, inside):
        options = self.UNCERTAIN.model_copy(update={"signals": signals, "simulation_uncertainty_in_figure": inside})
        scan = scan_thresholds(self.toy(), options)
        possible = (scan.background > 0.01) & (scan.yields[[0, 2]] > -scan.background).all(axis=0)
        vbf, dy, ggf, top = scan.yields[:, possible]

        simulation = 0.0 if inside is False else scan.background_variance[possible]

        def alone(s):
            sigma = np.sqrt((0.03 * dy) ** 2 + (0.2 * top) ** 2 + simulation)
            return asimov_with_uncertainty(s, dy + top, sigma)

        expected = {
            "sum": alone(vbf + ggf),
            "mean": (alone(vbf) + alone(ggf)) / 2,
            "minimum": np.minimum(alone(vbf), alone(ggf)),
        }[signals]
        assert possible.sum() > 2000
        np.testing.assert_allclose(scan.significance[possible], expected, rtol=1e-12)
        assert np.isfinite(scan.significance[scan.qualifies]).all()

    def test_the_required_efficiency_is_combined_as_the_figure_of_merit(self):
        counts = set()
        for signals in ("sum", "mean", "minimum"):
            options = WorkingPointSettings(signals=signals, minimum_signal_efficiency=0.3)
            scan = scan_thresholds(self.toy(), options)
            vbf, ggf = scan.yields[0] / scan.total_yields[0], scan.yields[2] / scan.total_yields[2]
            both = (scan.yields[0] + scan.yields[2]) / (scan.total_yields[0] + scan.total_yields[2])
            efficiency = {"sum": both, "mean": (vbf + ggf) / 2, "minimum": np.minimum(vbf, ggf)}[signals]
            found = sufficient_signal(scan, options)
            np.testing.assert_array_equal(found, (efficiency >= 0.3) & (scan.signal > 0))
            counts.add(int(found.sum()))
        assert len(counts) == 3

    def test_a_hypothesis_without_events_is_refused(self):
        events = self.toy()
        events = events.select(events.process != 2)
        assert scan_thresholds(events, WorkingPointSettings()).qualifies.any()
        with pytest.raises(InputError, match=r"signal process 'ggf' before the cut is 0; .* set signals: sum"):
            scan_thresholds(events, WorkingPointSettings(signals="minimum"))


class TestVariations:
    SETTINGS = exact_yields(
        figure_of_merit="asimov_with_uncertainty", variations_in_figure=True, relative_background_uncertainty=0.1
    )

    @pytest.mark.parametrize("inside", [False, None])
    def test_they_add_to_the_common_uncertainty_at_every_threshold(self, inside):
        events = varied_toy()
        scan = scan_thresholds(events, self.SETTINGS.model_copy(update={"simulation_uncertainty_in_figure": inside}))
        shift = background_uncertainty_above(events, scan.threshold, scan.yields)
        some = scan.background > 0
        s, b = scan.signal[some], scan.background[some]
        sigma = np.hypot(shift[some], 0.1 * b)
        np.testing.assert_allclose(scan.common_uncertainty[some], sigma / b, rtol=1e-12)
        simulation = 0.0 if inside is False else scan.background_variance[some]
        expected = asimov_with_uncertainty(s, b, np.sqrt(sigma**2 + simulation))
        np.testing.assert_allclose(scan.significance[some], expected, rtol=1e-9)

    def test_where_no_background_is_left_their_relative_size_is_none(self):
        # The highest score of all is a signal event.
        scan = scan_thresholds(varied_toy(), self.SETTINGS)
        assert (scan.background[-1], scan.common_uncertainty[-1], scan.qualifies[-1]) == (0.0, 0.1, False)

    @pytest.mark.parametrize("left_out", ["variations", "variations_in_figure"])
    def test_without_them_the_uncertainty_is_that_of_the_settings(self, left_out):
        events, options = varied_toy(), self.SETTINGS
        if left_out == "variations":
            events = replace(events, variations=())
        else:
            options = options.model_copy(update={"variations_in_figure": False})
        scan = scan_thresholds(events, options)
        assert scan.common_uncertainty is None
        expected = asimov_with_uncertainty(scan.signal, scan.background, 0.1 * scan.background)
        np.testing.assert_allclose(scan.significance, expected, rtol=1e-9)


def test_an_efficiency_that_is_just_reached_is_enough():
    options = WorkingPointSettings(minimum_effective_background=1, minimum_signal_efficiency=0.5)
    found = scan_of([0.9, 0.5, 0.9, 0.1], [1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1], options)
    assert (found.signal_efficiency[-1], found.qualifies.tolist()) == (0.5, [True, True, True])


class TestRefusals:
    @pytest.mark.parametrize(("weight", "role"), [([0.0, 1.0], "signal"), ([1.0, -1.0], "background")])
    def test_no_positive_yield(self, weight, role):
        with pytest.raises(InputError, match=f"The {role} yield before the cut is"):
            scan_of([0.1, 0.2], weight, [0, 1])

    def test_no_event(self):
        with pytest.raises(InputError, match="The signal yield before the cut is 0"):
            scan_of([], [], [])

    def test_no_signal_process(self):
        with pytest.raises(InputError, match="The signal yield"):
            scan_of([0.1], [1.0], [0], names=("dy",), roles=("background",))

    @pytest.mark.parametrize("name", ["tpo", "data"])
    def test_an_uncertainty_of_no_background(self, name):
        options = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", background_uncertainties={name: 0.1})
        with pytest.raises(InputError, match=f"names '{name}', which is no background process"):
            scan_of(*toy(), options)

    def test_arguments_are_not_changed(self):
        events = toy(3)
        copies = [array.copy() for array in events]
        scan_of(*events)
        for array, copy in zip(events, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
