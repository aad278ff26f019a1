"""Strict models of processes and datasets."""

import re

import pytest
from pydantic import ValidationError

from zsig_hep.ntuples import Dataset, NtupleSettings, Process, SignOf, SumValue, cross_section_problems


def dataset(**changes):
    return {"files": ["a.root"], "cross_section_pb": 1.0} | changes


def test_effective_cross_section():
    found = Dataset(**dataset(cross_section_pb=10.0, k_factor=1.5, filter_efficiency=0.5, branching_fraction=0.1))
    assert found.effective_cross_section_pb == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"cross_section_pb": 0.0}, "greater than or equal to"),
        ({"cross_section_pb": -1.0}, "greater than or equal to"),
        ({"cross_section_pb": float("nan")}, "finite"),
        ({"cross_section_pb": "many"}, "valid number"),
        ({"cross_section_fb": 1.0}, "Extra inputs are not permitted"),
        ({"filter_efficiency": 1.1}, "less than or equal to 1"),
        ({"branching_fraction": 0.0}, "greater than or equal to"),
        ({"files": []}, "at least 1 item"),
        ({"files": "a.root"}, "valid list"),
        ({"sum_of_weights": "run"}, "'runs', 'events', 'normalised', or a group with"),
        ({"sum_of_weights": {"histogram": "h"}}, r"SumInHistogram.bin\n  Field required"),
        ({"sum_of_weights": {"histogram": "h", "bin": 0}}, "greater than or equal to 1"),
        ({"sum_of_weights": {"weights_at_luminosity_ifb": 0}}, "greater than or equal to"),
        ({"sum_of_weights": {"value": -1.0}}, "greater than or equal to"),
        ({"weight": ["w", "w"]}, "more than once"),
        ({"weight": []}, "names no branch"),
    ],
)
def test_bad_dataset(changes, match):
    with pytest.raises(ValidationError, match=match):
        Dataset(**dataset(**changes))


def test_cross_section_belongs_to_simulation():
    with pytest.raises(ValidationError, match="'d' is data"):
        Process(role="data", datasets={"d": dataset()})
    with pytest.raises(ValidationError, match="'signal', 'background' or 'data'"):
        Process(role="sig", datasets={"d": dataset()})


def simulated(**datasets):
    return {"p": Process(role="background", datasets=datasets)}


@pytest.mark.parametrize(
    ("default", "datasets", "problem"),
    [
        ("runs", {"d": {"files": ["a.root"]}}, "dataset 'd' of a background process needs cross_section_pb"),
        (
            "normalised",
            {"d": dataset()},
            "dataset 'd' has weights that are yields .*, so cross_section_pb would count twice",
        ),
        (
            "runs",
            {"d": {"files": ["a.root"], "k_factor": 2.0, "sum_of_weights": {"weights_at_luminosity_ifb": 1}}},
            "so k_factor would count twice",
        ),
        (
            "runs",
            {"d": dataset(), "e": {"files": ["b.root"], "extends": "d", "sum_of_weights": "events"}},
            "'e' extends 'd', but their sums of weights come from different sources",
        ),
    ],
)
def test_cross_sections_that_are_missing_or_too_many(default, datasets, problem):
    (found,) = cross_section_problems(NtupleSettings(sum_of_weights=default), simulated(**datasets))
    assert re.search(problem, found)


def test_datasets_without_a_cross_section_of_their_own():
    processes = simulated(d=dataset(), e={"files": ["b.root"], "extends": "d"})
    assert cross_section_problems(NtupleSettings(), processes) == []
    assert cross_section_problems(NtupleSettings(sum_of_weights="normalised"), simulated(d={"files": ["a.root"]})) == []


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"extends": "dd"}, "'e' extends 'dd', which is no other dataset of the process. Did you mean 'd'"),
        ({"extends": "e"}, "which is no other dataset"),
        (
            {"extends": "d", "cross_section_pb": 1.0},
            "'e' extends 'd' and has its cross section: remove cross_section_pb",
        ),
        ({"extends": "f"}, "'e' extends 'f', which is an extension itself: name 'd'"),
    ],
)
def test_bad_extensions(changes, match):
    datasets = {"d": dataset(), "e": {"files": ["b.root"]} | changes, "f": {"files": ["c.root"], "extends": "d"}}
    with pytest.raises(ValidationError, match=match):
        simulated(**datasets)


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


def test_simulation_has_no_luminosity_mask(search):
    dataset = {"tt": {"files": ["top.root"], "cross_section_pb": 0.02, "luminosity_mask": "golden.json"}}
    with pytest.raises(ValidationError, match="is simulation: a luminosity_mask is for data"):
        search.analysis(processes={"top": {"datasets": dataset}})
