"""Selections: cuts on a score, score categories and rectangular cuts, chosen for the highest significance."""

from zsig_hep.selection.boxes.cuts import Box, Cut, CutSettings, CutVariableSettings
from zsig_hep.selection.boxes.optimise import optimise_cuts
from zsig_hep.selection.boxes.results import ChosenBox, CutflowStep, CutResult, EdgeCurve, HeldOutBox, NMinusOne
from zsig_hep.selection.boxes.sensitivity import EdgeImpact, EdgeSensitivities
from zsig_hep.selection.categories.choose import CategorySettings, ChosenCategories, choose_categories
from zsig_hep.selection.categories.held_out import (
    HeldOutCategories,
    HeldOutDivision,
    category_index,
    hold_out_categories,
)
from zsig_hep.selection.categories.yields import Category, CombinedSignificance
from zsig_hep.selection.comparison.compare import (
    Comparison,
    QuantityDifference,
    ScoredClassifier,
    compare_classifiers,
)
from zsig_hep.selection.events import ScoredEvents, VariationPair, VariedEvents
from zsig_hep.selection.family.choose import FamilyChoice, OptimalScore, choose_for_events, optimal_score
from zsig_hep.selection.family.closure import Closure, ClosureRow, closure_of, without_variations
from zsig_hep.selection.family.coefficients import FamilyCoefficients
from zsig_hep.selection.family.held_out import HeldOutFamily, hold_out_family
from zsig_hep.selection.histograms import feature_histogram, score_edges, score_histogram
from zsig_hep.selection.numbers import HypothesisSignificance, SelectionNumbers
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.selection.settings import SensitivitySettings, WorkingPointSettings
from zsig_hep.selection.smooth_figure import Parameter
from zsig_hep.selection.thresholds.blinding import hidden_data
from zsig_hep.selection.thresholds.caveats import simulation_caveats
from zsig_hep.selection.thresholds.differences import Difference, paired_difference
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation, evaluate_classifier
from zsig_hep.selection.thresholds.exclusion import SelectionExclusion, selection_exclusion
from zsig_hep.selection.thresholds.goal import WorkingPointJudge, training_goal
from zsig_hep.selection.thresholds.held_out import (
    HeldOutWorkingPoint,
    PartitionChoice,
    held_out_selection,
    hold_out_working_point,
)
from zsig_hep.selection.thresholds.one_more_event import OneMoreEvent
from zsig_hep.selection.thresholds.roc import RocCurve, roc_curve
from zsig_hep.selection.thresholds.scan import ThresholdScan, scan_thresholds, significance_at_signal_efficiency
from zsig_hep.selection.thresholds.sensitivity import Impact, ImpactTable, cut_sensitivities
from zsig_hep.selection.thresholds.systematics import SystematicRow, SystematicTable, systematic_table
from zsig_hep.selection.thresholds.uncertainties import (
    SignificanceUncertainties,
    held_out_uncertainties,
    significance_uncertainties,
)
from zsig_hep.selection.thresholds.working_points import WorkingPoint, choose_working_point
from zsig_hep.selection.varied_events import VariedYield, varied_events, varied_yields

__all__ = [
    "Box",
    "Category",
    "CategorySettings",
    "ChosenBox",
    "ChosenCategories",
    "ClassifierEvaluation",
    "Closure",
    "ClosureRow",
    "CombinedSignificance",
    "Comparison",
    "Cut",
    "CutResult",
    "CutSettings",
    "CutVariableSettings",
    "CutflowStep",
    "Difference",
    "EdgeCurve",
    "EdgeImpact",
    "EdgeSensitivities",
    "FamilyChoice",
    "FamilyCoefficients",
    "HeldOutBox",
    "HeldOutCategories",
    "HeldOutDivision",
    "HeldOutFamily",
    "HeldOutWorkingPoint",
    "HypothesisSignificance",
    "Impact",
    "ImpactTable",
    "LikelihoodRatios",
    "NMinusOne",
    "OneMoreEvent",
    "OptimalScore",
    "Parameter",
    "PartitionChoice",
    "QuantityDifference",
    "RocCurve",
    "ScoredClassifier",
    "ScoredEvents",
    "SelectionExclusion",
    "SelectionNumbers",
    "SensitivitySettings",
    "SignificanceUncertainties",
    "SystematicRow",
    "SystematicTable",
    "ThresholdScan",
    "VariationPair",
    "VariedEvents",
    "VariedYield",
    "WorkingPoint",
    "WorkingPointJudge",
    "WorkingPointSettings",
    "category_index",
    "choose_categories",
    "choose_for_events",
    "choose_working_point",
    "closure_of",
    "compare_classifiers",
    "cut_sensitivities",
    "evaluate_classifier",
    "feature_histogram",
    "held_out_selection",
    "held_out_uncertainties",
    "hidden_data",
    "hold_out_categories",
    "hold_out_family",
    "hold_out_working_point",
    "optimal_score",
    "optimise_cuts",
    "paired_difference",
    "roc_curve",
    "scan_thresholds",
    "score_edges",
    "score_histogram",
    "selection_exclusion",
    "significance_at_signal_efficiency",
    "significance_uncertainties",
    "simulation_caveats",
    "systematic_table",
    "training_goal",
    "varied_events",
    "varied_yields",
    "without_variations",
]
