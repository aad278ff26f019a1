"""The complete state of a training in one file, after every epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from zsig_hep import __version__
from zsig_hep.errors import ModelFileError
from zsig_hep.learning.tensor_files import read_tensors, write_tensors


class Resumable(Protocol):
    """A training that can be stored and taken up again."""

    @property
    def identity(self) -> dict[str, object]:
        """What a state belongs to: settings and events, as JSON."""

    def state_dict(self) -> dict[str, Any]:
        """The state by name: tensors, and what JSON can hold."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""


def store(training: Resumable, path: Path) -> None:
    """Write the complete state after an epoch, atomically."""
    state = training.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    progress = {name: value for name, value in state.items() if name not in tensors}
    write_tensors(path, tensors, _identity(training) | progress)


def restore(training: Resumable, path: Path) -> None:
    """Take up the state that `store` wrote.

    Raises:
        ModelFileError: if the file is damaged, or was written for other events, settings or another version.
    """
    tensors, description = read_tensors(path)
    identity = _identity(training)
    differing = [key for key, value in identity.items() if description.get(key) != value]
    if differing:
        message = (
            f"The checkpoint {path} was written with another {' and '.join(differing)}. Go on with the settings "
            "it was made for, or move it away to start anew."
        )
        raise ModelFileError(message)
    progress = {name: value for name, value in description.items() if name not in identity}
    training.load_state_dict({**tensors, **progress})


def _identity(training: Resumable) -> dict[str, object]:
    return training.identity | {"version": __version__}
