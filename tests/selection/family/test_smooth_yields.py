import numpy as np
import pytest

from tests.selection.family.exact_toys import gaussian, overlap
from zsig_hep.errors import InputError
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics import ProcessTable

PROCESSES = ProcessTable(("dy", "signal", "top"), ("background", "signal", "background"))
CENTRES = np.array([[0.0, 0.0], [1.5, 1.5], [1.0, -0.5]])
TOTALS = np.array([400.0, 30.0, 100.0])


def drawn(events=40_000, seed=1):
    """Events with exact ratios; the signal stands between the backgrounds."""
    rng = np.random.default_rng(seed)
    process = np.repeat([0, 1, 2], events)
    x = rng.normal(CENTRES[process])
    dy, signal, top = (total * gaussian(x, centre) for total, centre in zip(TOTALS, CENTRES, strict=True))
    ratios = LikelihoodRatios.from_arrays(
        np.log(signal / (dy + top) * 500 / 30),
        np.stack([dy, top], axis=1) / (dy + top)[:, None],
        {"tilt": 1 + 0.2 * np.tanh(x[:, :1] + [0.0, 0.3]) * [1.0, -1.0]},
        backgrounds=["dy", "top"],
    )
    return x, ratios, (TOTALS / events)[process], process


def test_smooth_yields_are_the_counted_ones_in_every_region():
    x, ratios, weight, process = drawn()
    smooth = SmoothYields.of_events(ratios, weight, process, PROCESSES)
    for region in (x[:, 0] > 1.0, x[:, 1] < -1.0, x.sum(axis=1) > 2.5):
        reweighted = (smooth.yields[region] * smooth.scale).sum(axis=0)
        counted = np.bincount(process[region], weight[region], minlength=3)
        np.testing.assert_allclose(reweighted[:3], counted, atol=5 * np.sqrt((weight[region] ** 2).sum()))
        of_background = region & (process != 1)
        shifts = (ratios.variations[of_background, 0] - 1).T @ weight[of_background]
        expected = (shifts[0] - shifts[1]) / 2, (shifts[0] + shifts[1]) / 2
        np.testing.assert_allclose(reweighted[3:], expected, atol=0.4)


def test_smooth_yields_vary_less_where_a_background_is_thin():
    spread = []
    for seed in range(12):
        _, ratios, weight, process = drawn(300, seed)
        tight = ratios.logit > 2.0
        smooth = SmoothYields.of_events(ratios, weight, process, PROCESSES)
        spread.append(((smooth.yields * smooth.scale)[tight, 0].sum(), weight[tight & (process == 0)].sum()))
    of_smooth, of_counted = np.std(spread, axis=0)
    assert of_smooth < of_counted / 3


def test_totals_are_those_that_are_counted():
    _, ratios, weight, process = drawn(500)
    smooth = SmoothYields.of_events(ratios, weight, process, PROCESSES)
    np.testing.assert_allclose(smooth.totals, TOTALS)
    np.testing.assert_allclose(smooth.every(7).totals, TOTALS)
    np.testing.assert_allclose(smooth.mean_weights, TOTALS / 500)


def test_ordering_columns_give_the_ratio_of_the_yields():
    smooth = overlap(100.0, 10.0, points=40)
    inverse, columns = smooth.ordering_columns()
    signal, background = smooth.yields[:, 0], smooth.yields[:, 1:].sum(axis=1)
    np.testing.assert_allclose(inverse * columns[:, 1:].sum(axis=1), background / signal / 20.0, rtol=1e-9)


def test_signals_without_a_composition_have_shares_of_their_yields():
    processes = ProcessTable(("ggh", "vbf", "dy"), ("signal", "signal", "background"))
    ratios = LikelihoodRatios.from_arrays([0.3, -0.2, 1.0], None, backgrounds=["dy"])
    smooth = SmoothYields.of_events(ratios, np.array([3.0, 1.0, 5.0]), np.array([0, 1, 2]), processes)
    np.testing.assert_allclose(smooth.yields[:, 0], 3 * smooth.yields[:, 1])


def test_signed_weights_are_allowed():
    _, ratios, weight, process = drawn(2000)
    signed = np.where((process == 2) & (np.arange(weight.size) % 5 == 0), -weight, weight)
    smooth = SmoothYields.of_events(ratios, signed, process, PROCESSES)
    np.testing.assert_allclose(smooth.totals, [400.0, 30.0, 60.0])


@pytest.mark.parametrize(
    ("weight", "names", "message"),
    [
        ([1.0, 1.0], ["top"], "has columns top, but the backgrounds are dy"),
        ([-1.0, 1.0], ["dy"], "The signal yield is -1; .* positive"),
        ([1.0, 0.0], ["dy"], "The background yield is 0"),
    ],
)
def test_bad_input(weight, names, message):
    ratios = LikelihoodRatios.from_arrays([0.0, 1.0], None, backgrounds=names)
    processes = ProcessTable(("signal", "dy"), ("signal", "background"))
    with pytest.raises(InputError, match=message):
        SmoothYields.of_events(ratios, np.array(weight), np.array([0, 1]), processes)


def test_columns_of_signals_are_checked():
    ratios = LikelihoodRatios.from_arrays(
        [0.0, 1.0], None, backgrounds=["dy"], signal_composition=np.ones((2, 1)), signals=["vbf"]
    )
    processes = ProcessTable(("ggh", "dy"), ("signal", "background"))
    with pytest.raises(InputError, match="signal composition has columns vbf"):
        SmoothYields.of_events(ratios, np.ones(2), np.array([0, 1]), processes)
