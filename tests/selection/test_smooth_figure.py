import dataclasses

import numpy as np
import pytest
import torch

from tests.selection.exact_yields import exact_yields
from zsig_hep.learning.implicit.argmin import argmax
from zsig_hep.selection import ScoredEvents, scan_thresholds
from zsig_hep.selection.smooth_figure import Parameter, SmoothFigure, central_spread
from zsig_hep.statistics import FigureOfMerit, Objective, asimov, asimov_with_uncertainty

NAMES, ROLES = ("higgs", "dy", "zh", "top"), ("signal", "background", "signal", "background")
TOTALS, CENTRES = (20.0, 1500.0, 10.0, 300.0), (1.5, -0.5, 1.0, 0.4)
PLAIN = Objective()
UNCERTAIN = Objective(
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY,
    background_uncertainties={"dy": 0.03, "top": 0.3},
    relative_background_uncertainty=0.05,
)
INSIDE = dataclasses.replace(UNCERTAIN, simulation_uncertainty_in_figure=True)
VARIANTS = {
    "plain": PLAIN,
    "simple, simulation inside": dataclasses.replace(INSIDE, figure=FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY),
    "mean, simulation inside": dataclasses.replace(INSIDE, signals="mean"),
    "smallest": dataclasses.replace(UNCERTAIN, signals="minimum"),
}
BANDWIDTH = 0.15
GRID = torch.linspace(0.5, 3.0, 60, dtype=torch.float64)


def toy(scale=(1.0, 1.0, 1.0, 1.0), size=250):
    """Scores at the quantiles of a normal distribution, so that the smoothed yields are smooth indeed."""
    quantiles = torch.special.ndtri((torch.arange(size, dtype=torch.float64) + 0.5) / size).numpy()
    score = np.concatenate([quantiles + centre for centre in CENTRES])
    weight = np.repeat(np.array(scale) * TOTALS / size, size)
    return ScoredEvents.from_arrays(score, weight, np.repeat(np.arange(4), size), names=NAMES, roles=ROLES)


def figure_of(objective, scale=(1.0, 1.0, 1.0, 1.0)):
    return SmoothFigure.of_events(toy(scale), BANDWIDTH, objective)


def maximum(figure):
    """t* and Z(t*)."""
    cut = figure.maximum(GRID, figure.on_grid(GRID))
    return float(cut), float(figure(cut))


def rescaled(objective, parameter, by):
    """The figure of merit with one parameter multiplied, by changing events and uncertainties themselves."""
    scale = [by if parameter.kind == "luminosity" or parameter.process == name else 1.0 for name in NAMES]
    if parameter.kind != "uncertainty":
        return figure_of(objective, scale)
    if parameter.process is None:
        common = objective.relative_background_uncertainty * by
        return figure_of(dataclasses.replace(objective, relative_background_uncertainty=common))
    own = {
        name: k * (by if name == parameter.process else 1.0) for name, k in objective.background_uncertainties.items()
    }
    return figure_of(dataclasses.replace(objective, background_uncertainties=own))


def test_one_cut_by_hand():
    events, cut = toy(), 1.3
    passing = 1 / (1 + np.exp(-(events.score - cut) / BANDWIDTH))
    s1, dy, s2, top = (float((events.weight * passing)[events.process == row].sum()) for row in range(4))
    sigma = np.sqrt((0.03 * dy) ** 2 + (0.3 * top) ** 2 + (0.05 * (dy + top)) ** 2)
    found = figure_of(UNCERTAIN)(torch.tensor([cut], dtype=torch.float64))
    assert float(found) == pytest.approx(float(asimov_with_uncertainty(s1 + s2, dy + top, sigma)), rel=1e-13)


@pytest.mark.parametrize("objective", [UNCERTAIN, INSIDE])
def test_a_narrow_bandwidth_is_the_scan(objective):
    events = toy()
    figure = SmoothFigure.of_events(events, 1e-7, objective)
    settings = exact_yields(
        figure_of_merit=objective.figure,
        background_uncertainties=objective.background_uncertainties,
        relative_background_uncertainty=0.05,
        simulation_uncertainty_in_figure=objective.simulation_uncertainty_in_figure,
    )
    assert settings.objective == objective
    scan = scan_thresholds(events, settings)
    rows = np.arange(0, 800, 37)
    # Between two scores, where no event is half selected.
    cuts = torch.tensor((scan.threshold[rows] + scan.threshold[rows + 1]) / 2)
    found = figure.on_grid(cuts)[:, 0].numpy()
    np.testing.assert_allclose(found, scan.significance[rows + 1], rtol=1e-9)


