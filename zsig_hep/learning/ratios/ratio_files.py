"""The content of the file of trained ratios, and the checks of one that may come from anyone."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, FiniteFloat, model_validator
from torch import Tensor

from zsig_hep import __version__
from zsig_hep.learning.classifier.classifier import StoredNetwork
from zsig_hep.learning.classifier.history import Count, StoredContent
from zsig_hep.learning.classifier.model_files import MODEL_FORMAT, Content, UniqueNames
from zsig_hep.learning.classifier.network import StackedMLP, parameter_shapes
from zsig_hep.learning.classifier.preprocessing import Preprocessing
from zsig_hep.learning.ratios.ensemble import RatioEnsemble
from zsig_hep.learning.ratios.logit_calibration import LEVELS, LogitCalibration
from zsig_hep.learning.ratios.train import TrainedRatios
from zsig_hep.learning.ratios.transforms import RatioTransform, ShapeTransform, ShareTransform, WeightTransform
from zsig_hep.learning.tensor_files import Outline, require_finite, require_outline
from zsig_hep.ntuples.variations import Direction
from zsig_hep.statistics.process_table import ProcessTable

_PARTS = ("composition", "weights", "shapes")
_ARRAYS = ("fill", "centre", "scale")
# A constant, the logit, and one hinge at each knot.
_KNOTS, _COEFFICIENTS = len(LEVELS), len(LEVELS) + 2

Tensors = dict[str, Tensor]


def tensors_of(ratios: TrainedRatios, calibrations: Sequence[LogitCalibration]) -> Tensors:
    """All tensors of trained ratios and of the calibration of the logit of each fold, by name."""
    tensors = _tensors_of_calibrations("logit", [calibrations])
    for name in _PARTS:
        if (ensemble := getattr(ratios, name)) is not None:
            tensors |= {f"{name}.{key}": value for key, value in _tensors_of(ensemble).items()}
    return tensors


def description_of(ratios: TrainedRatios) -> Content:
    """Everything of trained ratios except the tensors, as JSON."""
    parts: dict[str, RatioEnsemble | None] = {name: getattr(ratios, name) for name in _PARTS}
    trained = [each for each in parts.values() if each is not None]
    network = None
    if trained:
        first = trained[0]
        network = {
            "hidden": list(first.hidden),
            "activation": first.activation,
            "embedding": first.embedding and first.embedding.model_dump(),
        }
    return {
        "format": MODEL_FORMAT,
        "kind": "ratios",
        "zsig_hep_version": __version__,
        "process_names": list(ratios.processes.names),
        "roles": list(ratios.processes.roles),
        "feature_names": list(ratios.feature_names),
        "names": list(ratios.names),
        "weight_names": list(ratios.weight_names),
        "shape_names": [list(each) for each in ratios.shape_names],
        "scaled": {name: factors.tolist() for name, factors in ratios.scaled.items()},
        "network": network,
        "indicated": list(trained[0].preprocessing.indicated) if trained else [],
        "is_bounded": trained[0].preprocessing.is_bounded if trained else True,
        **{name: None if each is None else _history_of(each) for name, each in parts.items()},
    }


def _tensors_of(ensemble: RatioEnsemble) -> Tensors:
    tensors = {f"network.{name}": value for name, value in ensemble.network.state_dict().items()}
    for part in _ARRAYS:
        tensors[f"preprocessing.{part}"] = torch.from_numpy(getattr(ensemble.preprocessing, part))
    transform = ensemble.transform
    if isinstance(transform, WeightTransform):
        tensors |= {"mean": torch.from_numpy(transform.mean), "scale": torch.from_numpy(transform.scale)}
    if isinstance(transform, ShapeTransform):
        tensors |= _tensors_of_calibrations("calibration", transform.calibrations)
    return tensors


def _tensors_of_calibrations(prefix: str, calibrations: Sequence[Sequence[LogitCalibration]]) -> Tensors:
    """Knots and coefficients of rows of calibrations, shape (rows, columns, ...)."""
    return {
        f"{prefix}.{name}": torch.from_numpy(np.array([[getattr(each, name) for each in row] for row in calibrations]))
        for name in ("knots", "coefficients")
    }


def _history_of(ensemble: RatioEnsemble) -> Content:
    return {
        "member_fold": ensemble.member_fold.tolist(),
        "best_epoch": ensemble.best_epoch.tolist(),
        "validation_loss": ensemble.validation_loss.tolist(),
    }


class _StoredEnsemble(StoredContent):
    member_fold: Annotated[list[Count], Field(min_length=1)]
    best_epoch: list[Annotated[int, Field(ge=-1, lt=2**63)]]
    validation_loss: list[list[FiniteFloat]]

    @model_validator(mode="after")
    def _is_of_these_members(self) -> Self:
        members = len(self.member_fold)
        if {len(self.best_epoch), *map(len, self.validation_loss)} != {members}:
            message = f"best_epoch and validation_loss must have one value for each of {members} members"
            raise ValueError(message)
        if max(self.best_epoch) >= len(self.validation_loss):
            message = f"best_epoch {max(self.best_epoch)} of {len(self.validation_loss)} epochs, counted from 0"
            raise ValueError(message)
        return self


class _Description(StoredContent):
    """The description of a file, see `RatioModel.description`."""

    format: int
    kind: Literal["ratios"]
    zsig_hep_version: str
    process_names: UniqueNames
    roles: list[Literal["signal", "background"]]
    feature_names: Annotated[UniqueNames, Field(min_length=1)]
    names: UniqueNames
    weight_names: UniqueNames
    shape_names: list[tuple[str, Direction]]
    scaled: dict[str, list[list[FiniteFloat]]]
    network: StoredNetwork | None
    indicated: UniqueNames
    is_bounded: bool
    folds: Annotated[int, Field(ge=2)]
    composition: _StoredEnsemble | None
    weights: _StoredEnsemble | None
    shapes: _StoredEnsemble | None
    configuration: dict[str, Any]
    input_hash: str

    @property
    def parts(self) -> dict[str, _StoredEnsemble]:
        """The ensembles that are there, by name."""
        found: dict[str, _StoredEnsemble | None] = {name: getattr(self, name) for name in _PARTS}
        return {name: each for name, each in found.items() if each is not None}

    @property
    def outputs(self) -> dict[str, int]:
        """Number of outputs that each ensemble needs; 0 for none."""
        backgrounds = self.roles.count("background")
        return {
            "composition": backgrounds if backgrounds > 1 else 0,
            "weights": 2 * len(self.weight_names),
            "shapes": len(self.shape_names),
        }

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        problems = [*self._wrong_processes(), *self._wrong_variations(), *self._wrong_ensembles()]
        if problems:
            raise ValueError(problems[0])
        return self

    def _wrong_processes(self) -> list[str]:
        found = []
        if len(self.roles) != len(self.process_names) or "background" not in self.roles:
            found.append("roles must have one value for each of process_names, and a background among them")
        if set(self.indicated) - set(self.feature_names):
            found.append("indicated has a name that is no feature")
        return found

    def _wrong_variations(self) -> list[str]:
        found = []
        of_kinds = [*self.weight_names, *dict(self.shape_names), *self.scaled]
        if sorted(of_kinds) != sorted(self.names) or len(set(self.shape_names)) != len(self.shape_names):
            found.append("names must be those of weight_names, shape_names and scaled")
        if any((name, "up") not in self.shape_names for name, _ in self.shape_names):
            found.append("a shape variation has no direction up")
        shape = (2, self.roles.count("background"))
        if any(len(each) != 2 or {len(row) for row in each} != {shape[1]} for each in self.scaled.values()):
            found.append(f"factors in scaled must have shape {shape}")
        return found

    def _wrong_ensembles(self) -> list[str]:
        found = []
        for name, outputs in self.outputs.items():
            if (name in self.parts) != (outputs > 0):
                found.append(f"{name} {'is missing' if outputs else 'has networks of no ratio'}")
        for name, each in self.parts.items():
            counts = {each.member_fold.count(fold) for fold in range(self.folds)}
            if len(counts) != 1 or 0 in counts or max(each.member_fold) >= self.folds:
                found.append(f"member_fold of {name} must have each of {self.folds} folds equally often")
        if (self.network is None) != (not self.parts):
            found.append("network must be described if there are ensembles, and only then")
        return found

    def outline(self) -> Outline:
        """Types and shapes that the tensors of the described file have."""
        double, single = torch.float64, torch.float32
        found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
            "logit.knots": (double, (1, self.folds, _KNOTS)),
            "logit.coefficients": (double, (1, self.folds, _COEFFICIENTS)),
        }
        for name, each in self.parts.items():
            members, features, outputs = len(each.member_fold), len(self.feature_names), self.outputs[name]
            shapes: dict[str, tuple[int, ...]] = {f"preprocessing.{part}": (members, features) for part in _ARRAYS}
            if self.network is not None:
                parameters = parameter_shapes(
                    members, features, self.network.hidden, embedding=self.network.periodic,
                    indicators=len(self.indicated), outputs=outputs,
                )  # fmt: skip
                shapes |= {f"network.{key}": shape for key, shape in parameters.items()}
            if name == "weights":
                shapes |= {"mean": (members, 1, outputs), "scale": (members, 1, outputs)}
            found |= {f"{name}.{key}": (single, shape) for key, shape in shapes.items()}
            if name == "shapes":
                found[f"{name}.calibration.knots"] = (double, (members, outputs, _KNOTS))
                found[f"{name}.calibration.coefficients"] = (double, (members, outputs, _COEFFICIENTS))
        return found


def ratios_of_file(
    tensors: Tensors, content: Content
) -> tuple[TrainedRatios, tuple[LogitCalibration, ...], dict[str, Any], str]:
    """Make trained ratios, the calibrations of the logit, the settings and the hash of the input of a file.

    Raises:
        ValueError: says what is wrong.
    """
    # In JSON, unlike in Python, lists stand for tuples also where types are strict.
    description = _Description.model_validate_json(json.dumps(content))
    require_outline(tensors, description.outline())
    require_finite({name: value for name, value in tensors.items() if ".preprocessing." not in name})
    ensembles = {name: _ensemble(name, tensors, description) for name in description.parts}
    ratios = TrainedRatios(
        ProcessTable.of(description.process_names, description.roles),
        tuple(description.feature_names),
        ensembles.get("composition"),
        ensembles.get("weights"),
        ensembles.get("shapes"),
        {name: np.array(factors) for name, factors in description.scaled.items()},
        tuple(description.weight_names),
        tuple(description.shape_names),
        tuple(description.names),
    )
    (calibrations,) = _calibrations("logit", tensors)
    return ratios, calibrations, description.configuration, description.input_hash


def _ensemble(name: str, tensors: Tensors, description: _Description) -> RatioEnsemble:
    stored, network = description.parts[name], description.network
    if network is None:
        message = f"{name} has networks that are not described"
        raise ValueError(message)
    mine = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    fill, centre, scale = (mine[f"preprocessing.{part}"].numpy() for part in _ARRAYS)
    preprocessing = Preprocessing(
        tuple(description.feature_names), fill, centre, scale, tuple(description.indicated),
        is_bounded=description.is_bounded,
    )  # fmt: skip
    preprocessing.require_usable()
    made = StackedMLP(
        len(description.feature_names),
        network.hidden,
        member_seeds=[0] * len(stored.member_fold),
        activation=network.activation,
        embedding=network.periodic,
        indicators=len(description.indicated),
        outputs=description.outputs[name],
    )
    made.load_state_dict(
        {key.removeprefix("network."): value for key, value in mine.items() if key.startswith("network.")}
    )
    return RatioEnsemble(
        made.eval(), preprocessing, _transform(name, mine, description.outputs[name]),
        np.array(stored.member_fold, dtype=np.int64), np.array(stored.best_epoch, dtype=np.int64),
        np.array(stored.validation_loss, dtype=np.float64), tuple(network.hidden), network.activation, network.periodic,
    )  # fmt: skip


def _transform(name: str, tensors: Tensors, outputs: int) -> RatioTransform:
    if name == "composition":
        return ShareTransform(outputs)
    if name == "weights":
        if bool((tensors["scale"] < 0).any()):
            message = "weights.scale has negative values"
            raise ValueError(message)
        return WeightTransform(tensors["mean"].numpy(), tensors["scale"].numpy())
    return ShapeTransform(outputs, _calibrations("calibration", tensors))


def _calibrations(prefix: str, tensors: Tensors) -> tuple[tuple[LogitCalibration, ...], ...]:
    knots, coefficients = (tensors[f"{prefix}.{name}"].numpy() for name in ("knots", "coefficients"))
    if (np.diff(knots, axis=-1) < 0).any():
        message = f"{prefix}.knots decrease"
        raise ValueError(message)
    return tuple(
        tuple(LogitCalibration(*each) for each in zip(*row, strict=True))
        for row in zip(knots, coefficients, strict=True)
    )
