"""Events for templates, with the channel and the binned value of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.ntuples.weight_sets import Combination
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.categories.held_out import FoldEdges, category_index
from zsig_hep.selection.events import Floats, Integers, ScoredEvents, VariationPair, VariedEvents

SCORE = "score"
"""Name of the classifier output as an observable; it takes precedence over a feature of this name."""

SIGNAL_REGION = "signal_region"


@dataclass(frozen=True)
class Channels:
    """The channels of a fit: intervals of the score, with edges for each fold.

    Attributes:
        names: names of the channels, the least signal-like first.
        edges: lower edges of the channels by fold; None puts all events of the fold in no channel.

    Example:
        >>> Channels.of_cut([0.5, 0.7])
        Channels(names=('signal_region',), edges=((0.5,), (0.7,)))
    """

    names: tuple[str, ...]
    edges: FoldEdges

    def __post_init__(self) -> None:
        """Refuse edges whose number is not that of the names."""
        for fold, edges in enumerate(self.edges):
            if edges is not None and len(edges) != len(self.names):
                message = f"{len(self.names)} channels are named, and fold {fold} has edges of {len(edges)}."
                raise InputError(message)

    @classmethod
    def of_cut(cls, thresholds: Sequence[float | None]) -> Self:
        """One channel, `signal_region`, of the events at or above the threshold of their fold."""
        return cls((SIGNAL_REGION,), tuple(None if cut is None else (cut,) for cut in thresholds))

    @classmethod
    def of_categories(cls, edges: FoldEdges, names: Sequence[str] | None = None) -> Self:
        """A channel for each score category, by default named `category_0` and so on."""
        count = max((len(of_fold) for of_fold in edges if of_fold is not None), default=0)
        return cls(tuple(names or (f"category_{index}" for index in range(count))), edges)

    def of(self, events: ScoredEvents | VariedEvents) -> Integers:
        """Channel of each event, -1 for none, shape [N]."""
        return category_index(events, self.edges)


@dataclass(frozen=True, eq=False, repr=False)
class Sample(ShortRepr):
    """Events of several processes and channels, all arrays of shape [N].

    Attributes:
        weight: signed weight, in events at the luminosity.
        process: index into the processes.
        channel: index of the channel; -1 for events in none.
        value: value of the observable; NaN for events without a value.
    """

    weight: Floats
    process: Integers
    channel: Integers
    value: Floats

    def in_channel(self, index: int) -> "Sample":
        """The events of one channel."""
        return self.select(self.channel == index)

    def select(self, mask: npt.NDArray[np.bool_]) -> "Sample":
        """The events of a mask, shape [N]."""
        return Sample(self.weight[mask], self.process[mask], self.channel[mask], self.value[mask])


@dataclass(frozen=True, eq=False, repr=False)
class SampledVariation(ShortRepr):
    """The events of one variation.

    Attributes:
        name: name of the variation.
        kind: what is varied.
        sides: events up and down, or under each member of a set.
        processes: indices of the processes touched in each.
        combine: how the shifts under the members of a set are combined; None for up and down.
    """

    name: str
    kind: VariationKind
    sides: tuple[Sample, ...]
    processes: tuple[tuple[int, ...], ...]
    combine: Combination | None = None

    def in_channel(self, index: int) -> "SampledVariation":
        """The events of one channel."""
        return replace(self, sides=tuple(side.in_channel(index) for side in self.sides))


@dataclass(frozen=True, eq=False, repr=False)
class SampleReader(ShortRepr):
    """Turns scored events into samples.

    Attributes:
        events: events with their variations.
        observable: None, "score" or the name of a feature.
        channels: channels of the fit.
    """

    events: ScoredEvents
    observable: str | None
    channels: Channels

    def __post_init__(self) -> None:
        """Refuse an unknown observable, and channels for another number of folds."""
        known = [SCORE, *self.events.feature_names]
        if self.observable is not None and self.observable not in known:
            message = (
                f"The observable of the export is '{self.observable}', which is neither 'score' nor a feature."
                f"{nearest_name(self.observable, known)}"
            )
            raise InputError(message)
        if len(self.channels.edges) != self.events.fold_count:
            message = f"There are channels of {len(self.channels.edges)} folds for events of {self.events.fold_count}."
            raise InputError(message)

    def nominal(self) -> tuple[Sample, Sample]:
        """The simulated events and the data."""
        sample = self._sample(self.events)
        return sample.select(~self.events.is_data), sample.select(self.events.is_data)

    def variations(self) -> list[SampledVariation]:
        """The events of every variation.

        Raises:
            InputError: events are no pair of up and down and no set, a name occurs twice, or array shapes differ.
        """
        sampled: list[SampledVariation] = []
        for alternatives in self.events.variations:
            first = alternatives[0]
            _check_alternatives(alternatives, [other.name for other in sampled])
            touched = tuple(map(self._touched, alternatives))
            sides = tuple(map(self._varied, alternatives))
            sampled.append(SampledVariation(first.name, first.kind, sides, touched, first.combine))
        return sampled

    def _varied(self, varied: VariedEvents) -> Sample:
        processes, columns = self.events.processes, len(self.events.feature_names)
        try:
            ScoredEvents.from_arrays(
                varied.score, varied.weight, varied.process, names=processes.names, roles=processes.roles
            )
        except InputError as error:
            message = f"The events of {_where(varied)} cannot be used. {error}"
            raise InputError(message) from error
        if not np.isin(varied.process, self._touched(varied)).all():
            others = sorted({processes.names[row] for row in varied.process} - set(varied.touched))
            message = f"The events of {_where(varied)} hold {', '.join(others)}, which it does not touch."
            raise InputError(message)
        if varied.features.shape != (len(varied), columns):
            message = (
                f"The features of {_where(varied)} have shape {varied.features.shape}, but there are {len(varied)} events "
                f"and {columns} features."
            )
            raise InputError(message)
        return self._sample(varied)

    def _touched(self, varied: VariedEvents) -> tuple[int, ...]:
        known = self.events.processes.simulated.names
        for name in varied.touched:
            if name not in known:
                message = (
                    f"{_where(varied)} touches '{name}', which is no simulated process.{nearest_name(name, known)}"
                )
                raise InputError(message)
        return tuple(self.events.processes.index(name) for name in varied.touched)

    def _sample(self, events: ScoredEvents | VariedEvents) -> Sample:
        return Sample(events.weight, events.process, self.channels.of(events), self._values(events))

    def _values(self, events: ScoredEvents | VariedEvents) -> Floats:
        if self.observable is None:
            return np.zeros(len(events))
        if self.observable == SCORE:
            return events.score
        return events.features[:, self.events.feature_names.index(self.observable)].astype(np.float64)


def _check_alternatives(alternatives: VariationPair, others: Sequence[str]) -> None:
    first, found = alternatives[0], [(each.name, each.kind, each.direction, each.combine) for each in alternatives]
    directions = ("up", "down") if first.combine is None else ("up",) * len(alternatives)
    if found != [(first.name, first.kind, direction, first.combine) for direction in directions]:
        listed = " with ".join(f"{kind} '{name}' {direction}" for name, kind, direction, _ in found)
        message = f"A variation needs a pair of events up and down, or the members of a set; found {listed}."
        raise InputError(message)
    if first.name in others:
        message = (
            f"There are two variations '{first.name}'; each name is one parameter of the fit for all its processes."
        )
        raise InputError(message)


def _where(varied: VariedEvents) -> str:
    return f"variation '{varied.name}' {varied.direction}"
