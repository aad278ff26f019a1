"""Tensors and their description in one safetensors file, with a digest of both."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zsig_hep.errors import ModelFileError, first_line
from zsig_hep.files import atomic_path, cannot_write

Outline = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""Type and shape of tensors by name."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, object]) -> None:
    """Write tensors with a JSON description in the header, to a file that appears only when it is complete.

    The header also has the SHA-256 digest of the description and of all tensors, which `read_tensors` compares.

    Args:
        path: file to write; its folder is made.
        tensors: by name.
        description: of types that JSON has.

    Raises:
        OutputError: if the folder or file cannot be written; an existing file is then not changed.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description)
    metadata = {"description": text, "sha256": _digest(contiguous, text)}
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
        ModelFileError: if the file is missing, damaged, written by another version or not by this package.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError as error:
        message = f"There is no model file {path}. Train first: `zsig train ANALYSIS`."
        raise ModelFileError(message) from error
    except (SafetensorError, OSError) as error:
        raise _damaged(path, f"is damaged or was not written by zsig_hep ({first_line(error)})") from error
    if "description" not in header:
        raise _damaged(path, "is damaged or was not written by zsig_hep (it has no description)")
    if "sha256" not in header:
        raise _damaged(
            path, "has no digest of its content: it is damaged or was written by another version of zsig_hep"
        )
    if header["sha256"] != _digest(tensors, header["description"]):
        raise _damaged(path, "is damaged: its content does not have the digest in its header")
    try:
        description = json.loads(header["description"])
    # A text nested too deeply is a RecursionError, a number with too many digits a ValueError, as is text of no JSON.
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"was not written by zsig_hep (its description: {first_line(error)})") from error
    if not isinstance(description, dict):
        raise _damaged(path, "was not written by zsig_hep (its description is no JSON object)")
    return tensors, description


def _damaged(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path} {what}. Delete it and train again.")


def _digest(tensors: Mapping[str, Tensor], description: str) -> str:
    """SHA-256 of the description, and of names, types, shapes and bytes of contiguous tensors on the CPU."""
    outline = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([description, outline]).encode())
    for name, _, _ in outline:
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_outline(tensors: Mapping[str, Tensor], expected: Outline) -> None:
    """Refuse tensors with other names, types or shapes than expected.

    Raises:
        ValueError: names the first tensor that differs, what was found and what was expected.

    Example:
        >>> require_outline({"mean": torch.zeros(3)}, {"mean": (torch.float32, (2,))})
        Traceback (most recent call last):
        ValueError: tensor mean is float32 of shape [3], expected float32 of shape [2]
    """
    for name in sorted(tensors.keys() | expected.keys()):
        if name not in expected:
            message = f"unknown tensor {name}"
            raise ValueError(message)
        if name not in tensors:
            message = f"no tensor {name}"
            raise ValueError(message)
        found = tensors[name].dtype, tuple(tensors[name].shape)
        if found != expected[name]:
            message = f"tensor {name} is {_kind(*found)}, expected {_kind(*expected[name])}"
            raise ValueError(message)


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors with NaN or infinite values.

    Raises:
        ValueError: names the first.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            message = f"tensor {name} has values that are not finite"
            raise ValueError(message)


def _kind(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {list(shape)}"
