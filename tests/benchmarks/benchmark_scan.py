"""Seconds to scan every threshold at once against a loop over 200 thresholds, on the same events in the same run.

Run by name: `python tests/benchmarks/benchmark_scan.py`. Both give yields, variances and entries of every process, and
the significance with its uncertainty; the loop masks all events once per threshold, as is common practice.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, scan_thresholds
from zsig_hep.statistics import evaluate

PROCESSES = ("signal", "dy", "top", "diboson")
ROLES = ("signal", "background", "background", "background")
YIELDS = np.array([50.0, 1e5, 1e4, 1e3])
SETTINGS = WorkingPointSettings()


def make_events(count: int) -> ScoredEvents:
    rng = np.random.default_rng(1)
    process = rng.integers(0, len(PROCESSES), size=count, dtype=np.int32)
    score = 1 / (1 + np.exp(-rng.normal(2.0 * (process == 0) - 1.0)))
    sign = np.where(rng.random(count) < 0.05, -1.0, 1.0)
    weight = sign * (YIELDS / np.bincount(process))[process]
    return ScoredEvents.from_arrays(score.astype(np.float32), weight, process, names=PROCESSES, roles=ROLES)


def loop(events: ScoredEvents, thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    significances = []
    for threshold in thresholds:
        passing = events.score >= threshold
        w, of_process = events.weight[passing], events.process[passing]
        yields = np.bincount(of_process, weights=w, minlength=len(PROCESSES))
        variances = np.bincount(of_process, weights=w * w, minlength=len(PROCESSES))
        np.bincount(of_process, minlength=len(PROCESSES))
        z = evaluate(SETTINGS.figure_of_merit, yields[0], yields[1:].sum(), variances[0], variances[1:].sum())
        significances.append(float(z.value))
    return np.array(significances)


def median_seconds(function: Callable[[], object], repetitions: int) -> float:
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--thresholds", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    for count in arguments.events:
        events = make_events(count)
        thresholds = np.linspace(0.0, np.quantile(events.score, 0.999), arguments.thresholds)
        found = scan_thresholds(events, SETTINGS)
        index = np.searchsorted(found.threshold, thresholds)
        np.testing.assert_allclose(found.significance[index], loop(events, thresholds), rtol=1e-9)
        every = median_seconds(lambda events=events: scan_thresholds(events, SETTINGS), arguments.repetitions)
        looped = median_seconds(lambda events=events, at=thresholds: loop(events, at), arguments.repetitions)
        print(
            f"{count:>9} events: all {found.threshold.size} thresholds {every:.3f} s, loop over {thresholds.size} "
            f"{looped:.3f} s, ratio loop/scan {looped / every:.2f}, "
            f"per threshold {looped / thresholds.size / (every / found.threshold.size):.0f}"
        )


if __name__ == "__main__":
    main()
