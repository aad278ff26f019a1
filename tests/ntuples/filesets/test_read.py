"""Filesets of coffea, PocketCoffea and columnflow, as their own tools write them, and what can be wrong with them."""

import json

import pytest

from tests.ntuples.conftest import write_ntuple
from tests.ntuples.filesets.contents import COLUMNFLOW, POCKET, ROLES
from zsig_hep.errors import InputError
from zsig_hep.ntuples import NtupleSettings, read_fileset, run_columns


def test_roles_give_the_order_and_may_leave_samples_out(write):
    processes = read_fileset(write(POCKET), {"muons": None, "dy": "background", "higgs": "signal"})
    assert list(processes) == ["dy", "higgs"]


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
    "skim without sum": (
        {("dy_high_2018", "metadata", "sum_genweights"): None},
        ROLES,
        "dataset 'dy_high_2018' is a skim without `sum_genweights`",
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
    "list of files only": ({("higgs_2018",): ["h.root"]}, ROLES, "is no known fileset; valid are"),
}


@pytest.mark.parametrize(("changes", "roles", "message"), POCKET_PROBLEMS.values(), ids=POCKET_PROBLEMS)
def test_problems_of_pocket_coffea(write, changes, roles, message):
    with pytest.raises(InputError, match=message):
        read_fileset(write(POCKET, changes), roles)


COLUMNFLOW_PROBLEMS = {
    "no cross section": ({("processes", 0, "xsecs"): None}, "dataset 'higgs_powheg' of 'higgs' has no cross section"),
    "process and its part": (
        {("datasets", "dy_high_amc", "processes"): ["dy"]},
        "'dy_low_amc' of 'dy_low' and 'dy_high_amc' of 'dy' count the same events twice",
    ),
    "extension": (
        {("datasets", "dy_high_amc", "processes"): ["dy_low"]},
        "'dy_low_amc' of 'dy_low' and 'dy_high_amc' of 'dy_low' count the same events twice",
    ),
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


@pytest.mark.parametrize(("name", "text"), [("f.json", "[]"), ("f.json", "{}"), ("f.yaml", "")])
def test_what_has_no_known_structure_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} is no known fileset; valid are"):
        read_fileset(tmp_path / name, {"a": "signal"})


def test_datasets_may_be_called_as_in_das(tmp_path):
    metadata = {"sample": "dy", "year": "2018", "isMC": "True", "xsec": "1"}
    file = tmp_path / "datasets.json"
    name = "/DYto2Mu/RunIII/NANOAODSIM"
    file.write_text(json.dumps({name: {"metadata": metadata, "files": ["root://x//dy.root"]}}))
    assert list(read_fileset(file, {"dy": "background"})["dy"].datasets) == [name]


@pytest.mark.parametrize(
    ("name", "xsec", "message"),
    [
        ("dy\x07", "1", r"a name may not have the control character"),
        ("dy", "1e300", "cross_section_pb: should be less than or equal to"),
    ],
)
def test_names_and_numbers_that_an_analysis_cannot_have(tmp_path, name, xsec, message):
    metadata = {"sample": "dy", "year": "2018", "isMC": "True", "xsec": xsec}
    file = tmp_path / "datasets.json"
    file.write_text(json.dumps({name: {"metadata": metadata, "files": ["root://x//dy.root"]}}))
    with pytest.raises(InputError, match=message):
        read_fileset(file, {"dy": "background"})
