"""The calibrated logit of a trained classifier."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.learning.ratios.logit_calibration import LogitCalibration
from zsig_hep.learning.training.sample import TrainingSample
from zsig_hep.representation import ShortRepr

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CalibratedLogits(ShortRepr):
    """The logit of a classifier, mean over the seeds of a fold, calibrated on the fold that stopped its training.

    Attributes:
        classifier: trained with cross entropy whose classes have the same total weight.
        of_fold: calibration of the networks of each fold.
    """

    classifier: TrainedEnsemble
    of_fold: Mapping[int, LogitCalibration]

    @classmethod
    def fit(cls, classifier: TrainedEnsemble, sample: TrainingSample) -> "CalibratedLogits":
        """Calibrate the networks of each fold on the next one, on which they were neither trained nor are tested.

        Args:
            classifier: trained on the sample.
            sample: with the features in the order of the classifier.

        Raises:
            TrainingError: a fold has no signal or no background.
        """
        found = {}
        for fold in range(sample.fold_count):
            stopping = sample.fold == (fold + 1) % sample.fold_count
            logit = _mean_logit(classifier, sample.features[stopping], fold)
            found[fold] = LogitCalibration.fit(logit, sample.weights[stopping], sample.is_signal[stopping])
        return cls(classifier, found)

    def out_of_fold(self, features: npt.NDArray[np.float32], fold: npt.NDArray[np.integer]) -> Floats:
        """Logit of each event by the networks that were not trained on its fold, shape [N].

        Args:
            features: shape [N, F].
            fold: fold of each event, shape [N].

        Raises:
            InputError: an event is of a fold without networks.
        """
        logits = np.empty(len(features))
        for number in np.unique(fold).tolist():
            if number not in self.of_fold:
                message = f"An event is of fold {number}; the networks have folds {sorted(self.of_fold)}."
                raise InputError(message)
            mine = fold == number
            logits[mine] = self.of_fold[number](_mean_logit(self.classifier, features[mine], number))
        return logits

    def of_new(self, features: npt.NDArray[np.float32]) -> Floats:
        """Logit of events that no network was trained on, mean over the folds, shape [N]."""
        of_folds = [
            calibration(_mean_logit(self.classifier, features, fold)) for fold, calibration in self.of_fold.items()
        ]
        return np.asarray(np.mean(of_folds, axis=0))


def _mean_logit(classifier: TrainedEnsemble, features: npt.NDArray[np.float32], fold: int) -> Floats:
    members = classifier.history.member_fold == fold
    return np.asarray(classifier.logits(features, members=members).mean(axis=0))
