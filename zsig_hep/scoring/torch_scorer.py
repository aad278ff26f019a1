"""Scores of trained models with torch, and the choice between torch and ONNX Runtime."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from zsig_hep.errors import ModelFileError
from zsig_hep.learning.classifier.load import load_classifier
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.scoring.metadata import ModelMetadata, model_metadata
from zsig_hep.scoring.onnx_scorer import OnnxScorer
from zsig_hep.scoring.scorer import check_features

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


class TorchScorer:
    """Scores with torch, boosted trees with xgboost, on one thread, so that workers of coffea do not compete for cores.

    It is pickled with the path of the folder, to which workers must have access; `OnnxScorer` has no such condition.

    Args:
        folder: a model folder, written by `Classifier.save` or `BoostedTrees.save`.
        metadata: of the model, such as `OnnxScorer.metadata`; without them the datasets of the training are not known.

    Raises:
        ModelFileError: the folder has no model of this format, or the metadata are those of another model, or disagree
            with each other.
    """

    def __init__(self, folder: Path, metadata: ModelMetadata | None = None) -> None:
        self.folder = Path(folder).resolve()
        own = model_metadata(self.classifier, fold_seed=None, event_identity="content", datasets=None)
        if metadata is not None and metadata.input_hash != own.input_hash:
            message = f"The metadata are not of the model in {folder}: it was trained on other events. Export it again."
            raise ModelFileError(message)
        self.metadata = metadata or own
        self._require_metadata_of_the_model(own)

    def _require_metadata_of_the_model(self, own: ModelMetadata) -> None:
        try:
            self.metadata.require_agreement()
        except ValueError as error:
            message = f"The metadata that were given for the model in {self.folder} cannot be used: {error}."
            raise ModelFileError(message) from error
        for name in ("feature_names", "may_be_missing", "fold_count"):
            found, expected = getattr(self.metadata, name), getattr(own, name)
            if found != expected:
                message = f"The metadata are not of the model in {self.folder}: {name} is {found!r}, of the model {expected!r}."
                raise ModelFileError(message)

    @property
    def classifier(self) -> TrainedEnsemble:
        """The ensemble, loaded once in each process."""
        path = self.folder / "model.safetensors"
        written = path.stat().st_mtime_ns if path.exists() else None
        return _load_classifier(self.folder, written)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the model's inputs."""
        return self.metadata.feature_names

    @property
    def fold_count(self) -> int:
        """Number of folds, K."""
        return self.metadata.fold_count

    def scores(self, features: Float32Array) -> Float64Array:
        """As `OnnxScorer.scores`."""
        check_features(features, self.metadata)
        with _one_thread():
            return self.classifier.scores(features)

    def fold_scores(self, features: Float32Array) -> Float64Array:
        """As `OnnxScorer.fold_scores`."""
        folds = [np.full(len(features), fold) for fold in range(self.fold_count)]
        return np.stack([self.out_of_fold_scores(features, fold) for fold in folds], axis=1)

    def out_of_fold_scores(self, features: Float32Array, fold: npt.NDArray[np.integer]) -> Float64Array:
        """As `OnnxScorer.out_of_fold_scores`."""
        check_features(features, self.metadata)
        with _one_thread():
            return self.classifier.out_of_fold_scores(features, fold)


def load_scorer(path: Path, metadata: ModelMetadata | None = None) -> OnnxScorer | TorchScorer:
    """Load a model for scoring, with torch from a folder, with ONNX Runtime from a file.

    Args:
        path: a model folder, written by `Classifier.save` or `BoostedTrees.save`, or a file, written by `export_onnx`.
        metadata: for a folder; see `TorchScorer`.

    Raises:
        InputError: the extra `onnx` is needed and not installed.
        ModelFileError: there is no usable model.
    """
    return TorchScorer(path, metadata) if Path(path).is_dir() else OnnxScorer(path)


@lru_cache(maxsize=8)
def _load_classifier(folder: Path, written: int | None) -> TrainedEnsemble:  # noqa: ARG001 (key of the cache)
    return load_classifier(folder)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
