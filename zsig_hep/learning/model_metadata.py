"""How a classifier is applied, for those who score with it elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from zsig_hep import __version__
from zsig_hep.errors import InputError, nearest_name
from zsig_hep.learning.classifier import Classifier
from zsig_hep.ntuples.model_metadata import FORMAT, ModelMetadata

__all__ = ["ModelMetadata", "model_metadata"]


def model_metadata(
    classifier: Classifier,
    *,
    fold_seed: int | None,
    event_identity: Sequence[str] | Literal["content"],
    datasets: Sequence[str] | None,
    thresholds: Sequence[float | None] = (),
    units: Mapping[str, str] | None = None,
) -> ModelMetadata:
    """Describe a classifier so that others can apply it.

    Args:
        classifier: the trained ensemble.
        fold_seed: with which the events were assigned to folds; None where it is not known.
        event_identity: branches that identify an event in a file, or "content".
        datasets: names of the datasets of the training; empty when new events only will be scored, None where they are
            not known, which refuses to score by dataset.
        thresholds: the cut of each fold, None where none qualifies.
        units: unit of a feature, or a label that states it.

    Returns:
        The metadata.

    Raises:
        InputError: another number of thresholds than folds, or units of an unknown feature.
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
    fillable: npt.NDArray[np.bool_] = ~np.any(np.isnan(classifier.preprocessing.fill), axis=0)
    return ModelMetadata(
        feature_names=classifier.feature_names,
        may_be_missing=tuple(n for n, has_rule in zip(classifier.feature_names, fillable, strict=True) if has_rule),
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
