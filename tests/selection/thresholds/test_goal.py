import numpy as np
import pytest

from tests.selection.exact_yields import EXACT_YIELDS
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPoint,
    WorkingPointJudge,
    WorkingPointSettings,
    choose_working_point,
    scan_thresholds,
    training_goal,
)
from zsig_hep.selection.numbers import as_arrays
from zsig_hep.statistics import FigureOfMerit, ProcessTable, Yield

PROCESSES = ProcessTable.of(["light", "dy", "heavy", "top"], ["signal", "background", "signal", "background"])
UNCERTAIN = EXACT_YIELDS | {
    "figure_of_merit": "asimov_with_uncertainty",
    "background_uncertainties": {"top": 0.3},
    "minimum_effective_background": 5,
}


def toy(seed=1, n=4000):
    generator = np.random.default_rng(seed)
    process = np.repeat(np.arange(4), n)
    score = generator.normal(np.repeat([1.0, 0.0, 1.5, 0.3], n))
    weight = np.repeat([60.0, 800.0, 10.0, 400.0], n) / n
    return score, weight, process


def working_point(settings, weight=None):
    score, nominal, process = toy()
    events = ScoredEvents.from_arrays(
        score, nominal if weight is None else weight, process, names=PROCESSES.names, roles=PROCESSES.roles
    )
    return choose_working_point(scan_thresholds(events, settings), settings)


def judge(**settings):
    return training_goal(WorkingPointSettings.model_validate(UNCERTAIN | settings)).judge(*toy(), PROCESSES)


def test_the_goal_repeats_the_settings():
    settings = WorkingPointSettings.model_validate(UNCERTAIN | {"relative_background_uncertainty": 0.05})
    goal = training_goal(settings)
    assert goal.objective == settings.objective
    assert goal.judge.settings == settings
    assert goal.tells_processes_apart


@pytest.mark.parametrize("inside", [False, None])
def test_the_figure_is_that_of_the_working_point_and_its_slopes_are_derivatives(inside):
    options = {"simulation_uncertainty_in_figure": inside}
    settings, found = WorkingPointSettings.model_validate(UNCERTAIN | options), judge(**options)
    point = working_point(settings)
    slope_v = settings.objective.evaluate(*as_arrays(point.yields, PROCESSES), PROCESSES).variance_slope
    assert (found.figure, found.signal_efficiency) == (point.significance, point.signal_efficiency)
    assert found.slopes[0] == found.slopes[2] > 0
    # The uncertain background costs more per event than the one that is known.
    assert found.slopes[3] < found.slopes[1] < 0
    _, weight, process = toy()
    step = 1e-4
    for row, name in enumerate(PROCESSES.names):
        # The envelope: at the best cut, the derivative of the figure is that at a fixed cut.
        up, down = (
            working_point(settings, weight * np.where(process == row, factor, 1)).significance
            for factor in (1 + step, 1 - step)
        )
        # The derivatives are those at constant sum w^2, which the weights change in proportion to their square.
        expected = found.slopes[row] * point.yields[name].value
        if PROCESSES.is_background[row]:
            expected += 2 * float(slope_v) * point.yields[name].variance
        assert (up - down) / (2 * step) == pytest.approx(expected, rel=0.02)


def test_without_a_working_point_there_is_nothing():
    found = judge(minimum_effective_background=1e6)
    assert np.isnan([found.figure, found.signal_efficiency]).all()
    assert np.isnan(found.slopes).all()
    assert found.slopes.shape == (4,)


def test_the_smallest_hypothesis_counts_most_and_no_other_is_forgotten():
    found = judge(signals="minimum")
    light, heavy = found.slopes[[0, 2]]
    # Six times less signal: the heavy hypothesis is the smallest.
    assert heavy > light > 1e-4 * heavy
    mean = judge(signals="mean")
    assert mean.slopes[2] / mean.slopes[0] < heavy / light


class TestSmallestOfHypotheses:
    PROCESSES = ProcessTable.of(["a", "dy", "b", "c"], ["signal", "background", "signal", "signal"])

    def slopes(self, *signals):
        yields = {"dy": Yield(25.0, 1.0, 99)} | {
            name: Yield(signal, 1.0, 99) for name, signal in zip("abc", signals, strict=True)
        }
        judge = WorkingPointJudge(
            WorkingPointSettings(
                figure_of_merit="s_over_sqrt_b", signals="minimum", simulation_uncertainty_in_figure=False
            )
        )
        return judge._slopes(WorkingPoint("ok", yields=yields), self.PROCESSES)

    def test_shares_fall_with_the_fourth_power_of_the_significance(self):
        # s / sqrt(b) has dZ/ds = 1/5 and dZ/db = -s/250, and Z = 1, 2, 4.
        shares = np.array([1.0, 1 / 16, 1 / 256]) / (1 + 1 / 16 + 1 / 256)
        expected = [shares[0] / 5, -(shares @ [5, 10, 20]) / 250, shares[1] / 5, shares[2] / 5]
        np.testing.assert_allclose(self.slopes(5.0, 10.0, 20.0), expected, rtol=1e-13)

    @pytest.mark.parametrize("signal", [0.0, -1.0])
    def test_where_one_is_not_positive_there_are_none(self, signal):
        assert np.isnan(self.slopes(5.0, signal, 20.0)).all()


@pytest.mark.parametrize(
    ("figure", "told"),
    [
        ("poisson", FigureOfMerit.ASIMOV_WITH_UNCERTAINTY),
        ("poisson_with_uncertainty", FigureOfMerit.ASIMOV_WITH_UNCERTAINTY),
        ("punzi", FigureOfMerit.PUNZI),
    ],
)
def test_losses_are_told_of_a_figure_with_gradients_and_the_judge_takes_the_figure_itself(figure, told):
    settings = WorkingPointSettings(figure_of_merit=figure)
    goal = training_goal(settings)
    assert goal.objective.figure is told
    assert goal.judge(*toy(), PROCESSES).figure == working_point(settings).significance
