"""The events that choose rectangular cuts, and the objective of every choice of edges.

At fixed other cuts, the yields above every edge of one side are those of a scan over a score: the index of the tightest
edge that an event passes, and a lower score for events that fail another cut. So `scan_thresholds` applies.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.table import EventTable
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.boxes.cuts import Box, Cut, CutSettings
from zsig_hep.selection.boxes.edges import CutSide, allowed_between, make_sides
from zsig_hep.selection.events import Booleans, Floats, Integers, ScoredEvents
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.scan import (
    SelectionSums,
    ThresholdScan,
    qualifying,
    required_effective_entries,
    scan_thresholds,
    sufficient_signal,
)
from zsig_hep.statistics.process_table import ProcessTable

# Objectives of cuts that do not qualify, far below every significance. More effective entries are better, so that the
# search finds its way to cuts that do qualify.
_TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL, _WORST = -1e9, -2e9, -3e9
# As a fraction of the objective; a smaller gain is the rounding of sums in another order.
_ROUNDING = 1e-9
# Score of events that fail another cut.
_FAILED = -1.0


@dataclass(frozen=True, eq=False, repr=False)
class SideScan(ShortRepr):
    """The T' <= T different selections by one side at fixed other cuts, in ascending order of tightness.

    Attributes:
        edge: an allowed edge that gives the selection, if possible the current one; the first is open, shape [T'].
        objective: the significance if the selection qualifies, otherwise far below every significance, shape [T'].
        current: index of the selection by the current edge; None if no event passes it.
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
    """The N events that choose, and the edges that can be chosen.

    Attributes:
        sides: the S sides that may have a cut.
        weight: signed weights, in events at the luminosity, shape [N].
        process: index into `processes`, shape [N].
        processes: the signal and background processes.
        cuts: settings of the cuts.
        selection: figure of merit and requirements.
        identity: hash of the identity of each event, shape [N].
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
        # Raises the error for yields that are not positive.
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
        """Scan the thresholds on a score of shape [N]; the totals include the events that fail another cut.

        Those events are summed into one per process: they need not be sorted, and no yield above them changes.
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
        scan = scan_thresholds(events, self.selection)
        # The threshold below the failed events selects one event per process, whose effective entries mean nothing.
        return replace(scan, qualifies=scan.qualifies & (scan.threshold != _FAILED))

    def scan_side(self, edges: Integers, index: int) -> SideScan:
        """All selections by one side at fixed other cuts.

        Args:
            edges: edges of all sides, shape [S].
            index: index of the side.
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
        objective = self._objective(scan, scan.qualifies)[rows]
        return SideScan(edge[usable], objective, place if place < rows.size else None, scan, rows)

    @cached_property
    def everything(self) -> ThresholdScan:
        """Scan without cuts, which has one threshold."""
        return self.scan(np.zeros(self.weight.size))

    def objective(self, yields: Floats, variances: Floats) -> Floats:
        """Objective of C selections from their sums of w and w^2, with the requirements of `scan_thresholds`.

        Args:
            yields: sums of w, shape [P, C].
            variances: sums of w^2, shape [P, C].

        Returns:
            The objectives, shape [C].
        """
        # Efficiencies are relative to the first column, which is without cuts.
        y = np.concatenate([self.everything.yields, yields], axis=1)
        v = np.concatenate([self.everything.variances, variances], axis=1)
        z = self.selection.objective.evaluate(y, v, self.processes).value
        sums = SelectionSums(
            processes=self.processes, yields=y, variances=v, total_yields=self.everything.total_yields, significance=z
        )
        return self._objective(sums, qualifying(sums, self.selection))[1:]

    def _objective(self, scan: SelectionSums, qualifies: Booleans) -> Floats:
        """Significance of the selections that qualify; if none does, a measure of how far each is from qualifying."""
        if qualifies.any():
            return np.where(qualifies, scan.significance, _WORST)
        entries = required_effective_entries(scan, self.selection)[0].min(axis=0)
        level = np.where(sufficient_signal(scan, self.selection), _TOO_FEW_ENTRIES, _TOO_LITTLE_SIGNAL)
        return np.asarray(level + entries)

    def value(self, edges: Integers) -> float:
        """Objective of a box with edges of shape [S]."""
        scan = self.scan_box(edges)
        return float(self._objective(scan, scan.qualifies)[-1]) if scan.threshold[-1] != _FAILED else _WORST

    def scan_box(self, edges: Integers) -> ThresholdScan:
        """Scan whose last threshold selects the box with edges of shape [S], if any event passes it."""
        return self.scan(np.where(self.failures(edges) > 0, _FAILED, 0.0))

    def positions(self, edges: Integers) -> Floats:
        """Position of each edge in the coordinate v of its side, shape [S]; minus infinity where it is open."""
        values = [(side, side.value(int(edge))) for side, edge in zip(self.sides, edges, strict=True)]
        return np.array([-np.inf if value is None else side.sign * value for side, value in values])

    def box(self, edges: Integers) -> Box:
        """The cuts in units of their variables, from edges of shape [S]."""
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
    """Say which requirement the best box does not meet.

    Args:
        problem: events and settings.
        edges: edges of the box, shape [S].
    """
    required = problem.selection
    scan = problem.scan_box(edges)
    counts, names = required_effective_entries(scan, required)
    lacking = f"at best {counts[:, -1].min():.3g} effective entries of {names[int(counts[:, -1].argmin())]} pass"
    if not sufficient_signal(scan, required)[-1]:
        lacking = f"no cuts were found that keep enough signal, and {lacking}"
    return (
        f"with signal efficiency {required.minimum_signal_efficiency:g} or more, {lacking} any cuts that were tried, and "
        f"{required.minimum_effective_background:g} are required (minimum_effective_background); simulate more "
        "background, or lower the requirement, which makes the significance less reliable"
    )


def qualifies(value: float) -> bool:
    """Whether an objective is a significance, so that the cuts meet the requirements."""
    return value > _TOO_FEW_ENTRIES / 2


def is_better(value: float, than: float) -> bool:
    """Whether one objective exceeds another by more than rounding."""
    return value > than + _ROUNDING * abs(than)
