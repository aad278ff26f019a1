import dataclasses

import numpy as np
import pytest

from tests.selection.exact_yields import exact_yields
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    CategorySettings,
    ScoredEvents,
    VariedEvents,
    WorkingPointSettings,
    category_index,
    choose_categories,
    hold_out_categories,
    hold_out_working_point,
    scan_thresholds,
)
from zsig_hep.selection.categories.choose import Division
from zsig_hep.selection.folds import in_partition
from zsig_hep.statistics import asimov_with_uncertainty, weighted_yield

NAMES, ROLES = ("hmumu", "dy", "data"), ("signal", "background", "data")
FOLDS = 4
OPTIONS = exact_yields()
DEFAULT = WorkingPointSettings(tail_entries=0, partitions=1)


def events_of(score, weight, process, fold, fold_count=FOLDS):
    return ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES, fold=fold, fold_count=fold_count)


def toy(seed=0, events=2000, *, signed=False):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size=events)
    score = rng.normal(1.5 * (process == 0))
    weight = np.array([0.02, 1.0, 1.0])[process]
    if signed:
        weight = np.where(rng.random(events) < 0.1, -weight, weight)
    return events_of(score, weight, process, rng.integers(0, FOLDS, size=events))


def held_out(events, options=OPTIONS, count=3):
    return hold_out_categories(events, options, CategorySettings(count=count, candidates=200))


@pytest.mark.parametrize(("signed", "options"), [(False, OPTIONS), (True, OPTIONS), (True, DEFAULT)])
def test_against_a_loop_over_folds(signed, options):
    events = toy(2, signed=signed)
    score, weight, process, fold = events.score, events.weight, events.process, events.fold
    found = held_out(events, options)
    chosen_outside = []
    for k in range(FOLDS):
        others = (fold != k) & (process < 2)
        outside = events_of(score[others], weight[others] * FOLDS / (FOLDS - 1), process[others], fold[others])
        scan = scan_thresholds(outside, options)
        chosen_outside.append(choose_categories(scan, options, CategorySettings(count=3, candidates=200)))
    for index, division in enumerate(found.optima):
        category = np.full(score.size, -1)
        for k, every in enumerate(chosen_outside):
            assert division.edges[k] == every[index].edges
            for number, edge in enumerate(every[index].edges):
                category[(fold == k) & (score >= edge)] = number
        squares = []
        for number, each in enumerate(division.categories):
            signal, background = (weighted_yield(weight[(category == number) & (process == row)]) for row in (0, 1))
            assert [each.signal.value, each.background.value] == pytest.approx([signal.value, background.value])
            assert (each.signal.entries, each.background.entries) == (signal.entries, background.entries)
            sigma = background.uncertainty * (options is DEFAULT)
            squares.append(float(asimov_with_uncertainty(signal.value, background.value, sigma)) ** 2)
        on_choosing = np.mean([every[index].significance for every in chosen_outside])
        assert (division.status, division.count) == ("ok", index + 1)
        assert division.significance == pytest.approx(np.sqrt(sum(squares)), rel=1e-12)
        assert division.choosing_significance == pytest.approx(on_choosing, rel=1e-12)
        assert division.optimism == pytest.approx(on_choosing - division.significance, abs=1e-12)
        np.testing.assert_array_equal(category_index(events, division.edges), category)
    np.testing.assert_array_equal(found.category, category)
    assert found.category.dtype == np.int64
    assert found.chosen is found.optima[-1]


def test_the_edges_of_a_fold_do_not_know_its_events():
    events = toy(3)
    inside = events.fold == 2
    changed = dataclasses.replace(
        events,
        score=np.where(inside, np.random.default_rng(0).normal(3, 2, len(events)), events.score),
        weight=np.where(inside, 7.0 * events.weight, events.weight),
    )
    first, second = held_out(events).chosen, held_out(changed).chosen
    assert second.edges[2] == first.edges[2]
    assert second.edges != first.edges


