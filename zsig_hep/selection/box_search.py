"""Polishing rectangular cuts: exact scans of one edge at a time, until none can be moved to a better place.

Given all other cuts, the yields above every edge of one side are those of a scan over a score that holds the edge which
an event passes, with the events that fail another cut below all others. `scan_thresholds` thus says what qualifies.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.datasets import Role
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.box_edges import CutSide, make_sides
from zsig_hep.selection.boxes import Box, Cut, CutSettings
from zsig_hep.selection.events import Booleans, Floats, Integers
from zsig_hep.selection.merit import WorkingPointSettings, significance
from zsig_hep.selection.scan import ThresholdScan, required_effective_entries, scan_thresholds, sufficient_signal

# Objectives of what does not qualify, far below every significance: more effective entries are better among cuts that
# keep enough signal, so that the search finds its way to cuts that do qualify.
_TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL, _WORST = -1e9, -2e9, -3e9
# Of the objective; a smaller gain is the rounding of sums in another order.
_ROUNDING = 1e-9
# Places of a side that are tried together with those of another, when moving one edge at a time finds nothing better.
_MOST_PLACES = 32

_FAILED = -1.0


@dataclass(frozen=True, eq=False)
class SideScan:
    """Everything that one side can do while all other cuts stay; T' <= T selections that differ, ascending.

    Attributes:
        edge: an allowed edge that gives the selection, the current one where it does; the first is open, shape [T'].
        objective: the significance where the selection qualifies, and far below it elsewhere, shape [T'].
        current: which of them the current edge gives; None when nothing passes it.
        scan: yields and significance.
        rows: columns of the scan that belong to the edges, shape [T'].
    """

    edge: Integers
    objective: Floats
    current: int | None
    scan: ThresholdScan
    rows: Integers


@dataclass(frozen=True, eq=False)
class BoxProblem:
    """The events that choose, and the edges that can be chosen.

    Attributes:
        sides: every side that may have a cut, S of them.
        weight: signed, shape [N].
        process: index into the names, shape [N].
        process_names: names of the signal and background processes.
        roles: "signal" or "background" for each.
        cuts: settings of the cuts.
        selection: figure of merit and requirements.
        identity: of the events, shape [N].
    """

    sides: tuple[CutSide, ...]
    weight: Floats
    process: Integers
    process_names: tuple[str, ...]
    roles: tuple[Role, ...]
    cuts: CutSettings
    selection: WorkingPointSettings
    identity: npt.NDArray[np.uint64]

    @classmethod
    def of_table(
        cls, table: EventTable, cuts: CutSettings, selection: WorkingPointSettings, *, scale: float = 1.0
    ) -> "BoxProblem":
        """The problem of all simulated events of a table, with weights multiplied by a scale.

        Raises:
            InputError: the signal or the background has no positive yield.
        """
        table = table.select(~table.is_data)
        kept = np.flatnonzero([role != "data" for role in table.roles])
        row = np.full(len(table.roles), -1, dtype=np.int64)
        row[kept] = np.arange(kept.size)
        problem = cls(
            make_sides(table, cuts),
            table.weight * scale,
            row[table.process],
            tuple(table.process_names[index] for index in kept),
            tuple(table.roles[index] for index in kept),
            cuts,
            selection,
            table.identity,
        )
        # This refuses yields that no cut can be chosen with.
        _ = problem.everything
        return problem

    @property
    def nothing(self) -> Integers:
        """All sides open, shape [S]."""
        return np.zeros(len(self.sides), dtype=np.int64)

    def failures(self, edges: Integers) -> npt.NDArray[np.int64]:
        """Number of cuts that each event fails, shape [N]."""
        failed = np.zeros(self.weight.size, dtype=np.int64)
        for side, edge in zip(self.sides, edges, strict=True):
            if edge:
                failed += side.code < edge
        return failed

    def scan(self, score: Floats) -> ThresholdScan:
        """Yields above every distinct score; the events that failed count in the totals.

        Failed events of one process are added up, which changes nothing above them and saves sorting them.
        """
        failed = score == _FAILED
        if not failed.any():
            return self._scan(score, self.weight, self.process)
        count = len(self.roles)
        lost = np.bincount(self.process[failed], weights=self.weight[failed], minlength=count)
        rows = np.flatnonzero(np.bincount(self.process[failed], minlength=count))
        kept = ~failed
        return self._scan(
            np.concatenate([np.full(rows.size, _FAILED), score[kept]]),
            np.concatenate([lost[rows], self.weight[kept]]),
            np.concatenate([rows, self.process[kept]]),
        )

    def _scan(self, score: Floats, weight: Floats, process: Integers) -> ThresholdScan:
        return scan_thresholds(
            score, weight, process, process_names=self.process_names, roles=self.roles, settings=self.selection
        )

    def scan_side(self, edges: Integers, index: int) -> SideScan:
        """Every selection that one side can make while all others stay.

        Args:
            edges: of all sides, shape [S].
            index: of the side.
        """
        side, current = self.sides[index], int(edges[index])
        others = edges.copy()
        others[index] = 0
        scan = self.scan(np.where(self.failures(others) > 0, _FAILED, side.code))
        first = int(scan.threshold[0] == _FAILED)
        codes = scan.threshold[first:].astype(np.int64)
        if not codes.size:
            return SideScan(codes, np.empty(0), None, scan, codes)
        previous = np.concatenate([[-1], codes[:-1]])
        edge = _allowed_between(side.allowed, previous, codes)
        edge[(previous < current) & (current <= codes)] = current
        edge[0] = 0
        usable = edge >= 0
        rows = np.flatnonzero(usable) + first
        place = int(np.searchsorted(codes[usable], current))
        return SideScan(
            edge[usable],
            self._objective(scan)[rows],
            place if place < rows.size else None,
            scan,
            rows,
        )

    @cached_property
    def everything(self) -> ThresholdScan:
        """Yields without cuts, one column."""
        return self.scan(np.zeros(self.weight.size))

    def objective(self, yields: Floats, variances: Floats) -> Floats:
        """Objective of any selections from their sums of w and w^2, shape [P, C] each, as `scan_thresholds` judges them.

        Returns:
            Shape [C].
        """
        # The first column has to hold everything: efficiencies are relative to it.
        y = np.concatenate([self.everything.yields, yields], axis=1)
        v = np.concatenate([self.everything.variances, variances], axis=1)
        z = significance(y, v, self.process_names, self.roles, self.selection).value
        scan = replace(
            self.everything,
            threshold=np.arange(y.shape[1], dtype=np.float64),
            yields=y,
            variances=v,
            significance=z,
        )
        enough = required_effective_entries(scan, self.selection)[0].min(axis=0)
        good = (enough >= self.selection.minimum_effective_background) & sufficient_signal(scan, self.selection)
        return self._objective(replace(scan, qualifies=good & np.isfinite(z)))[1:]

    def _objective(self, scan: ThresholdScan) -> Floats:
        """Significance of what qualifies; where nothing does, how near it comes to that, below every significance."""
        if scan.qualifies.any():
            return np.where(scan.qualifies, scan.significance, _WORST)
        entries = required_effective_entries(scan, self.selection)[0].min(axis=0)
        level = np.where(sufficient_signal(scan, self.selection), _TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL)
        return np.asarray(level + entries)

    def value(self, edges: Integers) -> float:
        """Objective of a box."""
        score = np.where(self.failures(edges) > 0, _FAILED, 0.0)
        scan = self.scan(score)
        return float(self._objective(scan)[-1]) if scan.threshold[-1] != _FAILED else _WORST

    def positions(self, edges: Integers) -> Floats:
        """Where each edge lies in the coordinate v of its side, shape [S]; minus infinity where it is open."""
        values = [side.value(int(edge)) for side, edge in zip(self.sides, edges, strict=True)]
        return np.array(
            [-np.inf if value is None else side.sign * value for side, value in zip(self.sides, values, strict=True)]
        )

    def box(self, edges: Integers) -> Box:
        """The cuts in the units of their variables."""
        values = {
            (side.variable, side.sign): side.value(int(edge)) for side, edge in zip(self.sides, edges, strict=True)
        }
        return Box(
            tuple(
                Cut(name, values.get((name, 1)), values.get((name, -1)), self.cuts.missing_of(name))
                for name in self.cuts.variables
            )
        )


def shortage(problem: BoxProblem, edges: Integers) -> str:
    """Which requirement the best box that was found lacks, in words.

    Args:
        problem: events and settings.
        edges: of that box, shape [S].
    """
    required = problem.selection
    scan = problem.scan(np.where(problem.failures(edges) > 0, _FAILED, 0.0))
    counts, names = required_effective_entries(scan, required)
    lacking = f"at best {counts[:, -1].min():.3g} effective entries of {names[int(counts[:, -1].argmin())]} pass"
    if not sufficient_signal(scan, required)[-1]:
        lacking = f"no cuts were found that keep enough signal, and {lacking}"
    return (
        f"with signal efficiency {required.minimum_signal_efficiency:g} or more, {lacking} any cuts that were tried, and "
        f"{required.minimum_effective_background:g} are required (minimum_effective_background); simulate more "
        "background, or lower the requirement and distrust the significance"
    )


def qualifies(value: float) -> bool:
    """Whether an objective is a significance."""
    return value > _TOO_FEW_ENTRIES / 2


def polish(
    problem: BoxProblem, edges: Integers, *, held: Iterable[int] = (), pairs: bool = True
) -> tuple[Integers, float]:
    """Move one edge after the other to its best place, then two together, until none can be improved.

    The objective rises with every move, so that this ends. What is found is the best choice for each edge given all
    others, exactly; and for each two edges, both of a window or of different variables, the best of a grid of places
    (all, where they are few). Pairs matter where a requirement holds the cuts: no single edge can move along it.

    Args:
        problem: events and edges.
        edges: where to start, shape [S].
        held: sides that stay where they are.
        pairs: whether two edges are tried together.

    Returns:
        The edges, and the objective.
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
    """The best box that polishing finds from some starting points, and from its own best after random kicks.

    A kick throws two edges to random places; what polishing then finds is kept when it is better.

    Args:
        problem: events, edges, and the number of kicks.
        starts: edges of all sides, shape [S] each.
        generator: source of randomness.

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
    """The best edges of two sides on a grid of places, the others staying."""
    others = edges.copy()
    others[[first, second]] = 0
    inside = np.flatnonzero(problem.failures(others) == 0)
    sides = [(problem.sides[index], int(edges[index])) for index in (first, second)]
    places = [_places(side.code[inside], side.allowed, edge) for side, edge in sides]
    rows, columns = (
        np.searchsorted(place, side.code[inside], side="right") - 1
        for place, (side, _) in zip(places, sides, strict=True)
    )
    shape = (len(problem.roles), places[0].size, places[1].size)
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
    """Edges to try in pairs, ascending, the open one first: all that differ, or some near the current one and far.

    Near it they stand 1, 2, 4, ... events to either side, far from it they share the events evenly.
    """
    distinct = np.unique(codes)
    edges = _allowed_between(allowed, np.concatenate([[-1], distinct[:-1]]), distinct)
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
    """Sums over events at or above each pair of places, shape [P, rows x columns]."""
    sums = np.bincount(cell, weights=values, minlength=int(np.prod(shape))).reshape(shape)
    sums = np.flip(np.cumsum(np.flip(sums, axis=(1, 2)), axis=1), axis=(1, 2))
    sums = np.flip(np.cumsum(np.flip(sums, axis=2), axis=2), axis=2)
    return np.asarray(sums.reshape(shape[0], -1))


def is_better(value: float, than: float) -> bool:
    """Whether one objective exceeds another by more than rounding."""
    return value > than + _ROUNDING * abs(than)


def _allowed_between(allowed: Booleans, above: Integers, upto: Integers) -> Integers:
    """An allowed edge e with above < e <= upto, in their middle; -1 where there is none."""
    places = np.flatnonzero(allowed)
    first = np.searchsorted(places, above, side="right")
    last = np.searchsorted(places, upto, side="right") - 1
    return np.where(first <= last, places[np.minimum((first + last + 1) // 2, places.size - 1)], -1)
