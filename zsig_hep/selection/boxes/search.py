"""Exact search of rectangular cuts: scans of one edge at a time and of pairs of edges, until none can be improved."""

import itertools
import math
from collections.abc import Iterable

import numpy as np

from zsig_hep.selection.boxes.edges import allowed_between
from zsig_hep.selection.boxes.problem import BoxProblem, is_better, qualifies
from zsig_hep.selection.events import Booleans, Floats, Integers
from zsig_hep.statistics.processes import background_fluctuation

# Largest number of edges of a side that are tried in pairs with those of another side.
_MOST_PLACES = 32


def polish(
    problem: BoxProblem, edges: Integers, *, held: Iterable[int] = (), pairs: bool = True
) -> tuple[Integers, float]:
    """Move one edge after the other to its optimum, then two together, until none can be improved.

    The objective increases with every move, so the loop ends. The result is the exact optimum of each edge at fixed
    other edges, and of each pair of edges the optimum on a grid (which has all edges if they are few). Pairs are needed
    where a requirement limits the cuts, since no single edge can then move without violating it.

    Args:
        problem: events and edges.
        edges: edges to start from, shape [S].
        held: sides that are not moved.
        pairs: whether two edges are moved together.

    Returns:
        The edges, and their objective.
    """
    free = sorted(set(range(len(problem.sides))) - set(held))
    couples = list(itertools.combinations(free, 2)) if pairs else []
    edges, value = edges.copy(), problem.value(edges)
    moved = True
    while moved:
        moved = False
        for index in free:
            found = problem.scan_side(edges, index)
            best = int(found.objective.argmax()) if found.edge.size else -1
            if best >= 0 and is_better(float(found.objective[best]), value):
                edges[index], value, moved = found.edge[best], float(found.objective[best]), True
        if not moved:
            for first, second in couples:
                better, reached = _best_pair(problem, edges, first, second)
                if is_better(reached, value):
                    edges, value, moved = better, reached, True
    return edges, value


def search(problem: BoxProblem, starts: Iterable[Integers], generator: np.random.Generator) -> tuple[Integers, float]:
    """The best box that `polish` finds from some starting points, and from the best of these after random kicks.

    A kick moves two edges to random positions; the box that `polish` then finds is kept if it is better.

    Args:
        problem: events, edges, and the number of kicks.
        starts: edges of all sides, shape [S] each.
        generator: random generator.

    Returns:
        The edges, and their objective.
    """
    distinct = {tuple(edges.tolist()): edges for edges in starts}
    edges, value = max((polish(problem, start) for start in distinct.values()), key=lambda found: found[1])
    for _ in range(problem.cuts.kicks):
        kicked = edges.copy()
        for index in generator.permutation(len(problem.sides))[:2]:
            kicked[index] = generator.choice(np.flatnonzero(problem.sides[index].allowed))
        other, reached = polish(problem, kicked)
        if is_better(reached, value):
            edges, value = other, reached
    return edges, value


def _best_pair(problem: BoxProblem, edges: Integers, first: int, second: int) -> tuple[Integers, float]:
    """The best edges of two sides on a grid, at fixed other edges."""
    others = edges.copy()
    others[[first, second]] = 0
    inside = np.flatnonzero(problem.failures(others) == 0)
    sides = [(problem.sides[index], int(edges[index])) for index in (first, second)]
    places = [_places(side.code[inside], side.allowed, edge) for side, edge in sides]
    rows, columns = (
        np.searchsorted(place, side.code[inside], side="right") - 1
        for place, (side, _) in zip(places, sides, strict=True)
    )
    shape = (len(problem.processes), places[0].size, places[1].size)
    cell = np.ravel_multi_index((problem.process[inside], rows, columns), shape)
    weight = problem.weight[inside]
    yields, variances = (_above_both(cell, values, shape) for values in (weight, weight**2))
    found = problem.objective(yields, variances)
    best = int(found.argmax())
    moved = edges.copy()
    moved[first], moved[second] = (
        place[index] for place, index in zip(places, np.unravel_index(best, shape[1:]), strict=True)
    )
    return moved, float(found[best])


