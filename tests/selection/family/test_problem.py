import numpy as np
import pytest

from tests.selection.family.exact_toys import OVERLAP_FIGURE, VARIATION_FIGURE, moved_background, overlap
from zsig_hep.errors import InputError
from zsig_hep.selection.family.problem import FamilyProblem, Requirements
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable

PROCESSES = ProcessTable(("ggh", "dy", "vbf", "top"), ("signal", "background", "signal", "background"))


def random_smooth(events=60, seed=3, ties=False):
    rng = np.random.default_rng(seed)
    composition, signal = rng.dirichlet([2, 2], events), rng.dirichlet([1, 1], events)
    logit = rng.normal(size=events)
    if ties:
        logit, composition, signal = (values[np.arange(events) // 3] for values in (logit, composition, signal))
    variations = {"jes": 1 + 0.3 * rng.normal(size=(events, 2))}
    if ties:
        variations = {"jes": variations["jes"][np.arange(events) // 3]}
    ratios = LikelihoodRatios.from_arrays(
        logit, composition, variations, backgrounds=PROCESSES.backgrounds, signal_composition=signal,
        signals=PROCESSES.signals,
    )  # fmt: skip
    weight, process = rng.uniform(0.5, 2.0, events), np.arange(events) % 4
    return SmoothYields.of_events(ratios, weight, process, PROCESSES)


def slow_best(problem, d, c, a):
    """Every threshold, one after the other, with the figure of merit by hand: s / sqrt(b + sigma^2), its smaller one."""
    smooth, ratios = problem.smooth, problem.smooth.ratios
    bracket = ratios.composition @ c + a[0] * ratios.odd_shifts[:, 0] + a[1] * ratios.even_shifts[:, 0]
    key = bracket * np.exp(-ratios.logit) / (ratios.signal_composition @ d)
    best = -np.inf
    for cut in np.unique(key):
        ggh, dy, vbf, top, odd, even = (smooth.yields * smooth.scale)[key <= cut].sum(axis=0)
        weight_of = smooth.mean_weights
        variance = dy + top + (0.2 * top) ** 2 + odd**2 + even**2 + weight_of[1] * dy + weight_of[3] * top
        totals = smooth.totals
        enough = min(ggh / totals[0], vbf / totals[2]) >= 0.3 and dy + top >= 2.0
        if enough:
            best = max(best, min(ggh, vbf) / np.sqrt(variance))
    return best


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_best_threshold_is_that_of_a_slow_loop(seed, ties):
    objective = Objective(
        FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, background_uncertainties={"top": 0.2}, signals="minimum",
        simulation_uncertainty_in_figure=True,
    )  # fmt: skip
    problem = FamilyProblem(random_smooth(seed=seed, ties=ties), objective, Requirements(0.3, background=2.0))
    d, c, a = np.array([1.0, 0.4]), np.array([0.7, 2.0]), np.array([1.2, -0.5])
    found = problem.best_threshold(np.array([d[0], c[0], d[1], c[1], *a]))
    assert found.significance == pytest.approx(slow_best(problem, d, c, a), rel=1e-12)


def test_the_last_event_that_is_accepted_is_on_the_threshold():
    problem = FamilyProblem(overlap(100.0, 10.0, 60), OVERLAP_FIGURE)
    point = problem.best_threshold(problem.neutral)
    accepted = problem.smooth.ratios.logit >= problem.smooth.ratios.logit[point.last]
    np.testing.assert_allclose(point.yields, problem.smooth.yields[accepted].sum(axis=0), rtol=1e-6)


def test_no_threshold_may_qualify():
    problem = FamilyProblem(overlap(100.0, 10.0, 40), OVERLAP_FIGURE, Requirements(background=1e6))
    point = problem.best_threshold(problem.neutral)
    assert point.last is None
    assert point.significance == -np.inf


def test_effective_entries_are_required():
    smooth = random_smooth(400)
    problem = FamilyProblem(smooth, Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY),
                            Requirements(effective_background=30.0))  # fmt: skip
    yields = problem.best_threshold(problem.neutral).yields[[1, 3]]
    assert yields.sum() ** 2 / (yields @ smooth.mean_weights[[1, 3]]) >= 30.0


def test_slopes_are_the_derivatives_of_the_figure():
    smooth = moved_background(1.5, 0.3, 500, 50_000, 150)
    problem = FamilyProblem(smooth, VARIATION_FIGURE)
    point = problem.best_threshold(problem.neutral)
    s, b, shift, _ = point.yields
    sigma2 = b + shift**2
    expected = [sigma2**-0.5, -s / 2 * sigma2**-1.5, -s * shift * sigma2**-1.5, 0.0]
    np.testing.assert_allclose(problem.slopes(point), expected, rtol=1e-5, atol=1e-12)


def test_consistent_coefficients_of_the_toy_are_the_analytic_ones():
    problem = FamilyProblem(overlap(100.0, 10.0, 150), OVERLAP_FIGURE)
    point = problem.best_threshold(problem.neutral)
    _, known, uncertain = problem.consistent(point)
    expected = (1 + 2 * 0.3**2 * point.yields[2]) / (1 + 2 * 0.02**2 * point.yields[1])
    assert uncertain / known == pytest.approx(expected, rel=1e-5)
    assert (known + uncertain) / 2 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Objective(FigureOfMerit.ASIMOV), "'asimov' has no background uncertainty, so the variations scale"),
        (
            Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"background_1": 0.1}),
            "Did you mean 'background'",
        ),
    ],
)
def test_bad_input(objective, message):
    with pytest.raises(InputError, match=message):
        FamilyProblem(moved_background(1.5, 0.3, 50, 500, 20), objective)


def test_hypotheses_need_the_composition_of_the_signal():
    processes = ProcessTable(("ggh", "vbf", "dy"), ("signal", "signal", "background"))
    ratios = LikelihoodRatios.from_arrays([0.3, -0.2, 1.0], None, backgrounds=["dy"])
    smooth = SmoothYields.of_events(ratios, np.ones(3), np.arange(3), processes)
    with pytest.raises(InputError, match="one column for each of ggh, vbf"):
        FamilyProblem(smooth, Objective(signals="mean"))
