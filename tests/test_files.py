"""Files that appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path, cannot_write, scratch_folder


def half_write(target: Path, error: Exception) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o644


def test_an_older_file_survives_an_error(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyError):
        half_write(target, KeyError())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_worded_and_leaves_nothing(tmp_path):
    target = tmp_path / "a.txt"
    match = r"cannot write .*a\.txt: No space left on device\. Choose another output folder"
    with pytest.raises(OutputError, match=match):
        half_write(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt"), atomic_path(tmp_path / "file" / "a.txt"):
        pass
    with pytest.raises(OutputError, match=r"cannot write"), scratch_folder(tmp_path / "file", "x"):
        pass


def test_a_folder_in_the_way_of_a_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: Is a directory"), atomic_path(tmp_path / "a.txt"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_scratch_folder_is_fresh_and_goes_away(tmp_path):
    with scratch_folder(tmp_path / "new", ".x-") as first, scratch_folder(tmp_path / "new", ".x-") as second:
        assert first != second
        assert first.is_absolute()
        (first / "deep").mkdir()
        (first / "deep" / "file").write_text("")
    assert not list((tmp_path / "new").iterdir())


def test_a_scratch_folder_goes_away_after_an_error(tmp_path):
    with pytest.raises(KeyError), scratch_folder(tmp_path, ".x-"):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_an_error_without_a_reason_is_worded():
    assert "cannot write a: it broke" in str(cannot_write(Path("a"), OSError("it broke")))
