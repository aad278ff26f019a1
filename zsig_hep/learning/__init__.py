"""Learning: losses, networks and their training."""

from zsig_hep.learning.classifier import Classifier
from zsig_hep.learning.history import TrainingHistory
from zsig_hep.learning.losses import (
    BCELoss,
    BCELossSettings,
    LossSettings,
    ZLoss,
    ZLossSettings,
    rescale_to_process_yields,
)
from zsig_hep.learning.options import PhaseSettings, TrainingSettings, choose_device
from zsig_hep.learning.sample import TrainingSample, training_weights
from zsig_hep.learning.training import make_sample, train

__all__ = [
    "BCELoss",
    "BCELossSettings",
    "Classifier",
    "LossSettings",
    "PhaseSettings",
    "TrainingHistory",
    "TrainingSample",
    "TrainingSettings",
    "ZLoss",
    "ZLossSettings",
    "choose_device",
    "make_sample",
    "rescale_to_process_yields",
    "train",
    "training_weights",
]
