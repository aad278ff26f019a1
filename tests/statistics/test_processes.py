import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.statistics.exact import SMOOTH_FIGURES, exact_figure
from zsig_hep.errors import InputError
from zsig_hep.statistics import FigureOfMerit, combine_hypotheses, evaluate, evaluate_processes

FIGURES = list(FigureOfMerit)
LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


def exact(figure, s, backgrounds, variance_of_simulation, uncertainties, common):
    """The printed formulas with sigma_b^2 = sum (k_p b_p)^2 + (k b)^2 + sum w^2."""
    backgrounds = [mpmath.mpf(each) for each in backgrounds]
    b = sum(backgrounds)
    v = variance_of_simulation + (common * b) ** 2
    v += sum((mpmath.mpf(k) * each) ** 2 for k, each in zip(uncertainties, backgrounds, strict=True))
    return exact_figure(figure, s, b, v)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("yields", [(3.0, 20.0, 5.0), (1e-3, 1e4, 300.0), (-2.0, 30.0, 5.0), (40.0, 6.0, -0.5)])
def test_value_slopes_and_uncertainty_against_sixty_digits(figure, yields):
    s, *backgrounds = yields
    uncertainties, var_s, var_p = (0.02, 0.3), 0.4, (1.5, 0.25)
    # Of unequal weights: larger than those of equal weights with the same sums of w and w^2.
    third, fourth = (0.6, -0.1), (0.5, 0.08)
    for simulation, common in itertools.product([False, True], [0.0, 0.1]):
        arguments = (*yields, sum(var_p) if simulation else 0.0)

        def function(s, first, second, of_simulation, common=common):
            return exact(figure, s, (first, second), of_simulation, uncertainties, common)

        with mpmath.workdps(60):
            *slopes, slope_v = [
                float(mpmath.diff(lambda x, i=i, at=arguments: function(*at[:i], x, *at[i + 1 :]), arguments[i]))
                if i < 3 or simulation
                else 0.0
                for i in range(4)
            ]
            value = float(function(*arguments))
        found = evaluate_processes(
            figure, s, backgrounds, var_s, var_p, uncertainties, relative_background_uncertainty=common,
            simulation_uncertainty_in_figure=simulation, higher_moments=(third, fourth),
        )  # fmt: skip
        precision = 1e-11 if figure in SMOOTH_FIGURES else 3e-7
        assert found.value == pytest.approx(value, rel=1e-13, abs=1e-13)
        assert [float(found.signal_slope), *found.background_slopes] == pytest.approx(slopes, rel=precision)
        assert float(found.variance_slope) == pytest.approx(slope_v, rel=10 * precision, abs=1e-17)
        variance = slopes[0] ** 2 * var_s
        for slope, moments in zip(slopes[1:], zip(var_p, third, fourth, strict=True), strict=True):
            variance += slope**2 * moments[0] + 2 * slope * slope_v * moments[1] + slope_v**2 * moments[2]
        assert found.uncertainty == pytest.approx(math.sqrt(variance), rel=precision)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("simulation", [False, True])
def test_higher_moments_are_by_default_those_of_equal_weights(figure, simulation):
    b_p, weight = np.array([20.0, 5.0]), np.array([0.5, 0.2])
    expected, found = (
        evaluate_processes(
            figure, 3.0, b_p, 0.1, weight * b_p, [0.1, 0.0], simulation_uncertainty_in_figure=simulation,
            higher_moments=moments,
        )
        for moments in ((weight**2 * b_p, weight**3 * b_p), None)
    )  # fmt: skip
    assert float(found.uncertainty) == pytest.approx(float(expected.uncertainty), rel=1e-14)


@pytest.mark.parametrize(
    ("s", "b", "entries", "quoted", "at_constant_variance"),
    [(10.0, 150.0, 35, 0.0283, 0.0043), (5.0, 20.0, 15, 0.0797, 0.0265)],
)
def test_samples_scatter_by_what_is_quoted_with_the_simulation_in_the_figure(
    s, b, entries, quoted, at_constant_variance
):
    weight, figure = b / entries, FigureOfMerit.ASIMOV_WITH_UNCERTAINTY

    def z(count):
        yields, variances = weight * np.array([count]), weight**2 * np.array([count])
        return evaluate_processes(figure, s, yields, 0.0, variances, [0.0], simulation_uncertainty_in_figure=True)

    found, toys = z(float(entries)), z(np.random.default_rng(0).poisson(entries, 20_000).clip(1).astype(float))
    assert float(found.uncertainty) == pytest.approx(quoted, rel=0.01)
    assert toys.value.std() == pytest.approx(quoted, rel=0.12)
    # At constant sum w^2 it would be several times too small.
    b_part = abs(float(found.background_slopes[0])) * weight * math.sqrt(entries)
    assert b_part == pytest.approx(at_constant_variance, rel=0.02)


