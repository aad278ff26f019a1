import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from zsig_hep.errors import InputError
from zsig_hep.statistics import asimov_with_uncertainty, expected_exclusion
from zsig_hep.statistics.exclusion import BAND_SIGMAS, asimov_statistic

yields = st.floats(0.1, 1e4)


def by_fit(strength, s, b, sigma):
    """-2 ln of the profile likelihood ratio of one bin, its background fitted numerically."""
    m, tau = (b / sigma) ** 2, b / sigma**2

    def deviance(logarithm):
        background = math.exp(logarithm)
        on, off = strength * s + background, tau * background
        return 2 * (on - b * math.log(on) + off - m * math.log(off))

    best = 2 * (b - b * math.log(b) + m - m * math.log(m))
    fit = optimize.minimize_scalar(deviance, bracket=(math.log(b) - 1, math.log(b)), tol=1e-12)
    return fit.fun - best


class TestPinnedValues:
    def test_a_published_limit(self):
        # K. Cranmer's ExpectedLimit: 50 +- 7 events expected, 19.7 signal events excluded at 95 % CL.
        assert round(expected_exclusion(1.0, 50.0, 7.0).median_limit, 1) == 19.7

    def test_a_published_discovery_of_the_same_model(self):
        # K. Cranmer's ExpectedSignificance: 50 signal events over 100 +- 7 are 3.72 sigma.
        assert round(float(asimov_with_uncertainty(50.0, 100.0, 7.0)), 2) == 3.72

    def test_by_hand_without_uncertainty(self):
        # q(1) = 2 (s - b ln(1 + s/b)) for s = b = 8; CLs = 2 Phi(-sqrt q).
        q = 2 * (8 - 8 * math.log(2))
        found = expected_exclusion(8.0, 8.0)
        assert found.significance == pytest.approx(math.sqrt(q), rel=1e-14)
        assert found.median_cls == pytest.approx(2 * stats.norm.sf(math.sqrt(q)), rel=1e-12)

    def test_many_events_are_gaussian(self):
        # arXiv:1007.1727 eq. 89: mu_(95 + N) = sigma (Phi^-1(1 - 0.05 Phi(N)) + N); its median is 1.96 sigma.
        found = expected_exclusion(1e3, 1e10, 1e5)
        sigma = math.sqrt(2e10) / 1e3
        expected = [sigma * (stats.norm.ppf(1 - 0.05 * stats.norm.cdf(n)) + n) for n in BAND_SIGMAS]
        assert found.limits == pytest.approx(expected, rel=1e-4)
        assert found.median_limit == pytest.approx(1.96 * sigma, rel=1e-4)


