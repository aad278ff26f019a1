"""Files that appear under their name only when they are complete and on disk, also when a run is killed."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsig_hep.errors import OutputError

TEMPORARY = ".zsig-"
"""How the names of lock files and of temporary files and folders begin."""


def temporary_name(suffix: str) -> str:
    """A name that no other process uses, on this machine or another that writes to the same folder.

    Example:
        >>> temporary_name(".part").startswith(".zsig-")
        True
    """
    return f"{TEMPORARY}{uuid.uuid4().hex}{suffix}"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, and rename it to `path` when the block ends without an error.

    The data are on disk before the file is renamed; its mode follows the umask.

    Args:
        path: the file to be made; an existing one is replaced only by a complete new one.

    Yields:
        A path in the same folder. The file is removed when the block raises.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("complete")
        >>> sorted(entry.name for entry in folder.iterdir())
        ['a.txt']
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(temporary_name(".part"))
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        yield temporary
        # A library may have put a file of its own, which only the user can read, in the place of this one.
        temporary.chmod(mode)
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Raises:
        OSError: they cannot be written.
    """
    if path.is_dir() and os.name == "nt":
        # Windows has no handles of folders.
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems write files through and know no such call.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """SHA-256 of the content of a file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Make the user's error of an operating-system error about an output file."""
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {reason}. Choose another output folder, or free space and permissions.")


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a folder with a new name under `parent`, and remove it with its content when the block ends.

    Args:
        parent: made when it does not exist.
        prefix: how the name starts; a leading dot hides it from globs.

    Yields:
        The absolute path of the folder.

    Raises:
        OutputError: the folder cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = parent.resolve() / f"{prefix}{uuid.uuid4().hex}"
        folder.mkdir()
    except OSError as error:
        raise cannot_write(parent, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
