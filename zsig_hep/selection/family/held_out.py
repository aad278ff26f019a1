"""Optimal scores on held-out events: coefficients and cut of each fold are chosen on the other folds.

Coefficients are chosen by smooth yields, since counted ones choose them badly where the simulation is thin. The cut on
their score is chosen by counted yields with their variance, as every cut, and what is quoted is counted on events that
chose neither.

Scores t are given as 1 / (1 + e^-t) in [0, 1], which is the probability of signal where classes have the same total weight
and all coefficients are one. Events that every threshold accepts can share the score 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy.special import expit

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import ScoredEvents, VariationPair, VariedEvents
from zsig_hep.selection.family.choose import FamilyChoice, choose_for_events, ratios_of
from zsig_hep.selection.family.coefficients import FamilyCoefficients
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.ratios import Floats, LikelihoodRatios
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, choose_by_fold, hold_out_working_point

Score = Callable[[LikelihoodRatios], Floats]

_Events = TypeVar("_Events", ScoredEvents, VariedEvents)


@dataclass(frozen=True, eq=False, repr=False)
class HeldOutFamily(ShortRepr):
    """Optimal scores whose coefficients and cuts were chosen on other events than they are quoted on.

    Attributes:
        choices: coefficients of each fold of the training, chosen on the other folds.
        partition_choices: those of each partition, of which the first are `choices`.
        point: cut of each fold on the score with these coefficients, and the held-out events that pass.
        unweighted: the same with weighted cross entropy.
        events: the events with the score 1 / (1 + e^-t) of the coefficients of their fold, nominal and varied, data
            included.
        unweighted_events: the events with the same of the logit.
    """

    choices: tuple[FamilyChoice, ...]
    partition_choices: tuple[tuple[FamilyChoice, ...], ...]
    point: HeldOutWorkingPoint
    unweighted: HeldOutWorkingPoint
    events: ScoredEvents
    unweighted_events: ScoredEvents

    def rescored(self, choosing: ScoredEvents, partition: int, fold: int) -> ScoredEvents:
        """The events that choose a cut or edges of a fold, with the coefficients of this fold for all of them."""
        return _scored(choosing, [self.partition_choices[partition][fold].coefficients.score] * choosing.fold_count)

    @property
    def gain(self) -> float | None:
        """Held-out significance minus that of weighted cross entropy; None if one of them does not exist."""
        first, second = self.point.significance, self.unweighted.significance
        return None if first is None or second is None else first - second

    @property
    def smooth_gain(self) -> float | None:
        """The gain that smooth yields predict, mean over the folds of the training; None if none in some fold."""
        gains = [
            choice.smooth_significance - choice.smooth_significance_unweighted
            for choice in self.choices
            if choice.smooth_significance is not None and choice.smooth_significance_unweighted is not None
        ]
        return float(np.mean(gains)) if len(gains) == len(self.choices) else None


def hold_out_family(events: ScoredEvents, settings: WorkingPointSettings) -> HeldOutFamily:
    """Choose coefficients and cut of each fold on the other folds, and add up the held-out yields over the folds.

    Both choices are repeated over `settings.partitions` partitions of the events, as in `hold_out_working_point`.

    Args:
        events: events with out-of-fold ratios, whose scores are not used. With `settings.variations_in_figure` the events
            under variations have ratios too.
        settings: figure of merit and requirements.

    Returns:
        Coefficients, held-out working points, and the events with their scores.

    Raises:
        InputError: events have no ratios, there are fewer than 2 folds, or the events cannot be scanned.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> process = np.tile([0, 1, 2], 6000)
        >>> centre = np.array([[3, 3], [1.5, 3], [3, 1.5]])
        >>> density = np.exp(-((rng.normal(centre[process])[:, None] - centre) ** 2).sum(-1) / 2)
        >>> ratios = LikelihoodRatios.from_arrays(
        ...     np.log(density[:, 0] / density[:, 1:].mean(1)), density[:, 1:] / density[:, 1:].sum(1, keepdims=True),
        ...     backgrounds=["easy", "uncertain"])
        >>> events = ScoredEvents.from_arrays(
        ...     ratios.logit, np.array([0.02, 0.2, 0.2])[process], process, names=["signal", "easy", "uncertain"],
        ...     roles=["signal", "background", "background"], ratios=ratios)
        >>> held_out = hold_out_family(events, WorkingPointSettings(
        ...     figure_of_merit="asimov_with_uncertainty", background_uncertainties={"easy": 0.02, "uncertain": 0.3},
        ...     partitions=1))
        >>> held_out.point.status, held_out.gain > 0
        ('ok', True)
    """
    simulated = events.simulated
    ratios_of(simulated, settings)
    if settings.variations_in_figure:
        _require_varied_ratios(simulated)
    # Coefficients are chosen with the ratios of the nominal events alone.
    nominal = replace(simulated, variations=())
    choices = [
        choose_by_fold(in_partition(nominal, number), lambda choosing: choose_for_events(choosing, settings), "score")
        for number in range(settings.partitions)
    ]
    coefficients = [[choice.coefficients for choice in of_partition] for of_partition in choices]

    def rescored(choosing: ScoredEvents, partition: int, fold: int) -> ScoredEvents:
        return _scored(choosing, [coefficients[partition][fold].score] * choosing.fold_count)

    scored, by_logit = cross_fitted(events, coefficients), _scored(events, [_logit] * events.fold_count)
    return HeldOutFamily(
        tuple(choices[0]),
        tuple(map(tuple, choices)),
        hold_out_working_point(scored, settings, rescored),
        hold_out_working_point(by_logit, settings),
        scored,
        by_logit,
    )


def cross_fitted(events: ScoredEvents, coefficients: Sequence[Sequence[FamilyCoefficients]]) -> ScoredEvents:
    """Events with the score 1 / (1 + e^-t) of the coefficients of their own fold in each partition, nominal and varied.

    Coefficients have a yield-weighted mean of one, so that scores of different folds can share a histogram. The cut of a
    fold is not chosen on these scores, since those of the other folds depend on its events through their coefficients;
    `hold_out_family` chooses it with the coefficients of the fold.

    Args:
        events: with ratios; varied events without ratios keep their scores.
        coefficients: one for each fold, in each partition.

    Raises:
        InputError: the events have no ratios.
    """
    if events.ratios is None:
        message = "The events have no likelihood ratios, from which scores could be computed."
        raise InputError(message)
    of_partitions = [
        _scored(in_partition(events, number), [each.score for each in of_folds])
        for number, of_folds in enumerate(coefficients)
    ]

    def with_all(first: _Events, others: Sequence[_Events]) -> _Events:
        return replace(first, partition_scores=np.stack([each.score for each in others]))

    variations = tuple(
        tuple(with_all(of_first[0], of_first) for of_first in zip(*in_each, strict=True))
        for in_each in zip(*(each.variations for each in of_partitions), strict=True)
    )
    return replace(with_all(of_partitions[0], of_partitions), variations=variations)


def _logit(ratios: LikelihoodRatios) -> Floats:
    return ratios.logit


def _scored(events: ScoredEvents, scores: Sequence[Score]) -> ScoredEvents:
    """Events with the score of their fold, nominal and varied."""

    def each(pair: VariationPair) -> VariationPair:
        return tuple(_scored_alone(varied, scores) for varied in pair)

    return replace(_scored_alone(events, scores), variations=tuple(each(pair) for pair in events.variations))


def _scored_alone(events: _Events, scores: Sequence[Score]) -> _Events:
    if events.ratios is None:
        return events
    values = np.empty(len(events))
    for fold, score in enumerate(scores):
        mine = events.fold == fold
        values[mine] = expit(score(events.ratios.select(mine)))
    return replace(events, score=values)


def _require_varied_ratios(events: ScoredEvents) -> None:
    for pair in events.variations:
        if any(varied.ratios is None for varied in pair):
            message = (
                f"The events under variation '{pair[0].name}' have no likelihood ratios: pass `ratios` and `shape_ratios` to "
                "varied_events, so that their scores follow the coefficients."
            )
            raise InputError(message)
