import numpy as np
import pytest

from zsig_hep.selection.numbers import SelectionNumbers, as_arrays, by_signal, selection_numbers
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable, Yield, asimov

PROCESSES = ProcessTable.of(["dy", "ggf", "top", "vbf"], ["background", "signal", "background", "signal"])
PASSING = {
    "vbf": Yield(4.0, 0.25, 400),
    "dy": Yield(20.0, 3.0, 50),
    "ggf": Yield(6.0, 0.75, 300),
    "top": Yield(5.0, 1.0, 25),
}
BEFORE = {"vbf": 5.0, "dy": 1000.0, "ggf": 20.0, "top": 250.0}
SIMPLE = Objective(FigureOfMerit.S_OVER_SQRT_B)


def numbers_of(objective=SIMPLE, common_uncertainty=None, **passing):
    return SelectionNumbers(
        **selection_numbers(PASSING | passing, BEFORE, PROCESSES, objective, common_uncertainty)
    )  # fmt: skip


def test_worked_by_hand():
    found = numbers_of()
    assert (found.signal, found.background) == (Yield(10.0, 1.0, 700), Yield(25.0, 4.0, 75))
    assert found.yields == PASSING
    assert found.signal_efficiency == pytest.approx(10 / 25, rel=1e-15)
    assert found.background_efficiency == pytest.approx(25 / 1250, rel=1e-15)
    assert found.purity == pytest.approx(10 / 35, rel=1e-15)
    assert found.significance == 2.0
    # (dZ/ds)^2 sum_s w^2 + (dZ/db)^2 sum_b w^2 with dZ/ds = 1/5 and dZ/db = -1/25.
    assert found.significance_uncertainty == pytest.approx(np.sqrt(1 / 25 + 4 / 625), rel=1e-14)
    assert found.hypotheses == {}


def test_with_and_without_the_variance_of_the_simulation():
    figure = FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY
    inside = Objective(figure, simulation_uncertainty_in_figure=True, relative_background_uncertainty=0.1)
    found = numbers_of(inside)
    assert found.significance == pytest.approx(10 / np.sqrt(25 + 2.5**2 + 4), rel=1e-14)
    assert found.significance_without_simulation == pytest.approx(10 / np.sqrt(25 + 2.5**2), rel=1e-14)
    found = numbers_of(inside, 0.4)
    assert found.significance_without_simulation == pytest.approx(10 / np.sqrt(25 + 10**2), rel=1e-14)
    for objective in (SIMPLE, Objective(FigureOfMerit.PUNZI)):
        found = numbers_of(objective)
        assert found.significance_without_simulation == found.significance
    assert SelectionNumbers().significance_without_simulation is None


def test_the_uncertainty_includes_the_moments_of_the_weights_where_they_are_known():
    objective = Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True)
    known = {name: Yield(each.value, each.variance, each.entries, 9.0, 30.0) for name, each in PASSING.items()}
    # Z = s / sqrt(b + v): dZ/ds = 1 / sqrt(29), dZ/db = dZ/dv = -5 / 29^1.5.
    signal, slope = 1.0 / 29, 5 / 29**1.5
    expected = np.sqrt(signal + slope**2 * (4 + 2 * 2 * 9 + 2 * 30))
    assert numbers_of(objective, **known).significance_uncertainty == pytest.approx(expected, rel=1e-12)
    # Of equal weights: 0.15 and 0.2.
    equal = 3 * (1 + 0.15) ** 2 + 1 * (1 + 0.2) ** 2
    found = numbers_of(objective, dy=Yield(20.0, 3.0, 50)).significance_uncertainty
    assert found == pytest.approx(np.sqrt(signal + slope**2 * equal), rel=1e-12)


def test_arrays_are_in_the_order_of_the_processes():
    values, variances = as_arrays(PASSING, PROCESSES)
    assert (values.tolist(), variances.tolist()) == ([20.0, 6.0, 5.0, 4.0], [3.0, 0.75, 1.0, 0.25])


def test_a_common_uncertainty_takes_the_place_of_that_of_the_objective():
    uncertain = Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, relative_background_uncertainty=0.1)
    assert numbers_of(uncertain).significance == pytest.approx(10 / np.sqrt(25 + 2.5**2), rel=1e-14)
    assert numbers_of(uncertain, 0.4).significance == pytest.approx(10 / np.sqrt(25 + 10**2), rel=1e-14)


@pytest.mark.parametrize("signals", ["mean", "minimum"])
def test_each_hypothesis_by_its_name(signals):
    objective = Objective(signals=signals)
    found = numbers_of(objective)
    expected = {"ggf": float(asimov(6.0, 25.0)), "vbf": float(asimov(4.0, 25.0))}
    assert {name: each.significance for name, each in found.hypotheses.items()} == pytest.approx(expected, rel=1e-14)
    alone = selection_numbers(PASSING | {"ggf": Yield(0, 0, 0)}, BEFORE, PROCESSES, Objective())
    assert found.hypotheses["vbf"].significance_uncertainty == pytest.approx(
        alone["significance_uncertainty"], rel=1e-12
    )
    z = objective.evaluate(*as_arrays(PASSING, PROCESSES), PROCESSES)
    assert list(by_signal(z.hypotheses, PROCESSES)) == ["ggf", "vbf"]


def test_what_does_not_exist_is_none():
    without_background = numbers_of(dy=Yield(0, 0, 0), top=Yield(0, 0, 0))
    assert without_background.significance is without_background.significance_uncertainty is None
    assert without_background.purity == 1.0
    assert numbers_of(dy=Yield(-14.5, 1.0, 9), top=Yield(5.0, 1.0, 25)).purity == pytest.approx(10 / 0.5)
    negative = numbers_of(dy=Yield(-15.0, 40.0, 50))
    assert negative.purity is negative.significance is None
    assert SelectionNumbers().yields == {}
