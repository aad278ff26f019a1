"""Filesets of coffea, PocketCoffea and columnflow, as their own tools write them, and what can be wrong with them."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ntuples.conftest import write_ntuple
from zsig_hep.errors import InputError
from zsig_hep.ntuples import NtupleSettings, SignOf, SumValue, read_fileset, run_columns

Write = Callable[..., Path]

ROLES = {"higgs": "signal", "dy": "background", "muons": "data"}

POCKET: dict[str, Any] = {
    "dy_low_2018": {
        "metadata": {
            "das_names": "['/DY-low/NANOAODSIM']",
            "sample": "dy",
            "part": "low",
            "year": "2018",
            "isMC": "True",
            "xsec": "3.5",
            "nevents": "700",
            "size": "12",
        },
        "files": ["dy_low.root"],
    },
    "dy_high_2018": {
        "metadata": {
            "sample": "dy",
            "year": "2018",
            "isMC": True,
            "xsec": 0.5,
            "isSkim": "True",
            "sum_genweights": 2500.5,
            "sum_signOf_genweights": 2400.0,
        },
        "files": ["root://eos.cern.ch:1094//store/dy_high.root", "dy_high.root"],
    },
    "higgs_2018": {
        "metadata": {"sample": "higgs", "year": "2018", "isMC": "true", "xsec": "1e-3"},
        "files": ["h.root"],
    },
    "muons_2018_EraA": {
        "metadata": {"sample": "muons", "year": "2018", "isMC": "False", "era": "A", "primaryDataset": "SingleMuon"},
        "files": ["/data/a.root"],
    },
}

COLUMNFLOW: dict[str, Any] = {
    "campaign": {"name": "run2_2018", "id": 1, "ecm": 13, "aux": {"year": 2018}},
    "processes": [
        {"name": "higgs", "id": 1, "label": "$H$", "color": [255, 0, 16], "xsecs": {8: 1.0, 13: 2.0}},
        {"name": "dy", "id": 2, "xsecs": {13: 9.0}, "processes": ["dy_low", "dy_high"]},
        {
            "name": "dy_low",
            "id": 3,
            "color": "#00ff00",
            "xsecs": {13: {"nominal": 3.5, "uncertainties": {"scale": 0.1}}},
        },
        {"name": "dy_high", "id": 4, "xsecs": {13.0: "0.5"}},
        {"name": "muons", "id": 5, "is_data": True},
    ],
    "datasets": {
        "higgs_powheg": {"processes": ["higgs"], "keys": ["h.root"], "aux": {"sum_mc_weight": 321.0}},
        "dy_low_amc": {
            "processes": ["dy_low"],
            "info": {
                "nominal": {"keys": ["dy_low_*.root"], "n_files": 2, "n_events": 10, "gen_eff": 1.0},
                "tune_up": {"keys": ["/DY-low-up/NANOAODSIM"], "n_files": 99},
            },
        },
        "dy_high_amc": {"processes": ["dy_high"], "keys": "dy_high", "n_files": -1},
        "muons_a": {
            "processes": ["muons"],
            "is_data": True,
            "keys": ["root://eos.cern.ch//store/a.root"],
            "n_files": 7,
        },
    },
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a fileset, with values replaced at their places or removed where they are None."""

    def write_there(fileset: Any, changes: dict[tuple[Any, ...], Any] | None = None) -> Path:
        changed = copy.deepcopy(fileset)
        for place, value in (changes or {}).items():
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if value is None:
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
        path = tmp_path / ("fileset.yaml" if "processes" in changed else "fileset.json")
        path.write_text(yaml.safe_dump(changed, sort_keys=False) if path.suffix == ".yaml" else json.dumps(changed))
        return path

    for name in ("h.root", "dy_low_1.root", "dy_low_2.root"):
        (tmp_path / name).touch()
    (tmp_path / "dy_high").mkdir()
    return write_there


def test_pocket_coffea(write, tmp_path):
    processes = read_fileset(write(POCKET), ROLES)
    assert {name: process.role for name, process in processes.items()} == ROLES
    low, high = processes["dy"].datasets.values()
    assert low.files == [str(tmp_path / "dy_low.root")]
    assert (low.cross_section_pb, low.sum_of_weights, low.weight, low.tree) == (3.5, None, "inherit", "Events")
    # With its tree, so that the port is not taken for one.
    assert high.files == ["root://eos.cern.ch:1094//store/dy_high.root:Events", str(tmp_path / "dy_high.root")]
    assert (high.cross_section_pb, high.sum_of_weights) == (0.5, SumValue(value=2500.5))
    assert processes["higgs"].datasets["higgs_2018"].cross_section_pb == 1e-3
    (data,) = processes["muons"].datasets.values()
    assert (data.files, data.cross_section_pb, data.sum_of_weights) == (["/data/a.root"], None, None)


