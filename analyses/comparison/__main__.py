"""Command line of the comparison."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Before torch is imported: threads of several processes that spin while they wait starve each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from analyses.comparison.methods import LABELS, OPTIMIZERS
from analyses.comparison.runs import LIMITS, Job, Options, Row, jobs_of, run_job, store_limits, warm_starts
from analyses.comparison.samples import SAMPLES
from analyses.comparison.tables import all_tables
from analyses.comparison.workers import limit_threads, mapped

_LOG = logging.getLogger(__name__)

RESULTS = "results.jsonl"


def read_rows(output: Path) -> list[Row]:
    """Finished results; a line cut short by an interruption does not count."""
    path = output / RESULTS
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            _LOG.warning("left out an unfinished line of %s", path)
    return rows


def is_done(job: Job, options: Options, rows: list[Row]) -> bool:
    """Whether every seed of a job has its result."""
    return all(any(job.row(seed).items() <= row.items() for row in rows) for seed in options.seeds)


def _require_same_options(options: Options) -> None:
    """Refuse a folder whose warm starts and results were made with other options."""
    path = options.output / "options.json"
    now = {"reduced": options.reduced, "epochs": options.epochs, "ntuples": options.ntuples and str(options.ntuples)}
    if path.exists() and json.loads(path.read_text()) != now:
        sys.exit(
            f"comparison: {options.output} holds results with other options ({path.read_text()}); choose another --output"
        )
    path.write_text(json.dumps(now))


def run(options: Options, samples: list[str], workers: int, list_jobs: Callable[[str], list[Job]]) -> None:
    """Do what is not done: warm starts, then methods, those of the first optimiser first."""
    options.output.mkdir(parents=True, exist_ok=True)
    _require_same_options(options)
    rows = read_rows(options.output)
    jobs = [job for sample in samples for job in list_jobs(sample) if not is_done(job, options, rows)]
    jobs.sort(key=lambda job: ["adam", "xgboost", "radam", "eve", "sgd"].index(job.optimizer))
    models = dict.fromkeys((job.sample, job.model, options) for job in jobs if job.model != "trees")
    started = time.monotonic()
    for _ in mapped(warm_starts, models, workers):
        pass
    for _ in mapped(store_limits, [(sample, options) for sample in samples], workers):
        pass
    print(f"{len(models)} warm starts, {time.monotonic() - started:.0f} s; {len(jobs)} methods", file=sys.stderr)
    for number, done in enumerate(mapped(run_job, [(job, options) for job in jobs], workers), start=1):
        with (options.output / RESULTS).open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in done)
        for row in done[:1]:
            name = " ".join(str(row[key]) for key in ("sample", "model", "loss", "optimizer"))
            found = row.get("error", f"working point {row.get('working_point')}, {row['seconds'] * len(done):.1f} s")
            elapsed = time.monotonic() - started
            print(f"{elapsed:5.0f} s {number}/{len(jobs)} {name}: {found}", file=sys.stderr, flush=True)


def arguments_of(line: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m analyses.comparison")
    parser.add_argument("--output", type=Path, default=Path("output/comparison"))
    parser.add_argument("--samples", nargs="+", choices=SAMPLES, default=list(SAMPLES))
    parser.add_argument("--models", nargs="+", choices=("mlp", "linear", "trees"), default=["mlp", "linear", "trees"])
    parser.add_argument("--losses", nargs="+", choices=tuple(LABELS), help="all that make sense by default")
    parser.add_argument("--optimizers", nargs="+", choices=tuple(OPTIMIZERS), default=list(OPTIMIZERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, help="of the main phase")
    parser.add_argument("--ntuples", type=Path, help="folder that holds hmumu and leptoquark, for larger samples")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--reduced", action="store_true", help="few events and epochs: to try the program out")
    parser.add_argument("--list", action="store_true", help="only count what is to be done")
    parser.add_argument("--tables", action="store_true", help="only print what is there")
    return parser.parse_args(line)


def main(line: list[str] | None = None) -> None:
    """Read the command line, run, print the tables."""
    arguments = arguments_of(line)
    options = Options(arguments.output, tuple(arguments.seeds), arguments.ntuples, arguments.epochs, arguments.reduced)
    list_jobs = partial(
        jobs_of,
        options=options,
        models=arguments.models,
        optimizers=arguments.optimizers,
        wanted_losses=arguments.losses,
    )
    if arguments.list:
        for sample in arguments.samples:
            print(sample, len(list_jobs(sample)))
        return
    if not arguments.tables:
        limit_threads()
        run(options, arguments.samples, arguments.workers, list_jobs)
    limits = {
        sample: json.loads(path.read_text())
        for sample in SAMPLES
        if (path := arguments.output / f"{sample}-{LIMITS}").exists()
    }
    print(all_tables(read_rows(arguments.output), limits))


if __name__ == "__main__":
    main()
