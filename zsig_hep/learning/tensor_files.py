"""Tensors and their description in one safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zsig_hep.errors import ModelFileError
from zsig_hep.files import atomic_path, cannot_write


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, object]) -> None:
    """Write tensors with a JSON description in the header, to a file that appears only when it is complete.

    Args:
        path: file to write; its folder is made.
        tensors: by name.
        description: of types that JSON has.

    Raises:
        OutputError: if the folder or file cannot be written; an existing file is then not changed.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"description": json.dumps(description)}
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata=metadata)
        except SafetensorError as error:
            # safetensors wraps errors of the operating system.
            raise cannot_write(path, OSError(str(error))) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Read what `write_tensors` wrote.

    Returns:
        The tensors by name, and the description.

    Raises:
        ModelFileError: if the file is missing, damaged or not written by this package.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        return tensors, json.loads(header["description"])
    except FileNotFoundError as error:
        message = f"There is no model file {path}. Train first: `zsig train ANALYSIS`."
        raise ModelFileError(message) from error
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        message = f"{path} is damaged or was not written by zsig_hep ({error}). Delete it and train again."
        raise ModelFileError(message) from error
