"""Statistics of counting experiments: functions of arrays, without files and networks."""

from zsig_hep.statistics.combination import combine_independent
from zsig_hep.statistics.exclusion import ExpectedExclusion, expected_exclusion
from zsig_hep.statistics.figures_of_merit import evaluate
from zsig_hep.statistics.objective import Objective, SelectionSignificance
from zsig_hep.statistics.poisson_tail import poisson, poisson_with_uncertainty
from zsig_hep.statistics.process_table import ProcessTable, Role
from zsig_hep.statistics.processes import ProcessSignificance, combine_hypotheses, evaluate_processes
from zsig_hep.statistics.regularised import ams, punzi
from zsig_hep.statistics.significance import (
    FigureOfMerit,
    FigureParameters,
    Significance,
    asimov,
    asimov_with_uncertainty,
    s_over_sqrt_b,
    s_over_sqrt_b_with_uncertainty,
)
from zsig_hep.statistics.yields import Yield, effective_entries, weighted_yield

__all__ = [
    "ExpectedExclusion",
    "FigureOfMerit",
    "FigureParameters",
    "Objective",
    "ProcessSignificance",
    "ProcessTable",
    "Role",
    "SelectionSignificance",
    "Significance",
    "Yield",
    "ams",
    "asimov",
    "asimov_with_uncertainty",
    "combine_hypotheses",
    "combine_independent",
    "effective_entries",
    "evaluate",
    "evaluate_processes",
    "expected_exclusion",
    "poisson",
    "poisson_with_uncertainty",
    "punzi",
    "s_over_sqrt_b",
    "s_over_sqrt_b_with_uncertainty",
    "weighted_yield",
]
