import dataclasses

import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPointSettings,
    held_out_selection,
    held_out_uncertainties,
    hold_out_working_point,
    significance_uncertainties,
)
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable

NAMES, ROLES = ("higgs", "dy", "data", "top"), ("signal", "background", "data", "background")
SIMULATED = ProcessTable.of(NAMES, ROLES).simulated
FOLDS = 40
PLAIN = Objective()
UNCERTAIN = Objective(
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"top": 0.2}, relative_background_uncertainty=0.05
)


def toy(events=10_000, seed=3):
    """A new simulated sample: also the number of events of each process fluctuates."""
    rng = np.random.default_rng(seed)
    process = np.repeat(np.arange(4), rng.poisson(events / 4, size=4))
    weight = np.array([0.01, 0.1, 1.0, 0.05])[process] * rng.choice([1.0, -0.3], p=[0.9, 0.1], size=process.size)
    score = rng.normal(np.array([1.0, -0.5, 0.0, 0.2])[process])
    return events_of(weight, process, rng.integers(0, FOLDS, size=process.size), score)


def events_of(weight, process, fold, score=None, fold_count=FOLDS):
    score = np.zeros(len(weight)) if score is None else score
    return ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES, fold=fold, fold_count=fold_count)


def of(selected, events, objective=UNCERTAIN, replicas=1000, seed=0):
    return significance_uncertainties(selected, events, objective, np.random.default_rng(seed), replicas=replicas)


def z_of(events, selected, objective=UNCERTAIN, scale=1.0):
    """Significance with its uncertainty, process by process."""
    weights = [scale * events.weight[selected & (events.process == row)] for row in (0, 1, 3)]
    yields, variances, *higher = (np.array([np.sum(w**power) for w in weights]) for power in (1, 2, 3, 4))
    return objective.evaluate(yields, variances, SIMULATED, higher_moments=tuple(higher))


def errors_of_the_errors(found):
    """Standard deviations of the bootstrap's and of the jackknife's uncertainty around the propagated one."""
    return found.propagated / np.sqrt(2 * found.replicas), found.propagated / np.sqrt(2 * (found.folds - 1))


class TestAgreement:
    @pytest.mark.parametrize(
        ("seed", "objective"),
        [
            (0, PLAIN),
            (1, UNCERTAIN),
            (3, Objective(FigureOfMerit.POISSON_WITH_UNCERTAINTY, background_uncertainties={"dy": 0.1})),
            (3, Objective(FigureOfMerit.PUNZI)),
            (3, Objective(signals="minimum")),
            (3, WorkingPointSettings().objective),
        ],
    )
    def test_all_three_agree_within_their_own_errors(self, seed, objective):
        events = toy(seed=seed)
        found = of(events.score > 0.8, events, objective)
        of_bootstrap, of_jackknife = errors_of_the_errors(found)
        assert (found.replicas, found.folds) == (1000, FOLDS)
        assert abs(found.bootstrap - found.propagated) < 3 * of_bootstrap
        assert abs(found.jackknife - found.propagated) < 3 * of_jackknife

    def test_samples_scatter_by_what_is_quoted(self):
        samples = [toy(2000, seed) for seed in range(400)]
        values = [float(z_of(events, events.score > 0.5).value) for events in samples]
        found = of(samples[0].score > 0.5, samples[0])
        assert np.std(values) == pytest.approx(found.propagated, rel=0.1)
        assert np.std(values) == pytest.approx(found.bootstrap, rel=0.1)

    def test_one_wrong_weight_breaks_the_agreement(self):
        events = toy()
        wrong = events.weight.copy()
        wrong[np.flatnonzero((events.process == 1) & (events.score > 0.8))[0]] = 5000.0
        found = of(events.score > 0.8, dataclasses.replace(events, weight=wrong))
        of_bootstrap, of_jackknife = errors_of_the_errors(found)
        assert abs(found.bootstrap - found.propagated) > 5 * of_bootstrap
        assert abs(found.jackknife - found.propagated) > 5 * of_jackknife

    def test_only_the_jackknife_sees_that_events_of_a_fold_depend_on_each_other(self):
        # The same background events simulated twice: each pair lies in one fold, as equal identities do.
        events = toy()
        twice = events.select(np.tile(np.arange(len(events)), 2))
        twice = dataclasses.replace(twice, weight=twice.weight / 2)
        found = of(twice.score > 0.8, twice)
        assert found.bootstrap == pytest.approx(found.propagated, rel=0.1)
        assert found.jackknife == pytest.approx(np.sqrt(2) * found.propagated, rel=0.4)
        assert found.jackknife > 1.15 * found.propagated