def test_samples_of_unequal_weights_scatter_by_what_is_quoted():
    # A tenth of the events of the first process weighs ten times as much as the others.
    rng, weights = np.random.default_rng(1), np.array([[0.5, 5.0], [0.3, 0.3]])
    expected = np.array([[90.0, 10.0], [100.0, 20.0]])
    counts = rng.poisson(expected, (20_000, 2, 2))

    def z(counts):
        first, second, third, fourth = ((counts * weights**power).sum(axis=-1).T for power in (1, 2, 3, 4))
        return evaluate_processes(
            "asimov_with_uncertainty", 8.0, first, 0.0, second, [0.1, 0.3], simulation_uncertainty_in_figure=True,
            higher_moments=(third, fourth),
        )  # fmt: skip

    assert z(counts).value.std() == pytest.approx(float(z(expected).uncertainty), rel=0.06)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("simulation", [False, True])
def test_one_process_is_evaluate(figure, simulation, library):
    library = library if figure in SMOOTH_FIGURES else np.asarray
    rng = np.random.default_rng(0)
    s, b, var_s, var_b = (library(rng.uniform(0.1, 50, 20)) for _ in range(4))
    expected = evaluate(figure, s, b, var_s, var_b, 0.2, simulation_uncertainty_in_figure=simulation)
    for own, common in ((0.0, 0.2), (0.2, 0.0)):
        found = evaluate_processes(
            figure, s, b[None], var_s, var_b[None], [own],
            relative_background_uncertainty=common, simulation_uncertainty_in_figure=simulation,
        )  # fmt: skip
        np.testing.assert_array_equal(found.value, expected.value)
        # The derivative in sum w^2 is a difference of two derivatives.
        rounding = 1e-15 if not simulation else 1e-12 if figure in SMOOTH_FIGURES else 1e-6
        np.testing.assert_allclose(found.uncertainty, expected.uncertainty, rtol=rounding)


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if not figure.knows_background_uncertainty])
def test_without_uncertainties_all_backgrounds_weigh_the_same(figure):
    found = evaluate_processes(figure, 5.0, [4.0, 9.0, 1.0], 0.1, [0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    assert found.background_slopes.shape == (3,)
    assert len(set(found.background_slopes)) == 1
    expected = evaluate(figure, 5.0, 14.0, 0.1, 0.6)
    assert float(found.value) == pytest.approx(float(expected.value), rel=1e-15)
    assert float(found.uncertainty) == pytest.approx(float(expected.uncertainty), rel=1e-15)


def test_effective_weights_of_s_over_sqrt_b_with_uncertainty():
    # c_p is proportional to 1 + 2 k_p^2 b_p.
    backgrounds, k = np.array([100.0, 40.0]), np.array([0.02, 0.3])
    slopes = evaluate_processes("s_over_sqrt_b_with_uncertainty", 5.0, backgrounds, 0, [0, 0], k).background_slopes
    assert slopes[1] / slopes[0] == pytest.approx((1 + 2 * 0.09 * 40) / (1 + 2 * 0.0004 * 100), rel=1e-14)
    assert (slopes < 0).all()


@given(st.permutations(range(4)), st.lists(st.floats(0.5, 100), min_size=4, max_size=4), st.floats(0, 1))
def test_order_of_the_processes_does_not_matter(order, backgrounds, k):
    b, uncertainties, order = np.array(backgrounds), k * np.array([0.0, 0.1, 0.3, 1.0]), np.array(order)
    first = evaluate_processes("asimov_with_uncertainty", 7.0, b, 0.1, 0.01 * b, uncertainties)
    second = evaluate_processes("asimov_with_uncertainty", 7.0, b[order], 0.1, 0.01 * b[order], uncertainties[order])
    assert second.value == pytest.approx(float(first.value), rel=1e-12)
    assert second.uncertainty == pytest.approx(float(first.uncertainty), rel=1e-10)
    np.testing.assert_allclose(second.background_slopes, first.background_slopes[order], rtol=1e-10)


def test_gradients_flow_into_yields_and_uncertainties_and_agree_with_the_slopes():
    s = torch.tensor([3.0, 9.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[10.0, 40.0], [5.0, 0.0]], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([0.0, 0.4], dtype=torch.float64, requires_grad=True)
    for figure in SMOOTH_FIGURES:
        found = evaluate_processes(figure, s, b, 0.0, torch.zeros_like(b), k, relative_background_uncertainty=0.1)
        slopes = torch.autograd.grad(found.value.sum(), (s, b), retain_graph=True)
        torch.testing.assert_close(slopes[0], found.signal_slope, rtol=1e-12, atol=0)
        torch.testing.assert_close(slopes[1], found.background_slopes, rtol=1e-12, atol=0)
        (of_k,) = torch.autograd.grad(found.value.sum(), k, allow_unused=not figure.knows_background_uncertainty)
        assert of_k is None or (torch.isfinite(of_k).all() and of_k[1] < 0)

    def value(s, b, k):
        return evaluate_processes("asimov_with_uncertainty", s, b, 0.0, torch.zeros_like(b), k).value

    assert torch.autograd.gradcheck(value, (s, b, k))


@pytest.mark.parametrize("figure", SMOOTH_FIGURES)
def test_gradients_are_finite_without_any_uncertainty(figure):
    b = torch.tensor([[10.0], [5.0]], requires_grad=True)
    k = torch.zeros(2, requires_grad=True)
    found = evaluate_processes(figure, torch.ones(1), b, 0.0, torch.zeros_like(b), k)
    (found.value + 0 * k.sum()).sum().backward()
    assert torch.isfinite(b.grad).all()
    assert torch.isfinite(k.grad).all()


@pytest.mark.parametrize("figure", FIGURES)
def test_outside_the_domain_slopes_are_unknown(figure, library):
    library = library if figure in SMOOTH_FIGURES else np.asarray
    b = library(np.array([[0.0, -3.0], [0.0, 1.0]]))
    found = evaluate_processes(figure, library(np.ones(2)), b, 0.0, 0.0 * b, [0.1, 0.1])
    for unknown in (found.uncertainty, found.signal_slope, found.background_slopes):
        assert np.isnan(np.asarray(unknown)).all()


def test_the_number_of_uncertainties_is_that_of_the_processes():
    with pytest.raises(InputError, match="found 2 processes and 1 of them"):
        evaluate_processes("asimov", 1.0, [1.0, 2.0], 0.0, [0.0, 0.0], [0.1])
    with pytest.raises(InputError, match=r"must have shape \[processes, \.\.\.\]; found shape \(0,\)"):
        evaluate_processes("asimov", 1.0, [], 0.0, [], [])


class TestHypotheses:
    def evaluated(self, library=np.asarray, shift=(0.0, 0.0, 0.0)):
        signals = library(np.array([[3.0, 4.0], [2.0 + shift[0], 8.0]]))
        backgrounds = library(np.array([[10.0 + shift[1], 4.0], [6.0 + shift[2], 2.0]]))
        variances = library(np.array([[0.3, 0.2], [0.1, 0.4]]))
        return (
            evaluate_processes(
                "asimov_with_uncertainty", signals, backgrounds[:, None], variances, variances[:, None], [0.1, 0.3]
            ),
            variances,
            backgrounds,
            variances,
        )

    @pytest.mark.parametrize(("combination", "function"), [("mean", np.mean), ("minimum", np.min)])
    def test_value_slopes_and_propagation(self, combination, function, library):
        found = combine_hypotheses(*self.evaluated(library), combination)
        np.testing.assert_allclose(found.value, function(np.asarray(self.evaluated()[0].value), axis=0), rtol=1e-14)
        h = 1e-6
        for index, slope in (
            (0, found.signal_slope[1]),
            (1, found.background_slopes[0]),
            (2, found.background_slopes[1]),
        ):
            up, down = (
                combine_hypotheses(
                    *self.evaluated(shift=[sign * h * (i == index) for i in range(3)]), combination
                ).value
                for sign in (1, -1)
            )
            assert float(slope[0]) == pytest.approx((up - down)[0] / (2 * h), rel=1e-7)
        variance = sum(
            np.asarray(slopes) ** 2 * self.evaluated()[1]
            for slopes in (found.signal_slope, found.background_slopes)
        ).sum(axis=0)  # fmt: skip
        np.testing.assert_allclose(found.uncertainty, np.sqrt(variance), rtol=1e-14)

    def test_common_background_is_correlated(self):
        # Two equal hypotheses without signal variance: the mean knows no more than each.
        two = evaluate_processes("s_over_sqrt_b", [10.0, 10.0], [[25.0]], 0.0, [[4.0]], [0.0])
        mean = combine_hypotheses(two, [0.0, 0.0], [25.0], [4.0], "mean")
        assert float(mean.uncertainty) == pytest.approx(float(two.uncertainty[0]), rel=1e-15)

    def test_one_hypothesis_is_itself(self, library):
        b = library(np.array([[3.0, 8.0]]))
        one = evaluate_processes("asimov", library(np.array([[1.0, 2.0]])), b[:, None], 0.2, 0.1, [0.0])
        for combination in ("mean", "minimum"):
            found = combine_hypotheses(one, 0.2, b, 0.1, combination)
            np.testing.assert_allclose(found.value, one.value[0], rtol=1e-15)
            np.testing.assert_allclose(found.uncertainty, one.uncertainty[0], rtol=1e-15)

    @pytest.mark.parametrize("combination", ["mean", "minimum"])
    def test_without_background_nothing_is_known(self, combination, library):
        b = library(np.array([[0.0, 2.0]]))
        two = evaluate_processes("asimov", library(np.array([[1.0, 2.0], [-1.0, 2.0]])), b[:, None], 0.2, 0.1, [0.0])
        found = combine_hypotheses(two, 0.2, b, 0.1, combination)
        assert np.isnan(np.asarray(found.value)).tolist() == [True, False]
        assert np.isnan(np.asarray(found.uncertainty)).tolist() == [True, False]
