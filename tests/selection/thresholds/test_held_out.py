import dataclasses
import sys

import numpy as np
import pytest

from tests.selection.exact_yields import EXACT_YIELDS, exact_yields
from tests.selection.varied_toy import VARIATIONS, every_kind, varied_toy, with_variations
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    HeldOutWorkingPoint,
    ScoredEvents,
    WorkingPointSettings,
    choose_working_point,
    held_out_selection,
    hold_out_working_point,
    scan_thresholds,
    systematic_table,
)
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.thresholds.held_out import varied_selections, why_folds_fail
from zsig_hep.statistics import FigureOfMerit, asimov, asimov_with_uncertainty, evaluate_processes, weighted_yield

NAMES, ROLES = ("hmumu", "dy", "data"), ("signal", "background", "data")
FOLDS = 4
OPTIONS = exact_yields()
DEFAULT = WorkingPointSettings(tail_entries=0, partitions=1)


def toy(seed=0, events=3000, *, signed=False):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size=events)
    score = rng.normal(1.5 * (process == 0))
    weight = np.array([0.02, 1.0, 1.0])[process]
    if signed:
        weight = np.where(rng.random(events) < 0.15, -weight, weight)
    return score, weight, process, rng.integers(0, FOLDS, size=events)


def held_out(score, weight, process, fold, options=OPTIONS, fold_count=FOLDS, *, by_chance=False):
    """The held-out working point; folds that are empty `by_chance` are not refused."""
    events = ScoredEvents.from_arrays(
        score, weight, process, names=NAMES, roles=ROLES, fold=fold, fold_count=fold_count
    )
    return hold_out_working_point(dataclasses.replace(events, folds_are_given=not by_chance), options)


def figure_of(point, options):
    """The figure of merit from the summed signal and background of a point."""
    s, b = point.signal, point.background
    return evaluate_processes(
        options.objective.figure, s.value, [b.value], s.variance, [b.variance], [0.0],
        simulation_uncertainty_in_figure=options.includes_simulation,
        higher_moments=([b.third_moment], [b.fourth_moment]),
    )  # fmt: skip


