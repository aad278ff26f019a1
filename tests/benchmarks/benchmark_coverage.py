"""Coverage of the held-out significance and optimism of the choosing folds, over simulated samples of a toy.

Run by name: `python tests/benchmarks/benchmark_coverage.py`. A pseudo-experiment is a new simulated sample of finite size:
the number of events of each process is Poisson distributed, and each event has the weight yield / expected number.
Scores are normal, so that the yields above any cut are known. The true significance is that of the expected yields and
variances above the cuts which the pseudo-experiment chose, each applied to its share of the events: the mean over the
partitions for the quoted Z, and that of the exported cuts for the three errors at fixed cuts. An interval covers if it
holds it; nominal is 68.3 %.

The jackknife has K - 1 degrees of freedom, so that its interval is quoted in the quantile of Student's distribution too.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, held_out_uncertainties, hold_out_working_point
from zsig_hep.statistics import ProcessTable

PROCESSES = ProcessTable(("signal", "dy", "top"), ("signal", "background", "background"))
YIELDS = np.array([30.0, 3000.0, 300.0])
CENTRES = np.array([1.5, -0.5, 0.5])
NOMINAL = float(stats.norm.cdf(1) - stats.norm.cdf(-1))
SETTINGS = {
    "asimov": WorkingPointSettings(),
    "asimov_with_uncertainty": WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty", background_uncertainties={"top": 0.2, "dy": 0.03}
    ),
}


@dataclass(frozen=True)
class PseudoExperiment:
    """What one sample quotes, and the truth of its cuts."""

    true: float
    held_out: float
    quoted: float
    choosing: float
    optimism_uncertainty: float
    exported_true: float
    exported: float
    propagated: float
    bootstrap: float
    jackknife: float


def truth(thresholds: Sequence[float | None], events: int, settings: WorkingPointSettings) -> float:
    passing = stats.norm.sf(np.array(thresholds, dtype=np.float64)[:, None] - CENTRES).mean(axis=0)
    expected = YIELDS * passing
    return float(settings.objective.evaluate(expected, expected * 3 * YIELDS / events, PROCESSES).value)


def pseudo_experiment(
    events: int, folds: int, replicas: int, settings: WorkingPointSettings, rng: np.random.Generator
) -> PseudoExperiment | None:
    process = np.repeat(np.arange(3), rng.poisson(events / 3, size=3))
    score, weight = rng.normal(CENTRES[process]), (3 * YIELDS / events)[process]
    sample = ScoredEvents.from_arrays(
        score, weight, process, names=PROCESSES.names, roles=PROCESSES.roles,
        fold=rng.integers(0, folds, size=process.size), fold_count=folds,
    )  # fmt: skip
    point = hold_out_working_point(sample, settings)
    found = held_out_uncertainties(point, sample, settings.objective, rng, replicas=replicas)
    if found is None or found.jackknife is None:
        return None
    return PseudoExperiment(
        float(np.mean([truth(each.thresholds, events, settings) for each in point.partitions if each.significance])),
        point.significance,
        point.significance_uncertainty,
        point.choosing_significance,
        point.optimism_uncertainty,
        truth(point.thresholds, events, settings),
        point.exported_significance,
        found.propagated,
        found.bootstrap,
        found.jackknife,
    )


def coverage(hits: npt.NDArray[np.bool_]) -> str:
    rate = float(hits.mean())
    return f"{100 * rate:5.1f} +- {100 * np.sqrt(rate * (1 - rate) / hits.size):.1f} %"


def mean(values: npt.NDArray[np.float64]) -> str:
    return f"{values.mean():+.4f} +- {values.std(ddof=1) / np.sqrt(values.size):.4f}"


def report(name: str, folds: int, found: Sequence[PseudoExperiment], asked: int) -> None:
    columns = {
        key: np.array([getattr(each, key) for each in found]) for key in PseudoExperiment.__dataclass_fields__
    }  # fmt: skip
    difference = columns["held_out"] - columns["true"]
    print(
        f"{name}: {len(found)} of {asked} pseudo-experiments have a working point; true Z {columns['true'].mean():.3f}"
    )
    print(f"  held-out Z minus true Z   {mean(difference)}, scatter {difference.std(ddof=1):.4f}")
    print(f"  choosing Z minus true Z   {mean(columns['choosing'] - columns['true'])}")
    optimism = columns["choosing"] - columns["held_out"]
    print(
        f"  quoted optimism           {mean(optimism)}, scatter {optimism.std(ddof=1):.4f}, quoted error "
        f"{columns['optimism_uncertainty'].mean():.4f}"
    )
    print(f"  coverage, nominal {100 * NOMINAL:.1f} %       mean quoted uncertainty")
    student = float(stats.t.ppf((1 + NOMINAL) / 2, folds - 1))
    hits = np.abs(difference) <= columns["quoted"]
    print(f"  {'quoted':<17} {coverage(hits)}     {columns['quoted'].mean():.4f}")
    difference = columns["exported"] - columns["exported_true"]
    rows = [("propagated", 1.0), ("bootstrap", 1.0), ("jackknife", 1.0), ("jackknife", student)]
    for key, factor in rows:
        label = key if factor == 1 else f"{key} x {factor:.2f}"
        hits = np.abs(difference) <= factor * columns[key]
        print(f"  {label:<17} {coverage(hits)}     {factor * columns[key].mean():.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument("--events", type=int, default=6000, help="expected simulated events of all processes")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--figures", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    arguments = parser.parse_args()
    for name in arguments.figures:
        rng, start = np.random.default_rng(1), time.perf_counter()
        found = [
            pseudo_experiment(arguments.events, arguments.folds, arguments.replicas, SETTINGS[name], rng)
            for _ in range(arguments.experiments)
        ]
        report(name, arguments.folds, [each for each in found if each is not None], arguments.experiments)
        print(f"  {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
