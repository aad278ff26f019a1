"""Rectangular cuts by this package against scipy's differential evolution, given the same time on the same events.

Run by name: `python tests/benchmarks/benchmark_boxes.py --problem toy hmumu --seeds 3`. Both maximise the same exact
significance under the same requirements; neither drops weak cuts. Differential evolution moves each edge in quantiles of
its variable, evaluates a box as fast as NumPy can, and starts again with another population until the time is over.

The toy has independent Gaussian variables of unit width, so that significance and optimum are known without simulation:
the last column is the true significance of the cuts. For hmumu the cuts of each fold are chosen on the other folds, and the
last column is the held-out significance. Each seed draws other events (toy) or other folds (hmumu).
"""

import argparse
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import differential_evolution, minimize
from scipy.stats import norm

from zsig_hep.analysis import Analysis
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.identity import assign_folds
from zsig_hep.pipeline import Pipeline
from zsig_hep.selection import Box, CutSettings, WorkingPointSettings
from zsig_hep.selection.boxes.problem import BoxProblem
from zsig_hep.selection.boxes.results import box_numbers
from zsig_hep.selection.boxes.search import polish, search
from zsig_hep.selection.boxes.soft_cuts import _quantiles, smooth_starts
from zsig_hep.statistics import asimov

Edges = npt.NDArray[np.int64]
Method = Callable[[BoxProblem, np.random.Generator, float], Edges]

SIGNAL, BACKGROUND = 50.0, 20_000.0
MEANS = np.array([1.5, 1.2, 1.0, 0.8, 0.6, 0.0])
TOY = WorkingPointSettings(minimum_effective_background=25)
TOY_CUTS = CutSettings(variables={f"x{index}": "above" for index in range(MEANS.size)})

HMUMU = WorkingPointSettings(minimum_effective_background=50)
HMUMU_CUTS = CutSettings(
    variables={
        "dimuon_mass": "window",
        "log_dijet_mass": "above",
        "dijet_delta_eta": "above",
        "zeppenfeld": "below",
        "pt_balance": "below",
        "log_dimuon_pt": "above",
        "log_extra_jet_ht": "below",
    }
)


def toy_table(seed: int, events: int = 20_000) -> EventTable:
    rng = np.random.default_rng(seed)
    is_signal = np.arange(2 * events) < events
    x = rng.normal(size=(2 * events, MEANS.size)) + np.where(is_signal[:, None], MEANS, 0.0)
    return EventTable.from_arrays(
        {f"x{index}": x[:, index] for index in range(MEANS.size)},
        weight=np.where(is_signal, SIGNAL, BACKGROUND) / events,
        process=np.where(is_signal, "signal", "background"),
        roles={"signal": "signal", "background": "background"},
        luminosity_ifb=1.0,
    )


def true_significance(cuts: npt.NDArray[np.float64]) -> float:
    """Z_A of cuts x > t on all variables, without simulation."""
    return float(asimov(SIGNAL * norm.sf(cuts - MEANS).prod(), BACKGROUND * norm.sf(cuts).prod()))


def true_optimum(fewest: float) -> float:
    """The highest Z_A among cuts that leave so much background."""
    room = {"type": "ineq", "fun": lambda cuts: math.log(BACKGROUND * norm.sf(cuts).prod() / fewest)}
    found = minimize(lambda cuts: -true_significance(cuts), np.zeros(MEANS.size), constraints=[room])
    return -float(found.fun)


def cuts_of(box: Box) -> npt.NDArray[np.float64]:
    return np.array([-np.inf if cut.low is None else cut.low for cut in box.cuts])


class Objective:
    """Minus the significance of a box given in quantiles; what does not qualify is worse the more it lacks."""

    def __init__(self, problem: BoxProblem) -> None:
        self.problem, self.quantiles = problem, _quantiles(problem)
        self.is_signal, everything = problem.processes.is_signal, problem.everything
        self.signal = float(everything.signal[0])
        self.dominant = everything.dominant_backgrounds(problem.selection.dominant_background_fraction)
        self.squared = problem.weight**2
        self.best, self.edges, self.calls = np.inf, problem.nothing, 0

    def edges_of(self, position: npt.NDArray[np.float64]) -> Edges:
        found = [int(np.searchsorted(at, x)) if x > 0 else 0 for at, x in zip(self.quantiles, position, strict=True)]
        return np.minimum(found, [side.allowed.size - 1 for side in self.problem.sides])

    def __call__(self, position: npt.NDArray[np.float64]) -> float:
        self.calls += 1
        edges = self.edges_of(position)
        value = self.value(edges)
        if value < self.best:
            self.best, self.edges = value, edges
        return value

    def value(self, edges: Edges) -> float:
        problem, required = self.problem, self.problem.selection
        passing = np.ones(problem.weight.size, dtype=np.bool_)
        for side, edge in zip(problem.sides, edges, strict=True):
            if edge:
                passing &= side.code >= edge
        inside = np.flatnonzero(passing)
        process, count = problem.process[inside], self.is_signal.size
        yields = np.bincount(process, weights=problem.weight[inside], minlength=count)
        variances = np.bincount(process, weights=self.squared[inside], minlength=count)
        s, b, v = yields[self.is_signal].sum(), yields[~self.is_signal].sum(), variances[~self.is_signal].sum()
        needed = [(b, v), *((yields[row], variances[row]) for row in self.dominant)]
        entries = min(y * y / w if y > 0 else 0.0 for y, w in needed)
        lack = max(0.0, 1 - entries / required.minimum_effective_background)
        lack += max(0.0, required.minimum_signal_efficiency - s / self.signal)
        if lack > 0 or s <= 0:
            return 1.0 + lack
        return -math.sqrt(2 * ((s + b) * math.log1p(s / b) - s))


