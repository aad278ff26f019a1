"""Rectangular cuts that the simulation cannot tell from none, and how they are dropped."""

import math

import numpy as np

from zsig_hep.selection.box_problem import BoxProblem, is_better, qualifies
from zsig_hep.selection.box_search import polish
from zsig_hep.selection.events import Integers
from zsig_hep.selection.merit import significance


def drop_weak_cuts(problem: BoxProblem, edges: Integers, value: float) -> tuple[Integers, float]:
    """Open the cut of the smallest pull, and polish the others, until every pull is large enough.

    Args:
        problem: events, edges and the smallest pull that keeps a cut.
        edges: polished, shape [S].
        value: their objective, a significance.

    Returns:
        The edges and their objective.
    """
    held: set[int] = set()
    while True:
        pulls = [(pull(problem, edges, index), index) for index in np.flatnonzero(edges).tolist()]
        weakest, index = min(pulls, default=(np.inf, -1))
        if weakest > 0 and weakest >= problem.cuts.minimum_pull:
            better, reached = polish(problem, edges, held=held)
            if not held or not is_better(reached, value):
                return edges, value
            edges, value = better, reached
            continue
        held.add(index)
        opened = edges.copy()
        opened[index] = 0
        edges, value = polish(problem, opened, held=held, pairs=False)


def pull(problem: BoxProblem, edges: Integers, index: int) -> float:
    """What one edge adds to the significance, over the standard deviation of that from the finite simulation.

    With the yields y of the box and y + r without the edge, r and y are independent, and to first order

        sigma^2 = sum_p Z_p(y + r)^2 var r_p + sum_p [Z_p(y + r) - Z_p(y)]^2 var y_p           (1)

    Returns:
        The pull; infinite where the box without the edge does not qualify, or has no significance.
    """
    found = problem.scan_side(edges, index)
    if not found.current or not qualifies(float(found.objective[0])):
        return 0.0 if found.current == 0 else np.inf
    columns = found.rows[[0, found.current]]
    yields, variances = found.scan.yields[:, columns], found.scan.variances[:, columns]
    slopes = significance(yields, variances, problem.process_names, problem.roles, problem.selection).slopes
    removed = np.maximum(variances[:, 0] - variances[:, 1], 0.0)
    variance = float((slopes[:, 0] ** 2 * removed + (slopes[:, 0] - slopes[:, 1]) ** 2 * variances[:, 1]).sum())
    gain = float(found.objective[found.current] - found.objective[0])
    if not variance > 0:
        return np.inf if gain > 0 else 0.0
    return gain / math.sqrt(variance)
