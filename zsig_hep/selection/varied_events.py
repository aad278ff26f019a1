"""Events under systematic variations: their yields above a cut, and the background uncertainty from these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import (
    Direction,
    LuminosityVariation,
    NormalisationVariation,
    ShapeVariation,
    Variation,
    varied_name,
)
from zsig_hep.ntuples.weight_sets import Combination, WeightSetVariation, combined_shifts
from zsig_hep.selection.events import Booleans, Floats, ScoredEvents, VariationPair, VariedEvents
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics.yields import Yield, weighted_yield


def varied_events(
    table: EventTable,
    variations: Mapping[str, Variation],
    score: Floats,
    shapes: Mapping[str, EventTable],
    shape_scores: Mapping[str, Floats],
    *,
    ratios: LikelihoodRatios | None = None,
    shape_ratios: Mapping[str, LikelihoodRatios] | None = None,
) -> tuple[VariationPair, ...]:
    """Make scored and weighted events for every variation, whatever its kind.

    A one-sided shape variation is mirrored: its down events are the nominal events with twice their weight and the up
    events with minus their weight, so that every histogram of them is 2 nominal - up.

    Args:
        table: nominal events, with their weights under weight variations.
        variations: expanded variations, by name.
        score: scores of the nominal events, shape [N].
        shapes: events under each direction of a shape variation, by varied name such as "jesUp".
        shape_scores: scores of those events, by varied name.
        ratios: likelihood ratios of the nominal events.
        shape_ratios: likelihood ratios of the events under shape variations, by varied name.

    Returns:
        Pairs (up, down), and the members of sets, in the order of the variations.
    """

    def nominal(name: str, direction: Direction, weight: Floats) -> VariedEvents:
        return _varied(variations[name], name, direction, table, score, weight, ratios)

    def shifted(name: str, direction: Direction) -> VariedEvents:
        full = varied_name(name, direction)
        of_shape = (shape_ratios or {}).get(full)
        return _varied(
            variations[name], name, direction, shapes[full], shape_scores[full], shapes[full].weight, of_shape
        )

    def pair(name: str, variation: Variation) -> VariationPair:
        if isinstance(variation, ShapeVariation):
            up = shifted(name, "up")
            down = _mirrored(nominal(name, "down", table.weight), up) if variation.one_sided else shifted(name, "down")
            return up, down
        if isinstance(variation, WeightSetVariation):
            return _members(variation, nominal(name, "up", table.weight), table, table.weight_variations[name])
        if isinstance(variation, LuminosityVariation | NormalisationVariation):
            raised, lowered = (table.weight * factor for factor in variation.factors)
        else:
            raised, lowered = table.weight_variations[name]
        return nominal(name, "up", raised), nominal(name, "down", lowered)

    return tuple(pair(name, variation) for name, variation in variations.items())


def _varied(
    variation: Variation,
    name: str,
    direction: Direction,
    table: EventTable,
    score: Floats,
    weight: Floats,
    ratios: LikelihoodRatios | None,
) -> VariedEvents:
    """The events of a table that the variation touches."""
    touched = tuple(variation.processes or ())
    events = VariedEvents(
        name,
        variation.kind,
        direction,
        touched,
        np.asarray(score, dtype=np.float64),
        weight,
        table.process.astype(np.int64),
        table.fold.astype(np.int64),
        table.features,
        table.identity,
        ratios=ratios,
    )
    inside = np.isin(table.process, [table.process_names.index(each) for each in touched])
    return events if inside.all() else events.select(inside)


def _members(variation: WeightSetVariation, touched: VariedEvents, table: EventTable, weights: Floats) -> VariationPair:
    """The touched events under each member of a set, which share all arrays but the weights."""
    inside = np.isin(table.process, [table.process_names.index(each) for each in touched.touched])
    combine = variation.combination
    return tuple(replace(touched, weight=weight[inside], combine=combine) for weight in weights)


def _mirrored(nominal: VariedEvents, up: VariedEvents) -> VariedEvents:
    return replace(
        nominal,
        score=np.concatenate([nominal.score, up.score]),
        weight=np.concatenate([2 * nominal.weight, -up.weight]),
        process=np.concatenate([nominal.process, up.process]),
        fold=np.concatenate([nominal.fold, up.fold]),
        features=np.concatenate([nominal.features, up.features]),
        identity=None
        if nominal.identity is None or up.identity is None
        else np.concatenate([nominal.identity, up.identity]),
        ratios=None if nominal.ratios is None or up.ratios is None else nominal.ratios.followed_by(up.ratios),
    )


@dataclass(frozen=True)
class VariedYield:
    """The yield of one process above a cut, nominal and under a variation.

    Attributes:
        nominal: nominal yield.
        up: yield under the variation up.
        down: yield under the variation down.
    """

    nominal: Yield
    up: Yield
    down: Yield

    @property
    def alternatives(self) -> tuple[Yield, ...]:
        """Yields up and down, or under each member of a set; those of processes add before they are combined."""
        return self.up, self.down

    @property
    def combination(self) -> Combination | None:
        """How the shifts of the alternatives are combined; None for up and down."""
        return None

    @property
    def shifts(self) -> tuple[float, float]:
        """Change of the yield under the variation up and down, in events."""
        return self.up.value - self.nominal.value, self.down.value - self.nominal.value

    @property
    def note(self) -> str:
        """Warning about the two directions; empty if one is above and one below nominal."""
        up, down = self.shifts
        if up == down == 0:
            return "no effect"
        if up == down:
            return "up equals down"
        return "up and down have the same sign" if up * down > 0 else ""


@dataclass(frozen=True)
class VariedYieldOfSet(VariedYield):
    """The yield of one process above a cut, nominal and under the members of a set.

    Attributes:
        members: yields under the members.
        combine: how their shifts are combined.
    """

    members: tuple[Yield, ...]
    combine: Combination

    @classmethod
    def of(cls, nominal: Yield, members: Sequence[Yield], combine: Combination) -> Self:
        """Up and down are the largest and the smallest yield, or the nominal one with all shifts in quadrature.

        Example:
            >>> nominal, *members = (Yield(value, 1.0, 10) for value in (10.0, 13.0, 6.0))
            >>> envelope = VariedYieldOfSet.of(nominal, members, "envelope")
            >>> hessian = VariedYieldOfSet.of(nominal, members, "quadrature")
            >>> envelope.shifts, hessian.shifts
            ((3.0, -4.0), (5.0, -5.0))
        """
        if combine == "envelope":
            every = [nominal, *members]
            largest, smallest = max(every, key=lambda each: each.value), min(every, key=lambda each: each.value)
            return cls(nominal, largest, smallest, tuple(members), combine)
        shifts = np.array([each.value - nominal.value for each in members])
        up, down = (replace(nominal, value=nominal.value + float(each)) for each in combined_shifts(shifts, combine))
        return cls(nominal, up, down, tuple(members), combine)

    @property
    def alternatives(self) -> tuple[Yield, ...]:
        """Yields under the members."""
        return self.members

    @property
    def combination(self) -> Combination | None:
        """How the shifts of the members are combined."""
        return self.combine


def symmetrised(up: npt.ArrayLike, down: npt.ArrayLike) -> Floats:
    """Combine an up and a down shift, of any signs, into one standard deviation.

        delta = sqrt((up^2 + down^2) / 2)

    is the root mean square of the shift theta up for theta > 0 and -theta down for theta < 0 with a nuisance parameter
    theta of unit Gaussian distribution. It is continuous, unlike half the difference of the shifts if their signs differ
    and the larger of them otherwise.

    Example:
        >>> symmetrised([3.0, 3.0, 4.0], [-3.0, 3.0, 0.0]).round(3)
        array([3.   , 3.   , 2.828])
    """
    return np.asarray(np.hypot(up, down) / np.sqrt(2), dtype=np.float64)


def varied_yields(
    events: ScoredEvents, selections: Sequence[tuple[Booleans, ...]], nominal: Mapping[str, Yield]
) -> dict[str, dict[str, VariedYield]]:
    """Yields above a cut under every variation.

    Args:
        events: scored events with their variations.
        selections: events that pass the cut under each variation, up and down, or under each member of a set.
        nominal: nominal yields above the cut by process.

    Returns:
        Yields by variation and process, for the processes that a variation touches.
    """
    result: dict[str, dict[str, VariedYield]] = {}
    for pair, passed in zip(events.variations, selections, strict=True):
        of_process: dict[str, VariedYield] = {}
        for process in pair[0].touched:
            row = events.processes.index(process)
            alternatives = [
                weighted_yield(varied.weight[selected & (varied.process == row)])
                for varied, selected in zip(pair, passed, strict=True)
            ]
            combine = pair[0].combine
            if combine is not None:
                of_process[process] = VariedYieldOfSet.of(nominal[process], alternatives, combine)
            else:
                up, down = alternatives
                of_process[process] = VariedYield(nominal[process], up, down)
        result[pair[0].name] = of_process
    return result


def background_uncertainty(yields: Mapping[str, Mapping[str, VariedYield]], backgrounds: Sequence[str]) -> float:
    """Systematic standard deviation of a background yield.

        sigma_b^2 = sum_j delta(sum_p up_jp, sum_p down_jp)^2                                  (1)

    with the shifts of process p under variation j and delta of `symmetrised`. Variations are independent of each other;
    each varies all of its processes together, so that shifts of opposite signs cancel. The shifts of a set are those of
    `combined_shifts` from the sums over the processes under each member.

    Args:
        yields: yields under the variations, from `varied_yields`.
        backgrounds: names of the background processes.

    Returns:
        sigma_b in events.
    """
    variance = 0.0
    for of_processes in yields.values():
        if touched := [each for name, each in of_processes.items() if name in backgrounds]:
            shifts = [[other.value - each.nominal.value for other in each.alternatives] for each in touched]
            up, down = combined_shifts(np.sum(shifts, axis=0), touched[0].combination)
            variance += float(symmetrised(up, down) ** 2)
    return float(np.sqrt(variance))


def background_uncertainty_above(events: ScoredEvents, thresholds: Floats, nominal: Floats) -> Floats:
    """Equation 1 of `background_uncertainty` above every threshold.

    The shifts include fluctuations of the finite simulation, so sigma_b is overestimated where few events pass.

    Args:
        events: scored events with their variations.
        thresholds: ascending thresholds, shape [T].
        nominal: yield of each process above each threshold, shape [P, T].

    Returns:
        sigma_b in events, shape [T].

    Raises:
        InputError: a score is not finite.
    """
    return _background_uncertainty(events, nominal, lambda score, weight: sum_above(score, weight, thresholds))


def background_uncertainty_between(events: ScoredEvents, edges: Floats, nominal: Floats) -> Floats:
    """Equation 1 of `background_uncertainty` in every bin of the score.

    Args:
        events: scored events with their variations.
        edges: ascending inner edges of T bins, shape [T - 1]; a score at an edge lies above it.
        nominal: yield of each process in each bin, shape [P, T].

    Returns:
        sigma_b in events, shape [T].

    Raises:
        InputError: a score is not finite.
    """

    def sums(score: Floats, weights: Floats) -> Floats:
        bins = np.searchsorted(edges, score, side="right")
        return np.array([np.bincount(bins, weight, len(edges) + 1) for weight in weights], float)

    return _background_uncertainty(events, nominal, sums)


def _background_uncertainty(events: ScoredEvents, nominal: Floats, sums: Callable[[Floats, Floats], Floats]) -> Floats:
    """sigma_b of the sums [A, T] that are made from the scores [N] and weights [A, N] of the background."""
    processes = events.processes
    variance = np.zeros(nominal.shape[1])
    for pair in events.variations:
        touched = processes.is_background & np.isin(processes.names, pair[0].touched)
        before = nominal[touched].sum(axis=0)
        shifts = _sums_of_alternatives(pair, processes.is_background, sums) - before
        variance += symmetrised(*combined_shifts(shifts, pair[0].combine)) ** 2
    return np.sqrt(variance)


def _sums_of_alternatives(
    alternatives: VariationPair, is_background: Booleans, sums: Callable[[Floats, Floats], Floats]
) -> Floats:
    """Sums of the background under each alternative of a variation; the members of a set have the same scores."""
    if alternatives[0].combine is None:
        each = [_background(varied, is_background) for varied in alternatives]
        return np.concatenate([sums(score, weight[None]) for score, weight in each])
    score, _ = _background(alternatives[0], is_background)
    chosen = is_background[alternatives[0].process]
    return sums(score, np.stack([varied.weight[chosen] for varied in alternatives]))


def _background(events: VariedEvents, is_background: Booleans) -> tuple[Floats, Floats]:
    """Scores and weights of the background."""
    if not np.isfinite(events.score).all():
        message = f"Scores under variation '{varied_name(events.name, events.direction)}' are not all finite."
        raise InputError(message)
    chosen = is_background[events.process]
    return events.score[chosen], events.weight[chosen]


def sum_above(score: Floats, weight: Floats, thresholds: Floats) -> Floats:
    """Sum of the weights of the events at or above each threshold.

    Args:
        score: shape [N].
        weight: shape [..., N].
        thresholds: shape [T].

    Returns:
        Shape [..., T].

    Example:
        >>> sum_above(np.array([0.2, 0.8, 0.5]), np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.5, 0.9]))
        array([7., 6., 0.])
    """
    order = np.argsort(score, kind="stable")
    from_top = np.cumsum(weight[..., order][..., ::-1], axis=-1)[..., ::-1]
    none = np.zeros((*weight.shape[:-1], 1))
    at = np.searchsorted(score[order], thresholds, side="left")
    return np.asarray(np.concatenate([from_top, none], axis=-1)[..., at])
