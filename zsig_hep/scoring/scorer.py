"""Scores of selected events: the interface of models, and the choice of the networks that score an event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zsig_hep.errors import InputError, ModelFileError, nearest_name
from zsig_hep.ntuples.chunk import ChunkReader, SelectedChunk
from zsig_hep.ntuples.identity import assign_folds
from zsig_hep.ntuples.variations import names_of_kind
from zsig_hep.scoring.metadata import ModelMetadata


class Scorer(Protocol):
    """A model that scores events and can be pickled.

    Attributes:
        feature_names: F names in the order of the model's inputs.
        fold_count: number of folds K.
        metadata: of the model.
    """

    @property
    def feature_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def fold_count(self) -> int: ...  # noqa: D102
    @property
    def metadata(self) -> ModelMetadata: ...  # noqa: D102

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores f8 [N] of new events with features f4 [N, F]."""

    def out_of_fold_scores(self, features: NDArray[np.float32], fold: NDArray[np.integer]) -> NDArray[np.float64]:
        """Scores f8 [N] of events of the training, by networks that were not trained on each event's fold, i [N]."""


@dataclass(frozen=True)
class ScoredEvents:
    """Scores of the selected events of a chunk.

    Attributes:
        score: f8 [S].
        fold: i2 [S], fold of each event of a dataset of the training; None for new events.
        passed: bool [S], whether the score is at or above the cut, that of the event's fold or that on new events; None
            without a cut.
    """

    score: NDArray[np.float64]
    fold: NDArray[np.int16] | None
    passed: NDArray[np.bool_] | None


def is_trained_on(scorer: Scorer, dataset: str | None) -> bool:
    """Whether a model was trained on a dataset, whose events then need out-of-fold scores; False for None, new events.

    Raises:
        ModelFileError: the metadata do not list the datasets of the training.
    """
    if scorer.metadata.datasets is None:
        message = (
            "The model does not state the datasets that it was trained on, so that the networks that were trained on "
            "an event are not known. Give its metadata: TorchScorer(folder, metadata), with datasets=() if all events "
            "are new."
        )
        raise ModelFileError(message)
    return dataset in scorer.metadata.datasets


def score_chunk(scorer: Scorer, chunk: SelectedChunk, *, trained_on: bool) -> ScoredEvents:
    """Score the selected events of a chunk.

    Args:
        scorer: the model.
        chunk: the selected events.
        trained_on: of `is_trained_on`; each event is then scored by the networks that were not trained on its fold.

    Returns:
        The scores.

    Raises:
        InputError: a feature is infinite, or missing without a rule.
        ModelFileError: the columns lack a feature of the model.
    """
    columns = match_features(scorer.feature_names, tuple(chunk.features))
    arrays = list(chunk.features.values())
    features = np.stack([arrays[column] for column in columns], axis=1)
    cuts = cuts_on_score(scorer, trained_on=trained_on)
    if not trained_on:
        score = scorer.scores(features)
        return ScoredEvents(score, None, None if cuts is None else score >= cuts[0])
    fold = assign_folds(chunk.identity, scorer.fold_count, scorer.metadata.fold_seed or 0)
    score = scorer.out_of_fold_scores(features, fold)
    return ScoredEvents(score, fold, None if cuts is None else score >= cuts[fold])


def cuts_on_score(scorer: Scorer, *, trained_on: bool) -> NDArray[np.float64] | None:
    """Cuts of the model, f8 [K] for the folds of the training or f8 [1] for new events; None if one is missing."""
    metadata = scorer.metadata
    cuts = metadata.thresholds if trained_on else (metadata.threshold,)
    known = [cut for cut in cuts if cut is not None]
    return np.array(known) if known and len(known) == len(cuts) else None


