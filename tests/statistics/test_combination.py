import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from zsig_hep.statistics import Significance, asimov, asimov_with_uncertainty, combine_independent, evaluate

LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor}
BINS = (np.array([2.0, 5.0, 0.5]), np.array([30.0, 12.0, 1.0]), np.array([6.0, 1.0, 0.4]))


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


def test_without_uncertainty_it_is_the_likelihood_ratio_of_all_bins():
    s, b, _ = BINS
    # -2 ln [prod Pois(s + b | b) / prod Pois(s + b | s + b)], with the factorials cancelled.
    q0 = 2 * ((s + b) * np.log((s + b) / b) - s).sum()
    found = combine_independent(Significance(asimov(s, b), np.zeros(3)))
    assert float(found.value) == pytest.approx(math.sqrt(q0), rel=1e-12)


def test_with_uncertainties_it_is_the_profile_likelihood_ratio_of_all_bins():
    s, b, sigma = BINS
    tau = b / sigma**2
    n, m = s + b, tau * b

    def deviance(backgrounds):
        on, off = backgrounds, tau * backgrounds
        return 2 * (on - n * np.log(on) + off - m * np.log(off)).sum()

    # Without signal every background is profiled; with it the Asimov data are met exactly, all by one numerical fit.
    fit = optimize.minimize(lambda logarithms: deviance(np.exp(logarithms)), np.log(b), method="BFGS", tol=1e-10)
    best = 2 * (n - n * np.log(n) + m - m * np.log(m)).sum()
    found = combine_independent(Significance(asimov_with_uncertainty(s, b, sigma), np.zeros(3)))
    assert float(found.value) == pytest.approx(math.sqrt(fit.fun - best), rel=1e-7)


def test_the_uncertainty_is_that_of_finite_differences_and_of_toys(library):
    z, sigma = np.array([3.0, 0.7, 1.6]), np.array([0.2, 0.05, 0.3])
    found = combine_independent(Significance(library(z), library(sigma)))
    h = 1e-6
    slopes = [(np.linalg.norm(z + h * e) - np.linalg.norm(z - h * e)) / (2 * h) for e in np.eye(3)]
    assert float(found.uncertainty) == pytest.approx(math.sqrt((np.square(slopes) * sigma**2).sum()), rel=1e-8)
    toys = np.linalg.norm(np.random.default_rng(0).normal(z, sigma, (100_000, 3)), axis=1)
    assert float(found.uncertainty) == pytest.approx(toys.std(), rel=0.02)


def test_a_negative_bin_counts_against_the_others(library):
    found = combine_independent(Significance(library(np.array([5.0, -3.0])), library(np.array([0.1, 0.2]))))
    assert float(found.value) == 4.0
    assert float(found.uncertainty) == pytest.approx(math.hypot(5 * 0.1, 3 * 0.2) / 4, rel=1e-14)
    turned = combine_independent(Significance(library(np.array([-5.0, 3.0])), library(np.array([0.1, 0.2]))))
    assert float(turned.value) == -4.0


def test_one_bin_is_itself(library):
    one = combine_independent(Significance(library(np.array([[0.0, 2.0]])), library(np.array([[0.3, 0.4]]))))
    np.testing.assert_array_equal(np.asarray(one.value), [0.0, 2.0])
    np.testing.assert_array_equal(np.asarray(one.uncertainty), [0.3, 0.4])


def test_no_significance_has_no_first_derivative(library):
    none = combine_independent(Significance(library(np.zeros(2)), library(np.ones(2))))
    assert float(none.value) == 0.0
    assert math.isnan(float(none.uncertainty))
    lost = combine_independent(Significance(library(np.array([1.0, np.nan])), library(np.ones(2))))
    assert math.isnan(float(lost.value))


def test_any_axis():
    z = np.arange(1.0, 7.0).reshape(2, 3)
    found = combine_independent(Significance(z, 0.1 * z), axis=1)
    np.testing.assert_allclose(found.value, np.linalg.norm(z, axis=1), rtol=1e-15)


@given(st.permutations(range(4)), st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_order_and_grouping_do_not_matter(order, values):
    z, sigma = np.array(values), np.array([0.1, 0.2, 0.3, 0.4])
    whole = combine_independent(Significance(z, sigma))
    shuffled = combine_independent(Significance(z[order], sigma[order]))
    assert float(shuffled.value) == pytest.approx(float(whole.value), rel=1e-6, abs=1e-6)
    halves = [combine_independent(Significance(z[half], sigma[half])) for half in (slice(0, 2), slice(2, 4))]
    again = combine_independent(Significance(np.array([float(half.value) for half in halves]), np.zeros(2)))
    assert float(again.value) == pytest.approx(float(whole.value), rel=1e-6, abs=1e-6)


def test_splitting_a_bin_never_lowers_the_significance_and_equal_halves_keep_it():
    whole = evaluate("asimov", 6.0, 20.0, 0.3, 1.0)
    halves = evaluate("asimov", np.array([3.0, 3.0]), np.array([10.0, 10.0]), 0.15, 0.5)
    found = combine_independent(halves)
    assert float(found.value) == pytest.approx(float(whole.value), rel=1e-14)
    assert float(found.uncertainty) == pytest.approx(float(whole.uncertainty), rel=1e-12)
    uneven = combine_independent(evaluate("asimov", np.array([5.0, 1.0]), np.array([8.0, 12.0]), 0.15, 0.5))
    assert uneven.value > whole.value


def test_gradients_flow():
    z = torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: combine_independent(Significance(z, 0.1 * z)).value, (z,))
