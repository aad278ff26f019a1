"""Files that appear whole or not at all."""

import errno
import hashlib
import os
from functools import partial
from pathlib import Path

import pytest

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path, cannot_write, file_digest, flush_to_disk, scratch_folder


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


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask_whatever_writes(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.unlink()
            temporary.write_text("another file")
            temporary.chmod(0o400)
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_data_are_on_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def record(handle):
        flushed.append((str(Path(f"/proc/self/fd/{handle}").readlink()), (tmp_path / "a.txt").exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert flushed == [(str(temporary), False), (str(tmp_path), True)]


def test_a_file_system_without_such_a_call_is_accepted(tmp_path, monkeypatch):
    def refuse(_handle, number=errno.EINVAL):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    flush_to_disk(tmp_path)
    monkeypatch.setattr(os, "fsync", partial(refuse, number=errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        flush_to_disk(tmp_path)


def test_a_digest_is_that_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


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
