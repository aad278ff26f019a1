"""What scores of the family reach on toys whose optimum is known, with networks trained on simulated events.

Run by name: `python tests/benchmarks/benchmark_family.py`. For every seed a classifier, the composition of the background
and the ratios of the variations are trained in folds; coefficients are chosen for each fold on the events of the others;
and the true yields of the score with the networks of the fold are integrated over the plane. Printed are the fractions of
the exact optimum, mean and standard deviation over the seeds, at the best cut of

* c = 1: the logit of the classifier, weighted cross entropy;
* family: coefficients chosen on smooth yields;
* best: the coefficients that are truly best with the same networks, which no choice can exceed.

The overlap toys are those of `analyses.toys`. In the toys with variations one background is moved by .3 along the first
axis (one variation), by .2 along the second too, and the other variations are ten times smaller and do not matter: 3 of 3
and 10 with 1 and 8 irrelevant ones.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from analyses.toys import OVERLAP_100, OVERLAP_3000, GaussianProcess, GaussianToy
from zsig_hep.learning import BCELossSettings, TrainingSettings, train
from zsig_hep.learning.ratios.calibrated_logits import CalibratedLogits
from zsig_hep.learning.ratios.train import TrainedRatios, train_ratios
from zsig_hep.learning.training.settings import MainSettings
from zsig_hep.learning.training.train import make_sample
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.variations import ShapeVariation, WeightVariation
from zsig_hep.selection.family.choose import RATIO_UNCERTAINTY, FamilyChoice, choose_coefficients
from zsig_hep.selection.family.problem import FamilyProblem, Requirements
from zsig_hep.selection.family.search import search_coefficients
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics import FigureOfMerit, Objective

FOLDS, POINTS = 3, 300
MOVED = GaussianToy(
    "moved background",
    1.0,
    (
        GaussianProcess("signal", (1.5, 1.5), 500.0, "signal"),
        GaussianProcess("background", (0.0, 0.0), 50_000.0),
    ),
    minimum_signal_efficiency=0.02,
)
Points = np.ndarray


@dataclass(frozen=True)
class Shift:
    """A variation that moves events, or that tilts their weights by exp(size x) along an axis."""

    moves: bool
    vector: tuple[float, float]

    def ratio(self, toy: GaussianToy, x: Points) -> np.ndarray:
        """Density of the varied over that of the nominal background."""
        background = ~toy.is_signal
        if not self.moves:
            return self.factor(x)
        weights = toy.yields[background]
        moved = weights @ toy.densities(x - np.array(self.vector))[background]
        return moved / (weights @ toy.densities(x)[background])

    def factor(self, x: Points) -> np.ndarray:
        return 1 + np.tanh(x) @ np.array(self.vector)


RELEVANT = {"move_1": Shift(True, (0.3, 0.0)), "move_2": Shift(True, (0.0, 0.2))}
IRRELEVANT = {f"move_{i}": Shift(True, (0.002 * np.cos(i), 0.002 * np.sin(i))) for i in range(3, 7)} | {
    f"tilt_{i}": Shift(False, (0.001 * np.cos(i), 0.001 * np.sin(i))) for i in range(1, 5)
}


def several(count: int) -> dict[str, Shift]:
    """One relevant variation, two and an irrelevant one, or two and eight."""
    relevant = dict(list(RELEVANT.items())[: 1 if count == 1 else 2])
    return relevant | dict(list(IRRELEVANT.items())[: count - len(relevant)])


@dataclass(frozen=True)
class Case:
    toy: GaussianToy
    objective: Objective
    requirements: Requirements
    shifts: Mapping[str, Shift]

    def smooth(self, ratios: LikelihoodRatios, points: Points, share: np.ndarray) -> SmoothYields:
        return SmoothYields.of_mixture(ratios, share, self.toy.yields, self.toy.process_table)

    def exact(self, points: Points) -> SmoothYields:
        """True yields at the points of a quadrature."""
        density = self.toy.densities(points)
        yields = self.toy.yields[:, None] * density
        signal, backgrounds = yields[self.toy.is_signal][0], yields[~self.toy.is_signal]
        totals = self.toy.yields[self.toy.is_signal].sum(), self.toy.yields[~self.toy.is_signal].sum()
        per_signal, per_background = signal / totals[0], backgrounds.sum(0) / totals[1]
        ratios = LikelihoodRatios.from_arrays(
            np.log(per_signal / per_background), (backgrounds / backgrounds.sum(0)).T,
            {name: shift.ratio(self.toy, points) for name, shift in self.shifts.items()},
            backgrounds=self.toy.process_table.backgrounds,
        )  # fmt: skip
        mixture = per_signal + per_background
        return self.smooth(ratios, points, mixture / mixture.sum())


def tables(case: Case, events: int, seed: int) -> tuple[EventTable, dict[str, EventTable]]:
    """Nominal events with their varied weights, and the moved ones with the same identity."""
    toy, drawn = case.toy, case.toy.draw(events, np.random.default_rng(seed))

    def table(features: Points) -> EventTable:
        return EventTable.from_arrays(
            {"x1": features[:, 0], "x2": features[:, 1]}, weight=drawn.weight,
            process=np.array(toy.process_names)[drawn.process], folds=FOLDS, fold_seed=seed,
            roles={process.name: process.role for process in toy.processes}, luminosity_ifb=1.0,
            identity=np.arange(len(drawn.weight)),
        )  # fmt: skip

    nominal, shapes, weights = table(drawn.features), {}, {}
    for name, shift in case.shifts.items():
        if shift.moves:
            shapes[f"{name}Up"] = table(drawn.features + np.array(shift.vector))
        else:
            factor = shift.factor(drawn.features)
            weights[name] = drawn.weight * np.stack([factor, 2 - factor])
    return replace(nominal, weight_variations=weights), shapes


@dataclass(frozen=True)
class Networks:
    logits: CalibratedLogits
    ratios: TrainedRatios

    def of_fold(self, features: Points, fold: np.ndarray, backgrounds: tuple[str, ...]) -> LikelihoodRatios:
        inputs = features.astype(np.float32)
        composition, variations = self.ratios.of(inputs, fold)
        return LikelihoodRatios.from_arrays(
            self.logits.out_of_fold(inputs, fold), composition, variations, backgrounds=backgrounds
        )


def trained(case: Case, table: EventTable, shapes: Mapping[str, EventTable], seed: int, seeds: int) -> Networks:
    settings = TrainingSettings(seed=seed, seeds=seeds, device="cpu", main=MainSettings(epochs=0))
    background = list(case.toy.process_table.backgrounds)
    variations = {
        name: ShapeVariation(kind="shape", one_sided=True, processes=background)
        if shift.moves
        else WeightVariation(kind="weight", function="weights.py:tilt", processes=background)
        for name, shift in case.shifts.items()
    }
    classifier = train(table, settings, loss=BCELossSettings())
    logits = CalibratedLogits.fit(classifier, make_sample(table, settings))
    return Networks(logits, train_ratios(table, settings, variations, shapes))


def as_array(choice: FamilyChoice, case: Case) -> np.ndarray:
    c, variations = choice.coefficients, choice.coefficients.variations.values()
    of_process = {**c.signals, **c.backgrounds}
    odd, even = ([pair[side] for pair in variations] for side in (0, 1))
    return np.array([*(of_process[name] for name in case.toy.process_names), *odd, *even])


def fractions(case: Case, events: int, seed: int, seeds: int) -> np.ndarray:
    """Truth of c = 1, of the family and of its best, mean over the folds; and the seconds of a choice."""
    table, shapes = tables(case, events, seed)
    networks = trained(case, table, shapes, seed, seeds)
    backgrounds = case.toy.process_table.backgrounds
    ratios = networks.of_fold(table.features, table.fold, backgrounds)
    points = case.toy.grid(POINTS).points
    exact = case.exact(points)
    found = []
    for fold in range(FOLDS):
        kept = table.fold != fold
        smooth = SmoothYields.of_events(
            ratios.select(kept), table.weight[kept] * FOLDS / (FOLDS - 1), table.process[kept].astype(np.int64),
            case.toy.process_table,
        )  # fmt: skip
        start = time.perf_counter()
        choice = choose_coefficients(smooth, case.objective, case.requirements, ratio_uncertainty=RATIO_UNCERTAINTY)
        seconds = time.perf_counter() - start
        of_networks = networks.of_fold(points, np.full(len(points), fold), backgrounds)
        # True yields, in the order that the networks of the fold give.
        truth = FamilyProblem(replace(exact, ratios=of_networks), case.objective, case.requirements)
        best = search_coefficients(truth).point.significance
        values = [truth.best_threshold(each).significance for each in (truth.neutral, as_array(choice, case))]
        found.append([*values, max(best, *values), seconds])
    return np.mean(found, axis=0)


def cases() -> dict[str, Case]:
    figure = FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY
    found = {}
    for toy in (OVERLAP_100, OVERLAP_3000):
        objective = Objective(figure, background_uncertainties=dict(toy.background_uncertainties))
        found[toy.name] = Case(toy, objective, Requirements(toy.minimum_signal_efficiency), {})
    for count in (1, 3, 10):
        name = f"moved, {count} variation{'s' if count > 1 else ''}"
        found[name] = Case(MOVED, Objective(figure), Requirements(0.02, background=5.0), several(count))
    return found


def main(events: int, seeds: int, ensemble: int, chosen: Callable[[str], bool]) -> None:
    torch.set_num_threads(1)
    print(f"{events} events of each process, {ensemble} network(s) a fold, {seeds} seeds")
    print(f"{'toy':<24}{'optimum':>8}{'c = 1':>16}{'family':>16}{'best':>16}{'seconds':>9}")
    for name, case in cases().items():
        if not chosen(name):
            continue
        exact = FamilyProblem(case.exact(case.toy.grid(2 * POINTS).points), case.objective, case.requirements)
        optimum = search_coefficients(exact).point.significance
        rows = np.array([fractions(case, events, seed, ensemble) for seed in range(1, seeds + 1)])
        shares = rows[:, :3] / optimum
        cells = [
            f"{mean:.3f} +- {spread:.3f}" for mean, spread in zip(shares.mean(0), shares.std(0, ddof=1), strict=True)
        ]
        print(
            f"{name:<24}{optimum:>8.3f}{''.join(f'{cell:>16}' for cell in cells)}{rows[:, 3].mean():>9.1f}", flush=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="simulated events of each process")
    parser.add_argument("--seeds", type=int, default=5, help="number of samples and trainings, at least 2")
    parser.add_argument("--ensemble", type=int, default=1, help="networks for each fold")
    parser.add_argument("--toy", default="", help="only toys whose name contains this")
    arguments = parser.parse_args()
    main(arguments.events, arguments.seeds, arguments.ensemble, lambda name: arguments.toy in name)
