import numpy as np
import pytest

from zsig_hep.selection import WorkingPointSettings, choose_working_point, scan_thresholds, training_goal
from zsig_hep.statistics.significance import FigureOfMerit

NAMES, SIGNAL = ("light", "heavy", "dy", "top"), (True, True, False, False)
ROLES = ("signal", "signal", "background", "background")
UNCERTAIN = {
    "figure_of_merit": "asimov_with_uncertainty",
    "background_uncertainties": {"top": 0.3},
    "minimum_effective_background": 5,
}


def events(seed=1, n=4000):
    generator = np.random.default_rng(seed)
    process = np.repeat(np.arange(4), n)
    score = generator.normal(np.repeat([1.0, 1.5, 0.0, 0.3], n))
    weight = np.repeat([60.0, 10.0, 800.0, 400.0], n) / n
    return score, weight, process


def judge(**settings):
    return training_goal(WorkingPointSettings.model_validate(UNCERTAIN | settings)).judge(*events(), NAMES, SIGNAL)


def test_the_goal_repeats_the_settings():
    goal = training_goal(WorkingPointSettings.model_validate(UNCERTAIN | {"relative_background_uncertainty": 0.05}))
    assert goal.figure is FigureOfMerit.ASIMOV_WITH_UNCERTAINTY
    assert goal.background_uncertainties == {"top": 0.3}
    assert goal.relative_background_uncertainty == 0.05
    assert goal.tells_processes_apart


@pytest.mark.parametrize(
    ("settings", "apart"),
    [
        ({}, False),
        ({"figure_of_merit": "asimov_with_uncertainty", "relative_background_uncertainty": 0.2}, False),
        ({"figure_of_merit": "asimov_with_uncertainty", "background_uncertainties": {"top": 0.0}}, False),
        ({"signals": "mean"}, True),
    ],
)
def test_only_what_differs_between_processes_tells_them_apart(settings, apart):
    assert training_goal(WorkingPointSettings.model_validate(settings)).tells_processes_apart is apart


def test_the_figure_is_that_of_the_working_point_and_its_slopes_are_derivatives():
    found = judge()
    assert found.slopes[0] == found.slopes[1] > 0
    # The uncertain background costs more per event than the one that is known.
    assert found.slopes[3] < found.slopes[2] < 0
    score, weight, process = events()
    settings = WorkingPointSettings.model_validate(UNCERTAIN)
    step = 1e-4
    for row in range(4):
        # The envelope: at the best cut, the derivative of the figure is that at a fixed cut.
        up, down = (
            training_goal(settings).judge(score, weight * np.where(process == row, factor, 1), process, NAMES, SIGNAL)
            for factor in (1 + step, 1 - step)
        )
        passing = {0: "light", 1: "heavy", 2: "dy", 3: "top"}[row]
        point = hold_out_yield(score, weight, process, settings, passing)
        assert (up.figure - down.figure) / (2 * step) == pytest.approx(found.slopes[row] * point, rel=0.02)


def hold_out_yield(score, weight, process, settings, name):
    from zsig_hep.selection import choose_working_point, scan_thresholds

    roles = ["signal" if each else "background" for each in SIGNAL]
    scan = scan_thresholds(score, weight, process, process_names=NAMES, roles=roles, settings=settings)
    return choose_working_point(scan, settings).yields[name].value


def test_without_a_working_point_there_is_nothing():
    found = judge(minimum_effective_background=1e6)
    assert np.isnan(found.figure)
    assert np.isnan(found.slopes).all()


def test_the_smallest_hypothesis_counts_most_and_no_other_is_forgotten():
    found = judge(signals="minimum")
    light, heavy = found.slopes[:2]
    # Six times less signal: the heavy hypothesis is the smallest.
    assert heavy > light > 1e-4 * heavy
    mean = judge(signals="mean")
    assert mean.slopes[1] / mean.slopes[0] < heavy / light


@pytest.mark.parametrize(
    ("figure", "told"),
    [
        ("poisson", FigureOfMerit.ASIMOV),
        ("poisson_with_uncertainty", FigureOfMerit.ASIMOV_WITH_UNCERTAINTY),
        ("punzi", FigureOfMerit.PUNZI),
        ("ams", FigureOfMerit.AMS),
    ],
)
def test_losses_are_told_of_a_figure_with_gradients_and_the_judge_takes_the_figure_itself(figure, told):
    settings = WorkingPointSettings(figure_of_merit=figure)
    goal = training_goal(settings)
    assert goal.figure is told
    judgement = goal.judge(*events(), NAMES, SIGNAL)
    scan = scan_thresholds(*events(), process_names=NAMES, roles=ROLES, settings=settings)
    assert judgement.figure == choose_working_point(scan, settings).significance
    assert (judgement.slopes * np.where(SIGNAL, 1, -1) > 0).all()


def test_the_goal_carries_the_numbers_of_the_figure():
    settings = WorkingPointSettings(figure_of_merit="ams", ams_regularisation=2.0)
    assert training_goal(settings).figure_parameters.ams_regularisation == 2.0