@pytest.mark.parametrize("options", [OPTIONS, DEFAULT])
def test_a_single_category_is_the_held_out_working_point(options):
    events = toy(3, 1200)
    found = hold_out_categories(events, options, CategorySettings(candidates=2000))
    point = hold_out_working_point(events, options)
    assert found.working_point == point
    assert found.objective == options.objective
    assert tuple(edges[0] for edges in found.chosen.edges) == point.thresholds
    assert found.chosen.significance == pytest.approx(point.significance, rel=1e-14)
    assert found.chosen.optimism == pytest.approx(point.optimism, abs=1e-12)
    (gain,) = found.over_single_cut
    assert (gain.value, gain.uncertainty) == (0, 0)


def test_the_significance_is_the_mean_over_partitions_with_their_spread():
    events, several = toy(3).simulated, DEFAULT.model_copy(update={"partitions": 3})
    found = held_out(events, several)
    each = [held_out(in_partition(events, number), DEFAULT) for number in range(3)]
    for index, division in enumerate(found.optima):
        values = [one.optima[index].significance for one in each]
        simulation = np.mean([one.optima[index].significance_uncertainty for one in each])
        assert division.significance == pytest.approx(np.mean(values))
        assert division.choice_uncertainty == pytest.approx(np.std(values, ddof=1))
        assert division.significance_uncertainty == pytest.approx(np.hypot(simulation, np.std(values, ddof=1)))
        assert division.optimism == pytest.approx(np.mean([one.optima[index].optimism for one in each]))
        # The exported edges and their yields are those of the folds of the training.
        assert division.exported_significance == values[0]
        assert (division.edges, division.categories) == (each[0].optima[index].edges, each[0].optima[index].categories)
        gains = [one.over_single_cut[index].value for one in each]
        assert found.over_single_cut[index].value == pytest.approx(np.mean(gains))
        assert found.over_single_cut[index].uncertainty >= np.std(gains, ddof=1)
    np.testing.assert_array_equal(found.category, each[0].category)
    assert found.optima[0].significance == pytest.approx(found.working_point.significance, abs=0.02)


def test_data_have_a_category_and_choose_nothing():
    events = toy(4)
    found, other = held_out(events), held_out(events.simulated)
    assert found.optima == other.optima
    np.testing.assert_array_equal(found.category[~events.is_data], other.category)
    assert (found.category[events.is_data] >= 0).any()


def test_varied_events_take_the_edges_of_their_fold():
    events = toy(5)
    found = held_out(events)
    varied = VariedEvents(
        "jes", "shape", "up", ("dy",), events.score + 0.1, events.weight, events.process, events.fold, events.features
    )
    category = category_index(varied, found.chosen.edges)
    assert (category >= found.category).all()
    assert (category > found.category).any()


def test_category_of_an_edge_is_the_one_above():
    events = events_of([0.24, 0.25, 0.5, 0.9], np.ones(4), [0, 0, 0, 1], [0, 0, 0, 1], 2)
    np.testing.assert_array_equal(category_index(events, ((0.25, 0.5), None)), [-1, 0, 1, -1])
    assert category_index(events.select(events.score > 1), ()).shape == (0,)
    with pytest.raises(InputError, match="Folds run up to 1, and edges of 1 folds are given"):
        category_index(events, ((0.25,),))


def test_equal_signal_is_held_out_too():
    found = held_out(toy(6, 4000))
    assert [each.status for each in found.equal_signal] == ["ok"] * 3
    assert found.equal_signal[0].edges == found.optima[0].edges
    last = found.equal_signal[-1]
    signals = np.array([each.signal.value for each in last.categories])
    np.testing.assert_allclose(signals, signals.mean(), rtol=0.1)
    assert found.over_equal_signal[-1].value == pytest.approx(found.chosen.significance - last.significance)
    difference = found.chosen.significance - found.working_point.significance
    assert found.over_single_cut[-1].value == pytest.approx(difference, rel=1e-9)