def _places(codes: Integers, allowed: Booleans, current: int) -> Integers:
    """Edges to try in pairs, ascending, the open one first: all that select differently, or a subset if they are many.

    The subset has edges 1, 2, 4, ... events to either side of the current one, and edges evenly spaced in events.
    """
    distinct = np.unique(codes)
    edges = allowed_between(allowed, np.concatenate([[-1], distinct[:-1]]), distinct)
    if distinct.size > _MOST_PLACES:
        ordered = np.sort(codes)
        rank = int(np.searchsorted(ordered, current))
        steps = 2 ** np.arange(int(np.log2(ordered.size)) + 1)
        near = np.concatenate([rank - steps, [rank], rank + steps])
        far = np.linspace(0, ordered.size - 1, _MOST_PLACES // 2).astype(np.int64)
        kept = ordered[np.concatenate([near[(near >= 0) & (near < ordered.size)], far])]
        edges = edges[np.searchsorted(distinct, np.unique(kept))]
    return np.unique(np.concatenate([[0, current], edges[edges > 0]]))


def _above_both(cell: Integers, values: Floats, shape: tuple[int, int, int]) -> Floats:
    """Sums over events at or above each pair of edges, shape [P, rows x columns]."""
    sums = np.bincount(cell, weights=values, minlength=int(np.prod(shape))).reshape(shape)
    sums = np.flip(np.cumsum(np.flip(sums, axis=(1, 2)), axis=1), axis=(1, 2))
    sums = np.flip(np.cumsum(np.flip(sums, axis=2), axis=2), axis=2)
    return np.asarray(sums.reshape(shape[0], -1))


def drop_weak_cuts(problem: BoxProblem, edges: Integers, value: float) -> tuple[Integers, float]:
    """Open the cut of smallest gain, and polish the others, until every gain is large enough.

    Args:
        problem: events, edges and the smallest gain that keeps a cut.
        edges: polished edges, shape [S].
        value: their objective, a significance.

    Returns:
        The edges, and their objective.
    """
    held: set[int] = set()
    while True:
        gains = [(gain_in_sigmas(problem, edges, index), index) for index in np.flatnonzero(edges).tolist()]
        weakest, index = min(gains, default=(np.inf, -1))
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


def gain_in_sigmas(problem: BoxProblem, edges: Integers, index: int) -> float:
    """Gain in significance by one edge, divided by its standard deviation from the finite simulation.

    The yields are y in the box and y + r without the edge. r and y are independent, so that to first order

        sigma^2 = sum over r of (w [Z_p + w Z_v](y + r))^2
                + sum over y of (w [Z_p + w Z_v](y + r) - w [Z_p + w Z_v](y))^2                 (1)

    summed over events of weight w, with the derivatives of Z in the yield of their process and in the sum of squared
    background weights, which is zero unless the figure of merit includes the simulation.

    Args:
        problem: events and edges.
        edges: edges of all sides, shape [S].
        index: index of the side.

    Returns:
        The gain; 0 for an open edge, infinite if the box without the edge does not qualify.
    """
    found = problem.scan_side(edges, index)
    if not found.current or not qualifies(float(found.objective[0])):
        return 0.0 if found.current == 0 else np.inf
    columns = found.rows[[0, found.current]]
    yields, *moments = (
        each[:, columns] for each in (found.scan.yields, found.scan.variances, *found.scan.higher_moments)
    )
    z = problem.selection.objective.evaluate(yields, moments[0], problem.processes)
    slope_v = np.where(problem.processes.is_background[:, None], z.variance_slope, 0.0)
    inside = tuple(each[:, 1] for each in moments)
    removed = tuple(each[:, 0] - each[:, 1] for each in moments)
    changed = z.slopes[:, 0] - z.slopes[:, 1], slope_v[:, 0] - slope_v[:, 1]
    variance = float(background_fluctuation(z.slopes[:, 0], slope_v[:, 0], removed))
    variance += float(background_fluctuation(*changed, inside))
    gain = float(found.objective[found.current] - found.objective[0])
    if not variance > 0:
        return np.inf if gain > 0 else 0.0
    return gain / math.sqrt(variance)
