from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    WorkingPointSettings,
    choose_working_point,
    scan_thresholds,
    significance_at_signal_efficiency,
)
from zsig_hep.statistics import FigureOfMerit, evaluate, weighted_yield

NAMES = ("hmumu", "dy", "top", "data")
ROLES = ("signal", "background", "background", "data")
LOOSE = WorkingPointSettings(minimum_effective_background=1, minimum_signal_efficiency=0)


def scan_of(score, weight, process, options=LOOSE, names=NAMES, roles=ROLES):
    return scan_thresholds(score, weight, process, process_names=names, roles=roles, settings=options)


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
        z = evaluate(
            options.figure_of_merit,
            signal.value,
            background.value,
            signal.variance,
            background.variance,
            options.relative_background_uncertainty,
            simulation_uncertainty_in_figure=options.simulation_uncertainty_in_figure,
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
        assert found.process_names == ("hmumu", "dy", "top")
        assert found.roles == ("signal", "background", "background")
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
        options = WorkingPointSettings(figure_of_merit="s_over_sqrt_b")
        found = scan_of([0.8, 0.6, 0.9, 0.7, 0.1], [1.0, 3.0, 4.0, 5.0, 7.0], [0, 0, 1, 1, 1], options)
        z = significance_at_signal_efficiency(found, [0.0, 0.25, 0.26, 1.0])
        np.testing.assert_allclose(z.value, [0.0, 0.5, 4 / 3, 4 / 3])
        assert z.uncertainty.shape == (4,)
        assert np.isnan(significance_at_signal_efficiency(found, 1.5).value)


class TestAgainstALoop:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("signed", [False, True])
    @pytest.mark.parametrize(
        "options",
        [
            WorkingPointSettings(),
            WorkingPointSettings(figure_of_merit="s_over_sqrt_b", minimum_effective_background=3),
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
        np.testing.assert_allclose(found.significance, [row[4] for row in rows], rtol=1e-9)
        np.testing.assert_allclose(found.significance_uncertainty, [row[5] for row in rows], rtol=1e-9)
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
            if field.name in ("process_names", "roles", "common_uncertainty"):
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

    @given(st.integers(0, 1000))
    @settings(max_examples=25, deadline=None)
    def test_two_half_weights_are_one_event_but_twice_the_effective_entries(self, seed):
        score, weight, process = toy(seed, 200)
        one = scan_of(score, weight, process)
        two = scan_of(np.tile(score, 2), np.tile(weight / 2, 2), np.tile(process, 2))
        np.testing.assert_allclose(two.yields, one.yields, rtol=1e-12, atol=1e-12)
        finite = np.isfinite(one.significance)
        np.testing.assert_allclose(two.significance[finite], one.significance[finite], rtol=1e-7)
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
        options = WorkingPointSettings()
        found = scan_of(score, weight, process, options)
        assert found.significance[1] > 10 * found.significance[0]
        assert choose_working_point(found, options).threshold == 0.2

    def test_every_dominant_background_needs_its_own(self):
        # The rare heavy background hides behind many light events of the other until it is asked alone.
        score = np.concatenate([[0.9, 0.1], np.full(100, 0.9), np.full(20, 0.1), [0.9]])
        weight = np.concatenate([[1.0, 1.0], np.full(100, 1.0), np.full(20, 5.0), [1.0]])
        process = np.concatenate([[0, 0], np.full(100, 1), np.full(21, 2)])
        dominant = scan_of(score, weight, process, WorkingPointSettings(dominant_background_fraction=0.4))
        assert dominant.qualifies.tolist() == [True, False]
        lenient = scan_of(score, weight, process, WorkingPointSettings(dominant_background_fraction=0.6))
        assert lenient.qualifies.tolist() == [True, True]

    def test_dominance_is_of_the_yield_before_the_cut(self):
        # 'top' makes all of the background above 0.9 but only a hundredth before the cut.
        score = np.concatenate([np.full(3, 0.9), np.full(99, 0.1), np.full(2, 0.9)])
        weight = np.concatenate([np.ones(3), np.full(99, 1.0), np.full(2, 0.5)])
        process = np.concatenate([np.zeros(3), np.full(99, 1), np.full(2, 2)]).astype(int)
        found = scan_of(score, weight, process, WorkingPointSettings(minimum_effective_background=2))
        np.testing.assert_array_equal(found.dominant_backgrounds(0.1), [1])
        assert found.qualifies.tolist() == [True, False]
        assert not scan_of(score, weight, process, WorkingPointSettings(minimum_effective_background=3)).qualifies[1]

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
        found = scan_of(score, weight, process, WorkingPointSettings())
        assert found.effective_background[1] > 10
        assert found.qualifies.tolist() == [True, False]


class TestRefusals:
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_scores_that_are_not_finite(self, bad):
        with pytest.raises(InputError, match=r"score of event 1 is (nan|inf) \(1 such"):
            scan_of([0.1, bad], [1.0, 1.0], [0, 1])

    def test_weights_that_are_not_finite(self):
        with pytest.raises(InputError, match="weight of event 0 is nan"):
            scan_of([0.1, 0.2], [np.nan, 1.0], [0, 1])

    def test_a_nan_score_of_data_too(self):
        with pytest.raises(InputError, match="score of event 2"):
            scan_of([0.1, 0.2, np.nan], [1.0, 1.0, 1.0], [0, 1, 3])

    def test_lengths(self):
        with pytest.raises(InputError, match="one length"):
            scan_of([0.1, 0.2], [1.0], [0, 1])

    @pytest.mark.parametrize("process", [[0, 4], [-1, 1]])
    def test_process_indices(self, process):
        with pytest.raises(InputError, match="there are 4 processes"):
            scan_of([0.1, 0.2], [1.0, 1.0], process)

    def test_process_names_in_place_of_indices(self):
        with pytest.raises(InputError, match="must be integer indices"):
            scan_of([0.1, 0.2], [1.0, 1.0], ["hmumu", "dy"])

    def test_roles(self):
        with pytest.raises(InputError, match="one role"):
            scan_of([0.1], [1.0], [0], roles=("signal",))
        with pytest.raises(InputError, match="'hmumu' has role 'sgnal'"):
            scan_of([0.1], [1.0], [0], roles=("sgnal", *ROLES[1:]))

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

    def test_arguments_are_not_changed(self):
        events = toy(3)
        copies = [array.copy() for array in events]
        scan_of(*events)
        for array, copy in zip(events, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


class TestSettings:
    def test_defaults(self):
        options = WorkingPointSettings()
        assert options.figure_of_merit is FigureOfMerit.ASIMOV
        assert (options.minimum_effective_background, options.minimum_signal_efficiency) == (10.0, 0.05)

    @pytest.mark.parametrize(
        "given",
        [
            {"relative_background_uncertainty": 0.1},
            {"background_uncertainties": {"dy": 0.0, "top": 0.1}},
            {"simulation_uncertainty_in_figure": True},
        ],
    )
    def test_an_uncertainty_that_the_figure_would_ignore_is_refused(self, given):
        usable = "set it to 's_over_sqrt_b_with_uncertainty' or 'asimov_with_uncertainty'"
        for figure in ("asimov", "s_over_sqrt_b"):
            with pytest.raises(ValidationError, match=usable):
                WorkingPointSettings(figure_of_merit=figure, **given)
        assert WorkingPointSettings(figure_of_merit="s_over_sqrt_b_with_uncertainty", **given)
        assert WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", **given)

    @pytest.mark.parametrize(
        "given",
        [
            {"minimum_effective_background": 0},
            {"minimum_signal_efficiency": 1.5},
            {"relative_background_uncertainty": -0.1},
            {"background_uncertainties": {"dy": -0.1}, "figure_of_merit": "asimov_with_uncertainty"},
            {"signals": "average"},
            {"figure_of_merit": "best"},
            {"minimum_background": 10},
        ],
    )
    def test_out_of_range(self, given):
        with pytest.raises(ValidationError):
            WorkingPointSettings(**given)
