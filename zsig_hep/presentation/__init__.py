"""Drawing and writing results: figures, histograms and the report; computes nothing."""

from zsig_hep.presentation.export import write_histograms
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
from zsig_hep.presentation.gallery import Gallery
from zsig_hep.presentation.graduated import graduated_figure
from zsig_hep.presentation.report import write_report
from zsig_hep.presentation.style import PresentationSettings, Style

__all__ = [
    "Gallery",
    "PresentationSettings",
    "Style",
    "efficiency_purity_figure",
    "feature_figure",
    "graduated_figure",
    "impact_figure",
    "roc_figure",
    "save_figure",
    "score_figure",
    "significance_figure",
    "training_figure",
    "write_histograms",
    "write_report",
]