def match_features(feature_names: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Find the features of a model among columns, in the order of the model.

    Raises:
        ModelFileError: features are missing.

    Example:
        >>> match_features(("y", "x"), ("x", "other", "y"))
        [2, 0]
    """
    if missing := [name for name in feature_names if name not in columns]:
        which = f"feature{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}"
        message = (
            f"The model takes {len(feature_names)} features, the columns have {len(columns)} and lack the {which}."
            f"{nearest_name(missing[0], columns)} Use the columns of the training, or train again."
        )
        raise ModelFileError(message)
    return [list(columns).index(name) for name in feature_names]


def check_features(features: NDArray[np.float32], metadata: ModelMetadata) -> None:
    """Refuse features that a model cannot score.

    Args:
        features: f4 [N, F].
        metadata: of the model.

    Raises:
        ModelFileError: the number of features is not that of the model.
        InputError: a feature is infinite, or missing without a rule.
    """
    names = metadata.feature_names
    if features.ndim != 2 or features.shape[1] != len(names):
        message = f"The model takes {len(names)} features per event, found shape {features.shape}."
        raise ModelFileError(message)
    if infinite := _names(names, np.any(np.isinf(features), axis=0)):
        message = f"Infinite values in {infinite}: cap or transform in the columns."
        raise InputError(message)
    may_be_missing = np.array([name in metadata.may_be_missing for name in names], dtype=np.bool_)
    if ruleless := _names(names, np.any(np.isnan(features), axis=0) & ~may_be_missing):
        message = (
            f"Missing values (NaN) in {ruleless}, for which the model has no rule. Train with one, under `training: "
            "{missing: {NAME: mean | median | a number}}`, or fill the feature in the columns."
        )
        raise InputError(message)


def check_folds(fold: NDArray[np.integer], events: int, fold_count: int) -> None:
    """Refuse folds for which a model has no networks.

    Args:
        fold: i [N].
        events: number of events N.
        fold_count: of the model.

    Raises:
        InputError: there is not one fold, a whole number, for each event.
        ModelFileError: the model has no such fold.
    """
    if fold.shape != (events,) or fold.dtype.kind not in "iu":
        message = f"{events} events need as many folds, whole numbers; found {fold.dtype} of shape {fold.shape}."
        raise InputError(message)
    if len(unknown := fold[(fold < 0) | (fold >= fold_count)]):
        message = (
            f"An event is of fold {unknown[0]}, for which the model has no member: it has {fold_count} folds, 0 to "
            f"{fold_count - 1}. Assign events to folds as in the training."
        )
        raise ModelFileError(message)


def _names(names: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    return ", ".join(repr(name) for name, flag in zip(names, chosen, strict=True) if flag)


def require_same_folds(scorer: Scorer, reader: ChunkReader) -> None:
    """Refuse to score events of the training that the reader cannot assign to their folds.

    Raises:
        ModelFileError: the datasets of the training or the seed of the folds are not known, or events are not
            identified as in the training, or by features that a variation shifts.
    """
    known = [dataset for dataset in reader.weights if is_trained_on(scorer, dataset)]
    if not known:
        return
    metadata = scorer.metadata
    if metadata.fold_seed is None:
        message = (
            f"The model was trained on {known[0]!r}, but does not state the seed of the assignment of events to folds."
        )
        raise ModelFileError(message)
    identity = reader.event_identity if isinstance(reader.event_identity, str) else tuple(reader.event_identity)
    if identity != metadata.event_identity:
        message = (
            f"Events are identified by {identity!r}, but were by {metadata.event_identity!r} in the training of the "
            "model: their folds would differ. Use the event_identity of the training."
        )
        raise ModelFileError(message)
    for dataset in known:
        variations = (reader.variations or {}).get(dataset, {})
        if identity == "content" and (shapes := names_of_kind(variations, "shape")):
            message = (
                f"Variation {shapes[0]!r} of {dataset!r} shifts features, which identify the events: their folds would "
                "change. Train with branches as event_identity."
            )
            raise ModelFileError(message)
