import dataclasses

import numpy as np
import pytest

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, hold_out_working_point
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.thresholds.optimism import optimism_uncertainty
from zsig_hep.statistics import FigureOfMerit, Objective

NAMES, ROLES = ("higgs", "dy", "top"), ("signal", "background", "background")
OBJECTIVES = [
    Objective(),
    Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True),
    Objective(
        FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY,
        background_uncertainties={"top": 0.3},
        simulation_uncertainty_in_figure=True,
    ),
]


def toy(seed=0, size=4000, folds=4):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size)
    weight = np.array([0.05, 0.5, 0.2])[process] * rng.choice([1.0, -0.3], p=[0.95, 0.05], size=size)
    return ScoredEvents.from_arrays(
        rng.normal(np.array([1.0, -0.5, 0.2])[process]), weight, process, names=NAMES, roles=ROLES,
        fold=rng.integers(0, folds, size), fold_count=folds,
    )  # fmt: skip


def optimism(events, cuts, objective, counts):
    """Mean over partitions of Z on the choosing folds minus Z on the held-out folds, of events counted so many times."""

    def figure(selected, scale):
        weight = scale * counts * events.weight
        yields, variances = (
            np.array([(counts * (scale * events.weight) ** power)[selected & (events.process == row)].sum() for row in range(3)])
            for power in (1, 2)
        )  # fmt: skip
        assert weight.shape == counts.shape
        return float(objective.evaluate(yields, variances, events.processes).value)

    found = []
    for in_folds, thresholds, _ in cuts:
        count, fold = len(thresholds), in_folds.fold
        choosing = [
            figure((fold != number) & (events.score >= cut), count / (count - 1))
            for number, cut in enumerate(thresholds)
        ]
        found.append(np.mean(choosing) - figure(events.score >= thresholds[fold], 1.0))
    return np.mean(found)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_is_the_spread_of_a_bootstrap_at_fixed_cuts(objective):
    events, rng = toy(), np.random.default_rng(1)
    cuts = [(in_partition(events, number), np.array([0.3, 0.8, 1.0, 1.4]) + 0.1 * number, None) for number in (0, 1)]
    drawn = [optimism(events, cuts, objective, rng.poisson(1.0, len(events))) for _ in range(800)]
    # The bootstrap's own error is 1 / sqrt(2 x 800).
    assert optimism_uncertainty(cuts, objective) == pytest.approx(np.std(drawn, ddof=1), rel=0.08)


def test_equal_cuts_and_folds_leave_nothing():
    # Every event is in K - 1 choosing sets and held out once, so that its effects cancel for a figure linear in yields.
    base = toy(size=1000)
    copies = base.select(np.tile(np.arange(1000), 4))
    fold = np.repeat(np.arange(4), 1000)
    same = [(dataclasses.replace(copies, fold=fold), np.full(4, 0.8), None)]
    assert optimism_uncertainty(same, Objective()) == pytest.approx(0, abs=1e-12)


def test_a_point_quotes_it_beside_the_spread_over_partitions():
    events, settings = toy(), WorkingPointSettings()
    point = hold_out_working_point(events, settings)
    cuts = [
        (in_partition(events, number), np.array(choice.thresholds), None)
        for number, choice in enumerate(point.partitions)
    ]
    each = [choice.choosing_significance - choice.significance for choice in point.partitions]
    fixed = optimism_uncertainty(cuts, settings.objective)
    assert point.optimism == pytest.approx(np.mean(each))
    assert point.optimism_uncertainty == pytest.approx(np.hypot(fixed, np.std(each, ddof=1)))
    assert point.optimism_status == ("exceeds_error" if point.optimism > point.significance_uncertainty else "ok")
