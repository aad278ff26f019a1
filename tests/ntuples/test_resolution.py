import numpy as np
import pytest

from tests.ntuples.conftest import write_ntuple
from tests.ntuples.varied_search import read, with_data, write_data
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
    for part in ("occurs in processes 's' and 'b'", "missing.root does not exist", "a.root is in dataset 'x'"):
        assert part in str(caught.value)


def test_data_without_a_mask_beside_certified_data_have_to_say_so(search, tmp_path):
    (search.folder / "golden.json").write_text('{"1": [[1, 1]]}')
    write_data(search.folder / "more.root", np.arange(100, 160))
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


class TestSharedFiles:
    """Two datasets with the same files: copies of an event would be in two folds, or count twice."""

    @staticmethod
    def resolve(folder, first=("a.root",), second=("a.root",), *, role="background", settings=None, **options):
        for name in ("a.root", "b.root"):
            (folder / name).touch()
        processes = {
            "s": Process(role="signal", datasets={"x": Dataset(**dataset(files=first))}),
            "b": Process(role=role, datasets={"y": Dataset(**dataset(files=second, **options))}),
        }
        return resolve_datasets(settings or NtupleSettings(), processes, folder)

    def test_in_two_processes(self, tmp_path):
        with pytest.raises(
            InputError, match=r"a\.root is in dataset 'x' of 's' and in 'y' of 'b'.*shares_events_with: x"
        ):
            self.resolve(tmp_path)

    def test_by_another_path(self, tmp_path):
        (tmp_path / "folder").symlink_to(tmp_path)
        (tmp_path / "link.root").symlink_to("a.root")
        others = ("link.root", "folder/a.root", "a*.root", f"file://{tmp_path}/a.root")
        for other in others:
            with pytest.raises(InputError, match="is in dataset 'x' of 's' and in 'y' of 'b'"):
                self.resolve(tmp_path, second=(other,))

    def test_addresses(self, tmp_path):
        remote = ("root://host//a.root",)
        with pytest.raises(InputError, match="is in dataset 'x' of 's' and in 'y' of 'b'"):
            self.resolve(tmp_path, remote, remote)

    def test_each_pair_is_one_line(self, tmp_path):
        with pytest.raises(InputError, match=r"b\.root \(and 1 more\) is in dataset") as caught:
            self.resolve(tmp_path, ("a.root", "b.root"), ("b.root", "a.root"))
        assert len(str(caught.value).splitlines()) == 1

    def test_other_files_or_trees_are_no_copies(self, tmp_path):
        assert len(self.resolve(tmp_path, second=("b.root",))) == 2
        assert len(self.resolve(tmp_path, second=("a.root:Other",))) == 2

    def test_on_purpose(self, tmp_path):
        x, y = self.resolve(tmp_path, shares_events_with="x")
        assert (x.events_of, y.events_of) == ("x", "x")
        x, y = self.resolve(tmp_path, second=("b.root",))
        assert (x.events_of, y.events_of) == ("x", "y")

    def test_three_datasets_share_with_the_first(self, tmp_path):
        (tmp_path / "a.root").touch()
        datasets = {
            "y": Dataset(**dataset(shares_events_with="x")),
            "z": Dataset(**dataset(shares_events_with="x")),
        }
        processes = {
            "s": Process(role="signal", datasets={"x": Dataset(**dataset())}),
            "b": Process(role="background", datasets=datasets),
        }
        found = resolve_datasets(NtupleSettings(), processes, tmp_path)
        assert [each.events_of for each in found] == ["x", "x", "x"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("xx", "shares_events_with names 'xx', which is no other dataset. Did you mean 'x'"),
            ("y", "shares_events_with names 'y', which is no other dataset. There are: x"),
        ],
    )
    def test_with_no_other_dataset(self, tmp_path, name, message):
        with pytest.raises(InputError, match=message):
            self.resolve(tmp_path, shares_events_with=name)

    def test_chains(self, tmp_path):
        (tmp_path / "a.root").touch()
        processes = {
            "s": Process(role="signal", datasets={"x": Dataset(**dataset(shares_events_with="y"))}),
            "b": Process(role="background", datasets={"y": Dataset(**dataset(shares_events_with="x"))}),
        }
        with pytest.raises(
            InputError, match="'x' shares events with 'y', which shares events with 'x' itself: name a dataset that"
        ):
            resolve_datasets(NtupleSettings(), processes, tmp_path)

    def test_events_without_identity(self, tmp_path):
        with pytest.raises(InputError, match="'y' shares events with 'x', which needs branches in event_identity"):
            self.resolve(tmp_path, shares_events_with="x", settings=NtupleSettings(event_identity="content"))


def test_events_that_are_shared_are_in_the_same_fold(search, tmp_path):
    def processes(**options):
        shared = {"files": ["dy.root"], "cross_section_pb": 0.02} | options
        return {"processes": {"top": {"role": "background", "datasets": {"tt": shared}}}}

    with pytest.raises(InputError, match=r"dy\.root is in dataset 'dy' of 'dy' and in 'tt' of 'top'"):
        read(search, tmp_path / "a", {}, **processes())
    table = read(search, tmp_path / "b", {}, **processes(shares_events_with="dy")).table
    dy, top = (table.select(table.process == table.process_names.index(name)) for name in ("dy", "top"))
    assert len(dy) == len(top) > 100
    assert dict(zip(dy.identity, dy.fold, strict=True)) == dict(zip(top.identity, top.fold, strict=True))


def test_shared_events_of_one_process_still_count_once(search, tmp_path):
    twice = {"again": {"files": ["dy.root"], "cross_section_pb": 0.1, "shares_events_with": "dy"}}
    with pytest.raises(InputError, match=r"process 'dy': .* events occur more than once with the same identity"):
        read(search, tmp_path / "out", {}, processes={"dy": {"datasets": twice}})
