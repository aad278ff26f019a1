import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.selection.categories.category_toy import NAMES, events_of, toy
from zsig_hep.selection import ScoredEvents, paired_difference
from zsig_hep.selection.categories.yields import CategorySums, paired_category_difference
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable, weighted_yield

SIMPLE = Objective(FigureOfMerit.S_OVER_SQRT_B)
UNCERTAIN = Objective(
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"top": 0.3}, relative_background_uncertainty=0.1
)
INSIDE = dataclasses.replace(UNCERTAIN, simulation_uncertainty_in_figure=True)
PROCESSES = ProcessTable.of(["higgs", "dy"], ["signal", "background"])


def sums_of(yields, variances, objective=SIMPLE, processes=PROCESSES):
    """Sums of equal weights within each process and category."""
    yields, variances = np.array(yields, dtype=float), np.array(variances, dtype=float)
    weight = np.divide(variances, yields, out=np.zeros(yields.shape), where=yields != 0)
    moments = weight * variances, weight**2 * variances
    return CategorySums.of_yields(
        processes, yields, variances, np.ones(yields.shape, dtype=int), moments, objective
    )  # fmt: skip


def divided(seed=1, events=900):
    """Events, and their category of three; a tenth of them is in none."""
    found = events_of(*toy(seed, events))
    return found, np.random.default_rng(seed).integers(-1, 9, events).clip(-1, 8) // 3


class TestOfEvents:
    @pytest.mark.parametrize("objective", [UNCERTAIN, INSIDE])
    def test_yields_against_masks(self, objective):
        events, category = divided()
        sums = CategorySums.of_events(events, category, 3, objective)
        assert sums.processes.names == NAMES[:3]
        assert len(sums.categories) == 3
        for index, each in enumerate(sums.categories):
            inside = category == index
            expected = {
                name: weighted_yield(events.weight[inside & (events.process == row)])
                for row, name in enumerate(NAMES[:3])
            }
            assert each.yields == expected
            assert each.signal == expected["hmumu"]
            assert each.background == expected["dy"] + expected["top"]
            y, v, *higher = (
                np.array([getattr(one, what) for one in expected.values()])
                for what in ("value", "variance", "third_moment", "fourth_moment")
            )
            z = objective.evaluate(y, v, sums.processes, higher_moments=tuple(higher))
            assert each.significance == pytest.approx(float(z.value), rel=1e-12)
            assert each.significance_uncertainty == pytest.approx(float(z.uncertainty), rel=1e-12)

    def test_data_between_the_processes_are_left_out(self):
        events = ScoredEvents.from_arrays(
            np.zeros(4), [1.0, 2.0, 4.0, 8.0], [0, 1, 2, 2], names=("higgs", "data", "dy"),
            roles=("signal", "data", "background"),
        )  # fmt: skip
        sums = CategorySums.of_events(events, np.array([0, 0, 0, 1]), 2, SIMPLE)
        np.testing.assert_array_equal(sums.yields, [[1, 0], [4, 8]])
        np.testing.assert_array_equal(sums.entries, [[1, 0], [1, 1]])

    @given(st.integers(0, 1000))
    @settings(max_examples=10, deadline=None)
    def test_two_half_weights_are_one_event_in_the_significance(self, seed):
        events, category = divided(seed)
        twice = events.select(np.tile(np.arange(len(events)), 2))
        halves = dataclasses.replace(twice, weight=twice.weight / 2)
        one, two = (
            CategorySums.of_events(each, each_category, 3, UNCERTAIN)
            for each, each_category in ((events, category), (halves, np.tile(category, 2)))
        )
        np.testing.assert_allclose(two.yields, one.yields, rtol=1e-12)
        np.testing.assert_allclose(two.variances, one.variances / 2, rtol=1e-12)
        np.testing.assert_allclose(two.z.value, one.z.value, rtol=1e-12)


