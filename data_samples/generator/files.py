"""Names of sample files, and their coming into being as a whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import GeneratorError

Metadata = dict[str, Any]


@dataclass(frozen=True)
class SampleFiles:
    """The two files of one process and seed.

    Attributes:
        folder: where they stand.
        stem: their common name.
    """

    folder: Path
    stem: str

    @classmethod
    def of(cls, folder: Path, process: str, seed: int) -> "SampleFiles":
        """Name the files so that several seeds of a process fit into one folder."""
        return cls(folder, f"{process}_s{seed}")

    @property
    def root(self) -> Path:
        """The ntuple."""
        return self.folder / f"{self.stem}.root"

    @property
    def json(self) -> Path:
        """Its metadata."""
        return self.folder / f"{self.stem}.json"

    @property
    def partial(self) -> Path:
        """Where the ntuple grows: hidden, and not matched by `*.root`; the process id keeps two runs apart."""
        return self.folder / f".{self.stem}.{os.getpid()}.part"

    def publish(self, metadata: Mapping[str, Any]) -> None:
        """Give the finished ntuple its name.

        The metadata come first, so that a ROOT file is never seen without its own.
        """
        partial_json = self.partial.with_suffix(".json-part")
        partial_json.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
        self.root.unlink(missing_ok=True)
        partial_json.replace(self.json)
        self.partial.replace(self.root)

    def discard(self) -> None:
        """Remove what an unfinished run of this process has written."""
        for path in (self.partial, self.partial.with_suffix(".json-part")):
            path.unlink(missing_ok=True)


def prepare_folder(folder: Path) -> None:
    """Make the output folder and see that files can be made in it, before any time is spent on events.

    Raises:
        GeneratorError: it is a file, or cannot be made or written to.
    """
    probe = folder / f".{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot write into the output folder {folder}: {reason}. Choose another one with --out."
        raise GeneratorError(message) from error


@contextmanager
def whole_or_nothing(files: SampleFiles, *, overwrite: bool = False) -> Iterator[None]:
    """Leave no part of a sample behind when the block is left by an error or a signal.

    Raises:
        GeneratorError: the sample exists and `overwrite` is False, or the disk refuses (full, for example).
    """
    if files.root.exists() and not overwrite:
        message = f"{files.root} exists. Choose another --seed or --out, or replace it with --overwrite."
        raise GeneratorError(message)
    prepare_folder(files.folder)
    try:
        yield
    except OSError as error:
        message = f"cannot write {files.root}: {error.strerror or error}. Nothing of it was kept."
        raise GeneratorError(message) from error
    finally:
        files.discard()


def read_metadata(path: Path) -> Metadata:
    """Read a sample's JSON file.

    Raises:
        GeneratorError: it is missing or not JSON.
    """
    try:
        metadata: Metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path} is missing beside its ROOT file: without it the sample cannot be counted. Remove the pair."
        raise GeneratorError(message) from error
    except ValueError as error:
        message = f"{path} is not valid JSON ({error}). Remove it and its ROOT file."
        raise GeneratorError(message) from error
    return metadata


def read_samples(folder: Path) -> list[Metadata]:
    """Read the metadata of every finished sample in a folder, in the order of their names; none if there is no folder."""
    return [read_metadata(path.with_suffix(".json")) for path in sorted(folder.glob("*.root"))]