@pytest.mark.parametrize("objective", VARIANTS.values(), ids=VARIANTS)
def test_the_grid_holds_the_function(objective):
    figure = figure_of(objective)
    expected = torch.stack([figure(cut[None]) for cut in GRID[::7]])
    torch.testing.assert_close(figure.on_grid(GRID[::7]), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("objective", VARIANTS.values(), ids=VARIANTS)
def test_derivatives_are_those_of_optimising_again(objective):
    figure = figure_of(objective)
    cut, best = maximum(figure)
    found = figure.derivatives(torch.tensor([cut], dtype=torch.float64))
    assert abs(float(found.cut_slope)) < 1e-12
    assert float(found.cut_cut) < 0
    assert float(found.value) == best
    step = 1e-4
    for index, parameter in enumerate(figure.parameters):
        up, down = (maximum(rescaled(objective, parameter, np.exp(sign * step))) for sign in (1, -1))
        assert float(found.parameters[0, index]) == pytest.approx((up[1] - down[1]) / (2 * step), rel=1e-6, abs=1e-8)
        assert float(found.response[0, index]) == pytest.approx((up[0] - down[0]) / (2 * step), rel=1e-6, abs=1e-8)


def test_the_general_derivative_of_an_argmax_agrees():
    figure = figure_of(UNCERTAIN)
    cut, _ = maximum(figure)
    theta = torch.zeros(len(figure.parameters), dtype=torch.float64, requires_grad=True)
    result = argmax(
        lambda t, p: figure(t[None], p[None])[0], torch.tensor(cut, dtype=torch.float64), theta
    )  # fmt: skip
    (gradient,) = torch.autograd.grad(result.value, theta)
    found = figure.derivatives(torch.tensor([cut], dtype=torch.float64))
    torch.testing.assert_close(gradient, found.response[0], rtol=1e-10, atol=1e-14)


def test_a_kept_cut_a_linear_one_and_the_best_after_half_as_much_again():
    figure = figure_of(PLAIN)
    cut, _ = maximum(figure)
    found = figure.derivatives(torch.tensor([cut], dtype=torch.float64))
    index = figure.parameters.index(Parameter("cross_section", "dy"))
    more = rescaled(PLAIN, figure.parameters[index], 1.5)
    moved = cut + float(found.response[0, index]) * np.log(1.5)
    kept, linear = (float(more(torch.tensor([at], dtype=torch.float64))) for at in (cut, moved))
    best = maximum(more)[1]
    assert kept < linear < best
    # What the linear cut leaves is of higher order than what keeping the cut loses.
    assert best - linear < 0.05 * (best - kept)


def test_parameters_have_an_order_and_their_uncertainties():
    kinds = [(each.kind, each.process, each.relative_uncertainty) for each in figure_of(UNCERTAIN).parameters]
    assert kinds == [
        ("cross_section", "higgs", None),
        ("cross_section", "dy", 0.03),
        ("cross_section", "zh", None),
        ("cross_section", "top", 0.3),
        ("luminosity", None, None),
        ("uncertainty", "dy", 0.03),
        ("uncertainty", "top", 0.3),
        ("uncertainty", None, 0.05),
    ]
    assert len(figure_of(PLAIN).parameters) == 5


def test_replicas_have_a_function_each():
    figure = figure_of(UNCERTAIN)
    twice = dataclasses.replace(figure, weights=torch.cat([figure.weights, 2 * figure.weights]))
    cuts = torch.tensor([1.3, 0.9], dtype=torch.float64)
    found = twice(cuts)
    assert float(found[0]) == pytest.approx(float(figure(cuts[:1])), rel=1e-13)
    assert float(found[1]) == pytest.approx(float(figure_of(UNCERTAIN, (2, 2, 2, 2))(cuts[1:])), rel=1e-13)
    torch.testing.assert_close(twice.on_grid(cuts).diagonal(), found, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("scale", "expected"), [(-0.1, float(asimov(30.0, 150.0))), (-1.0, -np.inf)])
def test_where_the_background_is_negative_the_grid_has_minus_infinity(scale, expected):
    everything = torch.full((1,), -20.0, dtype=torch.float64)
    found = figure_of(PLAIN, (1.0, scale, 1.0, 1.0)).on_grid(everything)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("low", "high", "expected"), [(2.5, 3.0, 2.5), (-1.0, 0.5, 0.5)])
def test_where_z_rises_towards_an_end_of_the_grid_the_maximum_is_there(low, high, expected):
    figure, grid = figure_of(PLAIN), torch.linspace(low, high, 20, dtype=torch.float64)
    assert float(figure.maximum(grid, figure.on_grid(grid))) == expected


def test_the_central_spread_is_half_of_the_central_interval():
    assert central_spread(np.random.default_rng(0).normal(3.0, 2.0, 100_000)) == pytest.approx(2.0, rel=0.02)
    # Single wild replicas do not move it, and those without a number do not count.
    assert central_spread(np.array([1.0, 2.0, 3.0, np.nan, 1e9, np.inf])) < 1e9
    assert central_spread(np.array([1.0, np.nan])) is None
