"""Runs that are killed at random moments or at file operations, disks that fill up, and pairs of runs in one folder.

Run by name: `OMP_NUM_THREADS=1 python -m tests.benchmarks.fuzz_runs --trials 50 --pairs 20 --seed 1`. After every blow the
run is repeated, and its selection must be that of an undisturbed run. The table counts outcomes:

right: the run ended well, or by its signal, and its repetition finds the same numbers;
clear error: one message and status 1, and the repetition finds the same numbers;
silent: other numbers, files that are left over, or a wrong exit status;
traceback: Python's, from any of the runs.

Linux only: trials are forked from one process, which saves the imports.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import zsig_hep.pipeline.stages  # noqa: F401 (imported once, before trials are forked)
from tests.conftest import COLUMNS, SmallSearch, write_events
from zsig_hep.cli import main as zsig

OPERATIONS = ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "open", "chmod")
ENDINGS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Trial:
    """A command in a forked process, with its messages in files."""

    def __init__(self, arguments: list[str], folder: Path, sabotage: Callable[[], None] = lambda: None) -> None:
        self.out, self.err = folder / f"{time.monotonic_ns()}.out", folder / f"{time.monotonic_ns()}.err"
        self.process = os.fork()
        if self.process == 0:
            self._be_the_command(arguments, sabotage)

    def _be_the_command(self, arguments: list[str], sabotage: Callable[[], None]) -> None:
        status: Any = 70
        try:
            for path, number in ((self.out, 1), (self.err, 2)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
            sabotage()
            zsig(arguments)
        except SystemExit as ending:
            status = ending.code or 0
        finally:
            if error := sys.exception():
                sys.excepthook(type(error), error, error.__traceback__)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)

    def wait(self) -> int:
        """Exit status, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    @property
    def has_traceback(self) -> bool:
        return "Traceback" in self.err.read_text()


def kill_at(number: int) -> None:
    """End the process without any cleaning up at the file operation of this number."""
    _count(number, lambda: os.kill(os.getpid(), signal.SIGKILL))


def fill_disk_at(number: int) -> None:
    """Let this file operation, and all after it that need space, fail."""

    def fail() -> None:
        raise OSError(28, "No space left on device")

    _count(number, fail)


def _count(number: int, blow: Callable[[], None]) -> None:
    seen = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                blow()
            return operation(*arguments, **options)

        return call

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))


class Runs:
    """Trials on a small search in a temporary folder."""

    def __init__(self, folder: Path, generator: random.Random) -> None:
        self.folder, self.generator = folder, generator
        self.outcomes: dict[str, Counter[str]] = {}
        self.search = SmallSearch(folder / "search")
        self.search.folder.mkdir()
        for seed, (name, events, centre) in enumerate([("signal", 700, 1.0), ("dy", 900, -0.3), ("top", 500, -0.8)]):
            write_events(self.search.folder / f"{name}.root", events, centre, seed)
        (self.search.folder / "columns.py").write_text(COLUMNS)
        (self.search.folder / "helpers.py").write_text("MAXIMUM = 3.0\n")
        self.files = [
            self.search.write(f"{luminosity:g}.yaml", luminosity_ifb=luminosity, training={"baseline": False})
            for luminosity in (100.0, 300.0)
        ]
        begin = time.monotonic()
        self.references = [self._undisturbed(file) for file in self.files]
        self.seconds = (time.monotonic() - begin) / 2

    def _undisturbed(self, file: Path) -> Any:
        output = self.folder / "undisturbed"
        trial = Trial(self._command(file, output), self.folder)
        if trial.wait():
            sys.exit(trial.err.read_text())
        shutil.rmtree(output)
        return json.loads(trial.out.read_text())["classifiers"]

    @staticmethod
    def _command(file: Path, output: Path) -> list[str]:
        return ["scan", str(file), "--output", str(output), "--json"]

    def killed(self, number: signal.Signals) -> None:
        """Send a signal at a random moment."""
        output = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
        trial = Trial(self._command(self.files[0], output), self.folder)
        time.sleep(self.generator.uniform(0, 1.2 * self.seconds))
        os.kill(trial.process, number)
        self._judge(f"{number.name} at a random moment", trial, output, {0, ENDINGS[number]})

    def at_an_operation(self, kind: str, sabotage: Callable[[int], None], statuses: set[int]) -> None:
        """Strike at a random file operation."""
        output = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
        number = int(self.generator.uniform(1, 160))
        trial = Trial(self._command(self.files[0], output), self.folder, lambda: sabotage(number))
        self._judge(kind, trial, output, statuses)

    def pair(self) -> None:
        """Two runs with other settings in one folder; each must print its own numbers."""
        output = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
        first = Trial(self._command(self.files[0], output), self.folder)
        time.sleep(self.generator.uniform(0, self.seconds))
        second = Trial(self._command(self.files[1], output), self.folder)
        statuses = [first.wait(), second.wait()]
        if first.has_traceback or second.has_traceback:
            self._add("pairs of runs", "traceback", first)
            return
        found = [json.loads(trial.out.read_text() or "{}").get("classifiers") for trial in (first, second)]
        self._add("pairs of runs", "right" if statuses == [0, 0] and found == self.references else "silent", second)

    def _judge(self, kind: str, trial: Trial, output: Path, statuses: set[int]) -> None:
        status = trial.wait()
        again = Trial(self._command(self.files[0], output), self.folder)
        ended = again.wait()
        if trial.has_traceback or again.has_traceback:
            self._add(kind, "traceback", trial if trial.has_traceback else again)
            return
        left = [path for path in output.rglob(".zsig-*") if path.name != ".zsig-lock"] + [*output.rglob("kept-from-*")]
        same = ended == 0 and json.loads(again.out.read_text())["classifiers"] == self.references[0]
        if status not in statuses or left or not same:
            self._add(kind, "silent", again if ended else trial)
        else:
            self._add(kind, "clear error" if status == 1 else "right", trial)

    def _add(self, kind: str, outcome: str, trial: Trial) -> None:
        self.outcomes.setdefault(kind, Counter())[outcome] += 1
        if outcome in {"silent", "traceback"}:
            sys.stderr.write(f"--- {kind}: {outcome}\n{trial.err.read_text()}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="of each kind of blow")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), random.Random(options.seed))
        for _ in range(options.trials):
            for number in ENDINGS:
                runs.killed(number)
            runs.at_an_operation("killed at a file operation", kill_at, {0, -signal.SIGKILL})
            runs.at_an_operation("disk full at a file operation", fill_disk_at, {0, 1})
        for _ in range(options.pairs):
            runs.pair()
    kinds = ("right", "clear error", "silent", "traceback")
    sys.stdout.write(f"{'':32}" + "".join(f"{kind:>13}" for kind in kinds) + "\n")
    for kind, outcome in runs.outcomes.items():
        sys.stdout.write(f"{kind:32}" + "".join(f"{outcome[each]:13}" for each in kinds) + "\n")


if __name__ == "__main__":
    main()
