import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.statistics.exact import exact_root
from zsig_hep.errors import InputError
from zsig_hep.selection import WorkingPointSettings
from zsig_hep.statistics import (
    FigureOfMerit,
    Objective,
    ProcessTable,
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


def exact_asimov(s, b, sigma=0.0):
    with mpmath.workdps(80):
        return exact_root(mpmath.mpf(float(s)), mpmath.mpf(float(b)), mpmath.mpf(float(sigma)) ** 2)


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

    @pytest.mark.parametrize(("dtype", "sigma"), [("float64", 1e200), ("float64", np.inf), ("float32", 1e25)])
    @pytest.mark.parametrize("figure", [asimov_with_uncertainty, s_over_sqrt_b_with_uncertainty])
    def test_an_uncertainty_whose_square_overflows_leaves_nothing(self, library, figure, dtype, sigma):
        s, b = (
            library(np.array(values, dtype=dtype))
            for values in ([10.0, 0.0, -3.0, 1.0, np.nan], [25.0, 1.0, 25.0, -1.0, 1.0])
        )
        found = figure(s, b, library(np.full(5, sigma, dtype=dtype)))
        np.testing.assert_array_equal(np.asarray(found), [0.0, 0.0, 0.0, np.nan, np.nan])
        # Just below the overflow it is nearly zero already.
        below = figure(s[:3], b[:3], library(np.full(3, np.sqrt(np.finfo(dtype).max) / 2, dtype=dtype)))
        assert (abs(np.asarray(below)) < 1e-17).all()

    def test_gradients_of_an_uncertainty_whose_square_overflows(self):
        for figure in (asimov_with_uncertainty, s_over_sqrt_b_with_uncertainty):
            leaves = [torch.tensor([value, value], requires_grad=True) for value in (10.0, 25.0, 1e25)]
            figure(*leaves).sum().backward()
            assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)

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
            exact = numerical(exact_root, s.item(), 100.0, (100.0 * k) ** 2, index=0)
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


class TestNames:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [("asimo", "'asimov'"), ("Punzi", "'punzi'"), (3, "There are: ams, asimov"), (None, "There are: ams, asimov")],
    )
    def test_an_unknown_figure_of_merit_names_the_nearest(self, name, nearest):
        with pytest.raises(InputError, match=rf"Unknown figure of merit {name!r}\..*{nearest}"):
            FigureOfMerit(name)

    def test_wherever_a_notebook_gives_one(self):
        yields, processes = np.array([1.0, 4.0]), ProcessTable(("h", "dy"), ("signal", "background"))
        with pytest.raises(InputError, match="Did you mean 'asimov'"):
            evaluate("asimo", 10.0, 25.0, 1.0, 1.0)
        with pytest.raises(InputError, match="Did you mean 'asimov'"):
            Objective("asimo").evaluate(yields, yields, processes)

    def test_settings_list_it_among_their_problems(self):
        with pytest.raises(ValidationError, match="figure_of_merit"):
            WorkingPointSettings(figure_of_merit="asimo")
        with pytest.raises(ValidationError, match="2 validation errors"):
            WorkingPointSettings(figure_of_merit="asimo", minimum_effective_background=0)
