from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from tests.selection.family.exact_toys import gaussian
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    CategorySettings,
    ScoredEvents,
    VariedEvents,
    WorkingPointSettings,
    hold_out_categories,
    hold_out_working_point,
)
from zsig_hep.selection.family.held_out import cross_fitted, hold_out_family
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.selection.thresholds.held_out import held_out_selection

NAMES, ROLES = ("signal", "known", "uncertain"), ("signal", "background", "background")
CENTRES = np.array([[3.0, 3.0], [1.5, 3.0], [3.0, 1.5]])
TOTALS = np.array([100.0, 1000.0, 1000.0])
SETTINGS = WorkingPointSettings(
    figure_of_merit="s_over_sqrt_b_with_uncertainty",
    background_uncertainties={"known": 0.02, "uncertain": 0.3},
    simulation_uncertainty_in_figure=False,
    partitions=2,
)
ALONE = SETTINGS.model_copy(update={"partitions": 1})
WITH_VARIATIONS = WorkingPointSettings(
    figure_of_merit="s_over_sqrt_b_with_uncertainty",
    simulation_uncertainty_in_figure=False,
    variations_in_figure=True,
    partitions=1,
)


def ratios_at(x, shift):
    s, *b = (total * gaussian(x, centre) for total, centre in zip(TOTALS, CENTRES, strict=True))
    up, down = (
        sum(
            total * gaussian(x, np.add(centre, [sign * shift, 0]))
            for total, centre in zip(TOTALS[1:], CENTRES[1:], strict=True)
        )
        for sign in (1, -1)
    )
    return LikelihoodRatios.from_arrays(
        np.log(s / sum(b) * 20), np.stack(b, axis=1) / sum(b)[:, None],
        {"move": np.stack([up, down], axis=1) / sum(b)[:, None]}, backgrounds=["known", "uncertain"],
    )  # fmt: skip


def make_events(counts=(3000, 3000, 3000), seed=1, shift=0.3):
    """The overlap toy with exact ratios, whose backgrounds are moved along the first axis under a variation."""
    rng = np.random.default_rng(seed)
    process = np.repeat([0, 1, 2], counts)
    x = rng.normal(CENTRES[process])
    weight, fold = (TOTALS / np.array(counts))[process], np.arange(process.size) % 4
    events = ScoredEvents.from_arrays(
        np.zeros(process.size), weight, process, names=NAMES, roles=ROLES, fold=fold, fold_count=4,
        ratios=ratios_at(x, shift),
    )  # fmt: skip
    background = process > 0

    def moved(sign):
        at = x[background] + [sign * shift, 0]
        return VariedEvents(
            "move", "shape", "up" if sign > 0 else "down", NAMES[1:], np.zeros(len(at)), weight[background],
            process[background], fold[background], np.empty((len(at), 0), dtype=np.float32),
            events.identity[background], ratios_at(at, shift),
        )  # fmt: skip

    return replace(events, variations=((moved(1), moved(-1)),))


@pytest.fixture(scope="module")
def overlap():
    events = make_events()
    return events, hold_out_family(events, SETTINGS)


def test_quoted_yields_are_counted_in_the_fold_that_did_not_choose(overlap):
    events, found = overlap
    counted = np.zeros(3)
    for fold, choice in enumerate(found.choices):
        mine = events.fold == fold
        score = expit(choice.coefficients.score(events.ratios.select(mine)))
        passing = score >= found.point.thresholds[fold]
        counted += np.bincount(events.process[mine][passing], events.weight[mine][passing], minlength=3)
    np.testing.assert_allclose([each.value for each in found.point.yields.values()], counted)
    s, known, uncertain = counted
    variance = known + uncertain + (0.02 * known) ** 2 + (0.3 * uncertain) ** 2
    assert found.point.exported_significance == pytest.approx(s / np.sqrt(variance))


def test_another_partition_has_its_own_folds_coefficients_and_scores(overlap):
    events, found = overlap
    other = in_partition(events, 1)
    choices, partition = found.partition_choices[1], found.point.partitions[1]
    assert found.partition_choices[0] == found.choices != choices
    selected = np.zeros(len(events), dtype=bool)
    for fold, choice in enumerate(choices):
        mine = other.fold == fold
        selected[mine] = expit(choice.coefficients.score(events.ratios.select(mine))) >= partition.thresholds[fold]
    np.testing.assert_array_equal(held_out_selection(in_partition(found.events, 1), partition.thresholds), selected)
    s, known, uncertain = np.bincount(events.process[selected], events.weight[selected])
    variance = known + uncertain + (0.02 * known) ** 2 + (0.3 * uncertain) ** 2
    assert partition.significance == pytest.approx(s / np.sqrt(variance))
    assert found.point.significance == pytest.approx(np.mean([each.significance for each in found.point.partitions]))


