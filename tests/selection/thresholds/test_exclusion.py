import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import WorkingPoint, WorkingPointSettings, hold_out_working_point, selection_exclusion
from zsig_hep.statistics import Yield, expected_exclusion

ROLES = {"ggf": "signal", "vbf": "signal", "dy": "background", "top": "background"}
YIELDS = {
    "ggf": Yield(12.0, 0.5, 3000),
    "vbf": Yield(4.0, 0.1, 2000),
    "dy": Yield(60.0, 8.0, 900),
    "top": Yield(10.0, 1.5, 200),
}
POINT = WorkingPoint("ok", yields=YIELDS)
UNCERTAIN = WorkingPointSettings(
    figure_of_merit="asimov_with_uncertainty",
    background_uncertainties={"top": 0.3},
    relative_background_uncertainty=0.05,
)


def test_the_yields_are_one_counting_experiment():
    found = selection_exclusion(POINT, ROLES, UNCERTAIN)
    sigma = np.hypot(0.3 * 10, 0.05 * 70)
    assert found.expected == expected_exclusion(16.0, 70.0, sigma)


def test_a_figure_without_uncertainty_knows_the_background():
    assert selection_exclusion(POINT, ROLES, WorkingPointSettings()).expected == expected_exclusion(16.0, 70.0)


def test_the_simulation_counts_where_the_settings_put_it():
    settings = UNCERTAIN.model_copy(update={"simulation_uncertainty_in_figure": True})
    sigma = np.sqrt(3.0**2 + 3.5**2 + 9.5)
    found = selection_exclusion(POINT, ROLES, settings).expected
    assert found.limits == pytest.approx(expected_exclusion(16.0, 70.0, sigma).limits, rel=1e-12)


def test_the_variations_that_the_figure_of_merit_held():
    found = selection_exclusion(WorkingPoint("ok", yields=YIELDS, common_uncertainty=0.2), ROLES, UNCERTAIN)
    assert found.expected == expected_exclusion(16.0, 70.0, np.hypot(3.0, 0.2 * 70))


def test_one_signal_alone():
    found = selection_exclusion(POINT, ROLES, UNCERTAIN, signal="vbf", confidence_level=0.9)
    assert found.expected == expected_exclusion(4.0, 70.0, np.hypot(3.0, 3.5), confidence_level=0.9)


def test_simulated_samples_scatter_by_what_is_quoted():
    quoted = selection_exclusion(POINT, ROLES, UNCERTAIN)
    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(400):
        ggf, vbf, dy, top = (rng.normal(each.value, each.uncertainty) for each in YIELDS.values())
        found = expected_exclusion(ggf + vbf, dy + top, np.hypot(0.3 * top, 0.05 * (dy + top)))
        drawn.append((found.median_limit, found.median_cls))
    expected = np.std(drawn, axis=0)
    assert quoted.limit_uncertainty == pytest.approx(expected[0], rel=0.15)
    assert quoted.cls_uncertainty == pytest.approx(expected[1], rel=0.15)


def test_a_held_out_working_point_has_discovery_and_exclusion():
    rng = np.random.default_rng(0)
    process = np.repeat([0, 2, 3], 3000)
    score = rng.normal(np.repeat([1.0, -1.0, 0.0], 3000))
    weight = np.repeat([0.01, 0.3, 0.05], 3000)
    point = hold_out_working_point(
        score, weight, process, np.arange(9000) % 5,
        fold_count=5, process_names=tuple(ROLES), roles=tuple(ROLES.values()), settings=WorkingPointSettings(),
    )  # fmt: skip
    found = selection_exclusion(point, ROLES, WorkingPointSettings())
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
    assert selection_exclusion(WorkingPoint("ok", yields=yields), ROLES, WorkingPointSettings()) is None


def test_a_signal_that_there_is_not():
    with pytest.raises(InputError, match=r"'vbff' is no signal process\. Did you mean 'vbf'"):
        selection_exclusion(POINT, ROLES, UNCERTAIN, signal="vbff")
    with pytest.raises(InputError, match="'dy' is no signal process"):
        selection_exclusion(POINT, ROLES, UNCERTAIN, signal="dy")
