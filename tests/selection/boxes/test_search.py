import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from tests.selection.boxes.box_toy import DEFAULT, DOMINANT, LOOSE, TIGHT, UNCERTAIN, problem_of, toy, value_of
from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import Box, Cut, WorkingPointSettings
from zsig_hep.selection.boxes.problem import qualifies
from zsig_hep.selection.boxes.search import drop_weak_cuts, gain_in_sigmas, polish, search

LOOSE_INSIDE = LOOSE.model_copy(update={"simulation_uncertainty_in_figure": None})


def one_sided(values, side):
    """Every cut on one side that selects differently."""
    finite = np.unique(values[~np.isnan(values)]).astype(np.float64)
    middle = (finite[1:] + finite[:-1]) / 2
    ends = [finite[0] - 1] if side == "above" else [finite[-1] + 1]
    return [None, *ends, *middle.tolist()]


def every_cut(table, variable, side, missing="fail"):
    values = table.feature(variable)
    if side == "window":
        pairs = itertools.product(one_sided(values, "above"), one_sided(values, "below"))
        return [Cut(variable, low, high, missing) for low, high in pairs]
    if side == "above":
        return [Cut(variable, low, None, missing) for low in one_sided(values, side)]
    return [Cut(variable, None, high, missing) for high in one_sided(values, side)]


def best_by_force(table, variables, selection, missing="fail"):
    """The highest significance of all boxes."""
    passes = [
        [cut.passes(table.feature(name)) for cut in every_cut(table, name, side, missing)]
        for name, side in variables.items()
    ]
    values = [value_of(table, np.logical_and.reduce(masks), selection) for masks in itertools.product(*passes)]
    return max(value for value in values if value is not None)


class TestAgainstBruteForce:
    @pytest.mark.parametrize("selection", [DEFAULT, LOOSE, TIGHT, DOMINANT, UNCERTAIN])
    @pytest.mark.parametrize("side", ["above", "below"])
    def test_one_variable(self, selection, side):
        table = toy(1, 150, signed=True, missing=0.1)
        problem = problem_of(table, {"y": side}, selection)
        edges, value = polish(problem, problem.nothing)
        assert value == pytest.approx(best_by_force(table, {"y": side}, selection), rel=1e-12)
        assert value == pytest.approx(value_of(table, problem.box(edges).select(table), selection), rel=1e-12)

    @pytest.mark.parametrize(("seed", "missing"), [(0, "fail"), (1, "pass")])
    def test_a_window_of_few_values_from_anywhere(self, seed, missing):
        table = toy(seed, 200, signed=True, levels=4, missing=0.1)
        problem = problem_of(table, {"y": "window"}, missing=missing)
        assert min(side.allowed.size for side in problem.sides) <= 32
        best = best_by_force(table, {"y": "window"}, LOOSE, missing)
        generator = np.random.default_rng(seed)
        for _ in range(5):
            start = np.array([generator.integers(side.allowed.size) for side in problem.sides])
            _, value = polish(problem, start)
            assert value == pytest.approx(best, rel=1e-12)

    @pytest.mark.parametrize("seed", range(2))
    @pytest.mark.parametrize("selection", [DEFAULT, LOOSE, DOMINANT, UNCERTAIN])
    def test_two_variables(self, seed, selection):
        table = toy(seed, 90, signed=seed % 2 == 1, levels=5)
        variables = {"x": "below", "y": "above"}
        problem = problem_of(table, variables, selection, kicks=10)
        _, value = search(problem, [problem.nothing], np.random.default_rng(seed))
        assert value == pytest.approx(best_by_force(table, variables, selection), rel=1e-12)

    @pytest.mark.parametrize(("seed", "selection"), [(0, DOMINANT), (4, TIGHT)])
    def test_two_edges_together_move_along_a_requirement_that_holds_each_of_them(self, seed, selection):
        table, variables = toy(seed, 120, levels=3), {"x": "below", "y": "above"}
        problem = problem_of(table, variables, selection)
        best = best_by_force(table, variables, selection)
        assert polish(problem, problem.nothing, pairs=False)[1] < best * (1 - 1e-3)
        assert polish(problem, problem.nothing)[1] == pytest.approx(best, rel=1e-12)

    def test_sides_that_are_held_stay(self):
        problem = problem_of(toy(3, 200), {"x": "below", "y": "above"})
        start = np.array([30, 0])
        assert polish(problem, start, held=[0])[0][0] == 30
        assert polish(problem, start)[0][0] != 30

    def test_no_single_edge_can_be_moved_to_a_better_place(self):
        table = toy(3, 400, signed=True, missing=0.1)
        variables = {"x": "window", "y": "above", "noise": "below"}
        problem = problem_of(table, variables, TIGHT)
        edges, value = polish(problem, problem.nothing)
        box = problem.box(edges)
        assert value_of(table, box.select(table), TIGHT) == pytest.approx(value, rel=1e-12)
        for cut in box.cuts:
            rest = box.select(table, without=[cut.variable])
            for low in [cut.low] if cut.variable == "noise" else one_sided(table.feature(cut.variable), "above"):
                moved = value_of(
                    table, rest & Cut(cut.variable, low, cut.high).passes(table.feature(cut.variable)), TIGHT
                )
                assert moved is None or moved <= value * (1 + 1e-9)
            for high in [None] if cut.variable == "y" else one_sided(table.feature(cut.variable), "below"):
                moved = value_of(
                    table, rest & Cut(cut.variable, cut.low, high).passes(table.feature(cut.variable)), TIGHT
                )
                assert moved is None or moved <= value * (1 + 1e-9)

    def test_among_round_numbers(self):
        table = toy(4, 300)
        variables = {"x": {"side": "window", "step": 0.5}, "y": {"side": "above", "significant_digits": 1}}
        problem = problem_of(table, variables, kicks=6)
        edges, value = search(problem, [problem.nothing], np.random.default_rng(0))
        box = problem.box(edges)
        assert value == pytest.approx(value_of(table, box.select(table), LOOSE), rel=1e-12)
        steps, digits = np.arange(-6, 7) * 0.5, [float(f"{m}e{e}") for e in (-1, 0) for m in range(-9, 10)]
        values = [
            value_of(table, Box((Cut("x", low, high), Cut("y", cut))).select(table), LOOSE)
            for low, high, cut in itertools.product(steps[:8], steps[5:], digits)
        ]
        assert value == pytest.approx(max(each for each in values if each is not None), rel=1e-12)


