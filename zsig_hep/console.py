"""Output of the command line on the standard error: yields, working points, progress and errors."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO, cast

from zsig_hep.errors import ZsigError, first_line
from zsig_hep.interruption import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from zsig_hep.analysis import Analysis
    from zsig_hep.pipeline.stages import TrainingProgress
    from zsig_hep.scoring import FriendResult


class _Messages:
    """The standard error, whose failure does not end a run: what cannot be written is dropped."""

    def write(self, text: str) -> int:
        self._attempt(lambda: sys.stderr.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(sys.stderr.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    @staticmethod
    def _attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:
            # Nobody reads any more, as behind `| head`: end as other programs do.
            _silence(sys.stderr)
            sys.exit(1)
        except OSError:
            _silence(sys.stderr)


def open_console(*, quiet: bool) -> "Console":
    """A console on the standard error, where warnings are written too; the standard output is for results."""
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(file=cast("IO[str]", _Messages()), quiet=quiet, highlight=False)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    return console


def announce(console: "Console") -> Callable[[str], None]:
    """A function that prints one line of plain text."""
    return lambda line: console.print(line, markup=False, soft_wrap=True)


@contextmanager
def errors_as_status(console: "Console") -> Iterator[None]:
    """Turn errors of the package into one message and exit status 1, and signals into 128 plus their number.

    Other errors are bugs and keep their traceback.
    """

    def end(message: str, status: int) -> NoReturn:
        console.quiet = False
        console.print(f"zsig: {message}", style="bold red", markup=False, soft_wrap=True)
        sys.exit(status)

    try:
        with interruptible():
            yield
    except ZsigError as error:
        end(str(error), 1)
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        end(f"{how}; run again to go on from here", 128 + number)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        end(
            f"out of memory ({first_line(error)}): use a smaller chunk_size or batch_size, fewer seeds, or a machine "
            "with more memory",
            1,
        )


def _is_out_of_memory(error: Exception) -> bool:
    # torch raises a RuntimeError on the CPU, and on a GPU one of its own that is a RuntimeError too.
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("can't allocate memory", "not enough memory", "out of memory")
    )


@contextmanager
def results_may_not_fit() -> Iterator[None]:
    """End with status 1 and one line if the standard output cannot be written to, as on a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
            raise
        _silence(sys.stdout)
        with suppress(OSError):
            sys.stderr.write(f"zsig: cannot write to the standard output: {error.strerror}\n")
        sys.exit(1)


