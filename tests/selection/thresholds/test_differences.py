import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import WorkingPointSettings, held_out_selection, paired_difference, significance

NAMES = ("higgs", "dy", "data", "top")
ROLES = ("signal", "background", "data", "background")
UNCERTAIN = WorkingPointSettings(
    figure_of_merit="s_over_sqrt_b_with_uncertainty", background_uncertainties={"top": 0.3}
)


def toy(events=3000, seed=3):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 4, size=events)
    weight = np.array([0.05, 0.5, 1.0, 0.2])[process] * rng.choice([1.0, -0.3], p=[0.9, 0.1], size=events)
    score = rng.normal(np.array([1.0, -0.5, 0.0, 0.2])[process])
    return process, weight, score, score + rng.normal(0, 0.4, size=events)


def compare(first, second, weight, process, options=UNCERTAIN, seed=0, replicas=400):
    return paired_difference(
        first, second, weight, process,
        process_names=NAMES, roles=ROLES, settings=options, generator=np.random.default_rng(seed), replicas=replicas,
    )  # fmt: skip


def loop(first, second, weight, process, counts):
    """Difference of one replica, process by process."""
    rows = [0, 1, 3]
    values = []
    for mask in (first, second):
        yields = np.array([(counts * weight)[mask & (process == row)].sum() for row in rows])
        variances = np.array([(counts * weight**2)[mask & (process == row)].sum() for row in rows])
        names, roles = [NAMES[row] for row in rows], [ROLES[row] for row in rows]
        values.append(float(significance(yields, variances, names, roles, UNCERTAIN).value))
    return values[0] - values[1]


def test_the_difference_is_that_of_the_two_selections():
    process, weight, one, other = toy()
    found = compare(one > 0.8, other > 0.6, weight, process)
    assert found.value == pytest.approx(loop(one > 0.8, other > 0.6, weight, process, np.ones(weight.size)), rel=1e-12)


def test_the_spread_is_that_of_a_bootstrap_by_loop():
    process, weight, one, other = toy()
    found = compare(one > 0.8, other > 0.6, weight, process)
    rng = np.random.default_rng(17)
    drawn = [
        loop(one > 0.8, other > 0.6, weight, process, rng.poisson(1.0, size=weight.size)) for _ in range(400)
    ]  # fmt: skip
    assert found.uncertainty == pytest.approx(np.std(drawn, ddof=1), rel=0.15)


def test_what_both_select_cancels():
    process, weight, one, _ = toy()
    same = compare(one > 0.8, one > 0.8, weight, process)
    assert (same.value, same.uncertainty) == (0.0, 0.0)


def test_data_do_not_count():
    process, weight, one, other = toy()
    heavy = np.where(process == 2, 1e6, weight)
    assert compare(one > 0.8, other > 0.6, heavy, process) == compare(one > 0.8, other > 0.6, weight, process)


def test_lengths_must_agree():
    process, weight, one, other = toy()
    with pytest.raises(InputError, match="differ in length"):
        compare(one > 0, other > 0, weight[1:], process)


def test_events_are_cut_at_the_threshold_of_their_fold():
    score, fold = np.array([0.2, 0.6, 0.6, 0.9]), np.array([0, 0, 1, 2])
    assert held_out_selection(score, fold, [0.6, 0.7, None]).tolist() == [False, True, False, False]
