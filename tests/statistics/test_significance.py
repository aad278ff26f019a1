import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from zsig_hep.statistics import (
    FigureOfMerit,
    asimov,
    asimov_with_uncertainty,
    evaluate,
    s_over_sqrt_b,
    s_over_sqrt_b_with_uncertainty,
)

RATIOS = np.logspace(-6, 6, 49)
BACKGROUNDS = np.array([1e-3, 1.0, 37.0, 1e6])
RELATIVE_UNCERTAINTIES = np.array([0.0, 1e-6, 1e-2, 0.3, 10.0])
LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor}

positive = st.floats(1e-3, 1e6)
fractions = st.floats(0.0, 3.0)


def exact_root(s, b, sigma):
    """Equations 2 and 4 as printed, at the precision of mpmath's context."""
    s, b, v = mpmath.mpf(s), mpmath.mpf(b), mpmath.mpf(sigma) ** 2
    square = 2 * ((s + b) * mpmath.log(1 + s / b) - s)
    if v > 0:
        square = 2 * (
            (s + b) * mpmath.log((s + b) * (b + v) / (b**2 + (s + b) * v))
            - b**2 / v * mpmath.log(1 + v * s / (b * (b + v)))
        )
    return mpmath.sign(s) * mpmath.sqrt(square)


def exact_asimov(s, b, sigma=0.0):
    with mpmath.workdps(80):
        return exact_root(float(s), float(b), float(sigma))


def numerical(function, *point, index):
    """Derivative by mpmath in one argument of an exact function."""
    with mpmath.workdps(60):
        return float(mpmath.diff(lambda value: function(*point[:index], value, *point[index + 1 :]), point[index]))


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


class TestPinnedValues:
    def test_asimov_of_the_known_failure_of_float32(self):
        # arXiv:1007.1727 eq. 97 where a float32 log(1 + s/b) gives q0 = 0.027 and, at s = 1, NaN.
        q0 = asimov(np.float32(10), np.float32(1e6)) ** 2
        assert q0 == pytest.approx(1.0e-4, rel=1e-5)
        assert asimov(np.float32(1), np.float32(1e6)) == pytest.approx(1e-3, rel=1e-6)

    def test_asimov_by_hand(self):
        # s = b = 1: sqrt(2 (2 ln 2 - 1)).
        assert asimov(1.0, 1.0) == pytest.approx(math.sqrt(2 * (2 * math.log(2) - 1)), rel=1e-15)

    def test_uncertainty_by_hand(self):
        # s = b = sigma_b = 1: sqrt(2 (2 ln(4/3) - ln(3/2))).
        expected = math.sqrt(2 * (2 * math.log(4 / 3) - math.log(3 / 2)))
        assert asimov_with_uncertainty(1.0, 1.0, 1.0) == pytest.approx(expected, rel=1e-14)

    def test_simple_significance(self):
        assert s_over_sqrt_b(3.0, 4.0) == 1.5
        assert s_over_sqrt_b_with_uncertainty(10.0, 9.0, 4.0) == 2.0


