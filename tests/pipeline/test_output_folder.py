"""Stages are complete or absent, read only as they were written, and nothing else is touched."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zsig_hep.errors import InputError, OutputError
from zsig_hep.files import temporary_name
from zsig_hep.pipeline.output_folder import MARKER, RECORD, OutputFolder

LOCK = ".zsig-lock"

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
    b'{"stage": "columns", "fingerprint": "a", "files": {"result": {"size": 6}}}',
    b'{"fingerprint": "a", "files": {}}',
    b'{"files": {}}',
    b"[" * 100_000,
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
    """Content of the files by path, but for the lock and the marker at the top."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in {LOCK, MARKER}]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in {LOCK, MARKER})


def test_a_stage_is_put_in_place_at_the_end_only(output_folder):
    with output_folder.building("training/z", "a") as folder:
        (folder / "model").write_text("m")
        assert not output_folder.folder("training/z").exists()
        assert not output_folder.is_current("training/z", "a")
    assert output_folder.is_current("training/z", "a")
    assert not output_folder.is_current("training/z", "b")
    assert names_in(output_folder.root / "training") == ["z"]
    record = json.loads((output_folder.folder("training/z") / RECORD).read_text())
    assert record["files"] == {"model": {"size": 1, "sha256": hashlib.sha256(b"m").hexdigest()}}
    assert record["stage"] == "training/z"
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
    assert names_in(output_folder.root) == ["columns"]
    assert output_folder.is_current("columns", "a")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_does_not_take_the_stage_is_an_output_error(output_folder, number):
    build(output_folder)
    before = everything_in(output_folder.root)
    match = rf"cannot write .*columns: {os.strerror(number)}\. Choose another output folder"
    with pytest.raises(OutputError, match=match):
        half_build(output_folder, OSError(number, os.strerror(number)))
    assert everything_in(output_folder.root) == before
    assert names_in(output_folder.root) == ["columns"]


def test_a_disk_that_is_full_when_the_stage_is_put_in_place(output_folder, monkeypatch):
    build(output_folder)

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"), output_folder.building("columns", "b"):
        monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.undo()
    assert output_folder.is_current("columns", "a")
    assert names_in(output_folder.root) == ["columns"]


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
    build(output_folder)
    (output_folder.root / "training").write_text("a file in the way")
    assert output_folder.recorded("training/z") is None
    with pytest.raises(OutputError, match=r"cannot write .*training/z"), output_folder.building("training/z", "a"):
        pass


def test_a_file_whose_content_changed_is_not_read(output_folder):
    build(output_folder)
    path = output_folder.folder("columns") / "result"
    with output_folder.reading("columns", "a", "result") as folder:
        assert (folder / "result").read_text() == "result"
    path.write_text("resulT")
    assert output_folder.is_current("columns", "a")
    assert not output_folder.is_intact("columns", "a")
    match = r"columns/result is not what was written, by its digest: .*Repeat its stage with --force"
    with pytest.raises(InputError, match=match), output_folder.reading("columns", "a", "result"):
        pass
    with output_folder.reading("columns", "a", "deep/table"):
        pass


@pytest.mark.parametrize("name", ["unknown", "stage.json", "../columns/result"])
def test_only_recorded_files_are_read(output_folder, name):
    build(output_folder)
    with pytest.raises(InputError, match="is not what was written"), output_folder.reading("columns", "a", name):
        pass


def test_a_stage_of_other_settings_is_not_read(output_folder):
    for expected in ("a", "b"):
        with pytest.raises(InputError, match="does not hold a result for the present settings"):
            read_while(output_folder, expected, lambda: None)
        build(output_folder, expected="c")


def test_a_stage_that_is_replaced_while_it_is_read_is_noticed(output_folder):
    build(output_folder)
    read_while(output_folder, "a", lambda: build(output_folder, expected="a"))
    with pytest.raises(InputError, match="replaced by another run while it was read"):
        read_while(output_folder, "a", lambda: build(output_folder, expected="a", content="others"))