class TestCombined:
    def test_worked_by_hand(self):
        # s = 3, 8 over b = 9, 16: Z = 1 and 2, and sqrt(5) together.
        sums = sums_of([[3, 8], [9, 16]], [[0.9, 0], [0, 64]])
        found = sums.combined
        assert found.value == pytest.approx(np.sqrt(5), rel=1e-14)
        # sigma of each: sqrt(0.9) / 3, and 2 / (2 x 16) x 8 = 1/2; weighted with 1 / sqrt(5) and 2 / sqrt(5).
        assert found.uncertainty == pytest.approx(np.sqrt((0.1 + 4 * 0.25) / 5), rel=1e-14)
        assert found.hypotheses == {}
        assert sums.why_not_combinable == ""

    @pytest.mark.parametrize("signals", ["mean", "minimum"])
    def test_each_hypothesis_is_combined_alone(self, signals):
        processes = ProcessTable.of(["vbf", "dy", "ggf"], ["signal", "background", "signal"])
        objective = dataclasses.replace(SIMPLE, signals=signals)
        sums = sums_of([[3, 8], [9, 16], [6, 4]], np.ones((3, 2)), objective, processes)
        found = {name: each.significance for name, each in sums.combined.hypotheses.items()}
        assert found == pytest.approx({"vbf": np.sqrt(1 + 4), "ggf": np.sqrt(4 + 1)}, rel=1e-14)
        expected = np.sqrt(2 * 1.5**2) if signals == "mean" else np.sqrt(1 + 1)
        assert sums.combined.value == pytest.approx(expected, rel=1e-14)

    @pytest.mark.parametrize(
        ("signal", "background", "what"),
        [
            ((3.0, -1.0), (9.0, 16.0), "category 1 of 2 (from 0) holds -1 +- 1 signal and 16 +- 1 background"),
            ((3.0, 8.0), (0.0, 16.0), "category 0 of 2 (from 0) holds 3 +- 1 signal and 0 +- 1 background"),
            ((0.0, 8.0), (9.0, -2.0), "category 0 of 2 (from 0) holds 0 +- 1 signal"),
        ],
    )
    def test_what_cannot_be_combined_is_named(self, signal, background, what):
        sums = sums_of([signal, background], np.ones((2, 2)))
        assert what in sums.why_not_combinable


class TestGradient:
    @pytest.mark.parametrize("objective", [SIMPLE, UNCERTAIN])
    def test_against_finite_differences(self, objective):
        processes = ProcessTable.of(["higgs", "dy", "top"], ["signal", "background", "background"])
        yields, zeros, step = np.array([[3.0, 8.0], [9.0, 16.0], [4.0, 1.0]]), np.zeros((3, 2)), 1e-5
        found = sums_of(yields, zeros, objective, processes).gradient
        assert found.shape == (3, 3)
        np.testing.assert_array_equal(found[:, -1], 0.0)
        for place in np.ndindex(3, 2):
            shift = np.zeros((3, 2))
            shift[place] = step
            up, down = (sums_of(yields + sign * shift, zeros, objective, processes).combined.value for sign in (1, -1))
            assert found[place] == pytest.approx((up - down) / (2 * step), rel=1e-7)

    def test_in_the_sum_of_squared_weights_against_finite_differences(self):
        processes = ProcessTable.of(["higgs", "dy", "top"], ["signal", "background", "background"])
        yields, variances = np.array([[3.0, 8.0], [9.0, 16.0], [4.0, 1.0]]), np.full((3, 2), 0.7)
        found, step = sums_of(yields, variances, INSIDE, processes).variance_gradient, 1e-5
        assert found.shape == (3, 3)
        np.testing.assert_array_equal(found[:, -1], 0.0)
        for place in np.ndindex(3, 2):
            shift = np.zeros((3, 2))
            shift[place] = step
            up, down = (sums_of(yields, variances + sign * shift, INSIDE, processes).combined.value for sign in (1, -1))
            assert found[place] == pytest.approx((up - down) / (2 * step), rel=1e-7)
        assert not sums_of(yields, variances, UNCERTAIN, processes).variance_gradient.any()