def test_roles_give_the_order_and_may_leave_samples_out(write):
    processes = read_fileset(write(POCKET), {"muons": None, "dy": "background", "higgs": "signal"})
    assert list(processes) == ["dy", "higgs"]


def test_signs_of_weights_have_a_sum_of_their_own(write):
    (high,) = read_fileset(
        write(POCKET, {("dy_low_2018",): None}), {"dy": "background", "higgs": None, "muons": None}, sign_of="genWeight"
    )["dy"].datasets.values()
    assert (high.weight, high.sum_of_weights) == (SignOf(sign_of="genWeight"), SumValue(value=2400.0))


@pytest.mark.parametrize(
    ("files", "tree"),
    [
        ({"a.root": "Events", "b.root": "Events"}, "Events"),
        (
            {"a.root": {"object_path": "tree", "steps": [[0, 10]], "uuid": "1"}, "b.root": {"object_path": "tree"}},
            "tree",
        ),
        (["a.root", "b.root"], "Events"),
    ],
)
def test_coffea(write, tmp_path, files, tree):
    metadata = {"xsec": 2.0, "process": "top"}
    fileset = {"ttbar": {"files": files, "metadata": metadata}, "run_a": {"files": ["/data/c.root"]}}
    processes = read_fileset(write(fileset), {"top": "background", "run_a": "data"}, folder="/ntuples")
    assert processes["top"].datasets["ttbar"].files == ["/ntuples/a.root", "/ntuples/b.root"]
    assert processes["top"].datasets["ttbar"].tree == tree
    assert processes["run_a"].datasets["run_a"].files == ["/data/c.root"]


def test_coffea_with_several_trees(write):
    fileset = {"x": {"files": {"/a.root": "one", "/b.root": "two"}, "metadata": {"xsec": 2.0}}}
    (dataset,) = read_fileset(write(fileset), {"x": "signal"})["x"].datasets.values()
    assert (dataset.files, dataset.tree) == (["/a.root:one", "/b.root:two"], None)


def test_columnflow(write, tmp_path):
    processes = read_fileset(write(COLUMNFLOW), ROLES)
    assert {name: process.role for name, process in processes.items()} == ROLES
    higgs, dy = processes["higgs"], processes["dy"]
    assert (higgs.label, higgs.color, dy.label, dy.color) == ("$H$", "#ff0010", None, None)
    assert higgs.datasets["higgs_powheg"].sum_of_weights == SumValue(value=321.0)
    assert {name: dataset.cross_section_pb for name, dataset in (higgs.datasets | dy.datasets).items()} == {
        "higgs_powheg": 2.0,
        "dy_low_amc": 3.5,
        "dy_high_amc": 0.5,
    }
    assert dy.datasets["dy_low_amc"].files == [str(tmp_path / "dy_low_*.root")]
    assert dy.datasets["dy_high_amc"].files == [str(tmp_path / "dy_high" / "*.root")]
    assert processes["muons"].datasets["muons_a"].files == ["root://eos.cern.ch//store/a.root:Events"]


def test_innermost_role_counts_and_what_is_left_out_need_not_be_here(write):
    changes = {("datasets", "higgs_powheg", "keys"): ["/HToMuMu/NANOAODSIM"]}
    roles = {"dy": None, "dy_low": "background", "higgs": None, "muons": None}
    (process,) = read_fileset(write(COLUMNFLOW, changes), roles).values()
    assert list(process.datasets) == ["dy_low_amc"]
    assert process.color == "#00ff00"


def test_energy_of_cross_sections(write):
    roles = {"higgs": "signal", "dy": None, "muons": None}
    path = write(COLUMNFLOW, {("campaign", "ecm"): None})
    assert read_fileset(path, roles, sqrt_s_tev=8)["higgs"].datasets["higgs_powheg"].cross_section_pb == 1.0
    with pytest.raises(InputError, match=r"'higgs' has xsecs at 8.0, 13.0 TeV: choose one by `ecm`"):
        read_fileset(path, roles)
    with pytest.raises(InputError, match=r"xsecs at 8.0, 13.0 TeV, not at 7 TeV"):
        read_fileset(path, roles, sqrt_s_tev=7)