def read_while(output_folder: OutputFolder, expected: str, happens: Callable[[], None]) -> None:
    with output_folder.reading("columns", expected, "result"):
        happens()


class TestWhatIsTheUsers:
    """Nothing is removed or replaced that the program did not write."""

    @pytest.mark.parametrize("content", ["file", "folder/file"])
    def test_a_folder_that_holds_something_is_not_written_to(self, tmp_path, content):
        (tmp_path / content).parent.mkdir(exist_ok=True)
        (tmp_path / content).write_text("mine")
        before = everything_in(tmp_path)
        match = r"is not empty \(it holds '(file|folder)'\) and was not made by this version of zsig"
        with pytest.raises(OutputError, match=match):
            build(OutputFolder(tmp_path))
        assert everything_in(tmp_path) == before
        assert not (tmp_path / LOCK).exists()

    @pytest.mark.parametrize("root", ["", "a\0b"])
    def test_what_is_no_path_is_refused(self, root):
        with pytest.raises(OutputError, match="is no path: give its name"):
            OutputFolder(root)

    def test_an_empty_folder_becomes_an_output_folder_in_which_the_user_may_put_things(self, tmp_path):
        build(OutputFolder(tmp_path))
        (tmp_path / "notes.txt").write_text("mine")
        build(OutputFolder(tmp_path), expected="b")
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_a_folder_without_the_record_of_its_stage_is_not_replaced(self, output_folder):
        build(output_folder)
        (output_folder.root / "report").mkdir()
        (output_folder.root / "report" / "thesis.tex").write_text("mine")
        shutil.copytree(output_folder.folder("columns"), output_folder.root / "export")
        (output_folder.root / "cuts").write_text("mine")
        (output_folder.root / "selection").symlink_to(output_folder.folder("columns"))
        before = everything_in(output_folder.root)
        for stage in ("report", "export", "cuts", "selection"):
            with pytest.raises(OutputError, match=rf"{stage} is not a result of this program: it is not replaced"):
                build(output_folder, stage)
        assert everything_in(output_folder.root) == before
        assert (output_folder.root / "selection").is_symlink()

    def test_an_empty_folder_is_taken(self, output_folder):
        build(output_folder)
        (output_folder.root / "report").mkdir()
        build(output_folder, "report")
        assert output_folder.is_current("report", "a")

    def test_what_the_user_put_into_a_stage_is_kept(self, tmp_path):
        told = []
        output_folder = OutputFolder(tmp_path / "out", announce=told.append)
        build(output_folder)
        (output_folder.folder("columns") / "deep" / "mine").write_text("mine")
        build(output_folder, expected="b")
        (kept,) = output_folder.root.glob("kept-from-columns-*")
        assert everything_in(kept) == {"deep/mine": b"mine"}
        assert told == [f"files that zsig did not write are kept in {kept}"]
        assert output_folder.is_intact("columns", "b")

    def test_what_stands_in_a_stage_with_a_damaged_record_is_kept(self, output_folder):
        build(output_folder)
        (output_folder.folder("columns") / RECORD).write_text("{")
        build(output_folder, expected="b")
        (kept,) = output_folder.root.glob("kept-from-columns-*")
        assert sorted(everything_in(kept)) == ["deep/table", "result", RECORD]
        assert output_folder.is_intact("columns", "b")


