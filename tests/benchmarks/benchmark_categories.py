"""Seconds to find the best 10 of 10 000 category edges, and what categories gain on held-out events.

Run by name: `python tests/benchmarks/benchmark_categories.py`. The baselines, on the same events in the same run:

* the same recursion without bounds, row by row over all intervals, on fewer candidates so that it ends (seconds per
  interval are compared);
* differential evolution of scipy over the k edges of all thresholds, with as many seconds as the exact search took: its Z.

With `--scores FILE` (npz with score, weight, process, fold, process_names, roles) the held-out significance of 1, 2, ...
categories is printed beside that of equal signal yield, with paired errors.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from benchmark_scan import make_events
from scipy.optimize import differential_evolution

from zsig_hep.selection import (
    CategorySettings,
    HeldOutCategories,
    ScoredEvents,
    ThresholdScan,
    WorkingPointSettings,
    choose_categories,
    hold_out_categories,
    scan_thresholds,
)
from zsig_hep.selection.categories.intervals import Intervals

SETTINGS = WorkingPointSettings()


def plain_recursion(intervals: Intervals, count: int) -> float:
    """The highest Z of `count` categories, one lower edge after the other."""
    edges = intervals.edge.size
    best = np.full((count + 1, edges + 1), -np.inf)
    best[0, edges] = 0.0
    for lower in range(edges - 1, -1, -1):
        upper = np.arange(lower + 1, edges + 1)
        best[1:, lower] = (intervals.squared_significance(np.array([lower]), upper) + best[:-1, upper]).max(axis=1)
    return float(np.sqrt(best[count, :-1][intervals.is_lowest].max()))


def evolution(scan: ThresholdScan, count: int, seconds: float) -> float:
    """The highest Z that differential evolution finds for `count` edges in a time."""
    intervals = Intervals.of_scan(scan, SETTINGS, scan.threshold.size)
    end = time.process_time() + seconds

    def loss(edges: np.ndarray) -> np.ndarray:
        lower = np.sort(np.searchsorted(intervals.edge, edges), axis=0)
        lower = np.minimum(lower, intervals.edge.size - 1)
        upper = np.concatenate([lower[1:], np.full((1, lower.shape[1]), intervals.edge.size)])
        # Equal edges make an empty interval, which is no category; a finite penalty keeps the population comparable.
        total = intervals.squared_significance(lower, upper).sum(axis=0)
        return np.where(np.isfinite(total) & intervals.is_lowest[lower[0]], -total, 1.0)

    found = differential_evolution(
        loss, [(float(scan.threshold[0]), float(scan.threshold[-1]))] * count, maxiter=10**6, popsize=15, tol=0, atol=0,
        vectorized=True, updating="deferred", polish=False, rng=1, callback=lambda *_: time.process_time() > end,
    )  # fmt: skip
    return float(np.sqrt(max(-found.fun, 0.0)))


def speed(events: int, candidates: list[int], count: int, plain_candidates: int) -> None:
    scan = scan_thresholds(make_events(events), SETTINGS)
    for number in candidates:
        start = time.process_time()
        found = choose_categories(scan, SETTINGS, CategorySettings(count=count, candidates=number))[-1]
        seconds = time.process_time() - start
        by_evolution = evolution(scan, count, seconds)
        print(
            f"{events:>8} events, {number:>6} candidates, k = {count}: {seconds:6.2f} s (CPU), Z {found.significance:.5f}; "
            f"differential evolution in the same time Z {by_evolution:.5f}"
        )
    intervals = Intervals.of_scan(scan, SETTINGS, plain_candidates)
    start = time.process_time()
    plain = plain_recursion(intervals, count)
    seconds = time.process_time() - start
    start = time.process_time()
    same = choose_categories(scan, SETTINGS, CategorySettings(count=count, candidates=plain_candidates))[-1]
    ours = time.process_time() - start
    np.testing.assert_allclose(same.significance, plain, rtol=1e-12)
    print(
        f"{events:>8} events, {plain_candidates:>6} candidates: row by row {seconds:.2f} s, here {ours:.2f} s, "
        f"ratio {seconds / ours:.1f}, same Z"
    )


def held_out_table(file: Path, count: int, candidates: int, minimum: float) -> HeldOutCategories:
    arrays = np.load(file)
    start = time.process_time()
    events = ScoredEvents.from_arrays(
        *(arrays[name] for name in ("score", "weight", "process")),
        names=arrays["process_names"].tolist(),
        roles=arrays["roles"].tolist(),
        fold=arrays["fold"],
        fold_count=int(arrays["fold"].max()) + 1,
    )
    found = hold_out_categories(
        events,
        WorkingPointSettings(minimum_effective_background=minimum),
        CategorySettings(count=count, candidates=candidates),
    )
    point = found.working_point
    print(
        f"{file.name}: {len(events)} events, {candidates} candidates, {time.process_time() - start:.1f} s (CPU); "
        f"single cut Z {point.significance:.4f} +- {point.significance_uncertainty:.4f}"
    )
    rows = zip(found.optima, found.equal_signal, found.over_equal_signal, found.over_single_cut, strict=True)
    for best, equal, over_equal, over_cut in rows:
        print(
            f"k = {best.count}: best {numbers(best)} (optimism {optimism(best)}), equal signal {numbers(equal)}", end=""
        )
        print(f"{'' if equal.within_limits else ' beyond limits'}; best - equal {difference(over_equal)}", end="")
        print(f", best - single cut {difference(over_cut)}")
    return found


def numbers(division) -> str:
    if division.status != "ok":
        return division.status
    return f"{division.significance:.4f} +- {division.significance_uncertainty:.4f}"


def optimism(division) -> str:
    return "-" if division.optimism is None else f"{division.optimism:+.4f}"


def difference(found) -> str:
    return "-" if found is None else f"{found.value:+.4f} +- {found.uncertainty:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--candidates", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--plain-candidates", type=int, default=2_000)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--held-out-count", type=int, default=5)
    parser.add_argument("--minimum", type=float, default=50.0, help="effective background entries per category")
    arguments = parser.parse_args()
    for events in arguments.events:
        speed(events, arguments.candidates, arguments.count, arguments.plain_candidates)
    if arguments.scores is not None:
        for candidates in arguments.candidates:
            held_out_table(arguments.scores, arguments.held_out_count, candidates, arguments.minimum)


if __name__ == "__main__":
    main()
