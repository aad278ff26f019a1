import dataclasses

import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    WorkingPointSettings,
    held_out_selection,
    held_out_uncertainties,
    hold_out_working_point,
    significance,
    significance_uncertainties,
)
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances
from zsig_hep.statistics import FigureOfMerit

NAMES = ("higgs", "dy", "data", "top")
ROLES = ("signal", "background", "data", "background")
SIMULATED = [0, 1, 3]
FOLDS = 40
PLAIN = WorkingPointSettings()
UNCERTAIN = WorkingPointSettings(
    figure_of_merit="asimov_with_uncertainty",
    background_uncertainties={"top": 0.2},
    relative_background_uncertainty=0.05,
)


def toy(events=20_000, seed=3):
    """A new simulated sample: also the number of events of each process fluctuates."""
    rng = np.random.default_rng(seed)
    process = np.repeat(np.arange(4), rng.poisson(events / 4, size=4))
    weight = np.array([0.01, 0.1, 1.0, 0.05])[process] * rng.choice([1.0, -0.3], p=[0.9, 0.1], size=process.size)
    score = rng.normal(np.array([1.0, -0.5, 0.0, 0.2])[process])
    return score, weight, process, rng.integers(0, FOLDS, size=process.size)


def of(selected, weight, process, fold, settings=UNCERTAIN, replicas=1000, seed=0, **given):
    given = {"fold_count": FOLDS, "process_names": NAMES, "roles": ROLES} | given
    return significance_uncertainties(
        selected, weight, process, fold,
        settings=settings, generator=np.random.default_rng(seed), replicas=replicas, **given,
    )  # fmt: skip


def z_of(weight, process, settings=UNCERTAIN):
    """Significance with its uncertainty, process by process."""
    yields = np.array([weight[process == row].sum() for row in SIMULATED])
    variances = np.array([np.square(weight[process == row]).sum() for row in SIMULATED])
    return significance(yields, variances, [NAMES[r] for r in SIMULATED], [ROLES[r] for r in SIMULATED], settings)


def errors_of_the_errors(found):
    """Standard deviations of the bootstrap's and of the jackknife's uncertainty around the propagated one."""
    return found.propagated / np.sqrt(2 * found.replicas), found.propagated / np.sqrt(2 * (found.folds - 1))


class TestAgreement:
    @pytest.mark.parametrize("settings", [PLAIN, UNCERTAIN], ids=["plain", "uncertain"])
    @pytest.mark.parametrize("seed", range(3))
    def test_all_three_agree_within_their_own_errors(self, settings, seed):
        score, weight, process, fold = toy(seed=seed)
        found = of(score > 0.8, weight, process, fold, settings)
        of_bootstrap, of_jackknife = errors_of_the_errors(found)
        assert found.replicas == 1000
        assert abs(found.bootstrap - found.propagated) < 3 * of_bootstrap
        assert abs(found.jackknife - found.propagated) < 3 * of_jackknife

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    def test_of_every_figure_of_merit(self, figure):
        score, weight, process, fold = toy()
        found = of(score > 0.8, weight, process, fold, WorkingPointSettings(figure_of_merit=figure))
        of_bootstrap, of_jackknife = errors_of_the_errors(found)
        assert abs(found.bootstrap - found.propagated) < 3 * of_bootstrap
        assert abs(found.jackknife - found.propagated) < 3 * of_jackknife

    def test_samples_scatter_by_what_is_quoted(self):
        samples = [toy(4000, seed) for seed in range(400)]
        passing = [score > 0.5 for score, *_ in samples]
        values = [
            float(z_of(weight[mask], process[mask]).value)
            for mask, (_, weight, process, _) in zip(passing, samples, strict=True)
        ]
        found = of(passing[0], *samples[0][1:])
        assert np.std(values) == pytest.approx(found.propagated, rel=0.1)
        assert np.std(values) == pytest.approx(found.bootstrap, rel=0.1)

    def test_one_wrong_weight_breaks_the_agreement(self):
        score, weight, process, fold = toy()
        wrong = weight.copy()
        wrong[np.flatnonzero((process == 1) & (score > 0.8))[0]] = 5000.0
        found = of(score > 0.8, wrong, process, fold)
        of_bootstrap, of_jackknife = errors_of_the_errors(found)
        assert abs(found.bootstrap - found.propagated) > 5 * of_bootstrap
        assert abs(found.jackknife - found.propagated) > 5 * of_jackknife

    def test_only_the_jackknife_sees_that_events_of_a_fold_depend_on_each_other(self):
        # The same background events simulated twice: each pair lies in one fold, as equal identities do.
        score, weight, process, fold = (np.concatenate([array, array]) for array in toy())
        weight = weight / 2
        found = of(score > 0.8, weight, process, fold)
        assert found.bootstrap == pytest.approx(found.propagated, rel=0.1)
        assert found.jackknife == pytest.approx(np.sqrt(2) * found.propagated, rel=0.4)
        assert found.jackknife > 1.15 * found.propagated