class TestLeftovers:
    """What killed runs left is in nobody's way, and removed by the next that writes."""

    def test_temporary_folders_and_files_go_away(self, output_folder):
        build(output_folder)
        for folder in (output_folder.root, output_folder.root / "training" / "checkpoints"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / temporary_name(".part")).write_text("half")
            (folder / temporary_name(".part").replace("part", "x.part")).mkdir()
        left = output_folder.root / "training" / temporary_name(".part")
        left.mkdir()
        (left / "half").write_text("half")
        build(OutputFolder(output_folder.root), "cuts")
        assert names_in(output_folder.root) == ["columns", "cuts", "training"]
        assert names_in(output_folder.root / "training") == ["checkpoints"]
        assert names_in(output_folder.root / "training" / "checkpoints") == []

    @pytest.mark.parametrize("stage", ["columns", "training/z"])
    def test_a_stage_that_was_moved_away_but_not_replaced_comes_back(self, output_folder, stage):
        build(output_folder, stage)
        target = output_folder.folder(stage)
        target.rename(target.with_name(temporary_name(".old")))
        with OutputFolder(output_folder.root).writing():
            pass
        assert output_folder.is_intact(stage, "a")

    def test_a_stage_that_was_replaced_goes_away(self, output_folder):
        build(output_folder)
        shutil.copytree(output_folder.folder("columns"), output_folder.root / temporary_name(".old"))
        build(output_folder, expected="b")
        assert names_in(output_folder.root) == ["columns"]
        assert output_folder.is_intact("columns", "b")

    def test_only_names_of_this_program_are_leftovers(self, output_folder):
        build(output_folder)
        for name in (".columns.12.part", "mine.part", ".zsig-notes"):
            (output_folder.root / name).write_text("mine")
        build(output_folder, expected="b")
        assert names_in(output_folder.root) == [".columns.12.part", ".zsig-notes", "columns", "mine.part"]


HOLD = """
import sys
from zsig_hep.pipeline.output_folder import OutputFolder
with OutputFolder(sys.argv[1]).writing():
    print("locked", flush=True)
    sys.stdin.readline()
"""


class TestOneWriter:
    @pytest.fixture
    def holder(self, tmp_path):
        """Another process that holds the lock until a line is written to it."""
        command = [sys.executable, "-c", HOLD, tmp_path / "out"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "locked\n"
            yield process
            process.kill()

    def test_a_second_writer_waits(self, tmp_path, holder):
        told = []

        def announce(line):
            told.append(line)
            holder.stdin.write("\n")
            holder.stdin.flush()

        build(OutputFolder(tmp_path / "out", announce=announce))
        assert told == [f"waiting for another run that writes to {tmp_path / 'out'}"]
        assert holder.wait() == 0

    def test_or_refuses(self, tmp_path, holder):
        with pytest.raises(OutputError, match=r"another run writes to .*out: wait until it has ended"):
            build(OutputFolder(tmp_path / "out", wait=False))
        holder.kill()
        holder.wait()
        build(OutputFolder(tmp_path / "out", wait=False))

    def test_a_reader_needs_no_lock(self, output_folder):
        build(output_folder)
        with output_folder.writing():
            read_while(OutputFolder(output_folder.root, wait=False), "a", lambda: None)

    def test_the_lock_is_held_until_the_outermost_block_ends(self, output_folder):
        with output_folder.writing():
            build(output_folder)
            with pytest.raises(OutputError, match="another run writes"):
                build(OutputFolder(output_folder.root, wait=False))
        build(OutputFolder(output_folder.root, wait=False))


@pytest.mark.parametrize("inside", ["file", "file/out", "file/deep/out"])
def test_an_output_folder_that_cannot_be_made(tmp_path, inside):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=r"cannot write .*file.*Choose another output folder"):
        build(OutputFolder(tmp_path / inside))
    assert (tmp_path / "file").read_text() == "kept"


def test_an_output_folder_that_cannot_be_written_to(output_folder, monkeypatch):
    def refuse(self, *_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*out: Permission denied"):
        build(output_folder)


def test_the_name_of_an_output_folder_can_be_too_long(tmp_path):
    with pytest.raises(OutputError, match="name too long"):
        build(OutputFolder(tmp_path / ("x" * 300)))


def test_an_output_folder_that_is_only_read_is_not_made(tmp_path):
    output_folder = OutputFolder(tmp_path / "out")
    assert not output_folder.is_current("columns", "a")
    assert not (tmp_path / "out").exists()


def test_modes_follow_the_umask(output_folder):
    before = os.umask(0o027)
    try:
        build(output_folder)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in output_folder.root.rglob("*") if path.is_file()}
    assert modes == {0o640}
    assert output_folder.folder("columns").stat().st_mode & 0o777 == 0o750
