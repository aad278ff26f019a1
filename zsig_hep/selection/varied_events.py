"""Events under systematic variations: what they do to yields above a cut, and the background uncertainty that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import (
    DIRECTIONS,
    Direction,
    LuminosityVariation,
    NormalisationVariation,
    ShapeVariation,
    Variation,
    VariationKind,
    varied_name,
)
from zsig_hep.selection.events import Booleans, Floats, Integers
from zsig_hep.statistics.yields import Yield, weighted_yield


@dataclass(frozen=True, eq=False)
class VariedEvents:
    """Events of one direction of one variation, of the processes that it touches; all other processes stay nominal.

    Attributes:
        name: of the variation; processes that share it move together.
        kind: what varies.
        direction: "up" or "down".
        processes: names of the processes it touches.
        score: shape [M].
        weight: yield at the luminosity, varied, shape [M].
        process: index into the process names of the table, shape [M].
        fold: shape [M].
        features: columns as in the table, shape [M, F].
    """

    name: str
    kind: VariationKind
    direction: Direction
    processes: tuple[str, ...]
    score: Floats
    weight: Floats
    process: Integers
    fold: Integers
    features: npt.NDArray[np.float32]

    def outside(self, fold: int, scale: float) -> "VariedEvents":
        """The events that are not in a fold, with their weights times `scale`."""
        kept = self.fold != fold
        return VariedEvents(
            self.name,
            self.kind,
            self.direction,
            self.processes,
            self.score[kept],
            self.weight[kept] * scale,
            self.process[kept],
            self.fold[kept],
            self.features[kept],
        )


VariationPair = tuple[VariedEvents, VariedEvents]
"""Up and down."""


def varied_events(
    table: EventTable,
    variations: Mapping[str, Variation],
    score: Floats,
    shapes: Mapping[str, EventTable],
    shape_scores: Mapping[str, Floats],
) -> tuple[VariationPair, ...]:
    """Bring every kind of variation to events with scores and weights.

    A one-sided shape variation is mirrored: nominal events of twice their weight and the shifted ones of minus theirs make
    any histogram that of 2 nominal - up.

    Args:
        table: nominal events, with their weights under weight variations.
        variations: expanded, by name.
        score: of the nominal events, shape [N].
        shapes: events under each direction of a shape variation, by varied name such as "jesUp".
        shape_scores: of those events, by varied name.

    Returns:
        Pairs (up, down) in the order of the variations.
    """
    return tuple(
        (
            _varied(table, name, variation, "up", score, shapes, shape_scores),
            _varied(table, name, variation, "down", score, shapes, shape_scores),
        )
        for name, variation in variations.items()
    )


def _varied(
    table: EventTable,
    name: str,
    variation: Variation,
    direction: Direction,
    score: Floats,
    shapes: Mapping[str, EventTable],
    shape_scores: Mapping[str, Floats],
) -> VariedEvents:
    touched = tuple(variation.processes or ())
    rows = np.isin(table.process, [table.process_names.index(each) for each in touched])
    if isinstance(variation, ShapeVariation):
        if direction == "up" or not variation.one_sided:
            full = varied_name(name, direction)
            shifted, score = shapes[full], shape_scores[full]
            return _events(shifted, name, variation, direction, score, shifted.weight, np.ones(len(shifted), np.bool_))
        up = _varied(table, name, variation, "up", score, shapes, shape_scores)
        nominal = _events(table, name, variation, "down", score, table.weight, rows)
        return VariedEvents(
            name,
            variation.kind,
            "down",
            touched,
            np.concatenate([nominal.score, up.score]),
            np.concatenate([2 * nominal.weight, -up.weight]),
            np.concatenate([nominal.process, up.process]),
            np.concatenate([nominal.fold, up.fold]),
            np.concatenate([nominal.features, up.features]),
        )
    index = DIRECTIONS.index(direction)
    if isinstance(variation, LuminosityVariation | NormalisationVariation):
        weight = table.weight * variation.factors[index]
    else:
        weight = table.weight_variations[name][index]
    return _events(table, name, variation, direction, score, weight, rows)


def _events(
    table: EventTable,
    name: str,
    variation: Variation,
    direction: Direction,
    score: Floats,
    weight: Floats,
    rows: Booleans,
) -> VariedEvents:
    chosen = slice(None) if rows.all() else rows
    return VariedEvents(
        name,
        variation.kind,
        direction,
        tuple(variation.processes or ()),
        np.asarray(score, dtype=np.float64)[chosen],
        weight[chosen],
        table.process[chosen].astype(np.int64),
        table.fold[chosen].astype(np.int64),
        table.features[chosen],
    )


@dataclass(frozen=True)
class VariedYield:
    """The yield of one process above a cut, nominal and under a variation.

    Attributes:
        nominal: not varied.
        up: under the variation upwards.
        down: under the variation downwards.
    """

    nominal: Yield
    up: Yield
    down: Yield

    @property
    def shift(self) -> float:
        """Symmetrised shift of the yield; see `symmetrised`."""
        return float(symmetrised(self.up.value - self.nominal.value, self.down.value - self.nominal.value))

    @property
    def note(self) -> str:
        """What is unusual of the two directions; empty for one above and one below nominal."""
        up, down = (each.value - self.nominal.value for each in (self.up, self.down))
        if up == down == 0:
            return "no effect"
        if up == down:
            return "up equals down"
        return "both on one side" if up * down > 0 else ""


def symmetrised(up: npt.ArrayLike, down: npt.ArrayLike) -> Floats:
    """One signed shift for two: half their difference where they have opposite signs, otherwise the larger of them.

    Where both shifts stand on one side, half of their difference would understate them; the sign is that of the up shift.

    Example:
        >>> symmetrised([3.0, 3.0], [-1.0, 1.0])
        array([2., 3.])
    """
    raised, lowered = np.asarray(up, dtype=np.float64), np.asarray(down, dtype=np.float64)
    larger = np.where(np.abs(raised) >= np.abs(lowered), raised, lowered)
    return np.where(raised * lowered < 0, (raised - lowered) / 2, larger)


def varied_yields(
    pairs: Sequence[VariationPair],
    selections: Sequence[tuple[Booleans, Booleans]],
    nominal: Mapping[str, Yield],
    process_names: Sequence[str],
) -> dict[str, dict[str, VariedYield]]:
    """Yields above a cut under every variation.

    Args:
        pairs: of every variation.
        selections: which of their events pass the cut, in the same order.
        nominal: yields above the cut by process.
        process_names: of the table.

    Returns:
        By variation and process; only the processes that a variation touches.
    """
    result: dict[str, dict[str, VariedYield]] = {}
    for pair, passed in zip(pairs, selections, strict=True):
        of_process = {}
        for process in pair[0].processes:
            index = process_names.index(process)
            up, down = (
                weighted_yield(events.weight[selected & (events.process == index)])
                for events, selected in zip(pair, passed, strict=True)
            )
            of_process[process] = VariedYield(nominal[process], up, down)
        result[pair[0].name] = of_process
    return result


def background_uncertainty(yields: Mapping[str, Mapping[str, VariedYield]], backgrounds: Sequence[str]) -> float:
    """Systematic standard deviation of a background yield.

        sigma_b^2 = sum_j (sum_p delta_jp)^2                                                   (1)

    over variations j, independent of each other, each of which moves all of its processes p together.

    Args:
        yields: of `varied_yields`.
        backgrounds: names of the background processes.

    Returns:
        sigma_b in events.
    """
    shifts = [sum(each.shift for name, each in of.items() if name in backgrounds) for of in yields.values()]
    return float(np.sqrt(np.sum(np.square(shifts))))


def background_uncertainty_above(
    pairs: Sequence[VariationPair],
    thresholds: Floats,
    nominal: Floats,
    process_names: Sequence[str],
    backgrounds: Sequence[str],
) -> Floats:
    """Equation 1 of `background_uncertainty` above every threshold.

    Finite simulation under the variations adds its fluctuations to the shifts: few events above a cut overstate sigma_b.

    Args:
        pairs: of every variation.
        thresholds: ascending, shape [T].
        nominal: yield of each background above each threshold, shape [B, T].
        process_names: of the table.
        backgrounds: names of the B background processes.

    Returns:
        sigma_b in events, shape [T].

    Raises:
        InputError: a score is not finite.
    """
    is_background = np.isin(process_names, backgrounds)
    variance = np.zeros(len(thresholds))
    for pair in pairs:
        before = nominal[np.isin(backgrounds, pair[0].processes)].sum(axis=0)
        up, down = (_background_above(events, is_background, thresholds) - before for events in pair)
        variance += symmetrised(up, down) ** 2
    return np.sqrt(variance)


def _background_above(events: VariedEvents, is_background: Booleans, thresholds: Floats) -> Floats:
    if not np.isfinite(events.score).all():
        message = f"Scores under variation '{varied_name(events.name, events.direction)}' are not all finite."
        raise InputError(message)
    chosen = is_background[events.process]
    return sum_above(events.score[chosen], events.weight[chosen], thresholds)


def sum_above(score: Floats, weight: Floats, thresholds: Floats) -> Floats:
    """Sum of the weights of events at or above each threshold.

    Example:
        >>> sum_above(np.array([0.2, 0.8, 0.5]), np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.5, 0.9]))
        array([7., 6., 0.])
    """
    order = np.argsort(score, kind="stable")
    from_top = np.concatenate([np.cumsum(weight[order][::-1])[::-1], [0.0]])
    return np.asarray(from_top[np.searchsorted(score[order], thresholds, side="left")])
