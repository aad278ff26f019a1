import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.statistics import FigureOfMerit, FigureParameters, Objective, ProcessTable, asimov_with_uncertainty

# Signals and backgrounds alternate, so that a row taken for another shows.
PROCESSES = ProcessTable.of(["vbf", "dy", "ggf", "top"], ["signal", "background", "signal", "background"])
YIELDS, VARIANCES = np.array([3.0, 40.0, 2.0, 15.0]), np.array([0.1, 2.0, 0.2, 1.0])
K = {"dy": 0.03, "top": 0.2}
UNCERTAIN = Objective(
    FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties=K, relative_background_uncertainty=0.05
)


def alone(s, dy, top, common=0.05, extra=0.0):
    sigma = np.sqrt((0.03 * dy) ** 2 + (0.2 * top) ** 2 + (common * (dy + top)) ** 2 + extra)
    return float(asimov_with_uncertainty(s, dy + top, sigma))


def value_of(objective, yields=YIELDS, **options):
    return float(objective.evaluate(yields, VARIANCES, PROCESSES, **options).value)


class TestValue:
    def test_summed_signals(self):
        assert value_of(UNCERTAIN) == pytest.approx(alone(5.0, 40.0, 15.0), rel=1e-14)

    def test_the_mean_and_the_smallest_of_two_hypotheses(self):
        each = [alone(3.0, 40.0, 15.0), alone(2.0, 40.0, 15.0)]
        for signals, expected in (("mean", np.mean(each)), ("minimum", np.min(each))):
            found = dataclasses.replace(UNCERTAIN, signals=signals).evaluate(YIELDS, VARIANCES, PROCESSES)
            assert float(found.value) == pytest.approx(expected, rel=1e-14)
            np.testing.assert_allclose(found.hypotheses.value, each, rtol=1e-14)
            assert (np.asarray(found.hypotheses.uncertainty) > 0).all()
        assert UNCERTAIN.evaluate(YIELDS, VARIANCES, PROCESSES).hypotheses is None

    def test_a_common_uncertainty_takes_the_place_of_its_own(self):
        assert value_of(UNCERTAIN, common_uncertainty=0.3) == pytest.approx(alone(5, 40, 15, 0.3), rel=1e-14)
        assert value_of(UNCERTAIN, common_uncertainty=0.0) == pytest.approx(alone(5, 40, 15, 0.0), rel=1e-14)

    def test_uncertainties_of_the_backgrounds_in_their_order_take_the_place_of_those_by_name(self):
        swapped = dataclasses.replace(UNCERTAIN, background_uncertainties={"dy": 0.2, "top": 0.03})
        assert value_of(swapped, own_uncertainties=[0.03, 0.2]) == value_of(UNCERTAIN)

    def test_the_simulation_adds_to_the_uncertainty_of_the_background(self):
        inside = dataclasses.replace(UNCERTAIN, simulation_uncertainty_in_figure=True)
        assert value_of(inside) == pytest.approx(alone(5.0, 40.0, 15.0, extra=3.0), rel=1e-14)

    def test_the_parameters_of_a_figure_reach_it(self):
        # s / (a / 2 + sqrt(b)), equation 7 of G. Punzi, physics/0308063.
        given_four = Objective(FigureOfMerit.PUNZI, FigureParameters(punzi_sigmas=4.0))
        assert value_of(given_four) == pytest.approx(5 / (2 + np.sqrt(55)), rel=1e-14)

    def test_many_selections_at_once(self):
        columns = np.stack([YIELDS, 2 * YIELDS, YIELDS[::-1]], axis=1)
        variances = np.stack([VARIANCES] * 3, axis=1)
        for objective in (UNCERTAIN, dataclasses.replace(UNCERTAIN, signals="minimum")):
            found = objective.evaluate(columns, variances, PROCESSES)
            assert (found.value.shape, found.slopes.shape) == ((3,), (4, 3))
            np.testing.assert_allclose(found.value, [value_of(objective, each) for each in columns.T], rtol=1e-13)


@pytest.mark.parametrize("signals", ["sum", "mean", "minimum"])
@pytest.mark.parametrize("figure", ["asimov_with_uncertainty", "poisson"])
def test_slopes_and_uncertainty_against_finite_differences(signals, figure):
    uncertain = K if figure == "asimov_with_uncertainty" else {}
    objective = Objective(FigureOfMerit(figure), background_uncertainties=uncertain, signals=signals)
    h = 1e-5
    slopes = [(value_of(objective, YIELDS + h * e) - value_of(objective, YIELDS - h * e)) / (2 * h) for e in np.eye(4)]
    found = objective.evaluate(YIELDS, VARIANCES, PROCESSES)
    np.testing.assert_allclose(found.slopes, slopes, rtol=1e-6, atol=1e-9)
    assert float(found.uncertainty) == pytest.approx(np.sqrt((np.square(slopes) * VARIANCES).sum()), rel=1e-6)


