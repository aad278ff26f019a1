import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.selection.varied_toy import varied_toy
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, roc_curve, scan_thresholds
from zsig_hep.selection.comparison.quantities import (
    BinnedSignificance,
    WeightedArea,
    WeightedLogLoss,
    bootstrap_quantities,
)
from zsig_hep.statistics import FigureOfMerit, Objective, asimov_with_uncertainty

NAMES, ROLES = ("higgs", "dy", "top"), ("signal", "background", "background")


def toy(seed=0, size=6000, *, signed=True, noise=0.0):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size)
    weight = np.array([0.05, 0.5, 0.2])[process] * np.where(signed & (rng.random(size) < 0.05), -0.3, 1.0)
    score = rng.normal(np.array([1.0, -0.5, 0.2])[process]) + noise * np.random.default_rng(99).normal(size=size)
    return ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES)


def ones(events):
    return np.ones((1, len(events)))


def binned(events, objective=None):
    (found,) = BinnedSignificance.of_each([events], objective or Objective())
    return found


class TestBinnedSignificance:
    def test_against_a_loop_over_bins(self):
        events = toy()
        found = binned(events, Objective(FigureOfMerit.PUNZI, background_uncertainties={"top": 0.3}))
        assert found.count == 10
        total = 0.0
        for number in range(10):
            inside = found.cell == number
            s, dy, top = (events.weight[inside & (events.process == row)].sum() for row in range(3))
            variance = np.square(events.weight[inside & (events.process > 0)]).sum()
            total += float(asimov_with_uncertainty(s, dy + top, np.sqrt(variance + (0.3 * top) ** 2))) ** 2
        assert found.of_counts(ones(events)) == pytest.approx([np.sqrt(total)], rel=1e-9)

    def test_bins_are_intervals_of_the_score_with_equal_signal(self):
        events = toy()
        found = binned(events)
        signal = np.bincount(found.cell, np.where(events.process == 0, events.weight, 0.0))
        assert signal == pytest.approx(np.full(10, signal.sum() / 10), rel=0.02)
        order = np.argsort(events.score)
        assert (np.diff(found.cell[order]) >= 0).all()

    def test_bins_with_few_background_entries_are_merged_with_the_next_looser_one(self):
        process = np.repeat([0, 1], [1000, 200])
        score = np.concatenate([np.linspace(0, 1, 1000), np.linspace(0, 0.395, 196), [0.62, 0.74, 0.8, 0.99]])
        events = ScoredEvents.from_arrays(score, np.ones(1200), process, names=NAMES[:2], roles=ROLES[:2])
        found = binned(events)
        entries = np.bincount(found.cell[process == 1])
        assert (entries >= 10).all()
        assert found.count == 4
        assert entries.sum() == 200
        assert np.isfinite(found.of_counts(ones(events))).all()
        # Everything from the top down to the first bin with ten entries is one bin.
        assert score[found.cell == 3].min() < 0.4

    def test_two_scores_have_bins_of_the_same_signal_efficiencies(self):
        process = np.repeat([0, 1], [1000, 200])
        poor = np.concatenate([np.linspace(0, 1, 1000), np.linspace(0, 1, 200)])
        good = np.concatenate([np.linspace(0, 1, 1000), np.linspace(0, 0.395, 200)])
        of_poor, of_good = (
            ScoredEvents.from_arrays(score, np.ones(1200), process, names=NAMES[:2], roles=ROLES[:2])
            for score in (poor, good)
        )
        assert (binned(of_poor).count, binned(of_good).count) == (10, 4)
        both = BinnedSignificance.of_each([of_poor, of_good], Objective())
        assert [each.count for each in both] == [4, 4]
        shares = [np.bincount(each.cell[process == 0]) for each in both]
        np.testing.assert_array_equal(*shares)

    def test_a_score_without_ties_of_its_own_scale_makes_no_difference(self):
        events = toy()
        scaled = ScoredEvents.from_arrays(np.exp(events.score), events.weight, events.process, names=NAMES, roles=ROLES)
        one, other = (binned(each).of_counts(ones(events)) for each in (events, scaled))
        assert one == pytest.approx(other, rel=1e-12)


class TestVariationsInBins:
    def test_against_a_loop_over_bins_and_variations(self):
        events = varied_toy()
        objective = Objective(relative_background_uncertainty=0.05)
        (found,) = BinnedSignificance.of_each([events], objective, variations_in_figure=True)
        # The edges are scores of signal events, which lie above them.
        edges = [-np.inf, *(events.score[found.cell == number].min() for number in range(1, found.count)), np.inf]
        total = 0.0
        for low, high in itertools.pairwise(edges):

            def inside(score, low=low, high=high):
                return (score >= low) & (score < high)

            chosen = inside(events.score)
            is_background = chosen & (events.process > 0)
            s, b = events.weight[chosen & (events.process == 0)].sum(), events.weight[is_background].sum()
            sigma2 = np.square(events.weight[is_background]).sum() + (0.05 * b) ** 2
            for pair in events.variations:
                touched = [row for row in (1, 2) if events.processes.names[row] in pair[0].touched]
                nominal = events.weight[is_background & np.isin(events.process, touched)].sum()
                up, down = (each.weight[inside(each.score) & (each.process > 0)].sum() - nominal for each in pair)
                sigma2 += (up**2 + down**2) / 2
            total += float(asimov_with_uncertainty(s, b, np.sqrt(sigma2))) ** 2
        assert found.of_counts(ones(events)) == pytest.approx([np.sqrt(total)], rel=1e-9)

    def test_they_count_only_if_asked_for(self):
        events = varied_toy()
        (without,) = BinnedSignificance.of_each([events], Objective())
        (same,) = BinnedSignificance.of_each([replace(events, variations=())], Objective(), variations_in_figure=True)
        (varied,) = BinnedSignificance.of_each([events], Objective(), variations_in_figure=True)
        z = [each.of_counts(ones(events))[0] for each in (without, same, varied)]
        assert z[0] == z[1] > 1.02 * z[2]


