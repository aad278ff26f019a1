"""Calibration of the logit of a classifier, so that its exponential is a ratio of densities in the tails too.

A cut needs the order of events only, but smooth yields need the ratio of densities itself. Networks that are kept from
overfitting have logits that are too small where events are few, by a factor of two or three in the ratio.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from zsig_hep.errors import InputError, TrainingError
from zsig_hep.learning.classifier.classifier import Classifier
from zsig_hep.learning.training.sample import TrainingSample
from zsig_hep.representation import ShortRepr

Floats = npt.NDArray[np.float64]

_LEVELS = (0.1, 0.5, 0.8, 0.95, 0.99)
_NEWTON_STEPS = 30


@dataclass(frozen=True, eq=False)
class LogitCalibration:
    """A calibrated logit l + beta_0 + beta_1 l + sum_j beta_j max(l - kappa_j, 0), linear beyond the last knot.

    Attributes:
        knots: kappa_j, quantiles of the signal.
        coefficients: beta.
    """

    knots: Floats
    coefficients: Floats

    @classmethod
    def fit(cls, logit: Floats, weight: Floats, is_signal: npt.NDArray[np.bool_]) -> "LogitCalibration":
        """Fit by cross entropy on events that the classifier was not trained on.

        Signal and background have the same total weight, that of the effective entries of the smaller one, and each
        coefficient a Gaussian prior of unit width around zero: with few events the logit stays as it is.

        Args:
            logit: shape [N].
            weight: not negative, shape [N].
            is_signal: shape [N].

        Raises:
            TrainingError: there is no signal or no background.
        """
        entries = [_entries(weight[mine]) for mine in (is_signal, ~is_signal)]
        if min(entries) == 0:
            message = "A calibration of the logit needs signal and background events with positive weights."
            raise TrainingError(message)
        sums = np.where(is_signal, weight[is_signal].sum(), weight[~is_signal].sum())
        scaled = weight / sums * min(entries)
        order = np.argsort(logit[is_signal], kind="stable")
        below = np.cumsum(weight[is_signal][order])
        knots = np.interp(np.multiply(_LEVELS, below[-1]), below, logit[is_signal][order])
        columns = _columns(logit, knots)
        beta = np.zeros(columns.shape[1])
        for _ in range(_NEWTON_STEPS):
            share = expit(logit + columns @ beta)
            gradient = columns.T @ (scaled * (share - is_signal)) + beta
            curvature = (columns * (scaled * share * (1 - share))[:, None]).T @ columns + np.eye(beta.size)
            step = np.linalg.solve(curvature, gradient)
            beta = beta - step
            if np.abs(step).max() < 1e-9:
                break
        return cls(knots, beta)

    def __call__(self, logit: Floats) -> Floats:
        """Calibrated logits, any shape."""
        return np.asarray(logit + _columns(logit, self.knots) @ self.coefficients)


@dataclass(frozen=True, eq=False, repr=False)
class CalibratedLogits(ShortRepr):
    """The logit of a classifier, mean over the seeds of a fold, calibrated on the fold that stopped its training.

    Attributes:
        classifier: trained with cross entropy whose classes have the same total weight.
        of_fold: calibration of the networks of each fold.
    """

    classifier: Classifier
    of_fold: Mapping[int, LogitCalibration]

    @classmethod
    def fit(cls, classifier: Classifier, sample: TrainingSample) -> "CalibratedLogits":
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


def _mean_logit(classifier: Classifier, features: npt.NDArray[np.float32], fold: int) -> Floats:
    members = classifier.history.member_fold == fold
    return np.asarray(classifier.logits(features, members=members).mean(axis=0))


def _columns(logit: Floats, knots: Floats) -> Floats:
    hinges = [np.maximum(logit - knot, 0.0) for knot in knots]
    return np.stack([np.ones_like(logit), logit, *hinges], axis=-1)


def _entries(weight: Floats) -> float:
    total = float(weight.sum())
    return float(total**2 / (weight**2).sum()) if total > 0 else 0.0
