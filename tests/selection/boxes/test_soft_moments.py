from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.selection.boxes.box_toy import SOFT, SOFT_UNCERTAIN, problem_of, toy
from zsig_hep.learning.implicit.argmin import argmax
from zsig_hep.selection.boxes.search import polish
from zsig_hep.selection.boxes.sensitivity import _figure, _maximise, _mean_distance
from zsig_hep.selection.boxes.soft_moments import NearFigure, SoftMoments


def near_the_best(selection, seed=1, events=600):
    """Soft cuts in bandwidths from the best box of x and y."""
    problem = problem_of(toy(seed, events, signed=True), {"x": "window", "y": "above"}, selection)
    edges, _ = polish(problem, problem.nothing)
    closed = np.flatnonzero(edges)
    start = problem.positions(edges)[closed]
    return _figure(problem, closed, start, 0.3 * _mean_distance(problem, edges, closed, start))


class TestMoments:
    @pytest.mark.parametrize("power", [1, 2])
    def test_sums_and_their_derivatives_against_autograd(self, power):
        figure = near_the_best(SOFT)
        two = torch.cat([figure.weights, 3 * figure.weights])
        figure = replace(figure, weights=two, squared_weights=two**2)
        place = torch.tensor([[0.3, -0.4, 0.7], [0.0, 1.0, -1.0]], dtype=torch.float64)
        moments = SoftMoments.at(figure, place, power=power)

        def sums(t):
            return torch.einsum("rpb,rb->rp", two**power, figure.passing(t) ** power)

        torch.testing.assert_close(moments.value, sums(place), rtol=1e-12, atol=0)
        for row in range(2):
            for process in range(3):

                def of(t, row=row, process=process):
                    return sums(t.expand(2, 3))[row, process]

                at = place[row : row + 1]
                slope = torch.autograd.functional.jacobian(of, at)[0]
                curvature = torch.autograd.functional.hessian(of, at)[0, :, 0]
                torch.testing.assert_close(moments.slope[row, process], slope, rtol=1e-9, atol=1e-12)
                torch.testing.assert_close(moments.curvature[row, process], curvature, rtol=1e-9, atol=1e-12)

    def test_near_the_place_it_is_a_parabola(self):
        value, slope = torch.tensor([[5.0]]), torch.tensor([[[1.0, 2.0]]])
        moments = SoftMoments(value, slope, torch.tensor([[[[4.0, 1.0], [1.0, 6.0]]]]))
        # 5 + 1 x 0.5 - 2 x 1 + (4 x 0.25 - 2 x 0.5 + 6) / 2
        assert moments.near(torch.tensor([[0.5, -1.0]])).tolist() == [[6.5]]


class TestNearFigure:
    @pytest.mark.parametrize("selection", [SOFT, SOFT_UNCERTAIN])
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

    @pytest.mark.parametrize("selection", [SOFT, SOFT_UNCERTAIN])
    def test_responses_are_those_of_argmax_and_of_optimising_again(self, selection):
        figure = near_the_best(selection)
        zero = torch.zeros(1, 3, dtype=torch.float64)
        best = _maximise(figure, zero)
        assert bool(best.is_maximum)
        found = best.near.response()[0]
        theta = torch.zeros(1, len(figure.parameters), dtype=torch.float64, requires_grad=True)
        direct = argmax(figure, best.near.place, theta, batch_dims=1).value
        for row, edge in enumerate(direct.unbind(dim=1)):
            (gradient,) = torch.autograd.grad(edge.sum(), theta, retain_graph=True)
            np.testing.assert_allclose(found[row], gradient[0].numpy(), rtol=1e-8, atol=1e-10)
        step = 1e-4
        for column in (0, 2):
            places = []
            for sign in (1, -1):
                weights, squared = figure.weights.clone(), figure.squared_weights.clone()
                weights[:, column] *= np.exp(sign * step)
                squared[:, column] *= np.exp(2 * sign * step)
                places.append(_maximise(replace(figure, weights=weights, squared_weights=squared), zero).near.place[0])
            moved = ((places[0] - places[1]) / (2 * step)).numpy()
            np.testing.assert_allclose(found[:, column], moved, rtol=1e-5, atol=1e-6)
