import numpy as np
import pytest

from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, choose_working_point, scan_thresholds
from zsig_hep.statistics import asimov, evaluate_processes, weighted_yield

NAMES, ROLES = ("hmumu", "dy", "top", "data"), ("signal", "background", "background", "data")
OPTIONS = WorkingPointSettings()
EXACT = exact_yields()


def toy(seed=0, events=3000):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=events)
    weight = np.array([0.02, 1.0, 0.4, 1.0])[process] * rng.choice([1.0, -1.0], p=[0.85, 0.15], size=events)
    return rng.normal(np.array([1.5, 0.0, 0.4, 0.0])[process]), weight, process


def scan_of(score, weight, process, options=OPTIONS):
    return scan_thresholds(ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES), options)


@pytest.mark.parametrize("options", [OPTIONS, EXACT])
def test_numbers_are_those_of_the_events_above_the_cut(options):
    score, weight, process = toy(1)
    point = choose_working_point(scan_of(score, weight, process, options), options)
    assert (point.status, point.reason, point.common_uncertainty) == ("ok", "", None)
    passing = score >= point.threshold
    signal = weighted_yield(weight[passing & (process == 0)])
    background = weighted_yield(weight[passing & (process == 1)]) + weighted_yield(weight[passing & (process == 2)])
    assert list(point.yields) == ["hmumu", "dy", "top"]
    assert point.yields["top"].entries == (passing & (process == 2)).sum()
    assert point.signal.value == pytest.approx(signal.value, rel=1e-12)
    assert point.background.variance == pytest.approx(background.variance, rel=1e-12)
    assert point.background.entries == background.entries
    assert point.signal_efficiency == pytest.approx(signal.value / weight[process == 0].sum(), rel=1e-12)
    before = weight[(process == 1) | (process == 2)].sum()
    assert point.background_efficiency == pytest.approx(background.value / before, rel=1e-12)
    assert point.purity == pytest.approx(signal.value / (signal.value + background.value), rel=1e-12)
    z = evaluate_processes(
        options.objective.figure, signal.value, [background.value], signal.variance, [background.variance], [0.0],
        simulation_uncertainty_in_figure=options is OPTIONS,
        higher_moments=([background.third_moment], [background.fourth_moment]),
    )  # fmt: skip
    assert point.significance == pytest.approx(float(z.value), rel=1e-12)
    assert point.significance_uncertainty == pytest.approx(float(z.uncertainty), rel=1e-9)
    without = float(asimov(signal.value, background.value))
    assert point.significance_without_simulation == pytest.approx(without, rel=1e-12)
    assert (point.significance < 0.9 * without) is (options is OPTIONS)
    assert point.hypotheses == {}


def test_too_little_simulation_is_a_status_that_says_how_much_there_is():
    options = WorkingPointSettings(minimum_effective_background=40)
    scan = scan_of([0.5, 0.4, *[0.1] * 20, *[0.9] * 5], np.ones(27), [0, 0, *[1] * 25], options)
    point = choose_working_point(scan, options)
    assert point.status == "no_threshold_qualifies"
    assert point.threshold is point.signal is point.significance is point.purity is None
    assert point.yields == {}
    for part in ("at best 25 effective entries", "the whole background", "threshold 0.1", "40 are required"):
        assert part in point.reason


def test_the_reason_names_the_process_that_lacks_simulation():
    weight, process = np.repeat([1.0, 1.0, 10.0], [5, 50, 5]), np.repeat([0, 1, 2], [5, 50, 5])
    point = choose_working_point(scan_of(np.linspace(0, 1, 60), weight, process, EXACT), EXACT)
    assert "at best 5 effective entries of background 'top'" in point.reason


def test_of_equal_significances_the_loosest_cut():
    score, weight = [0.3] * 20 + [0.5, 0.6] + [0.9], [1.0] * 20 + [0.0, 1.0] + [0.0]
    assert choose_working_point(scan_of(score, weight, [1] * 20 + [0, 0] + [1]), OPTIONS).threshold == 0.3


def test_the_uncertain_background_moves_the_cut():
    # Top pairs lie nearer to the signal than Drell-Yan: distrusting them tightens the cut.
    score, weight, process = toy(2)
    weight = np.abs(weight) * np.where(process == 2, 5, 1)
    uncertain = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", background_uncertainties={"top": 0.5})
    loose, tight = (choose_working_point(scan_of(score, weight, process, each), each) for each in (OPTIONS, uncertain))
    assert tight.threshold > loose.threshold


@pytest.mark.parametrize(
    ("figure", "name", "values"), [("ams", "ams_regularisation", (0, 200)), ("punzi", "punzi_sigmas", (0, 30))]
)
def test_the_number_of_a_figure_moves_the_cut(figure, name, values):
    # Little regularisation and few sigmas let the cut go where no background is left.
    cuts = []
    for value in values:
        options = WorkingPointSettings(figure_of_merit=figure, minimum_effective_background=2, **{name: value})
        cuts.append(choose_working_point(scan_of(*toy(3), options), options).threshold)
    assert cuts[0] > cuts[1]
