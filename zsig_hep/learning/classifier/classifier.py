"""A trained ensemble, which scores events, and its folder of files."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep import __version__
from zsig_hep.errors import ModelFileError, nearest_name
from zsig_hep.learning.classifier.calibration import signal_share_below
from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.classifier.preprocessing import Preprocessing, Standardisation
from zsig_hep.learning.tensor_files import read_tensors, write_tensors
from zsig_hep.representation import ShortRepr

MODEL_FORMAT = 1
# Events that are scored at a time, so that the activations of all members fit into the cache of the processor.
CHUNK = 2048


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
    """

    network: StackedMLP
    preprocessing: Preprocessing
    quantiles: npt.NDArray[np.float32]
    history: TrainingHistory
    configuration: Mapping[str, object]
    input_hash: str
    hidden: tuple[int, ...]
    activation: str

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
            ModelFileError: as `logits`.
            TrainingError: as `logits`.
        """
        scores = np.empty(len(features))
        for k in np.unique(self.history.member_fold):
            events, members = fold == k, self.history.member_fold == k
            logits = self.logits(features[events], device, members)
            scores[events] = signal_share_below(logits, self.quantiles[members]).mean(axis=0)
        return scores

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
        for part in ("fill", "mean", "scale"):
            tensors[f"preprocessing.{part}"] = torch.from_numpy(getattr(self.preprocessing, part))
        tensors["calibration.quantiles"] = torch.from_numpy(self.quantiles)
        write_tensors(folder / "model.safetensors", tensors, description)
        (folder / "model.json").write_text(json.dumps(description, indent=1))

    def description(self) -> dict[str, object]:
        """All fields except the tensors, as JSON."""
        return {
            "format": MODEL_FORMAT,
            "zsig_hep_version": __version__,
            "network": {"hidden": list(self.hidden), "activation": self.activation},
            "feature_names": list(self.feature_names),
            "configuration": dict(self.configuration),
            "input_hash": self.input_hash,
            "history": self.history.to_json(),
        }

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Read a model folder; no code is executed.

        Raises:
            ModelFileError: if the folder has no model of this format.
        """
        path = folder / "model.safetensors"
        tensors, description = read_tensors(path)
        try:
            return _from_description(tensors, description)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            message = f"{path} is not a model that this version of zsig_hep can read ({error}). Train again."
            raise ModelFileError(message) from error


def _from_description(tensors: dict[str, Tensor], description: dict[str, object]) -> Classifier:
    if description["format"] != MODEL_FORMAT:
        message = f"format {description['format']}, expected {MODEL_FORMAT}"
        raise ValueError(message)
    network_settings, names, history = description["network"], description["feature_names"], description["history"]
    configuration = description["configuration"]
    if not (
        isinstance(network_settings, dict)
        and isinstance(names, list)
        and isinstance(history, dict)
        and isinstance(configuration, dict)
    ):
        message = "its description is incomplete"
        raise TypeError(message)
    parsed = TrainingHistory.from_json(history)
    hidden, activation = tuple(network_settings["hidden"]), network_settings["activation"]
    network = StackedMLP(len(names), hidden, member_seeds=[0] * len(parsed.collapsed), activation=activation)
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    parts = [tensors[f"preprocessing.{part}"].numpy() for part in ("fill", "mean", "scale")]
    return Classifier(
        network,
        Preprocessing(tuple(names), parts[0], parts[1], parts[2]),
        tensors["calibration.quantiles"].numpy(),
        parsed,
        configuration,
        str(description["input_hash"]),
        hidden,
        activation,
    )
