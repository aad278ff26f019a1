"""Learning: losses, networks and their training.

Losses: `losses` (the Z loss and the cross entropies) and `lovasz_loss` (any submodular figure of merit) stand on `lovasz`
(the extension), `margins` (the error measures) and `merits`, `uncertain_merits`, `merit_registry` (figures of merit);
`soft_counts` and `compositions` hold the smooth losses and those made of others; `loss_settings` says how an analysis
file names them.

Training: `training` is the way in; `phases` lays it out, `ensemble` runs it on `network` and `batches`, `rounds` and
`best_round` judge and choose, `resume` and `checkpoints` store it, `classifier` and `history` are what is left of it.

Scoring elsewhere: `onnx_export` writes a classifier with `onnx_graph`, `model_metadata` says how it is applied, `scorers`
apply it.

Optimisation: `eve` and `optimizers`; `schedules`, `smoothing` and `noise` for graduated optimisation; `implicit` with
`constraints`, `kkt`, `linear_solvers` and `grid_maximum` for derivatives of argmin and argmax, which `tuning` uses.
"""

from zsig_hep.learning.classifier import Classifier
from zsig_hep.learning.compositions import HypothesesLoss, SumLoss
from zsig_hep.learning.constraints import ActiveSet, Barrier
from zsig_hep.learning.grid_maximum import Envelope, GridMaximum, argmax_on_grid, envelope
from zsig_hep.learning.held_out import HeldOutSignificance
from zsig_hep.learning.history import TrainingHistory
from zsig_hep.learning.implicit import ArgminResult, argmax, argmin
from zsig_hep.learning.linear_solvers import ConjugateGradient, Exact, Neumann
from zsig_hep.learning.loss_settings import (
    BCELossSettings,
    BinnedAsimovLossSettings,
    EffectiveWeightsLossSettings,
    FocalLossSettings,
    GeometricPath,
    HypothesesLossSettings,
    InverseAsimovLossSettings,
    LinearPath,
    LossContext,
    LossSettings,
    LovaszLossSettings,
    PunziLossSettings,
    SoftSignificanceLossSettings,
    SumLossSettings,
    TermSettings,
    ZLossSettings,
)
from zsig_hep.learning.losses import BCELoss, FocalLoss, ZLoss, rescale_to_process_yields
from zsig_hep.learning.lovasz_loss import LovaszLoss
from zsig_hep.learning.model_metadata import model_metadata
from zsig_hep.learning.onnx_export import can_export_onnx, export_onnx
from zsig_hep.learning.optimizers import Eve, OptimizerSettings, make_optimizer
from zsig_hep.learning.options import PhaseSettings, TrainingSettings, choose_device
from zsig_hep.learning.phases import depends_on_goal, schedule_advice
from zsig_hep.learning.rounds import Goal, Judgement, RoundRecord
from zsig_hep.learning.sample import TrainingSample, training_weights
from zsig_hep.learning.schedules import GraduatedStage, ScheduleSettings
from zsig_hep.learning.scorers import TorchScorer, load_scorer
from zsig_hep.learning.soft_counts import BinnedAsimovLoss, InverseAsimovLoss, PunziLoss, SoftSignificanceLoss
from zsig_hep.learning.training import make_sample, train
from zsig_hep.learning.tuning import TuningResult, last_layer_activations, tune
from zsig_hep.learning.tuning_problem import TuningProblem

__all__ = [
    "ActiveSet",
    "ArgminResult",
    "BCELoss",
    "BCELossSettings",
    "Barrier",
    "BinnedAsimovLoss",
    "BinnedAsimovLossSettings",
    "Classifier",
    "ConjugateGradient",
    "EffectiveWeightsLossSettings",
    "Envelope",
    "Eve",
    "Exact",
    "FocalLoss",
    "FocalLossSettings",
    "GeometricPath",
    "Goal",
    "GraduatedStage",
    "GridMaximum",
    "HeldOutSignificance",
    "HypothesesLoss",
    "HypothesesLossSettings",
    "InverseAsimovLoss",
    "InverseAsimovLossSettings",
    "Judgement",
    "LinearPath",
    "LossContext",
    "LossSettings",
    "LovaszLoss",
    "LovaszLossSettings",
    "Neumann",
    "OptimizerSettings",
    "PhaseSettings",
    "PunziLoss",
    "PunziLossSettings",
    "RoundRecord",
    "ScheduleSettings",
    "SoftSignificanceLoss",
    "SoftSignificanceLossSettings",
    "SumLoss",
    "SumLossSettings",
    "TermSettings",
    "TorchScorer",
    "TrainingHistory",
    "TrainingSample",
    "TrainingSettings",
    "TuningProblem",
    "TuningResult",
    "ZLoss",
    "ZLossSettings",
    "argmax",
    "argmax_on_grid",
    "argmin",
    "can_export_onnx",
    "choose_device",
    "depends_on_goal",
    "envelope",
    "export_onnx",
    "last_layer_activations",
    "load_scorer",
    "make_optimizer",
    "make_sample",
    "model_metadata",
    "rescale_to_process_yields",
    "schedule_advice",
    "train",
    "training_weights",
    "tune",
]
