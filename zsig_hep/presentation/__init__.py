"""Figures and the report: they show results and compute nothing."""

from zsig_hep.presentation.figures.categories import category_figure
from zsig_hep.presentation.figures.classifiers import efficiency_purity_figure, roc_figure, significance_figure
from zsig_hep.presentation.figures.cuts import cut_in_words, cutflow_figure, n_minus_one_figure
from zsig_hep.presentation.figures.distributions import feature_figure, score_figure
from zsig_hep.presentation.figures.drawable import color_problem, label_problem
from zsig_hep.presentation.figures.gallery import CutGallery, Gallery
from zsig_hep.presentation.figures.impact import impact_figure
from zsig_hep.presentation.figures.save import save_figure
from zsig_hep.presentation.figures.style import Look, PresentationSettings, Style
from zsig_hep.presentation.figures.training import graduated_figure, training_figure
from zsig_hep.presentation.report.report import write_report

__all__ = [
    "CutGallery",
    "Gallery",
    "Look",
    "PresentationSettings",
    "Style",
    "category_figure",
    "color_problem",
    "cut_in_words",
    "cutflow_figure",
    "efficiency_purity_figure",
    "feature_figure",
    "graduated_figure",
    "impact_figure",
    "label_problem",
    "n_minus_one_figure",
    "roc_figure",
    "save_figure",
    "score_figure",
    "significance_figure",
    "training_figure",
    "write_report",
]
