"""The events that choose rectangular cuts, and what every choice of edges selects.

Given all other cuts, the yields above every edge of one side are those of a scan over a score that holds the edge which
an event passes, with the events that fail another cut below all others. `scan_thresholds` thus says what qualifies.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.table import EventTable
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.boxes.cuts import Box, Cut, CutSettings
from zsig_hep.selection.boxes.edges import CutSide, allowed_between, make_sides
from zsig_hep.selection.events import Floats, Integers, ScoredEvents
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import (
    ThresholdScan,
    required_effective_entries,
    scan_thresholds,
    sufficient_signal,
)
from zsig_hep.statistics.process_table import ProcessTable

# Objectives of what does not qualify, far below every significance: more effective entries are better among cuts that
# keep enough signal, so that the search finds its way to cuts that do qualify.
_TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL, _WORST = -1e9, -2e9, -3e9
# Of the objective; a smaller gain is the rounding of sums in another order.
_ROUNDING = 1e-9

_FAILED = -1.0


@dataclass(frozen=True, eq=False, repr=False)
class SideScan(ShortRepr):
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


@dataclass(frozen=True, eq=False, repr=False)
class BoxProblem(ShortRepr):
    """The events that choose, and the edges that can be chosen.

    Attributes:
        sides: every side that may have a cut, S of them.
        weight: signed, shape [N].
        process: index into the processes, shape [N].
        processes: the signal and background processes.
        cuts: settings of the cuts.
        selection: figure of merit and requirements.
        identity: of the events, shape [N].
    """

    sides: tuple[CutSide, ...]
    weight: Floats
    process: Integers
    processes: ProcessTable
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
        table = table.simulated
        process = table.process.astype(np.int64)
        sides = make_sides(table, cuts)
        problem = cls(sides, table.weight * scale, process, table.processes, cuts, selection, table.identity)
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
        count = len(self.processes)
        lost = np.bincount(self.process[failed], weights=self.weight[failed], minlength=count)
        rows = np.flatnonzero(np.bincount(self.process[failed], minlength=count))
        kept = ~failed
        return self._scan(
            np.concatenate([np.full(rows.size, _FAILED), score[kept]]),
            np.concatenate([lost[rows], self.weight[kept]]),
            np.concatenate([rows, self.process[kept]]),
        )

    def _scan(self, score: Floats, weight: Floats, process: Integers) -> ThresholdScan:
        no_fold, no_features = np.zeros(score.size, dtype=np.int64), np.empty((score.size, 0), dtype=np.float32)
        events = ScoredEvents(score.astype(np.float64), weight, process, no_fold, self.processes, 1, no_features)
        return scan_thresholds(events, self.selection)

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
        edge = allowed_between(side.allowed, previous, codes)
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
        z = self.selection.objective.evaluate(y, v, self.processes).value
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


def is_better(value: float, than: float) -> bool:
    """Whether one objective exceeds another by more than rounding."""
    return value > than + _ROUNDING * abs(than)