class TestInvariances:
    def found(self, table, selection=LOOSE, **options):
        problem = problem_of(table, {"x": "window", "y": "above", "noise": "below"}, selection, **options)
        edges, value = search(problem, [problem.nothing], np.random.default_rng(0))
        return problem.box(edges), value

    @given(st.integers(0, 1000))
    @given_settings(max_examples=4, deadline=None)
    def test_the_order_of_events_does_not_matter(self, seed):
        table = toy(seed, 120, signed=True, levels=5, missing=0.1)
        order = np.random.default_rng(seed).permutation(len(table))
        box, value = self.found(table, kicks=2)
        other, same = self.found(table.select(order), kicks=2)
        assert other == box
        assert same == pytest.approx(value, rel=1e-9)

    @given(st.integers(0, 1000))
    @given_settings(max_examples=4, deadline=None)
    def test_two_half_weights_are_one_event(self, seed):
        table = toy(seed, 120, signed=True, levels=5)
        twice = table.select(np.tile(np.arange(len(table)), 2))
        twice = dataclasses.replace(twice, weight=twice.weight / 2)
        selection = exact_yields(minimum_effective_background=4, minimum_signal_efficiency=0.1)
        halved = selection.model_copy(update={"minimum_effective_background": 8})
        box, value = self.found(table, selection, kicks=2)
        other, same = self.found(twice, halved, kicks=2)
        assert other == box
        assert same == pytest.approx(value, rel=1e-9)

    def test_data_do_not_choose(self):
        table = toy(5, 300)
        roles = (*table.roles, "data")
        grown = table.select(np.concatenate([np.arange(300), np.arange(100)]))
        process = grown.process.copy()
        process[300:] = 3
        grown = dataclasses.replace(
            grown, process=process, process_names=(*table.process_names, "data"), roles=roles, labels=roles
        )
        assert self.found(grown, kicks=0)[0] == self.found(table, kicks=0)[0]


class TestMissing:
    def test_the_existence_of_a_value_can_be_the_cut(self):
        table = toy(6, 400)
        y = np.where(table.is_signal | (np.arange(400) % 4 == 0), 1.0 + 0.01 * table.feature("noise"), np.nan)
        table = dataclasses.replace(
            table, features=np.column_stack([table.features[:, :1], y]), feature_names=("x", "y")
        )
        problem = problem_of(table, {"y": "above"})
        # Nearly all that the cut can do is to ask for a value.
        _, value = polish(problem, problem.nothing)
        assert value >= value_of(table, ~np.isnan(y), LOOSE)
        exists = problem.box(np.array([1]))
        np.testing.assert_array_equal(exists.select(table), ~np.isnan(y))

    def test_a_missing_value_that_passes(self):
        table = toy(7, 400)
        y = np.where(table.is_signal, np.nan, table.feature("y"))
        table = dataclasses.replace(table, features=np.column_stack([y]), feature_names=("y",))
        failing, passing = (problem_of(table, {"y": "below"}, missing=missing) for missing in ("fail", "pass"))
        assert not polish(failing, failing.nothing)[0].any()
        edges, value = polish(passing, passing.nothing)
        assert value > passing.value(passing.nothing)
        assert table.is_signal[passing.box(edges).select(table)].sum() == table.is_signal.sum()


