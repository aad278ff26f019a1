from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.selection.boxes.box_toy import DEFAULT, LOOSE, SOFT, SOFT_UNCERTAIN, problem_of, toy
from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import WorkingPointSettings
from zsig_hep.selection.boxes.search import polish
from zsig_hep.selection.boxes.soft_cuts import (
    _first_positions,
    _quantiles,
    _sample,
    _soft_figure,
    significance_without_cuts,
    smooth_starts,
    soft_objective,
)
from zsig_hep.statistics import FigureOfMerit, asimov, asimov_with_uncertainty

VARIABLES = {"x": "window", "y": "above", "noise": "below"}


def soft(problem):
    quantiles = _quantiles(problem)
    return _soft_figure(problem, quantiles, *_sample(problem))


class TestSoftBox:
    @pytest.mark.parametrize("selection", [LOOSE, DEFAULT, SOFT_UNCERTAIN])
    def test_narrow_widths_are_the_box(self, selection):
        table = toy(1, 400, signed=True)
        problem = problem_of(table, VARIABLES, selection)
        edges = np.array([side.allowed.size // 4 for side in problem.sides])
        score = torch.tensor(np.stack([side.score for side in problem.sides]))
        figure = replace(soft(problem), score=score, widths=torch.full((4,), 1e-9, dtype=torch.float64))
        cut = torch.tensor(problem.positions(edges))[None]
        np.testing.assert_array_equal(figure.passing(cut)[0].numpy() > 0.5, problem.failures(edges) == 0)
        weights = torch.tensor(np.where(problem.process == np.arange(3)[:, None], problem.weight, 0))[None]
        everything = replace(figure, weights=weights, squared_weights=weights**2)
        assert float(everything(cut)) == pytest.approx(problem.value(edges), rel=1e-12)

    def test_one_box_by_hand(self):
        figure = soft(problem_of(toy(2, 300), VARIABLES))
        cut = torch.tensor([[0.2, 0.3, 0.1, -0.2]], dtype=torch.float64)
        passing = np.prod(1 / (1 + np.exp(-(figure.score.numpy() - cut.numpy()[0][:, None]) / 0.2)), axis=0)
        yields = figure.weights[0].numpy() @ passing
        assert float(figure(cut)) == pytest.approx(float(asimov(yields[0], yields[1] + yields[2])), rel=1e-12)
        uncertain = replace(figure, objective=SOFT_UNCERTAIN.objective)
        simulation = (figure.squared_weights[0, 1:].numpy() @ passing**2).sum()
        b = yields[1] + yields[2]
        sigma = np.sqrt((0.2 * yields[2]) ** 2 + (0.05 * b) ** 2 + simulation)
        assert float(uncertain(cut)) == pytest.approx(float(asimov_with_uncertainty(yields[0], b, sigma)), rel=1e-12)

    @pytest.mark.parametrize(
        "selection", [SOFT, SOFT_UNCERTAIN, SOFT_UNCERTAIN.model_copy(update={"minimum_signal_efficiency": 0.9})]
    )
    def test_gradients_of_the_objective(self, selection):
        required = selection.model_copy(update={"minimum_effective_background": 60})
        figure = soft(problem_of(toy(3, 120), VARIABLES, required))
        t = torch.tensor([[0.2, 0.3, 0.1, -0.2], [0.7, 0.1, 0.6, 0.4]], dtype=torch.float64, requires_grad=True)
        reference = significance_without_cuts(figure)
        assert torch.autograd.gradcheck(lambda t: soft_objective(figure, t, reference, required), t)
        plain = figure(t.detach()) / reference
        # The requirements are missed here, so that the penalty has a gradient too.
        assert bool((soft_objective(figure, t.detach(), reference, required) < plain - 1e-3).any())

    def test_a_background_that_cancels_gives_no_nan(self):
        table = toy(4, 200)
        weight = np.where(table.is_background, -table.weight, table.weight)
        weight[np.flatnonzero(table.is_background)[:1]] = 1000.0
        figure = soft(problem_of(replace(table, weight=weight), VARIABLES))
        t = torch.full((1, 4), 0.9, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(soft_objective(figure, t, 1.0, LOOSE).sum(), t)
        assert bool(torch.isfinite(slope).all())

    def test_an_exact_tail_is_taken_for_the_asimov_significance(self):
        problem = problem_of(toy(9, 400), VARIABLES, WorkingPointSettings(figure_of_merit="poisson"))
        assert soft(problem).objective.figure is FigureOfMerit.ASIMOV_WITH_UNCERTAINTY
        exact = problem_of(toy(9, 400), VARIABLES, exact_yields(figure_of_merit="poisson"))
        assert soft(exact).objective.figure is FigureOfMerit.ASIMOV

    def test_without_a_significance_the_objective_is_measured_in_ones(self):
        figure = soft(problem_of(toy(2, 300), VARIABLES))
        all_of_them = figure.weights[0].sum(dim=1)
        assert significance_without_cuts(figure) == pytest.approx(
            float(asimov(float(all_of_them[0]), float(all_of_them[1:].sum()))), rel=1e-12
        )
        assert significance_without_cuts(replace(figure, weights=-figure.weights)) == 1.0

    def test_what_misses_the_requirements_is_penalised_by_the_square_of_what_it_lacks(self):
        figure = soft(problem_of(toy(2, 300), VARIABLES))
        t = torch.tensor([[0.2, 0.3, 0.1, -0.2]], dtype=torch.float64)
        passing = figure.passing(t)[0].numpy()
        w = figure.weights[0].numpy()
        background = w[1:].sum(axis=0) * passing
        entries = background.sum() ** 2 / np.square(w[1:].sum(axis=0)).dot(passing)
        efficiency = (w[0] * passing).sum() / w[0].sum()
        required = WorkingPointSettings(minimum_effective_background=2 * entries, minimum_signal_efficiency=0.9)
        expected = float(figure(t)) / 2.0 - 10 * (0.5**2 + (1 - efficiency / 0.9) ** 2)
        assert float(soft_objective(figure, t, 2.0, required)) == pytest.approx(expected, rel=1e-12)


class TestStarts:
    def test_quantiles_count_signal_and_background_in_equal_parts(self):
        problem = problem_of(toy(8, 150, levels=5), VARIABLES)
        is_signal = problem.process == 0
        for side, quantiles in zip(problem.sides, _quantiles(problem), strict=True):
            for code in np.unique(side.code):
                below, at = (
                    [np.mean(mask[role]) for role in (is_signal, ~is_signal)]
                    for mask in (side.code < code, side.code == code)
                )
                expected = np.mean(below) + np.mean(at) / 2
                assert quantiles[code] == pytest.approx(expected, rel=1e-12)

    def test_the_first_is_no_cut_and_the_last_that_of_the_settings(self):
        variables = {"x": {"side": "window", "start": [-0.5, None]}, "y": "above"}
        problem = problem_of(toy(6, 300), variables, SOFT)
        quantiles = _quantiles(problem)
        positions = _first_positions(problem, quantiles, np.random.default_rng(0)).numpy()
        # An open edge stands four of the largest widths, 0.2, outside.
        np.testing.assert_allclose(positions[0], [-0.8, -0.8, -0.8])
        passing = np.mean(problem.sides[0].score > -0.5)
        assert positions[-1][0] == pytest.approx(quantiles[0][problem.sides[0].edge_at(-0.5)])
        assert 0 < positions[-1][0] < 1 - passing / 4
        np.testing.assert_allclose(positions[-1][1:], [-0.8, -0.8])
        assert positions.shape == (problem.cuts.starts, 3)

    def test_they_come_near_the_optimum(self):
        problem = problem_of(toy(5, 2000), VARIABLES, SOFT)
        _, best = polish(problem, problem.nothing)
        starts = smooth_starts(problem, np.random.default_rng(0))
        assert len(starts) == problem.cuts.starts
        values = [problem.value(edges) for edges in starts]
        assert max(values) > problem.value(problem.nothing) + 0.7 * (best - problem.value(problem.nothing))

    def test_edges_are_allowed_ones(self):
        variables = {"x": {"side": "window", "step": 0.5, "start": [-1, 1]}, "y": {"side": "above", "limits": [0, 1]}}
        problem = problem_of(toy(6, 500, missing=0.1), variables, SOFT)
        for edges in smooth_starts(problem, np.random.default_rng(0)):
            assert all(side.allowed[edge] for side, edge in zip(problem.sides, edges, strict=True))

    def test_a_sample_keeps_the_yields(self):
        problem = problem_of(toy(7, 9000, signed=True), VARIABLES)
        chosen, scale = _sample(problem)
        assert len(chosen) <= 4000 < len(problem.weight)
        assert scale.min() > 1
        weighted = (problem.weight * scale[problem.process])[chosen]
        for row in range(3):
            total = problem.weight[problem.process == row].sum()
            spread = np.sqrt(np.square(weighted[problem.process[chosen] == row]).sum())
            assert abs(weighted[problem.process[chosen] == row].sum() - total) < 4 * spread
        figure = soft(problem)
        sums = [weighted[problem.process[chosen] == row].sum() for row in range(3)]
        np.testing.assert_allclose(figure.weights[0].sum(dim=1), sums, rtol=1e-12)
        # k events of each simulated k times as often have 1/k of the variance of their sum.
        squares = [(weighted * problem.weight[chosen])[problem.process[chosen] == row].sum() for row in range(3)]
        np.testing.assert_allclose(figure.squared_weights[0].sum(dim=1), squares, rtol=1e-12)
