"""What the files behind an analysis hold, whatever their place and time: ntuples, and Python files with their imports."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

ENDS_BYTES = 65_536
"""Bytes at the beginning and at the end of a file that its identity is made from."""

_DYNAMIC = {"import_module", "__import__", "exec", "eval", "runpy", "spec_from_file_location", "path"}
"""Names in code that may load files which no import statement names; `path` is that of `sys.path`."""


def file_identity(path: str, *, is_remote: bool) -> list[object]:
    """Identity of a file: size and hash of both ends of a local file, the address of a remote one.

    A ROOT file has its UUID at its beginning and the list of its objects at its end, a parquet file its footer. So a copy
    on another machine is the same file, and a file that was made again is another one.

    Raises:
        OSError: it cannot be read.
    """
    if is_remote:
        return [path]
    status = Path(path).stat()
    return [status.st_size, _hash_of_ends(path, status.st_size, status.st_mtime_ns)]


@lru_cache(maxsize=100_000)
def _hash_of_ends(path: str, size: int, _changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        digest = hashlib.sha256(file.read(ENDS_BYTES))
        file.seek(max(size - ENDS_BYTES, 0))
        digest.update(file.read(ENDS_BYTES))
    return digest.hexdigest()


def source_fingerprint(path: Path) -> str:
    """Hash of a Python file and of the files beside it that it imports, without docstrings and comments.

    Where the code may load files in another way than by import statements, all Python files beside it count. Files that
    cannot be parsed count with every byte, and an absent one not at all.

    Example:
        >>> import tempfile
        >>> columns = Path(tempfile.mkdtemp()) / "columns.py"
        >>> seen = set()
        >>> for text in ("x = 1", "x = 1  # one", "x = 2"):
        ...     _ = columns.write_text(text)
        ...     seen.add(source_fingerprint(columns))
        >>> len(seen)
        2
    """
    path = path.resolve()
    folder = path.parent
    found: dict[Path, bytes] = {}
    waiting = [path]
    while waiting:
        each = waiting.pop()
        if each in found or not (each.is_file() and each.is_relative_to(folder)):
            continue
        content = each.read_bytes()
        tree = _parsed(content)
        if tree is None:
            found[each] = content
            continue
        found[each] = ast.unparse(_without_docstrings(tree)).encode()
        waiting += folder.glob("*.py") if _loads_dynamically(tree) else _imported(tree, each.parent, folder)
    digest = hashlib.sha256()
    for each in sorted(found):
        digest.update(f"{each.relative_to(folder)}\0{len(found[each])}\0".encode() + found[each])
    return digest.hexdigest()


def _parsed(content: bytes) -> ast.Module | None:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            node.body = (node.body[1:] or [ast.Pass()]) if has_docstring else node.body
    return tree


def _loads_dynamically(tree: ast.Module) -> bool:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {"path"}
    of_sys = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (node.attr != "path" or (isinstance(node.value, ast.Name) and node.value.id == "sys"))
    }
    return bool((names | of_sys) & _DYNAMIC)


def _imported(tree: ast.Module, here: Path, folder: Path) -> Iterator[Path]:
    """Files of the folder that import statements may load."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            start = folder if node.level == 0 else (here / "/".join([".."] * (node.level - 1))).resolve()
            parts = node.module.split(".") if node.module else []
            yield from _files_of(start, parts)
            for alias in node.names:
                yield from _files_of(start, [*parts, alias.name])


def _files_of(start: Path, parts: Iterable[str]) -> Iterator[Path]:
    """The modules and packages on the way to a name."""
    place = start
    for part in parts:
        place = place / part
        yield place.with_name(f"{part}.py")
        yield place / "__init__.py"
