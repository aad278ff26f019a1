import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.statistics import ams, asimov, punzi, s_over_sqrt_b

positive = st.floats(1e-3, 1e6)
LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


class TestAms:
    def test_the_formula_of_the_challenge(self):
        for s, b in ((692.0, 411000.0), (250.0, 1600.0), (3.0, 0.0)):
            expected = math.sqrt(2 * ((s + b + 10) * math.log(1 + s / (b + 10)) - s))
            assert ams(s, b) == pytest.approx(expected, rel=1e-9)

    @given(positive, positive, st.floats(0.0, 100.0))
    def test_is_asimov_of_more_background(self, s, b, regularisation):
        assert ams(s, b, regularisation) == asimov(s, b + regularisation)
        assert ams(s, b, regularisation) <= asimov(s, b)

    def test_edges(self, library):
        b = library(np.array([0.0, -1.0, -20.0, 0.0]))
        found = np.asarray(ams(library(np.array([5.0, 5.0, 5.0, -11.0])), b))
        assert found[0] == asimov(5.0, 10.0)
        assert np.isnan(found[1:]).all()
        np.testing.assert_array_equal(np.asarray(ams(library(np.ones(1)), library(np.zeros(1)), 0.0)), [np.inf])


class TestPunzi:
    def test_by_hand(self):
        # Five sigma, sixteen events: 13 / (5/2 + 4).
        assert punzi(13.0, 16.0, 5.0) == 2.0

    @given(positive, positive, st.floats(0.0, 10.0), st.floats(0.1, 10.0))
    def test_proportional_to_the_signal_and_blind_to_its_cross_section(self, s, b, a, factor):
        assert punzi(factor * s, b, a) == pytest.approx(factor * float(punzi(s, b, a)), rel=1e-12)
        assert punzi(s, b, a) <= s_over_sqrt_b(s, b)
        assert punzi(s, b, 0.0) == pytest.approx(float(s_over_sqrt_b(s, b)), rel=1e-14)

    def test_edges(self, library):
        s, b = library(np.array([3.0, 3.0, -3.0, 0.0])), library(np.array([0.0, -1.0, 0.0, 0.0]))
        np.testing.assert_array_equal(np.asarray(punzi(s, b)), [2.0, np.nan, -2.0, 0.0])
        np.testing.assert_array_equal(np.asarray(punzi(s, b, 0.0)), [np.inf, np.nan, -np.inf, 0.0])

    def test_the_best_cut_minimises_the_cross_section_that_can_be_found(self):
        # physics/0308063 for equal significance and confidence: sigma_min is proportional to (a^2/4 + a sqrt b) / eff.
        cut = np.linspace(-3, 4, 2001)
        efficiency = 0.5 - np.vectorize(math.erf)((cut - 1) / math.sqrt(2)) / 2
        b = 500 * (0.5 - np.vectorize(math.erf)(cut / math.sqrt(2)) / 2)
        smallest = (9 / 4 + 3 * np.sqrt(b)) / efficiency
        assert np.argmax(punzi(efficiency, b, 1.5)) == np.argmin(smallest)


class TestGradients:
    @pytest.mark.parametrize("figure", [ams, punzi])
    def test_gradcheck(self, figure):
        s = torch.tensor([0.1, 3.0, 40.0, -2.0], dtype=torch.float64, requires_grad=True)
        b = torch.tensor([0.5, 7.0, 2.0, 90.0], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(figure, (s, b))

    @pytest.mark.parametrize("figure", [ams, punzi])
    def test_an_element_without_background_does_not_spoil_the_others(self, figure):
        b = torch.tensor([0.0, -1.0, 4.0], dtype=torch.float64, requires_grad=True)
        figure(torch.ones(3, dtype=torch.float64), b)[2].backward()
        assert torch.isfinite(b.grad).all()

    @pytest.mark.parametrize("figure", [ams, punzi])
    def test_float32_stays_float32(self, figure):
        assert figure(torch.ones(2, dtype=torch.float32), 3.0).dtype == torch.float32
