import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from tests.statistics.exact import exact_tail
from zsig_hep.errors import InputError
from zsig_hep.statistics import asimov, asimov_with_uncertainty, poisson, poisson_tail, poisson_with_uncertainty
from zsig_hep.statistics.poisson_tail import tail_significance, tail_slopes

counts = st.floats(1e-2, 1e5)


class TestPinnedValues:
    @pytest.mark.parametrize(
        ("on", "off", "tau", "z"),
        [
            # R. D. Cousins, J. T. Linnemann and J. Tucker, arXiv:physics/0702156, table 1.
            (4, 5, 5.0, 1.66),
            (9, 17.83, 4.69, 1.82),
            (17, 40.11, 10.56, 4.46),
            (50, 55, 2.0, 2.93),
            (67, 15, 0.5, 2.89),
            (200, 10, 0.1, 2.20),
            (523, 2327, 5.99, 5.93),
            (498426, 493434, 1.0, 5.01),
            # ROOT's tutorial Zbi_Zgamma.C.
            (150, 100, 1.0, 3.108),
        ],
    )
    def test_published_z_bi(self, on, off, tau, z):
        b = off / tau
        digits = 3 if z == 3.108 else 2
        assert round(float(poisson_with_uncertainty(on - b, b, math.sqrt(b / tau))), digits) == z

    def test_five_sigma_is_the_p_value_that_everybody_knows(self):
        # p of one-sided five sigma: 2.87e-7.
        b = 3.0
        p = stats.poisson.sf(np.arange(30) - 1, b)
        found = poisson(np.arange(1, 30) - b, b)
        np.testing.assert_allclose(found, stats.norm.isf(p[1:]), rtol=1e-12)
        assert stats.norm.sf(poisson(13.3 - b, b)) == pytest.approx(float(special.gammainc(13.3, b)), rel=1e-10)


