"""Counting experiments: arrays in and numbers out; knows no files and no networks."""

from zsig_hep.statistics.significance import (
    FigureOfMerit,
    Significance,
    asimov,
    asimov_with_uncertainty,
    evaluate,
    s_over_sqrt_b,
)
from zsig_hep.statistics.yields import Yield, effective_entries, weighted_yield

__all__ = [
    "FigureOfMerit",
    "Significance",
    "Yield",
    "asimov",
    "asimov_with_uncertainty",
    "effective_entries",
    "evaluate",
    "s_over_sqrt_b",
    "weighted_yield",
]
