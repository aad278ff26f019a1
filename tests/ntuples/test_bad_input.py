"""Every bad input gives one clear message and leaves nothing behind."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.ntuples.conftest import LUMINOSITY_IFB, event_arrays, write_ntuple
from zsig_hep.errors import InputError, NormalisationError, ZsigError
from zsig_hep.ntuples import Dataset, NtupleSettings, Process, check_inputs

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.usefixtures("shared_pool"),
]


def two_processes(background: list[str], **options) -> dict[str, Process]:
    return {
        "higgs": Process(role="signal", datasets={"h": Dataset(files=["signal.root"], cross_section_pb=0.1)}),
        "dy": Process(role="background", datasets={"b": Dataset(files=background, cross_section_pb=1.0, **options)}),
    }


@pytest.fixture
def refused(run, tmp_path):
    """Run and expect an error, and nothing left in the output folder."""
    if not (tmp_path / "signal.root").exists():
        write_ntuple(tmp_path / "signal.root", 100, 1)

    def refuse(
        match: str, kind: type[ZsigError] = InputError, *, background=("b.root",), options=None, **settings
    ) -> str:
        with pytest.raises(kind, match=match) as caught:
            run(of=two_processes(list(background), **(options or {})), **settings)
        assert type(caught.value) is kind
        out = tmp_path / "out"
        assert not out.exists() or not list(out.iterdir())
        return str(caught.value)

    return refuse


@pytest.fixture
def checked(tmp_path):
    def check(background=("b.root",), **options):
        return check_inputs(
            NtupleSettings(columns=["MET_pt"]),
            two_processes(list(background), **options),
            base_folder=tmp_path,
            luminosity_ifb=LUMINOSITY_IFB,
        )

    return check


def with_changed(arrays: dict, name: str, entry: int, value: float) -> dict:
    changed = np.array(arrays[name])
    changed[entry] = value
    return arrays | {name: changed}


def test_missing_file(refused):
    refused(
        r"dataset 'b' of 'dy': file .*signa\.root does not exist\. Did you mean 'signal\.root'",
        background=["signa.root"],
    )


def test_glob_without_match(refused):
    refused(r"no file matches 'nothing_\*\.root'", background=["nothing_*.root"])


def test_missing_folder(refused):
    refused(r"There is no folder", background=["nowhere/b.root"])


def test_not_a_root_file(refused, tmp_path):
    (tmp_path / "b.root").write_text("not what it seems")
    refused(r"b\.root is not a ROOT file")


def test_empty_file(refused, tmp_path):
    (tmp_path / "b.root").write_bytes(b"")
    refused(r"b\.root is not a ROOT file")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_truncated_file(refused, tmp_path, share, kind):
    path = write_ntuple(tmp_path / "b.root", 2000, kind=kind).path
    os.truncate(path, int(path.stat().st_size * share))
    refused(r"b\.root is truncated or damaged")


@pytest.mark.parametrize("executor", ["iterative", "futures"])
def test_damaged_basket(refused, tmp_path, executor, run):
    path = write_ntuple(tmp_path / "b.root", 2000).path
    content = bytearray(path.read_bytes())
    middle = content.find(b"ZL\x08", 3000)
    content[middle + 20 : middle + 400] = b"\xff" * 380
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"dataset 'b', file .*b\.root cannot be read, it may be truncated or damaged"):
        run(
            of=two_processes(["b.root"]),
            columns=["MET_pt", "mass", "pileup"],
            chunk_size=500,
            run_options={"executor": executor},
        )


def test_missing_tree(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 50, tree="Event")
    refused(r"b\.root has no tree 'Events'\. Did you mean 'Event'")


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_missing_branches(refused, tmp_path, kind):
    write_ntuple(tmp_path / "b.root", 50, kind=kind)
    message = refused(r"no branch 'MET_ptt'\. Did you mean 'MET_pt'", columns=["MET_ptt", "mass"])
    assert "signal.root" in message
    assert "b.root" in message
    refused(r"no branch 'genWeigth'\. Did you mean 'genWeight'", options={"weight": "genWeigth"})
    refused(r"no branch 'event_number'", event_identity=["event_number"])


def test_process_without_events(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 0)
    refused(r"process 'dy': its trees have no events")


@pytest.mark.parametrize(
    ("value", "executor"), [(np.nan, "iterative"), (np.inf, "iterative"), (-np.inf, "iterative"), (np.nan, "futures")]
)
def test_weight_that_is_not_finite(refused, run, tmp_path, value, executor):
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "genWeight", 57, value), runs=(300.0, 300))
    match = r"dataset 'b', file .*b\.root: weight 'genWeight' of entry 57 is (nan|inf|-inf)"
    with pytest.raises(InputError, match=match):
        run(of=two_processes(["b.root"]), chunk_size=20, run_options={"executor": executor})
    assert not list((tmp_path / "out").iterdir())


def test_weight_that_is_not_finite_is_found_by_the_check(checked, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "genWeight", 57, np.nan), runs=(300.0, 300))
    with pytest.raises(InputError, match="NaN or infinite in 1 events"):
        checked()


def test_infinite_feature(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "mass", 3, np.inf))
    refused(r"feature 'mass' is inf for selected event 3 on dataset 'b', file .*b\.root.*NaN")
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "mass", 3, 1e300))
    refused(r"feature 'mass' is inf")


def test_missing_value_of_a_feature_is_kept(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "mass", 3, np.nan))
    table = run(of=two_processes(["b.root"])).table
    assert np.isnan(table.feature("mass")).sum() == 1


@pytest.mark.parametrize(
    ("runs", "match"),
    [
        ((0.0, 300), r"dataset 'b': the sum of weights from 'runs' is zero"),
        ((-5.0, 300), r"is negative \(-5\)"),
        ((np.nan, 300), r"genEventSumw in the Runs tree of .*b\.root is not finite"),
        ((300.0, 40), r"hold 100 events, but their Runs trees count only 40"),
        (None, r"b\.root has no Runs tree with genEventSumw.*`events`"),
    ],
)
def test_sum_of_weights(refused, checked, tmp_path, runs, match):
    write_ntuple(tmp_path / "b.root", 100, 2, runs=runs)
    refused(match, NormalisationError)
    with pytest.raises(NormalisationError, match=match):
        checked()


def test_sum_of_weights_smaller_than_the_events(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 100, 2, runs=(50.0, 100), signed=False)
    refused(r"more than the sum of weights 50 of all generated events \(runs\)", NormalisationError)


def test_sum_over_skimmed_events(refused, checked, tmp_path):
    write_ntuple(tmp_path / "b.root", 100, 2, runs=(300.0, 300), signed=False)
    refused(
        r"are a skim.*3.01 times too large: set sum_of_weights to `runs`",
        NormalisationError,
        options={"sum_of_weights": "events"},
    )


def test_sum_over_events_is_zero(refused, tmp_path):
    arrays = event_arrays(100, 2)
    arrays["genWeight"] = np.tile(np.array([1.0, -1.0], "f4"), 50)
    write_ntuple(tmp_path / "b.root", arrays, runs=None)
    refused(r"from 'events' is zero", NormalisationError, options={"sum_of_weights": "events"})


def test_runs_do_not_sum_signs(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 100, 2)
    refused(
        r"not the generator weight that the Runs tree sums",
        NormalisationError,
        options={"weight": {"sign_of": "genWeight"}},
    )


def test_same_file_twice(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "link.root").symlink_to(tmp_path / "b.root")
    refused(r"link\.root is listed twice", background=["b.root", "link.root"])
    refused(r"b\.root is listed twice", background=["b.root", "*.root"])


def test_same_events_in_two_files(refused, tmp_path):
    arrays = event_arrays(200, 5)
    write_ntuple(tmp_path / "b.root", arrays)
    write_ntuple(tmp_path / "copy.root", {name: array[150:] for name, array in arrays.items()})
    match = r"process 'dy': 50 selected events .* same identity and content.*b\.root and .*copy\.root"
    refused(match, background=["b.root", "copy.root"])
    refused(r"50 selected events", background=["b.root", "copy.root"], event_identity="content")


def test_same_events_twice_in_a_file(refused, tmp_path):
    arrays = event_arrays(200, 5)
    doubled = {name: np.concatenate([array, array]) for name, array in arrays.items() if name != "Jet_pt"}
    write_ntuple(tmp_path / "b.root", doubled)
    refused(r"200 selected events .* twice in .*b\.root")


def test_repeated_identities_with_other_content_are_noted(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 200, 5)
    write_ntuple(tmp_path / "other_seed.root", 150, 6)
    result = run(of=two_processes(["b.root", "other_seed.root"]))
    assert any("150 selected events repeat the identity" in note for note in result.notes)


def test_equal_features_by_chance_are_no_copies(run, tmp_path):
    (tmp_path / "columns.py").write_text(
        "import awkward as ak\ndef columns(events):\n    return {'jets': ak.num(events['Jet_pt'])}\n"
    )
    write_ntuple(tmp_path / "signal.root", 50, signed=False)
    for seed, name in ((5, "b.root"), (6, "other_seed.root")):
        arrays = event_arrays(300, seed) | {"genWeight": np.ones(300, "f4")}
        write_ntuple(tmp_path / name, arrays)
    result = run(of=two_processes(["b.root", "other_seed.root"]), columns="columns.py:columns")
    assert any("by chance" in note for note in result.notes)


def test_no_event_after_selection(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 100)
    (tmp_path / "columns.py").write_text(
        "def columns(events):\n"
        "    keep = (events['MET_pt'] > 0) & (events.metadata['dataset'] == 'h')\n"
        "    return {'mass': events['mass'][keep]}, keep\n"
    )
    refused(r"process 'dy' has no event after the selection", columns="columns.py:columns")


def test_fewer_events_than_folds(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 4)
    refused(r"process 'dy' has 4 events after the selection, fewer than the 5 folds")


@pytest.mark.parametrize("role", ["signal", "background"])
def test_role_without_process(run, tmp_path, role):
    write_ntuple(tmp_path / "b.root", 50)
    only = {"p": Process(role=role, datasets={"b": Dataset(files=["b.root"], cross_section_pb=1.0)})}
    missing = "background" if role == "signal" else "signal"
    with pytest.raises(InputError, match=f"there is no {missing} process"):
        run(of=only)


@pytest.mark.parametrize("executor", ["iterative", "futures", "dask"])
def test_columns_that_raise(run, tmp_path, executor):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text("def columns(events):\n    value = 1 / 0\n    return {'x': value}\n")
    match = r"columns\.py, line 2 \(value = 1 / 0\): columns\(events\) raised ZeroDivisionError on dataset '[hb]', file .*\.root"
    with pytest.raises(InputError, match=match):
        run(of=two_processes(["b.root"]), columns="columns.py:columns", run_options={"executor": executor})
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("    return {'x': events['MET_ptt']}", r"line 2.*raised FieldNotFoundError.*Did you mean 'MET_pt'"),
        ("    return {'x': events.MET_ptt}", r"line 2.*raised AttributeError.*Did you mean 'MET_pt'"),
        ("    return {'x': events.mass[:-1]}", r"feature 'x' on dataset 'h', .* has 49 values for 50 selected events"),
        (
            "    return {'x': events.mass}, events.MET_pt > 10",
            r"has 50 values for \d+ selected.*index it with the mask",
        ),
        ("    return {'x': events.Jet_pt}", r"feature 'x' is not a flat array.*one value per event.*dataset 'h'"),
        ("    return events.mass", r"columns\(events\) returned Array on dataset 'h'.*valid are a dict"),
        ("    return {}", r"returned dict"),
        ("    return {'x': events.mass}, events.mass", r"cut 'selection' .* type float64"),
        ("    return {'x': events.mass}, events.mass[:3] > 1", r"shape \(3,\).*one boolean for each of the 50"),
        ("    return {'x': ['a'] * len(events)}", r"feature 'x' is not a flat array of numbers"),
        ("    return {'x' if events.metadata['dataset'] == 'h' else 'y': events.mass}", r"'x', 'y' are not in both"),
    ],
)
def test_columns_that_return_something_else(refused, tmp_path, body, match):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text(f"def columns(events):\n{body}\n")
    refused(match, columns="columns.py:columns")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("def columns(events)\n    pass\n", r"columns\.py, line 1: expected ':': def columns\(events\)"),
        ("def column(events):\n    pass\n", r"columns\.py has no function 'columns'\. Did you mean 'column'"),
        ("import no_such_module_here\n", r"columns\.py, line 1 .* raised ModuleNotFoundError when it was loaded"),
    ],
)
def test_columns_that_cannot_be_loaded(refused, tmp_path, text, match):
    (tmp_path / "columns.py").write_text(text)
    refused(match, columns="columns.py:columns")


def test_columns_file_is_missing(refused, tmp_path):
    (tmp_path / "colums.py").write_text("")
    refused(r"columns\.py does not exist\. Did you mean 'colums\.py'", columns="columns.py:columns")


def test_all_input_problems_at_once(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 50, tree="Other")
    (tmp_path / "c.root").write_text("text")
    message = refused("no tree", background=["b.root", "c.root"])
    assert len(message.splitlines()) == 2


def test_check_agrees_with_the_run(run, checked, tmp_path):
    write_ntuple(tmp_path / "signal.root", 300, 1, runs=(900.0, 900))
    write_ntuple(tmp_path / "b.root", 300, 2, runs=(900.0, 900))
    result = run(of=two_processes(["b.root"]), columns=["MET_pt"])
    found = checked()
    assert found.normalisations == result.normalisations
    assert found.entries == {"h": 300, "b": 300}
    assert found.notes == result.notes


def test_file_that_vanishes(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text(
        "from pathlib import Path\n"
        "def columns(events):\n"
        f"    Path({str(tmp_path / 'b.root')!r}).unlink(missing_ok=True)\n"
        "    return {'mass': events['mass']}\n"
    )
    with pytest.raises(InputError, match=r"became unreadable while it was processed: .*b\.root"):
        run(of=two_processes(["b.root"]), columns="columns.py:columns")


def test_older_table_survives_a_failed_run(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 50)
    run(of=two_processes(["b.root"]))
    stored = (tmp_path / "out" / "events.parquet").read_bytes()
    shutil.copy(tmp_path / "b.root", tmp_path / "c.root")
    with pytest.raises(InputError, match="occur more than once"):
        run(of=two_processes(["b.root", "c.root"]))
    assert [Path(entry).name for entry in (tmp_path / "out").iterdir()] == ["events.parquet"]
    assert (tmp_path / "out" / "events.parquet").read_bytes() == stored
