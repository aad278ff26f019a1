"""The optimum of every toy, by quadrature, against limits that are computed in another way."""

import functools

import numpy as np
import pytest

from analyses.toys import OVERLAP_100, OVERLAP_3000
from tests.selection.family.exact_toys import (
    OVERLAP_FIGURE,
    VARIATION_FIGURE,
    gaussian,
    moved_background,
    overlap,
    plane,
    quadrature,
)
from zsig_hep.selection.family.problem import FamilyProblem, Requirements
from zsig_hep.selection.family.search import search_coefficients
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable

TOYS = {"100": (OVERLAP_100, (100.0, 10.0), 0.0), "3000": (OVERLAP_3000, (3000.0, 50.0), 0.02)}
BOUND = Requirements(0.02, background=5.0)


@functools.cache
def solved(name, points=500):
    _, yields, efficiency = TOYS[name]
    problem = FamilyProblem(overlap(*yields, points), OVERLAP_FIGURE, Requirements(efficiency))
    return problem, search_coefficients(problem)


def log_ratio(found):
    return np.log(found.coefficients[2] / found.coefficients[1])


@pytest.mark.parametrize("name", TOYS)
def test_overlap_toys_reach_the_exact_optimum(name):
    toy, _, _ = TOYS[name]
    _, found = solved(name)
    limit = toy.effective_weights_limit(points_per_axis=500)
    assert found.status == "converged"
    assert found.point.significance == pytest.approx(limit.significance, rel=1e-3)
    assert found.coefficients[2] / found.coefficients[1] == pytest.approx(limit.effective_weights[1], rel=0.05)
    unweighted = toy.likelihood_ratio_curve(points_per_axis=500).best(toy.minimum_signal_efficiency)
    assert found.unweighted.significance == pytest.approx(unweighted.significance, rel=1e-3)


def test_coefficients_are_stationary():
    problem, found = solved("100")
    values = []
    for step in (-0.3, 0.0, 0.3):
        moved = found.coefficients.copy()
        moved[2] *= np.exp(step)
        values.append(problem.best_threshold(moved).significance)
    down, best, up = values
    assert max(down, up) < best
    # The slope between both sides is small against their fall from the maximum.
    assert abs(up - down) < 0.3 * (2 * best - up - down)


def test_coefficients_are_minus_the_derivatives_of_the_figure():
    problem, found = solved("100")
    np.testing.assert_allclose(problem.consistent(found.point), found.coefficients, rtol=0.02)


# y, delta, S, B; Z of the likelihood ratio, Z and a of the best of the family, by quadrature of 1201 x 1201 points and a
# scan of a in steps of .01 with b >= 5 and an efficiency of .02 or more.
MOVED = [
    (1.0, 0.15, 50, 5000, 1.457, 1.63, 2.43),
    (1.5, 0.15, 50, 5000, 2.70, 2.985, 2.41),
    (1.5, 0.30, 50, 5000, 1.515, 2.56, 1.55),
    (1.5, 0.30, 500, 50_000, 4.098, 7.771, 1.53),
    (1.0, 0.10, 500, 50_000, 4.685, 4.97, 4.0),
    (1.0, 0.05, 500, 50_000, 5.768, 5.779, 2.35),
]


@pytest.mark.parametrize(("y", "delta", "s", "b", "unweighted", "best", "a"), MOVED)
def test_moved_background_reaches_the_best_of_the_family(y, delta, s, b, unweighted, best, a):
    found = search_coefficients(FamilyProblem(moved_background(y, delta, s, b, 301), VARIATION_FIGURE, BOUND))
    assert found.status == "converged"
    assert found.unweighted.significance == pytest.approx(unweighted, rel=1e-2)
    assert found.point.significance == pytest.approx(best, rel=5e-3)
    assert found.coefficients[2] == pytest.approx(a, rel=0.05)


def test_inside_the_requirements_a_is_twice_the_shift():
    found = search_coefficients(FamilyProblem(moved_background(1.5, 0.3, 500, 50_000, 301), VARIATION_FIGURE, BOUND))
    assert found.coefficients[2] == pytest.approx(2 * found.point.yields[2], rel=0.03)