def test_year(write):
    changes = {("dy_high_2018", "metadata", "year"): "2017"}
    path, roles = write(POCKET, changes), ROLES
    with pytest.raises(InputError, match="'dy' has years 2017, 2018, each with the full cross section"):
        read_fileset(path, roles)
    assert list(read_fileset(path, roles, year="2018")["dy"].datasets) == ["dy_low_2018"]
    with pytest.raises(InputError, match=r"no dataset is of the year '2016'. Did you mean '201[78]' or '201[78]'"):
        read_fileset(path, roles, year="2016")


def test_yields_of_a_fileset(tmp_path):
    signal, background = write_ntuple(tmp_path / "s.root", 300, 1), write_ntuple(tmp_path / "b.root", 400, 2)
    fileset = {
        "s_2018": {"metadata": {"sample": "s", "isMC": "True", "xsec": "0.25"}, "files": ["s.root"]},
        "b_2018": {
            "metadata": {
                "sample": "b",
                "isMC": "True",
                "xsec": "3",
                "isSkim": "True",
                "sum_genweights": 2 * background.sum_of_weights,
            },
            "files": ["b.root"],
        },
    }
    (tmp_path / "fileset.json").write_text(json.dumps(fileset))
    table = run_columns(
        NtupleSettings(columns=["MET_pt"], sum_of_weights="events"),
        read_fileset(tmp_path / "fileset.json", {"s": "signal", "b": "background"}),
        base_folder=tmp_path,
        luminosity_ifb=10.0,
        output_folder=tmp_path / "out",
    ).table
    assert signal.sum_of_weights > 0
    assert {name: total.value for name, total in table.yields().items()} == pytest.approx({"s": 2500.0, "b": 15000.0})


POCKET_PROBLEMS = {
    "unknown sample": ({}, {"higs": "signal"}, r"there is no sample 'higs'. Did you mean 'higgs'\?"),
    "sample without role": (
        {},
        {"higgs": "signal", "dy": "background"},
        "sample 'muons' has no role: give it one, or None",
    ),
    "unknown role": ({}, ROLES | {"dy": "noise"}, "role of 'dy' is 'noise'; valid are"),
    "no cross section": (
        {("higgs_2018", "metadata", "xsec"): None},
        ROLES,
        "dataset 'higgs_2018' of 'higgs' has no cross section",
    ),
    "cross section not positive": (
        {("higgs_2018", "metadata", "xsec"): "-1"},
        ROLES,
        "dataset 'higgs_2018': `xsec` is '-1'",
    ),
    "cross section not a number": (
        {("higgs_2018", "metadata", "xsec"): "tbd"},
        ROLES,
        "`xsec` is 'tbd'; valid is a positive",
    ),
    "skim without sum": (
        {("dy_high_2018", "metadata", "sum_genweights"): None},
        ROLES,
        "dataset 'dy_high_2018' is a skim without `sum_genweights`",
    ),
    "no files": ({("higgs_2018", "files"): []}, ROLES, r"dataset 'higgs_2018': `files` is \[\]"),
    "file twice in a dataset": (
        {("higgs_2018", "files"): ["h.root", "h.root"]},
        ROLES,
        "'h.root' occurs twice: its events would count twice",
    ),
    "file twice": (
        {("higgs_2018", "files"): ["dy_low.root"]},
        ROLES,
        "dy_low.root is listed twice, in datasets 'higgs_2018' and 'dy_low_2018'",
    ),
    "file of data and simulation": (
        {("higgs_2018", "files"): ["/data/../data/a.root"]},
        ROLES,
        "a.root is listed as data and as simulation",
    ),
    "data and simulation": (
        {("muons_2018_EraA", "metadata", "sample"): "dy"},
        {"higgs": "signal", "dy": "background"},
        "sample 'dy' has both data and simulation",
    ),
    "data as simulation": (
        {},
        ROLES | {"muons": "background"},
        "'muons_2018_EraA' of 'muons' is data, but its role is",
    ),
    "simulation as data": (
        {},
        ROLES | {"higgs": "data"},
        "'higgs_2018' of 'higgs' is simulation, but its role is 'data'",
    ),
    "not a flag": ({("higgs_2018", "metadata", "isMC"): "maybe"}, ROLES, "`isMC` is 'maybe'; valid are true and false"),
    "no metadata": ({("higgs_2018", "metadata"): "none"}, ROLES, "`metadata` is 'none'; valid is a group of keys"),
    "definition": ({("higgs_2018", "json_output"): "x.json"}, ROLES, "this is a definition; .*build-datasets"),
    "list of files only": ({("higgs_2018",): ["h.root"]}, ROLES, "is no known fileset; valid are"),
}