class TestAgainstEightyDigits:
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_asimov(self, library, dtype, sign):
        ratios = RATIOS if sign > 0 else -RATIOS[RATIOS < 0.99]
        b, x = (grid.ravel().astype(dtype) for grid in np.meshgrid(BACKGROUNDS, ratios))
        s = x * b
        exact = np.array([float(exact_asimov(*point)) for point in zip(s, b, strict=True)])
        found = asimov(library(s), library(b))
        assert str(found.dtype).endswith(dtype)
        np.testing.assert_allclose(np.asarray(found), exact, rtol=8 * np.finfo(dtype).eps)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_asimov_with_uncertainty(self, library, dtype):
        ratios = np.concatenate([RATIOS[::2], [-0.9, -0.31, -0.29, -1e-3, -1e-6]])
        grid = np.meshgrid(BACKGROUNDS, ratios, RELATIVE_UNCERTAINTIES)
        b, x, k = (axis.ravel().astype(dtype) for axis in grid)
        s, sigma = x * b, k * b
        exact = np.array([float(exact_asimov(*point)) for point in zip(s, b, sigma, strict=True)])
        found = asimov_with_uncertainty(library(s), library(b), library(sigma))
        assert str(found.dtype).endswith(dtype)
        np.testing.assert_allclose(np.asarray(found), exact, rtol=10 * np.finfo(dtype).eps)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_simple(self, library, dtype):
        b, x = (grid.ravel().astype(dtype) for grid in np.meshgrid(BACKGROUNDS, RATIOS))
        exact = [float(mpmath.mpf(float(s)) / mpmath.sqrt(float(of))) for s, of in zip(x * b, b, strict=True)]
        np.testing.assert_allclose(
            np.asarray(s_over_sqrt_b(library(x * b), library(b))), exact, rtol=3 * np.finfo(dtype).eps
        )

    def test_series_and_logarithm_meet(self):
        # On both sides of the ratio where the series ends.
        for x in 0.3 + np.array([-1e-9, 0.0, 1e-9]):
            for ratio in (x, -x):
                assert asimov(ratio, 1.0) == pytest.approx(float(exact_asimov(ratio, 1.0)), rel=1e-15)


class TestEdges:
    @pytest.mark.parametrize("figure", [s_over_sqrt_b, asimov])
    def test_without_background(self, library, figure):
        s = library(np.array([0.0, 2.0, -2.0, 0.0, 1.0]))
        b = library(np.array([0.0, 0.0, 0.0, -1.0, -1.0]))
        np.testing.assert_array_equal(np.asarray(figure(s, b)), [0.0, np.inf, -np.inf, np.nan, np.nan])

    def test_without_background_but_with_uncertainty(self, library):
        s, b = library(np.array([0.0, 2.0, 2.0])), library(np.zeros(3))
        sigma = library(np.array([0.0, 0.0, 1.0]))
        np.testing.assert_array_equal(np.asarray(asimov_with_uncertainty(s, b, sigma)), [0.0, np.inf, 0.0])
        np.testing.assert_array_equal(np.asarray(s_over_sqrt_b_with_uncertainty(s, b, sigma)), [0.0, np.inf, 2.0])

    def test_limit_of_a_vanishing_background_at_fixed_uncertainty(self):
        assert asimov_with_uncertainty(2.0, 1e-12, 1.0) < 1e-5

    def test_outside_the_domain(self):
        assert math.isnan(asimov(-1.0, 1.0))
        assert math.isnan(asimov(-2.0, 1.0))
        assert math.isnan(asimov_with_uncertainty(1.0, 1.0, -0.1))
        assert math.isnan(s_over_sqrt_b_with_uncertainty(1.0, 1.0, -0.1))
        assert math.isnan(s_over_sqrt_b_with_uncertainty(1.0, -1.0, 2.0))
        assert math.isnan(asimov(math.nan, 1.0))
        assert math.isnan(asimov(1.0, math.nan))

    def test_no_signal_is_no_significance(self, library):
        zero, b = library(np.zeros(3)), library(np.array([1e-3, 1.0, 1e6]))
        for found in (s_over_sqrt_b(zero, b), asimov(zero, b), asimov_with_uncertainty(zero, b, 0.1 * b)):
            np.testing.assert_array_equal(np.asarray(found), 0.0)

    def test_numbers_integers_and_arrays_broadcast(self):
        assert asimov(10, 25) == asimov(10.0, 25.0)
        assert asimov(np.array([10, 20]), 25).shape == (2,)
        assert asimov(torch.tensor([10, 20]), 25).dtype == torch.float64
        assert asimov(np.ones((3, 1)), np.ones(4)).shape == (3, 4)
        assert asimov(torch.ones(2, dtype=torch.float32), 3.0).dtype == torch.float32

    def test_no_warning_anywhere(self):
        grid = np.array([-np.inf, -3.0, -1.0, 0.0, 1e-30, 1.0, 1e30, np.nan])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            finite = grid[np.isfinite(grid)]
            s, b, sigma = np.meshgrid(finite, finite, [0.0, 0.5])
            asimov(s, b)
            asimov_with_uncertainty(s, b, sigma)
            s_over_sqrt_b_with_uncertainty(s, b, sigma)
            s_over_sqrt_b(s, b)
            asimov(np.nan, grid[-3])

    def test_arguments_are_not_changed(self):
        s, b = np.array([1.0, -5.0, 0.0]), np.array([0.0, 1.0, -1.0])
        asimov_with_uncertainty(s, b, np.ones(3))
        np.testing.assert_array_equal(s, [1.0, -5.0, 0.0])
        np.testing.assert_array_equal(b, [0.0, 1.0, -1.0])