class TestHoldOut:
    @pytest.mark.parametrize(("signed", "options"), [(False, OPTIONS), (True, OPTIONS), (True, DEFAULT)])
    def test_against_a_loop_over_folds(self, signed, options):
        score, weight, process, fold = toy(2, 1600, signed=signed)
        point, inside = held_out(score, weight, process, fold, options), options is DEFAULT
        passing, on_choosing = np.zeros(score.size, dtype=bool), []
        for k in range(FOLDS):
            others = fold != k
            best = (-np.inf, None)
            for threshold in np.unique(score[others & (process < 2)]):
                above = others & (score >= threshold)
                signal = weight[above & (process == 0)] * FOLDS / (FOLDS - 1)
                background = weight[above & (process == 1)]
                b = background.sum() * FOLDS / (FOLDS - 1)
                # With the variance of the simulation that chooses, which is smaller than that of all folds.
                sigma = inside * np.sqrt(np.square(background).sum()) * FOLDS / (FOLDS - 1)
                efficiency = weight[above & (process == 0)].sum() / weight[others & (process == 0)].sum()
                least = 3 if inside else 10
                enough = b > 0 and background.sum() ** 2 / np.square(background).sum() >= least
                if enough and efficiency >= 0.05:
                    best = max(best, (float(asimov_with_uncertainty(signal.sum(), b, sigma)), -threshold))
            assert point.thresholds[k] == -best[1]
            on_choosing.append(best[0])
            passing |= (fold == k) & (score >= -best[1])
        signal = weighted_yield(weight[passing & (process == 0)])
        background = weighted_yield(weight[passing & (process == 1)])
        assert point.status == "ok"
        assert point.yields["hmumu"] == signal
        assert point.background == background
        z = figure_of(point, options)
        assert point.significance == pytest.approx(float(z.value), rel=1e-12)
        assert point.significance_uncertainty == pytest.approx(float(z.uncertainty), rel=1e-9)
        exact = float(asimov(signal.value, background.value))
        assert point.significance_without_simulation == pytest.approx(exact, rel=1e-12)
        assert (point.significance < 0.99 * exact) is inside
        assert point.signal_efficiency == pytest.approx(signal.value / weight[process == 0].sum(), rel=1e-12)
        assert point.choosing_significance == pytest.approx(np.mean(on_choosing), rel=1e-9)
        assert point.optimism == pytest.approx(point.choosing_significance - point.significance, rel=1e-12)

    @pytest.mark.parametrize("fold_changed", [0, FOLDS - 1])
    def test_the_cut_of_a_fold_does_not_know_the_events_of_the_fold(self, fold_changed):
        score, weight, process, fold = toy(3)
        before = held_out(score, weight, process, fold)
        rng = np.random.default_rng(8)
        inside = fold == fold_changed
        changed_score = np.where(inside, rng.normal(5.0, 3.0, size=score.size), score)
        changed_weight = np.where(inside, 7.0 * weight, weight)
        changed_process = np.where(inside, rng.permutation(process), process)
        after = held_out(changed_score, changed_weight, changed_process, fold)
        assert after.thresholds[fold_changed] == before.thresholds[fold_changed]
        assert after.thresholds != before.thresholds
        # Nor does it know whether they are there at all.
        without = held_out(score[~inside], weight[~inside], process[~inside], fold[~inside], by_chance=True)
        assert without.thresholds[fold_changed] == before.thresholds[fold_changed]

    def test_a_score_that_knows_nothing_shows_its_optimism(self):
        # Signal and background alike: what the choice gains is fluctuation, and the held-out number lacks it.
        optimism = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            process = np.repeat([0, 1], 400)
            fold = rng.integers(0, FOLDS, size=800)
            point = held_out(rng.random(800), np.where(process == 0, 0.05, 1.0), process, fold)
            optimism.append(point.optimism)
        assert np.mean(optimism) > 3 * np.std(optimism) / np.sqrt(len(optimism))

    def test_the_choosing_folds_see_the_whole_luminosity(self):
        # With the background uncertainty the best cut depends on the luminosity, so a missing factor moves it.
        options = exact_yields(figure_of_merit="asimov_with_uncertainty", relative_background_uncertainty=0.2)
        score, weight, process, _ = toy(4, 4000)
        score, weight, process = (np.concatenate([array] * FOLDS) for array in (score, weight, process))
        fold = np.repeat(np.arange(FOLDS), 4000)
        point = held_out(score, weight, process, fold, options)
        events = ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES)
        everything = choose_working_point(scan_thresholds(events, options), options)
        assert point.thresholds == (everything.threshold,) * FOLDS
        assert point.significance == pytest.approx(everything.significance, rel=1e-12)
        assert point.optimism == pytest.approx(0.0, abs=1e-12)

    def test_the_order_of_events_does_not_matter(self):
        events = toy(5, signed=True)
        order = np.random.default_rng(0).permutation(events[0].size)
        one, other = held_out(*events), held_out(*(array[order] for array in events))
        assert one.thresholds == other.thresholds
        assert one.significance == pytest.approx(other.significance, rel=1e-12)

    def test_data_change_nothing(self):
        events = toy(6)
        simulated = events[2] < 2
        one, other = held_out(*events), held_out(*(array[simulated] for array in events))
        assert one == other
        assert list(one.yields) == ["hmumu", "dy"]

    def test_folds_without_a_threshold_are_named(self):
        # All heavy background simulation is in folds 0 and 1: without either of them too little is left.
        process = np.repeat([0, 1], [40, 16])
        fold = np.concatenate([np.arange(40) % FOLDS, np.arange(16) % 2])
        score = np.linspace(0, 1, 56)[::-1]
        point = held_out(score, np.ones(56), process, fold, by_chance=True)
        assert point.status == "no_threshold_qualifies"
        assert "fold 0, 1 of 4; for fold 0: with signal efficiency" in point.reason
        assert "at best 8 effective entries" in point.reason
        assert point.thresholds[:2] == (None, None)
        assert None not in point.thresholds[2:]
        assert point.yields == {}
        assert point.significance is point.signal is point.optimism is point.choosing_significance is None

    def test_a_held_out_background_that_is_not_positive_has_no_significance(self):
        # Fold 0 chooses 1.5 for fold 1, which has nothing there; fold 1 chooses 1 for fold 0, whose sum there is -27.
        background = [(0, 1.5, 0.1, 30), (0, 1.2, -1.0, 30), (0, 0.0, 50.0, 90), (1, 1.0, 0.1, 30), (1, 0.0, 50.0, 90)]
        fold, score, weight, count = (np.array(column) for column in zip(*background, strict=True))
        fold, score, weight = (np.repeat(column, count) for column in (fold, score, weight))
        process = np.repeat([1, 0], [fold.size, 40])
        fold = np.concatenate([fold, np.arange(40) % 2])
        score, weight = np.concatenate([score, np.full(40, 2.0)]), np.concatenate([weight, np.ones(40)])
        point = held_out(score, weight, process, fold, fold_count=2)
        assert point.thresholds == (1.0, 1.5)
        assert point.status == "no_held_out_background"
        assert "select -27 +- 5.5 background and 40 signal events" in point.reason
        assert point.significance is point.background is point.optimism is None
        assert point.yields == {}


