import dataclasses

import numpy as np
import pytest

from tests.selection.varied_toy import varied_toy
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, evaluate_classifier
from zsig_hep.selection.thresholds.one_more_event import one_more_event_of_each
from zsig_hep.statistics import FigureOfMerit, Yield, asimov_with_uncertainty

NAMES, ROLES = ("dy", "signal", "top", "data", "ww"), ("background", "signal", "background", "data", "background")
SETTINGS = WorkingPointSettings(minimum_effective_background=2)


def evaluated(weights_of_top, settings=SETTINGS, places=2.7):
    """Drell-Yan everywhere, light WW events, and top pairs of some weights at some high scores and many at low ones."""
    rng = np.random.default_rng(0)
    above = len(weights_of_top)
    counts = [2000, 1000, above + 100, 50, 300]
    top = np.concatenate([np.broadcast_to(places, above), rng.uniform(-2.0, -1.0, 100)])
    score = np.concatenate(
        [rng.normal(-0.5, 1, 2000), rng.normal(2.5, 0.3, 1000), top, rng.normal(size=50), rng.normal(0, 1, 300)]
    )
    weight = np.repeat([0.5, 0.03, 3.0, 1.0, 0.01], counts)
    weight[3000 : 3000 + above] = weights_of_top
    events = ScoredEvents.from_arrays(
        score, weight, np.repeat(np.arange(5), counts), names=NAMES, roles=ROLES,
        fold=np.arange(score.size) % 4, fold_count=4,
    )  # fmt: skip
    return evaluate_classifier("z", "Z loss", events, settings)


@pytest.mark.parametrize("figure", ["asimov", "s_over_sqrt_b"])
@pytest.mark.parametrize("weights", [[], [0.2, 0.4, 0.6]])
def test_each_background_by_hand(weights, figure):
    evaluation = evaluated(weights, SETTINGS.model_copy(update={"figure_of_merit": FigureOfMerit(figure)}))
    point = evaluation.working_point
    found = {each.process: each for each in one_more_event_of_each(point, evaluation.scan)}
    assert set(found) == {"dy", "top", "ww"}
    assert found["top"].entries == len(weights)
    # Of those that pass, or of all where none passes.
    assert found["top"].weight == pytest.approx(0.4 if weights else 3.0)
    assert (found["dy"].weight, found["ww"].weight) == pytest.approx((0.5, 0.01))
    for each in found.values():
        b, v = point.background.value + each.weight, point.background.variance + each.weight**2
        s = point.signal.value
        expected = s / np.sqrt(b + v) if figure == "s_over_sqrt_b" else float(asimov_with_uncertainty(s, b, np.sqrt(v)))
        assert each.significance == pytest.approx(expected, rel=1e-12)
    assert found["top"].significance < point.exported_significance


def test_the_one_that_lowers_z_most_is_a_number_of_the_evaluation():
    evaluation = evaluated([2.0] * 40, places=np.linspace(1.5, 3.3, 40))
    found = evaluation.one_more_event
    assert found.process == "top"
    assert found.entries == evaluation.working_point.yields["top"].entries > 3
    every = one_more_event_of_each(evaluation.working_point, evaluation.scan)
    assert [each.process for each in every] == ["top", "dy", "ww"]
    assert found == every[0]


def test_the_uncertainty_of_the_variations_is_in_the_figure():
    events = varied_toy()
    settings = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", variations_in_figure=True)
    evaluation = evaluate_classifier("z", "Z loss", events, settings)
    point, found = evaluation.working_point, evaluation.one_more_event
    assert point.common_uncertainty > 0.01
    b, v = point.background.value + found.weight, point.background.variance + found.weight**2
    expected = asimov_with_uncertainty(point.signal.value, b, np.sqrt(v + (point.common_uncertainty * b) ** 2))
    assert found.significance == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("before", "weight"), [(30.0, 0.25), (-3.0, None)])
def test_weights_that_cancel(before, weight):
    # A negative mean of those that pass says nothing about one more: that of all events stands in, if it is positive.
    evaluation = evaluated([2.0, 2.0])
    scan, point = evaluation.scan, evaluation.working_point
    row = scan.processes.index("ww")
    totals, entries = scan.total_yields.copy(), scan.total_entries.copy()
    totals[row], entries[row] = before, 120
    scan = dataclasses.replace(scan, total_yields=totals, total_entries=entries)
    point = dataclasses.replace(point, yields={**point.yields, "ww": Yield(-0.02, 0.01, 3)})
    found = {each.process: each.weight for each in one_more_event_of_each(point, scan)}
    assert found.get("ww") == weight


def test_without_a_working_point_there_is_none():
    evaluation = evaluated([], WorkingPointSettings(minimum_effective_background=1e6))
    assert evaluation.working_point.status != "ok"
    assert evaluation.one_more_event is None
    assert one_more_event_of_each(evaluation.working_point, evaluation.scan) == ()
