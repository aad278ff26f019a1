from dataclasses import replace

import numpy as np
import pytest

from tests.selection.boxes.box_toy import LOOSE, SOFT, problem_of, toy
from zsig_hep.selection import WorkingPointSettings
from zsig_hep.selection.boxes.problem import qualifies
from zsig_hep.selection.boxes.search import polish
from zsig_hep.selection.boxes.sensitivity import edge_sensitivities
from zsig_hep.statistics import asimov

VARIABLES = {"x": "window", "y": "above"}


def sensitivities(selection, events=2000):
    table = toy(1, events)
    # With s/b far below one the best cuts do not know how much signal there is.
    table = replace(table, weight=np.where(table.is_signal, 10 * table.weight, table.weight))
    problem = problem_of(table, VARIABLES, selection)
    edges, value = polish(problem, problem.nothing)
    assert qualifies(value)
    return edge_sensitivities(problem, edges, np.random.default_rng(0))


def test_signs_and_dimensions():
    found = sensitivities(SOFT)
    assert (found.status, found.reason) == ("ok", "")
    assert [(edge.variable, edge.side) for edge in found.edges] == [("x", "low"), ("x", "high"), ("y", "low")]
    rows = {(row.edge.variable, row.edge.side, row.parameter.kind, row.parameter.process): row for row in found.rows}
    assert len(rows) == len(found.rows) == 3 * 4
    # Without uncertainties the cuts know only ratios of yields, and not the luminosity.
    for edge in found.edges:
        place = edge.variable, edge.side
        assert rows[*place, "luminosity", None].cut_slope == 0
        slopes = [rows[*place, "cross_section", name].cut_slope for name in ("higgs", "dy", "top")]
        assert sum(slopes) == pytest.approx(0, abs=1e-6 * max(map(abs, slopes)))
    # More signal widens the window and loosens the cut.
    assert (
        rows["x", "low", "cross_section", "higgs"].cut_slope < 0 < rows["x", "high", "cross_section", "higgs"].cut_slope
    )
    assert rows["y", "low", "cross_section", "higgs"].cut_slope < 0
    higgs = rows["y", "low", "cross_section", "higgs"]
    assert found.replicas >= 2
    assert 0 < higgs.cut_slope_uncertainty < 2 * abs(higgs.cut_slope)
    assert all(other is None or np.isfinite(other) for other in higgs.cut_slope_with_bandwidths)


def test_without_cuts():
    problem = problem_of(toy(2, 300), VARIABLES, SOFT)
    assert edge_sensitivities(problem, problem.nothing, np.random.default_rng(0)).status == "no_cut"


def test_requirements_that_hold_the_cuts():
    found = sensitivities(SOFT.model_copy(update={"minimum_signal_efficiency": 0.95}))
    assert found.status == "limited"
    assert found.rows == ()
    assert "do not meet the requirements" in found.reason


def test_a_cut_without_a_maximum():
    # A single step of signal: the soft significance rises until all background is gone.
    table = toy(3, 600)
    y = np.where(table.is_signal, 1.0, -1.0) + 0.001 * table.feature("noise")
    table = replace(table, features=np.column_stack([y]).astype(np.float32), feature_names=("y",))
    problem = problem_of(table, {"y": {"side": "above", "limits": [-0.999, 0]}}, LOOSE)
    edges = np.array([np.flatnonzero(problem.sides[0].allowed)[1]])
    assert edge_sensitivities(problem, edges, np.random.default_rng(0)).status in {"no_maximum", "limited"}


def test_of_the_edges_themselves():
    """An edge in the unit of its variable: its place is where the soft significance of that box is highest."""
    found = sensitivities(SOFT)
    x_low, x_high, y_low = found.edges
    assert x_low.cut < 0 < x_high.cut
    assert 0 < y_low.cut < 1.5
    table = toy(1, 2000)
    weight = np.where(table.is_signal, 10 * table.weight, table.weight)
    x, y = table.feature("x").astype(float), table.feature("y").astype(float)

    def z(x_low_at, x_high_at, y_at):
        passing = 1 / (1 + np.exp(-(x - x_low_at) / x_low.bandwidth))
        passing = passing / (1 + np.exp((x - x_high_at) / x_high.bandwidth))
        passing = passing / (1 + np.exp(-(y - y_at) / y_low.bandwidth))
        return float(asimov(*((weight * passing)[role].sum() for role in (table.is_signal, table.is_background))))

    best = z(x_low.cut, x_high.cut, y_low.cut)
    assert found.significance == pytest.approx(best, rel=1e-6)
    for index in range(3):
        for step in (0.05, -0.05):
            moved = [x_low.cut, x_high.cut, y_low.cut]
            moved[index] += step
            assert z(*moved) < best


def test_bandwidths_follow_the_mean_distance_of_the_selected_signal():
    table = toy(1, 600)
    problem = problem_of(table, VARIABLES, SOFT)
    edges, _ = polish(problem, problem.nothing)
    found, box = edge_sensitivities(problem, edges, np.random.default_rng(0)), problem.box(edges)
    selected = box.select(table) & table.is_signal
    x, y = table.feature("x")[selected].astype(float), table.feature("y")[selected].astype(float)
    distances = [np.mean(x - box.cut("x").low), np.mean(box.cut("x").high - x), np.mean(y - box.cut("y").low)]
    assert [edge.bandwidth for edge in found.edges] == pytest.approx(0.3 * np.array(distances), rel=1e-9)


def test_responses_with_other_bandwidths_are_those_of_half_and_twice_the_bandwidths():
    table = toy(1, 1000)
    table = replace(table, weight=np.where(table.is_signal, 10 * table.weight, table.weight))
    found = []
    for relative in (0.3, 0.15, 0.6):
        selection = WorkingPointSettings(
            minimum_effective_background=3, sensitivity={"replicas": 2, "relative_bandwidth": relative}
        )
        problem = problem_of(table, VARIABLES, selection)
        edges, _ = polish(problem, problem.nothing)
        found.append(edge_sensitivities(problem, edges, np.random.default_rng(0)))
    assert [each.status for each in found] == ["ok"] * 3
    for row, half, double in zip(*(each.rows for each in found), strict=True):
        assert row.cut_slope_with_bandwidths == pytest.approx((half.cut_slope, double.cut_slope), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("figure", ["poisson", "punzi", "ams", "s_over_sqrt_b"])
def test_every_figure_of_merit_has_sensitivities(figure):
    selection = WorkingPointSettings(figure_of_merit=figure, sensitivity={"replicas": 2})
    problem = problem_of(toy(9, 400), VARIABLES, selection)
    edges, _ = polish(problem, problem.nothing)
    found = edge_sensitivities(problem, edges, np.random.default_rng(0))
    assert found.status in {"ok", "limited", "no_maximum"}
