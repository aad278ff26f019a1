import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.array_search import make_table
from tests.conftest import DATA
from zsig_hep import Analysis
from zsig_hep.errors import InputError
from zsig_hep.learning import ZLossSettings
from zsig_hep.pipeline.fingerprints import (
    Fingerprints,
    code_fingerprint,
    fingerprint,
)
from zsig_hep.pipeline.output_folder import OutputFolder

BEHIND_A_TRAINING = {"selection", "export", "report"}
TRAININGS = {"training/z", "training/bce", *BEHIND_A_TRAINING}
EVERYTHING = {"columns", "cuts", *TRAININGS}


def fingerprints(analysis, table=None):
    made = Fingerprints(analysis, table)
    trained = {f"training/{name}": made.training(planned) for name, planned in analysis.trainings.items()}
    others = ("columns", "selection", "cuts", "export", "report")
    return trained | {stage: getattr(made, stage) for stage in others}


def changed(before, after):
    return {stage for stage, value in after.items() if value != before[stage]}


@pytest.mark.parametrize(
    ("changes", "redone"),
    [
        ({"title": "Another title"}, {"report"}),
        ({"presentation": {"label": "Work in progress"}}, {"cuts", "report"}),
        ({"processes": {"dy": {"color": "red"}}}, {"cuts", "report"}),
        ({"ntuples": {"chunk_size": 100}}, set()),
        ({"training": {"device": "auto"}}, set()),
        ({"unblind": True}, {"export", "report"}),
        ({"cuts": {"variables": {"x": "above"}}}, {"cuts", "report"}),
        ({"categories": {"count": 2}}, BEHIND_A_TRAINING),
        ({"variations": {"luminosity": {"kind": "luminosity", "relative": 0.02}}}, BEHIND_A_TRAINING),
        ({"selection": {"figure_of_merit": "s_over_sqrt_b"}}, {"cuts", *BEHIND_A_TRAINING}),
        ({"training": {"baseline": False}}, BEHIND_A_TRAINING),
        ({"training": {"loss": {"name": "z", "relative_eps": 0.1}}}, {"training/z", *BEHIND_A_TRAINING}),
        ({"training": {"seeds": 2}}, TRAININGS),
        ({"training": {"seed": 5}}, {"cuts", *TRAININGS}),
        ({"training": {"main": {"epochs": 3}}}, TRAININGS),
        ({"processes": {"dy": {"label": "Drell-Yan"}}}, {"columns", "cuts", "export", "report"}),
        ({"luminosity_ifb": 101.0}, EVERYTHING),
        ({"ntuples": {"folds": 4}}, EVERYTHING),
        ({"processes": {"dy": {"datasets": {"dy": {"k_factor": 1.1}}}}}, EVERYTHING),
        ({"processes": {"data": DATA}}, EVERYTHING),
    ],
)
def test_what_depends_on_a_setting(small_search, changes, redone):
    before = fingerprints(small_search.analysis())
    assert changed(before, fingerprints(small_search.analysis(**changes))) == redone


def test_a_run_records_them(small_search, finished_output):
    recorded = OutputFolder(finished_output).recorded
    found = fingerprints(small_search.analysis())
    del found["cuts"]
    assert {stage: recorded(stage) for stage in found} == found


def test_files_masks_and_functions_are_known_by_what_they_hold(small_search, tmp_path):
    search = small_search.copy(tmp_path / "search")
    (search.folder / "weights.py").write_text("def tilt(events):\n    return 1 + events['x'], 1 - events['x']\n")
    (search.folder / "golden.json").write_text('{"1": [[1, 1]]}')
    tilt = {"kind": "weight", "function": "weights.py:tilt"}
    changes = {"processes": {"data": DATA}, "ntuples": {"luminosity_mask": "golden.json"}, "variations": {"tilt": tilt}}

    def now():
        return fingerprints(search.analysis(**changes))

    before = now()
    assert now() == before
    (search.folder / "golden.json").write_text('{"1": [[1, 2]]}')
    masked = now()
    assert changed(before, masked) == EVERYTHING
    (search.folder / "weights.py").write_text("def tilt(events):\n    return 1 + events['y'], 1 - events['y']\n")
    assert changed(masked, now()) == {"columns", *BEHIND_A_TRAINING}


def test_a_variation_of_weights_is_read_and_trains_nothing(small_search, tmp_path):
    search = small_search.copy(tmp_path / "search")
    (tmp_path / "functions").mkdir()
    function = tmp_path / "functions" / "weights.py"
    function.write_text("def tilt(events):\n    return 1 + events['x'], 1 - events['x']\n")
    variations = {"tilt": {"kind": "weight", "function": f"{function}:tilt"}}
    before, varied = fingerprints(search.analysis()), fingerprints(search.analysis(variations=variations))
    assert changed(before, varied) == {"columns", *BEHIND_A_TRAINING}
    function.write_text("def tilt(events):\n    return 1 + events['y'], 1 - events['y']\n")
    assert changed(varied, fingerprints(search.analysis(variations=variations))) == {"columns", *BEHIND_A_TRAINING}


