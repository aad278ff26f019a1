"""Events of a toy search for rectangular cuts."""

import numpy as np

from tests.selection.exact_yields import exact_yields
from zsig_hep.ntuples import EventTable
from zsig_hep.selection import CutSettings, WorkingPointSettings
from zsig_hep.selection.boxes.problem import BoxProblem
from zsig_hep.statistics import evaluate, weighted_yield

ROLES = {"higgs": "signal", "dy": "background", "top": "background"}
LOOSE = exact_yields(minimum_effective_background=1, minimum_signal_efficiency=0)
TIGHT = exact_yields(minimum_effective_background=20, minimum_signal_efficiency=0.3)
DOMINANT = exact_yields(minimum_effective_background=8, dominant_background_fraction=0.2)
DEFAULT = WorkingPointSettings()
UNCERTAIN = exact_yields(
    figure_of_merit="asimov_with_uncertainty",
    relative_background_uncertainty=0.1,
    simulation_uncertainty_in_figure=True,
    minimum_effective_background=5,
)


# With a bootstrap of few replicas, for the soft cuts.
SOFT = exact_yields(minimum_effective_background=3, sensitivity={"replicas": 6})
SOFT_UNCERTAIN = exact_yields(
    figure_of_merit="asimov_with_uncertainty",
    background_uncertainties={"top": 0.2},
    relative_background_uncertainty=0.05,
    simulation_uncertainty_in_figure=True,
    minimum_effective_background=3,
    sensitivity={"replicas": 6},
)


def toy(seed=0, events=600, *, signed=False, levels=None, missing=0.0, folds=4):
    """Signal in the middle of x and at large y; `noise` tells nothing apart, `jets` counts."""
    rng = np.random.default_rng(seed)
    process = np.concatenate([np.arange(3), rng.integers(0, 3, size=events - 3)])
    is_signal = process == 0
    x = rng.normal(0.0, np.where(is_signal, 0.5, 2.0))
    y = rng.normal(np.where(is_signal, 1.0, np.where(process == 1, -0.5, 0.3)))
    noise = rng.normal(size=events)
    if levels:
        x, y = np.round(x * levels) / levels, np.round(y * levels) / levels
    y = np.where(rng.random(events) < missing, np.nan, y)
    weight = np.array([0.02, 1.0, 0.5])[process]
    if signed:
        weight = np.where((rng.random(events) < 0.1) & (np.arange(events) > 2), -weight, weight)
    return EventTable.from_arrays(
        {"x": x, "y": y, "noise": noise, "jets": rng.poisson(np.where(is_signal, 3.0, 1.5))},
        weight=weight,
        process=np.array(list(ROLES))[process],
        roles=ROLES,
        luminosity_ifb=1.0,
        folds=folds,
    )


def problem_of(table, variables, selection=LOOSE, **options):
    return BoxProblem.of_table(table, CutSettings(variables=variables, **options), selection)


def value_of(table, passing, selection):
    """Significance of a selection that qualifies, from masks; None otherwise."""
    yields = [weighted_yield(table.weight[passing & (table.process == row)]) for row in range(3)]
    totals = [float(table.weight[table.process == row].sum()) for row in range(3)]
    signal, background = yields[0], yields[1] + yields[2]
    share = selection.dominant_background_fraction
    needed = [background, *(yields[row] for row in (1, 2) if totals[row] / (totals[1] + totals[2]) > share)]
    if signal.value <= 0 or signal.value / totals[0] < selection.minimum_signal_efficiency * (1 - 1e-12):
        return None
    if any(each.value <= 0 or each.effective_entries < selection.minimum_effective_background for each in needed):
        return None
    z = evaluate(
        selection.objective.figure, signal.value, background.value, signal.variance, background.variance,
        selection.relative_background_uncertainty,
        simulation_uncertainty_in_figure=selection.simulation_uncertainty_in_figure is not False,
    )  # fmt: skip
    return float(z.value) if np.isfinite(z.value) else None
