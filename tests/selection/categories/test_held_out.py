import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    CategorySettings,
    WorkingPointSettings,
    category_index,
    choose_categories,
    hold_out_categories,
    hold_out_working_point,
    paired_difference,
    scan_thresholds,
    significance,
)
from zsig_hep.selection.categories.yields import CategorySums, paired_category_difference
from zsig_hep.selection.events import Events

NAMES = ("hmumu", "dy", "data")
ROLES = ("signal", "background", "data")
FOLDS = 4
OPTIONS = WorkingPointSettings()


def toy(seed=0, events=4000, *, signed=False):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size=events)
    score = rng.normal(1.5 * (process == 0))
    weight = np.array([0.02, 1.0, 1.0])[process]
    if signed:
        weight = np.where(rng.random(events) < 0.1, -weight, weight)
    return score, weight, process, rng.integers(0, FOLDS, size=events)


def held_out(score, weight, process, fold, options=OPTIONS, count=3, **given):
    given = {"fold_count": FOLDS, "process_names": NAMES, "roles": ROLES} | given
    category_settings = given.pop("category_settings", CategorySettings(count=count, candidates=400))
    return hold_out_categories(
        score, weight, process, fold, settings=options, category_settings=category_settings, **given
    )


@pytest.mark.parametrize("signed", [False, True])
def test_against_a_loop_over_folds(signed):
    score, weight, process, fold = toy(2, signed=signed)
    found = held_out(score, weight, process, fold)
    for index, division in enumerate(found.optima):
        category, on_choosing = np.full(score.size, -1), []
        for k in range(FOLDS):
            others = (fold != k) & (process < 2)
            scan = scan_thresholds(
                score[others], weight[others] * FOLDS / (FOLDS - 1), process[others],
                process_names=NAMES, roles=ROLES, settings=OPTIONS,
            )  # fmt: skip
            chosen = choose_categories(scan, OPTIONS, CategorySettings(count=3, candidates=400))[index]
            assert division.edges[k] == chosen.edges
            on_choosing.append(chosen.significance)
            for number, edge in enumerate(chosen.edges):
                category[(fold == k) & (score >= edge)] = number
        squares = []
        for number, each in enumerate(division.categories):
            w = [weight[(category == number) & (process == row)] for row in (0, 1)]
            assert [each.signal.value, each.background.value] == pytest.approx([x.sum() for x in w], rel=1e-12)
            assert each.signal.entries == len(w[0])
            totals, variances = np.array([x.sum() for x in w]), np.array([np.square(x).sum() for x in w])
            squares.append(float(significance(totals, variances, NAMES[:2], ROLES[:2], OPTIONS).value) ** 2)
        assert (division.status, division.count) == ("ok", index + 1)
        assert division.significance == pytest.approx(np.sqrt(sum(squares)), rel=1e-12)
        assert division.choosing_significance == pytest.approx(np.mean(on_choosing), rel=1e-12)
        assert division.optimism == pytest.approx(np.mean(on_choosing) - division.significance, abs=1e-12)
        np.testing.assert_array_equal(division.category_of(score, fold), category)
    np.testing.assert_array_equal(found.category, category)
    assert found.category.dtype == np.int64
    assert found.chosen is found.optima[-1]


def test_a_single_category_is_the_held_out_working_point():
    events = toy(3)
    found = held_out(*events, count=1, category_settings=CategorySettings())
    point = hold_out_working_point(*events, fold_count=FOLDS, process_names=NAMES, roles=ROLES, settings=OPTIONS)
    assert found.working_point == point
    assert tuple(edges[0] for edges in found.chosen.edges) == point.thresholds
    assert found.chosen.significance == pytest.approx(point.significance, rel=1e-14)
    assert found.chosen.optimism == pytest.approx(point.optimism, abs=1e-12)
    (gain,) = found.over_single_cut
    assert (gain.value, gain.uncertainty) == (0, 0)


def test_data_events_have_a_category_and_choose_nothing():
    score, weight, process, fold = toy(4)
    without = process < 2
    found = held_out(score, weight, process, fold)
    other = held_out(*(array[without] for array in (score, weight, process, fold)))
    assert found.optima == other.optima
    np.testing.assert_array_equal(found.category[without], other.category)
    assert (found.category[~without] >= 0).any()


def test_varied_events_take_the_edges_of_their_fold():
    score, weight, process, fold = toy(5)
    found = held_out(score, weight, process, fold)
    varied = found.chosen.category_of(score + 0.1, fold)
    assert (varied >= found.category).all()
    assert (varied > found.category).any()


def test_category_of_an_edge_is_the_one_above():
    edges = ((0.25, 0.5), None)
    np.testing.assert_array_equal(category_index([0.24, 0.25, 0.5, 0.9], [0, 0, 0, 1], edges), [-1, 0, 1, -1])


