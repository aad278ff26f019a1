"""Strict models of processes and datasets, and finding files."""

import pytest
from pydantic import ValidationError

from zsig_hep.errors import InputError
from zsig_hep.ntuples import Dataset, NtupleSettings, Process, SignOf, SumValue, resolve_datasets, resolve_files


def dataset(**changes):
    return {"files": ["a.root"], "cross_section_pb": 1.0} | changes


def test_effective_cross_section():
    found = Dataset(**dataset(cross_section_pb=10.0, k_factor=1.5, filter_efficiency=0.5, branching_fraction=0.1))
    assert found.effective_cross_section_pb == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"cross_section_pb": 0.0}, "greater than 0"),
        ({"cross_section_pb": -1.0}, "greater than 0"),
        ({"cross_section_pb": float("nan")}, "finite"),
        ({"cross_section_pb": "many"}, "valid number"),
        ({"cross_section_fb": 1.0}, "Extra inputs are not permitted"),
        ({"filter_efficiency": 1.1}, "less than or equal to 1"),
        ({"branching_fraction": 0.0}, "greater than 0"),
        ({"files": []}, "at least 1 item"),
        ({"files": "a.root"}, "valid list"),
        ({"sum_of_weights": "run"}, "'runs' or 'events'"),
        ({"sum_of_weights": {"value": -1.0}}, "greater than 0"),
        ({"weight": ["w", "w"]}, "more than once"),
        ({"weight": []}, "names no branch"),
    ],
)
def test_bad_dataset(changes, match):
    with pytest.raises(ValidationError, match=match):
        Dataset(**dataset(**changes))


def test_cross_section_belongs_to_simulation():
    with pytest.raises(ValidationError, match="'d' of a signal process needs cross_section_pb"):
        Process(role="signal", datasets={"d": {"files": ["a.root"]}})
    with pytest.raises(ValidationError, match="'d' is data"):
        Process(role="data", datasets={"d": dataset()})
    with pytest.raises(ValidationError, match="'signal', 'background' or 'data'"):
        Process(role="sig", datasets={"d": dataset()})


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": "columns.py"},
        {"columns": []},
        {"columns": ["x", "x"]},
        {"folds": 2},
        {"chunk_size": 0},
        {"event_identity": []},
        {"schema": "nano"},
        {"foldss": 5},
    ],
)
def test_bad_ntuple_settings(changes):
    with pytest.raises(ValidationError):
        NtupleSettings.model_validate(changes)


def test_settings_survive_json():
    settings = NtupleSettings.model_validate(
        {"schema": "nanoaod", "weight": {"sign_of": "w"}, "sum_of_weights": {"value": 3}}
    )
    assert settings.weight == SignOf(sign_of="w")
    assert settings.sum_of_weights == SumValue(value=3.0)
    assert NtupleSettings.model_validate_json(settings.model_dump_json(by_alias=True)) == settings


def test_files_are_found_in_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b_2.root", "b_1.root", "a.root", "sub/c.root"):
        (tmp_path / name).touch()
    patterns = [
        "b_*.root",
        "a.root:other/tree",
        "root://host:1094//store/x.root:Tree",
        "root://host//y.root",
        "root://host.fnal.gov:1094//z.root",
        "**/c.root",
    ]
    found = resolve_files(Dataset(**dataset(files=patterns, tree="T")), tmp_path)
    assert [(file.path.removeprefix(f"{tmp_path}/"), file.tree) for file in found] == [
        ("b_1.root", "T"),
        ("b_2.root", "T"),
        ("a.root", "other/tree"),
        ("root://host:1094//store/x.root", "Tree"),
        ("root://host//y.root", "T"),
        ("root://host.fnal.gov:1094//z.root", "T"),
        ("sub/c.root", "T"),
    ]


def test_names_with_brackets_are_files_first(tmp_path):
    (tmp_path / "a[1].root").touch()
    assert len(resolve_files(Dataset(**dataset(files=["a[1].root"])), tmp_path)) == 1


def test_defaults_are_inherited(tmp_path):
    (tmp_path / "a.root").touch()
    (tmp_path / "b.root").touch()
    processes = {
        "s": Process(role="signal", datasets={"x": Dataset(**dataset())}),
        "u": Process(
            role="background", datasets={"y": Dataset(**dataset(weight=None, sum_of_weights="runs", tree="T"))}
        ),
        "d": Process(role="data", datasets={"z": Dataset(files=["b.root"])}),
    }
    settings = NtupleSettings(weight="w", sum_of_weights="events", tree="Default")
    first, second, data = resolve_datasets(settings, processes, tmp_path)
    assert (first.weight, first.sum_of_weights, first.files[0].tree) == ("w", "events", "Default")
    assert (second.weight, second.sum_of_weights, second.files[0].tree) == (None, "runs", "T")
    assert (data.weight, data.cross_section_pb) == (None, None)


def test_all_problems_at_once(tmp_path):
    (tmp_path / "a.root").touch()
    processes = {
        "s": Process(role="signal", datasets={"x": Dataset(**dataset(files=["missing.root"]))}),
        "b": Process(role="background", datasets={"x": Dataset(**dataset()), "y": Dataset(**dataset())}),
    }
    with pytest.raises(InputError) as caught:
        resolve_datasets(NtupleSettings(), processes, tmp_path)
    assert len(str(caught.value).splitlines()) == 3
    for part in ("occurs in processes 's' and 'b'", "missing.root does not exist", "a.root is listed twice"):
        assert part in str(caught.value)
