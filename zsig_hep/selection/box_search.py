"""Polishing rectangular cuts: exact scans of one edge at a time, until none can be moved to a better place.

Given all other cuts, the yields above every edge of one side are those of a scan over a score that holds the edge which
an event passes, with the events that fail another cut below all others. `scan_thresholds` thus says what qualifies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.datasets import Role
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.box_edges import CutSide, make_sides
from zsig_hep.selection.boxes import Box, Cut, CutSettings
from zsig_hep.selection.events import Booleans, Floats, Integers
from zsig_hep.selection.merit import WorkingPointSettings
from zsig_hep.selection.scan import ThresholdScan, required_effective_entries, scan_thresholds, sufficient_signal

# Objectives of what does not qualify, far below every significance: more effective entries are better among cuts that
# keep enough signal, so that the search finds its way to cuts that do qualify.
_TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL, _WORST = -1e9, -2e9, -3e9
# Of the objective; a smaller gain is the rounding of sums in another order.
_ROUNDING = 1e-9
# Lower edges of a window for which every upper edge is tried, when moving one edge at a time finds nothing better.
_WINDOW_EDGES = 32

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
        problem.scan(np.zeros(len(table)))
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
            _objective(scan, self.selection)[rows],
            place if place < rows.size else None,
            scan,
            rows,
        )

    def value(self, edges: Integers) -> float:
        """Objective of a box."""
        score = np.where(self.failures(edges) > 0, _FAILED, 0.0)
        scan = self.scan(score)
        return float(_objective(scan, self.selection)[-1]) if scan.threshold[-1] != _FAILED else _WORST

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
    """Move one edge after the other to its best place, until no single edge and no window can be improved.

    The objective rises with every move, so that this ends. What is found is the best choice for each edge given all
    others, exactly; for both edges of a window together, among all pairs where the lower one has at most 32 places,
    otherwise among all upper edges for 32 lower ones that share the events evenly.

    Args:
        problem: events and edges.
        edges: where to start, shape [S].
        held: sides that stay where they are.
        pairs: whether both edges of a window are tried together.

    Returns:
        The edges, and the objective.
    """
    free = sorted(set(range(len(problem.sides))) - set(held))
    windows = [low for low in free if pairs and low + 1 in free and _is_window(problem.sides[low : low + 2])]
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
            for low in windows:
                better, reached = _best_window(problem, edges, low)
                if is_better(reached, value):
                    edges, value, moved = better, reached, True
    return edges, value


def search(problem: BoxProblem, starts: Iterable[Integers], generator: np.random.Generator) -> tuple[Integers, float]:
    """The best box that polishing finds from some starting points, and from its own best after random kicks.

    A kick throws two edges to random places; what polishing then finds is kept when it is better. It leads out of
    boxes that no single edge and no window can improve, but two edges of different variables could.

    Args:
        problem: events, edges, and the number of kicks.
        starts: edges of all sides, shape [S] each.
        generator: source of randomness.

    Returns:
        The edges, and their objective.
    """
    distinct = {tuple(edges.tolist()): edges for edges in starts}
    edges, value = max((polish(problem, start, pairs=False) for start in distinct.values()), key=lambda found: found[1])
    edges, value = polish(problem, edges)
    for _ in range(problem.cuts.kicks):
        kicked = edges.copy()
        for index in generator.permutation(len(problem.sides))[:2]:
            kicked[index] = generator.choice(np.flatnonzero(problem.sides[index].allowed))
        other, reached = polish(problem, kicked, pairs=False)
        if is_better(reached, value):
            edges, value = polish(problem, other)
    return edges, value


def _best_window(problem: BoxProblem, edges: Integers, low: int) -> tuple[Integers, float]:
    """The best pair of the edges of one window, the others staying; the sides are `low` and the one after it."""
    without = edges.copy()
    without[[low, low + 1]] = 0
    codes = problem.sides[low].code[problem.failures(without) == 0]
    distinct = np.unique(codes)
    lower = _allowed_between(problem.sides[low].allowed, np.concatenate([[-1], distinct[:-1]]), distinct)
    lower[:1] = 0
    if distinct.size > _WINDOW_EDGES:
        shares = np.quantile(codes, np.linspace(0, 1, _WINDOW_EDGES), method="nearest")
        lower = lower[np.unique(np.searchsorted(distinct, shares))]
    best, reached = edges, _WORST
    for edge in lower[lower >= 0].tolist():
        trial = without.copy()
        trial[low] = edge
        found = problem.scan_side(trial, low + 1)
        if found.edge.size and found.objective.max() > reached:
            reached = float(found.objective.max())
            trial[low + 1] = found.edge[int(found.objective.argmax())]
            best = trial
    return best, reached


def _is_window(sides: Sequence[CutSide]) -> bool:
    return len(sides) == 2 and sides[0].variable == sides[1].variable


def is_better(value: float, than: float) -> bool:
    """Whether one objective exceeds another by more than rounding."""
    return value > than + _ROUNDING * abs(than)


def _objective(scan: ThresholdScan, selection: WorkingPointSettings) -> Floats:
    """Significance of what qualifies; where nothing does, how near it comes to that, below every significance."""
    if scan.qualifies.any():
        return np.where(scan.qualifies, scan.significance, _WORST)
    entries = required_effective_entries(scan, selection)[0].min(axis=0)
    return np.asarray(np.where(sufficient_signal(scan, selection), _TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL) + entries)


def _allowed_between(allowed: Booleans, above: Integers, upto: Integers) -> Integers:
    """An allowed edge e with above < e <= upto, in their middle; -1 where there is none."""
    places = np.flatnonzero(allowed)
    first = np.searchsorted(places, above, side="right")
    last = np.searchsorted(places, upto, side="right") - 1
    return np.where(first <= last, places[np.minimum((first + last + 1) // 2, places.size - 1)], -1)