class TestSums:
    @pytest.mark.parametrize("b", [0.3, 2.5, 40.0])
    def test_whole_counts_are_sums_of_poisson_probabilities(self, b):
        for n in range(math.ceil(b), 80):
            p = math.fsum(math.exp(k * math.log(b) - b - math.lgamma(k + 1)) for k in range(n, n + 400))
            assert poisson(n - b, b) == pytest.approx(stats.norm.isf(p), rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize(("b", "tau"), [(2.0, 0.5), (10.0, 3.0), (30.0, 1.0)])
    def test_whole_counts_are_sums_of_binomial_probabilities(self, b, tau):
        off = round(tau * b)
        for on in range(math.ceil(b), 60, 5):
            p = math.fsum(
                math.comb(on + off, k) * (1 / (1 + tau)) ** k * (tau / (1 + tau)) ** (on + off - k)
                for k in range(on, on + off + 1)
            )
            found = poisson_with_uncertainty(on - b, b, math.sqrt(b / tau))
            assert found == pytest.approx(stats.norm.isf(p), rel=1e-9, abs=1e-12)

    def test_the_on_off_tail_is_the_poisson_tail_averaged_over_a_gamma_distribution(self):
        # Linnemann's identity: flat prior, control count m, so that b has the shape m + 1 and the rate tau.
        b, sigma, n = 20.0, 5.0, 33.0
        tau = b / sigma**2
        background = stats.gamma.rvs(tau * b + 1, scale=1 / tau, size=400_000, random_state=3)
        p = special.gammainc(n, background)
        z = float(poisson_with_uncertainty(n - b, b, sigma))
        assert abs(p.mean() - stats.norm.sf(z)) < 4 * p.std() / math.sqrt(p.size)


class TestAgainstFiftyDigits:
    @pytest.mark.parametrize("k", [0.0, 1e-3, 0.3, 2.0])
    @pytest.mark.parametrize("b", [1e-2, 1.0, 30.0, 1e4])
    def test_near_and_far(self, k, b):
        # Around both ends of the region of scipy's functions, at 38 where float64 holds no p, and far beyond.
        for z in (-1.5, -0.3, 0.5, 3.9, 4.1, 8.5, 39.0, 300.0):
            s = z * math.sqrt(b + (k * b) ** 2)
            if s <= -b:
                continue
            with mpmath.workdps(50):
                v = (mpmath.mpf(k) * mpmath.mpf(b)) ** 2
                exact = float(exact_tail(mpmath.mpf(s), mpmath.mpf(b), v))
            assert poisson_with_uncertainty(s, b, k * b) == pytest.approx(exact, rel=1e-12, abs=1e-12)

    @pytest.mark.parametrize("b", [1e6, 1e8, 1e10])
    def test_large_counts_where_the_incomplete_gamma_function_of_scipy_fails(self, b):
        # The ratio of successive terms is b / (n + k): ln of their sum by brute force.
        for z in (4.5, 6.0, 10.0):
            n = b + z * math.sqrt(b)
            steps = np.arange(1, 400_000 if b < 1e8 else 4_000_000, dtype=np.float64)
            terms = np.exp(np.cumsum(np.log(b / (n + steps))))
            with mpmath.workdps(40):
                front = float(n * mpmath.log(b) - b - mpmath.loggamma(mpmath.mpf(n) + 1))
            log_p = front + math.log1p(terms.sum() + (terms[-1] * (n + steps[-1]) / (n + steps[-1] - b)))
            assert poisson(n - b, b) == pytest.approx(-float(special.ndtri_exp(log_p)), rel=1e-8)

    @pytest.mark.parametrize("k", [0.0, 0.1, 1.0])
    @pytest.mark.parametrize(
        ("s", "b"), [(1e-3, 2.0), (0.1, 0.2), (5.0, 9.0), (-2.0, 9.0), (200.0, 100.0), (60.0, 1e3)]
    )
    def test_slopes(self, s, b, k):
        with mpmath.workdps(40):
            of_s = float(mpmath.diff(lambda x: exact_tail(x, mpmath.mpf(b), (k * mpmath.mpf(b)) ** 2), s))
            of_b = float(mpmath.diff(lambda x: exact_tail(mpmath.mpf(s), x, (k * x) ** 2), b))
        found = tail_slopes(s, b, (k * b) ** 2, 2 * k * k * b)
        assert [float(each) for each in found] == pytest.approx([of_s, of_b], rel=2e-7)

    def test_slopes_of_large_counts(self):
        # Where the incomplete functions are Gaussians: s / sqrt(b) up to terms in 1 / sqrt(b).
        of_s, of_b = tail_slopes(2e5, 1e10, 0.0, 0.0)
        assert float(of_s) == pytest.approx(1e-5, rel=1e-4)
        assert float(of_b) == pytest.approx(-2 / 2e10, rel=1e-4)


class TestLimits:
    @given(counts, st.floats(0.1, 5.0))
    def test_without_uncertainty_the_on_off_problem_is_poisson(self, b, z):
        s = z * math.sqrt(b)
        known = float(poisson(s, b))
        assert poisson_with_uncertainty(s, b, 0.0) == known
        # The difference is of the order of v / b times Z (b + s) / b.
        tiny = 1e-10 * b
        tolerance = 1e-13 + 1e-20 * b * (b + s) / b
        assert poisson_with_uncertainty(s, b, tiny) == pytest.approx(known, rel=tolerance, abs=1e-11)

    def test_every_uncertainty_down_to_nothing(self):
        sigmas = np.logspace(-300, 0, 61)
        found = poisson_with_uncertainty(15.0, 20.0, sigmas)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[:50], poisson(15.0, 20.0), rtol=1e-10)
        assert (np.diff(found) <= 1e-13).all()

    @pytest.mark.parametrize("ratio", [0.0, 0.3, 3.0])
    def test_large_counts_are_asimov(self, ratio):
        # At fixed tau, where the control count grows with b, the correction falls as 1 / sqrt(b).
        for b in (1e4, 1e6, 1e8):
            s, sigma = 5 * math.sqrt(b * (1 + ratio**2)), ratio * math.sqrt(b)
            expected = float(asimov_with_uncertainty(s, b, sigma))
            assert poisson_with_uncertainty(s, b, sigma) == pytest.approx(expected, abs=4 / math.sqrt(b))

    def test_far_beyond_float64_it_stays_close_to_asimov(self):
        s, b = 1e6, 10.0
        assert poisson(s, b) == pytest.approx(float(asimov(s, b)), rel=1e-5)
        assert poisson(s, b) > 4000


