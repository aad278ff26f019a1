"""Losses, optimisers, the training of classifiers, and derivatives of optima with respect to parameters."""

from zsig_hep.learning.classifier.boosted_trees import BoostedTrees
from zsig_hep.learning.classifier.classifier import Classifier
from zsig_hep.learning.classifier.history import RoundRecord, TrainingHistory
from zsig_hep.learning.classifier.load import load_classifier
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.learning.implicit.argmin import ArgminResult, argmax, argmin
from zsig_hep.learning.implicit.constraints import ActiveSet, Barrier
from zsig_hep.learning.implicit.grid_maximum import GridMaximum, argmax_on_grid
from zsig_hep.learning.implicit.held_out_objectives import NegativeHeldOutSignificance
from zsig_hep.learning.implicit.linear_solvers import ConjugateGradient, Exact, Neumann
from zsig_hep.learning.implicit.tuning import TuningResult, tune
from zsig_hep.learning.implicit.tuning_problem import TuningProblem
from zsig_hep.learning.losses.base import GeometricPath, LinearPath, LossContext
from zsig_hep.learning.losses.compositions import (
    HypothesesLoss,
    HypothesesLossSettings,
    SumLoss,
    SumLossSettings,
    TermSettings,
)
from zsig_hep.learning.losses.cross_entropy import BCELoss, BCELossSettings, FocalLoss, FocalLossSettings
from zsig_hep.learning.losses.lovasz_loss import LovaszLoss, LovaszLossSettings
from zsig_hep.learning.losses.margins import rescale_to_process_yields
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.losses.soft_counts import (
    BinnedAsimovLoss,
    BinnedAsimovLossSettings,
    InverseAsimovLoss,
    InverseAsimovLossSettings,
    PunziLoss,
    PunziLossSettings,
    SoftSignificanceLoss,
    SoftSignificanceLossSettings,
)
from zsig_hep.learning.losses.z_loss import ZLoss, ZLossSettings
from zsig_hep.learning.optimisation.eve import Eve
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage
from zsig_hep.learning.optimisation.optimizers import OptimizerSettings
from zsig_hep.learning.optimisation.schedules import ScheduleSettings
from zsig_hep.learning.ratios.calibrated_logits import CalibratedLogits
from zsig_hep.learning.ratios.logit_calibration import LogitCalibration
from zsig_hep.learning.ratios.ratio_model import RatioModel, train_ratio_model
from zsig_hep.learning.ratios.train import TrainedRatios, train_ratios
from zsig_hep.learning.training.goal import Goal, Judgement
from zsig_hep.learning.training.phases import depends_on_goal, schedule_advice
from zsig_hep.learning.training.sample import TrainingSample, training_weights
from zsig_hep.learning.training.settings import (
    PhaseSettings,
    PlannedTraining,
    TrainingSettings,
    TreeSettings,
    choose_device,
)
from zsig_hep.learning.training.train import make_sample, train, train_trees
from zsig_hep.learning.training.tree_growth import tree_device

__all__ = [
    "ActiveSet",
    "ArgminResult",
    "BCELoss",
    "BCELossSettings",
    "Barrier",
    "BinnedAsimovLoss",
    "BinnedAsimovLossSettings",
    "BoostedTrees",
    "CalibratedLogits",
    "Classifier",
    "ConjugateGradient",
    "EffectiveWeightsLossSettings",
    "Eve",
    "Exact",
    "FocalLoss",
    "FocalLossSettings",
    "GeometricPath",
    "Goal",
    "GraduatedStage",
    "GridMaximum",
    "HypothesesLoss",
    "HypothesesLossSettings",
    "InverseAsimovLoss",
    "InverseAsimovLossSettings",
    "Judgement",
    "LinearPath",
    "LogitCalibration",
    "LossContext",
    "LossSettings",
    "LovaszLoss",
    "LovaszLossSettings",
    "NegativeHeldOutSignificance",
    "Neumann",
    "OptimizerSettings",
    "PhaseSettings",
    "PlannedTraining",
    "PunziLoss",
    "PunziLossSettings",
    "RatioModel",
    "RoundRecord",
    "ScheduleSettings",
    "SoftSignificanceLoss",
    "SoftSignificanceLossSettings",
    "SumLoss",
    "SumLossSettings",
    "TermSettings",
    "TrainedEnsemble",
    "TrainedRatios",
    "TrainingHistory",
    "TrainingSample",
    "TrainingSettings",
    "TreeSettings",
    "TuningProblem",
    "TuningResult",
    "ZLoss",
    "ZLossSettings",
    "argmax",
    "argmax_on_grid",
    "argmin",
    "choose_device",
    "depends_on_goal",
    "load_classifier",
    "make_sample",
    "rescale_to_process_yields",
    "schedule_advice",
    "train",
    "train_ratio_model",
    "train_ratios",
    "train_trees",
    "training_weights",
    "tree_device",
    "tune",
]
