"""A trained ensemble, which scores events, and its folder of files."""

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import AfterValidator, ConfigDict, Field, PositiveInt, ValidationError, model_validator
from torch import Tensor, nn

from zsig_hep import __version__
from zsig_hep.errors import InputError, ModelFileError, nearest_name
from zsig_hep.files import atomic_path
from zsig_hep.learning.classifier.calibration import LEVELS, signal_share_below
from zsig_hep.learning.classifier.embedding import PeriodicSettings
from zsig_hep.learning.classifier.history import StoredContent, StoredHistory, TrainingHistory
from zsig_hep.learning.classifier.network import Activation, StackedMLP, layer_inputs
from zsig_hep.learning.classifier.preprocessing import Preprocessing, Standardisation
from zsig_hep.learning.tensor_files import Outline, read_tensors, require_finite, require_outline, write_tensors
from zsig_hep.representation import ShortRepr, short
from zsig_hep.settings import first_reason

MODEL_FORMAT = 2
# Events that are scored at a time, so that the activations of all members fit into the cache of the processor.
CHUNK = 2048

_ARRAYS = ("fill", "centre", "scale")


@dataclass(frozen=True, repr=False)
class Classifier(ShortRepr):
    """An ensemble over folds and seeds with its preprocessing and provenance.

    Attributes:
        network: stacked networks of M members, on the CPU.
        preprocessing: of all members.
        quantiles: quantiles of each member's output for its validation signal, shape (M, 201); see `signal_quantiles`.
        history: of the training, with each member's fold.
        configuration: training settings as JSON.
        input_hash: hash of the events that it was trained on.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        embedding: of the features; None for the features themselves.
    """

    network: StackedMLP
    preprocessing: Preprocessing
    quantiles: npt.NDArray[np.float32]
    history: TrainingHistory
    configuration: Mapping[str, object]
    input_hash: str
    hidden: tuple[int, ...]
    activation: Activation
    embedding: PeriodicSettings | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the network's inputs."""
        return self.preprocessing.feature_names

    def logits(
        self,
        features: npt.NDArray[np.float32],
        device: torch.device | None = None,
        members: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Outputs of the members, computed in float64.

        The slope of the calibration is the density of the signal: where events of a small sample nearly coincide, the
        rounding of float32, which differs between devices, batch sizes and programs, would be visible in the score.

        Args:
            features: shape (N, F), columns in the order of `feature_names`, NaN where missing.
            device: device of the computation; by default, and instead of a device without float64, the CPU.
            members: mask of the members, shape (M,); None takes all.

        Returns:
            Shape (M, N), with M the number of chosen members.

        Raises:
            ModelFileError: if the number of features is not that of the model.
            TrainingError: for infinite values, or missing values without a rule.
        """
        if features.ndim != 2 or features.shape[1] != len(self.feature_names):
            message = f"The model takes {len(self.feature_names)} features per event, found shape {features.shape}."
            raise ModelFileError(message)
        self.preprocessing.require_known_missing(features)
        device = torch.device("cpu") if device is None or device.type == "mps" else device
        network = nn.Sequential(Standardisation(self.preprocessing), copy.deepcopy(self.network))
        network = network.to(device, torch.float64)
        count = len(self.history.collapsed)
        if members is not None:
            count = int(np.count_nonzero(members))
            for stacked in (*network.parameters(), *network.buffers()):
                stacked.data = stacked.data[torch.from_numpy(members).to(device)]
        parts = []
        with torch.inference_mode():
            for start in range(0, max(len(features), 1), CHUNK):
                block = torch.from_numpy(np.ascontiguousarray(features[start : start + CHUNK])).to(
                    device, torch.float64
                )
                parts.append(network(block.expand(count, -1, -1)))
        return torch.cat(parts, dim=1).cpu().numpy()

    def out_of_fold_scores(
        self,
        features: npt.NDArray[np.float32],
        fold: npt.NDArray[np.integer],
        device: torch.device | None = None,
    ) -> npt.NDArray[np.float64]:
        """Score each event with the members that were not trained on its fold.

        Args:
            features: shape (N, F).
            fold: fold of each event, shape (N,).
            device: as for `logits`.

        Returns:
            Fraction of the signal with a lower score, mean over the seeds, in [0, 1], shape (N,).

        Raises:
            InputError: if there is not one fold, a whole number, for each event.
            ModelFileError: as `logits`, and for an event whose fold has no member.
            TrainingError: as `logits`.
        """
        mean: npt.NDArray[np.float64] = self.out_of_fold_seed_scores(features, fold, device).mean(axis=0)
        return mean

    def out_of_fold_seed_scores(
        self,
        features: npt.NDArray[np.float32],
        fold: npt.NDArray[np.integer],
        device: torch.device | None = None,
    ) -> npt.NDArray[np.float64]:
        """Out-of-fold scores of the members of each seed alone, whose mean over S seeds is `out_of_fold_scores`.

        Args:
            features: shape (N, F).
            fold: fold of each event, shape (N,).
            device: as for `logits`.

        Returns:
            Shape (S, N).

        Raises:
            InputError: as `out_of_fold_scores`, like the other errors.
        """
        self._require_members_of(fold, len(features))
        folds, seeds = np.unique(self.history.member_fold, return_counts=True)
        scores = np.full((int(seeds.max()), len(features)), np.nan)
        for k in folds:
            events, members = fold == k, self.history.member_fold == k
            logits = self.logits(features[events], device, members)
            scores[:, events] = signal_share_below(logits, self.quantiles[members])
        return scores

    def _require_members_of(self, fold: npt.NDArray[np.integer], events: int) -> None:
        if fold.shape != (events,) or fold.dtype.kind not in "iu":
            message = f"{events} events need as many folds, whole numbers; found {fold.dtype} of shape {fold.shape}."
            raise InputError(message)
        known = np.unique(self.history.member_fold)
        if len(unknown := np.setdiff1d(fold, known)):
            message = (
                f"An event is of fold {unknown[0]}, for which the model has no network: it has {len(known)} folds, "
                f"{known.min()} to {known.max()}. Assign events to folds as in the training."
            )
            raise ModelFileError(message)

    def scores(self, features: npt.NDArray[np.float32], device: torch.device | None = None) -> npt.NDArray[np.float64]:
        """Score new events with all members; otherwise as `out_of_fold_scores`."""
        mean: npt.NDArray[np.float64] = signal_share_below(self.logits(features, device), self.quantiles).mean(axis=0)
        return mean

    def columns_of(self, feature_names: Sequence[str]) -> list[int]:
        """Indices of the model's features among the columns of a table.

        Raises:
            ModelFileError: for a missing feature.
        """
        for name in self.feature_names:
            if name not in feature_names:
                message = f"The model needs the feature {name!r}, which is missing.{nearest_name(name, feature_names)}"
                raise ModelFileError(message)
        return [list(feature_names).index(name) for name in self.feature_names]

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, which `load` reads, and `model.json`, a copy of the description in it.

        Raises:
            OutputError: if they cannot be written.
        """
        description = self.description()
        tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for part in _ARRAYS:
            tensors[f"preprocessing.{part}"] = torch.from_numpy(getattr(self.preprocessing, part))
        tensors["calibration.quantiles"] = torch.from_numpy(self.quantiles)
        write_tensors(folder / "model.safetensors", tensors, description)
        with atomic_path(folder / "model.json") as temporary:
            temporary.write_text(json.dumps(description, indent=1))

    def description(self) -> dict[str, object]:
        """All fields except the tensors, as JSON."""
        return {
            "format": MODEL_FORMAT,
            "zsig_hep_version": __version__,
            "network": {
                "hidden": list(self.hidden),
                "activation": self.activation,
                "embedding": self.embedding and self.embedding.model_dump(),
            },
            "feature_names": list(self.feature_names),
            "indicated": list(self.preprocessing.indicated),
            "is_bounded": self.preprocessing.is_bounded,
            "configuration": dict(self.configuration),
            "input_hash": self.input_hash,
            "history": self.history.to_json(),
        }

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Read a model folder that may come from anyone; no code is executed, the file holds numbers and JSON only.

        Before a network is made, these are checked: the digest of the file; the types and ranges of everything in its
        description; names, types and shapes of all tensors, which must be those of the described networks; and that
        parameters, preprocessing and calibration are finite, scales positive, quantiles in ascending order.

        Raises:
            ModelFileError: if the folder has no model of this format; names the file and the reason.
        """
        path = folder / "model.safetensors"
        tensors, description = read_tensors(path)
        try:
            return _from_description(tensors, description)
        except ValueError as error:
            reason = first_reason(error) if isinstance(error, ValidationError) else str(error)
            message = f"{path} is not a model that this version of zsig_hep can read ({reason}). Train again."
            raise ModelFileError(message) from error


def _are_unique(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        message = "a name occurs twice"
        raise ValueError(message)
    return names


class _StoredEmbedding(PeriodicSettings):
    model_config = ConfigDict(strict=True)


class _StoredNetwork(StoredContent):
    hidden: list[PositiveInt]
    activation: Activation
    embedding: _StoredEmbedding | None


class _Description(StoredContent):
    """The description of a model file, see `Classifier.description`."""

    format: int
    zsig_hep_version: str
    network: _StoredNetwork
    feature_names: Annotated[
        list[Annotated[str, Field(min_length=1)]], Field(min_length=1), AfterValidator(_are_unique)
    ]
    indicated: Annotated[list[str], AfterValidator(_are_unique)]
    is_bounded: bool
    configuration: dict[str, Any]
    input_hash: str
    history: StoredHistory

    @model_validator(mode="after")
    def _indicates_features(self) -> Self:
        if unknown := sorted(set(self.indicated) - set(self.feature_names)):
            message = f"indicated has {short(unknown[0])}, which is no feature"
            raise ValueError(message)
        return self

    def outline(self) -> Outline:
        """Types and shapes that the tensors of the described model have."""
        members, features = len(self.history.member_fold), len(self.feature_names)
        shapes: dict[str, tuple[int, ...]] = {"calibration.quantiles": (members, len(LEVELS))}
        shapes |= {f"preprocessing.{part}": (members, features) for part in _ARRAYS}
        embedding = self.network.embedding
        if embedding is not None:
            embedded = embedding.shapes(members, features)
            shapes |= {f"network.embedding.{name}": shape for name, shape in embedded.items()}
        widths = [layer_inputs(features, embedding, len(self.indicated)), *self.network.hidden, 1]
        for position, (left, right) in enumerate(itertools.pairwise(widths)):
            # An activation stands between two layers.
            layer = f"network.layers.{2 * position}"
            shapes |= {f"{layer}.weight": (members, left, right), f"{layer}.bias": (members, 1, right)}
        return {name: (torch.float32, shape) for name, shape in shapes.items()}


def _from_description(tensors: dict[str, Tensor], content: dict[str, object]) -> Classifier:
    if content.get("format") != MODEL_FORMAT:
        message = f"format {short(content.get('format'))}, expected {MODEL_FORMAT}"
        raise ValueError(message)
    # In JSON, unlike in Python, lists stand for tuples and objects for dataclasses also where types are strict.
    description = _Description.model_validate_json(json.dumps(content))
    require_outline(tensors, description.outline())
    names, hidden = tuple(description.feature_names), tuple(description.network.hidden)
    fill, centre, scale = (tensors[f"preprocessing.{part}"].numpy() for part in _ARRAYS)
    preprocessing = Preprocessing(
        names, fill, centre, scale, tuple(description.indicated), is_bounded=description.is_bounded
    )
    preprocessing.require_usable()
    parameters = {name: value for name, value in tensors.items() if name.startswith("network.")}
    quantiles = tensors["calibration.quantiles"]
    require_finite(parameters | {"calibration.quantiles": quantiles})
    if bool((quantiles.diff(dim=1) < 0).any()):
        message = "calibration.quantiles decrease"
        raise ValueError(message)
    history = description.history.history()
    activation, stored = description.network.activation, description.network.embedding
    embedding = None if stored is None else PeriodicSettings(**stored.model_dump())
    network = StackedMLP(
        len(names),
        hidden,
        member_seeds=[0] * len(history.member_fold),
        activation=activation,
        embedding=embedding,
        indicators=len(description.indicated),
    )
    network.load_state_dict({name.removeprefix("network."): value for name, value in parameters.items()})
    return Classifier(
        network,
        preprocessing,
        quantiles.numpy(),
        history,
        description.configuration,
        description.input_hash,
        hidden,
        activation,
        embedding,
    )