@pytest.mark.parametrize("signals", ["sum", "mean", "minimum"])
@pytest.mark.parametrize("figure", ["asimov_with_uncertainty", "poisson_with_uncertainty"])
def test_the_fluctuation_of_the_variance_is_in_the_uncertainty_of_every_hypothesis(signals, figure):
    objective = Objective(
        FigureOfMerit(figure), background_uncertainties=K, simulation_uncertainty_in_figure=True, signals=signals
    )
    # Moments of weights of both signs, which stand for more than equal weights would.
    third, fourth = np.array([9.0, 0.3, 9.0, -0.2]), np.array([9.0, 0.4, 9.0, 0.2])
    found = objective.evaluate(YIELDS, VARIANCES, PROCESSES, higher_moments=(third, fourth))

    def z(yields, of_simulation=0.0):
        return float(objective.evaluate(yields, VARIANCES + np.eye(4)[1] * of_simulation, PROCESSES).value)

    h = 1e-4
    slopes = np.array([(z(YIELDS + h * e) - z(YIELDS - h * e)) / (2 * h) for e in np.eye(4)])
    slope_v = (z(YIELDS, h) - z(YIELDS, -h)) / (2 * h)
    assert float(found.variance_slope) == pytest.approx(slope_v, rel=1e-5)
    of_background = np.array([0.0, 1.0, 0.0, 1.0])
    variance = slopes**2 * VARIANCES + of_background * (2 * slopes * slope_v * third + slope_v**2 * fourth)
    assert float(found.uncertainty) == pytest.approx(np.sqrt(variance.sum()), rel=1e-5)


@pytest.mark.parametrize("signals", ["mean", "minimum"])
def test_samples_of_hypotheses_scatter_by_what_is_quoted(signals):
    objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True, signals=signals)
    # Effective entries of the backgrounds: 40 and 25.
    weight, expected = np.array([0.01, 1.0, 0.01, 0.6]), np.array([300, 40, 200, 25])
    counts = np.random.default_rng(0).poisson(expected, (20_000, 4)).T
    toys = objective.evaluate(counts * weight[:, None], counts * weight[:, None] ** 2, PROCESSES).value
    found = objective.evaluate(expected * weight, expected * weight**2, PROCESSES)
    assert float(toys.std()) == pytest.approx(float(found.uncertainty), rel=0.06)


@given(st.permutations(range(4)), st.sampled_from(["sum", "mean", "minimum"]))
def test_the_order_of_the_processes_does_not_matter(order, signals):
    objective = dataclasses.replace(UNCERTAIN, signals=signals)
    first = objective.evaluate(YIELDS, VARIANCES, PROCESSES)
    second = objective.evaluate(YIELDS[order], VARIANCES[order], PROCESSES.select(order))
    assert float(second.value) == pytest.approx(float(first.value), rel=1e-12)
    assert float(second.uncertainty) == pytest.approx(float(first.uncertainty), rel=1e-12)
    np.testing.assert_allclose(second.slopes, first.slopes[order], rtol=1e-10)


def test_torch_gradients_reach_yields_and_uncertainties():
    objective = dataclasses.replace(UNCERTAIN, signals="mean")
    yields = torch.tensor(YIELDS, requires_grad=True)
    k = torch.tensor([0.03, 0.2], dtype=torch.float64, requires_grad=True)
    common = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)

    def value(yields, k, common):
        zeros = torch.zeros_like(yields)
        return objective.evaluate(
            yields, zeros, PROCESSES, own_uncertainties=k, common_uncertainty=common
        ).value  # fmt: skip

    assert torch.autograd.gradcheck(value, (yields, k, common))
    of_yields, of_k, of_common = torch.autograd.grad(value(yields, k, common), (yields, k, common))
    slopes = torch.tensor(objective.evaluate(YIELDS, VARIANCES, PROCESSES).slopes)
    torch.testing.assert_close(of_yields, slopes, rtol=1e-12, atol=0)
    assert (of_k < 0).all()
    assert of_common < 0


def test_an_exact_tail_refuses_tensors_and_its_counterpart_takes_them():
    objective = dataclasses.replace(UNCERTAIN, figure=FigureOfMerit.POISSON_WITH_UNCERTAINTY)
    yields = torch.tensor(YIELDS)
    with pytest.raises(InputError, match="found a torch tensor"):
        objective.evaluate(yields, yields, PROCESSES)
    found = objective.differentiable.evaluate(yields, yields, PROCESSES)
    assert float(found.value) == pytest.approx(alone(5.0, 40.0, 15.0), rel=1e-14)


class TestProcessesThatDiffer:
    ONE_EACH = ProcessTable.of(["vbf", "dy"], ["signal", "background"])

    @pytest.mark.parametrize(
        ("objective", "in_general", "of_one_each"),
        [
            (Objective(), False, False),
            (Objective(relative_background_uncertainty=0.2), False, False),
            (Objective(background_uncertainties={"dy": 0.0}), False, False),
            (Objective(background_uncertainties={"dy": 0.1}), True, False),
            (Objective(signals="mean"), True, False),
        ],
    )
    def test_only_what_differs_between_processes_tells_them_apart(self, objective, in_general, of_one_each):
        assert objective.tells_processes_apart() is in_general
        assert objective.tells_processes_apart(PROCESSES) is in_general
        assert objective.tells_processes_apart(self.ONE_EACH) is of_one_each

    def test_uncertainties_of_all_processes(self):
        assert UNCERTAIN.uncertainties_of(("top", "other", "dy")) == [0.2, 0.0, 0.03]

    @pytest.mark.parametrize(
        ("name", "words"), [("tpo", "Did you mean 'top'"), ("vbf", "There are: dy, top"), ("z", "There are: dy, top")]
    )
    def test_an_uncertainty_of_no_background_is_refused(self, name, words):
        objective = Objective(background_uncertainties={name: 0.1, "dy": 0.1})
        with pytest.raises(InputError, match=rf"names '{name}', which is no background process\. {words}"):
            objective.require_known_backgrounds(PROCESSES)
        UNCERTAIN.require_known_backgrounds(PROCESSES)
