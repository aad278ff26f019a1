"""Files with the complete state of a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from torch import Tensor

from zsig_hep import __version__
from zsig_hep.errors import ModelFileError
from zsig_hep.learning.tensor_files import read_tensors, write_tensors
from zsig_hep.settings import first_reason


class Resumable(Protocol):
    """A training that can be stored and resumed."""

    @property
    def identity(self) -> dict[str, object]:
        """Settings and events for which a state is valid, as JSON."""

    def state_dict(self) -> dict[str, Any]:
        """The state by name: tensors, and values of types that JSON has."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the state to a result of `state_dict`.

        Raises:
            ValueError: the training cannot have had the state; it is then unchanged.
        """


def store(training: Resumable, path: Path) -> None:
    """Write the state to a file that is replaced only when the new one is complete."""
    state = training.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    progress = {name: value for name, value in state.items() if name not in tensors}
    write_tensors(path, tensors, _identity(training) | progress)


def restore(training: Resumable, path: Path) -> None:
    """Resume from the state that `store` wrote; no code is executed.

    Everything is checked before the training is changed: the digest of the file, what it was written for, and whether
    the training can have had the state.

    Raises:
        ModelFileError: if the file is damaged, was written for other events or settings, or by another version, or has
            a state that the training cannot have had. The training is then unchanged.
    """
    tensors, description = read_tensors(path)
    identity = _identity(training)
    differing = [key for key, value in identity.items() if description.get(key) != value]
    if differing:
        message = (
            f"The checkpoint {path} was written with another {' and '.join(differing)}. Use the settings it was "
            "written with, or remove it to train from the start."
        )
        raise ModelFileError(message)
    progress = {name: value for name, value in description.items() if name not in identity}
    try:
        training.load_state_dict({**tensors, **progress})
    except ValueError as error:
        reason = first_reason(error) if isinstance(error, ValidationError) else str(error)
        message = (
            f"The checkpoint {path} is not a state of this training ({reason}). Remove it to train from the start."
        )
        raise ModelFileError(message) from error


def _identity(training: Resumable) -> dict[str, object]:
    return training.identity | {"version": __version__}
