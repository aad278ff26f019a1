"""Counting experiments: arrays in and numbers out; knows no files and no networks."""

from zsig_hep.statistics.processes import ProcessSignificance, combine_hypotheses, evaluate_processes
from zsig_hep.statistics.significance import (
    FigureOfMerit,
    Significance,
    asimov,
    asimov_with_uncertainty,
    evaluate,
    s_over_sqrt_b,
    s_over_sqrt_b_with_uncertainty,
)
from zsig_hep.statistics.yields import Yield, effective_entries, weighted_yield

__all__ = [
    "FigureOfMerit",
    "ProcessSignificance",
    "Significance",
    "Yield",
    "asimov",
    "asimov_with_uncertainty",
    "combine_hypotheses",
    "effective_entries",
    "evaluate",
    "evaluate_processes",
    "s_over_sqrt_b",
    "s_over_sqrt_b_with_uncertainty",
    "weighted_yield",
]
