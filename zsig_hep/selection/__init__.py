"""Choosing cuts: every threshold at once, working points, and how well a score separates."""

from zsig_hep.selection.blinding import hidden_data
from zsig_hep.selection.box_results import ChosenBox, CutflowStep, CutResult, EdgeCurve, HeldOutBox, NMinusOne
from zsig_hep.selection.box_selection import optimise_cuts
from zsig_hep.selection.box_sensitivity import EdgeImpact, EdgeSensitivities
from zsig_hep.selection.box_summary import cut_summary
from zsig_hep.selection.boxes import Box, Cut, CutSettings, CutVariableSettings
from zsig_hep.selection.categories import CategorySettings, ChosenCategories, choose_categories
from zsig_hep.selection.category_yields import Category, CombinedSignificance
from zsig_hep.selection.caveats import simulation_caveats
from zsig_hep.selection.comparison import Difference, held_out_selection, paired_difference
from zsig_hep.selection.evaluation import ClassifierEvaluation, evaluate_classifier
from zsig_hep.selection.exclusion import SelectionExclusion, selection_exclusion
from zsig_hep.selection.goal import WorkingPointJudge, training_goal
from zsig_hep.selection.held_out import HeldOutWorkingPoint, hold_out_working_point
from zsig_hep.selection.held_out_categories import (
    HeldOutCategories,
    HeldOutDivision,
    category_index,
    hold_out_categories,
)
from zsig_hep.selection.histograms import feature_histogram, missing_entries, score_edges, score_histogram
from zsig_hep.selection.merit import (
    SelectionSignificance,
    SensitivitySettings,
    WorkingPointSettings,
    significance,
    unknown_backgrounds,
)
from zsig_hep.selection.roc import RocCurve, roc_curve
from zsig_hep.selection.scan import ThresholdScan, scan_thresholds, significance_at_signal_efficiency
from zsig_hep.selection.sensitivity import Impact, ImpactTable, cut_sensitivities
from zsig_hep.selection.smooth import Parameter
from zsig_hep.selection.systematics import SystematicRow, SystematicTable, systematic_table
from zsig_hep.selection.template_building import build_templates
from zsig_hep.selection.templates import ChannelTemplates, ExportSettings, FitTemplates, Template
from zsig_hep.selection.uncertainties import (
    SignificanceUncertainties,
    held_out_uncertainties,
    significance_uncertainties,
)
from zsig_hep.selection.variations import VariationPair, VariedEvents, VariedYield, varied_events, varied_yields
from zsig_hep.selection.working_points import HypothesisSignificance, WorkingPoint, choose_working_point

__all__ = [
    "Box",
    "Category",
    "CategorySettings",
    "ChannelTemplates",
    "ChosenBox",
    "ChosenCategories",
    "ClassifierEvaluation",
    "CombinedSignificance",
    "Cut",
    "CutResult",
    "CutSettings",
    "CutVariableSettings",
    "CutflowStep",
    "Difference",
    "EdgeCurve",
    "EdgeImpact",
    "EdgeSensitivities",
    "ExportSettings",
    "FitTemplates",
    "HeldOutBox",
    "HeldOutCategories",
    "HeldOutDivision",
    "HeldOutWorkingPoint",
    "HypothesisSignificance",
    "Impact",
    "ImpactTable",
    "NMinusOne",
    "Parameter",
    "RocCurve",
    "SelectionExclusion",
    "SelectionSignificance",
    "SensitivitySettings",
    "SignificanceUncertainties",
    "SystematicRow",
    "SystematicTable",
    "Template",
    "ThresholdScan",
    "VariationPair",
    "VariedEvents",
    "VariedYield",
    "WorkingPoint",
    "WorkingPointJudge",
    "WorkingPointSettings",
    "build_templates",
    "category_index",
    "choose_categories",
    "choose_working_point",
    "cut_sensitivities",
    "cut_summary",
    "evaluate_classifier",
    "feature_histogram",
    "held_out_selection",
    "held_out_uncertainties",
    "hidden_data",
    "hold_out_categories",
    "hold_out_working_point",
    "missing_entries",
    "optimise_cuts",
    "paired_difference",
    "roc_curve",
    "scan_thresholds",
    "score_edges",
    "score_histogram",
    "selection_exclusion",
    "significance",
    "significance_at_signal_efficiency",
    "significance_uncertainties",
    "simulation_caveats",
    "systematic_table",
    "training_goal",
    "unknown_backgrounds",
    "varied_events",
    "varied_yields",
]
