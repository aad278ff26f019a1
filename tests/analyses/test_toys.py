import dataclasses
import math

import numpy as np
import pytest

from analyses.efficiency_curves import significance
from analyses.toys import (
    OVERLAP_100,
    OVERLAP_3000,
    PAPER_CASE_1,
    PAPER_CASE_2,
    TOYS,
    GaussianProcess,
    GaussianToy,
)
from zsig_hep.errors import InputError

EFFICIENCIES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
COARSE = 300
MEDIUM = 500

# Integrals over the signal density reweighted to the backgrounds, 4 x 10^6 points: another method than the quadrature.
REWEIGHTED = {
    PAPER_CASE_1: (18.358, 16.601, 14.740, 11.179, 7.765, 4.098),
    PAPER_CASE_2: (8.937, 7.882, 6.867, 5.076, 3.495, 1.944),
}


def linear(points, angle=0.4):
    return points @ np.array([math.cos(angle), math.sin(angle)])


@pytest.mark.parametrize("toy", [PAPER_CASE_1, PAPER_CASE_2], ids=lambda toy: toy.name)
def test_likelihood_ratio_limits(toy):
    values = toy.likelihood_ratio_curve().significance_at(EFFICIENCIES)
    np.testing.assert_allclose(values, REWEIGHTED[toy], rtol=2e-3)


def test_likelihood_ratio_with_systematic_uncertainties():
    best = OVERLAP_100.likelihood_ratio_curve().best()
    assert best.significance == pytest.approx(2.279, abs=1e-3)
    assert best.significance == pytest.approx(2.271, rel=5e-3), "10^6 simulated events"
    assert best.signal_efficiency == pytest.approx(0.11, abs=0.012)
    tight = OVERLAP_3000.likelihood_ratio_curve().best(0.02)
    assert tight.significance == pytest.approx(1.777, abs=1e-3)
    assert tight.significance == pytest.approx(1.677, rel=0.07), "10^6 simulated events"


