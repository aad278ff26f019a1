"""A trained ensemble of boosted trees, which scores events, and its files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from zsig_hep import __version__
from zsig_hep.files import atomic_path
from zsig_hep.learning.classifier.forest import ARRAYS, Forest
from zsig_hep.learning.classifier.history import Count, TrainingHistory
from zsig_hep.learning.classifier.model_files import (
    MODEL_FORMAT,
    QUANTILES,
    Content,
    StoredModel,
    UniqueNames,
    read_model,
    require_quantiles,
    write_model,
)
from zsig_hep.learning.classifier.preprocessing import require_known_missing
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.learning.tensor_files import require_outline

# Characters that xgboost refuses in names of features, and what stands for them in its files.
_IN_NAMES = str.maketrans({"[": "(", "]": ")", "<": "_"})

_TYPES = {
    "sizes": torch.int32,
    "left": torch.int32,
    "right": torch.int32,
    "feature": torch.int32,
    "value": torch.float32,
    "default_left": torch.bool,
    "gain": torch.float32,
    "cover": torch.float32,
}


@dataclass(frozen=True, repr=False)
class BoostedTrees(TrainedEnsemble):
    """An ensemble of boosted trees over folds and seeds, one forest for each member, with its provenance.

    Trees take features as they are, and missing values as NaN.

    Attributes:
        forests: of the M members.
        names: of the features, in the order of their columns.
        missing: features that were missing in some event of the training, which alone may be NaN.
        quantiles: quantiles of each member's output for its validation signal, shape (M, 201); see `signal_quantiles`.
        history: of the training, with each member's fold; a round, which adds one tree, stands for an epoch.
        configuration: training settings as JSON.
        input_hash: hash of the events that it was trained on.
    """

    forests: tuple[Forest, ...]
    names: tuple[str, ...]
    missing: tuple[str, ...]
    quantiles: npt.NDArray[np.float32]
    history: TrainingHistory
    configuration: Mapping[str, object]
    input_hash: str

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of their columns."""
        return self.names

    @property
    def may_be_missing(self) -> tuple[str, ...]:
        """Features that may be NaN: where none was in the training, trees have not learnt what that means."""
        return self.missing

    @property
    def advice(self) -> str:
        """Advice on members without a useful tree; empty if there are none."""
        count = int(self.history.collapsed.sum())
        if not count:
            return self.history.advice()
        return (
            f"{count} of {len(self.forests)} forests trained with the {self.history.loss_name} give nearly the same score "
            "to every event. Lower minimum_child_weight, or use more events."
        )

    @cached_property
    def _boosters(self) -> tuple[Any, ...]:
        return tuple(forest.booster(len(self.names)) for forest in self.forests)

    def logits(
        self,
        features: npt.NDArray[np.float32],
        device: torch.device | None = None,
        members: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Outputs of the members, as in `TrainedEnsemble`, on the CPU; see `Forest.outputs`."""
        del device
        self._require_feature_count(features)
        require_known_missing(features, self.names, np.isin(self.names, self.missing))
        chosen = range(len(self.forests)) if members is None else np.flatnonzero(members)
        threads = torch.get_num_threads()
        return np.stack([self.forests[index].outputs(features, threads, self._boosters[index]) for index in chosen])

    def save(self, folder: Path) -> None:
        """Write the folder, as in `TrainedEnsemble`."""
        tensors = tensors_of(self.forests) | {QUANTILES: torch.from_numpy(self.quantiles)}
        write_model(folder, tensors, self.description())

    def description(self) -> Content:
        """All fields except the tensors, as JSON."""
        return {
            "format": MODEL_FORMAT,
            "zsig_hep_version": __version__,
            "classifier": "boosted_trees",
            "trees": [len(forest) for forest in self.forests],
            "nodes": sum(len(forest.left) for forest in self.forests),
            "feature_names": list(self.names),
            "may_be_missing": list(self.missing),
            "configuration": dict(self.configuration),
            "input_hash": self.input_hash,
            "history": self.history.to_json(),
        }

    @classmethod
    def load(cls, folder: Path) -> "BoostedTrees":
        """Read a model folder that may come from anyone; no code is executed, the file holds numbers and JSON only.

        Before xgboost is given the trees, these are checked: the digest of the file; the types and ranges of everything
        in its description; names, types and shapes of all arrays; that every child is a later node of its tree and every
        split one of the features; that thresholds, leaves and calibration are finite, quantiles in ascending order.

        Raises:
            ModelFileError: if the folder has no model of this format; names the file and the reason.
        """
        return read_model(folder, trees_of_file)

    def write_xgboost(self, folder: Path) -> None:
        """Write each member as xgboost's own JSON, `fold_<fold>_seed_<seed>.json`.

        The output of a member is the logit of xgboost, `output_margin=True`; its calibration to a score is the attribute
        `zsig_hep.signal_quantiles` of the booster.

        Raises:
            InputError: the extra `trees` is not installed.
            OutputError: a file cannot be written.
        """
        rows = zip(self.forests, self.history.member_fold, self.history.member_seed, self.quantiles, strict=True)
        for forest, fold, seed, quantiles in rows:
            booster = forest.booster(len(self.names))
            booster.feature_names = [name.translate(_IN_NAMES) for name in self.names]
            booster.set_attr(
                **{
                    "zsig_hep.feature_names": json.dumps(self.names),
                    "zsig_hep.signal_quantiles": json.dumps(quantiles.tolist()),
                    "zsig_hep.input_hash": self.input_hash,
                }
            )
            with atomic_path(folder / f"fold_{fold}_seed_{seed}.json") as temporary:
                temporary.write_bytes(bytes(booster.save_raw("json")))


class _Description(StoredModel):
    """The description of a model file, see `BoostedTrees.description`."""

    classifier: Literal["boosted_trees"]
    trees: Annotated[list[PositiveInt], Field(min_length=1)]
    nodes: Count
    may_be_missing: UniqueNames


def trees_of_file(tensors: dict[str, Tensor], content: Content) -> BoostedTrees:
    """Make the classifier of a model file, see `BoostedTrees.load`.

    Raises:
        ValueError: says what is wrong.
    """
    # In JSON, unlike in Python, lists stand for tuples and objects for dataclasses also where types are strict.
    description = _Description.model_validate_json(json.dumps(content))
    names = tuple(description.feature_names)
    if unknown := sorted(set(description.may_be_missing) - set(names)):
        message = f"may_be_missing has {unknown[0]!r}, which is no feature"
        raise ValueError(message)
    if len(description.trees) != len(description.history.member_fold):
        message = (
            f"numbers of trees of {len(description.trees)} members, but {len(description.history.member_fold)} folds"
        )
        raise ValueError(message)
    quantiles = tensors.pop(QUANTILES, torch.empty(0))
    require_outline({QUANTILES: quantiles}, {QUANTILES: (torch.float32, description.quantiles_shape)})
    require_quantiles(quantiles)
    forests = forests_of(tensors, description.trees, description.nodes, len(names))
    return BoostedTrees(
        forests,
        names,
        tuple(description.may_be_missing),
        quantiles.numpy(),
        description.history.history(),
        description.configuration,
        description.input_hash,
    )


def tensors_of(forests: tuple[Forest, ...]) -> dict[str, Tensor]:
    """The arrays of forests, joined, by name."""
    joined = Forest.join(forests)
    return {f"trees.{name}": torch.from_numpy(np.ascontiguousarray(getattr(joined, name))) for name in ARRAYS}


def forests_of(tensors: Mapping[str, Tensor], trees: list[int], nodes: int, features: int) -> tuple[Forest, ...]:
    """Forests from the result of `tensors_of`, which may come from anyone.

    Args:
        tensors: of the file.
        trees: number of trees of each forest.
        nodes: of all trees together.
        features: number of features.

    Raises:
        ValueError: names the array that is not one of trees, and what is wrong.
    """
    lengths = dict.fromkeys(ARRAYS, nodes) | {"sizes": sum(trees)}
    require_outline(tensors, {f"trees.{name}": (kind, (lengths[name],)) for name, kind in _TYPES.items()})
    joined = Forest(**{name: tensors[f"trees.{name}"].numpy() for name in ARRAYS})
    joined.require_usable(features)
    return tuple(joined.split(trees))
