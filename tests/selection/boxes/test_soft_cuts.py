from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.selection.boxes.box_toy import LOOSE, toy
from zsig_hep.learning.implicit.argmin import argmax
from zsig_hep.selection import CutSettings, WorkingPointSettings
from zsig_hep.selection.boxes.problem import BoxProblem, qualifies
from zsig_hep.selection.boxes.search import polish
from zsig_hep.selection.boxes.sensitivity import _figure, _maximise, _mean_distance, edge_sensitivities
from zsig_hep.selection.boxes.soft_cuts import (
    SmoothBox,
    _quantiles,
    _sample,
    _soft_figure,
    significance_without_cuts,
    smooth_starts,
    soft_objective,
)
from zsig_hep.selection.boxes.soft_moments import NearFigure
from zsig_hep.statistics import asimov

VARIABLES = {"x": "window", "y": "above", "noise": "below"}
UNCERTAIN = WorkingPointSettings(
    figure_of_merit="asimov_with_uncertainty",
    background_uncertainties={"top": 0.2},
    relative_background_uncertainty=0.05,
    simulation_uncertainty_in_figure=True,
    minimum_effective_background=3,
    sensitivity={"replicas": 6},
)
PLAIN = WorkingPointSettings(minimum_effective_background=3, sensitivity={"replicas": 6})


def problem_of(table, selection=LOOSE, variables=VARIABLES, **options):
    return BoxProblem.of_table(table, CutSettings(variables=variables, **options), selection)


def soft(problem):
    quantiles = _quantiles(problem)
    return _soft_figure(problem, quantiles, *_sample(problem))


def near_the_best(selection, seed=1, events=2000):
    """Soft cuts in bandwidths from the best box of x and y."""
    problem = problem_of(toy(seed, events, signed=True), selection, {"x": "window", "y": "above"})
    edges, _ = polish(problem, problem.nothing)
    closed = np.flatnonzero(edges)
    start = problem.positions(edges)[closed]
    return _figure(problem, closed, start, 0.3 * _mean_distance(problem, edges, closed, start))


