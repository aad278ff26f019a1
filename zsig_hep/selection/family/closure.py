"""Closure of likelihood ratios: yields that are reweighted with them against yields that are counted.

Smooth yields are as good as the ratios. Of every process the events of all processes, reweighted by their density ratios,
must give what is counted, in total and in bins of the logit, each
divided in halves of large and of small shares where there are several backgrounds; under every variation the background, reweighted by r_v, must
give the varied background.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from zsig_hep.errors import InputError
from zsig_hep.ntuples.variations import varied_name
from zsig_hep.representation import ShortRepr, html_table
from zsig_hep.selection.events import ScoredEvents, VariedEvents
from zsig_hep.selection.family.smooth_yields import SmoothYields
from zsig_hep.selection.ratios import Floats, LikelihoodRatios

Sums = npt.NDArray[Any]
ClosureStatus = Literal["closes", "does_not_close"]

SMALLEST_PROBABILITY = 1e-3
"""Probability of a larger chi2 below which a difference is no fluctuation."""
LARGEST_DEVIATION = 0.1
"""Relative difference, in total or in a bin, that is tolerated even if it is no fluctuation."""

# A relative difference below it is none.
_ROUNDING = 1e-9

# A difference in a bin below this many standard deviations says nothing about its size.
_VISIBLE = 2.0


@dataclass(frozen=True, eq=False, repr=False)
class ClosureRow(ShortRepr):
    """Closure of one ratio.

    Attributes:
        name: of the process, of all signals ("vbf + ggf") where they are not told apart, or of one direction of a
            variation, such as "jesUp".
        counted: yield in each bin of the logit, shape [K]; of one of several backgrounds in each half of every bin, first
            that of small shares, shape [2 K].
        reweighted: the same by density ratios.
        uncertainty: standard deviation of the difference.
        probability: of a larger chi2 of all bins.
        largest_deviation: largest relative difference, of the total or of a bin where it is visible.
        status: "does_not_close" if the differences are no fluctuation and larger than 10 %.
    """

    name: str
    counted: Floats
    reweighted: Floats
    uncertainty: Floats
    probability: float
    largest_deviation: float
    status: ClosureStatus


@dataclass(frozen=True, eq=False, repr=False)
class Closure(ShortRepr):
    """Closure of all ratios of scored events.

    Attributes:
        edges: K - 1 edges between bins of the logit, of equal signal yield.
        rows: of each process, then of both directions of each variation.
    """

    edges: Floats
    rows: tuple[ClosureRow, ...]

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of the rows that do not close."""
        return tuple(row.name for row in self.rows if row.status == "does_not_close")

    def _repr_html_(self) -> str:
        """Totals, probability and status, for notebooks."""
        rows = [
            [
                row.name,
                float(row.counted.sum()),
                float(row.reweighted.sum()),
                row.probability,
                row.largest_deviation,
                row.status,
            ]
            for row in self.rows
        ]
        headings = ["ratio", "counted", "reweighted", "probability", "largest deviation", "status"]
        return html_table("Closure of likelihood ratios", headings, rows)


def closure_of(events: ScoredEvents, bins: int = 10) -> Closure:
    """Compare reweighted with counted yields of every process and variation.

    The error of a process is the expected variance of its simulation, mean weight times reweighted yield, and that of the
    reweighted events. The error of a variation of weights is that of the differences event by event; events under a shape
    variation count as independent of the nominal ones, which they are not, so that small shifts always close.

    Args:
        events: with out-of-fold ratios, nominal and varied; data are left out.
        bins: number K of bins of equal signal yield.

    Raises:
        InputError: events have no ratios, or a bin is not filled.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1], 5000)
        >>> x = rng.normal(1.0 - process)
        >>> def scored(logit):
        ...     ratios = LikelihoodRatios.from_arrays(logit, None, backgrounds=["dy"])
        ...     return ScoredEvents.from_arrays(
        ...         logit, np.where(process == 0, 0.01, 0.5), process, names=["hmumu", "dy"],
        ...         roles=["signal", "background"], ratios=ratios)
        >>> closure_of(scored(x - 0.5)).failing, closure_of(scored(0.5 * x)).failing
        ((), ('hmumu', 'dy'))
    """
    events = events.simulated
    if events.ratios is None:
        message = "The events have no likelihood ratios whose closure could be tested."
        raise InputError(message)
    smooth = SmoothYields.of_events(events.ratios, events.weight, events.process, events.processes)
    edges = _edges(events, bins)
    cell = np.searchsorted(edges, events.ratios.logit, side="right")
    rows = [
        _process_row(events, smooth, rows, name, cell, bins)
        for name, rows in _told_apart(events, smooth.ratios).items()
    ]
    for pair in events.variations:
        if pair[0].ratios is not None and pair[0].name in events.ratios.variation_names:
            rows += [_variation_row(events, events.ratios, varied, cell, edges) for varied in pair]
    return Closure(edges, tuple(rows))


def _told_apart(events: ScoredEvents, ratios: LikelihoodRatios) -> dict[str, list[int]]:
    """Rows of the processes by name; signals whose composition is not known are one."""
    processes = events.processes
    rows = {name: [row] for row, name in enumerate(processes.names)}
    if ratios.signal_composition is not None or len(processes.signals) == 1:
        return rows
    together = {" + ".join(processes.signals): processes.rows("signal")}
    return together | {name: rows[name] for name in processes.backgrounds}