def test_a_set_of_weights_and_its_normalisation_are_read_and_train_nothing(small_search):
    scales = {"kind": "weight_set", "branch": "LHEScaleWeight", "combine": "envelope"}
    before, of_set, of_own_sums = (
        fingerprints(small_search.analysis(variations=variations))
        for variations in ({}, {"scales": scales}, {"scales": scales | {"normalise": "own"}})
    )
    for first, second in ((before, of_set), (of_set, of_own_sums)):
        assert changed(first, second) == {"columns", *BEHIND_A_TRAINING}


def test_events_that_come_as_arrays_are_known_by_their_content():
    table = make_table()
    analysis = Analysis.of_table(table, title="Arrays")
    before = fingerprints(analysis, table)
    assert fingerprints(analysis, make_table()) == before
    other = table.select(np.arange(len(table)) > 0)
    assert changed(before, fingerprints(analysis, other)) == set(before)


def test_a_baseline_is_not_trained_twice(small_search):
    alone, beside = small_search.analysis(training={"loss": {"name": "bce"}}), small_search.analysis()
    assert list(alone.losses) == ["bce"]
    assert list(beside.losses) == ["z", "bce"]
    assert beside.losses["z"] == ZLossSettings(error="sigmoid")
    assert Fingerprints(alone).training(alone.trainings["bce"]) == Fingerprints(beside).training(
        beside.trainings["bce"]
    )


@pytest.mark.parametrize(
    "other",
    [
        ({"a": 1.0000001}, "x"),
        ({"a": 1, "b": None}, "x"),
        ({"b": 1}, "x"),
        ({"a": 1}, "y"),
        ({"a": 1},),
        ("x", {"a": 1}),
    ],
)
def test_a_fingerprint_sees_every_difference(other):
    assert fingerprint(*other) != fingerprint({"a": 1}, "x")


def test_a_fingerprint_ignores_the_order_of_keys_and_keeps_that_of_lists():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) == fingerprint((1, 2)) != fingerprint([2, 1])
    assert fingerprint(Path("a")) == fingerprint("a")


def test_a_fingerprint_of_code_is_that_of_its_rooms():
    assert code_fingerprint("statistics") == code_fingerprint("statistics")
    rooms = [("statistics",), ("ntuples",), ("statistics", "ntuples"), ("learning",), ("presentation",)]
    assert len({code_fingerprint(*names) for names in rooms}) == len(rooms)


def test_the_code_of_the_presentation_includes_its_template(monkeypatch, tmp_path):
    (tmp_path / "room").mkdir()
    monkeypatch.setattr("zsig_hep.pipeline.fingerprints.__file__", str(tmp_path / "pipeline" / "fingerprints.py"))
    seen = set()
    for name, text in [("a.py", "1"), ("a.py", "2"), ("report.html.j2", "1"), ("report.html.j2", "2")]:
        (tmp_path / "room" / name).write_text(text)
        seen.add(code_fingerprint("room"))
    assert len(seen) == 4
    (tmp_path / "room" / "a.pyc").write_text("compiled")
    assert code_fingerprint("room") in seen


def test_files_are_known_wherever_they_are_and_whenever_they_were_written(small_search, tmp_path):
    here, there = (small_search.copy(tmp_path / name) for name in ("here", "there"))
    before = fingerprints(here.analysis())
    for path in there.folder.glob("*.root"):
        os.utime(path, ns=(1, 1))
    assert fingerprints(there.analysis()) == before


def test_results_are_current_on_another_machine_whatever_its_devices(small_search, monkeypatch):
    before = fingerprints(small_search.analysis(training={"device": "auto"}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert fingerprints(small_search.analysis(training={"device": "auto"})) == before


def test_a_changed_file_is_noticed_behind_a_file_address(small_search, tmp_path):
    search = small_search.copy(tmp_path / "search")
    files = {"files": [f"file://{search.folder}/dy.root"]}
    analysis = search.analysis(processes={"dy": {"datasets": {"dy": files}}})
    before = fingerprints(analysis)
    shutil.copy(search.folder / "signal.root", search.folder / "dy.root")
    assert "columns" in changed(before, fingerprints(analysis))


def test_files_that_the_columns_read_are_part_of_the_events(small_search, tmp_path):
    search = small_search.copy(tmp_path / "search")
    numbers = search.folder / "numbers.json"
    numbers.write_text("{}")
    analysis = search.analysis(ntuples={"depends_on": ["numbers.json"]})
    before = fingerprints(analysis)
    assert changed(before, fingerprints(analysis)) == set()
    numbers.write_text("[]")
    assert changed(before, fingerprints(analysis)) == EVERYTHING
    numbers.rename(numbers.with_name("number.json"))
    with pytest.raises(
        InputError, match=r"depends_on: .*numbers.json cannot be read: No such file.*Did you mean 'number.json'"
    ):
        fingerprints(analysis)