@pytest.mark.parametrize(
    "options",
    [
        exact_yields(figure_of_merit=FigureOfMerit.POISSON),
        WorkingPointSettings(figure_of_merit=FigureOfMerit.POISSON, partitions=1),
        WorkingPointSettings(figure_of_merit=FigureOfMerit.PUNZI, partitions=1),
    ],
)
def test_the_figure_of_the_settings_is_quoted(options):
    point = held_out(*toy(2), options)
    expected = figure_of(point, options)
    assert point.status == "ok"
    assert point.significance == pytest.approx(float(expected.value), rel=1e-12)
    assert point.significance_uncertainty == pytest.approx(float(expected.uncertainty), rel=1e-6)


@pytest.mark.parametrize("inside", [False, None])
@pytest.mark.parametrize("signals", ["mean", "minimum"])
def test_each_hypothesis_is_quoted(signals, inside):
    rng = np.random.default_rng(1)
    process = rng.integers(0, 3, size=3000)
    events = ScoredEvents.from_arrays(
        rng.normal(np.array([1.5, -0.5, 0.8])[process]), np.array([0.02, 1.0, 0.05])[process], process,
        names=("vbf", "dy", "ggf"), roles=("signal", "background", "signal"), fold=np.arange(3000) % 4, fold_count=4,
    )  # fmt: skip
    settings = WorkingPointSettings.model_validate(
        EXACT_YIELDS | {"signals": signals, "simulation_uncertainty_in_figure": inside}
    )
    point = hold_out_working_point(events, settings)
    b = point.yields["dy"]
    sigma = b.uncertainty * (inside is None)
    expected = {
        name: float(asimov_with_uncertainty(point.yields[name].value, b.value, sigma)) for name in ("vbf", "ggf")
    }
    assert {name: each.significance for name, each in point.hypotheses.items()} == pytest.approx(expected, rel=1e-12)
    combined = min(expected.values()) if signals == "minimum" else np.mean(list(expected.values()))
    assert point.significance == pytest.approx(combined, rel=1e-12)


class TestVariations:
    SETTINGS = exact_yields(
        figure_of_merit="asimov_with_uncertainty", variations_in_figure=True, relative_background_uncertainty=0.05
    )

    @pytest.mark.parametrize("inside", [False, None])
    def test_the_uncertainty_that_chose_the_cut_is_quoted(self, inside):
        events, settings = varied_toy(), self.SETTINGS.model_copy(update={"simulation_uncertainty_in_figure": inside})
        found = hold_out_working_point(events, settings)
        plain = settings.model_copy(update={"variations_in_figure": False})
        without = hold_out_working_point(events, plain)
        assert without.common_uncertainty is None
        # A purer cut suffers less from the uncertainty of its background.
        assert found.background.value < without.background.value
        assert found.significance < without.significance
        table = systematic_table(found, events, plain)
        s, b = found.signal.value, found.background.value
        relative = np.hypot(table.background_uncertainty / b, 0.05)
        assert found.common_uncertainty == pytest.approx(relative, rel=1e-12)
        sigma = np.hypot(relative * b, found.background.uncertainty * (inside is None))
        expected = float(asimov_with_uncertainty(s, b, sigma))
        assert found.significance == pytest.approx(expected, rel=1e-12)
        assert table.significance == pytest.approx(expected, rel=1e-12)

    def test_held_out_events_do_not_choose_under_variations_either(self):
        table, shapes = every_kind()
        first = hold_out_working_point(with_variations(table, VARIATIONS, **shapes), self.SETTINGS)
        up = shapes["jesUp"]
        heavier = dataclasses.replace(up, weight=np.where(up.fold == 2, 5.0, 1.0) * up.weight)
        second = hold_out_working_point(
            with_variations(table, VARIATIONS, **shapes | {"jesUp": heavier}), self.SETTINGS
        )
        assert second.thresholds[2] == first.thresholds[2]
        assert second.significance != first.significance

    def test_varied_events_are_cut_at_the_threshold_of_their_fold(self):
        events, thresholds = varied_toy(), (0.2, 0.4, None, 0.8)
        cuts = np.array([0.2, 0.4, np.inf, 0.8])
        for pair, selected in zip(events.variations, varied_selections(events, thresholds), strict=True):
            for side, passes in zip(pair, selected, strict=True):
                np.testing.assert_array_equal(passes, side.score >= cuts[side.fold])