class TestAgainstLoops:
    def test_propagation_and_value(self):
        score, weight, process, fold = toy(2000)
        selected = score > 0.5
        found, expected = of(selected, weight, process, fold, replicas=2), z_of(weight[selected], process[selected])
        assert found.significance == pytest.approx(float(expected.value), rel=1e-12)
        assert found.propagated == pytest.approx(float(expected.uncertainty), rel=1e-12)

    def test_jackknife(self):
        score, weight, process, fold = toy(2000)
        selected = score > 0.5
        left = []
        for k in range(FOLDS):
            kept = selected & (fold != k)
            left.append(float(z_of(weight[kept] * FOLDS / (FOLDS - 1), process[kept]).value))
        expected = np.sqrt((FOLDS - 1) / FOLDS * sum((z - np.mean(left)) ** 2 for z in left))
        assert of(selected, weight, process, fold, replicas=2).jackknife == pytest.approx(expected, rel=1e-10)

    def test_bootstrap(self):
        score, weight, process, _ = toy(2000)
        selections = np.stack([score > 0.5, score > 1.0])
        nominal, drawn = bootstrap_significances(
            selections, weight, process, process_names=NAMES, roles=ROLES, settings=UNCERTAIN,
            generator=np.random.default_rng(5), replicas=7,
        )  # fmt: skip
        used = selections.any(axis=0) & (process != 2)
        counts = np.random.default_rng(5).poisson(1.0, (7, used.sum()))
        for index, selection in enumerate(selections[:, used]):
            of_selection = z_of(weight[used][selection], process[used][selection])
            assert nominal[index] == pytest.approx(float(of_selection.value), rel=1e-12)
            for replica, count in enumerate(counts[:, selection]):
                repeated = np.repeat(np.flatnonzero(used)[selection], count)
                expected = float(z_of(weight[repeated], process[repeated]).value)
                assert drawn[index, replica] == pytest.approx(expected, rel=1e-12)


class TestWithTheSimulationInTheFigure:
    def test_variances_are_scaled_twice(self):
        inside = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", simulation_uncertainty_in_figure=True)
        score, weight, process, fold = toy(2000)
        selected = score > 0.5
        kept = [selected & (fold != k) for k in range(FOLDS)]
        left = [float(z_of(weight[mask] * FOLDS / (FOLDS - 1), process[mask], inside).value) for mask in kept]
        expected = np.sqrt((FOLDS - 1) * np.var(left))
        assert of(selected, weight, process, fold, inside, replicas=2).jackknife == pytest.approx(expected, rel=1e-10)