class TestSoftBox:
    def test_narrow_widths_are_the_box(self):
        table = toy(1, 400, signed=True)
        problem = problem_of(table)
        edges = np.array([side.allowed.size // 4 for side in problem.sides])
        score = torch.tensor(np.stack([side.score for side in problem.sides]))
        figure = replace(soft(problem), score=score, widths=torch.full((4,), 1e-9, dtype=torch.float64))
        cut = torch.tensor(problem.positions(edges))[None]
        np.testing.assert_array_equal(figure.passing(cut)[0].numpy() > 0.5, problem.failures(edges) == 0)
        everything = replace(
            figure, weights=torch.tensor(np.where(problem.process == np.arange(3)[:, None], problem.weight, 0))[None]
        )
        assert float(everything(cut)) == pytest.approx(problem.value(edges), rel=1e-12)

    def test_one_box_by_hand(self):
        table = toy(2, 300)
        problem = problem_of(table)
        figure = soft(problem)
        cut = torch.tensor([[0.2, 0.3, 0.1, -0.2]], dtype=torch.float64)
        passing = np.prod(1 / (1 + np.exp(-(figure.score.numpy() - cut.numpy()[0][:, None]) / 0.2)), axis=0)
        yields = figure.weights[0].numpy() @ passing
        assert float(figure(cut)) == pytest.approx(float(asimov(yields[0], yields[1] + yields[2])), rel=1e-12)

    @pytest.mark.parametrize(
        "selection", [PLAIN, UNCERTAIN, UNCERTAIN.model_copy(update={"minimum_signal_efficiency": 0.9})]
    )
    def test_gradients_of_the_objective(self, selection):
        figure = soft(problem_of(toy(3, 120), selection.model_copy(update={"minimum_effective_background": 60})))
        t = torch.tensor([[0.2, 0.3, 0.1, -0.2], [0.7, 0.1, 0.6, 0.4]], dtype=torch.float64, requires_grad=True)
        reference = significance_without_cuts(figure)
        assert torch.autograd.gradcheck(lambda t: soft_objective(figure, t, reference), t)
        plain = figure(t.detach()) / reference
        # The requirements are missed here, so that the penalty has a gradient too.
        assert bool((soft_objective(figure, t.detach(), reference) < plain - 1e-3).any())

    def test_a_background_that_cancels_gives_no_nan(self):
        table = toy(4, 200)
        weight = np.where(table.is_background, -table.weight, table.weight)
        weight[np.flatnonzero(table.is_background)[:1]] = 1000.0
        figure = soft(problem_of(replace(table, weight=weight)))
        t = torch.full((1, 4), 0.9, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(soft_objective(figure, t, 1.0).sum(), t)
        assert bool(torch.isfinite(slope).all())

    @pytest.mark.parametrize("figure", ["poisson", "punzi", "ams", "s_over_sqrt_b"])
    def test_every_figure_of_merit_has_a_start_and_sensitivities(self, figure):
        selection = WorkingPointSettings(figure_of_merit=figure, sensitivity={"replicas": 2})
        problem = problem_of(toy(9, 400), selection, {"x": "window", "y": "above"}, starts=1)
        assert soft(problem).settings.figure_of_merit == ("asimov" if figure == "poisson" else figure)
        (start,) = smooth_starts(problem, np.random.default_rng(0))
        edges, value = polish(problem, start)
        assert value > problem.value(problem.nothing)
        assert edge_sensitivities(problem, edges, np.random.default_rng(0)).status in {"ok", "limited", "no_maximum"}


class TestStarts:
    def test_they_come_near_the_optimum(self):
        problem = problem_of(toy(5, 3000), PLAIN)
        _, best = polish(problem, problem.nothing)
        starts = smooth_starts(problem, np.random.default_rng(0))
        assert len(starts) == problem.cuts.starts
        values = [problem.value(edges) for edges in starts]
        assert max(values) > problem.value(problem.nothing) + 0.7 * (best - problem.value(problem.nothing))

    def test_edges_are_allowed_ones(self):
        variables = {"x": {"side": "window", "step": 0.5, "start": [-1, 1]}, "y": {"side": "above", "limits": [0, 1]}}
        problem = problem_of(toy(6, 500, missing=0.1), PLAIN, variables)
        for edges in smooth_starts(problem, np.random.default_rng(0)):
            assert all(side.allowed[edge] for side, edge in zip(problem.sides, edges, strict=True))

    def test_a_sample_keeps_the_yields(self):
        problem = problem_of(toy(7, 9000, signed=True))
        chosen, scale = _sample(problem)
        assert len(chosen) <= 4000 < len(problem.weight)
        assert scale.min() > 1
        weighted = (problem.weight * scale[problem.process])[chosen]
        for row in range(3):
            total = problem.weight[problem.process == row].sum()
            spread = np.sqrt(np.square(weighted[problem.process[chosen] == row]).sum())
            assert abs(weighted[problem.process[chosen] == row].sum() - total) < 4 * spread


class TestMoments:
    @pytest.mark.parametrize("selection", [PLAIN, UNCERTAIN])
    def test_two_derivatives_are_those_of_the_soft_box(self, selection):
        figure = near_the_best(selection)
        place = torch.tensor([[0.3, -0.4, 0.7]], dtype=torch.float64)
        t = place.clone().requires_grad_()
        (slope,) = torch.autograd.grad(figure(t).sum(), t, create_graph=True)
        curvature = torch.stack([torch.autograd.grad(each, t, retain_graph=True)[0][0] for each in slope[0]])
        value, near_slope, near_curvature = NearFigure.at(figure, place).derivatives()
        assert float(value) == pytest.approx(float(figure(place)), rel=1e-12)
        torch.testing.assert_close(near_slope, slope.detach(), rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(near_curvature[0], curvature, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("selection", [PLAIN, UNCERTAIN])
    def test_answers_are_those_of_argmax_and_of_optimising_again(self, selection):
        figure = near_the_best(selection)
        zero = torch.zeros(1, 3, dtype=torch.float64)
        best = _maximise(figure, zero)
        assert bool(best.is_maximum)
        found = best.near.answer()[0]
        theta = torch.zeros(1, len(figure.parameters), dtype=torch.float64, requires_grad=True)
        direct = argmax(figure, best.near.place, theta, batch_dims=1).value
        for row, edge in enumerate(direct.unbind(dim=1)):
            (gradient,) = torch.autograd.grad(edge.sum(), theta, retain_graph=True)
            np.testing.assert_allclose(found[row], gradient[0].numpy(), rtol=1e-8, atol=1e-10)
        step = 1e-4
        for column in range(3):
            places = []
            for sign in (1, -1):
                weights, squared = figure.weights.clone(), figure.squared_weights.clone()
                weights[:, column] *= np.exp(sign * step)
                squared[:, column] *= np.exp(2 * sign * step)
                places.append(_maximise(replace(figure, weights=weights, squared_weights=squared), zero).near.place[0])
            moved = ((places[0] - places[1]) / (2 * step)).numpy()
            np.testing.assert_allclose(found[:, column], moved, rtol=1e-5, atol=1e-6)


class TestSensitivities:
    def found(self, selection, variables=VARIABLES, seed=1, events=3000):
        table = toy(seed, events)
        # With s/b far below one the best cuts do not know how much signal there is.
        table = replace(table, weight=np.where(table.is_signal, 10 * table.weight, table.weight))
        problem = problem_of(table, selection, variables)
        edges, value = polish(problem, problem.nothing)
        assert qualifies(value)
        return edge_sensitivities(problem, edges, np.random.default_rng(0))

    def test_signs_and_dimensions(self):
        found = self.found(PLAIN, {"x": "window", "y": "above"})
        assert (found.status, found.reason) == ("ok", "")
        assert [(edge.variable, edge.side) for edge in found.edges] == [("x", "low"), ("x", "high"), ("y", "low")]
        rows = {
            (row.edge.variable, row.edge.side, row.parameter.kind, row.parameter.process): row for row in found.rows
        }
        assert len(rows) == len(found.rows) == 3 * 4
        # Without uncertainties the cuts know only ratios of yields, and not the luminosity.
        for edge in found.edges:
            place = edge.variable, edge.side
            assert rows[*place, "luminosity", None].cut == 0
            slopes = [rows[*place, "cross_section", name].cut for name in ("higgs", "dy", "top")]
            assert sum(slopes) == pytest.approx(0, abs=1e-6 * max(map(abs, slopes)))
        # More signal widens the window and loosens the cut.
        assert rows["x", "low", "cross_section", "higgs"].cut < 0 < rows["x", "high", "cross_section", "higgs"].cut
        assert rows["y", "low", "cross_section", "higgs"].cut < 0
        higgs = rows["y", "low", "cross_section", "higgs"]
        assert found.replicas >= 2
        assert 0 < higgs.cut_uncertainty < 2 * abs(higgs.cut)
        assert all(other is None or np.isfinite(other) for other in higgs.cut_with_bandwidths)

    def test_without_cuts(self):
        problem = problem_of(toy(2, 300), PLAIN)
        assert edge_sensitivities(problem, problem.nothing, np.random.default_rng(0)).status == "no_cut"

    def test_requirements_that_hold_the_cuts(self):
        found = self.found(PLAIN.model_copy(update={"minimum_signal_efficiency": 0.95}), {"x": "window", "y": "above"})
        assert found.status == "limited"
        assert found.rows == ()
        assert "do not meet the requirements" in found.reason

    def test_a_cut_without_a_maximum(self):
        # A single step of signal: the soft significance rises until all background is gone.
        table = toy(3, 600)
        y = np.where(table.is_signal, 1.0, -1.0) + 0.001 * table.feature("noise")
        table = replace(table, features=np.column_stack([y]).astype(np.float32), feature_names=("y",))
        problem = problem_of(table, LOOSE, {"y": {"side": "above", "limits": [-0.999, 0]}})
        edges = np.array([np.flatnonzero(problem.sides[0].allowed)[1]])
        assert edge_sensitivities(problem, edges, np.random.default_rng(0)).status in {"no_maximum", "limited"}


def test_widths_are_one_for_each_side():
    figure = soft(problem_of(toy(8, 100)))
    assert isinstance(figure, SmoothBox)
    assert figure.widths.shape == (4,)