@pytest.mark.parametrize(
    ("score", "fold", "part"),
    [([0.1, 0.2], [0], "one shape"), ([0.1], [2], "edges of 2 folds"), ([0.1], [-1], "from -1")],
)
def test_index_refuses(score, fold, part):
    with pytest.raises(InputError, match=part):
        category_index(score, fold, ((0.5,), (0.5,)))


def test_equal_signal_is_held_out_too():
    score, weight, process, fold = toy(6)
    found = held_out(score, weight, process, fold)
    assert [each.status for each in found.equal_signal] == ["ok"] * 3
    assert found.equal_signal[0].edges == found.optima[0].edges
    last = found.equal_signal[-1]
    signals = np.array([each.signal.value for each in last.categories])
    np.testing.assert_allclose(signals, signals.mean(), rtol=0.1)
    assert found.over_equal_signal[-1].value == pytest.approx(found.chosen.significance - last.significance)


def test_paired_uncertainties_are_those_of_the_bootstrap():
    """One category each, where the bootstrap over events of two selections knows the same."""
    score, weight, process, _ = toy(7, 6000, signed=True)
    events = Events.checked(score, weight, process, process_names=NAMES, roles=ROLES)
    selections = [score >= 0.8, score >= 1.2]
    names = {"process_names": NAMES, "roles": ROLES, "settings": OPTIONS}
    categories = [selected.astype(np.int64) - 1 for selected in selections]
    sums = [CategorySums.of_events(events, category, 1, **names) for category in categories]
    found = paired_category_difference(*sums, *categories, events, ROLES)
    drawn = paired_difference(*selections, weight, process, generator=np.random.default_rng(0), **names)
    assert found.value == pytest.approx(drawn.value, rel=1e-12)
    assert found.uncertainty == pytest.approx(drawn.uncertainty, rel=0.1)


def test_uncertainties_of_several_categories_are_those_of_a_bootstrap():
    score, weight, process, fold = toy(8, 6000)
    found = held_out(score, weight, process, fold)
    rng = np.random.default_rng(1)
    first, second = found.category, found.equal_signal[-1].category_of(score, fold)

    def combined(category, counts):
        cells = np.where(category >= 0, process * 3 + category, 9)
        sums = [np.bincount(cells, counts * w, 10)[:6].reshape(2, 3) for w in (weight, weight**2)]
        return float(np.sqrt(np.sum(significance(*sums, NAMES[:2], ROLES[:2], OPTIONS).value ** 2)))

    drawn = []
    for _ in range(400):
        counts = rng.poisson(1.0, score.size)
        drawn.append((combined(first, counts), combined(first, counts) - combined(second, counts)))
    spread = np.std(drawn, axis=0, ddof=1)
    assert found.chosen.significance_uncertainty == pytest.approx(spread[0], rel=0.15)
    assert found.over_equal_signal[-1].uncertainty == pytest.approx(spread[1], rel=0.25)


def test_categories_that_cannot_be_formed_are_a_status():
    score, weight, process, fold = toy(9, 300)
    found = held_out(score, weight, process, fold, count=10)
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
    found = held_out(score, np.ones(8), np.tile([0, 1], 4), fold, options, count=2, fold_count=2)
    assert [each.status for each in found.optima] == ["ok", "no_held_out_significance"]
    assert found.chosen.edges == ((0.85, 0.9), (0.2, 0.8))
    assert "category 0 of 2 (from 0) holds 0 +- 0 signal" in found.chosen.reason
    for part in ("in the held-out folds category", "signal and", "no positive finite significance", "fewer categories"):
        assert part in found.chosen.reason
    assert found.chosen.significance is found.over_equal_signal[-1] is None


def test_refuses_what_the_working_point_refuses():
    score, weight, process, fold = toy()
    with pytest.raises(InputError, match="must be in"):
        held_out(score, weight, process, fold + 1)
    with pytest.raises(InputError, match="score of event 3"):
        held_out(np.where(np.arange(score.size) == 3, np.nan, score), weight, process, fold)


@pytest.mark.parametrize("figure", ["poisson", "asimov"])
def test_categories_of_an_exact_tail_are_those_of_the_asimov_significance(figure):
    rng = np.random.default_rng(1)
    process = np.repeat([0, 1], 2000)
    score, weight = rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5)
    named = {"process_names": ("hmumu", "dy"), "roles": ("signal", "background")}
    found = hold_out_categories(
        score, weight, process, np.arange(4000) % 5, fold_count=5, **named,
        settings=WorkingPointSettings(figure_of_merit=figure), category_settings=CategorySettings(count=2),
    )  # fmt: skip
    asimov = hold_out_categories(
        score, weight, process, np.arange(4000) % 5, fold_count=5, **named,
        settings=WorkingPointSettings(), category_settings=CategorySettings(count=2),
    )  # fmt: skip
    assert found.optima == asimov.optima
    assert found.working_point == asimov.working_point
