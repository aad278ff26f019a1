import pytest

from tests.ntuples.filesets.contents import POCKET, ROLES
from zsig_hep.errors import InputError
from zsig_hep.ntuples import SignOf, SumValue, read_fileset


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


PROBLEMS = {
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
    "no files": ({("higgs_2018", "files"): []}, ROLES, r"dataset 'higgs_2018': `files` is \[\]"),
    "file twice in a dataset": (
        {("higgs_2018", "files"): ["h.root", "h.root"]},
        ROLES,
        "'h.root' occurs twice: its events would count twice",
    ),
    "not a flag": ({("higgs_2018", "metadata", "isMC"): "maybe"}, ROLES, "`isMC` is 'maybe'; valid are true and false"),
    "no metadata": ({("higgs_2018", "metadata"): "none"}, ROLES, "`metadata` is 'none'; valid is a group of keys"),
    "definition": ({("higgs_2018", "json_output"): "x.json"}, ROLES, "this is a definition.*build-datasets"),
}


@pytest.mark.parametrize(("changes", "roles", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_problems_of_a_dataset(write, changes, roles, message):
    with pytest.raises(InputError, match=message):
        read_fileset(write(POCKET, changes), roles)