def test_permuted_backgrounds_have_permuted_coefficients():
    x, area = plane(-4.5, 9.0, 150)
    centres, totals = [(3.0, 3.0), (1.5, 3.0), (3.0, 1.5), (2.0, 2.0)], np.array([100.0, 900.0, 1000.0, 400.0])
    densities = [gaussian(x, centre) for centre in centres]
    objective = Objective(
        FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"b1": 0.02, "b2": 0.3, "b3": 0.1}
    )

    def of_order(order):
        names = ["s", *(f"b{row}" for row in order)]
        smooth = quadrature(densities[0], [densities[row] for row in order], totals[[0, *order]], names, area)
        found = search_coefficients(FamilyProblem(smooth, objective))
        return found.point.significance, dict(zip(order, found.coefficients[1:], strict=True))

    first, second = of_order([1, 2, 3]), of_order([3, 1, 2])
    assert first[0] == pytest.approx(second[0], rel=1e-6)
    for row in (1, 2, 3):
        assert first[1][row] == pytest.approx(second[1][row], rel=0.03)


def test_a_background_in_two_halves_changes_nothing():
    x, area = plane(-4.5, 9.0, 150)
    densities = [gaussian(x, centre) for centre in [(3.0, 3.0), (1.5, 3.0), (3.0, 1.5)]]
    whole = quadrature(densities[0], densities[1:], [100.0, 1000.0, 1000.0], ["s", "known", "uncertain"], area)
    halves = quadrature(
        densities[0], [densities[1], densities[2], densities[2]], [100.0, 1000.0, 500.0, 500.0],
        ["s", "known", "left", "right"], area,
    )  # fmt: skip
    # Two independent halves have the variance of the whole if each has sqrt(2) times its relative uncertainty.
    of_halves = {"known": 0.02, "left": 0.3 * np.sqrt(2), "right": 0.3 * np.sqrt(2)}
    figure = FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY
    first = search_coefficients(FamilyProblem(whole, OVERLAP_FIGURE))
    second = search_coefficients(FamilyProblem(halves, Objective(figure, background_uncertainties=of_halves)))
    assert second.point.significance == pytest.approx(first.point.significance, rel=1e-5)
    np.testing.assert_allclose(second.coefficients[2:], first.coefficients[2], rtol=0.03)


def test_the_coefficient_of_an_absent_background_is_irrelevant():
    x, area = plane(-4.5, 9.0, 150)
    densities = [gaussian(x, centre) for centre in [(3.0, 3.0), (1.5, 3.0), (3.0, 1.5)]]
    absent = quadrature(
        densities[0], [*densities[1:], densities[1]], [100.0, 1000.0, 1000.0, 0.0],
        ["s", "known", "uncertain", "absent"], area,
    )  # fmt: skip
    problem = FamilyProblem(absent, OVERLAP_FIGURE)
    found = search_coefficients(problem)
    for value in (0.01, 100.0):
        moved = found.coefficients.copy()
        moved[3] = value
        assert problem.best_threshold(moved).significance == pytest.approx(found.point.significance, rel=1e-12)
    reference = search_coefficients(FamilyProblem(overlap(100.0, 10.0, 150), OVERLAP_FIGURE))
    assert found.point.significance == pytest.approx(reference.point.significance, rel=1e-6)


def scaled_and_moved(scale, moved, points=201):
    """A background with a variation that scales it, and one that moves it."""
    x, area = plane(-6.0, 9.0, points)
    signal, nominal = gaussian(x, (1.5, 1.5)), gaussian(x, (0.0, 0.0))
    variations = {"scale": scale * nominal, "move": gaussian(x, (moved, 0.0))}
    return quadrature(signal, [nominal], [500, 50_000], ["signal", "background"], area, variations)


def test_a_variation_that_only_scales_a_single_background_leaves_the_logit():
    found = search_coefficients(FamilyProblem(scaled_and_moved(1.1, 0.0), VARIATION_FIGURE, BOUND))
    assert found.status == "flat"
    assert found.coefficients.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_a_variation_without_effect_is_not_searched():
    found = search_coefficients(FamilyProblem(scaled_and_moved(1.0, 0.3), VARIATION_FIGURE, BOUND))
    alone = search_coefficients(FamilyProblem(moved_background(1.5, 0.3, 500, 50_000, 201), VARIATION_FIGURE, BOUND))
    assert found.coefficients[2] == 0.0
    assert found.point.significance == pytest.approx(alone.point.significance, rel=1e-6)


def test_a_figure_of_sums_is_flat():
    found = search_coefficients(FamilyProblem(overlap(100.0, 10.0, 60), Objective(FigureOfMerit.ASIMOV)))
    assert found.status == "flat"
    assert found.evaluations == 1
    assert found.coefficients.tolist() == [1.0, 1.0, 1.0]


def test_one_background_only_is_flat():
    x, area = plane(-4.5, 9.0, 60)
    smooth = quadrature(gaussian(x, (3, 3)), [gaussian(x, (1.5, 3))], [100.0, 1000.0], ["s", "b"], area)
    objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"b": 0.3})
    assert search_coefficients(FamilyProblem(smooth, objective)).status == "flat"


