"""Scored events: the input of every selection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.identity import mix
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import Direction, VariationKind
from zsig_hep.ntuples.weight_sets import Combination
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.statistics.process_table import ProcessTable, Role
from zsig_hep.statistics.yields import Yield, weighted_yield

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Identities = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class ScoredEvents:
    """N events of all processes with the classifier output of each, nominal and under systematic variations.

    Attributes:
        score: finite output of networks that were not trained on the event, larger for signal, shape [N].
        weight: signed weight, in events at the luminosity, shape [N].
        process: index into `processes`, shape [N].
        fold: in [0, fold_count), equal shares by a hash of the event identity, shape [N].
        processes: names and roles.
        fold_count: number of folds.
        features: input features, shape [N, F], for fits that bin one of them.
        feature_names: F names.
        variations: for each variation, the events of the processes it touches, up and down, or under each member of a set.
        folds_are_given: whether the user chose the folds, which `zsig_hep.selection.folds` then checks.
        identity: hash of each event's identity, which divides events into the folds of other partitions, shape [N]; None
            if they cannot be divided otherwise.
        ratios: likelihood ratios of networks that were not trained on the event, for optimal scores; None without.
        partition_scores: scores in each of P partitions of the events, where these are chosen fold by fold, shape [P, N],
            the first as `score`; see `zsig_hep.selection.folds`. None for a score that is the same in all.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.9, 0.4, 0.6, 0.1], [2.0, 1.0, 4.0, 3.0], [0, 0, 1, 1], names=["hmumu", "dy"],
        ...     roles=["signal", "background"])
        >>> events
        ScoredEvents(4 events of hmumu, dy; 5 folds)
        >>> events.yields(events.score > 0.5)["dy"].value
        4.0
    """

    score: Floats
    weight: Floats
    process: Integers
    fold: Integers
    processes: ProcessTable
    fold_count: int
    features: npt.NDArray[np.float32]
    feature_names: tuple[str, ...] = ()
    variations: tuple["VariationPair", ...] = ()
    folds_are_given: bool = False
    identity: Identities | None = None
    ratios: LikelihoodRatios | None = None
    partition_scores: Floats | None = None

    @classmethod
    def from_arrays(
        cls,
        score: npt.ArrayLike,
        weight: npt.ArrayLike,
        process: npt.ArrayLike,
        *,
        names: Sequence[str],
        roles: Sequence[Role],
        fold: npt.ArrayLike | None = None,
        fold_count: int = 5,
        identity: npt.ArrayLike | None = None,
        ratios: LikelihoodRatios | None = None,
    ) -> Self:
        """Make scored events from arrays, with the scores of any classifier.

        Args:
            score: classifier output, shape [N].
            weight: event weights, shape [N].
            process: index into `names`, shape [N].
            names: names of the processes.
            roles: role of each process: "signal", "background" or "data".
            fold: fold of each event, filled evenly with signal and background; by default event i is in fold i modulo
                `fold_count`.
            fold_count: number of folds.
            identity: unsigned integers; events of equal identity share a fold in every partition that a cut is chosen
                over. By default each event stands alone.
            ratios: likelihood ratios of the events.

        Returns:
            The events in float64 and int64.

        Raises:
            InputError: shapes differ, a score or weight is not finite, or an index, a fold, an identity or a role is not
                valid.
        """
        processes = ProcessTable.of(names, roles)
        scores, weights = np.asarray(score, dtype=np.float64), np.asarray(weight, dtype=np.float64)
        indices = _indices(process, processes)
        if scores.ndim != 1 or not scores.shape == weights.shape == indices.shape:
            message = (
                "Scores, weights and processes must be arrays of one length; found shapes "
                f"{scores.shape}, {weights.shape} and {indices.shape}."
            )
            raise InputError(message)
        if ratios is not None and len(ratios) != scores.size:
            message = f"There are {scores.size} scores, but likelihood ratios of {len(ratios)} events."
            raise InputError(message)
        _require_finite("score", scores, "the causes are a failed training or a feature that is NaN")
        _require_finite("weight", weights, "check the weight branch of the ntuple")
        folds = np.arange(scores.size) % max(fold_count, 1) if fold is None else _folds(fold, scores.shape, fold_count)
        features = np.empty((scores.size, 0), dtype=np.float32)
        return cls(
            scores, weights, indices, folds.astype(np.int64), processes, fold_count, features,
            folds_are_given=fold is not None, identity=_identities(identity, scores.size),
            ratios=ratios,
        )  # fmt: skip

    @classmethod
    def of_table(
        cls,
        table: EventTable,
        score: npt.ArrayLike,
        variations: Sequence["VariationPair"] = (),
        *,
        ratios: LikelihoodRatios | None = None,
    ) -> Self:
        """Make scored events from a table and the out-of-fold scores of its events.

        Args:
            table: events with signed weights, processes and folds.
            score: finite scores, shape [N].
            variations: from `varied_events`, with the scores of the same classifier.
            ratios: likelihood ratios of the events.

        Raises:
            InputError: there is not one finite score per event.
        """
        events = cls.from_arrays(
            score, table.weight, table.process, names=table.process_names, roles=table.roles,
            fold=table.fold, fold_count=table.fold_count, identity=table.identity,
            ratios=ratios,
        )  # fmt: skip
        return replace(
            events,
            features=table.features,
            feature_names=table.feature_names,
            variations=tuple(variations),
            folds_are_given=False,
        )

    def __len__(self) -> int:
        """Number of events."""
        return len(self.score)

    def __repr__(self) -> str:
        """Numbers of events and folds, and the processes."""
        return (
            f"{type(self).__name__}({len(self)} events of {', '.join(self.processes.names)}; {self.fold_count} folds)"
        )

    def _repr_html_(self) -> str:
        """Processes with their roles, events and yields, for notebooks."""
        title = f"{len(self)} scored events in {self.fold_count} folds"
        return self.processes.yields_html(title, self.yields())

    @property
    def is_data(self) -> Booleans:
        """Which events are recorded data, shape [N]."""
        return self.processes.is_data[self.process]

    @property
    def simulated(self) -> "ScoredEvents":
        """The events that are not data, with the processes renumbered."""
        if not self.processes.is_data.any():
            return self
        kept = self.select(~self.is_data)
        row = self.processes.simulated_row
        return replace(
            kept,
            process=row[kept.process],
            processes=self.processes.simulated,
            variations=tuple(_renumbered(alternatives, row) for alternatives in self.variations),
        )

    def select(self, chosen: Booleans | Integers) -> "ScoredEvents":
        """The nominal events of a mask, or at indices; `variations` is unchanged."""
        return _masked(self, chosen)

    def outside(self, fold: int) -> "ScoredEvents":
        """The events of all other folds, nominal and varied, with weights scaled up to the whole luminosity.

        The factor is fold_count / (fold_count - 1). A ratio of yields would depend on the events left out.
        """
        scale = self.fold_count / (self.fold_count - 1)
        kept = self.select(self.fold != fold)
        return replace(
            kept,
            weight=kept.weight * scale,
            variations=tuple(_outside(alternatives, fold, scale) for alternatives in self.variations),
        )

    def yields(self, selected: Booleans | None = None) -> dict[str, Yield]:
        """Yield of each process that is not data, from all events or from the selected ones."""
        kept = self if selected is None else self.select(selected)
        return {
            self.processes.names[row]: weighted_yield(kept.weight[kept.process == row])
            for row in np.flatnonzero(~self.processes.is_data)
        }


@dataclass(frozen=True, eq=False)
class VariedEvents:
    """Events under one direction of one variation, of the processes it touches; all other processes are nominal.

    Attributes:
        name: name of the variation, which varies all of its processes together.
        kind: what is varied.
        direction: "up" or "down".
        touched: names of the processes it touches.
        score: classifier output, shape [M].
        weight: varied weight, in events at the luminosity, shape [M].
        process: index into the processes of the nominal events, shape [M].
        fold: fold of each event, shape [M].
        features: the same columns as those of the nominal events, shape [M, F].
        identity: hash of each event's identity, the same as of the nominal event, shape [M]; None if not known.
        ratios: likelihood ratios of the same networks as those of the nominal events; None without.
        combine: how the shifts of yields under all members of a set are combined; None for the alternatives up and down.
            The direction of members is "up", and all arrays of a set but the weights are the same.
        partition_scores: as of `ScoredEvents`, shape [P, M].
    """

    name: str
    kind: VariationKind
    direction: Direction
    touched: tuple[str, ...]
    score: Floats
    weight: Floats
    process: Integers
    fold: Integers
    features: npt.NDArray[np.float32]
    identity: Identities | None = None
    ratios: LikelihoodRatios | None = None
    combine: Combination | None = None
    partition_scores: Floats | None = None

    def __len__(self) -> int:
        """Number of events."""
        return len(self.score)

    def __repr__(self) -> str:
        """The variation, the number of events, and the processes."""
        return f"VariedEvents({self.name} {self.direction}: {len(self)} events of {', '.join(self.touched)})"

    def select(self, chosen: Booleans) -> "VariedEvents":
        """The events of a mask."""
        return _masked(self, chosen)


VariationPair = tuple[VariedEvents, ...]
"""Events under one variation: up and down, or under each member of a set."""

_Events = TypeVar("_Events", ScoredEvents, VariedEvents)


def _masked(events: _Events, mask: Booleans | Integers) -> _Events:
    names = ["score", "weight", "process", "fold", "features"]
    names += [] if events.identity is None else ["identity"]
    ratios = None if events.ratios is None else events.ratios.select(mask)
    of_partitions = None if events.partition_scores is None else events.partition_scores[:, mask]
    return replace(
        events, ratios=ratios, partition_scores=of_partitions, **{name: getattr(events, name)[mask] for name in names}
    )


def _selected(alternatives: VariationPair, chosen: Callable[[VariedEvents], Booleans]) -> VariationPair:
    """The chosen events under each alternative; for a set they are chosen once, since only weights differ."""
    if alternatives[0].combine is None:
        return tuple(each.select(chosen(each)) for each in alternatives)
    mask = chosen(alternatives[0])
    kept = alternatives[0].select(mask)
    return tuple(replace(kept, weight=each.weight[mask]) for each in alternatives)


def _outside(alternatives: VariationPair, fold: int, scale: float) -> VariationPair:
    """The events that are not in a fold, with their weights multiplied by `scale`."""
    kept = _selected(alternatives, lambda varied: np.asarray(varied.fold != fold))
    return tuple(replace(each, weight=each.weight * scale) for each in kept)


def _renumbered(alternatives: VariationPair, row: Integers) -> VariationPair:
    """The events with process index i replaced by row[i]; events whose new index is -1 are left out."""
    kept = _selected(alternatives, lambda varied: np.asarray(row[varied.process] >= 0))
    return tuple(replace(each, process=row[each.process]) for each in kept)


def _indices(process: npt.ArrayLike, processes: ProcessTable) -> Integers:
    indices = np.asarray(process)
    if indices.size == 0:
        return indices.astype(np.int64)
    if indices.dtype.kind not in "iu":
        message = f"Processes must be integer indices into the process names; found {indices.dtype} values."
        raise InputError(message)
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= len(processes):
        message = f"Process indices run from {low} to {high}, but there are {len(processes)} processes."
        raise InputError(message)
    return indices.astype(np.int64)


def _folds(fold: npt.ArrayLike, shape: tuple[int, ...], fold_count: int) -> npt.NDArray[np.integer]:
    folds = np.asarray(fold)
    if folds.shape != shape or (folds.size and folds.dtype.kind not in "iu"):
        message = f"Folds must be integers of shape {shape}; found {folds.dtype} of shape {folds.shape}."
        raise InputError(message)
    if folds.size and not (folds.min() >= 0 and folds.max() < fold_count):
        message = f"Folds run from {folds.min()} to {folds.max()}; they must be in [0, {fold_count})."
        raise InputError(message)
    return folds


def _identities(identity: npt.ArrayLike | None, size: int) -> Identities:
    if identity is None:
        return mix(np.arange(size, dtype=np.uint64))
    identities = np.asarray(identity)
    if identities.shape != (size,) or (size and identities.dtype.kind != "u"):
        message = (
            f"Identities must be unsigned integers of shape ({size},); found {identities.dtype} of shape "
            f"{identities.shape}."
        )
        raise InputError(message)
    return identities.astype(np.uint64)


def _require_finite(name: str, values: Floats, hint: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        message = f"The {name} of event {first} is {values[first]} ({(~finite).sum()} such events); {hint}."
        raise InputError(message)
