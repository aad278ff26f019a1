"""The output folder: one folder per stage, complete or absent, with a fingerprint of what the stage depends on."""

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
    """Hash of JSON values; objects of other types are hashed as text.

    Example:
        >>> fingerprint({"folds": 5}, "text") == fingerprint({"folds": 5}, "text")
        True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def code_fingerprint(*rooms: str) -> str:
    """Hash of the source code and templates of sub-packages, so that results of older code are not current.

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
    """Hash of a Python file and of those in the same folder, which it may import."""
    files = sorted({columns_file, *columns_file.parent.glob("*.py")})
    return fingerprint([[path.name, path.read_bytes().hex()] for path in files if path.is_file()])


def file_identity(path: str, *, is_remote: bool) -> list[object]:
    """Identity of a file: path, size and modification time of a local file, the address of a remote one."""
    if is_remote:
        return [path]
    status = Path(path).stat()
    return [path, status.st_size, status.st_mtime_ns]


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


class OutputFolder:
    """An output folder with one sub-folder per stage.

    A stage is built under a temporary name and renamed when it is complete, so that an interrupted run leaves no
    incomplete stage, and the old result remains until the new one is complete.

    Args:
        root: the output folder; created if it does not exist.

    Raises:
        OutputError: the folder cannot be created or written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with _as_output_error(root):
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f".write-test-{os.getpid()}"
            probe.touch()
            probe.unlink()

    def folder(self, stage: str) -> Path:
        """The folder of a finished stage."""
        return self.root / stage

    def recorded(self, stage: str) -> str | None:
        """Fingerprint of a finished stage; None if it is absent, unreadable or incomplete."""
        folder = self.folder(stage)
        try:
            record = json.loads((folder / RECORD).read_text())
            complete = all((folder / name).stat().st_size == size for name, size in record["files"].items())
            return str(record["fingerprint"]) if complete else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def is_current(self, stage: str, expected: str) -> bool:
        """Whether the stage is finished and has the expected fingerprint."""
        return self.recorded(stage) == expected

    @contextmanager
    def building(self, stage: str, expected: str) -> Iterator[Path]:
        """Yield a temporary folder for a stage, and rename it when the block ends without an error.

        Args:
            stage: name of the stage.
            expected: fingerprint to record.

        Raises:
            OutputError: the folder cannot be written or the disk is full; the old result of the stage is unchanged.
        """
        target = self.folder(stage)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with _as_output_error(target):
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                yield temporary
                paths = sorted(path for path in temporary.rglob("*") if path.is_file())
                files = {str(path.relative_to(temporary)): path.stat().st_size for path in paths}
                record = {"fingerprint": expected, "versions": package_versions(), "files": files}
                (temporary / RECORD).write_text(json.dumps(record, indent=1))
                _replace_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def command_line() -> str:
    """The command line of this process, with the name of the program instead of its path."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _replace_folder(new: Path, target: Path) -> None:
    """Replace a folder; the old one is renamed first, since a folder cannot be renamed onto a non-empty one."""
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
