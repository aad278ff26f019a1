"""One job: a method on a sample for all seeds, as rows of the results."""

import functools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyses.comparison.methods import OPTIMIZERS, losses
from analyses.comparison.networks import Parameters, choose_learning_rate, predictor, train_from, warm_start
from analyses.comparison.samples import load_case
from analyses.comparison.trees import GRID, LOSSES, choose_trees, grow_ensemble
from analyses.comparison.units import Case, Unit
from zsig_hep.errors import TrainingError
from zsig_hep.learning.training.settings import TreeSettings

LIMITS = "limits.json"

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A method on a sample.

    Attributes:
        sample: name of the sample.
        model: linear, mlp or trees.
        loss: name of the loss.
        optimizer: name of the optimiser; xgboost for trees.
    """

    sample: str
    model: str
    loss: str
    optimizer: str

    def row(self, seed: int) -> Row:
        """The keys of a result."""
        return {
            "sample": self.sample,
            "model": self.model,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "seed": seed,
        }


@dataclass(frozen=True)
class Options:
    """What all jobs share.

    Attributes:
        output: folder of the results.
        seeds: the seeds.
        ntuples: see `load_case`.
        epochs: see `load_case`.
        reduced: see `load_case`.
    """

    output: Path
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    ntuples: Path | None = None
    epochs: int | None = None
    reduced: bool = False


@functools.lru_cache(maxsize=2)
def prepared(sample: str, options: Options) -> tuple[Case, tuple[Unit, ...]]:
    """A sample with its units; kept between the jobs of a process."""
    case = load_case(sample, options.output, options.ntuples, options.epochs, reduced=options.reduced)
    return case, tuple(case.units(options.seeds))


@functools.lru_cache(maxsize=2)
def chosen_trees(sample: str, options: Options) -> TreeSettings:
    """Settings of boosted trees for a sample; kept between the jobs of a process."""
    _, units = prepared(sample, options)
    return choose_trees(units[0])


def warm_starts(sample: str, model: str, options: Options) -> list[Parameters]:
    """Parameters that every method on a sample and model starts from, per unit."""
    case, units = prepared(sample, options)
    return [warm_start(case, model, unit, options.output / "warm") for unit in units]


def run_job(job: Job, options: Options) -> list[Row]:
    """Train and judge a method for all seeds.

    Returns:
        One row per seed; with `error` where the method refused or diverged.
    """
    start = time.perf_counter()
    try:
        rows = _trees(job, options) if job.model == "trees" else _networks(job, options)
    except TrainingError as error:
        rows = [{"error": str(error)} for _ in options.seeds]
    seconds = round((time.perf_counter() - start) / len(options.seeds), 3)
    return [job.row(seed) | row | {"seconds": seconds} for seed, row in zip(options.seeds, rows, strict=True)]


def _networks(job: Job, options: Options) -> list[Row]:
    case, units = prepared(job.sample, options)
    loss, optimizer = losses(units[0].sample, units[0].goal)[job.loss], OPTIMIZERS[job.optimizer]
    warm = warm_starts(job.sample, job.model, options)
    learning_rate, first = choose_learning_rate(warm[0], case, job.model, units[0], loss, optimizer)
    rows: list[Row] = []
    for index, unit in enumerate(units):
        is_done = index == 0 and len(unit.seeds) == 1
        trained = first if is_done else train_from(warm[index], case, job.model, unit, loss, optimizer, learning_rate)
        numbers = {"learning_rate": learning_rate, "criterion": trained.criterion, "kept_epoch": trained.kept_epoch}
        rows += [judged | numbers for judged in case.judge(unit, predictor(trained.classifier))]
    return rows


def _trees(job: Job, options: Options) -> list[Row]:
    case, units = prepared(job.sample, options)
    settings = chosen_trees(job.sample, options)
    rows: list[Row] = []
    for unit in units:
        grown = grow_ensemble(unit, settings, losses(unit.sample, unit.goal)[job.loss])
        chosen = {name: getattr(settings, name) for name in GRID}
        rows += [judged | chosen for judged in case.judge(unit, grown)]
    return rows


def jobs_of(
    sample: str,
    options: Options,
    models: Sequence[str],
    optimizers: Sequence[str],
    wanted_losses: Sequence[str] | None = None,
) -> list[Job]:
    """All methods on a sample; with systematic uncertainties the networks are trained with Adam only."""
    case, units = prepared(sample, options)
    names = [name for name in losses(units[0].sample, units[0].goal) if wanted_losses is None or name in wanted_losses]
    jobs = []
    for model in models:
        if model == "trees":
            jobs += [Job(sample, "trees", loss, "xgboost") for loss in LOSSES if loss in names]
            continue
        chosen = [each for each in optimizers if each == "adam" or not case.has_uncertainties]
        jobs += [Job(sample, model, loss, optimizer) for optimizer in chosen for loss in names]
    return jobs


def store_limits(sample: str, options: Options) -> None:
    """Write the limits of a sample once."""
    path = options.output / f"{sample}-{LIMITS}"
    if not path.exists():
        case, _ = prepared(sample, options)
        path.write_text(json.dumps(case.limits()))