def _silence(stream: TextIO) -> None:
    """Let what a stream still holds, which Python writes at the end of the program, go nowhere."""
    with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def training_progress(console: "Console") -> Iterator["TrainingProgress"]:
    """A progress bar per phase of a training on a terminal; lines for its first and last step otherwise.

    A step is an epoch of all networks, or a forest of boosted trees.
    """
    if not console.is_terminal:

        def line(label: str, phase: str, step: int, steps: int, loss: float) -> None:
            if step in {1, steps}:
                text = f"  {_phase(label, phase)}, step {step} of {steps}: validation loss {loss:.4f}"
                console.print(text, markup=False, soft_wrap=True)

        yield line
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    name, value = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[loss]}"))
    columns = (name, BarColumn(), value, TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[tuple[str, str], Any] = {}

        def update(label: str, phase: str, step: int, steps: int, loss: float) -> None:
            key = (label, phase)
            if key not in tasks:
                tasks[key] = bars.add_task(_phase(label, phase), total=steps, loss="")
            bars.update(tasks[key], completed=step, loss=f"validation loss {loss:.4f}")

        yield update


def _phase(label: str, phase: str) -> str:
    return label if label == phase else f"{label}, {phase}"


def print_cuts(console: "Console", summary: Any) -> None:
    """Print the rectangular cuts as lines that can be copied, and their held-out significance."""
    show, held_out, chosen = announce(console), summary["held_out"], summary["chosen"]
    if chosen["status"] != "ok":
        show(f"cuts: none: {chosen['reason']}")
        return
    box = chosen["box"]
    show(f"cuts, Python:      {box['python']}")
    if box["tree_draw"] is not None:
        show(f"cuts, TTree::Draw: {box['tree_draw']}")
    if box["open_variables"]:
        show(f"no cut on {', '.join(box['open_variables'])}: none gains enough")
    if held_out["status"] != "ok":
        show(f"cuts: no held-out significance: {held_out['reason']}")
        return
    show(
        f"cuts: held-out Z = {held_out['significance']:.3f} +- {held_out['significance_uncertainty']:.3f} "
        f"(signal efficiency {held_out['signal_efficiency']:.3f}); {held_out['optimism']:+.3f} on the events that chose "
        "the cuts"
    )


def print_friend(console: "Console", friend: "FriendResult") -> None:
    """Print the entries of one friend tree."""
    passed = "" if friend.passed is None else f", {friend.passed} pass the cut"
    scored = "networks that were not trained on them" if friend.out_of_fold else "the whole ensemble"
    line = f"{friend.path}: {friend.entries} entries, {friend.selected} selected{passed}; scored by {scored}"
    announce(console)(line)


def print_yields(console: "Console", analysis: "Analysis", summary: Any) -> None:
    """Print the yields before the cut, and the notes."""
    from rich.table import Table
    from rich.text import Text

    from zsig_hep.presentation.rounding import round_to_uncertainty

    title = Text(f"{analysis.title}: yields at {analysis.luminosity_ifb:g}/fb")
    table = Table(title=title, title_justify="left")
    for heading in ("process", "role"):
        table.add_column(heading)
    for heading in ("entries", "effective", "yield", "stat. error"):
        table.add_column(heading, justify="right")
    for row in summary["processes"]:
        numbers = (
            f"{row['entries']}",
            f"{row['effective_entries']:.0f}",
            *round_to_uncertainty(row["yield"], row["uncertainty"]),
        )
        table.add_row(Text(row["name"]), row["role"], *numbers)
    console.print(table)
    for note in summary["notes"]:
        announce(console)(f"note: {note}")


def print_working_points(console: "Console", summary: Any) -> None:
    """Print the held-out working point of every classifier, and their difference."""
    show = announce(console)
    for classifier in summary["classifiers"]:
        point = classifier["working_point"]
        if point["status"] != "ok":
            show(f"{classifier['label']}: no working point: {point['reason']}")
            continue
        yields = (
            f"s = {point['signal']['yield']:.1f}, b = {point['background']['yield']:.1f} +- "
            f"{point['background']['uncertainty']:.1f}, signal efficiency {point['signal_efficiency']:.3f}"
        )
        partitions = len(point["partitions"])
        of_cuts = f" ({yields})"
        if partitions > 1:
            of_cuts = (
                f" over {partitions} partitions; exported cuts: Z = {point['exported_significance']:.3f}, {yields}"
            )
        show(
            f"{classifier['label']}: held-out Z = {point['significance']:.3f} +- {point['significance_uncertainty']:.3f}"
            f"{of_cuts}; {point['optimism']:+.3f} +- "
            f"{point['optimism_uncertainty']:.3f} on the events that chose the cut"
        )
    for comparison in summary["comparison"]:
        _print_comparison(show, comparison, {each["name"]: each["label"] for each in summary["classifiers"]})


def _print_comparison(show: Callable[[str], None], comparison: Any, labels: Mapping[str, str]) -> None:
    """Print the differences of two classifiers with the parts of their errors."""
    from zsig_hep.presentation.wording import QUANTITY_NAMES, verdict

    show(f"{labels[comparison['first']]} - {labels[comparison['second']]}:")
    for each in comparison["quantities"]:
        parts = [
            f"{name} {each[key]:.2g}"
            for key, name in {"simulation": "simulation", "choice": "choice of cuts", "training": "training"}.items()
            if each[key] is not None
        ]
        show(
            f"  {QUANTITY_NAMES[each['quantity']]}: {each['value']:+.3g} +- {each['uncertainty']:.2g} "
            f"({', '.join(parts)}): {verdict(each, labels)}"
        )