def test_events_of_a_fold_choose_neither_its_coefficients_nor_its_cut(overlap):
    events, found = overlap
    changed = events.fold == 2
    logit = np.where(changed, -events.ratios.logit, events.ratios.logit)
    weight = np.where(changed, 3 * events.weight, events.weight)
    other = hold_out_family(replace(events, weight=weight, ratios=replace(events.ratios, logit=logit)), SETTINGS)
    assert other.choices[2] == found.choices[2]
    assert other.point.thresholds[2] == found.point.thresholds[2]
    assert other.point.thresholds[1] != found.point.thresholds[1]
    assert other.choices[1] != found.choices[1]


def test_edges_of_categories_are_chosen_with_the_score_of_their_fold(overlap):
    events, found = overlap
    settings, alone = CategorySettings(count=2), SETTINGS.model_copy(update={"partitions": 1})
    divided = hold_out_categories(found.events, alone, settings, found.rescored)
    choosing = expit(found.choices[1].coefficients.score(events.ratios))
    expected = hold_out_categories(replace(events, score=choosing), alone, settings)
    assert divided.chosen.edges[1] == expected.chosen.edges[1]
    assert divided.chosen.edges[0] != expected.chosen.edges[0]
    assert hold_out_categories(found.events, alone, settings).chosen.edges[1] != divided.chosen.edges[1]


def test_the_comparison_is_the_held_out_point_of_the_logit(overlap):
    events, found = overlap
    of_logit = hold_out_working_point(replace(events, score=expit(events.ratios.logit)), SETTINGS)
    assert found.unweighted.thresholds == of_logit.thresholds
    assert found.unweighted.significance == pytest.approx(of_logit.significance)
    assert found.gain == found.point.significance - found.unweighted.significance


def test_the_gain_is_counted_where_smooth_yields_predict_it():
    # 2.52 instead of 1.78 by quadrature.
    events = make_events((20_000, 20_000, 20_000))
    more = replace(events, weight=np.array([30.0, 150.0, 150.0])[events.process] * events.weight)
    found = hold_out_family(more, ALONE.model_copy(update={"minimum_signal_efficiency": 0.02}))
    assert found.smooth_gain == pytest.approx(0.747, abs=0.03)
    assert found.gain > 0.5


def test_variations_are_counted_with_the_scores_of_their_own_events():
    events = make_events((2000, 10_000, 10_000), shift=0.2)
    found = hold_out_family(events, WITH_VARIATIONS)
    assert found.point.significance > 1.05 * found.unweighted.significance
    shift = []
    for varied in events.variations[0]:
        counted = 0.0
        for fold, choice in enumerate(found.choices):
            mine = varied.fold == fold
            passing = expit(choice.coefficients.score(varied.ratios.select(mine))) >= found.point.thresholds[fold]
            counted += varied.weight[mine][passing].sum()
        shift.append(counted - found.point.background.value)
    sigma = np.sqrt((shift[0] ** 2 + shift[1] ** 2) / 2)
    assert found.point.common_uncertainty * found.point.background.value == pytest.approx(sigma)


def test_scores_are_those_of_the_coefficients_of_the_fold(overlap):
    events, found = overlap
    for fold, choice in enumerate(found.choices):
        mine = events.fold == fold
        expected = expit(choice.coefficients.score(events.ratios.select(mine)))
        np.testing.assert_array_equal(found.events.score[mine], expected)
    varied = found.events.variations[0][0]
    expected = expit(found.choices[1].coefficients.score(varied.ratios.select(varied.fold == 1)))
    np.testing.assert_array_equal(varied.score[varied.fold == 1], expected)


def test_a_background_with_fewer_events_than_folds():
    found = hold_out_family(make_events((2000, 2000, 3)), ALONE)
    assert found.point.status == "ok"
    assert {choice.status for choice in found.choices} <= {"converged", "at_edge", "flat"}


def test_no_cut_may_be_chosen(overlap):
    events, _ = overlap
    found = hold_out_family(events, SETTINGS.model_copy(update={"minimum_effective_background": 1e7}))
    assert found.point.status == "no_threshold_qualifies"
    assert found.gain is None
    assert found.smooth_gain is None


def test_varied_events_without_ratios():
    events = make_events((100, 100, 100))
    bare = tuple(tuple(replace(each, ratios=None) for each in pair) for pair in events.variations)
    with pytest.raises(InputError, match="under variation 'move' have no likelihood ratios"):
        hold_out_family(replace(events, variations=bare), WITH_VARIATIONS)


def test_events_without_ratios(overlap):
    events, found = overlap
    with pytest.raises(InputError, match="no likelihood ratios"):
        hold_out_family(replace(events, ratios=None), SETTINGS)
    with pytest.raises(InputError, match="no likelihood ratios"):
        cross_fitted(replace(events, ratios=None), [[choice.coefficients for choice in found.choices]])


def test_a_single_fold():
    events = make_events((100, 100, 100))
    with pytest.raises(InputError, match="at least 2 folds"):
        hold_out_family(replace(events, fold=np.zeros(300, dtype=int), fold_count=1), SETTINGS)
