"""Files that appear under their name only when they are complete, also when a run is killed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zsig_hep.errors import OutputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to, and rename it to `path` when the block ends without an error.

    Args:
        path: the file to be made; an existing one is replaced only by a complete new one.

    Yields:
        A path in the same folder. The file is removed when the block raises.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_path(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("complete")
        >>> sorted(entry.name for entry in folder.iterdir())
        ['a.txt']
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
        folder = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise cannot_write(parent, error) from error
    with folder as name:
        yield Path(name).resolve()
