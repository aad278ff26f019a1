"""Drawing and writing results: figures, histograms and the report; computes nothing."""

from zsig_hep.presentation.cabinetry_config import cabinetry_configuration, write_cabinetry
from zsig_hep.presentation.categories import category_figure
from zsig_hep.presentation.cuts import cut_in_words, cutflow_figure, cutflow_rows, n_minus_one_figure
from zsig_hep.presentation.datacard import build_datacard, write_datacard
from zsig_hep.presentation.export import write_histograms, write_templates
from zsig_hep.presentation.figures import (
    efficiency_purity_figure,
    feature_figure,
    impact_figure,
    roc_figure,
    save_figure,
    score_figure,
    significance_figure,
    training_figure,
)
from zsig_hep.presentation.fit_inputs import fit_metadata, write_fit_inputs
from zsig_hep.presentation.gallery import CutGallery, Gallery
from zsig_hep.presentation.graduated import graduated_figure
from zsig_hep.presentation.report import write_report
from zsig_hep.presentation.style import PresentationSettings, Style
from zsig_hep.presentation.workspace import build_workspace, validate_workspace, write_workspace

__all__ = [
    "CutGallery",
    "Gallery",
    "PresentationSettings",
    "Style",
    "build_datacard",
    "build_workspace",
    "cabinetry_configuration",
    "category_figure",
    "cut_in_words",
    "cutflow_figure",
    "cutflow_rows",
    "efficiency_purity_figure",
    "feature_figure",
    "fit_metadata",
    "graduated_figure",
    "impact_figure",
    "n_minus_one_figure",
    "roc_figure",
    "save_figure",
    "score_figure",
    "significance_figure",
    "training_figure",
    "validate_workspace",
    "write_cabinetry",
    "write_datacard",
    "write_fit_inputs",
    "write_histograms",
    "write_report",
    "write_templates",
    "write_workspace",
]