class TestWeightedArea:
    def test_it_is_that_of_the_roc_curve(self):
        events = toy()
        area = roc_curve(scan_thresholds(events, WorkingPointSettings())).area
        assert WeightedArea.of_events(events).of_counts(ones(events)) == pytest.approx([area], rel=1e-12)

    def test_against_all_pairs_with_ties_and_counts(self):
        events = toy(size=300)
        rounded = ScoredEvents.from_arrays(
            events.score.round(1), events.weight, events.process, names=NAMES, roles=ROLES
        )
        counts = np.random.default_rng(2).poisson(1.0, (3, 300)).astype(float)
        found = WeightedArea.of_events(rounded).of_counts(counts)
        for value, times in zip(found, counts, strict=True):
            weight, is_signal = times * events.weight, events.process == 0
            s, b = rounded.score[is_signal][:, None], rounded.score[~is_signal]
            pairs = weight[is_signal][:, None] * weight[~is_signal]
            expected = (pairs * ((s > b) + 0.5 * (s == b))).sum() / pairs.sum()
            assert value == pytest.approx(expected, rel=1e-12)


class TestWeightedLogLoss:
    def test_it_is_near_that_of_the_true_probability(self):
        # Densities of unit width at +-0.7: the logarithm of their ratio is 1.4 x.
        rng = np.random.default_rng(3)
        process = np.repeat([0, 1], 40_000)
        score = rng.normal(np.where(process == 0, 0.7, -0.7))
        events = ScoredEvents.from_arrays(
            score, np.where(process == 0, 0.01, 0.5), process, names=NAMES[:2], roles=ROLES[:2]
        )
        true = np.logaddexp(0.0, np.where(process == 0, -1.4, 1.4) * score).mean()
        (found,) = WeightedLogLoss.of_events(events).of_counts(ones(events))
        assert true < found < true + 0.003

    def test_no_event_is_calibrated_with_its_own_fold(self):
        events = toy()
        before = WeightedLogLoss.of_events(events)
        inside = events.fold == 2
        swapped = np.where(inside & (events.process < 2), 1 - events.process, events.process)
        changed = ScoredEvents.from_arrays(events.score, events.weight, swapped, names=NAMES, roles=ROLES)
        after = WeightedLogLoss.of_events(changed)
        same = inside & (swapped == events.process)
        np.testing.assert_array_equal(before.loss[same], after.loss[same])
        assert not np.array_equal(before.loss[~inside], after.loss[~inside])

    def test_the_classes_have_equal_weight_and_the_scale_of_the_score_no_effect(self):
        events = toy()
        heavier = ScoredEvents.from_arrays(
            np.tanh(events.score), np.where(events.process == 0, 100.0, 1.0) * events.weight, events.process,
            names=NAMES, roles=ROLES,
        )  # fmt: skip
        one, other = (WeightedLogLoss.of_events(each).of_counts(ones(events)) for each in (events, heavier))
        assert one == pytest.approx(other, rel=1e-9)

    def test_a_score_that_separates_fully_has_a_finite_loss(self):
        process = np.tile([0, 1], 500)
        events = ScoredEvents.from_arrays(1.0 - process, np.ones(1000), process, names=NAMES[:2], roles=ROLES[:2])
        (found,) = WeightedLogLoss.of_events(events).of_counts(ones(events))
        assert 0 < found < 0.05


def test_replicas_count_all_quantities_alike():
    events = toy(size=500)
    quantities = [WeightedArea.of_events(events), WeightedArea.of_events(events), WeightedLogLoss.of_events(events)]
    values, drawn = bootstrap_quantities(quantities, 500, np.random.default_rng(4), replicas=30)
    assert values.shape == (3,)
    assert drawn.shape == (3, 30)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.std(drawn[0]) > 0


@pytest.mark.parametrize("make", [WeightedArea.of_events, WeightedLogLoss.of_events, binned])
def test_two_half_events_in_place_of_each_change_nothing(make):
    events = toy(size=3000)
    twice = ScoredEvents.from_arrays(
        np.repeat(events.score, 2), np.repeat(events.weight / 2, 2), np.repeat(events.process, 2), names=NAMES,
        roles=ROLES, fold=np.repeat(events.fold, 2),
    )  # fmt: skip
    whole, halves = (make(each).of_counts(np.ones((1, len(each))))[0] for each in (events, twice))
    # Only the variance of the simulation, and half an event in each step of the calibration, know the difference.
    assert whole == pytest.approx(halves, rel=0.1)
    if make is WeightedArea.of_events:
        assert whole == pytest.approx(halves, rel=1e-12)