class TestProperties:
    @given(counts, st.floats(0.0, 2.0), st.floats(0.0, 10.0))
    def test_more_signal_more_significance(self, b, k, z):
        s = z * math.sqrt(b)
        assert poisson_with_uncertainty(1.01 * s + 0.01 * b, b, k * b) > poisson_with_uncertainty(s, b, k * b)

    @given(counts, st.floats(1.0, 30.0))
    def test_more_uncertainty_less_significance(self, b, z):
        s = z * math.sqrt(b)
        found = poisson_with_uncertainty(s, b, b * np.array([0.0, 0.05, 0.1, 0.3, 1.0]))
        assert (np.diff(found) < 1e-12 * z).all()

    @given(st.floats(1.0, 1e5), st.floats(2.0, 30.0))
    def test_more_background_less_significance(self, b, z):
        assert poisson(z * math.sqrt(b), 1.01 * b) < poisson(z * math.sqrt(b), b)

    @given(counts, st.floats(1e-6, 1.0) | st.just(0.0))
    def test_the_two_regions_meet(self, b, k):
        # Around Z_A = 4, where the continued fraction takes over from scipy.
        s = np.linspace(0, 20, 400) * math.sqrt(b + (k * b) ** 2)
        z = asimov_with_uncertainty(s, b, k * b)
        s, z = (each[(z > 3.5) & (z < 4.4)] for each in (s, z))
        b, v = np.full(s.size, b), np.full(s.size, (k * b) ** 2)
        far = -special.ndtri_exp(poisson_tail._log_tail(z, s + b, b, v))
        np.testing.assert_allclose(poisson_tail._near_significance(s + b, b, v), far, rtol=1e-11)

    def test_arrays_broadcast_and_are_not_changed(self):
        s, b = np.array([[1.0], [-30.0]]), np.array([0.0, 1.0, 25.0])
        found = poisson(s, b)
        assert found.shape == (2, 3)
        np.testing.assert_array_equal(b, [0.0, 1.0, 25.0])
        np.testing.assert_array_equal(np.isfinite(found), [[False, True, True], [False, False, False]])


class TestEdges:
    def test_without_background(self):
        s, sigma = np.array([2.0, 0.0, -1.0, 2.0]), np.array([0.0, 0.0, 0.0, 1.0])
        np.testing.assert_array_equal(poisson_with_uncertainty(s, 0.0, sigma), [np.inf, -np.inf, np.nan, -np.inf])

    def test_outside_the_domain(self):
        for s, b, sigma in ((1, -1, 0), (-1, 1, 0), (-2, 1, 0), (1, 1, -1), (math.nan, 1, 0), (1, math.inf, 0)):
            assert math.isnan(poisson_with_uncertainty(s, b, sigma))

    def test_no_signal_is_below_zero_for_a_discrete_count(self):
        # P(N >= b) = 1/2 + 1 / (3 sqrt(2 pi b)) + ... for N of mean b, plus half of P(N = b) more.
        for b in (1.0, 100.0, 1e6):
            p = special.gammainc(b, b)
            assert poisson(0.0, b) == pytest.approx(-stats.norm.ppf(p), rel=1e-12)
            assert poisson(0.0, b) < 0

    def test_a_deficit_beyond_float64(self):
        assert poisson(-5e5, 1e6) == -np.inf
        assert poisson_with_uncertainty(10.0, 25.0, 1e200) == -np.inf
        assert np.isnan(tail_slopes(-5e5, 1e6, 0.0, 0.0)[0])

    def test_tensors_are_refused(self):
        for arguments in ((torch.ones(2), 1.0, 0.0), (1.0, 1.0, torch.ones(2))):
            with pytest.raises(InputError, match="NumPy alone, without gradients; found a torch tensor"):
                poisson_with_uncertainty(*arguments)

    def test_a_variance_for_every_way_of_growing(self):
        s, b, v = np.array([3.0, 5.0]), np.array([10.0, 20.0]), np.array([4.0, 0.0])
        _, slopes = tail_slopes(s, b, v, np.array([[0.0, 0.0], [0.4, 0.0], [0.8, 0.0]]))
        assert slopes.shape == (3, 2)
        step = np.array([1e-4, -1e-4])
        for row, along in enumerate((0.0, 0.4, 0.8)):
            up, down = tail_significance(3.0, 10.0 + step, 4.0 + along * step)
            assert slopes[row, 0] == pytest.approx((up - down) / 2e-4, rel=1e-6)
        assert len(set(slopes[:, 1])) == 1