# pyhf 0.7.6 uses what jsonschema has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestAgainstPyhf:
    @pytest.mark.parametrize(
        ("signal", "background", "uncertainty"),
        [
            ([20.0], [50.0], [7.0]),
            ([4.0], [3.0], [1.0]),
            ([5.0, 10.0], [50.0, 20.0], [5.0, 3.0]),
            ([1.0, 3.0, 2.0, 0.5], [40.0, 9.0, 2.0, 100.0], [8.0, 1.0, 1.0, 2.0]),
        ],
    )
    def test_on_off_bins(self, signal, background, uncertainty):
        pyhf = pytest.importorskip("pyhf")
        model = pyhf.simplemodels.uncorrelated_background(signal, background, uncertainty)
        data = background + model.config.auxdata
        _, bands = pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde", return_expected_set=True)
        found = expected_exclusion(signal, background, uncertainty)
        assert found.cls == pytest.approx([float(each) for each in bands], rel=1e-5)
        for number, limit in enumerate(found.limits):
            _, at_limit = pyhf.infer.hypotest(limit, data, model, test_stat="qtilde", return_expected_set=True)
            assert float(at_limit[number]) == pytest.approx(0.05, rel=1e-5)

    @pytest.mark.parametrize(("signal", "background"), [([8.0], [20.0]), ([2.0, 6.0, 1.0], [40.0, 15.0, 0.8])])
    def test_known_bins_of_several_channels(self, signal, background):
        pyhf = pytest.importorskip("pyhf")
        channels = [
            {
                "name": f"channel_{index}",
                "samples": [
                    {"name": "signal", "data": [s], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
                    {"name": "background", "data": [b], "modifiers": []},
                ],
            }
            for index, (s, b) in enumerate(zip(signal, background, strict=True))
        ]
        model = pyhf.Model({"channels": channels}, poi_name="mu", validate=False)
        _, bands = pyhf.infer.hypotest(1.0, background, model, test_stat="qtilde", return_expected_set=True)
        assert expected_exclusion(signal, background).cls == pytest.approx([float(each) for each in bands], rel=1e-5)

    @pytest.mark.parametrize("statistic", ["q", "qtilde"])
    def test_both_statistics_have_the_same_median(self, statistic):
        pyhf = pytest.importorskip("pyhf")
        model = pyhf.simplemodels.uncorrelated_background([6.0], [20.0], [4.0])
        data = [20.0, *model.config.auxdata]
        bounds = model.config.suggested_bounds()
        bounds[model.config.poi_index] = (-2.0, 10.0) if statistic == "q" else (0.0, 10.0)
        _, expected = pyhf.infer.hypotest(
            1.0, data, model, par_bounds=bounds, test_stat=statistic, return_expected=True
        )  # fmt: skip
        assert expected_exclusion(6.0, 20.0, 4.0).median_cls == pytest.approx(float(expected), rel=1e-5)


class TestStatistic:
    @pytest.mark.parametrize("strength", [1e-3, 0.5, 3.0, 40.0])
    @pytest.mark.parametrize(("s", "b", "sigma"), [(3.0, 10.0, 2.0), (5.0, 0.3, 1.0), (20.0, 1e4, 500.0)])
    def test_against_a_fit_of_the_background(self, strength, s, b, sigma):
        found = asimov_statistic(strength, *(np.array([each]) for each in (s, b, sigma)))
        assert found == pytest.approx(by_fit(strength, s, b, sigma), rel=1e-6, abs=1e-8)

    def test_limits_of_the_uncertainty(self):
        def at(sigma):
            return asimov_statistic(1.0, np.array([5.0]), np.array([20.0]), np.array([sigma]))

        assert at(1e-9) == pytest.approx(at(0.0), rel=1e-12)
        assert at(0.0) == pytest.approx(2 * (5 - 20 * math.log(1.25)), rel=1e-13)
        # A background of which nothing is known fits anything.
        assert at(1e7) < 1e-10

    def test_a_bin_without_background(self):
        for sigma in (0.0, 3.0):
            found = asimov_statistic(2.0, np.array([1.5]), np.array([0.0]), np.array([sigma]))
            assert found == 6.0
        # P(0 | s) = 0.05 for s = 3: the asymptotic limit is lower, as it is known to be.
        assert expected_exclusion(1.0, 0.0).median_limit == pytest.approx(1.96**2 / 2, rel=1e-3)


class TestProperties:
    @settings(max_examples=15, deadline=None)
    @given(yields, yields, st.floats(0, 2), st.floats(0.1, 10))
    def test_the_limit_scales_with_the_signal(self, s, b, k, factor):
        one, other = expected_exclusion(s, b, k * b), expected_exclusion(factor * s, b, k * b)
        assert one.limits == pytest.approx([factor * limit for limit in other.limits], rel=1e-8)

    @settings(max_examples=15, deadline=None)
    @given(yields, yields, st.floats(0, 2))
    def test_bands_ascend_and_limits_are_where_cls_is_five_per_cent(self, s, b, k):
        found = expected_exclusion(s, b, k * b)
        assert sorted(found.cls) == list(found.cls)
        assert sorted(found.limits) == list(found.limits)
        for number, limit in enumerate(found.limits):
            assert expected_exclusion(limit * s, b, k * b).cls[number] == pytest.approx(0.05, rel=1e-7)

    @settings(max_examples=15, deadline=None)
    @given(yields, yields)
    def test_more_uncertainty_or_background_excludes_less(self, s, b):
        limits = [expected_exclusion(s, b, k * b).median_limit for k in (0.0, 0.1, 0.5, 1.0)]
        assert limits == sorted(limits)
        assert expected_exclusion(s, 1.1 * b).median_limit > limits[0]

    def test_the_order_of_bins_does_not_matter_and_equal_halves_are_one(self):
        s, b, sigma = np.array([3.0, 1.0, 6.0]), np.array([10.0, 2.0, 50.0]), np.array([2.0, 0.0, 5.0])
        one, other = expected_exclusion(s, b, sigma), expected_exclusion(s[::-1], b[::-1], sigma[::-1])
        assert one.limits == pytest.approx(other.limits, rel=1e-12)
        whole = expected_exclusion(8.0, 30.0)
        assert expected_exclusion([4.0, 4.0], [15.0, 15.0]).limits == pytest.approx(whole.limits, rel=1e-12)

    def test_another_confidence_level(self):
        assert (
            expected_exclusion(5.0, 20.0, confidence_level=0.9).median_limit
            < expected_exclusion(5.0, 20.0).median_limit
        )
        at = expected_exclusion(5.0, 20.0, confidence_level=0.9).median_limit
        assert expected_exclusion(5.0 * at, 20.0).median_cls == pytest.approx(0.1, rel=1e-8)

    def test_a_strong_exclusion_keeps_its_digits(self):
        found = expected_exclusion(800.0, 100.0)
        root = math.sqrt(2 * (800 - 100 * math.log(9)))
        assert found.significance == pytest.approx(root, rel=1e-13)
        assert found.median_cls == pytest.approx(2 * stats.norm.sf(root), rel=1e-10)
        assert 0 < found.cls[0] < found.median_cls < 1e-250

    def test_no_signal_is_never_excluded(self):
        found = expected_exclusion([0.0, 0.0], [5.0, 2.0], 1.0)
        assert found.cls == (1.0,) * 5
        assert found.limits == (math.inf,) * 5


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (([1.0, -0.5], [5.0, 5.0]), "signal of bin 1 is -0.5"),
            (([1.0, 1.0], [5.0, math.nan]), "background of bin 1 is nan"),
            ((1.0, 5.0, -1.0), "background uncertainty of bin 0 is -1.0"),
            (([1.0, 1.0], [5.0, 5.0, 5.0]), "one value per bin; found shapes"),
            ((np.ones((2, 2)), 1.0), "one value per bin"),
        ],
    )
    def test_unusable_yields(self, arguments, words):
        with pytest.raises(InputError, match=words):
            expected_exclusion(*arguments)

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
    def test_confidence_levels(self, level):
        with pytest.raises(InputError, match="between 0 and 1"):
            expected_exclusion(1.0, 1.0, confidence_level=level)
