import math

import mpmath
import numpy as np
import pytest
import torch

from tests.statistics.exact import SMOOTH_FIGURES, TAIL_FIGURES, exact_figure
from zsig_hep.errors import InputError
from zsig_hep.statistics import FigureOfMerit, FigureParameters, asimov_with_uncertainty, evaluate

LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor}
PARAMETERS = FigureParameters(ams_regularisation=4.0, punzi_sigmas=5.0)


def numerical(function, *point, index):
    """Derivative by mpmath in one argument of an exact function."""
    with mpmath.workdps(60):
        return float(mpmath.diff(lambda value: function(*point[:index], value, *point[index + 1 :]), point[index]))


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


class TestEvaluate:
    def figure_at(self, figure, k, *, simulation):
        return lambda s, b, var_b: exact_figure(figure, s, b, (k * b) ** 2 + (var_b if simulation else 0), PARAMETERS)

    @pytest.mark.parametrize("figure", SMOOTH_FIGURES)
    @pytest.mark.parametrize("simulation", [False, True])
    def test_uncertainty_is_that_of_exact_derivatives(self, figure, simulation):
        for k in (0.0, 0.01, 0.5):
            function = self.figure_at(figure, k, simulation=simulation)
            b, ratio = (grid.ravel() for grid in np.meshgrid([0.5, 1e4], [1e-6, 1e-2, 0.5, 1e4, -0.4]))
            s, var_s, var_b = ratio * b, 0.03 * b, 0.2 * b
            points = list(zip(s.tolist(), b.tolist(), var_b.tolist(), strict=True))
            slope_s, slope_b, slope_v = (
                np.array([numerical(function, *point, index=i) for point in points]) for i in range(3)
            )
            # Of equal weights sum w^2 changes with b in proportion.
            slope_b = slope_b + slope_v * var_b / b if simulation else slope_b
            options = {"simulation_uncertainty_in_figure": simulation, "parameters": PARAMETERS}
            found = evaluate(figure, s, b, var_s, var_b, k, **options)
            with mpmath.workdps(60):
                exact = [float(function(*point)) for point in points]
            np.testing.assert_allclose(found.value, exact, rtol=1e-12)
            for of_s, of_b in ((var_s, 0.0 * b), (0.0 * b, var_b), (var_s, var_b)):
                # A vanishing variance is put in only for the propagation: the figure itself keeps var_b.
                if not of_b.any() and simulation:
                    continue
                found = evaluate(figure, s, b, of_s, of_b, k, **options)
                np.testing.assert_allclose(
                    found.uncertainty, np.sqrt(slope_s**2 * of_s + slope_b**2 * of_b), rtol=1e-10
                )

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
        count = 200_000 if figure in SMOOTH_FIGURES else 20_000
        signal = rng.normal(20.0, 0.5, size=count)
        background = rng.normal(100.0, 2.0, size=count)
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
        to_array = library if figure in SMOOTH_FIGURES else np.asarray
        found = evaluate(figure, to_array(np.ones(2)), to_array(np.array([0.0, -1.0])), 1.0, 1.0)
        assert np.isnan(np.asarray(found.uncertainty)).all()
        stays_finite = figure in {FigureOfMerit.AMS, FigureOfMerit.PUNZI}
        assert np.isfinite(np.asarray(found.value)).tolist() == [stays_finite, False]

    @pytest.mark.parametrize("figure", TAIL_FIGURES)
    def test_exact_tails_refuse_tensors(self, figure):
        with pytest.raises(InputError, match=r"found a torch tensor\. Take 'asimov' or"):
            evaluate(figure, torch.ones(2), torch.ones(2), 1.0, 1.0)

    @pytest.mark.parametrize("figure", SMOOTH_FIGURES)
    def test_torch_and_numpy_agree(self, figure):
        rng = np.random.default_rng(5)
        arrays = rng.uniform(0.1, 10.0, size=(4, 50))
        expected = evaluate(figure, *arrays, 0.2, simulation_uncertainty_in_figure=True)
        found = evaluate(figure, *torch.tensor(arrays), 0.2, simulation_uncertainty_in_figure=True)
        np.testing.assert_allclose(found.value.numpy(), expected.value, rtol=1e-14)
        np.testing.assert_allclose(found.uncertainty.numpy(), expected.uncertainty, rtol=1e-13)

    def test_an_unknown_figure_is_refused(self):
        with pytest.raises(ValueError, match="Unknown figure of merit 'likelihood'"):
            evaluate("likelihood", 1.0, 1.0, 1.0, 1.0)