class TestAgainstLoops:
    @pytest.mark.parametrize("objective", [UNCERTAIN, WorkingPointSettings().objective])
    def test_propagation_and_value(self, objective):
        events = toy(2000)
        selected = events.score > 0.5
        found, expected = of(selected, events, objective, replicas=2), z_of(events, selected, objective)
        assert found.significance == pytest.approx(float(expected.value), rel=1e-12)
        assert found.propagated == pytest.approx(float(expected.uncertainty), rel=1e-12)

    @pytest.mark.parametrize("inside", [False, True])
    def test_jackknife(self, inside):
        # With the simulation in the figure, variances are scaled twice.
        objective = dataclasses.replace(UNCERTAIN, simulation_uncertainty_in_figure=inside)
        events = toy(2000)
        selected = events.score > 0.5
        left = [
            float(z_of(events, selected & (events.fold != k), objective, FOLDS / (FOLDS - 1)).value)
            for k in range(FOLDS)
        ]
        expected = np.sqrt((FOLDS - 1) / FOLDS * sum((z - np.mean(left)) ** 2 for z in left))
        assert of(selected, events, objective, replicas=2).jackknife == pytest.approx(expected, rel=1e-10)

    def test_a_common_uncertainty_takes_the_place_of_that_of_the_objective(self):
        events = toy(2000)
        options = {"replicas": 20, "common_uncertainty": 0.3}
        found = significance_uncertainties(
            events.score > 0.5, events, UNCERTAIN, np.random.default_rng(0), **options
        )  # fmt: skip
        instead = dataclasses.replace(UNCERTAIN, relative_background_uncertainty=0.3)
        assert found == of(events.score > 0.5, events, instead, replicas=20)


class TestEdges:
    def test_data_do_not_count(self):
        events = toy(2000)
        heavy = dataclasses.replace(events, weight=np.where(events.is_data, 1e6, events.weight))
        assert of(events.score > 0.5, heavy, replicas=20) == of(events.score > 0.5, events, replicas=20)

    def test_a_fold_that_holds_all_background_leaves_no_jackknife(self):
        events = events_of(np.ones(100), np.repeat([0, 1], 50), np.repeat([0, 1], 50), fold_count=2)
        found = of(np.ones(100, dtype=bool), events, PLAIN)
        assert found.jackknife is None
        assert found.bootstrap > 0

    def test_replicas_without_background_are_left_out(self):
        events = events_of(np.ones(4), [0, 0, 0, 1], np.arange(4), fold_count=4)
        found = of(np.ones(4, dtype=bool), events, PLAIN, replicas=500)
        assert found.replicas == pytest.approx(500 * (1 - np.exp(-1)), abs=40)
        assert np.isfinite(found.bootstrap)

    def test_nothing_selected_has_no_uncertainty(self):
        events = toy(400)
        found = of(np.zeros(len(events), dtype=bool), events, PLAIN)
        assert np.isnan([found.propagated, found.bootstrap]).all()
        assert (found.jackknife, found.replicas) == (None, 0)

    def test_the_same_generator_gives_the_same_numbers(self):
        events = toy(1000)
        assert of(events.score > 0, events, seed=4, replicas=9) == of(events.score > 0, events, seed=4, replicas=9)


class TestRefusals:
    def test_a_selection_of_another_type_or_length(self):
        events = toy(100)
        with pytest.raises(InputError, match=r"must be booleans of shape \(\d+,\); found float64"):
            of(events.score, events)
        with pytest.raises(InputError, match="must be booleans"):
            of(events.score[1:] > 0, events)

    @pytest.mark.parametrize(("folds", "replicas"), [(1, 10), (4, 1)])
    def test_numbers_that_are_too_small(self, folds, replicas):
        events = events_of(np.ones(8), [0, 1] * 4, np.zeros(8, dtype=int), fold_count=folds)
        with pytest.raises(InputError, match=f"2 folds and a bootstrap 2 replicas; found {folds} and {replicas}"):
            of(np.ones(8, dtype=bool), events, replicas=replicas)


class TestHeldOut:
    SETTINGS = WorkingPointSettings()
    EVENTS = dataclasses.replace(toy(4000), fold=np.arange(len(toy(4000))) % 5, fold_count=5)

    def found(self, point):
        objective = self.SETTINGS.objective
        return held_out_uncertainties(point, self.EVENTS, objective, np.random.default_rng(1), replicas=100)

    def test_it_is_the_working_point_with_its_own_uncertainty(self):
        point = hold_out_working_point(self.EVENTS, self.SETTINGS)
        found = self.found(point)
        assert found.significance == pytest.approx(point.exported_significance, rel=1e-12)
        alone = hold_out_working_point(self.EVENTS, self.SETTINGS.model_copy(update={"partitions": 1}))
        assert alone.choice_uncertainty == 0
        assert found.propagated == pytest.approx(alone.significance_uncertainty, rel=1e-12)
        assert found.folds == 5
        selected = held_out_selection(self.EVENTS, point.thresholds)
        assert found == of(selected, self.EVENTS, self.SETTINGS.objective, seed=1, replicas=100)

    def test_it_holds_the_variations_that_the_figure_of_merit_held(self):
        settings = self.SETTINGS.model_copy(update={"figure_of_merit": FigureOfMerit.ASIMOV_WITH_UNCERTAINTY})
        point = hold_out_working_point(self.EVENTS, settings)
        known = dataclasses.replace(point, common_uncertainty=0.3)
        instead = dataclasses.replace(settings.objective, relative_background_uncertainty=0.3)
        found, expected = (
            held_out_uncertainties(each, self.EVENTS, objective, np.random.default_rng(1), replicas=20)
            for each, objective in ((known, settings.objective), (point, instead))
        )
        assert found == expected
        assert found.significance < point.exported_significance

    def test_without_a_working_point_there_is_none(self):
        point = hold_out_working_point(self.EVENTS, WorkingPointSettings(minimum_effective_background=1e9))
        assert point.status == "no_threshold_qualifies"
        assert self.found(point) is None

    def test_results_are_frozen(self):
        found = self.found(hold_out_working_point(self.EVENTS, self.SETTINGS))
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.propagated = 0.0