@pytest.mark.parametrize(
    ("toy", "exact", "simulated"),
    [
        (OVERLAP_100, (2.390, 0.149, 2.76), (2.389, 0.156, 2.87)),
        (OVERLAP_3000, (2.524, 0.02, 8.57), (2.548, 0.02, 8.7)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_effective_weights_are_the_best_of_all_mixtures(toy, exact, simulated):
    limit = toy.effective_weights_limit(points_per_axis=MEDIUM)
    assert limit.converged
    found = (limit.significance, limit.signal_efficiency, limit.effective_weights[1])
    np.testing.assert_allclose(found, exact, rtol=5e-3)
    np.testing.assert_allclose(found, simulated, rtol=0.05)
    others = limit.effective_weights[1] * np.array([0.3, 0.8, 1.25, 3.0])
    rivals = [
        toy.likelihood_ratio_curve((1.0, other), COARSE).best(toy.minimum_signal_efficiency).significance
        for other in others
    ]
    assert max(rivals) < limit.significance + 2e-3
    assert rivals[0] < 0.99 * limit.significance
    assert rivals[-1] < 0.99 * limit.significance


def test_effective_weights_at_a_chosen_signal_efficiency():
    limit = OVERLAP_100.effective_weights_limit(0.5, points_per_axis=MEDIUM)
    assert limit.signal_efficiency == 0.5
    assert limit.significance == pytest.approx(float(limit.curve.significance_at(0.5)))
    assert limit.significance > 1.05 * float(OVERLAP_100.likelihood_ratio_curve().significance_at(0.5))
    first, second = limit.background_yields
    expected = (1 + 2 * 0.3**2 * second) / (1 + 2 * 0.02**2 * first)
    assert limit.effective_weights[1] == pytest.approx(expected, rel=5e-3)


def test_without_uncertainties_effective_weights_are_one():
    limit = PAPER_CASE_2.effective_weights_limit(0.3)
    assert limit.effective_weights == (1.0, 1.0)
    assert limit.rounds == 1
    assert limit.significance == pytest.approx(6.87, abs=5e-3)


@pytest.mark.parametrize(
    ("toy", "best", "efficiency"), [(PAPER_CASE_1, 6.66, 0.10), (PAPER_CASE_2, 4.23, 0.10)], ids=lambda v: str(v)[:1]
)
def test_best_linear_cut(toy, best, efficiency):
    cut = toy.best_linear_cut()
    assert cut.significance == pytest.approx(best, abs=0.006)
    assert cut.signal_efficiency == pytest.approx(efficiency, abs=0.005)
    curve = toy.curve_of(lambda points: linear(points, cut.angle))
    assert float(curve.significance_at(cut.signal_efficiency)) == pytest.approx(cut.significance, rel=2e-3)
    np.testing.assert_allclose(curve.background_yields_at(cut.signal_efficiency), cut.background_yields, rtol=5e-3)
    assert cut.threshold > math.hypot(*toy.centres[0]) * math.cos(cut.angle - math.atan2(7, 4)), "tighter than half"


def test_no_direction_beats_the_best_linear_cut():
    cut = PAPER_CASE_1.best_linear_cut(0.5)
    values = [
        float(PAPER_CASE_1.curve_of(lambda points, a=angle: linear(points, a), COARSE).significance_at(0.5))
        for angle in cut.angle + np.array([-0.1, -0.03, 0.0, 0.03, 0.1])
    ]
    assert np.argmax(values) == 2
    assert values[2] == pytest.approx(cut.significance, rel=5e-3)


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.name)
def test_quadrature_holds_every_event(toy):
    grid = toy.grid(COARSE)
    np.testing.assert_allclose(grid.yields.sum(1), toy.yields, rtol=1e-8)
    np.testing.assert_allclose((grid.yields @ grid.points) / toy.yields[:, None], toy.centres, atol=1e-6)


def test_quadrature_agrees_with_simulated_events():
    toy, generator = OVERLAP_100, np.random.default_rng(1)
    events = toy.draw(1_000_000, generator)
    curve = toy.likelihood_ratio_curve()
    score = toy.likelihood_ratio(events.features)
    thresholds = np.quantile(score[events.is_signal], [0.9, 0.5, 0.1])
    efficiencies = np.array([(score[events.is_signal] > threshold).mean() for threshold in thresholds])
    expected = curve.background_yields_at(efficiencies)
    for index, name in enumerate(("background_1", "background_2")):
        mine = events.process == toy.process_names.index(name)
        selected = np.array([np.count_nonzero(score[mine] > threshold) for threshold in thresholds])
        found = selected * toy.yields[index + 1] / 1_000_000
        assert np.all(np.abs(found - expected[index]) < 5 * expected[index] / np.sqrt(selected))


def test_refining_the_grid_changes_nothing_that_matters():
    values = [PAPER_CASE_2.likelihood_ratio_curve(1.0, size).significance_at(EFFICIENCIES) for size in (500, 1000)]
    np.testing.assert_allclose(*values, rtol=4e-3)


def test_equal_scores_are_selected_together():
    curve = PAPER_CASE_1.exact_curve(np.zeros(COARSE**2), COARSE)
    assert curve.signal_efficiency.tolist() == [1.0]
    half = curve.background_yields_at(0.5)
    np.testing.assert_allclose(half, PAPER_CASE_1.yields[1:] / 2, rtol=1e-8)


def test_a_monotonic_change_of_the_score_changes_nothing():
    points = PAPER_CASE_1.grid(COARSE).points
    curves = [PAPER_CASE_1.exact_curve(score, COARSE) for score in (linear(points), np.exp(linear(points) / 3))]
    np.testing.assert_allclose(curves[0].significance_at(0.3), curves[1].significance_at(0.3), rtol=1e-9)
    worse = PAPER_CASE_1.exact_curve(-linear(points), COARSE)
    assert float(worse.significance_at(0.3)) < float(curves[0].significance_at(0.3))


def test_significance_of_yields():
    backgrounds, uncertainties = np.array([100.0, 50.0]), np.array([0.1, 0.2])
    assert significance(20.0, backgrounds, uncertainties) == pytest.approx(20 / math.sqrt(150 + 100 + 100))
    assert np.isnan(significance(20.0, np.zeros(2), uncertainties))
    curve = OVERLAP_100.likelihood_ratio_curve(1.0, COARSE)
    assert float(curve.significance_at(0.5, with_uncertainties=False)) > float(curve.significance_at(0.5))


def test_events_and_table():
    toy = PAPER_CASE_1
    events = toy.draw((1000, 2000, 3000), np.random.default_rng(3))
    again = toy.draw((1000, 2000, 3000), np.random.default_rng(3))
    np.testing.assert_array_equal(events.features, again.features)
    table = toy.table(events, folds=4)
    assert table.fold_count == 4
    assert table.process_names == ("signal", "background_1", "background_2")
    assert {name: round(found.value, 6) for name, found in table.yields().items()} == {
        "signal": 300.0,
        "background_1": 3000.0,
        "background_2": 300000.0,
    }
    for index, centre in enumerate(toy.centres):
        mine = events.features[events.process == index]
        np.testing.assert_allclose(mine.mean(0), centre, atol=0.15)
        np.testing.assert_allclose(mine.var(0), 1, atol=0.15)
    np.testing.assert_array_equal(table.is_signal, events.is_signal)


def test_uncertainties_by_name():
    assert OVERLAP_100.background_uncertainties == {"background_1": 0.02, "background_2": 0.3}
    assert PAPER_CASE_1.background_uncertainties == {}


def test_densities_are_normalised_gaussians():
    found = PAPER_CASE_1.densities(np.array([[4.0, 7.0], [4.0, 8.0]]))
    np.testing.assert_allclose(found[0], [1 / (2 * math.pi), math.exp(-0.5) / (2 * math.pi)])
    assert PAPER_CASE_1.densities(np.array([2.0, 5.0]))[1] == pytest.approx(1 / (2 * math.pi))


@pytest.mark.parametrize("roles", [("background", "background"), ("signal", "signal"), ("signal",)])
def test_roles_are_checked(roles):
    processes = tuple(GaussianProcess(f"p{index}", (0.0, 0.0), 1.0, role) for index, role in enumerate(roles))
    with pytest.raises(InputError, match="needs one signal"):
        GaussianToy("wrong", 1.0, processes)


def test_toys_are_values():
    assert dataclasses.replace(PAPER_CASE_1) == PAPER_CASE_1
    assert hash(PAPER_CASE_1) != hash(PAPER_CASE_2)