def _edges(events: ScoredEvents, bins: int) -> Floats:
    signal = events.processes.is_signal[events.process]
    logit = events.ratios.logit[signal] if events.ratios is not None else events.score[signal]
    order = np.argsort(logit, kind="stable")
    below = np.cumsum(np.abs(events.weight[signal])[order])
    edges = np.interp(np.arange(1, bins) / bins * below[-1], below, logit[order])
    if (np.diff(edges) <= 0).any():
        message = f"The logits of the signal do not fill {bins} bins; ask for fewer."
        raise InputError(message)
    return np.asarray(edges)


def _process_row(
    events: ScoredEvents, smooth: SmoothYields, rows: list[int], name: str, cell: npt.NDArray[np.integer], bins: int
) -> ClosureRow:
    mine = np.isin(events.process, rows)
    if name in smooth.ratios.backgrounds and len(smooth.ratios.backgrounds) > 1:
        # In bins of the logit alone a wrong composition can close, by symmetry.
        share = smooth.ratios.composition[:, smooth.ratios.backgrounds.index(name)]
        cell, bins = 2 * cell + (share > np.median(share[mine] if mine.any() else share)), 2 * bins
    counted = np.bincount(cell[mine], events.weight[mine], minlength=bins)
    each = [np.bincount(cell, smooth.yields[:, row], minlength=bins) for row in rows]
    of_simulation = sum(
        smooth.mean_weights[row] * np.maximum(found, 0.0) for row, found in zip(rows, each, strict=True)
    )
    expected, reweighted = smooth.yields[:, rows].sum(axis=1), np.sum(each, axis=0)
    variance = of_simulation + np.bincount(cell, expected**2, minlength=bins)
    return _row(name, counted, reweighted, variance)


def _variation_row(
    events: ScoredEvents,
    ratios: LikelihoodRatios,
    varied: VariedEvents,
    cell: npt.NDArray[np.integer],
    edges: Floats,
) -> ClosureRow:
    """The background under a variation; nominal events of processes that it does not touch are common to both."""
    bins, processes = len(edges) + 1, events.processes
    ratio = ratios.variations[:, ratios.variation_names.index(varied.name), 0 if varied.direction == "up" else 1]
    background = processes.is_background[events.process]
    touched = background & np.isin(np.array(processes.names)[events.process], varied.touched)
    kept = processes.is_background[varied.process]
    weight, process = varied.weight[kept], varied.process[kept]
    at = np.searchsorted(edges, varied.ratios.logit[kept], side="right") if varied.ratios is not None else cell[touched]
    untouched = np.bincount(cell[background & ~touched], events.weight[background & ~touched], minlength=bins)
    counted = np.bincount(at, weight, minlength=bins) + untouched
    expected = events.weight * ratio
    reweighted = np.bincount(cell[background], expected[background], minlength=bins)
    matched = varied.kind != "shape" and np.array_equal(process, events.process[touched])
    if matched:
        difference = -expected
        difference[background & ~touched] += events.weight[background & ~touched]
        difference[touched] += weight
        variance = np.bincount(cell[background], difference[background] ** 2, minlength=bins)
    else:
        variance = np.bincount(at, weight**2, minlength=bins) + np.bincount(
            cell[touched], expected[touched] ** 2, minlength=bins
        )
    return _row(varied_name(varied.name, varied.direction), counted, reweighted, variance)


def _row(name: str, counted: Sums, reweighted: Sums, variance: Sums) -> ClosureRow:
    difference, sigma = counted - reweighted, np.sqrt(variance)
    # The error of a ratio that is exact is rounding too.
    beyond_rounding = np.abs(difference) > _ROUNDING * np.abs(reweighted)
    pulls = np.divide(difference, sigma, out=np.zeros_like(sigma), where=(sigma > 0) & beyond_rounding)
    probability = float(chi2.sf((pulls**2).sum(), max(int((sigma > 0).sum()), 1)))
    relative = _relative(difference, reweighted)
    visible = relative[np.abs(pulls) > _VISIBLE]
    of_total = _relative(difference.sum(keepdims=True), reweighted.sum(keepdims=True))[0]
    largest = float(max([of_total, *visible]))
    fails = probability < SMALLEST_PROBABILITY and largest > LARGEST_DEVIATION
    return ClosureRow(name, counted, reweighted, sigma, probability, largest, "does_not_close" if fails else "closes")


def _relative(difference: Floats, reweighted: Floats) -> Floats:
    size = np.abs(reweighted)
    return np.divide(np.abs(difference), size, out=np.full_like(size, np.inf), where=size > 0)


def without_variations(ratios: LikelihoodRatios, names: Sequence[str]) -> LikelihoodRatios:
    """The ratios without some variations, such as those that do not close.

    A variation that is left out is not in the score; it stays in the counted figure of merit.

    Args:
        ratios: of all variations.
        names: of variations, or of one of their directions.

    Example:
        >>> ratios = LikelihoodRatios.from_arrays([0.0], None, {"jes": [1.1], "jer": [1.2]}, backgrounds=["dy"])
        >>> without_variations(ratios, ["jesUp"]).variation_names
        ('jer',)
    """
    both = {name: {name, varied_name(name, "up"), varied_name(name, "down")} for name in ratios.variation_names}
    return ratios.only([name for name, known in both.items() if not known & set(names)])
