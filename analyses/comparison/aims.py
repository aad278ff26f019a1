"""How close trainings that are tuned for a purpose come to the analytic limits of the toys.

    python -m analyses.comparison.aims

Three tables, each over five seeds, that is five independent data sets of 20 000 events per process and nothing else:

1. linear models, aimed at one signal efficiency after the other: the Z loss with the sigmoid error along a decreasing eps,
   of which the value is taken whose significance at that efficiency or above is the highest on the validation events
   (`relative_eps: auto`), beside the weighted cross entropy;
2. ensembles of five small networks, one per validation fold, with the weighted cross entropy, against the likelihood ratio;
3. the same ensembles with effective weights on the toys with uncertain backgrounds, against the fixed point.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from analyses.comparison.methods import OPTIMIZERS
from analyses.comparison.networks import predictor, train_from, warm_start
from analyses.comparison.samples import POINTS_PER_AXIS, TOYS, VALIDATION_SHARE, ToyCase
from analyses.comparison.units import EFFICIENCIES, Floats, Unit
from analyses.tables import Spread, table
from zsig_hep.learning import BCELossSettings, LossSettings, TrainingSettings, ZLossSettings
from zsig_hep.learning.classifier.calibration import signal_share_below
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.learning.training.members import Member
from zsig_hep.selection import WorkingPointSettings, training_goal

SEEDS = (1, 2, 3, 4, 5)

EPS_PATH = tuple(float(eps) for eps in np.geomspace(0.1, 2e-4, 14))

PHASE = {"epochs": 40, "batch_size": 256, "learning_rate": 3e-3, "optimizer": {"name": "adamw"}}

RECIPE = {"hidden": (16,), "warm_start": PHASE, "main": PHASE, "patience": 20, "device": "cpu"}


@dataclass(frozen=True)
class Size:
    """How much is trained.

    Attributes:
        seeds: of the data sets.
        events: of each process in a data set.
        epochs: of each phase, and of each value of eps.
    """

    seeds: Sequence[int] = SEEDS
    events: int = 20_000
    epochs: tuple[int, int] = (40, 15)


def linear_models(name: str, output: Path, size: Size) -> Iterator[tuple[str, Floats]]:
    """Z of linear models over that of the best linear cut at each efficiency, shape (seeds, efficiencies)."""
    epochs = size.epochs[0], size.epochs[1] * len(EPS_PATH)
    case = ToyCase(name, TOYS[name], size.events, epochs, batch_sizes=(256, 4096))
    (unit,) = case.units(size.seeds)
    warm = warm_start(case, "linear", unit, output / "warm-linear")
    limits = np.array([case.toy.best_linear_cut(efficiency).significance for efficiency in EFFICIENCIES])
    plain = train_from(warm, case, "linear", unit, BCELossSettings(), OPTIMIZERS["adam"], 1e-2)
    yield "weighted BCE", _at_efficiencies(case, predictor(plain.classifier)(_points(case))) / limits
    aimed = np.empty((len(size.seeds), len(EFFICIENCIES)))
    for column, efficiency in enumerate(EFFICIENCIES):
        # One entry: where the best cut of a tight working point leaves less than one validation event of a background,
        # requirements on the simulation could only choose another working point.
        goal = training_goal(
            WorkingPointSettings(
                figure_of_merit="s_over_sqrt_b",
                simulation_uncertainty_in_figure=False,
                minimum_signal_efficiency=efficiency,
                minimum_effective_background=1,
            )
        )
        at = Unit(unit.seeds, unit.sample, unit.members, goal)
        loss = ZLossSettings(error="sigmoid", relative_eps="auto", path=EPS_PATH)
        trained = train_from(warm, case, "linear", at, loss, OPTIMIZERS["adam"], 2e-2)
        outputs = predictor(trained.classifier)(_points(case))
        aimed[:, column] = _at_efficiencies(case, outputs)[:, column]
    yield "Z loss, aimed at each efficiency", aimed / limits


def ensembles(name: str, loss: LossSettings, size: Size) -> tuple[ToyCase, Floats]:
    """Scores of an ensemble per data set on the points of the quadrature, shape (seeds, points)."""
    case = ToyCase(name, TOYS[name], size.events)
    (unit,) = case.units(size.seeds)
    parts = np.arange(case.events * len(case.toy.processes)) % VALIDATION_SHARE
    count, members = len(parts), []
    for row, seed in enumerate(size.seeds):
        for part in range(VALIDATION_SHARE):
            training, validation = (np.flatnonzero(kept) + row * count for kept in (parts != part, parts == part))
            number = row * VALIDATION_SHARE + part
            members.append(Member(number, 100 * seed + part, training, validation))
    phase = PHASE | {"epochs": size.epochs[0]}
    settings = TrainingSettings.model_validate(RECIPE | {"warm_start": phase, "main": phase})
    classifier = EnsembleTraining(unit.sample, settings, loss, members, unit.goal).run()
    shares = signal_share_below(classifier.logits(_points(case)), classifier.quantiles)
    return case, shares.reshape(len(size.seeds), VALIDATION_SHARE, -1).mean(1)


def against_limit(name: str, size: Size) -> Floats:
    """Z of ensembles over that of the likelihood ratio at each efficiency, shape (seeds, efficiencies)."""
    case, scores = ensembles(name, BCELossSettings(), size)
    limits = case.toy.likelihood_ratio_curve(points_per_axis=POINTS_PER_AXIS).significance_at(EFFICIENCIES)
    return _at_efficiencies(case, scores) / limits


def uncertain_backgrounds(name: str, size: Size) -> Iterator[tuple[str, Floats]]:
    """Z at the best cut over that of the fixed point, shape (seeds, 1)."""
    for label, loss in {
        "weighted BCE": BCELossSettings(),
        "effective weights": EffectiveWeightsLossSettings(),
    }.items():
        case, scores = ensembles(name, loss, size)
        minimum = case.toy.minimum_signal_efficiency
        best = [case.toy.exact_curve(row, POINTS_PER_AXIS).best(minimum).significance for row in scores]
        yield label, np.array(best)[:, None] / case.toy.effective_weights_limit().significance


def _points(case: ToyCase) -> Floats:
    return case.toy.grid(POINTS_PER_AXIS).points.astype(np.float32)


def _at_efficiencies(case: ToyCase, outputs: Floats) -> Floats:
    return np.stack([case.toy.exact_curve(row, POINTS_PER_AXIS).significance_at(EFFICIENCIES) for row in outputs])


def _row(label: str, fractions: Floats) -> list[object]:
    return [label, *(Spread.of(column, 3) for column in fractions.T)]


def main(line: list[str] | None = None) -> None:
    """Train and print the three tables."""
    parser = argparse.ArgumentParser(prog="python -m analyses.comparison.aims")
    parser.add_argument("--output", type=Path, default=Path("output/comparison"), help="keeps the warm starts")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument(
        "--tables", nargs="+", choices=("linear", "limit", "uncertain"), default=["linear", "limit", "uncertain"]
    )
    parser.add_argument("--reduced", action="store_true", help="few events and epochs: to try the program out")
    arguments = parser.parse_args(line)
    size = Size(arguments.seeds, 500, (2, 1)) if arguments.reduced else Size(arguments.seeds)
    if "linear" in arguments.tables:
        rows = [
            _row(f"{TOYS[name].name}, {label}", fractions)
            for name in ("case_1", "case_2")
            for label, fractions in linear_models(name, arguments.output, size)
        ]
        print(table(["linear model / best linear cut, at signal efficiency", *EFFICIENCIES], rows) + "\n", flush=True)
    if "limit" in arguments.tables:
        rows = [_row(f"{TOYS[name].name}, weighted BCE", against_limit(name, size)) for name in ("case_1", "case_2")]
        print(table(["ensemble / likelihood ratio, at signal efficiency", *EFFICIENCIES], rows) + "\n", flush=True)
    if "uncertain" in arguments.tables:
        rows = [
            _row(f"{TOYS[name].name}, {label}", fractions)
            for name in ("overlap_100", "overlap_3000")
            for label, fractions in uncertain_backgrounds(name, size)
        ]
        print(table(["ensemble / fixed point", "best cut"], rows), flush=True)


if __name__ == "__main__":
    sys.exit(main())
