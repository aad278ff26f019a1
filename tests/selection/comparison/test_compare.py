from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.selection.varied_toy import varied_toy
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    ScoredClassifier,
    ScoredEvents,
    WorkingPointSettings,
    compare_classifiers,
    held_out_selection,
    hold_out_working_point,
    paired_difference,
)
from zsig_hep.selection.comparison.compare import _standard_deviations

NAMES, ROLES = ("higgs", "dy"), ("signal", "background")
SETTINGS = WorkingPointSettings(partitions=3)


def classifier(name, noise, *, seeds=3, seed=0, size=4000, settings=SETTINGS):
    """A score that is a mean over seeds of the same latent variable with independent noise."""
    latent_rng, rng = np.random.default_rng(5), np.random.default_rng([seed, len(name)])
    process = np.repeat([0, 1], size // 2)
    latent = latent_rng.normal(1.5 - 1.5 * process)
    scores = latent + noise * rng.normal(size=(max(seeds, 1), size))
    events = ScoredEvents.from_arrays(
        scores.mean(axis=0), np.where(process == 0, 0.02, 0.5), process, names=NAMES, roles=ROLES
    )
    return ScoredClassifier(name, events, hold_out_working_point(events, settings), scores if seeds else None)


def compare(*classifiers, settings=SETTINGS, replicas=100):
    return compare_classifiers(classifiers, settings, np.random.default_rng(1), replicas=replicas)


class TestComparison:
    def test_quantities_without_a_cut_come_first(self):
        (found,) = compare(classifier("good", 0.2), classifier("poor", 2.0))
        assert [each.quantity for each in found.quantities] == [
            "binned_significance",
            "area",
            "log_loss",
            "significance",
        ]
        assert (found.first, found.second) == ("good", "poor")
        for each in found.quantities:
            assert each.value == pytest.approx(each.first - each.second)
            parts = [each.simulation, each.choice or 0.0, each.training]
            assert each.uncertainty == pytest.approx(np.sqrt(np.square(parts).sum()))
            assert (each.choice is None) is (each.quantity != "significance")

    @pytest.mark.parametrize("order", [("good", "poor"), ("poor", "good")])
    def test_the_better_one_is_named_and_a_lower_log_loss_is_better(self, order):
        both = {"good": classifier("good", 0.2), "poor": classifier("poor", 2.0)}
        (found,) = compare(*(both[name] for name in order))
        assert [each.better for each in found.quantities[:3]] == ["good"] * 3
        sign = 1 if order[0] == "good" else -1
        assert [np.sign(each.value) for each in found.quantities[:3]] == [sign, sign, -sign]

    def test_the_first_is_compared_with_each_of_the_others(self):
        found = compare(classifier("a", 0.2), classifier("b", 0.5), classifier("c", 1.0))
        assert [(each.first, each.second) for each in found] == [("a", "b"), ("a", "c")]

    def test_one_classifier_has_no_difference(self):
        assert compare(classifier("a", 0.2)) == ()

    def test_a_classifier_equals_itself(self):
        one = classifier("a", 0.5)
        (found,) = compare(one, replace(one, name="b"))
        for each in found.quantities:
            assert each.value == each.simulation == 0
            assert each.choice in (None, 0)
            assert each.better is None

    def test_data_change_nothing(self):
        one, other = classifier("a", 0.2), classifier("b", 1.0)

        def with_data(each):
            events, count = each.events, 50
            score = np.concatenate([events.score, np.linspace(-1, 1, count)])
            more = ScoredEvents.from_arrays(
                score, np.ones(len(score)) * np.concatenate([events.weight, np.ones(count)]),
                np.concatenate([events.process, np.full(count, 2)]), names=(*NAMES, "data"), roles=(*ROLES, "data"),
            )  # fmt: skip
            seeds = np.concatenate([each.seed_scores, np.zeros((3, count))], axis=1)
            return ScoredClassifier(each.name, more, each.working_point, seeds)

        assert compare(one, other) == compare(with_data(one), with_data(other))


class TestParts:
    def test_the_choice_is_the_spread_of_the_paired_difference_over_partitions(self):
        one, other = classifier("a", 0.3), classifier("b", 1.0)
        found = compare(one, other)[0].of("significance")
        differences = [
            first.significance - second.significance
            for first, second in zip(one.working_point.partitions, other.working_point.partitions, strict=True)
        ]
        assert found.value == pytest.approx(np.mean(differences))
        assert found.choice == pytest.approx(np.std(differences, ddof=1))

    def test_the_training_is_the_spread_over_seeds(self):
        one, other = classifier("a", 0.3), classifier("b", 1.0, seeds=4)
        found = compare(one, other)[0].of("significance")
        variance = 0.0
        for each in (one, other):
            z = [
                hold_out_working_point(replace(each.events, score=score), SETTINGS).significance
                for score in each.seed_scores
            ]
            variance += np.var(z, ddof=1) / len(z)
        assert found.training == pytest.approx(np.sqrt(variance))

    def test_at_one_partition_the_simulation_is_that_of_the_paired_difference_of_both_selections(self):
        alone = SETTINGS.model_copy(update={"partitions": 1})
        one, other = (classifier(name, noise, settings=alone) for name, noise in (("a", 0.3), ("b", 1.0)))
        found = compare(one, other, settings=alone, replicas=2000)[0].of("significance")
        selections = [held_out_selection(each.events, each.working_point.thresholds) for each in (one, other)]
        expected = paired_difference(*selections, one.events, alone.objective, np.random.default_rng(2), replicas=2000)
        assert found.value == pytest.approx(expected.value)
        assert found.simulation == pytest.approx(expected.uncertainty, rel=0.1)
        assert found.missing == ("choice",)
        assert found.better is found.standard_deviations is None

    def test_each_selection_has_the_uncertainty_of_its_own_variations(self):
        events = varied_toy()
        settings = SETTINGS.model_copy(update={"variations_in_figure": True})
        point = hold_out_working_point(events, settings)
        assert all(choice.common_uncertainty > 0 for choice in point.partitions)
        worse = replace(
            point,
            partitions=tuple(replace(choice, common_uncertainty=0.5) for choice in point.partitions),
        )
        one, other = ScoredClassifier("a", events, point), ScoredClassifier("b", events, worse)
        found = compare(one, other, settings=settings)[0].of("significance")
        assert found.first == pytest.approx(point.significance)
        assert found.value > 0.1
        assert found.simulation > 0

    @pytest.mark.parametrize("in_figure", [True, False])
    def test_the_binned_significance_has_the_variations_of_each_selection(self, in_figure):
        events = varied_toy()
        settings = SETTINGS.model_copy(update={"variations_in_figure": in_figure})
        point = hold_out_working_point(events, settings)
        one = ScoredClassifier("a", events, point)
        other = ScoredClassifier("b", replace(events, variations=()), point)
        found = compare(one, other, settings=settings)[0].of("binned_significance")
        assert (found.value < -0.02 * found.second) if in_figure else (found.value == 0)


class TestWhatIsMissing:
    @pytest.mark.parametrize("seeds", [0, 1, 2])
    def test_fewer_than_three_seeds_name_no_winner(self, seeds):
        (found,) = compare(classifier("good", 0.2, seeds=seeds), classifier("poor", 2.0))
        for each in found.quantities:
            assert each.missing == ("training",)
            assert each.training is each.standard_deviations is each.better is None
            assert each.uncertainty == pytest.approx(np.hypot(each.simulation, each.choice or 0.0))

    def test_without_a_working_point_only_the_cut_is_missing(self):
        one = classifier("a", 0.2)
        settings = SETTINGS.model_copy(update={"minimum_effective_background": 1e9})
        none = replace(one, name="b", working_point=hold_out_working_point(one.events, settings))
        (found,) = compare(one, none)
        assert [each.quantity for each in found.quantities] == ["binned_significance", "area", "log_loss"]
        assert found.of("significance") is None

    @pytest.mark.parametrize("figure", ["ams", "punzi", "poisson"])
    def test_the_binned_significance_has_the_variance_whatever_the_figure_of_the_cut(self, figure):
        settings = WorkingPointSettings(figure_of_merit=figure, partitions=2)
        pair = [classifier(name, noise, settings=settings) for name, noise in (("a", 0.2), ("b", 1.0))]
        plain = [classifier(name, noise) for name, noise in (("a", 0.2), ("b", 1.0))]
        one, other = compare(*pair, settings=settings)[0], compare(*plain)[0]
        assert one.of("binned_significance").first == pytest.approx(other.of("binned_significance").first, rel=1e-12)
        assert one.of("significance").value != other.of("significance").value


class TestRefusals:
    def test_other_events(self):
        one, other = classifier("a", 0.2), classifier("b", 0.2, size=3000)
        with pytest.raises(InputError, match="'a' and 'b' scored different events"):
            compare(one, other)

    def test_seed_scores_of_another_shape(self):
        one = classifier("a", 0.2)
        with pytest.raises(InputError, match=r"seed scores of 'a' must have shape \[seeds, 4000\]; found \(4000,\)"):
            compare(replace(one, seed_scores=one.events.score), one)


def test_few_degrees_of_freedom_make_fewer_standard_deviations():
    many, few = _standard_deviations(3.0, [(1.0, 10**6)]), _standard_deviations(3.0, [(0.5, 2), (0.5, 2)])
    assert many == pytest.approx(3.0, abs=1e-4)
    assert few == pytest.approx(stats.norm.isf(stats.t.sf(3.0, 4)))
    assert _standard_deviations(1.0, [(0.0, 5)]) is None


def test_equally_good_classifiers_are_seldom_told_apart():
    """Pseudo-experiments of which the benchmark makes many: |A - B| above two standard deviations is rare."""
    above = []
    for seed in range(12):
        pair = [classifier(name, 1.0, seed=seed, size=2000) for name in ("a", "bb")]
        above += [
            each.standard_deviations > 2
            for each in compare(*pair, replicas=60)[0].quantities
            if each.standard_deviations
        ]
    assert np.mean(above) < 0.15
