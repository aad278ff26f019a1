import io
import logging
import os
import signal

import pytest
import torch
from rich.console import Console

from zsig_hep.console import (
    announce,
    errors_as_status,
    open_console,
    print_cuts,
    print_friend,
    print_working_points,
    print_yields,
    training_progress,
)
from zsig_hep.errors import InputError
from zsig_hep.scoring import FriendResult


@pytest.fixture
def console():
    """A console of 200 columns that writes to memory."""
    return Console(file=io.StringIO(), width=200, highlight=False)


def lines(console):
    return console.file.getvalue().splitlines()


def working_point(**changes):
    numbers = {
        "status": "ok",
        "significance": 3.1416,
        "significance_uncertainty": 0.0512,
        "signal": {"yield": 12.34},
        "background": {"yield": 56.78, "uncertainty": 1.234},
        "signal_efficiency": 0.4567,
        "optimism": 0.012,
        "optimism_uncertainty": 0.0343,
        "partitions": [{}],
    }
    return numbers | changes


def test_lines_keep_brackets_and_are_not_broken():
    narrow = Console(file=io.StringIO(), width=20)
    announce(narrow)("reading [dy] of a folder with a long name")
    assert lines(narrow) == ["reading [dy] of a folder with a long name"]


def test_warnings_go_to_the_standard_error_without_time_or_place(capsys):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        open_console(quiet=False)
        logging.getLogger("zsig_hep").warning("no cut could be chosen")
        logging.getLogger("zsig_hep").info("unimportant")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split() == ["WARNING", "no", "cut", "could", "be", "chosen"]


@pytest.mark.parametrize("quiet", [False, True])
def test_an_error_of_the_package_is_one_message_and_status_1(quiet):
    console = Console(file=io.StringIO(), width=20, quiet=quiet)
    message = "there is no branch 'x[0]' in a file with a long name"
    with pytest.raises(SystemExit) as status, errors_as_status(console):
        raise InputError(message)
    assert status.value.code == 1
    assert lines(console) == [f"zsig: {message}"]


def test_an_interruption_is_status_130_and_a_bug_stays_one(console):
    with pytest.raises(SystemExit) as status, errors_as_status(console):
        raise KeyboardInterrupt
    assert status.value.code == 130
    assert "run again to go on from here" in lines(console)[0]
    with pytest.raises(ZeroDivisionError), errors_as_status(console):
        raise ZeroDivisionError


