"""Many files at once: the processes of an analysis, in numbers scaled from the committed samples.

Every file is made by a process of its own, so that a crash costs one file and the memory comes back. Running the same
command again makes what is missing, and a larger scale tops up what is there.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

from .errors import GeneratorError
from .files import Metadata, SampleFiles, read_samples
from .options import GenerationOptions
from .processes import HMUMU_PROCESSES, LEPTOQUARK_PROCESSES, PROCESSES, Process

DATA_SAMPLES = Path(__file__).resolve().parent.parent
SEED_STRIDE = 3
"""A sample draws from three streams of random numbers, numbered from its seed on."""

FIRST_SEED = 1001
EVENTS_PER_FILE = 10_000
POLL_S = 0.2


@dataclass(frozen=True)
class SampleSet:
    """The samples of one analysis.

    Attributes:
        name: also the folder of the committed files.
        processes: by name.
        options: as for the committed files.
    """

    name: str
    processes: Mapping[str, Process]
    options: GenerationOptions

    def committed(self) -> list[Metadata]:
        """Read the metadata of the committed files, which set the numbers of events and the expected time."""
        return read_samples(DATA_SAMPLES / self.name)


SETS = {
    "hmumu": SampleSet("hmumu", HMUMU_PROCESSES, GenerationOptions(mpi=False, slim=True, compression="lzma")),
    "leptoquark": SampleSet(
        "leptoquark",
        LEPTOQUARK_PROCESSES,
        GenerationOptions(mpi=False, slim=True, keep_binvar=True, compression="lzma"),
    ),
}


def set_named(name: str) -> SampleSet:
    """Look a set up.

    Raises:
        GeneratorError: no set has this name.
    """
    if name in SETS:
        return SETS[name]
    close = get_close_matches(name, SETS, n=1)
    remedy = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(SETS)}."
    message = f"unknown set {name!r}. {remedy}"
    raise GeneratorError(message)


@dataclass(frozen=True)
class Job:
    """One file to be made.

    Attributes:
        process: its name.
        stored_events: to pass the skim.
        seed: of this file alone.
        expected_cpu_s: from the committed file's metadata.
    """

    process: str
    stored_events: int
    seed: int
    expected_cpu_s: float


def scaled_events(committed: Iterable[Metadata], scale: float) -> dict[str, int]:
    """Multiply the committed number of events of each process, rounded up.

    Raises:
        GeneratorError: the scale is not positive and finite.

    Example:
        >>> scaled_events([{"process": "wz", "entries": 10}, {"process": "wz", "entries": 5}], scale=2)
        {'wz': 30}
    """
    if not (scale > 0 and math.isfinite(scale)):
        message = f"the scale cannot be {scale}; valid: a positive number, 1 for as many events as the committed files"
        raise GeneratorError(message)
    entries: dict[str, int] = {}
    for sample in committed:
        entries[sample["process"]] = entries.get(sample["process"], 0) + sample["entries"]
    return {process: math.ceil(scale * number) for process, number in entries.items()}


def plan_jobs(
    wanted: Mapping[str, int],
    existing: Sequence[Metadata],
    committed: Sequence[Metadata],
    *,
    events_per_file: int = EVENTS_PER_FILE,
    first_seed: int = FIRST_SEED,
) -> list[Job]:
    """List the files that are missing, the longest first, so that the cores end together.

    A seed belongs to a process and a place in its sequence of files and to nothing else: a killed run, taken up again,
    makes the very files that it would have made. Seeds of existing and committed files are not used again.

    Args:
        wanted: number of events per process.
        existing: metadata of the files that are there.
        committed: metadata of the committed files.
        events_per_file: largest number of events in a file.
        first_seed: of the first process's first file.
    """
    seconds_per_event = _seconds_per_event(committed)
    jobs = []
    for place, (process, events) in enumerate(wanted.items()):
        taken = {sample["seed"] for sample in (*existing, *committed) if sample["process"] == process}
        missing = events - sum(sample["entries"] for sample in existing if sample["process"] == process)
        seed = first_seed + SEED_STRIDE * place
        while missing > 0:
            if seed not in taken:
                number = min(missing, events_per_file)
                jobs.append(Job(process, number, seed, number * seconds_per_event.get(process, 0.0)))
                missing -= number
            seed += SEED_STRIDE * len(wanted)
    return sorted(jobs, key=lambda job: -job.expected_cpu_s)


def _seconds_per_event(committed: Iterable[Metadata]) -> dict[str, float]:
    return {sample["process"]: sample["cpu_s"] / sample["entries"] for sample in committed}


def check_compatible(existing: Iterable[Metadata], sample_set: SampleSet) -> None:
    """Refuse to mix samples that were simulated in different ways: one cross section would not describe them.

    Raises:
        GeneratorError: an existing file has other settings than the set.
    """
    for sample in existing:
        process = PROCESSES.get(sample["process"])
        if process is None or sample["process"] not in sample_set.processes:
            continue
        same = (
            sample["mpi"] == sample_set.options.mpi
            and sample["negative_weight_fraction"] == process.negative_weight_fraction
            and set(process.settings) <= set(sample["settings"])
        )
        if not same:
            message = (
                f"{sample['file']} in the output folder was simulated with other settings than the set "
                f"{sample_set.name}. Choose another folder with --out."
            )
            raise GeneratorError(message)


def arguments(job: Job, folder: Path, options: GenerationOptions) -> list[str]:
    """Write a job as the command line of one file."""
    words = ["--process", job.process, "--nstore", str(job.stored_events), "--seed", str(job.seed)]
    words += ["--out", str(folder), "--comp", options.compression, "--bits", str(options.mantissa_bits)]
    flags = {"--no-mpi": not options.mpi, "--slim": options.slim, "--keep-binvar": options.keep_binvar}
    return words + [flag for flag, wanted in flags.items() if wanted]


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    command: Callable[[Job], list[str]],
    *,
    cores: int,
    report: Callable[[str], None],
) -> None:
    """Run jobs, so many at a time, and wait for them.

    After a failure no further job starts, those that run are waited for, and what is finished stays. When this is
    interrupted the running jobs are ended.

    Args:
        jobs: in the order in which they start.
        folder: of the files, for the messages.
        command: the words that make a job's file.
        cores: how many run side by side.
        report: takes one line for each file.

    Raises:
        GeneratorError: a job failed; the message carries what it said.
    """
    waiting, running, failures = list(jobs), list[_Running](), list[str]()
    finished = 0
    try:
        while running or (waiting and not failures):
            while waiting and not failures and len(running) < cores:
                running.append(_Running.start(waiting[0], command(waiting.pop(0))))
            time.sleep(POLL_S)
            for child in [child for child in running if child.process.poll() is not None]:
                running.remove(child)
                last_words = child.close()
                file = SampleFiles.of(folder, child.job.process, child.job.seed).root
                if child.process.returncode == 0:
                    finished += 1
                    report(f"[{finished}/{len(jobs)}] {file}: {child.job.stored_events} events in {child.age_s:.0f} s")
                else:
                    failures.append(f"{file.name} (status {child.process.returncode}): {last_words}")
    finally:
        for child in running:
            child.process.terminate()
        for child in running:
            child.process.wait()
            child.close()
    if failures:
        message = "\n".join([*failures, f"{finished} of {len(jobs)} files were made and stay; run again to go on."])
        raise GeneratorError(message)


@dataclass
class _Running:
    """A job under way; its errors go to a temporary file, which never fills up as a pipe does."""

    job: Job
    process: "subprocess.Popen[bytes]"
    errors: IO[Any]
    started: float

    @classmethod
    def start(cls, job: Job, words: list[str]) -> "_Running":
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors, env=one_thread)
        return cls(job, process, errors, time.monotonic())

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.started

    def close(self) -> str:
        """Give the file of errors back, and return the end of what the job said in it."""
        with self.errors:
            self.errors.seek(0)
            return self.errors.read().decode(errors="replace").strip()[-2000:] or "no message"


def generator_command(script: Path, folder: Path, options: GenerationOptions) -> Callable[[Job], list[str]]:
    """Make each job's file with the same Python and script."""
    return lambda job: [sys.executable, str(script), *arguments(job, folder, options)]