def test_equal_signal_beyond_the_limits_of_one_fold_is_not_compared():
    # The upper half of the signal stands over 22 background events: 14 outside of fold 0, 18 or more outside of others.
    score = np.concatenate(
        [np.tile([0.2, 0.25], 10), np.tile([0.8, 0.85], 10), np.tile([0.2, 0.25], 45), np.full(22, 0.8)]
    )
    process = np.repeat([0, 1], [40, 112])
    fold = np.concatenate([np.arange(130) % 5, np.zeros(8), 1 + np.arange(14) % 4]).astype(int)
    options = exact_yields(
        figure_of_merit="s_over_sqrt_b", minimum_effective_background=15, minimum_signal_efficiency=0
    )
    events = events_of(score, np.ones(152), process, fold, 5)
    divisions = [
        Division.of_scan(scan_thresholds(events.outside(k), options), options, CategorySettings(count=2))
        for k in range(5)
    ]
    assert [each.equal_signal(2).within_limits for each in divisions] == [False, True, True, True, True]
    found = held_out(events, options, count=2)
    assert (found.chosen.status, found.chosen.within_limits) == ("ok", True)
    assert (found.equal_signal[1].status, found.equal_signal[1].within_limits) == ("ok", False)
    assert found.over_equal_signal[1] is None
    assert found.over_single_cut[1] is not None


@pytest.mark.parametrize("options", [OPTIONS, DEFAULT])
def test_uncertainties_of_several_categories_are_those_of_a_bootstrap(options):
    events = toy(8, 6000)
    found, inside = held_out(events, options), options is DEFAULT
    rng = np.random.default_rng(1)
    first, second = found.category, category_index(events, found.equal_signal[-1].edges)
    weight, process = events.weight, events.process

    def combined(category, counts):
        cells = np.where(category >= 0, process * 3 + category, 9)
        signal, background = np.bincount(cells, counts * weight, 10)[:6].reshape(2, 3)
        sigma = inside * np.sqrt(np.bincount(cells, counts * weight**2, 10)[3:6])
        return float(np.sqrt(np.sum(asimov_with_uncertainty(signal, background, sigma) ** 2)))

    drawn = []
    for _ in range(400):
        counts = rng.poisson(1.0, len(events))
        drawn.append((combined(first, counts), combined(first, counts) - combined(second, counts)))
    spread = np.std(drawn, axis=0, ddof=1)
    assert found.chosen.significance_uncertainty == pytest.approx(spread[0], rel=0.15)
    assert found.over_equal_signal[-1].uncertainty == pytest.approx(spread[1], rel=0.25)


def test_categories_that_cannot_be_formed_are_a_status():
    found = held_out(toy(9, 300), count=10)
    assert found.optima[0].status == "ok"
    assert found.chosen.status == "categories_not_formed"
    for part in ("the 10 categories of fold 0, 1, 2, 3 of 4 cannot be formed", "for fold 0", "at most"):
        assert part in found.chosen.reason
    assert found.chosen.significance is found.chosen.optimism is found.over_single_cut[-1] is None
    assert found.chosen.edges == (None,) * FOLDS
    assert (found.category == -1).all()


def test_a_category_that_is_empty_in_the_held_out_folds_is_a_status():
    # Fold 0 has scores 0.2 and 0.8, fold 1 has 0.85 and 0.9: by the edges of the other fold, nothing lies in category 0.
    fold, score = np.repeat([0, 1], 4), np.repeat([0.2, 0.8, 0.85, 0.9], 2)
    options = WorkingPointSettings(minimum_effective_background=1, minimum_signal_efficiency=0)
    found = held_out(events_of(score, np.ones(8), np.tile([0, 1], 4), fold, 2), options, count=2)
    assert [each.status for each in found.optima] == ["ok", "no_held_out_significance"]
    assert found.chosen.edges == ((0.85, 0.9), (0.2, 0.8))
    assert "in the held-out folds category 0 of 2 (from 0) holds 0 +- 0 signal" in found.chosen.reason
    assert "fewer categories" in found.chosen.reason
    assert found.chosen.significance is found.over_equal_signal[-1] is None


def test_refuses_what_the_working_point_refuses():
    with pytest.raises(InputError, match="at least 2 folds"):
        held_out(events_of([0.1, 0.2], [1, 1], [0, 1], [0, 0], 1))


def test_categories_of_an_exact_tail_are_those_of_the_asimov_significance():
    events = toy(1, 1500)
    exact, asymptotic = (
        held_out(events, WorkingPointSettings(figure_of_merit=figure), count=2) for figure in ("poisson", "asimov")
    )
    assert exact.optima == asymptotic.optima
    assert exact.working_point == asymptotic.working_point
