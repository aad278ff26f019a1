"""Stages are complete or absent, and current only when what they depended on is what it was."""

import errno
import json
import os
from pathlib import Path

import pytest

from zsig_hep.errors import OutputError
from zsig_hep.pipeline.output_folder import (
    RECORD,
    OutputFolder,
    code_fingerprint,
    file_identity,
    fingerprint,
    source_fingerprint,
)

DAMAGED = [
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'{"fingerprint": "a"}',
    b'{"fingerprint": "a", "files": null}',
    b'{"fingerprint": "a", "files": {"result": "1"}}',
    b'{"files": {}}',
]


@pytest.fixture
def output_folder(tmp_path):
    return OutputFolder(tmp_path / "out")


def build(output_folder: OutputFolder, stage: str = "columns", expected: str = "a", content: str = "result") -> None:
    with output_folder.building(stage, expected) as folder:
        (folder / "deep").mkdir()
        (folder / "result").write_text(content)
        (folder / "deep" / "table").write_text("1 2 3")


def half_build(output_folder: OutputFolder, error: BaseException) -> None:
    with output_folder.building("columns", "b") as folder:
        (folder / "result").write_text("half")
        raise error


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "other",
    [
        ({"a": 1.0000001}, "x"),
        ({"a": 1, "b": None}, "x"),
        ({"b": 1}, "x"),
        ({"a": 1}, "y"),
        ({"a": 1},),
        ("x", {"a": 1}),
    ],
)
def test_a_fingerprint_sees_every_difference(other):
    assert fingerprint(*other) != fingerprint({"a": 1}, "x")


def test_a_fingerprint_ignores_the_order_of_keys_and_keeps_that_of_lists():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) == fingerprint((1, 2)) != fingerprint([2, 1])
    assert fingerprint(Path("a")) == fingerprint("a")


def test_a_fingerprint_of_code_is_that_of_its_rooms():
    assert code_fingerprint("statistics") == code_fingerprint("statistics")
    rooms = [("statistics",), ("ntuples",), ("statistics", "ntuples"), ("learning",), ("presentation",)]
    assert len({code_fingerprint(*names) for names in rooms}) == len(rooms)


def test_the_code_of_the_presentation_includes_its_template(monkeypatch, tmp_path):
    (tmp_path / "room").mkdir()
    monkeypatch.setattr("zsig_hep.pipeline.output_folder.__file__", str(tmp_path / "pipeline" / "output_folder.py"))
    seen = set()
    for name, text in [("a.py", "1"), ("a.py", "2"), ("report.html.j2", "1"), ("report.html.j2", "2")]:
        (tmp_path / "room" / name).write_text(text)
        seen.add(code_fingerprint("room"))
    assert len(seen) == 4
    (tmp_path / "room" / "a.pyc").write_text("compiled")
    assert code_fingerprint("room") in seen


def test_a_source_is_known_by_its_text_and_that_of_the_files_beside_it(tmp_path):
    columns = tmp_path / "columns.py"
    seen = {source_fingerprint(columns)}
    for name, text in [("columns.py", "1"), ("columns.py", "2"), ("helpers.py", "1"), ("other.py", "1")]:
        (tmp_path / name).write_bytes(text.encode() + b"\xe9")
        seen.add(source_fingerprint(columns))
    assert len(seen) == 5
    (tmp_path / "notes.txt").write_text("no code")
    columns.touch()
    assert source_fingerprint(columns) in seen


def test_a_file_is_known_by_name_size_and_time(tmp_path):
    path = tmp_path / "a.root"
    path.write_text("12")
    first = file_identity(str(path), is_remote=False)
    assert file_identity(str(path), is_remote=False) == first
    os.utime(path, ns=(1, 1))
    assert file_identity(str(path), is_remote=False) != first
    assert file_identity("root://host//a.root", is_remote=True) == ["root://host//a.root"]


def test_a_stage_is_put_in_place_at_the_end_only(output_folder):
    with output_folder.building("training/z", "a") as folder:
        (folder / "model").write_text("m")
        assert not output_folder.folder("training/z").exists()
        assert not output_folder.is_current("training/z", "a")
    assert output_folder.is_current("training/z", "a")
    assert not output_folder.is_current("training/z", "b")
    assert sorted(path.name for path in (output_folder.root / "training").iterdir()) == ["z"]
    record = json.loads((output_folder.folder("training/z") / RECORD).read_text())
    assert record["files"] == {"model": 1}
    assert record["versions"]["torch"]


