"""A trained ensemble of networks, which scores events, and its folder of files."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn

from zsig_hep import __version__
from zsig_hep.learning.classifier.embedding import PeriodicSettings
from zsig_hep.learning.classifier.history import StoredContent, TrainingHistory
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
from zsig_hep.learning.classifier.network import Activation, StackedMLP, parameter_shapes
from zsig_hep.learning.classifier.preprocessing import Preprocessing, Standardisation
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.learning.tensor_files import Outline, require_finite, require_outline
from zsig_hep.representation import short

# Events that are scored at a time, so that the activations of all members fit into the cache of the processor.
CHUNK = 2048

_ARRAYS = ("fill", "centre", "scale")


@dataclass(frozen=True, repr=False)
class Classifier(TrainedEnsemble):
    """An ensemble of networks over folds and seeds with its preprocessing and provenance.

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

    @property
    def may_be_missing(self) -> tuple[str, ...]:
        """Features that may be NaN, for which the preprocessing has a value."""
        known = ~np.any(np.isnan(self.preprocessing.fill), axis=0)
        return tuple(name for name, has_rule in zip(self.feature_names, known, strict=True) if has_rule)

    def logits(
        self,
        features: npt.NDArray[np.float32],
        device: torch.device | None = None,
        members: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Outputs of the members, as in `TrainedEnsemble`, on the CPU instead of a device without float64."""
        self._require_feature_count(features)
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

    def save(self, folder: Path) -> None:
        """Write the folder, as in `TrainedEnsemble`."""
        tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        for part in _ARRAYS:
            tensors[f"preprocessing.{part}"] = torch.from_numpy(getattr(self.preprocessing, part))
        tensors[QUANTILES] = torch.from_numpy(self.quantiles)
        write_model(folder, tensors, self.description())

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
        return read_model(folder, networks_of_file)


class StoredEmbedding(PeriodicSettings):
    """The embedding of a model file."""

    model_config = ConfigDict(strict=True)


class StoredNetwork(StoredContent):
    """What all members of a model file have in common."""

    hidden: list[PositiveInt]
    activation: Activation
    embedding: StoredEmbedding | None

    @property
    def periodic(self) -> PeriodicSettings | None:
        """The embedding as settings."""
        return None if self.embedding is None else PeriodicSettings(**self.embedding.model_dump())


class _Description(StoredModel):
    """The description of a model file, see `Classifier.description`."""

    network: StoredNetwork
    indicated: UniqueNames
    is_bounded: bool

    @model_validator(mode="after")
    def _indicates_features(self) -> Self:
        if unknown := sorted(set(self.indicated) - set(self.feature_names)):
            message = f"indicated has {short(unknown[0])}, which is no feature"
            raise ValueError(message)
        return self

    def outline(self) -> Outline:
        """Types and shapes that the tensors of the described model have."""
        members, features = len(self.history.member_fold), len(self.feature_names)
        shapes: dict[str, tuple[int, ...]] = {QUANTILES: self.quantiles_shape}
        shapes |= {f"preprocessing.{part}": (members, features) for part in _ARRAYS}
        parameters = parameter_shapes(
            members, features, self.network.hidden, embedding=self.network.embedding, indicators=len(self.indicated)
        )
        shapes |= {f"network.{name}": shape for name, shape in parameters.items()}
        return {name: (torch.float32, shape) for name, shape in shapes.items()}


def networks_of_file(tensors: dict[str, Tensor], content: Content) -> Classifier:
    """Make the classifier of a model file, see `Classifier.load`.

    Raises:
        ValueError: says what is wrong.
    """
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
    quantiles = tensors[QUANTILES]
    require_finite(parameters)
    require_quantiles(quantiles)
    history = description.history.history()
    activation, embedding = description.network.activation, description.network.periodic
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
