import shutil

import pytest

from tests.ntuples.conftest import write_ntuple
from tests.ntuples.varied_search import read, with_data
from zsig_hep.errors import InputError
from zsig_hep.ntuples import Dataset, NtupleSettings, Process, resolve_datasets, resolve_files


def dataset(**changes):
    return {"files": ["a.root"], "cross_section_pb": 1.0} | changes


def test_missing_file(refused):
    refused(
        r"dataset 'b' of 'dy': file .*signa\.root does not exist\. Did you mean 'signal\.root'",
        background=["signa.root"],
    )


def test_glob_without_match(refused):
    refused(r"no file matches 'nothing_\*\.root'", background=["nothing_*.root"])


def test_missing_folder(refused):
    refused(r"There is no folder", background=["nowhere/b.root"])


def test_same_file_twice(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "link.root").symlink_to(tmp_path / "b.root")
    refused(r"link\.root is listed twice", background=["b.root", "link.root"])
    refused(r"b\.root is listed twice", background=["b.root", "*.root"])


def test_files_are_found_in_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b_2.root", "b_1.root", "a.root", "sub/c.root"):
        (tmp_path / name).touch()
    patterns = [
        "b_*.root",
        "a.root:other/tree",
        "root://host:1094//store/x.root:Tree",
        "root://host//y.root",
        f"root://host//token.root?authz={'a' * 300}",
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
        (f"root://host//token.root?authz={'a' * 300}", "T"),
        ("root://host.fnal.gov:1094//z.root", "T"),
        ("sub/c.root", "T"),
    ]


def test_file_addresses_are_local_files(tmp_path):
    for name in ("b 1.root", "b 2.root", "c%20.root"):
        (tmp_path / name).touch()
    patterns = [f"file://{tmp_path}/b%20*.root:T", f"FILE://localhost{tmp_path}/c%20.root"]
    found = resolve_files(Dataset(**dataset(files=patterns)), tmp_path)
    assert [(file.path, file.tree) for file in found] == [
        (f"{tmp_path}/b 1.root", "T"),
        (f"{tmp_path}/b 2.root", "T"),
        (f"{tmp_path}/c%20.root", "Events"),
    ]
    assert not any(file.is_remote for file in found)


def test_a_missing_file_address_is_a_missing_file(tmp_path):
    (tmp_path / "signal.root").touch()
    for scheme in ("file://", "file://localhost", ""):
        with pytest.raises(InputError) as caught:
            resolve_files(Dataset(**dataset(files=[f"{scheme}{tmp_path}/signa.root"])), tmp_path)
        assert str(caught.value) == f"file {tmp_path}/signa.root does not exist. Did you mean 'signal.root'?"


def test_a_file_address_of_another_computer(tmp_path):
    with pytest.raises(InputError, match=r"'file://host/a\.root' names the computer 'host'; valid are a path"):
        resolve_files(Dataset(**dataset(files=["file://host/a.root"])), tmp_path)


@pytest.mark.parametrize("name", ["a\0b.root", "\ud800.root", "a" * 300 + ".root", "file:///a\0b.root"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(InputError, match="cannot be the name of a file"):
        resolve_files(Dataset.model_construct(files=[name], tree=None), tmp_path)


def test_a_file_and_its_address_are_the_same_file(tmp_path):
    (tmp_path / "a.root").touch()
    with pytest.raises(InputError, match=r"a\.root is listed twice"):
        resolve_files(Dataset(**dataset(files=["a.root", f"file://{tmp_path}/a.root"])), tmp_path)


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


def test_data_without_a_mask_beside_certified_data_have_to_say_so(search, tmp_path):
    (search.folder / "golden.json").write_text('{"1": [[1, 1]]}')
    shutil.copy(search.folder / "data.root", search.folder / "more.root")
    other = {"files": ["more.root"]}
    both = with_data(luminosity_mask="golden.json")
    both["processes"]["data"]["datasets"]["more"] = other
    with pytest.raises(InputError, match=r"'more' is data without a luminosity mask.*luminosity_mask: null"):
        read(search, tmp_path / "a", {}, **both)
    other["luminosity_mask"] = None
    kept = read(search, tmp_path / "b", {}, **both).cutflows["data"]
    assert {row.cut for row in kept} == {"ntuple", "luminosity mask", "selection"}


def test_a_file_is_not_data_and_simulation_at_once(search, tmp_path):
    with pytest.raises(InputError, match=r"dy\.root is data and simulation at once"):
        read(search, tmp_path / "out", {}, **with_data(files=["dy.root"]))


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-here/a.root", "a**/b.root"])
def test_paths_that_the_system_refuses(tmp_path, name):
    given = Dataset.model_construct(files=[name], tree=None)
    with pytest.raises(InputError, match=r"cannot be (looked up|the name of a file)") as caught:
        resolve_files(given, tmp_path)
    assert len(str(caught.value)) < 1000