def test_a_new_stage_replaces_all_of_the_old_one(output_folder):
    build(output_folder)
    with output_folder.building("columns", "b") as folder:
        (folder / "other").write_text("")
    assert sorted(everything_in(output_folder.root)) == ["columns/other", f"columns/{RECORD}"]


@pytest.mark.parametrize("error", [KeyError("bug"), KeyboardInterrupt(), OSError(errno.EIO, "broken disk")])
def test_an_error_leaves_the_old_stage_as_it_was(output_folder, error):
    build(output_folder)
    before = everything_in(output_folder.root)
    with pytest.raises(type(error)):
        half_build(output_folder, error)
    assert everything_in(output_folder.root) == before
    assert [path.name for path in output_folder.root.iterdir()] == ["columns"]
    assert output_folder.is_current("columns", "a")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_does_not_take_the_stage_is_an_output_error(output_folder, number):
    build(output_folder)
    before = everything_in(output_folder.root)
    match = rf"cannot write .*columns: {os.strerror(number)}\. Choose another output folder"
    with pytest.raises(OutputError, match=match):
        half_build(output_folder, OSError(number, os.strerror(number)))
    assert everything_in(output_folder.root) == before
    assert [path.name for path in output_folder.root.iterdir()] == ["columns"]


def test_a_disk_that_is_full_when_the_stage_is_put_in_place(output_folder, monkeypatch):
    build(output_folder)

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"), output_folder.building("columns", "b"):
        monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.undo()
    assert output_folder.is_current("columns", "a")
    assert [path.name for path in output_folder.root.iterdir()] == ["columns"]


def test_what_a_killed_process_of_the_same_number_left_is_in_nobodys_way(output_folder):
    build(output_folder)
    for suffix in ("part", "old"):
        leftover = output_folder.root / f".columns.{os.getpid()}.{suffix}"
        leftover.mkdir()
        (leftover / "half").write_text("half")
    build(output_folder, expected="b")
    assert output_folder.is_current("columns", "b")
    assert sorted(everything_in(output_folder.root)) == ["columns/deep/table", "columns/result", f"columns/{RECORD}"]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_is_not_current(output_folder, content):
    build(output_folder)
    (output_folder.folder("columns") / RECORD).write_bytes(content)
    assert output_folder.recorded("columns") is None
    assert not output_folder.is_current("columns", "a")


def test_a_stage_that_lost_a_file_is_not_current(output_folder):
    build(output_folder)
    (output_folder.folder("columns") / "deep" / "table").unlink()
    assert not output_folder.is_current("columns", "a")
    build(output_folder)
    (output_folder.folder("columns") / "result").write_text("resu")
    assert not output_folder.is_current("columns", "a")


def test_a_stage_that_is_not_there_is_not_current(output_folder):
    assert output_folder.recorded("columns") is None
    (output_folder.root / "training").write_text("a file in the way")
    assert output_folder.recorded("training/z") is None
    with pytest.raises(OutputError, match=r"cannot write .*training/z"), output_folder.building("training/z", "a"):
        pass


@pytest.mark.parametrize("inside", ["file", "file/out", "file/deep/out"])
def test_an_output_folder_that_cannot_be_made(tmp_path, inside):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=r"cannot write .*file.*Choose another output folder"):
        OutputFolder(tmp_path / inside)
    assert (tmp_path / "file").read_text() == "kept"


def test_an_output_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    def refuse(self, *_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*out: Permission denied"):
        OutputFolder(tmp_path / "out")


def test_the_name_of_an_output_folder_can_be_too_long(tmp_path):
    with pytest.raises(OutputError, match="name too long"):
        OutputFolder(tmp_path / ("x" * 300))


def test_making_an_output_folder_leaves_no_trace(tmp_path):
    OutputFolder(tmp_path / "deep" / "out")
    OutputFolder(tmp_path / "deep" / "out")
    assert not list((tmp_path / "deep" / "out").iterdir())
