import dataclasses

import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPoint,
    WorkingPointSettings,
    hold_out_working_point,
    selection_exclusion,
)
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable, Yield, expected_exclusion

PROCESSES = ProcessTable.of(["ggf", "dy", "vbf", "top"], ["signal", "background", "signal", "background"])
YIELDS = {
    "ggf": Yield(12.0, 0.5, 3000),
    "vbf": Yield(4.0, 0.1, 2000),
    "dy": Yield(60.0, 8.0, 900),
    "top": Yield(10.0, 1.5, 200),
}
POINT = WorkingPoint("ok", yields=YIELDS)
UNCERTAIN = Objective(
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"top": 0.3}, relative_background_uncertainty=0.05
)


def test_the_yields_are_one_counting_experiment():
    found = selection_exclusion(POINT, PROCESSES, UNCERTAIN)
    sigma = np.hypot(0.3 * 10, 0.05 * 70)
    assert found.expected == expected_exclusion(16.0, 70.0, sigma)


def test_a_figure_without_uncertainty_knows_the_background():
    assert selection_exclusion(POINT, PROCESSES, Objective()).expected == expected_exclusion(16.0, 70.0)


def test_the_simulation_counts_where_the_settings_put_it():
    inside = dataclasses.replace(UNCERTAIN, simulation_uncertainty_in_figure=True)
    sigma = np.sqrt(3.0**2 + 3.5**2 + 9.5)
    found = selection_exclusion(POINT, PROCESSES, inside).expected
    assert found.limits == pytest.approx(expected_exclusion(16.0, 70.0, sigma).limits, rel=1e-12)


def test_the_variations_that_the_figure_of_merit_held():
    found = selection_exclusion(WorkingPoint("ok", yields=YIELDS, common_uncertainty=0.2), PROCESSES, UNCERTAIN)
    assert found.expected == expected_exclusion(16.0, 70.0, np.hypot(3.0, 0.2 * 70))


def test_one_signal_alone():
    found = selection_exclusion(POINT, PROCESSES, UNCERTAIN, signal="vbf", confidence_level=0.9)
    assert found.expected == expected_exclusion(4.0, 70.0, np.hypot(3.0, 3.5), confidence_level=0.9)


@pytest.mark.parametrize("inside", [False, True])
def test_the_uncertainties_are_those_of_derivatives(inside):
    """Propagation of every event's weight, with derivatives from steps of the whole computation."""
    objective, step = dataclasses.replace(UNCERTAIN, simulation_uncertainty_in_figure=inside), 1e-3
    # The moments of unequal weights.
    higher = {"dy": (1.5, 0.5), "top": (-0.2, 0.6)}
    yields = {
        name: dataclasses.replace(each, third_moment=more[0], fourth_moment=more[1])
        for name, each in YIELDS.items()
        for more in [higher.get(name, (0.0, 0.0))]
    }
    quoted = selection_exclusion(WorkingPoint("ok", yields=yields), PROCESSES, objective)

    def medians(shifted, by):
        values = {name: each.value + by * (name == shifted) for name, each in YIELDS.items()}
        b, simulation = values["dy"] + values["top"], inside * (9.5 + by * (shifted == "sum w^2"))
        sigma = np.sqrt((0.3 * values["top"]) ** 2 + (0.05 * b) ** 2 + simulation)
        found = expected_exclusion(values["ggf"] + values["vbf"], b, sigma)
        return np.array([found.median_limit, found.median_cls])

    def slopes(name):
        return (medians(name, step) - medians(name, -step)) / (2 * step)

    variance, slope_v = np.zeros(2), slopes("sum w^2")
    for name, each in YIELDS.items():
        variance += slopes(name) ** 2 * each.variance
        third, fourth = higher.get(name, (0.0, 0.0))
        variance += 2 * slopes(name) * slope_v * third + slope_v**2 * fourth
    assert [quoted.limit_uncertainty, quoted.cls_uncertainty] == pytest.approx(np.sqrt(variance), rel=1e-4)


def test_a_held_out_working_point_has_discovery_and_exclusion():
    rng = np.random.default_rng(0)
    process = np.repeat([0, 1, 3], 3000)
    events = ScoredEvents.from_arrays(
        rng.normal(np.repeat([1.0, -1.0, 0.0], 3000)), np.repeat([0.01, 0.3, 0.05], 3000), process,
        names=PROCESSES.names, roles=PROCESSES.roles,
    )  # fmt: skip
    point = hold_out_working_point(events, WorkingPointSettings())
    found = selection_exclusion(point, PROCESSES, Objective())
    assert found.expected == expected_exclusion(point.signal.value, point.background.value)
    # An exclusion at more background than signal is about as many standard deviations as a discovery.
    assert found.expected.significance == pytest.approx(point.significance, rel=0.15)
    assert found.limit_uncertainty < 0.1 * found.expected.median_limit


@pytest.mark.parametrize(
    "yields",
    [
        {},
        {"ggf": Yield(-1.0, 1.0, 5), "dy": Yield(5.0, 1.0, 5)},
        {"ggf": Yield(1.0, 1.0, 5), "dy": Yield(-0.5, 1.0, 5)},
        {"ggf": Yield(0.0, 0.0, 0), "dy": Yield(5.0, 1.0, 5)},
    ],
)
def test_without_positive_yields_there_is_none(yields):
    processes = ProcessTable.of(["ggf", "dy"], ["signal", "background"])
    assert selection_exclusion(WorkingPoint("ok", yields=yields), processes, Objective()) is None


def test_a_signal_that_there_is_not():
    with pytest.raises(InputError, match=r"'vbff' is no signal process\. Did you mean 'vbf'"):
        selection_exclusion(POINT, PROCESSES, UNCERTAIN, signal="vbff")
    with pytest.raises(InputError, match="'dy' is no signal process"):
        selection_exclusion(POINT, PROCESSES, UNCERTAIN, signal="dy")