@pytest.mark.parametrize(("changes", "roles", "message"), POCKET_PROBLEMS.values(), ids=POCKET_PROBLEMS)
def test_problems_of_pocket_coffea(write, changes, roles, message):
    with pytest.raises(InputError, match=message):
        read_fileset(write(POCKET, changes), roles)


COLUMNFLOW_PROBLEMS = {
    "no cross section": ({("processes", 0, "xsecs"): None}, "dataset 'higgs_powheg' of 'higgs' has no cross section"),
    "unknown process": (
        {("datasets", "higgs_powheg", "processes"): ["higs"]},
        r"process 'higs' is not defined. Did you mean 'higgs'\?",
    ),
    "unknown child": (
        {("processes", 1, "processes"): ["dy_lo", "dy_high"]},
        "'dy' contains 'dy_lo', which is not defined",
    ),
    "child of itself": ({("processes", 2, "processes"): ["dy"]}, "process 'dy' is contained in 'dy' and in 'dy_low'"),
    "two processes": (
        {("datasets", "higgs_powheg", "processes"): ["higgs", "dy"]},
        r"its processes are \['higgs', 'dy'\]; valid is one",
    ),
    "DAS name": (
        {("datasets", "higgs_powheg", "keys"): ["/HToMuMu/NANOAODSIM"]},
        "'/HToMuMu/NANOAODSIM' is neither a folder nor",
    ),
    "no keys": ({("datasets", "higgs_powheg", "keys"): None}, "dataset 'higgs_powheg': it has no keys"),
    "missing file": (
        {("datasets", "dy_low_amc", "info", "nominal", "n_files"): 3},
        "n_files is 3, but 2 are found: copy what is missing",
    ),
    "generator efficiency": ({("datasets", "higgs_powheg", "gen_eff"): 0.4}, "gen_eff is 0.4, and order leaves open"),
    "process and its part": (
        {("datasets", "dy_high_amc", "processes"): ["dy"]},
        "'dy_low_amc' of 'dy_low' and 'dy_high_amc' of 'dy' count the same events twice",
    ),
    "extension": (
        {("datasets", "dy_high_amc", "processes"): ["dy_low"]},
        "'dy_low_amc' of 'dy_low' and 'dy_high_amc' of 'dy_low' count the same events twice",
    ),
    "datasets as text": ({("datasets",): "all"}, "a dataset is {name: {...}}, or stands with its `name` in a list"),
}


@pytest.mark.parametrize(("changes", "message"), COLUMNFLOW_PROBLEMS.values(), ids=COLUMNFLOW_PROBLEMS)
def test_problems_of_columnflow(write, changes, message):
    with pytest.raises(InputError, match=message):
        read_fileset(write(COLUMNFLOW, changes), ROLES)


def test_all_problems_at_once(write):
    changes = {("higgs_2018", "metadata", "xsec"): None, ("dy_high_2018", "metadata", "year"): "2017"}
    with pytest.raises(InputError) as caught:
        read_fileset(write(POCKET, changes), {"higgs": "signal", "dy": "background", "zz": "background"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 5, lines


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "f.json",
            '{"a": {"files": ["a.root"]}, "a": {"files": ["b.root"]}}',
            "f.json: 'a' occurs twice: one would be lost",
        ),
        ("f.yaml", "a: {files: [a.root]}\na: {files: [b.root]}", "f.yaml: 'a' occurs twice: one would be lost"),
        ("f.json", "{", "f.json is not valid JSON"),
        ("f.yaml", "{", "f.yaml is not valid YAML"),
        ("f.json", "[]", "f.json is no known fileset"),
        ("f.json", "{}", "f.json is no known fileset"),
        ("f.yaml", "", "f.yaml is no known fileset"),
    ],
)
def test_files_that_are_no_filesets(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_fileset(tmp_path / name, {"a": "signal"})


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"fileset .*none.json cannot be read: .*No such file"):
        read_fileset(tmp_path / "none.json", {"a": "signal"})
