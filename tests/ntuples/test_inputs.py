import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from tests.ntuples.conftest import event_arrays, two_processes, with_changed, write_ntuple
from tests.ntuples.varied_search import read
from zsig_hep.errors import InputError
from zsig_hep.ntuples import check_inputs
from zsig_hep.ntuples.variations import WeightVariation


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


@pytest.mark.parametrize("key", [b"genEventSumw2", b"genEventCount"])
def test_damaged_runs_tree(refused, checked, tmp_path, key):
    """A length of 255 before a name: uproot reads beyond the header of the tree."""
    path = write_ntuple(tmp_path / "b.root", 100).path
    content = path.read_bytes()
    assert content.count(bytes([len(key)]) + key) >= 1
    path.write_bytes(content.replace(bytes([len(key)]) + key, b"\xf0" + key))
    match = r"b\.root is truncated or damaged: copy or produce it again \("
    refused(match)
    with pytest.raises(InputError, match=match):
        checked()


def test_a_branch_that_lost_entries(refused, tmp_path):
    """The header of the tree counts one event less than its branches: it would vanish without a word."""
    path = write_ntuple(tmp_path / "b.root", 1234).path
    content = path.read_bytes()
    with uproot.open(path) as file:
        start = file["Events"].cursor.index
    fewer = content[:start] + content[start:].replace((1234).to_bytes(8, "big"), (1233).to_bytes(8, "big"), 1)
    path.write_bytes(fewer)
    refused(r"b\.root is truncated or damaged.*: tree 'Events' has 1233 entries, its branch '\w+' 1234")


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


def test_weight_that_is_not_finite_is_found_by_the_check(checked, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(100, 2), "genWeight", 57, np.nan), runs=(300.0, 300))
    with pytest.raises(InputError, match="NaN or infinite in 1 events"):
        checked()


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


def test_a_branch_that_only_one_process_has_is_used_when_that_process_is_named(search, small_search, tmp_path):
    shutil.copy(small_search.folder / "top.root", search.folder / "top.root")
    isr = WeightVariation(kind="weight", branch="PSWeight", up=0, down=2)
    with pytest.raises(InputError, match=r"top\.root.*no branch 'PSWeight'.*processes: \[\.\.\.\]"):
        read(search, tmp_path / "a", {"isr": isr})
    table = read(search, tmp_path / "b", {"isr": isr.model_copy(update={"processes": ["higgs", "dy"]})}).table
    top = table.process == 2
    assert (table.weight_variations["isr"][0][top] == table.weight[top]).all()


def test_a_branch_of_a_variation_is_asked_for_by_its_name(search):
    isr = WeightVariation(kind="weight", branch="PSWeigth", up=0, down=2)
    analysis = search.analysis()
    with pytest.raises(InputError, match=r"no branch 'PSWeigth'. Did you mean 'PSWeight'.*Variation 'v'"):
        check_inputs(
            analysis.ntuples, analysis.processes, base_folder=search.folder, luminosity_ifb=1.0, variations={"v": isr}
        )


LITTLE_MEMORY = """
import resource
import sys
from pathlib import Path

from zsig_hep.errors import InputError
from zsig_hep.ntuples.inputs import open_file
from zsig_hep.ntuples.resolution import SourceFile

hard = resource.getrlimit(resource.RLIMIT_AS)[1]
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**20, hard))
try:
    with open_file(SourceFile(sys.argv[1], "Events")):
        pass
except InputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the address space is read from /proc")
def test_short_memory_is_an_error_and_nothing_hangs(tmp_path):
    path = tmp_path / "b.root"
    path.write_bytes(write_ntuple(tmp_path / "a.root", 50).path.read_bytes() + bytes(2**21))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", LITTLE_MEMORY, path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"memory is too short to open {path} (")