class TestEdges:
    def test_data_do_not_count(self):
        score, weight, process, fold = toy(2000)
        heavy = np.where(process == 2, 1e6, weight)
        assert of(score > 0.5, heavy, process, fold) == of(score > 0.5, weight, process, fold)

    def test_a_fold_that_holds_all_background_leaves_no_jackknife(self):
        process, fold = np.repeat([0, 1], 50), np.repeat([0, 1], 50)
        found = of(np.ones(100, dtype=bool), np.ones(100), process, fold, PLAIN, fold_count=2)
        assert found.jackknife is None
        assert found.bootstrap > 0

    def test_replicas_without_background_are_left_out(self):
        process = np.array([0, 0, 0, 1])
        found = of(np.ones(4, dtype=bool), np.ones(4), process, np.arange(4), PLAIN, replicas=500, fold_count=4)
        assert found.replicas == pytest.approx(500 * (1 - np.exp(-1)), abs=40)
        assert np.isfinite(found.bootstrap)

    def test_nothing_selected_has_no_uncertainty(self):
        score, weight, process, fold = toy(400)
        found = of(np.zeros(score.size, dtype=bool), weight, process, fold, PLAIN)
        assert np.isnan([found.propagated, found.bootstrap]).all()
        assert (found.jackknife, found.replicas) == (None, 0)

    def test_the_same_generator_gives_the_same_numbers(self):
        score, weight, process, fold = toy(1000)
        assert of(score > 0, weight, process, fold, seed=4) == of(score > 0, weight, process, fold, seed=4)


class TestRefusals:
    def test_lengths_types_and_ranges(self):
        score, weight, process, fold = toy(100)
        for arguments, words in (
            ((score > 0, weight, process, fold[1:]), "of one length"),
            ((score, weight, process, fold), "must be booleans"),
            ((score > 0, weight, process, fold + 1), r"in \[0, 40\)"),
            ((score > 0, weight, process, fold + 0.5), "must be integers"),
            ((score > 0, weight, process + 1, fold), "Process indices run from 1 to 4"),
            ((score > 0, weight * np.nan, process, fold), "weight of event 0 is nan"),
        ):
            with pytest.raises(InputError, match=words):
                of(*arguments)

    @pytest.mark.parametrize("given", [{"fold_count": 1}, {"replicas": 1}])
    def test_numbers_that_are_too_small(self, given):
        score, weight, process, fold = toy(100)
        with pytest.raises(InputError, match="A jackknife needs 2 folds and a bootstrap 2 replicas"):
            of(score > 0, weight, process, 0 * fold, **given)


class TestHeldOut:
    def arguments(self, settings=UNCERTAIN):
        score, weight, process, fold = toy(8000)
        named = {"process_names": NAMES, "roles": ROLES, "settings": settings}
        return (score, weight, process, fold % 5), named

    def test_it_is_the_working_point_with_its_own_uncertainty(self):
        events, named = self.arguments()
        point = hold_out_working_point(*events, fold_count=5, **named)
        found = held_out_uncertainties(point, *events, generator=np.random.default_rng(1), **named)
        assert found.significance == pytest.approx(point.significance, rel=1e-12)
        assert found.propagated == pytest.approx(point.significance_uncertainty, rel=1e-12)
        assert found.folds == 5
        selected = held_out_selection(events[0], events[3], point.thresholds)
        assert found == of(selected, *events[1:], fold_count=5, seed=1)

    def test_it_holds_the_variations_that_the_figure_of_merit_held(self):
        events, named = self.arguments()
        point = hold_out_working_point(*events, fold_count=5, **named)
        more = named | {"settings": UNCERTAIN.model_copy(update={"relative_background_uncertainty": 0.3})}
        known = dataclasses.replace(point, common_uncertainty=0.3)
        found = held_out_uncertainties(known, *events, generator=np.random.default_rng(1), **named)
        assert found == held_out_uncertainties(point, *events, generator=np.random.default_rng(1), **more)
        assert found.significance < point.significance

    def test_without_a_working_point_there_is_none(self):
        events, named = self.arguments(WorkingPointSettings(minimum_effective_background=1e9))
        point = hold_out_working_point(*events, fold_count=5, **named)
        assert point.status == "no_threshold_qualifies"
        assert held_out_uncertainties(point, *events, generator=np.random.default_rng(1), **named) is None

    def test_results_are_frozen(self):
        events, named = self.arguments()
        point = hold_out_working_point(*events, fold_count=5, **named)
        found = held_out_uncertainties(point, *events, generator=np.random.default_rng(1), replicas=10, **named)
        with pytest.raises(dataclasses.FrozenInstanceError):
            found.propagated = 0.0