def test_a_coefficient_can_be_at_the_edge_of_its_range():
    x, area = plane(-4.5, 9.0, 100)
    densities = [gaussian(x, centre) for centre in [(3.0, 3.0), (1.5, 3.0), (3.0, 1.5)]]
    smooth = quadrature(densities[0], densities[1:], [1e4, 1e9, 9e8], ["s", "known", "unknown"], area)
    objective = Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, background_uncertainties={"unknown": 1e4})
    found = search_coefficients(FamilyProblem(smooth, objective))
    assert found.status == "at_edge"
    assert found.at_edge == (2,)
    assert found.point.significance > found.unweighted.significance


def test_no_cut_may_qualify():
    problem = FamilyProblem(overlap(100.0, 10.0, 40), OVERLAP_FIGURE, Requirements(background=1e6))
    found = search_coefficients(problem)
    assert found.status == "no_threshold_qualifies"
    assert found.coefficients.tolist() == [1.0, 1.0, 1.0]


def two_signals(points=120):
    x, area = plane(-4.5, 9.0, points)
    first, second, background = (gaussian(x, centre) for centre in ((3.0, 1.0), (1.0, 3.0), (0.5, 0.5)))
    totals = np.array([20.0, 60.0, 1000.0])
    parts = totals[:2, None] * np.stack([first, second])
    ratios = LikelihoodRatios.from_arrays(
        np.log(parts.sum(0) / 80.0 / background), None, backgrounds=["b"],
        signal_composition=(parts / parts.sum(0)).T, signals=["first", "second"],
    )  # fmt: skip
    processes = ProcessTable(("first", "second", "b"), ("signal", "signal", "background"))
    return SmoothYields.of_mixture(ratios, (parts.sum(0) / 80.0 + background) / 2 * area, totals, processes)


@pytest.mark.parametrize("signals", ["mean", "minimum"])
def test_several_signals_have_coefficients_of_their_own(signals):
    problem = FamilyProblem(two_signals(), Objective(FigureOfMerit.S_OVER_SQRT_B, signals=signals), Requirements(0.1))
    found = search_coefficients(problem)
    scanned = max(problem.best_threshold(np.array([d, 1.0, 1.0])).significance for d in np.exp(np.linspace(-5, 5, 401)))
    assert found.point.significance >= scanned * (1 - 3e-4)
    assert found.point.significance > found.unweighted.significance


def test_negative_weights_are_searched_too():
    rng = np.random.default_rng(5)
    process = np.repeat([0, 1, 2], 4000)
    centres, totals = np.array([[3.0, 3.0], [1.5, 3.0], [3.0, 1.5]]), np.array([100.0, 1000.0, 1000.0])
    x = rng.normal(centres[process])
    s, *b = (total * gaussian(x, centre) for total, centre in zip(totals, centres, strict=True))
    ratios = LikelihoodRatios.from_arrays(
        np.log(s / sum(b) * 20), np.stack(b, axis=1) / sum(b)[:, None], backgrounds=["known", "uncertain"]
    )
    sign = np.where((process == 2) & (rng.random(process.size) < 0.2), -1.0, 1.0)
    weight = sign * (totals / 4000)[process] / np.where(process == 2, 0.6, 1.0)
    processes = ProcessTable(("signal", "known", "uncertain"), ("signal", "background", "background"))
    smooth = SmoothYields.of_events(ratios, weight, process, processes)
    found = search_coefficients(FamilyProblem(smooth, OVERLAP_FIGURE, Requirements(0.05)))
    assert found.status == "converged"
    assert 2.0 < found.coefficients[2] / found.coefficients[1] < 4.0


def test_errors_of_ratios_keep_coefficients_away_from_the_cliff():
    problem = FamilyProblem(moved_background(1.5, 0.3, 500, 50_000, 201), VARIATION_FIGURE, BOUND)

    def with_error(found, error):
        moved = found.coefficients.copy()
        moved[2] *= error
        return problem.best_threshold(moved).significance

    exact, hedged = search_coefficients(problem), search_coefficients(problem, 0.1)
    assert exact.coefficients[2] < hedged.coefficients[2] < 1.4 * exact.coefficients[2]
    assert with_error(exact, 0.9) < 0.75 * exact.point.significance
    assert with_error(hedged, 0.9) > 0.85 * exact.point.significance
    assert hedged.point.significance > 0.85 * exact.point.significance


def test_errors_of_ratios_do_not_matter_without_shifts():
    problem, found = solved("100")
    np.testing.assert_array_equal(search_coefficients(problem, 0.1).coefficients, found.coefficients)
