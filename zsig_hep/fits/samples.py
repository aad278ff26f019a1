"""Checked events for templates: the channel that each is in and the value of it that is binned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.selection.events import Events, Floats, Integers
from zsig_hep.selection.thresholds.held_out import held_out_selection
from zsig_hep.selection.varied_events import VariedEvents

SCORE = "score"
"""The observable that is the classifier output, whatever features there are."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Events of several processes and channels, all arrays of shape [N].

    Attributes:
        weight: signed weight, in events at the luminosity.
        process: index into the table's process names.
        channel: index of the channel; -1 for events in none.
        value: what is binned; NaN for events without a value.
    """

    weight: Floats
    process: Integers
    channel: Integers
    value: Floats

    def in_channel(self, index: int) -> "Sample":
        """The events of one channel."""
        return self.select(self.channel == index)

    def select(self, mask: npt.NDArray[np.bool_]) -> "Sample":
        """The events of a mask."""
        return Sample(self.weight[mask], self.process[mask], self.channel[mask], self.value[mask])


@dataclass(frozen=True, eq=False)
class SampledVariation:
    """The events of one variation.

    Attributes:
        name: of the variation.
        kind: what varies.
        sides: events up and down.
        processes: indices of the processes that each of the sides touches.
    """

    name: str
    kind: VariationKind
    sides: tuple[Sample, Sample]
    processes: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class SampleReader:
    """Turns scored events into samples.

    Attributes:
        table: the nominal events, whose processes and features the varied events share.
        observable: None, "score" or a feature.
        thresholds: cut of each fold, where there are no categories.
    """

    table: EventTable
    observable: str | None
    thresholds: Sequence[float | None] | None

    def __post_init__(self) -> None:
        """Refuse an observable that is not there, and thresholds of another number of folds."""
        known = [SCORE, *self.table.feature_names]
        if self.observable is not None and self.observable not in known:
            message = (
                f"The observable of the export is '{self.observable}', which is neither 'score' nor a feature."
                f"{nearest_name(self.observable, known)}"
            )
            raise InputError(message)
        if self.thresholds is not None and len(self.thresholds) != self.table.fold_count:
            message = f"There are {len(self.thresholds)} thresholds for {self.table.fold_count} folds."
            raise InputError(message)

    def nominal(self, score: npt.ArrayLike, category: npt.ArrayLike | None) -> tuple[Sample, Sample]:
        """The simulated events and the data of the table.

        Raises:
            InputError: scores or categories do not fit the table.
        """
        table = self.table
        events = Events.checked(
            score, table.weight, table.process, process_names=table.process_names, roles=table.roles
        )
        sample = self._sample("the events", events, table.fold, table.features, category)
        return sample.select(~table.is_data), sample.select(table.is_data)

    def variations(
        self,
        variations: Sequence[tuple[VariedEvents, VariedEvents]],
        categories: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    ) -> list[SampledVariation]:
        """The events of every variation.

        Raises:
            InputError: what is given as up and down is no pair, a name occurs twice, or arrays do not fit together.
        """
        if self.thresholds is None and len(categories) != len(variations):
            message = f"There are {len(variations)} variations, but categories of the events of {len(categories)}."
            raise InputError(message)
        sampled: list[SampledVariation] = []
        for index, (up, down) in enumerate(variations):
            _check_pair(up, down, [other.name for other in sampled])
            of_up, of_down = categories[index] if self.thresholds is None else (None, None)
            sides = self._varied(up, of_up), self._varied(down, of_down)
            touched = self._touched(up), self._touched(down)
            sampled.append(SampledVariation(up.name, up.kind, sides, touched))
        return sampled

    def _varied(self, varied: VariedEvents, category: npt.ArrayLike | None) -> Sample:
        where, names = _where(varied), self.table.process_names
        try:
            events = Events.checked(varied.score, varied.weight, varied.process, process_names=names)
        except InputError as error:
            message = f"The events of {where} cannot be used. {error}"
            raise InputError(message) from error
        if not np.isin(events.process, self._touched(varied)).all():
            others = sorted({names[row] for row in events.process} - set(varied.processes))
            message = f"The events of {where} hold {', '.join(others)}, which it does not touch."
            raise InputError(message)
        if varied.features.shape != (events.score.size, len(self.table.feature_names)):
            message = (
                f"The features of {where} have shape {varied.features.shape}, but there are {events.score.size} events "
                f"and {len(self.table.feature_names)} features."
            )
            raise InputError(message)
        return self._sample(f"the events of {where}", events, varied.fold, varied.features, category)

    def _touched(self, varied: VariedEvents) -> tuple[int, ...]:
        rows = {
            name: row
            for row, (name, role) in enumerate(zip(self.table.process_names, self.table.roles, strict=True))
            if role != "data"
        }
        for name in varied.processes:
            if name not in rows:
                message = f"{_where(varied)} touches '{name}', which is no simulated process.{nearest_name(name, rows)}"
                raise InputError(message)
        return tuple(rows[name] for name in varied.processes)

    def _sample(
        self, where: str, events: Events, fold: Any, features: npt.NDArray[np.float32], category: npt.ArrayLike | None
    ) -> Sample:
        if self.thresholds is not None:
            channel = np.where(
                held_out_selection(events.score, np.asarray(fold, dtype=np.int64), self.thresholds), 0, -1
            )
        else:
            channel = _checked_category(where, category, events.score.shape)
        return Sample(events.weight, events.process, channel, self._values(events.score, features))

    def _values(self, score: Floats, features: npt.NDArray[np.float32]) -> Floats:
        if self.observable is None:
            return np.zeros(score.size)
        if self.observable == SCORE:
            return score
        return features[:, self.table.feature_names.index(self.observable)].astype(np.float64)


def _checked_category(where: str, category: Any, shape: tuple[int, ...]) -> Integers:
    indices = np.asarray(category)
    if indices.shape != shape or (indices.size and indices.dtype.kind not in "iu"):
        message = f"The categories of {where} must be integers of shape {shape}; found {indices.dtype} of shape {indices.shape}."
        raise InputError(message)
    return indices.astype(np.int64)


def _check_pair(up: VariedEvents, down: VariedEvents, others: Sequence[str]) -> None:
    if (up.name, up.kind, up.direction, down.direction) != (down.name, down.kind, "up", "down"):
        message = (
            "A variation is a pair of its events up and down; found "
            f"{up.kind} '{up.name}' {up.direction} with {down.kind} '{down.name}' {down.direction}."
        )
        raise InputError(message)
    if up.name in others:
        message = f"There are two variations '{up.name}'; a name is one parameter of the fit, with all its processes."
        raise InputError(message)


def _where(varied: VariedEvents) -> str:
    return f"variation '{varied.name}' {varied.direction}"
