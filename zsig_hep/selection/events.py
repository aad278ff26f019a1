"""Scored events: the one argument of everything that selects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import Direction, VariationKind
from zsig_hep.statistics.process_table import ProcessTable, Role
from zsig_hep.statistics.yields import Yield, weighted_yield

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredEvents:
    """N events of all processes with a classifier's output for each, nominally and under systematic variations.

    Attributes:
        score: finite output that no network which saw the event took part in, larger for signal, shape [N].
        weight: signed weight, in events at the luminosity, shape [N].
        process: index into `processes`, shape [N].
        fold: in [0, fold_count), equal shares by a hash of the event identity, shape [N].
        processes: names and roles.
        fold_count: number of folds.
        features: of the events, shape [N, F]; for what is binned by a feature.
        feature_names: F names.
        variations: events of the processes that each variation touches, up and down.

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
    ) -> Self:
        """Scored events of arrays, for scores of any classifier.

        Args:
            score: classifier output, shape [N].
            weight: event weights, shape [N].
            process: index into `names`, shape [N].
            names: of the processes.
            roles: of the processes: "signal", "background" or "data".
            fold: of each event; where it is left out, event i is in fold i modulo `fold_count`.
            fold_count: number of folds.

        Returns:
            The events in float64 and int64.

        Raises:
            InputError: a shape, a value, an index, a fold or a role is wrong.
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
        _require_finite("score", scores, "a classifier that trained badly or a feature that is NaN gives this")
        _require_finite("weight", weights, "look at the weight branch of the ntuple")
        folds = np.arange(scores.size) % max(fold_count, 1) if fold is None else _folds(fold, scores.shape, fold_count)
        features = np.empty((scores.size, 0), dtype=np.float32)
        return cls(scores, weights, indices, folds.astype(np.int64), processes, fold_count, features)

    @classmethod
    def of_table(cls, table: EventTable, score: npt.ArrayLike, variations: Sequence["VariationPair"] = ()) -> Self:
        """The events of a table with their out-of-fold scores.

        Args:
            table: with signed weights, processes and folds.
            score: finite, shape [N].
            variations: of `varied_events`, with the scores of the same classifier.

        Raises:
            InputError: the scores do not fit the table, or one is not finite.
        """
        events = cls.from_arrays(
            score, table.weight, table.process, names=table.process_names, roles=table.roles,
            fold=table.fold, fold_count=table.fold_count,
        )  # fmt: skip
        return replace(events, features=table.features, feature_names=table.feature_names, variations=tuple(variations))

    def __len__(self) -> int:
        """Number of events."""
        return len(self.score)

    def __repr__(self) -> str:
        """Without the arrays."""
        return (
            f"{type(self).__name__}({len(self)} events of {', '.join(self.processes.names)}; {self.fold_count} folds)"
        )

    @property
    def is_data(self) -> Booleans:
        """Which events are recorded, shape [N]."""
        return self.processes.is_data[self.process]

    @property
    def simulated(self) -> "ScoredEvents":
        """The events without data, their processes renumbered."""
        if not self.processes.is_data.any():
            return self
        kept = self.select(~self.is_data)
        row = self.processes.simulated_row
        return replace(
            kept,
            process=row[kept.process],
            processes=self.processes.simulated,
            variations=tuple(_each(pair, lambda varied: varied.renumbered(row)) for pair in self.variations),
        )

    def select(self, chosen: Booleans) -> "ScoredEvents":
        """Some of the nominal events; the varied ones stay."""
        return replace(
            self,
            score=self.score[chosen],
            weight=self.weight[chosen],
            process=self.process[chosen],
            fold=self.fold[chosen],
            features=self.features[chosen],
        )

    def outside(self, fold: int) -> "ScoredEvents":
        """The events of all other folds, nominal and varied, their weights scaled up to the whole luminosity.

        The factor fold_count / (fold_count - 1), unlike the ratio of yields, knows nothing of the events left out.
        """
        scale = self.fold_count / (self.fold_count - 1)
        kept = self.select(self.fold != fold)
        return replace(
            kept,
            weight=kept.weight * scale,
            variations=tuple(_each(pair, lambda varied: varied.outside(fold, scale)) for pair in self.variations),
        )

    def yields(self, selected: Booleans | None = None) -> dict[str, Yield]:
        """Yield of each process that is not data, of all or of the selected events."""
        kept = self if selected is None else self.select(selected)
        return {
            name: weighted_yield(kept.weight[kept.process == row])
            for row, (name, role) in enumerate(zip(self.processes.names, self.processes.roles, strict=True))
            if role != "data"
        }


@dataclass(frozen=True, eq=False)
class VariedEvents:
    """Events of one direction of one variation, of the processes that it touches; all other processes stay nominal.

    Attributes:
        name: of the variation; processes that share it move together.
        kind: what varies.
        direction: "up" or "down".
        touched: names of the processes it touches.
        score: shape [M].
        weight: yield at the luminosity, varied, shape [M].
        process: index into the processes of the nominal events, shape [M].
        fold: shape [M].
        features: columns as of the nominal events, shape [M, F].
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

    def __len__(self) -> int:
        """Number of events."""
        return len(self.score)

    def __repr__(self) -> str:
        """Without the arrays."""
        return f"VariedEvents({self.name} {self.direction}: {len(self)} events of {', '.join(self.touched)})"

    def select(self, chosen: Booleans) -> "VariedEvents":
        """Some of the events."""
        return replace(
            self,
            score=self.score[chosen],
            weight=self.weight[chosen],
            process=self.process[chosen],
            fold=self.fold[chosen],
            features=self.features[chosen],
        )

    def outside(self, fold: int, scale: float) -> "VariedEvents":
        """The events that are not in a fold, with their weights times `scale`."""
        kept = self.select(self.fold != fold)
        return replace(kept, weight=kept.weight * scale)

    def renumbered(self, row: Integers) -> "VariedEvents":
        """With other indices of the processes, by the present ones; those of -1 are left out."""
        kept = self.select(row[self.process] >= 0)
        return replace(kept, process=row[kept.process])


VariationPair = tuple[VariedEvents, VariedEvents]
"""Up and down."""


def _each(pair: VariationPair, change: Callable[[VariedEvents], VariedEvents]) -> VariationPair:
    return change(pair[0]), change(pair[1])


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


def _require_finite(name: str, values: Floats, hint: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        message = f"The {name} of event {first} is {values[first]} ({(~finite).sum()} such events); {hint}."
        raise InputError(message)
