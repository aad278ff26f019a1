"""Quantities without a cut that compare classifiers: binned significance, area under the ROC curve and log loss.

Each is a function of how many times every event is counted, so that the same replicas of a Poisson bootstrap give all
quantities of all classifiers, and the fluctuations of shared events cancel in differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.optimize import isotonic_regression

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Booleans, Floats, Integers, ScoredEvents
from zsig_hep.selection.varied_events import background_uncertainty_between
from zsig_hep.statistics.combination import combine_independent
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.significance import FigureOfMerit
from zsig_hep.statistics.yields import effective_entries

BINS = 10
"""Number of bins of equal signal of the binned significance."""
_LEAST_ENTRIES = 10.0
"""Effective background entries of a bin; with fewer, replicas of the bootstrap without any are not rare."""
_ENTRIES_PER_STEP, _MOST_STEPS = 50, 200
_BLOCK_BYTES = 2**26


class Quantity(Protocol):
    """A number that compares classifiers, as a function of the number of times that each event is counted."""

    def of_counts(self, counts: Floats) -> Floats:
        """Values for R replicas from the counts of N events, shape [R, N]; not finite where there is none."""


@dataclass(frozen=True, eq=False, repr=False)
class BinnedSignificance(ShortRepr):
    """Asimov significance of bins of equal signal in quadrature, with the variance of the simulation of each bin.

        Z^2 = sum_c Z_A(s_c, b_c, sigma_c^2)^2,   sigma_c^2 = sum w^2 + sum_p (k_p b_p)^2 + (k b)^2        (1)

    The uncertainties k of the settings are taken as independent in different bins, as for score categories. Where
    variations count, so are theirs, and k of each bin contains that of its background from them; it stays fixed when
    events are counted anew.

    Attributes:
        events: the N simulated events.
        cell: bin of each event, in [0, count), shape [N].
        count: number of bins.
        objective: Z_A, and how several signals count.
        common_uncertainty: relative uncertainty common to all backgrounds in each bin, shape [count]; None for that of
            the objective.
    """

    events: ScoredEvents
    cell: Integers
    count: int
    objective: Objective
    common_uncertainty: Floats | None = None

    @classmethod
    def of_each(
        cls,
        scored: Sequence[ScoredEvents],
        objective: Objective,
        bins: int = BINS,
        *,
        variations_in_figure: bool = False,
    ) -> list["BinnedSignificance"]:
        """Divide the same events by several scores into as many bins of equal signal each.

        Bins of few background entries are merged with the next looser one until each has at least 10 effective entries
        with every score. All scores have the bins of the same signal efficiencies: otherwise a difference would depend
        on which score happens to have one entry more.

        Args:
            scored: the same simulated events with several scores.
            objective: its uncertainties and combination of signals are used; the figure is always Z_A with the variance.
            bins: number of bins before any are merged.
            variations_in_figure: whether the variations of the events count.

        Example:
            >>> score, process = np.repeat([0.2, 0.7], 200), np.tile([0, 1], 200)
            >>> weight = np.where(process == 0, 0.1, np.repeat([1.0, 0.25], 200))
            >>> events = ScoredEvents.from_arrays(score, weight, process, names=["higgs", "dy"], roles=["signal", "background"])
            >>> (binned,) = BinnedSignificance.of_each([events], Objective(), bins=2)
            >>> binned.count, binned.of_counts(np.ones((1, 400))).round(2)
            (2, array([1.8]))
        """
        edges = [_equal_signal_edges(events, bins) for events in scored]
        cells = [
            np.searchsorted(inner, events.score, side="right") for inner, events in zip(edges, scored, strict=True)
        ]
        merged = _merged(np.stack([_background_sums(*each, bins) for each in zip(cells, scored, strict=True)]))
        with_variance = replace(
            objective, figure=FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True
        )
        count = int(merged.max()) + 1
        found = []
        for events, cell, inner in zip(scored, cells, edges, strict=True):
            binned = cls(events, merged[cell], count, with_variance)
            if variations_in_figure and events.variations:
                kept = inner[np.flatnonzero(np.diff(merged))]
                binned = replace(binned, common_uncertainty=binned._common_uncertainty(kept))
            found.append(binned)
        return found

    def _common_uncertainty(self, edges: Floats) -> Floats:
        """That of the objective and of the variations of the events, shape [count]."""
        yields, _ = self._sums(np.ones((1, len(self.events))))
        nominal = yields[:, 0]
        sigma = background_uncertainty_between(self.events, edges, nominal)
        total = self.events.processes.summed(nominal, "background")
        relative = np.divide(sigma, total, out=np.zeros_like(total), where=total > 0)
        return np.asarray(np.hypot(relative, self.objective.relative_background_uncertainty))

    def _sums(self, counts: Floats) -> tuple[Floats, Floats]:
        """Yields and variances of P processes in R replicas, shape [P, R, count] each."""
        row = self.events.process * self.count + self.cell
        shape = (len(counts), len(self.events.processes), self.count)
        sums = (_summed(counts, self.events.weight**power, row, shape[1] * self.count) for power in (1, 2))
        yields, variances = (np.moveaxis(each.reshape(shape), 0, 1) for each in sums)
        return yields, variances

    def of_counts(self, counts: Floats) -> Floats:
        """Equation 1, shape [R]."""
        z = self.objective.evaluate(
            *self._sums(counts), self.events.processes, common_uncertainty=self.common_uncertainty
        )
        return np.asarray(combine_independent(z, axis=-1).value)


@dataclass(frozen=True, eq=False, repr=False)
class WeightedArea(ShortRepr):
    """Area under the ROC curve with the weights of signal and background, P(score_s > score_b) + P(equal) / 2.

    Attributes:
        events: the N simulated events, in ascending order of the score.
        order: their places in the order of the counts, shape [N].
        first: index of the first event of each distinct score.
    """

    events: ScoredEvents
    order: Integers
    first: Integers

    @classmethod
    def of_events(cls, events: ScoredEvents) -> "WeightedArea":
        """Order simulated events by their score.

        Example:
            >>> events = ScoredEvents.from_arrays(
            ...     [0.9, 0.4, 0.6, 0.1], [1.0, 1.0, 1.0, 3.0], [0, 0, 1, 1], names=["hmumu", "dy"],
            ...     roles=["signal", "background"])
            >>> WeightedArea.of_events(events).of_counts(np.ones((1, 4)))
            array([0.875])
        """
        order = np.argsort(events.score, kind="stable")
        ordered = events.select(order)
        return cls(ordered, order, np.flatnonzero(np.diff(ordered.score, prepend=-np.inf) > 0))

    def of_counts(self, counts: Floats) -> Floats:
        """The area, shape [R]; NaN where signal or background vanishes."""
        weight = counts[:, self.order] * self.events.weight
        is_signal = self.events.processes.is_signal[self.events.process]
        signal, background = (
            np.add.reduceat(np.where(chosen, weight, 0.0), self.first, axis=1) for chosen in (is_signal, ~is_signal)
        )
        below = np.cumsum(background, axis=1) - background / 2
        pairs = signal.sum(axis=1) * background.sum(axis=1)
        return _ratio((signal * below).sum(axis=1), pairs)


@dataclass(frozen=True, eq=False, repr=False)
class WeightedLogLoss(ShortRepr):
    """Class-balanced weighted log loss of the recalibrated score, lower for a better classifier.

        L = -1/2 [ sum_s w ln p / sum_s w + sum_b w ln(1 - p) / sum_b w ]                              (2)

    p is the probability of signal at equal priors. It is the isotonic regression of the class on the score, in steps of
    at least 50 events, fitted for each fold on the other folds. So L does not depend on the scale of the score, which is
    no probability for all losses, and compares any classifiers.

    Attributes:
        loss: loss of each of N simulated events, shape [N].
        weight: their weights, shape [N].
        is_signal: which of them are signal, shape [N].
    """

    loss: Floats
    weight: Floats
    is_signal: Booleans

    @classmethod
    def of_events(cls, events: ScoredEvents) -> "WeightedLogLoss":
        """Calibrate the scores of simulated events.

        Example:
            >>> score, process = np.repeat([0.2, 0.7], 2000), np.tile([0, 1, 1, 1, 0, 0, 0, 1], 500)
            >>> events = ScoredEvents.from_arrays(
            ...     score, np.ones(4000), process, names=["higgs", "dy"], roles=["signal", "background"])
            >>> WeightedLogLoss.of_events(events).of_counts(np.ones((1, 4000))).round(4)  # no separation: ln 2
            array([0.6931])
        """
        is_signal = events.processes.is_signal[events.process]
        probability = np.empty(len(events))
        for number in range(events.fold_count):
            inside = events.fold == number
            probability[inside] = _calibrated(events.select(~inside), events.score[inside])
        return cls(-np.log(np.where(is_signal, probability, 1 - probability)), events.weight, is_signal)

    def of_counts(self, counts: Floats) -> Floats:
        """Equation 2, shape [R]; NaN where signal or background vanishes."""
        halves = []
        for chosen in (self.is_signal, ~self.is_signal):
            weight = np.where(chosen, self.weight, 0.0)
            halves.append(_ratio(counts @ (weight * self.loss), counts @ weight))
        return np.asarray(0.5 * np.sum(halves, axis=0))


def bootstrap_quantities(
    quantities: Sequence[Quantity], events: int, generator: np.random.Generator, *, replicas: int
) -> tuple[Floats, Floats]:
    """Values of Q quantities of the same events, and in R replicas that count every event n ~ Poisson(1) times.

    Args:
        quantities: quantities of N events each.
        events: their number N.
        generator: random generator.
        replicas: number R of replicas.

    Returns:
        Values of shape [Q], and of shape [Q, R]; NaN where not finite.
    """

    def values(counts: Floats) -> Floats:
        found = np.stack([each.of_counts(counts) for each in quantities])
        return np.where(np.isfinite(found), found, np.nan)

    block = max(1, _BLOCK_BYTES // max(8 * events, 1))
    drawn = [
        values(generator.poisson(1.0, (min(block, replicas - start), events)).astype(np.float64))
        for start in range(0, replicas, block)
    ]
    return values(np.ones((1, events)))[:, 0], np.concatenate(drawn, axis=1)


def _summed(counts: Floats, weight: Floats, cell: Integers, cells: int) -> Floats:
    """Sums of the counted weights in each cell, shape [R, cells]."""
    order = np.argsort(cell, kind="stable")
    filled, first = np.unique(cell[order], return_index=True)
    sums = np.zeros((len(counts), cells))
    sums[:, filled] = np.add.reduceat((counts * weight)[:, order], first, axis=1)
    return sums


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _equal_signal_edges(events: ScoredEvents, bins: int) -> Floats:
    """Inner edges, not falling, that divide the signal yield into about equal parts; equal ones leave a bin empty."""
    signal = events.select(events.processes.is_signal[events.process])
    order = np.argsort(signal.score, kind="stable")
    # With signed weights the sum need not rise; its running maximum does.
    below = np.maximum.accumulate(np.cumsum(signal.weight[order]) - signal.weight[order] / 2)
    shares = np.arange(1, bins) / bins * signal.weight.sum()
    places = np.minimum(np.searchsorted(below, shares), len(order) - 1)
    return np.asarray(signal.score[order][places])


def _background_sums(cell: Integers, events: ScoredEvents, bins: int) -> Floats:
    """Sums of w and w^2 of the background in each bin, shape [2, bins]."""
    chosen = events.processes.is_background[events.process]
    return np.stack([np.bincount(cell[chosen], events.weight[chosen] ** power, bins) for power in (1, 2)])


def _merged(sums: Floats) -> Integers:
    """The bin that each bin becomes a part of, from sums of w and w^2 with each score, shape [scores, 2, bins]."""
    bins = sums.shape[2]
    merged, number, together = np.zeros(bins, dtype=np.int64), 0, np.zeros(sums.shape[:2])
    for place in reversed(range(bins)):
        merged[place] = number
        together = together + sums[:, :, place]
        enough = (together[:, 0] > 0) & (effective_entries(together[:, 0], together[:, 1]) >= _LEAST_ENTRIES)
        if enough.all():
            number, together = number + 1, np.zeros(sums.shape[:2])
    # What is left at the loose end joins the last complete bin.
    merged = np.minimum(merged, max(number - 1, 0))
    return np.asarray(merged.max() - merged)


def _calibrated(others: ScoredEvents, score: Floats) -> Floats:
    """Probability of signal at equal priors for each score, fitted to other events."""
    is_signal = others.processes.is_signal[others.process]
    steps = int(np.clip(len(others) // _ENTRIES_PER_STEP, 1, _MOST_STEPS))
    edges = np.unique(np.quantile(others.score, np.arange(1, steps) / steps)) if len(others) else np.empty(0)
    cell = np.searchsorted(edges, others.score, side="right")
    sums = []
    for chosen in (is_signal, ~is_signal):
        share = np.bincount(cell[chosen], others.weight[chosen], len(edges) + 1) / others.weight[chosen].sum()
        # Half an event more of either class in each step, so that no probability is 0 or 1.
        sums.append(np.maximum(share, 0.0) + 0.5 / chosen.sum())
    of_signal = sums[0] / (sums[0] + sums[1])
    rising = isotonic_regression(of_signal, weights=sums[0] + sums[1]).x
    return np.asarray(rising[np.searchsorted(edges, score, side="right")])