class TestGradients:
    @pytest.mark.parametrize("b", [1e-2, 1.0, 1e3])
    def test_gradcheck(self, b):
        ratio = torch.tensor([-0.9, -0.3001, -0.2, 1e-3, 0.1, 0.2999, 0.5, 3.0, 1e3], dtype=torch.float64)
        s = (ratio * b).requires_grad_()
        background = torch.full_like(s, b).detach().requires_grad_()
        sigma = (0.2 * background).detach().requires_grad_()
        options = {"eps": 1e-6 * b, "atol": 1e-6, "rtol": 1e-4}
        assert torch.autograd.gradcheck(s_over_sqrt_b, (s, background), **options)
        assert torch.autograd.gradcheck(asimov, (s, background), **options)
        assert torch.autograd.gradcheck(asimov_with_uncertainty, (s, background, sigma), **options)
        assert torch.autograd.gradcheck(s_over_sqrt_b_with_uncertainty, (s, background, sigma), **options)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_gradients_are_finite_in_the_whole_domain(self, dtype):
        ratio = torch.cat([torch.zeros(1), torch.logspace(-6, 6, 49), -torch.logspace(-6, -0.01, 20)]).to(dtype)
        for b in BACKGROUNDS:
            for k in RELATIVE_UNCERTAINTIES:
                background = torch.full_like(ratio, float(b), requires_grad=True)
                s = (ratio * float(b)).requires_grad_()
                sigma = torch.full_like(ratio, float(k * b), requires_grad=True)
                total = asimov(s, background).sum() + asimov_with_uncertainty(s, background, sigma).sum()
                (total + s_over_sqrt_b(s, background).sum()).backward()
                for leaf in (s, background, sigma):
                    assert torch.isfinite(leaf.grad).all()

    def test_gradient_at_no_signal_is_that_of_the_simple_significance(self):
        s = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        asimov_with_uncertainty(s, 16.0, 3.0).sum().backward()
        assert s.grad.item() == pytest.approx(1 / math.sqrt(16 + 9), rel=1e-15)

    def test_an_element_without_background_does_not_spoil_the_others(self):
        b = torch.tensor([0.0, -1.0, 4.0], dtype=torch.float64, requires_grad=True)
        asimov(torch.ones(3, dtype=torch.float64), b)[2].backward()
        assert torch.isfinite(b.grad).all()

    @pytest.mark.parametrize("k", [0.0, 0.3])
    def test_float32_gradients_agree_with_exact_slopes(self, k):
        for x in (1e-6, 1e-3, 0.29, 0.31, 10.0, 1e6):
            s = torch.tensor(100 * x, dtype=torch.float32, requires_grad=True)
            asimov_with_uncertainty(s, 100.0, 100.0 * k).backward()
            exact = numerical(exact_root, s.item(), 100.0, 100.0 * k, index=0)
            assert s.grad.item() == pytest.approx(exact, rel=1e-5)


