"""What all trained classifiers have in common: members over folds and seeds, whose outputs are calibrated and averaged."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from zsig_hep.errors import InputError, ModelFileError, nearest_name
from zsig_hep.learning.classifier.calibration import signal_share_below
from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.representation import ShortRepr


class TrainedEnsemble(ShortRepr, ABC):
    """An ensemble over folds and seeds, which scores events; a base of frozen dataclasses.

    Attributes:
        quantiles: quantiles of each member's output for its validation signal, shape (M, 201); see `signal_quantiles`.
        history: of the training, with each member's fold.
        configuration: training settings as JSON.
        input_hash: hash of the events that it was trained on.
    """

    quantiles: npt.NDArray[np.float32]
    history: TrainingHistory
    configuration: Mapping[str, object]
    input_hash: str

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the columns that are scored."""

    @property
    @abstractmethod
    def may_be_missing(self) -> tuple[str, ...]:
        """Features that may be NaN."""

    @abstractmethod
    def logits(
        self,
        features: npt.NDArray[np.float32],
        device: torch.device | None = None,
        members: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Outputs of the members in float64.

        The slope of the calibration is the density of the signal: where events of a small sample nearly coincide, the
        rounding of float32, which differs between devices, batch sizes and programs, would be visible in the score.

        Args:
            features: shape (N, F), columns in the order of `feature_names`, NaN where missing.
            device: device of the computation; by default the CPU.
            members: mask of the members, shape (M,); None takes all.

        Returns:
            Shape (M, N), with M the number of chosen members.

        Raises:
            ModelFileError: if the number of features is not that of the model.
            TrainingError: for infinite values, or missing values of a feature that may not be missing.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, which `load_classifier` reads, and `model.json`, a copy of the description in it.

        Raises:
            OutputError: if they cannot be written.
        """

    @property
    def advice(self) -> str:
        """Advice on collapsed members; empty if there are none."""
        return self.history.advice()

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
                f"An event is of fold {unknown[0]}, for which the model has no member: it has {len(known)} folds, "
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

    def _require_feature_count(self, features: npt.NDArray[np.float32]) -> None:
        if features.ndim != 2 or features.shape[1] != len(self.feature_names):
            message = f"The model takes {len(self.feature_names)} features per event, found shape {features.shape}."
            raise ModelFileError(message)
