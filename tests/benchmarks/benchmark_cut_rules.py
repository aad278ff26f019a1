"""How good and how honest a cut is that is chosen on a finite simulation, by every rule that the settings offer.

Run by name: `python tests/benchmarks/benchmark_cut_rules.py`. In every case signal and backgrounds have Gaussian scores of
unit width, so that the true yields above every cut are known. Each pseudo-experiment simulates the given numbers of events,
chooses the cut on them, and reads off the true Asimov significance there. Printed are

* truth: the mean true significance at the chosen cuts, divided by that of the best possible cut;
* claim: the mean significance that the events claim that chose the cut, in the figure of merit of the rule, minus the
  mean truth;
* over: the share of the experiments that claim more than the truth by more than one.

The rule "smooth" chooses by smooth yields: every event counts for signal and background with the density ratio of a logit that
was fitted to the other half of the events.

The baseline is the rule "dominant": 10 effective entries of the whole background and of every process that makes more
than a tenth of it before the cut, with the yields taken as exact.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from zsig_hep.learning import LogitCalibration
from zsig_hep.selection import (
    LikelihoodRatios,
    ScoredEvents,
    WorkingPointSettings,
    choose_working_point,
    scan_thresholds,
)
from zsig_hep.selection.family.problem import FamilyProblem, Requirements
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.statistics import Objective, asimov

SIGNAL_EVENTS = 20_000


@dataclass(frozen=True)
class Process:
    """A process whose scores are Gaussian around one mean, but for a fraction of it around another."""

    total: float
    events: int
    mean: float
    fraction: float = 0.0
    other_mean: float = 0.0

    def scores(self, rng: np.random.Generator) -> np.ndarray:
        centre = np.where(rng.random(self.events) < self.fraction, self.other_mean, self.mean)
        return rng.normal(centre)

    def above(self, cut: np.ndarray) -> np.ndarray:
        """The true yield above each cut."""
        return self.total * (
            (1 - self.fraction) * ndtr(self.mean - cut) + self.fraction * ndtr(self.other_mean - cut)
        )  # fmt: skip


def signal(total: float, mean: float) -> Process:
    return Process(total, SIGNAL_EVENTS, mean)


def under_the_signal(fraction: float) -> tuple[Process, ...]:
    return signal(33, 4.0), Process(15_000, 660, 0.0, fraction, 4.0), Process(4300, 6000, 0.5)


CASES = {
    "A": (signal(50, 3.0), Process(20_000, 1000, -1.0), Process(2000, 20_000, 0.5)),
    "B": (signal(30, 3.0), Process(15_000, 700, 0.0), Process(4000, 6000, 0.3), Process(200, 700, 1.0)),
    "C": (signal(50, 2.5), Process(5000, 50_000, 0.0), Process(500, 20_000, 0.8)),
    "D": (signal(33, 4.0), Process(15_000, 660, 0.0), Process(400, 2000, 1.6), Process(4300, 6000, 0.5)),
    "E": (signal(50, 2.0), Process(5000, 500, 0.0), Process(500, 50, 0.5)),
    "F": under_the_signal(0.0005),
    "G": under_the_signal(0.002),
    "H": under_the_signal(0.01),
}
EXACT = {"simulation_uncertainty_in_figure": False, "minimum_effective_background": 10}
RULES = {
    "dominant": WorkingPointSettings(**EXACT, dominant_background_fraction=0.1),
    "total": WorkingPointSettings(**EXACT),
    "default": WorkingPointSettings(),
    "tail 5": WorkingPointSettings(tail_entries=5),
    "tail 20": WorkingPointSettings(tail_entries=20),
    "variance": WorkingPointSettings(tail_entries=0),
    "variance 2": WorkingPointSettings(tail_entries=0, minimum_effective_background=2),
}
COLUMNS = (*RULES, "smooth")


def truth(case: tuple[Process, ...], cut: np.ndarray) -> np.ndarray:
    """The true significance above each cut."""
    s, *b = (process.above(cut) for process in case)
    return asimov(s, np.sum(b, axis=0))


def simulate(case: tuple[Process, ...], rng: np.random.Generator) -> ScoredEvents:
    counts = [process.events for process in case]
    return ScoredEvents.from_arrays(
        np.concatenate([process.scores(rng) for process in case]),
        np.repeat([process.total / process.events for process in case], counts),
        np.repeat(np.arange(len(case)), counts),
        names=["signal", *(f"background {index}" for index in range(1, len(case)))],
        roles=["signal", *["background"] * (len(case) - 1)],
    )


def smooth_choice(events: ScoredEvents) -> tuple[float, float]:
    """The cut that smooth yields choose, and the significance that they claim."""
    is_signal = events.processes.is_signal[events.process]
    half = np.arange(len(events)) % 2 == 0
    logit = np.empty(len(events))
    for mine in (half, ~half):
        fitted = LogitCalibration.fit(events.score[~mine], events.weight[~mine], is_signal[~mine])
        logit[mine] = fitted(events.score[mine])
    # For a sum of backgrounds their shares do not matter.
    backgrounds = events.processes.backgrounds
    shares = np.full((len(events), len(backgrounds)), 1 / len(backgrounds))
    ratios = LikelihoodRatios.from_arrays(logit, shares, backgrounds=backgrounds)
    smooth = SmoothYields.of_events(ratios, events.weight, events.process, events.processes)
    problem = FamilyProblem(smooth, Objective(), Requirements(signal_efficiency=0.05))
    point = problem.best_threshold(problem.neutral)
    return (np.nan, 0.0) if point.last is None else (float(events.score[point.last]), point.significance)


def measure(case: tuple[Process, ...], experiments: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Truth and claim of each experiment by rule, shape [experiments, 2]; no significance without a cut."""
    found = {name: np.zeros((experiments, 2)) for name in COLUMNS}
    for index in range(experiments):
        events = simulate(case, rng)
        for name, settings in RULES.items():
            point = choose_working_point(scan_thresholds(events, settings), settings)
            if point.threshold is not None:
                found[name][index] = truth(case, np.array(point.threshold)), point.choosing_significance
        cut, claim = smooth_choice(events)
        found["smooth"][index] = truth(case, np.array(cut)), claim
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    arguments = parser.parse_args()
    start = time.process_time()
    print(f"truth / best (claim - truth; over), {arguments.experiments} experiments, seed {arguments.seed}")
    print(f"{'':4} {'best':>5}  " + "".join(f"{name:<22}" for name in COLUMNS))
    for name in arguments.cases:
        case = CASES[name]
        best = float(truth(case, np.linspace(-2, 8, 10_001)).max())
        # The seed of a case does not depend on the other cases.
        rng = np.random.default_rng([arguments.seed, ord(name)])
        columns = []
        for values in measure(case, arguments.experiments, rng).values():
            true, claim = values.T
            over = np.mean(claim - true > 1)
            columns.append(f"{true.mean() / best:.2f} ({(claim - true).mean():+.2f}; {over:4.0%})")
        print(f"{name:4} {best:5.2f}  " + "".join(f"{column:<22}" for column in columns), flush=True)
    print(f"{time.process_time() - start:.0f} s (CPU)")


if __name__ == "__main__":
    main()