class TestPairedDifference:
    def difference(self, events, first, second, objective=UNCERTAIN):
        sums = [CategorySums.of_events(events, category, 3, objective) for category in (first, second)]
        return paired_category_difference(*sums, first, second, events)

    def test_the_same_division_twice_differs_by_nothing(self):
        events, category = divided()
        found = self.difference(events.simulated, category[~events.is_data], category[~events.is_data])
        assert (found.value, found.uncertainty) == (0.0, 0.0)

    def test_worked_by_hand(self):
        # One category: s / sqrt(b) = 8 / 4 with everything, 4 / 3 without the last signal and background event.
        events = ScoredEvents.from_arrays(
            np.zeros(4), [4.0, 4.0, 9.0, 7.0], [0, 0, 1, 1], names=PROCESSES.names, roles=PROCESSES.roles
        )
        all_of_them, some = np.array([0, 0, 0, 0]), np.array([0, -1, 0, -1])
        sums = [CategorySums.of_events(events, category, 1, SIMPLE) for category in (all_of_them, some)]
        found = paired_category_difference(*sums, all_of_them, some, events)
        assert found.value == pytest.approx(2 - 4 / 3, rel=1e-14)
        # dZ/ds = 1/4 and 1/3; dZ/db = -8 / (2 x 64) and -4 / (2 x 27).
        shared = (4 * (1 / 4 - 1 / 3)) ** 2 + (9 * (4 / 54 - 8 / 128)) ** 2
        alone = (4 / 4) ** 2 + (7 * 8 / 128) ** 2
        assert found.uncertainty == pytest.approx(np.sqrt(shared + alone), rel=1e-14)

    @pytest.mark.parametrize("objective", [UNCERTAIN, INSIDE])
    def test_of_one_category_it_is_the_limit_of_the_bootstrap(self, objective):
        events = events_of(*toy(7, 6000, levels=600)).simulated
        selections = [events.score >= 0.8, events.score >= 1.2]
        categories = [selected.astype(np.int64) - 1 for selected in selections]
        sums = [CategorySums.of_events(events, category, 1, objective) for category in categories]
        found = paired_category_difference(*sums, *categories, events)
        drawn = paired_difference(*selections, events, objective, np.random.default_rng(0))
        assert found.value == pytest.approx(drawn.value, rel=1e-12)
        assert found.uncertainty == pytest.approx(drawn.uncertainty, rel=0.1)

    def test_the_fluctuation_of_the_variance_is_in_the_difference(self):
        # Few events: at constant sum w^2 the difference would be quoted several times too precise.
        objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True)
        process = np.repeat([0, 1], [400, 120])
        events = ScoredEvents.from_arrays(
            np.concatenate([np.linspace(0, 1, 400), np.linspace(0, 1, 120) ** 2]), np.repeat([0.025, 4.0], [400, 120]),
            process, names=PROCESSES.names, roles=PROCESSES.roles,
        )  # fmt: skip
        selections = [events.score >= 0.2, events.score >= 0.5]
        categories = [selected.astype(np.int64) - 1 for selected in selections]
        sums = [CategorySums.of_events(events, category, 1, objective) for category in categories]
        found = paired_category_difference(*sums, *categories, events)
        drawn = paired_difference(*selections, events, objective, np.random.default_rng(0), replicas=4000)
        assert found.uncertainty == pytest.approx(drawn.uncertainty, rel=0.1)
        still = [each.gradient[events.process, category] for each, category in zip(sums, categories, strict=True)]
        at_constant_variance = np.sqrt(np.sum((events.weight * (still[0] - still[1])) ** 2))
        assert found.uncertainty > 1.5 * at_constant_variance