def ours(problem: BoxProblem, generator: np.random.Generator, seconds: float) -> Edges:
    del seconds
    return search(problem, [problem.nothing, *smooth_starts(problem, generator)], generator)[0]


def polished_only(problem: BoxProblem, generator: np.random.Generator, seconds: float) -> Edges:
    del generator, seconds
    return polish(problem, problem.nothing)[0]


def without_smooth_start(problem: BoxProblem, generator: np.random.Generator, seconds: float) -> Edges:
    del seconds
    return search(problem, [problem.nothing], generator)[0]


def evolution(problem: BoxProblem, generator: np.random.Generator, seconds: float) -> Edges:
    objective, start = Objective(problem), time.perf_counter()
    # An open edge is one of the values that the evolution may choose: a fifth of the range lies below all events.
    bounds = [(-0.25, 1.0)] * len(problem.sides)
    while time.perf_counter() - start < seconds:
        differential_evolution(
            objective, bounds, rng=generator, polish=False, maxiter=100_000, tol=1e-8,
            callback=lambda *_: time.perf_counter() - start > seconds,
        )  # fmt: skip
    return objective.edges


METHODS: dict[str, Method] = {
    "this package": ours,
    "  without smooth start": without_smooth_start,
    "  one polish, no start": polished_only,
    "differential evolution": evolution,
}


def check_objectives_agree(problem: BoxProblem) -> None:
    objective, rng = Objective(problem), np.random.default_rng(0)
    compared = 0
    for _ in range(50):
        edges = objective.edges_of(rng.uniform(-0.6, 0.5, len(problem.sides)))
        if (value := objective.value(edges)) < 0:
            np.testing.assert_allclose(problem.value(edges), -value, rtol=1e-9)
            compared += 1
    assert compared > 3


def run_toy(seed: int, factor: float) -> dict[str, tuple[float, float, float]]:
    problem = BoxProblem.of_table(toy_table(seed), TOY_CUTS, TOY)
    check_objectives_agree(problem)
    found: dict[str, tuple[float, float, float]] = {}
    for name, method in METHODS.items():
        start = time.perf_counter()
        allowed = factor * found["this package"][2] if found else 0.0
        edges = method(problem, np.random.default_rng(seed), allowed)
        seconds = time.perf_counter() - start
        found[name] = problem.value(edges), true_significance(cuts_of(problem.box(edges))), seconds
    return found


def run_hmumu(table: EventTable, seed: int, factor: float) -> dict[str, tuple[float, float, float]]:
    table = dataclasses.replace(table, fold=assign_folds(table.identity, table.fold_count, seed))
    selected = {name: np.zeros(len(table), dtype=np.bool_) for name in METHODS}
    chosen: dict[str, list[float]] = {name: [] for name in METHODS}
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for fold in range(table.fold_count):
        others = table.select(table.fold != fold)
        scale = table.fold_count / (table.fold_count - 1)
        problem = BoxProblem.of_table(others, HMUMU_CUTS, HMUMU, scale=scale)
        check_objectives_agree(problem)
        for name, method in METHODS.items():
            start = time.perf_counter()
            allowed = factor * seconds["this package"][-1] if seconds["this package"] else 0.0
            edges = method(problem, np.random.default_rng(1000 * seed + fold), allowed)
            seconds[name].append(time.perf_counter() - start)
            chosen[name].append(problem.value(edges))
            selected[name] |= (table.fold == fold) & problem.box(edges).select(table)
    return {
        name: (
            float(np.mean(chosen[name])),
            box_numbers(table, selected[name], HMUMU.objective)["significance"] or math.nan,
            float(np.mean(seconds[name])),
        )
        for name in METHODS
    }


def hmumu_table() -> EventTable:
    analysis = Analysis.from_file(Path(__file__).parents[2] / "analyses" / "hmumu")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(analysis, folder)
        pipeline.columns()
        return pipeline.table


def report(title: str, runs: list[dict[str, tuple[float, float, float]]], last: str) -> None:
    print(f"\n{title}\n{'':24s}{'Z choosing':>18s}{last:>18s}{'seconds':>10s}")
    for name in METHODS:
        values = np.array([run[name] for run in runs])
        mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1) if len(runs) > 1 else np.zeros(3)
        cells = [f"{m:.4f} +- {s:.4f}" for m, s in zip(mean[:2], spread[:2], strict=True)]
        print(f"{name:24s}{cells[0]:>18s}{cells[1]:>18s}{mean[2]:10.2f}")
    ahead = sum(run["this package"][0] > run["differential evolution"][0] * (1 + 1e-9) for run in runs)
    behind = sum(run["this package"][0] < run["differential evolution"][0] * (1 - 1e-9) for run in runs)
    print(f"this package finds a higher Z in {ahead} of {len(runs)} seeds, differential evolution in {behind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", nargs="+", choices=["toy", "hmumu"], default=["toy", "hmumu"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--factor", type=float, default=1.0, help="time of the evolution over that of this package")
    arguments = parser.parse_args()
    if "toy" in arguments.problem:
        runs = [run_toy(seed, arguments.factor) for seed in range(arguments.seeds)]
        best = true_optimum(TOY.minimum_effective_background * BACKGROUND / 20_000)
        report(f"toy: {MEANS.size} variables, 40000 events; the best cuts have a true Z of {best:.4f}", runs, "true Z")
    if "hmumu" in arguments.problem:
        table = hmumu_table()
        runs = [run_hmumu(table, seed, arguments.factor) for seed in range(arguments.seeds)]
        report(
            f"hmumu: {len(HMUMU_CUTS.variables)} variables, {len(table)} events, {table.fold_count} folds",
            runs,
            "held-out Z",
        )


if __name__ == "__main__":
    main()