class TestProperties:
    @given(positive, positive, fractions)
    def test_ordering(self, s, b, k):
        assume(1e-6 <= s / b <= 1e6)
        tolerance = 1 + 1e-14
        assert 0 < asimov_with_uncertainty(s, b, k * b) <= asimov(s, b) * tolerance
        assert asimov(s, b) <= s_over_sqrt_b(s, b) * tolerance

    @given(positive, positive, fractions)
    def test_no_uncertainty_is_asimov(self, s, b, k):
        assert asimov_with_uncertainty(s, b, 0.0) == pytest.approx(float(asimov(s, b)), rel=1e-15)
        # A true difference of the order of sigma_b^2 s / b^2, not of rounding.
        tolerance = 1e-12 + (1e-9 * k) ** 2 * s / b
        assert asimov_with_uncertainty(s, b, 1e-9 * k * math.sqrt(b)) == pytest.approx(
            float(asimov(s, b)), rel=tolerance
        )

    @given(positive, positive, st.floats(0.1, 10.0))
    def test_luminosity_scales_with_its_root(self, s, b, luminosity):
        expected = math.sqrt(luminosity)
        assert asimov(luminosity * s, luminosity * b) / asimov(s, b) == pytest.approx(expected, rel=1e-12)
        sigma = 0.3 * math.sqrt(b)
        scaled = asimov_with_uncertainty(luminosity * s, luminosity * b, math.sqrt(luminosity) * sigma)
        assert scaled / asimov_with_uncertainty(s, b, sigma) == pytest.approx(expected, rel=1e-12)

    @given(positive, positive, fractions)
    def test_more_signal_more_significance(self, s, b, k):
        assert asimov_with_uncertainty(1.01 * s, b, k * b) > asimov_with_uncertainty(s, b, k * b)

    @given(positive, fractions)
    def test_a_small_signal_is_s_over_the_root_of_all_variance(self, b, k):
        expected = 1e-9 * b / math.sqrt(b + (k * b) ** 2)
        assert asimov_with_uncertainty(1e-9 * b, b, k * b) == pytest.approx(expected, rel=1e-8)

    def test_a_large_uncertainty_leaves_the_limit_of_relative_precision(self):
        # b -> infinity at fixed s/b and sigma_b/b: Z -> s / sigma_b up to terms in s/b.
        assert asimov_with_uncertainty(1e3, 1e9, 1e8) == pytest.approx(1e3 / 1e8, rel=1e-5)