class TestPartitions:
    SETTINGS = WorkingPointSettings(partitions=4)

    def test_the_mean_and_the_spread_of_what_each_partition_gives(self):
        events = ScoredEvents.from_arrays(*toy(2)[:3], names=NAMES, roles=ROLES, fold_count=FOLDS)
        point, alone = hold_out_working_point(events, self.SETTINGS), self.SETTINGS.model_copy(update={"partitions": 1})
        each = [hold_out_working_point(in_partition(events.simulated, number), alone) for number in range(4)]
        z = [one.significance for one in each]
        assert len(set(z)) == 4
        assert point.significance == pytest.approx(np.mean(z), rel=1e-12)
        assert point.choice_uncertainty == pytest.approx(np.std(z, ddof=1), rel=1e-12)
        simulation = np.mean([one.significance_uncertainty for one in each])
        assert point.simulation_uncertainty == pytest.approx(simulation, rel=1e-12)
        assert point.significance_uncertainty == pytest.approx(np.hypot(simulation, np.std(z, ddof=1)), rel=1e-12)
        exact = np.mean([one.significance_without_simulation for one in each])
        assert point.significance_without_simulation == pytest.approx(exact, rel=1e-12)
        assert point.optimism == pytest.approx(np.mean([one.optimism for one in each]), rel=1e-9)
        assert [choice.thresholds for choice in point.partitions] == [one.thresholds for one in each]
        # What is exported is the first of them, with its own significance.
        assert (point.thresholds, point.yields) == (each[0].thresholds, each[0].yields)
        assert point.exported_significance == z[0]

    def test_one_partition_has_no_spread(self):
        point = held_out(*toy(2), DEFAULT)
        assert point.choice_uncertainty == 0
        assert point.significance == point.exported_significance
        assert point.significance_uncertainty == point.simulation_uncertainty
        assert len(point.partitions) == 1

    def test_a_partition_without_a_cut_is_left_out_of_the_mean(self, monkeypatch):
        module = sys.modules[hold_out_working_point.__module__]
        plain, calls = module._hold_out, []

        def failing(*arguments):
            calls.append(arguments)
            return HeldOutWorkingPoint("no_threshold_qualifies", "few") if len(calls) == 3 else plain(*arguments)

        events = ScoredEvents.from_arrays(*toy(2)[:3], names=NAMES, roles=ROLES, fold_count=FOLDS)
        whole = hold_out_working_point(events, self.SETTINGS)
        monkeypatch.setattr(module, "_hold_out", failing)
        point = hold_out_working_point(events, self.SETTINGS)
        assert [choice.significance is None for choice in point.partitions] == [False, False, True, False]
        kept = [choice.significance for choice in whole.partitions if choice is not whole.partitions[2]]
        assert point.significance == pytest.approx(np.mean(kept))

    def test_the_mean_moves_less_than_one_partition(self):
        score, weight, process, _ = toy(3)
        found = []
        for seed in range(8):
            fold = np.random.default_rng(200 + seed).integers(0, FOLDS, score.size)
            events = ScoredEvents.from_arrays(
                score, weight, process, names=NAMES, roles=ROLES, fold=fold, fold_count=FOLDS,
                identity=np.random.default_rng(100 + seed).integers(0, 2**60, score.size, dtype=np.uint64),
            )  # fmt: skip
            point = hold_out_working_point(events, self.SETTINGS)
            found.append((point.significance, point.choice_uncertainty))
        means, spreads = np.transpose(found)
        # Half as much, for four partitions.
        assert np.std(means, ddof=1) < 0.8 * spreads.mean()


class TestSelection:
    def test_events_are_cut_at_the_threshold_of_their_fold(self):
        events = ScoredEvents.from_arrays(
            [0.2, 0.6, 0.6, 0.9], np.ones(4), [0, 1, 2, 0], names=NAMES, roles=ROLES, fold=[0, 0, 1, 2], fold_count=3
        )
        assert held_out_selection(events, [0.6, 0.7, None]).tolist() == [False, True, False, False]

    def test_folds_that_fail_are_named(self):
        assert why_folds_fail("nothing for {}", ["", ""]) == ""
        assert why_folds_fail("nothing for {}", ["", "a", "b"]) == "nothing for fold 1, 2 of 3; for fold 1: a"


class TestRefusals:
    def test_a_single_fold(self):
        score, weight, process, fold = toy(7, 100)
        with pytest.raises(InputError, match="at least 2 folds"):
            held_out(score, weight, process, 0 * fold, fold_count=1)

    def test_signal_in_one_fold_only(self):
        score, weight, process, fold = toy(7, 100)
        fold = np.where(process == 0, 2, fold)
        with pytest.raises(InputError, match=r"Fold 0 has no signal event.*Fold 1 has.*Fold 3 has no signal event"):
            held_out(score, weight, process, fold)
        with pytest.raises(InputError, match=r"cut of fold 2 cannot be chosen.*signal yield before the cut is 0"):
            held_out(score, weight, process, fold, by_chance=True)
