"""Metadata that are needed to apply a stored model, as text that an ONNX file can hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveInt, TypeAdapter

from zsig_hep import __version__
from zsig_hep.errors import InputError, nearest_name
from zsig_hep.representation import short

if TYPE_CHECKING:
    from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble

EventIdentity = tuple[str, ...] | Literal["content"]

FORMAT = 1
"""Version of the metadata and of the model's inputs and outputs."""

_PREFIX = "zsig_hep."


@dataclass(frozen=True)
class ModelMetadata:
    """How a model is applied, and its provenance.

    Attributes:
        feature_names: features in the order of the model's inputs.
        may_be_missing: features that may be NaN, which networks replace and trees take as they are.
        units: units of features, or labels that state them, by feature.
        fold_count: number of folds K.
        fold_seed: seed of the assignment of events to folds; None if not known.
        event_identity: branches that identify an event in a file, or "content".
        datasets: datasets of the training, which need out-of-fold scores; None if not known.
        thresholds: the cut of each fold, None for a fold without a valid cut; empty without a selection.
        loss: label of the loss of the last phase of the training.
        input_hash: hash of the events of the training.
        zsig_hep_version: version of the package that wrote the model.
        format: `FORMAT` of the model.
    """

    feature_names: tuple[str, ...]
    may_be_missing: tuple[str, ...]
    units: Mapping[str, str]
    fold_count: PositiveInt
    fold_seed: Annotated[int, Field(ge=0, lt=2**64)] | None
    event_identity: EventIdentity
    datasets: tuple[str, ...] | None
    thresholds: tuple[FiniteFloat | None, ...]
    loss: str
    input_hash: str
    zsig_hep_version: str
    format: int

    @property
    def threshold(self) -> float | None:
        """The cut on new events, which all members score: the mean over the folds; None if a fold has no cut."""
        known = [threshold for threshold in self.thresholds if threshold is not None]
        return sum(known) / len(known) if known and len(known) == len(self.thresholds) else None

    def to_properties(self) -> dict[str, str]:
        """Each attribute and `threshold` as JSON, with the prefix of the package before their names."""
        return {_PREFIX + name: json.dumps(value) for name, value in asdict(self).items()} | {
            _PREFIX + "threshold": json.dumps(self.threshold)
        }

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "ModelMetadata":
        """Read what `to_properties` returned.

        Raises:
            KeyError: an attribute is missing.
            ValueError: an attribute is not JSON, of another type or out of its range, the format is not `FORMAT`, or
                attributes disagree, as for `require_agreement`.
        """
        values = {field.name: json.loads(properties[_PREFIX + field.name]) for field in fields(cls)}
        if values["format"] != FORMAT:
            message = f"format {short(values['format'])}, expected {FORMAT}"
            raise ValueError(message)
        # In JSON lists stand for tuples also where types are strict.
        metadata = TypeAdapter(cls).validate_json(json.dumps(values), strict=True)
        metadata.require_agreement()
        return metadata

    def require_agreement(self) -> None:
        """Refuse attributes that disagree with each other.

        Raises:
            ValueError: names that repeat, a unit or a rule for an unknown feature, or not one threshold for each fold.
        """
        named = {"feature_names": self.feature_names, "datasets": self.datasets or ()}
        if self.event_identity != "content":
            named["event_identity"] = self.event_identity
        for attribute, names in named.items():
            if len(set(names)) != len(names):
                message = f"{attribute} repeat a name"
                raise ValueError(message)
        if not self.feature_names or not self.event_identity:
            message = "feature_names and event_identity must not be empty"
            raise ValueError(message)
        if unknown := sorted({*self.may_be_missing, *self.units} - set(self.feature_names)):
            message = f"may_be_missing or units have {unknown[0]!r}, which is no feature of the model"
            raise ValueError(message)
        if self.thresholds and len(self.thresholds) != self.fold_count:
            message = f"{len(self.thresholds)} thresholds for {self.fold_count} folds"
            raise ValueError(message)


def model_metadata(
    classifier: "TrainedEnsemble",
    *,
    fold_seed: int | None,
    event_identity: Sequence[str] | Literal["content"],
    datasets: Sequence[str] | None,
    thresholds: Sequence[float | None] = (),
    units: Mapping[str, str] | None = None,
) -> ModelMetadata:
    """Make the metadata of a classifier.

    Args:
        classifier: the trained ensemble.
        fold_seed: seed of the assignment of events to folds; None if not known.
        event_identity: branches that identify an event in a file, or "content".
        datasets: names of the datasets of the training; empty if only new events will be scored; None if not known, so
            that scoring by dataset is an error.
        thresholds: the cut of each fold, None for a fold without a valid cut.
        units: units of features, or labels that state them, by feature.

    Returns:
        The metadata.

    Raises:
        InputError: the number of thresholds is not that of the folds, or a unit is for an unknown feature.
    """
    fold_count = int(classifier.history.member_fold.max()) + 1
    if thresholds and len(thresholds) != fold_count:
        message = (
            f"{len(thresholds)} thresholds were given for a model of {fold_count} folds; give one for each, or none."
        )
        raise InputError(message)
    for name in units or {}:
        if name not in classifier.feature_names:
            near = nearest_name(name, classifier.feature_names)
            message = f"A unit was given for {name!r}, which is no feature of the model.{near}"
            raise InputError(message)
    return ModelMetadata(
        feature_names=classifier.feature_names,
        may_be_missing=classifier.may_be_missing,
        units=dict(units or {}),
        fold_count=fold_count,
        fold_seed=fold_seed,
        event_identity="content" if event_identity == "content" else tuple(event_identity),
        datasets=None if datasets is None else tuple(datasets),
        thresholds=tuple(thresholds),
        loss=classifier.history.loss_name,
        input_hash=classifier.input_hash,
        zsig_hep_version=__version__,
        format=FORMAT,
    )
