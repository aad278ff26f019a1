"""Functions that users give as `file.py:function`: loaded from source text, so that every worker can run them."""

import hashlib
import linecache
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from zsig_hep.errors import InputError, first_line, nearest_name

# Workers of dask can have several threads; none may use a module while another one executes it.
_LOADING = threading.RLock()


@dataclass(frozen=True)
class FileFunction:
    """A function of a Python file, carried as source text so that every worker can run it.

    Attributes:
        path: file of the source, for messages and for imports of modules in its folder.
        name: name of the function in it.
        source: text of the file.
    """

    path: str
    name: str
    source: str

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.function(*arguments)

    @property
    def function(self) -> Any:
        """The function itself."""
        return getattr(self.module(), self.name)

    def module(self) -> ModuleType:
        """The module of the file, executed once in each process.

        Raises:
            InputError: the file has a syntax error, raises or exits when executed, or has no such function.
        """
        digest = hashlib.sha256(f"{self.path}\0{self.source}".encode()).hexdigest()[:16]
        module_name = f"zsig_columns_{digest}"
        with _LOADING:
            if module_name not in sys.modules:
                self._execute(module_name)
            module = sys.modules[module_name]
        if not callable(getattr(module, self.name, None)):
            functions = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            msg = f"{self.path} has no function {self.name!r}.{nearest_name(self.name, functions)}"
            raise InputError(msg)
        return module

    def _execute(self, module_name: str) -> None:
        loader = _SourceText(self.path, self.source)
        module = module_from_spec(ModuleSpec(module_name, loader, origin=self.path))
        module.__file__ = self.path
        # Tracebacks on workers without the file take its lines from this cache.
        linecache.cache[self.path] = (len(self.source), None, self.source.splitlines(keepends=True), self.path)
        sys.modules[module_name] = module
        try:
            with _modules_beside(Path(self.path).parent):
                loader.exec_module(module)
        except BaseException as error:
            # A module that was executed in part must not be taken for the whole one.
            del sys.modules[module_name]
            if not isinstance(error, (Exception, SystemExit)):
                raise
            raise InputError(_execution_message(self.path, error)) from error


class _SourceText(SourceLoader):
    """Loads a module from its source text instead of its file."""

    def __init__(self, path: str, source: str) -> None:
        self._path, self._source = path, source

    def get_filename(self, _fullname: str) -> str:
        return self._path

    def get_data(self, _path: str | bytes) -> bytes:
        return self._source.encode()


@contextmanager
def _modules_beside(folder: Path) -> Iterator[None]:
    """Allow imports from the folder; unload the modules afterwards, as other analyses have modules of the same name."""
    known, path, writes = set(sys.modules), list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = writes
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and not name.startswith("zsig_columns_") and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _execution_message(path: str, error: Exception | SystemExit) -> str:
    if isinstance(error, SyntaxError):
        text = (error.text or "").strip()
        return f"{error.filename or path}, line {error.lineno}: {error.msg}: {text}"
    line = line_in(path, error.__traceback__)
    return f"{path}{line} {deed(error)} when it was loaded{reason(error)}"


def deed(error: Exception | SystemExit) -> str:
    """What the user's code did that ended it; `sys.exit` would otherwise end the program without a message.

    Example:
        >>> deed(ZeroDivisionError("division by zero")), deed(SystemExit(3))
        ('raised ZeroDivisionError', 'called sys.exit(3)')
    """
    if isinstance(error, SystemExit):
        return f"called sys.exit({'' if error.code is None else repr(error.code)})"
    return f"raised {type(error).__name__}"


def reason(error: Exception | SystemExit) -> str:
    """The first line of the error's message after a colon; empty for `sys.exit`, whose argument `deed` names."""
    return "" if isinstance(error, SystemExit) else f": {first_line(error)}"


def line_in(path: str, trace: TracebackType | None) -> str:
    """The last line of a file in a traceback, worded for a message; empty if the file is not in it."""
    lines = [line for frame, line in traceback.walk_tb(trace) if frame.f_code.co_filename == path]
    if not lines:
        return ""
    text = linecache.getline(path, lines[-1]).strip()
    return f", line {lines[-1]} ({text})" if text else f", line {lines[-1]}"


def load_function(reference: str, folder: Path, what: str = "columns") -> FileFunction:
    """Load a function that is given as `file.py:function`.

    Args:
        reference: file and function.
        folder: folder of the analysis file, to which the reference is relative.
        what: purpose of the file, for messages.

    Returns:
        The function, checked to exist.

    Raises:
        InputError: the file is missing, cannot be executed or lacks the function.
    """
    file_name, _, function = reference.rpartition(":")
    path = (folder / Path(file_name).expanduser()).resolve()
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = nearest_name(path.name, (entry.name for entry in path.parent.glob("*.py")))
        msg = f"{what} file {path} does not exist.{near}"
        raise InputError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{what} file {path} cannot be read: {error}"
        raise InputError(msg) from error
    loaded = FileFunction(str(path), function, source)
    loaded.module()
    return loaded
