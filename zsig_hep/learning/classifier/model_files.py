"""The file of a trained classifier: tensors and a description in one safetensors file, with a digest of both."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from torch import Tensor

from zsig_hep.errors import ModelFileError
from zsig_hep.files import atomic_path
from zsig_hep.learning.classifier.calibration import LEVELS
from zsig_hep.learning.classifier.history import StoredContent, StoredHistory
from zsig_hep.learning.tensor_files import read_tensors, require_finite, write_tensors
from zsig_hep.representation import short
from zsig_hep.settings import first_reason

MODEL_FILE = "model.safetensors"
"""Name of the file in the folder of a classifier."""

MODEL_FORMAT = 2
"""Version of the content of the file."""

QUANTILES = "calibration.quantiles"
"""Name of the tensor with the calibration of all members."""

Content = dict[str, object]
Made = TypeVar("Made")


def _are_unique(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        message = "a name occurs twice"
        raise ValueError(message)
    return names


UniqueNames = Annotated[list[str], AfterValidator(_are_unique)]


class StoredModel(StoredContent):
    """What the descriptions of all classifiers have in common."""

    format: int
    zsig_hep_version: str
    feature_names: Annotated[
        list[Annotated[str, Field(min_length=1)]], Field(min_length=1), AfterValidator(_are_unique)
    ]
    configuration: dict[str, Any]
    input_hash: str
    history: StoredHistory

    @property
    def quantiles_shape(self) -> tuple[int, int]:
        """Shape of the tensor of the calibration."""
        return len(self.history.member_fold), len(LEVELS)


def write_model(folder: Path, tensors: Mapping[str, Tensor], description: Content) -> None:
    """Write `model.safetensors`, which `read_model` reads, and `model.json`, a copy of the description in it.

    Raises:
        OutputError: if they cannot be written.
    """
    write_tensors(folder / MODEL_FILE, tensors, description)
    with atomic_path(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(description, indent=1))


def read_model(folder: Path, make: Callable[[dict[str, Tensor], Content], Made]) -> Made:
    """Read a model folder that may come from anyone; no code is executed, the file holds numbers and JSON only.

    Args:
        folder: written by `write_model`.
        make: checks tensors and description, and makes the classifier; a ValueError says what is wrong.

    Raises:
        ModelFileError: if the folder has no model of this format; names the file and the reason.
    """
    path = folder / MODEL_FILE
    tensors, description = read_tensors(path)
    try:
        if description.get("format") != MODEL_FORMAT:
            message = f"format {short(description.get('format'))}, expected {MODEL_FORMAT}"
            raise ValueError(message)  # noqa: TRY301 (all reasons of a refusal are worded below)
        return make(tensors, description)
    except ValueError as error:
        reason = first_reason(error) if isinstance(error, ValidationError) else str(error)
        message = f"{path} is not a model that this version of zsig_hep can read ({reason}). Train again."
        raise ModelFileError(message) from error


def require_quantiles(quantiles: Tensor) -> None:
    """Refuse a calibration that is not finite or decreases.

    Raises:
        ValueError: says what is wrong.
    """
    require_finite({QUANTILES: quantiles})
    if bool((quantiles.diff(dim=1) < 0).any()):
        message = f"{QUANTILES} decrease"
        raise ValueError(message)
