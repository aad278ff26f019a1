import pytest

from tests.ntuples.filesets.contents import COLUMNFLOW, ROLES
from zsig_hep.errors import InputError
from zsig_hep.ntuples import SumValue, read_fileset


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


PROBLEMS = {
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
    "generator efficiency": (
        {("datasets", "higgs_powheg", "gen_eff"): 0.4},
        "gen_eff is 0.4, and order .*whether xsecs include it",
    ),
    "process as number": ({("datasets", "higgs_powheg", "processes"): 7}, "`processes` is 7; valid is a list of names"),
    "color": ({("processes", 1, "color"): ["a", 0, 0]}, r"the color \['a', 0, 0\] is not red, green and blue"),
    "datasets as text": ({("datasets",): "all"}, "a dataset is {name: {...}}, or stands with its `name` in a list"),
}


@pytest.mark.parametrize(("changes", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_problems_of_a_campaign(write, changes, message):
    with pytest.raises(InputError, match=message):
        read_fileset(write(COLUMNFLOW, changes), ROLES)