class TestPruning:
    def test_a_useless_variable_stays_open(self):
        table = toy(8, 2000)
        problem = problem_of(table, {"x": "window", "noise": "above"}, WorkingPointSettings())
        edges, value = polish(problem, problem.nothing)
        pruned, kept = drop_weak_cuts(problem, edges, value)
        assert problem.box(pruned).open_variables == ("noise",)
        assert problem.box(pruned).cut("x").low is not None
        assert kept <= value
        assert all(gain_in_sigmas(problem, pruned, index) >= 2 for index in np.flatnonzero(pruned))

    def test_a_cut_that_removes_nothing_is_dropped_even_without_a_minimum(self):
        table = toy(9, 300)
        # The second variable repeats the first.
        table = dataclasses.replace(
            table, features=table.features[:, [1, 1]].copy(), feature_names=("y", "again")
        )  # fmt: skip
        problem = problem_of(table, {"y": "above", "again": "above"}, minimum_pull=0)
        edges, value = polish(problem, problem.nothing)
        assert edges[0]
        both = np.array([edges[0], edges[0]])
        pruned, kept = drop_weak_cuts(problem, both, value)
        assert np.count_nonzero(pruned) == 1
        assert kept == pytest.approx(value, rel=1e-12)

    @pytest.mark.parametrize("selection", [LOOSE, LOOSE_INSIDE])
    def test_the_error_of_a_gain_against_a_sum_over_events(self, selection):
        table = toy(3, 300, signed=True)
        problem = problem_of(table, {"y": "above"}, selection)
        edge = polish(problem, problem.nothing)[0]
        passes = problem.box(edge).select(table)

        def slope_of_each_event(selected):
            """Derivative of Z in the number of times that each event is counted, divided by its weight."""
            sums = [
                np.array([np.sum(table.weight[selected & (table.process == row)] ** power) for row in range(3)])
                for power in (1, 2)
            ]
            z = selection.objective.evaluate(*sums, table.processes)
            return np.asarray(z.slopes)[table.process] + table.is_background * table.weight * float(z.variance_slope)

        everything, inside = slope_of_each_event(np.ones(300, dtype=bool)), slope_of_each_event(passes)
        variance = np.sum((table.weight * np.where(passes, everything - inside, everything)) ** 2)
        gain = problem.value(edge) - problem.value(problem.nothing)
        assert gain_in_sigmas(problem, edge, 0) == pytest.approx(gain / np.sqrt(variance), rel=1e-9)

    @pytest.mark.parametrize(("selection", "events"), [(LOOSE, 1500), (LOOSE_INSIDE, 1500)])
    def test_the_pull_is_that_of_many_samples(self, selection, events):
        # At a fixed cut y > 0.4; its gain in fresh samples scatters as the pull says.
        gains, pulls = [], []
        for seed in range(60):
            variables = {"y": {"side": "above", "step": 0.4, "limits": [0.3, 0.5]}}
            problem = problem_of(toy(seed, events), variables, selection)
            edges = np.array([np.flatnonzero(problem.sides[0].allowed)[1]])
            gains.append(problem.value(edges) - problem.value(problem.nothing))
            pulls.append(gain_in_sigmas(problem, edges, 0))
        # The number of events of a process varies as well, which fixed weights turn into its yield.
        assert np.mean(np.array(gains) / np.array(pulls)) == pytest.approx(np.std(gains, ddof=1), rel=0.3)


class TestRequirements:
    @pytest.mark.parametrize("selection", [DEFAULT, TIGHT, DOMINANT, UNCERTAIN])
    def test_they_hold(self, selection):
        table = toy(10, 800, signed=True)
        problem = problem_of(table, {"x": "window", "y": "above"}, selection)
        edges, value = polish(problem, problem.nothing)
        assert qualifies(value)
        assert value_of(table, problem.box(edges).select(table), selection) == pytest.approx(value, rel=1e-12)
        _, higher = polish(problem_of(table, {"x": "window", "y": "above"}), edges)
        assert not selection.minimum_signal_efficiency > 0.1 or higher > value

    def test_the_search_finds_its_way_to_cuts_that_qualify(self):
        # One event of a huge weight makes the background worth few entries until a cut removes it.
        table = toy(11, 300)
        weight = table.weight.copy()
        weight[np.flatnonzero(table.process == 1)[0]] = 400.0
        features = table.features.copy()
        features[np.flatnonzero(table.process == 1)[0], 0] = 9.0
        table = dataclasses.replace(table, weight=weight, features=features)
        selection = exact_yields(minimum_effective_background=30, dominant_background_fraction=1)
        problem = problem_of(table, {"x": "below", "y": "above"}, selection)
        assert not qualifies(problem.value(problem.nothing))
        edges, value = polish(problem, problem.nothing)
        assert qualifies(value)
        assert problem.box(edges).cut("x").high < 9

    def test_start_and_limits(self):
        table = toy(12, 300)
        problem = problem_of(table, {"x": {"side": "window", "limits": [-0.2, 0.3]}})
        edges, _ = polish(problem, problem.nothing)
        cut = problem.box(edges).cut("x")
        assert cut.low is None or -0.2 <= cut.low <= 0.3
        assert cut.high is None or -0.2 <= cut.high <= 0.3
