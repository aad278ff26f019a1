import dataclasses

import numpy as np
import pytest

from tests.selection.boxes.box_toy import DEFAULT, DOMINANT, LOOSE, TIGHT, UNCERTAIN, problem_of, toy, value_of
from tests.selection.exact_yields import exact_yields
from zsig_hep.errors import InputError
from zsig_hep.selection import Cut, CutSettings
from zsig_hep.selection.boxes.problem import BoxProblem, is_better, qualifies, shortage
from zsig_hep.statistics import asimov

VARIABLES = {"x": "window", "y": "above"}
EFFICIENT = exact_yields(minimum_effective_background=1, minimum_signal_efficiency=0.5)


def box_of(problem, seed):
    """Random edges, allowed on every side."""
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(np.flatnonzero(side.allowed)) for side in problem.sides])


class TestBoxes:
    def test_what_edges_select_is_what_the_box_selects(self):
        table = toy(1, 300, missing=0.2)
        problem = problem_of(table, VARIABLES)
        for seed in range(10):
            edges = box_of(problem, seed)
            box = problem.box(edges)
            np.testing.assert_array_equal(problem.failures(edges) == 0, box.select(table))
            sides = [Cut(cut.variable, *values) for cut in box.cuts for values in ((cut.low, None), (None, cut.high))]
            failed = sum((~side.passes(table.feature(side.variable))).astype(int) for side in sides)
            np.testing.assert_array_equal(problem.failures(edges), failed)
        assert problem.box(problem.nothing).open_variables == ("x", "y")
        np.testing.assert_array_equal(problem.failures(problem.nothing), 0)

    def test_positions_are_the_cuts_in_the_coordinates_of_the_sides(self):
        problem = problem_of(toy(2, 300), VARIABLES)
        edges = box_of(problem, 3)
        edges[2] = 0
        cut = problem.box(edges).cut("x")
        np.testing.assert_array_equal(problem.positions(edges), [cut.low, -cut.high, -np.inf])

    def test_a_scale_multiplies_the_weights(self):
        table = toy(3, 300)
        settings = CutSettings(variables=VARIABLES)
        problem = BoxProblem.of_table(table, settings, LOOSE, scale=1.25)
        np.testing.assert_allclose(problem.weight, 1.25 * table.weight, rtol=1e-15)
        totals = [1.25 * table.weight[table.process == row].sum() for row in range(3)]
        np.testing.assert_allclose(problem.everything.yields[:, 0], totals, rtol=1e-12)


class TestObjective:
    @pytest.mark.parametrize("selection", [DEFAULT, LOOSE, TIGHT, DOMINANT, UNCERTAIN])
    def test_the_significance_of_a_box_that_qualifies(self, selection):
        table = toy(4, 400, signed=True)
        problem = problem_of(table, VARIABLES, selection)
        found = 0
        for seed in range(40):
            edges = box_of(problem, seed) // 2
            edges = np.where([side.allowed[edge] for side, edge in zip(problem.sides, edges, strict=True)], edges, 0)
            expected, value = value_of(table, problem.box(edges).select(table), selection), problem.value(edges)
            assert qualifies(value) is (expected is not None)
            assert expected is None or value == pytest.approx(expected, rel=1e-12)
            found += expected is not None
        assert 3 < found < 40

    def test_everything_without_cuts(self):
        table = toy(5, 300)
        s, b = table.weight[table.is_signal].sum(), table.weight[table.is_background].sum()
        problem = problem_of(table, VARIABLES)
        assert problem.value(problem.nothing) == pytest.approx(float(asimov(s, b)), rel=1e-12)

    def test_what_does_not_qualify_is_ranked_below_by_its_entries_then_by_its_signal(self):
        table = toy(6, 400)
        selection = exact_yields(minimum_effective_background=1e6, minimum_signal_efficiency=0.5)
        problem = problem_of(table, {"y": "above"}, selection)
        values = [problem.value(np.array([edge])) for edge in (0, 30, 399)]
        assert 0 > values[0] > values[1] > values[2]
        background = table.weight[table.is_background & (problem.failures(np.array([30])) == 0)]
        dominant = [table.weight[(table.process == row) & (problem.failures(np.array([30])) == 0)] for row in (1, 2)]
        entries = min(w.sum() ** 2 / np.square(w).sum() for w in (background, *dominant))
        assert values[1] == pytest.approx(-1e9 + entries, rel=1e-12)
        # The tightest cut keeps a single event, and less than half of the signal.
        assert values[2] < -1.9e9
        assert not any(map(qualifies, values))

    def test_nothing_that_passes_is_the_worst(self):
        table = toy(7, 60)
        problem = problem_of(table, {"x": "window"})
        tightest = np.array([side.allowed.size - 1 for side in problem.sides])
        assert not (problem.failures(tightest) == 0).any()
        assert problem.value(tightest) == -3e9

    @pytest.mark.parametrize("selection", [DEFAULT, LOOSE, EFFICIENT, DOMINANT, UNCERTAIN])
    def test_two_judges_agree(self, selection):
        # What qualifies, and its significance, as `scan_thresholds` has it for one edge at a time and as pairs have it.
        table = toy(14, 400, signed=True)
        problem = problem_of(table, {"x": "below", "y": "above"}, selection)
        found = problem.scan_side(np.array([3, 0]), 1)
        masks = [(problem.sides[0].code >= 3) & (problem.sides[1].code >= edge) for edge in found.edge]
        sums = [
            [np.bincount(problem.process[mask], weights=w[mask], minlength=3) for mask in masks]
            for w in (problem.weight, problem.weight**2)
        ]
        again = problem.objective(*(np.array(each).T for each in sums))
        assert np.count_nonzero(found.objective > 0) > 10
        np.testing.assert_allclose(again, found.objective, rtol=1e-9)

    def test_what_counts_as_better(self):
        assert is_better(1.0 + 1e-8, 1.0)
        assert not is_better(1.0 + 1e-10, 1.0)
        assert not is_better(-2.0, -2.0)
        assert is_better(-2.0 + 1e-8, -2.0)


