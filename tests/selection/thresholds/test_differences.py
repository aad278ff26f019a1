from dataclasses import replace
from math import lgamma

import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import ScoredEvents, paired_difference
from zsig_hep.statistics import FigureOfMerit, Objective, asimov_with_uncertainty

NAMES, ROLES = ("higgs", "dy", "data", "top"), ("signal", "background", "data", "background")
UNCERTAIN = Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, background_uncertainties={"top": 0.3})


def toy(size=3000, seed=3):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=size)
    weight = np.array([0.05, 0.5, 1.0, 0.2])[process] * rng.choice([1.0, -0.3], p=[0.9, 0.1], size=size)
    score = rng.normal(np.array([1.0, -0.5, 0.0, 0.2])[process])
    return score > 0.8, score + rng.normal(0, 0.4, size=size) > 0.6, weight, process


def compare(first, second, weight, process, objective=UNCERTAIN, seed=0, replicas=400):
    events = ScoredEvents.from_arrays(np.zeros(len(weight)), weight, process, names=NAMES, roles=ROLES)
    return paired_difference(first, second, events, objective, np.random.default_rng(seed), replicas=replicas)


def figure(selected, weight, process, counts):
    """s / sqrt(b + (k_top b_top)^2) of events that are counted so many times."""
    s, dy, top = (sum((counts * weight)[selected & (process == row)].tolist()) for row in (0, 1, 3))
    return s / np.sqrt(dy + top + (0.3 * top) ** 2)


def test_the_difference_is_that_of_the_two_selections():
    first, second, weight, process = toy()
    ones = np.ones(weight.size)
    expected = figure(first, weight, process, ones) - figure(second, weight, process, ones)
    assert compare(first, second, weight, process).value == pytest.approx(expected, rel=1e-12)


def test_the_spread_is_that_of_a_plain_loop():
    first, second, weight, process = toy()
    rng = np.random.default_rng(17)
    drawn = []
    for _ in range(1000):
        counts = rng.poisson(1.0, size=weight.size)
        drawn.append(figure(first, weight, process, counts) - figure(second, weight, process, counts))
    found = compare(first, second, weight, process, replicas=4000)
    # The loop's own error is 1 / sqrt(2 x 1000).
    assert found.uncertainty == pytest.approx(np.std(drawn, ddof=1), rel=0.07)


def test_the_spread_is_that_of_every_possible_count():
    # Signal in both, background in both, and background in the first alone: three Poisson counts of known means.
    sizes, weights = np.array([40, 30, 20]), np.array([0.5, 1.0, 2.0])
    process = np.repeat([0, 1, 3], sizes)
    first, second = np.ones(90, dtype=bool), process != 3
    found = compare(
        first, second, np.repeat(weights, sizes), process, Objective(FigureOfMerit.S_OVER_SQRT_B), replicas=6000
    )
    counts = np.meshgrid(*(np.arange(1, 3 * size) for size in sizes), indexing="ij", sparse=True)
    factorials = np.array([lgamma(n + 1) for n in range(3 * 40)])
    chance = np.exp(sum(n * np.log(size) - size - factorials[n] for n, size in zip(counts, sizes, strict=True)))
    s, b, more = (n * weight for n, weight in zip(counts, weights, strict=True))
    difference = s / np.sqrt(b + more) - s / np.sqrt(b)
    mean = (chance * difference).sum() / chance.sum()
    spread = np.sqrt((chance * (difference - mean) ** 2).sum() / chance.sum())
    assert found.uncertainty == pytest.approx(spread, rel=0.04)


def test_what_both_select_cancels():
    first, _, weight, process = toy()
    same = compare(first, first, weight, process)
    assert (same.value, same.uncertainty) == (0.0, 0.0)


def test_data_do_not_count():
    first, second, weight, process = toy()
    heavy = np.where(process == 2, 1e6, weight)
    assert compare(first, second, heavy, process) == compare(first, second, weight, process)


def test_the_order_of_the_selections_is_the_sign():
    first, second, weight, process = toy()
    one, other = compare(first, second, weight, process), compare(second, first, weight, process)
    assert (one.value, one.uncertainty) == (-other.value, pytest.approx(other.uncertainty, rel=1e-12))


@pytest.mark.parametrize("short", [0, 1])
def test_lengths_must_agree(short):
    selections = list(toy()[:2])
    selections[short] = selections[short][1:]
    with pytest.raises(InputError, match=r"Selections of \d+ and \d+ events were given for 3000 events"):
        compare(*selections, *toy()[2:])


def test_each_selection_has_its_own_common_uncertainty():
    first, second, weight, process = toy()
    events = ScoredEvents.from_arrays(np.zeros(len(weight)), weight, process, names=NAMES, roles=ROLES)

    def difference(objective, **options):
        return paired_difference(first, second, events, objective, np.random.default_rng(0), replicas=400, **options)

    def value(selected, common):
        s, dy, top = (sum(weight[selected & (process == row)].tolist()) for row in (0, 1, 3))
        return s / np.sqrt(dy + top + (0.3 * top) ** 2 + (common * (dy + top)) ** 2)

    settings = replace(UNCERTAIN, relative_background_uncertainty=0.1)
    found = difference(settings, common_uncertainties=(0.4, None))
    assert found.value == pytest.approx(value(first, 0.4) - value(second, 0.1), rel=1e-12)
    # The replicas have the same uncertainties, so that their spread is another too.
    assert found.uncertainty != pytest.approx(difference(settings).uncertainty, rel=0.01)
    own = difference(replace(UNCERTAIN, relative_background_uncertainty=0.4))
    assert difference(settings, common_uncertainties=(0.4, 0.4)) == own


def test_hypotheses_have_the_common_uncertainties_too():
    first, second, weight, process = toy()
    roles = ("signal", "background", "data", "signal")
    events = ScoredEvents.from_arrays(np.zeros(len(weight)), np.abs(weight), process, names=NAMES, roles=roles)
    objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, signals="minimum")
    found = paired_difference(
        first, second, events, objective, np.random.default_rng(0), replicas=50, common_uncertainties=(0.4, 0.2)
    )
    each = []
    for selected, common in ((first, 0.4), (second, 0.2)):
        s, b, other = (np.abs(weight)[selected & (process == row)].sum() for row in (0, 1, 3))
        each.append(min(float(asimov_with_uncertainty(signal, b, common * b)) for signal in (s, other)))
    assert found.value == pytest.approx(each[0] - each[1], rel=1e-9)
