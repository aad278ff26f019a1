"""The output folder: one folder per stage, complete or absent, each with a fingerprint of what it depended on."""

import errno
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zsig_hep.files import cannot_write

RECORD = "stage.json"
_UNWRITABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


def fingerprint(*parts: object) -> str:
    """Hash of anything that JSON can hold.

    Example:
        >>> fingerprint({"folds": 5}, "text") == fingerprint({"folds": 5}, "text")
        True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def code_fingerprint(*rooms: str) -> str:
    """Hash of the source and templates of some rooms, so that a result of other code is not taken for current.

    Args:
        rooms: names of sub-packages of zsig_hep.
    """
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((Path(__file__).parents[1] / room).rglob("*")):
            if path.suffix in {".py", ".j2"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def source_fingerprint(columns_file: Path) -> str:
    """Hash of a Python file and of those beside it, which it may import."""
    files = sorted({columns_file, *columns_file.parent.glob("*.py")})
    return fingerprint([[path.name, path.read_bytes().hex()] for path in files if path.is_file()])


def file_identity(path: str, *, is_remote: bool) -> list[object]:
    """Tell whether a file is the one that was read: name, size and time of a local one, the address of another."""
    if is_remote:
        return [path]
    status = Path(path).stat()
    return [path, status.st_size, status.st_mtime_ns]


def package_versions() -> dict[str, str]:
    """Versions of what decides a number, for the provenance."""
    names = ("zsig_hep", "torch", "numpy", "coffea", "uproot", "awkward", "hist", "pyarrow", "scipy")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class OutputFolder:
    """An output folder in which every stage owns a sub-folder.

    A stage is built under a temporary name and renamed when it is complete, so that a killed run leaves nothing
    half-written under a stage's name, and an older result stays until the new one is there.

    Args:
        root: the output folder; made if need be.

    Raises:
        OutputError: if it cannot be made or written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with _as_output_error(root):
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()

    def folder(self, stage: str) -> Path:
        """Where a finished stage lies."""
        return self.root / stage

    def recorded(self, stage: str) -> str | None:
        """Fingerprint of the finished stage, None if it is not there, unreadable, or a file of it is gone or cut."""
        folder = self.folder(stage)
        try:
            record = json.loads((folder / RECORD).read_text())
            complete = all((folder / name).stat().st_size == size for name, size in record["files"].items())
            return str(record["fingerprint"]) if complete else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def is_current(self, stage: str, expected: str) -> bool:
        """Whether the stage was finished from exactly these dependencies."""
        return self.recorded(stage) == expected

    @contextmanager
    def building(self, stage: str, expected: str) -> Iterator[Path]:
        """Give a temporary folder to build a stage in; put it in place when the block ends without an error.

        Args:
            stage: name of the stage.
            expected: fingerprint to record.

        Raises:
            OutputError: if the folder cannot be written or the disk is full; the stage stays as it was.
        """
        target = self.folder(stage)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with _as_output_error(target):
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                yield temporary
                files = {str(path.relative_to(temporary)): path.stat().st_size for path in _files(temporary)}
                record = {"fingerprint": expected, "versions": package_versions(), "files": files}
                (temporary / RECORD).write_text(json.dumps(record, indent=1))
                _replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def command_line() -> str:
    """The command that runs, with the program's name instead of its path."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _replace_folder(new: Path, target: Path) -> None:
    """Put a folder in another's place; a folder cannot be renamed onto a full one, so the old one steps aside first."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise cannot_write(path, error) from error