class TestEvaluate:
    def figure_at(self, figure, k, *, simulation):
        def value(s, b, var_b):
            if figure == FigureOfMerit.S_OVER_SQRT_B:
                return mpmath.mpf(s) / mpmath.sqrt(b)
            sigma = 0.0
            if figure.knows_background_uncertainty:
                sigma = mpmath.sqrt((k * b) ** 2 + (var_b if simulation else 0))
            if figure == FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY:
                return mpmath.mpf(s) / mpmath.sqrt(b + sigma**2)
            return exact_root(s, b, sigma)

        return value

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    @pytest.mark.parametrize("simulation", [False, True])
    @pytest.mark.parametrize("k", [0.0, 0.01, 0.5])
    @pytest.mark.parametrize("b", [0.5, 1e4])
    @pytest.mark.parametrize("ratio", [1e-6, 1e-2, 0.5, 1e4, -0.4])
    def test_uncertainty_is_that_of_exact_derivatives(self, figure, simulation, k, b, ratio):
        s, var_s, var_b = ratio * b, 0.03 * b, 0.2 * b
        function = self.figure_at(figure, k, simulation=simulation)
        slope_s = numerical(function, s, b, var_b, index=0)
        slope_b = numerical(function, s, b, var_b, index=1)
        found = evaluate(figure, s, b, var_s, var_b, k, simulation_uncertainty_in_figure=simulation)
        with mpmath.workdps(60):
            assert found.value == pytest.approx(float(function(s, b, var_b)), rel=1e-12)
        for of_s, of_b in ((var_s, 0.0), (0.0, var_b), (var_s, var_b)):
            # A vanishing variance is put in only for the propagation: the figure itself keeps var_b.
            if of_b == 0.0 and simulation:
                continue
            found = evaluate(figure, s, b, of_s, of_b, k, simulation_uncertainty_in_figure=simulation)
            expected = math.sqrt(slope_s**2 * of_s + slope_b**2 * of_b)
            assert found.uncertainty == pytest.approx(expected, rel=1e-10)

    def test_slope_keeps_its_digits_where_the_uncertainty_dominates(self):
        # sigma_b^2 / b = 1e10: the printed derivative cancels to nothing.
        s, b, k = 1e3, 1e10, 1.0
        function = self.figure_at(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, k, simulation=False)
        found = evaluate(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, s, b, 0.0, b, k)
        expected = abs(numerical(function, s, b, 0.0, index=1)) * math.sqrt(b)
        assert found.uncertainty == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    def test_toys_scatter_by_the_quoted_uncertainty(self, figure):
        rng = np.random.default_rng(11)
        signal = rng.normal(20.0, 0.5, size=200_000)
        background = rng.normal(100.0, 2.0, size=200_000)
        toys = evaluate(figure, signal, background, 0.25, 4.0, 0.1 * figure.knows_background_uncertainty).value
        quoted = evaluate(figure, 20.0, 100.0, 0.25, 4.0, 0.1 * figure.knows_background_uncertainty).uncertainty
        assert toys.std() == pytest.approx(float(quoted), rel=0.02)

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    def test_splitting_an_event_in_two_half_weights_keeps_the_value(self, figure):
        whole = evaluate(figure, 5.0, 9.0, 1.0, 3.0, 0.1)
        split = evaluate(figure, 5.0, 9.0, 0.5, 1.5, 0.1)
        assert whole.value == split.value
        assert split.uncertainty == pytest.approx(float(whole.uncertainty) / math.sqrt(2), rel=1e-14)

    def test_simulation_uncertainty_lowers_the_figure(self):
        figure = FigureOfMerit.ASIMOV_WITH_UNCERTAINTY
        plain = evaluate(figure, 5.0, 9.0, 0.1, 4.0, 0.2)
        inside = evaluate(figure, 5.0, 9.0, 0.1, 4.0, 0.2, simulation_uncertainty_in_figure=True)
        assert plain.value == asimov_with_uncertainty(5.0, 9.0, 0.2 * 9.0)
        assert inside.value == pytest.approx(float(asimov_with_uncertainty(5.0, 9.0, math.sqrt(1.8**2 + 4))), rel=1e-15)

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    def test_no_uncertainty_is_quoted_without_background(self, figure, library):
        found = evaluate(figure, library(np.ones(2)), library(np.array([0.0, -1.0])), 1.0, 1.0)
        assert np.isnan(np.asarray(found.uncertainty)).all()
        assert not np.isfinite(np.asarray(found.value)).any()

    @pytest.mark.parametrize("figure", list(FigureOfMerit))
    def test_torch_and_numpy_agree(self, figure):
        rng = np.random.default_rng(5)
        arrays = rng.uniform(0.1, 10.0, size=(4, 50))
        expected = evaluate(figure, *arrays, 0.2, simulation_uncertainty_in_figure=True)
        found = evaluate(figure, *torch.tensor(arrays), 0.2, simulation_uncertainty_in_figure=True)
        np.testing.assert_allclose(found.value.numpy(), expected.value, rtol=1e-14)
        np.testing.assert_allclose(found.uncertainty.numpy(), expected.uncertainty, rtol=1e-13)

    def test_an_unknown_figure_is_refused(self):
        with pytest.raises(ValueError, match="not a valid FigureOfMerit"):
            evaluate("likelihood", 1.0, 1.0, 1.0, 1.0)
