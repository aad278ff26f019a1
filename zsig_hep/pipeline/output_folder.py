"""The output folder: one folder per stage, complete or absent, with a record of what it depends on and holds.

Only what a record names is ever removed: a folder without the record of its stage is the user's. One process writes at
a time, under a lock. A file of a stage is read only after its digest was compared with the record.
"""

import errno
import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from zsig_hep.errors import InputError, OutputError
from zsig_hep.files import TEMPORARY, atomic_path, cannot_write, file_digest, flush_to_disk, temporary_name

RECORD = "stage.json"
MARKER = "zsig-output.json"
"""File that tells an output folder from others."""

_UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}

# Between attempts to take a lock that another process holds.
_POLL_S = 0.2


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages on which numbers depend, for the provenance."""
    names = ("zsig_hep", "torch", "numpy", "coffea", "uproot", "awkward", "hist", "pyarrow", "scipy")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """The command line of this process, with the name of the program instead of its path."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


@dataclass(frozen=True)
class StageRecord:
    """What a finished stage depends on and holds.

    Attributes:
        stage: its name.
        fingerprint: hash of everything that it depends on.
        files: size [bytes] and SHA-256 of each file, by path in the folder of the stage.
    """

    stage: str
    fingerprint: str
    files: dict[str, tuple[int, str]]

    @classmethod
    def read(cls, folder: Path) -> "StageRecord | None":
        """The record in a folder; None if there is none that can be read."""
        try:
            content = json.loads((folder / RECORD).read_text())
            files = {str(name): (int(each["size"]), str(each["sha256"])) for name, each in content["files"].items()}
            return cls(str(content["stage"]), str(content["fingerprint"]), files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def write(self, folder: Path) -> None:
        """Write the record, with the versions of the packages."""
        files = {name: {"size": size, "sha256": digest} for name, (size, digest) in self.files.items()}
        content = {"stage": self.stage, "fingerprint": self.fingerprint, "versions": package_versions(), "files": files}
        (folder / RECORD).write_text(json.dumps(content, indent=1))

    def is_complete(self, folder: Path) -> bool:
        """Whether every file is there with its size; contents are compared when a file is read."""
        try:
            return all((folder / name).stat().st_size == size for name, (size, _) in self.files.items())
        except (OSError, ValueError):
            return False


class OutputFolder:
    """An output folder with one sub-folder per stage.

    A stage is built under a temporary name and renamed when it is complete and on disk, so that an interrupted run
    leaves no incomplete stage, and the old result remains until the new one is complete. Nothing is made or tried
    before the first stage is written, so that a finished folder can be read without permission to write.

    Args:
        root: the output folder; created with the first stage.
        wait: whether to wait for another process that writes to the folder; otherwise that is an error.
        announce: called with one line of text before it waits.

    Raises:
        OutputError: the path is empty or has a NUL character.
    """

    def __init__(
        self, root: Path | str, *, wait: bool = True, announce: Callable[[str], None] = lambda _line: None
    ) -> None:
        if not str(root) or "\0" in str(root):
            message = f'the output folder {str(root)!r} is no path: give its name, or "." for the working directory.'
            raise OutputError(message)
        self.root, self._wait, self._announce = Path(root), wait, announce
        self._lock: FileLock | None = None
        self._compared: set[tuple[Path, int, int, str]] = set()

    def folder(self, stage: str) -> Path:
        """The folder of a finished stage."""
        return self.root / stage

    def recorded(self, stage: str) -> str | None:
        """Fingerprint of a finished stage; None if it is absent, unreadable or incomplete."""
        record = self._record(stage)
        return None if record is None else record.fingerprint

    def is_current(self, stage: str, expected: str) -> bool:
        """Whether the stage is finished and has the expected fingerprint."""
        return self.recorded(stage) == expected

    def is_intact(self, stage: str, expected: str) -> bool:
        """Whether the stage is current and every file has the content that was written."""
        record = self._record(stage)
        return record is not None and record.fingerprint == expected and not self._altered(record, tuple(record.files))

    @contextmanager
    def reading(self, stage: str, expected: str, *names: str) -> Iterator[Path]:
        """Yield the folder of a stage to read files from, and check afterwards that no other run has replaced it.

        Args:
            stage: name of the stage.
            expected: its fingerprint.
            names: the files that are read, by path in the folder.

        Raises:
            InputError: the stage is not the expected one, or a file is not what was written.
        """
        folder, record = self.folder(stage), self._record(stage)
        if record is None or record.fingerprint != expected:
            message = f"{folder} does not hold a result for the present settings and input: run this stage again"
            raise InputError(message)
        if altered := self._altered(record, names):
            message = (
                f"{folder / altered} is not what was written, by its digest: it was damaged or changed. "
                "Repeat its stage with --force."
            )
            raise InputError(message)
        yield folder
        if self._record(stage) != record:
            message = f"{folder} was replaced by another run while it was read: run again"
            raise InputError(message)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the folder; the block may be entered again within itself.

        The first time in an empty folder it becomes an output folder. What runs that were killed left is removed, and a
        stage whose replacement they had begun is put back.

        Raises:
            OutputError: another process writes and `wait` is false; the folder is not empty and no output folder; or it
                cannot be written to.
        """
        if self._lock is not None:
            yield
            return
        with _as_output_error(self.root):
            self._require_own()
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / f"{TEMPORARY}lock", poll_interval=_POLL_S)
            self._acquire(lock)
        try:
            self._lock = lock
            with _as_output_error(self.root):
                self._require_own()
                self._tidy()
            if not (self.root / MARKER).exists():
                with atomic_path(self.root / MARKER) as path:
                    path.write_text(json.dumps({"about": "output folder of zsig_hep", "format": 1}))
            yield
        finally:
            self._lock = None
            lock.release()

    @contextmanager
    def building(self, stage: str, expected: str) -> Iterator[Path]:
        """Yield a temporary folder for a stage, and put it in place when the block ends without an error.

        Args:
            stage: name of the stage.
            expected: fingerprint to record.

        Raises:
            OutputError: in place of the stage there is something else; the folder cannot be written or the disk is
                full. The old result of the stage is unchanged.
        """
        target = self.folder(stage)
        with self.writing():
            self._require_replaceable(stage)
            temporary = target.with_name(temporary_name(".part"))
            try:
                with _as_output_error(target):
                    temporary.mkdir(parents=True)
                    yield temporary
                    paths = sorted(path for path in temporary.rglob("*") if path.is_file())
                    contents = {
                        path.relative_to(temporary).as_posix(): (path.stat().st_size, file_digest(path))
                        for path in paths
                    }
                    StageRecord(stage, expected, contents).write(temporary)
                    for path in (*temporary.rglob("*"), temporary):
                        flush_to_disk(path)
                    self._require_replaceable(stage)
                    self._replace(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _record(self, stage: str) -> StageRecord | None:
        folder = self.folder(stage)
        record = StageRecord.read(folder)
        return record if record and record.stage == stage and record.is_complete(folder) else None

    def _altered(self, record: StageRecord, names: Sequence[str]) -> str | None:
        """The first file whose content is not what was recorded; contents are compared once unless they change."""
        for name in names:
            path = self.folder(record.stage) / name
            _, digest = record.files.get(name, (0, ""))
            try:
                status = path.stat()
                known = (path, status.st_mtime_ns, status.st_size, digest)
                if known not in self._compared and file_digest(path) != digest:
                    return name
            except OSError:
                return name
            self._compared.add(known)
        return None

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not self._wait:
                message = f"another run writes to {self.root}: wait until it has ended, or choose another output folder"
                raise OutputError(message) from None
            self._announce(f"waiting for another run that writes to {self.root}")
            lock.acquire()

    def _require_own(self) -> None:
        """Refuse a folder that holds anything and is no output folder."""
        if not self.root.is_dir() or (self.root / MARKER).is_file():
            return
        foreign = [path for path in self.root.iterdir() if not path.name.startswith(TEMPORARY)]
        # The stages may have been copied without the file that tells an output folder.
        if foreign and not any((record := StageRecord.read(path)) and record.stage == path.name for path in foreign):
            message = (
                f"{self.root} is not empty (it holds {foreign[0].name!r}) and was not made by this version of zsig: "
                "nothing in it is touched. Choose another output folder."
            )
            raise OutputError(message)

    def _require_replaceable(self, stage: str) -> None:
        """Refuse to replace anything but a folder with the record of the stage, which may be damaged."""
        target = self.folder(stage)
        if not (target.exists() or target.is_symlink()):
            return
        if target.is_dir() and not target.is_symlink():
            record = StageRecord.read(target)
            if record.stage == stage if record else (target / RECORD).is_file() or not any(target.iterdir()):
                return
        message = f"{target} is not a result of this program: it is not replaced. Move it away, or choose another output folder."
        raise OutputError(message)

    def _replace(self, new: Path, target: Path) -> None:
        """Put a folder in place; the old one is renamed first, since no folder can be renamed onto another."""
        old = target.with_name(temporary_name(".old"))
        if target.exists():
            target.rename(old)
        new.rename(target)
        flush_to_disk(target.parent)
        if old.exists():
            self._remove_recorded(old, target.name)

    def _remove_recorded(self, old: Path, name: str) -> None:
        """Remove the files that the record of a replaced stage names, and keep what a user has put beside them.

        Without a readable record everything is kept.
        """
        if record := StageRecord.read(old):
            for recorded in (*record.files, RECORD):
                with suppress(OSError):
                    (old / recorded).unlink()
        for folder in sorted((path for path in old.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        try:
            old.rmdir()
        except OSError:
            kept = old.with_name(f"kept-from-{name}-{old.stem.removeprefix(TEMPORARY)[:8]}")
            with suppress(OSError):
                old.rename(kept)
                self._announce(f"files that zsig did not write are kept in {kept}")

    def _tidy(self) -> None:
        """Remove what killed runs left, and put back a stage that one had moved away but not replaced."""
        for folder in (self.root, self.root / "training", self.root / "training" / "checkpoints"):
            for path in sorted(folder.glob(f"{TEMPORARY}*")):
                if path.suffix == ".old" and path.is_dir():
                    self._put_back(path)
                elif path.suffix == ".part" and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.suffix == ".part":
                    path.unlink(missing_ok=True)

    def _put_back(self, old: Path) -> None:
        record = StageRecord.read(old)
        if record is not None and not self.folder(record.stage).exists():
            old.rename(self.folder(record.stage))
        else:
            self._remove_recorded(old, record.stage.rpartition("/")[2] if record else "stage")


@contextmanager
def _as_output_error(path: Path) -> Iterator[Any]:
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise cannot_write(path, error) from error
