from .analysis import Analysis
from .learning import (
    BCELoss,
    BoostedTrees,
    Classifier,
    Eve,
    LovaszLoss,
    TrainingSettings,
    ZLoss,
    argmax,
    argmin,
    train,
    train_trees,
)
from .ntuples import EventTable
from .pipeline import Pipeline, RunOptions
from .scoring import ScoreProcessor, load_scorer
from .selection import (
    CategorySettings,
    ScoredEvents,
    WorkingPointSettings,
    evaluate_classifier,
    hold_out_categories,
    hold_out_working_point,
    scan_thresholds,
)
from .statistics import (
    FigureOfMerit,
    Objective,
    ams,
    asimov,
    asimov_with_uncertainty,
    expected_exclusion,
    poisson,
    poisson_with_uncertainty,
    punzi,
    s_over_sqrt_b,
    s_over_sqrt_b_with_uncertainty,
)

__version__: str

__all__ = [
    "Analysis",
    "BCELoss",
    "BoostedTrees",
    "CategorySettings",
    "Classifier",
    "Eve",
    "EventTable",
    "FigureOfMerit",
    "LovaszLoss",
    "Objective",
    "Pipeline",
    "RunOptions",
    "ScoreProcessor",
    "ScoredEvents",
    "TrainingSettings",
    "WorkingPointSettings",
    "ZLoss",
    "ams",
    "argmax",
    "argmin",
    "asimov",
    "asimov_with_uncertainty",
    "evaluate_classifier",
    "expected_exclusion",
    "hold_out_categories",
    "hold_out_working_point",
    "load_scorer",
    "poisson",
    "poisson_with_uncertainty",
    "punzi",
    "s_over_sqrt_b",
    "s_over_sqrt_b_with_uncertainty",
    "scan_thresholds",
    "train",
    "train_trees",
]