def test_the_events_that_fail_another_cut_do_not_stand_for_effective_entries():
    # Summed into one event of each process, they are worth almost two of the whole background.
    table = toy(15, 400)
    selection = exact_yields(
        minimum_effective_background=1.5, minimum_signal_efficiency=0, dominant_background_fraction=1
    )
    problem = problem_of(table, {"x": "below", "y": "above"}, selection)
    score = np.where(np.arange(400) < 2, 0.0, -1.0)
    scan = problem.scan(score)
    assert scan.effective_background[0] > 1.5
    assert not scan.qualifies.any()


class TestScanOfASide:
    def test_every_selection_of_the_side_with_its_value(self):
        table = toy(8, 200, signed=True, levels=6)
        problem = problem_of(table, VARIABLES)
        edges = np.array([0, 5, 3])
        for index, side in enumerate(problem.sides):
            found = problem.scan_side(edges, index)
            selections = set()
            for edge in range(side.allowed.size):
                moved = edges.copy()
                moved[index] = edge
                selections.add((problem.failures(moved) == 0).tobytes())
            scanned = []
            for edge, value in zip(found.edge, found.objective, strict=True):
                moved = edges.copy()
                moved[index] = edge
                assert side.allowed[edge]
                scanned.append((problem.failures(moved) == 0).tobytes())
                if qualifies(value):
                    assert problem.value(moved) == pytest.approx(value, rel=1e-12)
            assert len(set(scanned)) == len(scanned)
            assert set(scanned) == {each for each in selections if any(each)}
            assert found.edge[0] == 0
            assert found.edge[found.current] == edges[index]

    def test_a_current_edge_that_selects_nothing_is_not_there(self):
        problem = problem_of(toy(9, 60), {"x": "window"})
        edges = np.array([problem.sides[0].allowed.size - 1, 40])
        assert problem.scan_side(edges, 1).current is None
        assert (problem.scan_side(edges, 1).edge < 40).all()


class TestShortage:
    def test_the_entries_that_are_missing(self):
        selection = exact_yields(minimum_effective_background=1e5)
        problem = problem_of(toy(10, 300), {"y": "above"}, selection)
        found = shortage(problem, problem.nothing)
        entries = min((problem.process == row).sum() for row in (1, 2))
        assert f"at best {entries:.3g} effective entries of background" in found
        assert "100000 are required (minimum_effective_background)" in found
        assert "no cuts were found" not in found

    def test_the_signal_that_is_missing(self):
        selection = exact_yields(minimum_signal_efficiency=0.9)
        problem = problem_of(toy(11, 300), {"y": "above"}, selection)
        found = shortage(problem, np.array([250]))
        assert "with signal efficiency 0.9 or more, no cuts were found that keep enough signal, and at best" in found


class TestRefusals:
    def test_no_signal(self):
        table = toy(13, 300)
        table = dataclasses.replace(table, weight=np.where(table.is_signal, -1.0, table.weight))
        with pytest.raises(InputError, match="signal yield before the cut is -"):
            problem_of(table, {"x": "above"})