@pytest.mark.parametrize(("number", "how"), [(signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")])
def test_a_signal_is_one_line_and_128_plus_its_number(console, number, how):
    with pytest.raises(SystemExit) as status, errors_as_status(console):
        os.kill(os.getpid(), number)
    assert status.value.code == 128 + number
    assert lines(console) == [f"zsig: {how}; run again to go on from here"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8 TiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB"),
    ],
)
def test_too_little_memory_is_one_message(console, error):
    with pytest.raises(SystemExit) as status, errors_as_status(console):
        raise error
    assert status.value.code == 1
    assert lines(console)[0].startswith("zsig: out of memory (")
    with pytest.raises(RuntimeError), errors_as_status(console):
        raise RuntimeError


def test_markup_in_names_is_text(console, small_search):
    row = {"name": "tt[semilep]", "role": "background", "entries": 9, "effective_entries": 8.0}
    summary = {"processes": [row | {"yield": 4.0, "uncertainty": 1.0}], "notes": []}
    print_yields(console, small_search.analysis(title="Search [red]"), summary)
    assert "Search [red]: yields" in lines(console)[0]
    assert any("tt[semilep]" in line for line in lines(console))


def test_a_bar_shows_a_label_as_it_is():
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with training_progress(terminal) as progress:
        progress("Z loss [bold]", "Z loss [bold]", 1, 1, 0.5)
    assert "Z loss [bold]" in terminal.file.getvalue()


def test_a_training_tells_its_first_and_last_epoch_where_there_is_no_terminal(console):
    with training_progress(console) as progress:
        for epoch in (1, 2, 3):
            progress("Z loss", "warm start", epoch, 3, 0.5 / epoch)
        progress("Z loss", "Z loss", 1, 1, 0.25)
    assert lines(console) == [
        "  Z loss, warm start, step 1 of 3: validation loss 0.5000",
        "  Z loss, warm start, step 3 of 3: validation loss 0.1667",
        "  Z loss, step 1 of 1: validation loss 0.2500",
    ]


def test_a_terminal_has_a_bar_for_every_phase():
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with training_progress(terminal) as progress:
        for phase in ("warm start", "Z loss"):
            for epoch in (1, 2):
                progress("Z loss", phase, epoch, 2, 0.5 / epoch)
    last = [line for line in lines(terminal) if "━" in line][-2:]
    assert [line.partition("━")[0].rstrip().rpartition("K")[2] for line in last] == ["Z loss, warm start", "Z loss"]
    assert all("validation loss 0.2500" in line for line in last)


def test_a_working_point_is_told_with_its_uncertainties_and_the_difference(console):
    classifiers = [
        {"name": "z", "label": "Z loss", "working_point": working_point()},
        {
            "name": "bce",
            "label": "weighted BCE",
            "working_point": {"status": "no_threshold_qualifies", "reason": "too few events"},
        },
    ]
    parts = {"simulation": 0.06, "choice": 0.08, "training": None}
    quantity = {"quantity": "significance", "value": -0.25, "uncertainty": 0.1, "missing": ["training"], **parts}
    comparison = [{"first": "z", "second": "bce", "quantities": [quantity]}]
    print_working_points(console, {"classifiers": classifiers, "comparison": comparison})
    lacking = "the error lacks the training; no winner is named"
    numbers = "Z loss: held-out Z = 3.142 +- 0.051 (s = 12.3, b = 56.8 +- 1.2, signal efficiency 0.457)"
    assert lines(console) == [
        f"{numbers}; +0.012 +- 0.034 on the events that chose the cut",
        "weighted BCE: no working point: too few events",
        "Z loss - weighted BCE:",
        "  Z at the chosen cuts: -0.25 +- 0.1 (simulation 0.06, choice of cuts 0.08): " + lacking,
    ]


def test_the_exported_cuts_are_told_apart_from_the_mean_over_partitions(console):
    point = working_point() | {"partitions": [{}, {}, {}], "exported_significance": 3.2}
    print_working_points(console, {"classifiers": [{"label": "Z loss", "working_point": point}], "comparison": []})
    (line,) = lines(console)
    start = (
        "Z loss: held-out Z = 3.142 +- 0.051 over 3 partitions; exported cuts: Z = 3.200, s = 12.3, b = 56.8 +- 1.2, "
    )
    assert line == start + "signal efficiency 0.457; +0.012 +- 0.034 on the events that chose the cut"


def test_without_a_difference_none_is_told(console):
    classifier = {"label": "Z loss", "working_point": working_point()}
    print_working_points(console, {"classifiers": [classifier], "comparison": []})
    assert len(lines(console)) == 1


def test_yields_are_rounded_to_their_uncertainty_and_notes_follow(console, small_search):
    row = {"name": "dy", "role": "background", "entries": 900, "effective_entries": 812.4}
    summary = {"processes": [row | {"yield": 4987.6, "uncertainty": 123.4}], "notes": ["[h] is a skim"]}
    print_yields(console, small_search.analysis(), summary)
    title, *table, note = lines(console)
    assert title.strip() == "Small search: yields at 100/fb"
    assert table[-2].replace("│", "").split() == ["dy", "background", "900", "812", "4990", "120"]
    assert note == "note: [h] is a skim"


BOX = {"python": "(events['x'] > 1)", "tree_draw": "x > 1", "open_variables": ["y"]}


def test_cuts_are_lines_to_copy_and_their_held_out_significance(console):
    print_cuts(console, {"chosen": {"status": "ok", "box": BOX}, "held_out": working_point()})
    assert lines(console) == [
        "cuts, Python:      (events['x'] > 1)",
        "cuts, TTree::Draw: x > 1",
        "no cut on y: none gains enough",
        "cuts: held-out Z = 3.142 +- 0.051 (signal efficiency 0.457); +0.012 on the events that chose the cuts",
    ]


def test_cuts_that_are_none_or_not_held_out_say_why(console):
    failed = {"status": "no_box_qualifies", "reason": "too few events"}
    print_cuts(console, {"chosen": failed, "held_out": failed})
    box = BOX | {"tree_draw": None, "open_variables": []}
    print_cuts(console, {"chosen": {"status": "ok", "box": box}, "held_out": failed})
    assert lines(console) == [
        "cuts: none: too few events",
        "cuts, Python:      (events['x'] > 1)",
        "cuts: no held-out significance: too few events",
    ]


def test_a_friend_is_told_with_what_scored_it(console, tmp_path):
    path = tmp_path / "dy.zsig.root"
    print_friend(console, FriendResult("dy.root", path, 900, 700, 35, out_of_fold=True))
    print_friend(console, FriendResult("dy.root", path, 900, 700, None, out_of_fold=False))
    assert lines(console) == [
        f"{path}: 900 entries, 700 selected, 35 pass the cut; scored by networks that were not trained on them",
        f"{path}: 900 entries, 700 selected; scored by the whole ensemble",
    ]
