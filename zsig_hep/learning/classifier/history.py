"""The history of a training: losses, rounds, stages of schedules and the feedback of Eve."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from zsig_hep.learning.optimisation.eve import Eve
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage
from zsig_hep.representation import ShortRepr

Floats = npt.NDArray[np.float64]

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A whole number that an int64 holds, not negative."""


@dataclass(frozen=True)
class EveRecord:
    """The feedback of the optimiser Eve at the end of an epoch, averaged over the members.

    Attributes:
        feedback: d, by which the step size was divided.
        floor_fraction: `Eve.floor_fraction`; if it is near one, f_star is too low and Eve is Adam with c times the step
            size.
    """

    feedback: float
    floor_fraction: float

    @classmethod
    def of(cls, optimizer: Eve) -> "EveRecord":
        """Read the feedback of an optimiser, which then checks the losses that it was given."""
        return cls(float(optimizer.feedback.mean()), float(optimizer.floor_fraction.mean()))


@dataclass(frozen=True, eq=False, repr=False)
class RoundRecord(ShortRepr):
    """Effective weights of one round, and its figure of merit on the validation folds; G folds, P processes.

    Attributes:
        number: from 1; 0 for the networks from which the first round starts.
        relative_eps: eps of the round's loss; None for a loss without eps.
        factors: effective weights of the round, shape (G, P); their yield-weighted mean is one in each class.
        figure: figure of merit, shape (G,); NaN where no threshold qualifies.
        signal_efficiency: at the working point, shape (G,).
    """

    number: int
    relative_eps: float | None
    factors: Floats
    figure: Floats
    signal_efficiency: Floats

    def change(self, before: "RoundRecord") -> float:
        """Largest |ln(c / c_before)| over folds and processes, which is zero at the fixed point."""
        return float(np.abs(np.log(self.factors) - np.log(before.factors)).max())

    def to_json(self) -> dict[str, object]:
        """Convert to lists and numbers; NaN becomes null."""
        return {
            "number": self.number,
            "relative_eps": self.relative_eps,
            "factors": self.factors.tolist(),
            "figure": [None if np.isnan(value) else value for value in self.figure.tolist()],
            "signal_efficiency": [None if np.isnan(value) else value for value in self.signal_efficiency.tolist()],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "RoundRecord":
        """Read the result of `to_json`.

        Raises:
            ValidationError: values of other types, or out of their range.
        """
        return StoredRound.model_validate_json(json.dumps(content)).record()


@dataclass(frozen=True, repr=False)
class TrainingHistory(ShortRepr):
    """Losses of E epochs and M members over all phases, and records of rounds and optimisers.

    Losses of different phases are different functions, which cannot be compared.

    Attributes:
        loss_name: label of the loss of the last phase.
        phase: label of each epoch's phase, length E.
        training_loss: mean over the epoch's batches, shape (E, M).
        validation_loss: on the validation fold after the epoch, shape (E, M).
        best_epoch: epoch whose parameters were kept, counted from 0 in the last phase over all its rounds, -1 for the
            start of the phase, shape (M,).
        member_fold: test fold of each member, shape (M,).
        member_seed: seed of each member, shape (M,).
        collapsed: whether the scores of a member are nearly equal for all events, shape (M,).
        rounds: records of the rounds, the first for the networks they start from; empty for a training without rounds.
        kept_round: number of the round whose networks were kept, for each test fold in ascending order.
        process_names: processes of the effective weights in `rounds`.
        graduated: stages of a graduated schedule, as measured at their ends.
        eve: feedback after each epoch with Eve.
        step: what an epoch is called: for boosted trees a round, which adds a tree to each forest; the last losses of a
            forest with fewer rounds than others are repeated.
    """

    loss_name: str
    phase: tuple[str, ...]
    training_loss: npt.NDArray[np.float64]
    validation_loss: npt.NDArray[np.float64]
    best_epoch: npt.NDArray[np.int64]
    member_fold: npt.NDArray[np.int64]
    member_seed: npt.NDArray[np.int64]
    collapsed: npt.NDArray[np.bool_]
    rounds: tuple[RoundRecord, ...] = ()
    kept_round: tuple[int, ...] = ()
    process_names: tuple[str, ...] = ()
    graduated: tuple[GraduatedStage, ...] = ()
    eve: tuple[EveRecord, ...] = ()
    step: Literal["epoch", "round"] = "epoch"

    @property
    def epochs(self) -> tuple[int, ...]:
        """Number of each epoch, from 1, over all phases."""
        return tuple(range(1, len(self.phase) + 1))

    def advice(self) -> str:
        """Advice on collapsed members or on rounds without a valid threshold; empty if there are none."""
        count = int(self.collapsed.sum())
        if not count and self.rounds and not any(np.isfinite(record.figure).any() for record in self.rounds):
            return (
                f"No threshold qualified in any round of the training with the {self.loss_name}, so that its networks "
                "are those of the warm start. Lower minimum_effective_background, or simulate more background."
            )
        if not count:
            return ""
        return (
            f"{count} of {len(self.collapsed)} networks trained with the {self.loss_name} collapsed: they give every "
            "event the same score, or are no better than a constant. Raise relative_eps, lengthen the warm start, "
            "lower the learning rate, or use the sigmoid error."
        )

    def to_json(self) -> dict[str, object]:
        """Convert to lists, numbers and strings."""
        return {
            "loss_name": self.loss_name,
            "phase": list(self.phase),
            "training_loss": self.training_loss.tolist(),
            "validation_loss": self.validation_loss.tolist(),
            "best_epoch": self.best_epoch.tolist(),
            "member_fold": self.member_fold.tolist(),
            "member_seed": self.member_seed.tolist(),
            "collapsed": self.collapsed.tolist(),
            "rounds": [record.to_json() for record in self.rounds],
            "kept_round": list(self.kept_round),
            "process_names": list(self.process_names),
            "graduated": [asdict(stage) for stage in self.graduated],
            "eve": [asdict(record) for record in self.eve],
            "step": self.step,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "TrainingHistory":
        """Read the result of `to_json`.

        Raises:
            ValidationError: values of other types, out of their range, or of lengths that disagree.
        """
        return StoredHistory.model_validate_json(json.dumps(content)).history()


class StoredContent(BaseModel):
    """Base of what a file of this package holds as JSON: no unknown keys, no values of other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StoredRound(StoredContent):
    """A `RoundRecord` in JSON."""

    number: Count
    relative_eps: Annotated[FiniteFloat, Field(gt=0)] | None
    factors: list[list[Annotated[FiniteFloat, Field(gt=0)]]]
    figure: list[float | None]
    signal_efficiency: list[float | None]

    @model_validator(mode="after")
    def _has_as_many_folds_everywhere(self) -> Self:
        folds, widths = len(self.factors), {len(row) for row in self.factors}
        if len(self.figure) != folds or len(self.signal_efficiency) != folds or len(widths) != 1:
            message = "the lengths of factors, figure and signal_efficiency disagree"
            raise ValueError(message)
        return self

    def record(self) -> RoundRecord:
        """Convert to arrays."""
        arrays = (np.array(each, dtype=np.float64) for each in (self.factors, self.figure, self.signal_efficiency))
        return RoundRecord(self.number, self.relative_eps, *arrays)


class StoredHistory(StoredContent):
    """A `TrainingHistory` in JSON."""

    loss_name: str
    phase: list[str]
    training_loss: list[list[FiniteFloat]]
    validation_loss: list[list[FiniteFloat]]
    best_epoch: list[Annotated[int, Field(ge=-1, lt=2**63)]]
    member_fold: Annotated[list[Count], Field(min_length=1)]
    member_seed: list[Count]
    collapsed: list[bool]
    rounds: list[StoredRound] = []
    kept_round: list[Count] = []
    process_names: list[str] = []
    graduated: list[GraduatedStage] = []
    eve: list[EveRecord] = []
    step: Literal["epoch", "round"] = "epoch"

    @model_validator(mode="after")
    def _is_of_these_members_and_epochs(self) -> Self:
        members, epochs = len(self.member_fold), len(self.phase)
        for name in ("best_epoch", "member_seed", "collapsed"):
            _require_length(name, getattr(self, name), members, "members")
        for name in ("training_loss", "validation_loss"):
            rows = getattr(self, name)
            _require_length(name, rows, epochs, "epochs")
            for row in rows:
                _require_length(f"a row of {name}", row, members, "members")
        if max(self.best_epoch) >= epochs:
            message = f"best_epoch {max(self.best_epoch)} of {epochs} epochs, which are counted from 0"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _has_every_fold_equally_often(self) -> Self:
        counts = Counter(self.member_fold)
        if sorted(counts) != list(range(len(counts))) or len(set(counts.values())) != 1:
            message = f"member_fold must have each fold from 0 on equally often, found {sorted(counts.items())[:8]}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _has_rounds_of_these_folds_and_processes(self) -> Self:
        shape = len(set(self.member_fold)), len(self.process_names)
        for each in self.rounds:
            found = len(each.factors), len(each.factors[0])
            if found != shape:
                message = f"factors of round {each.number} for {found} folds and processes, expected {shape}"
                raise ValueError(message)
        if self.kept_round:
            _require_length("kept_round", self.kept_round, shape[0], "folds")
        if not set(self.kept_round) <= {0, *(each.number for each in self.rounds)}:
            message = f"kept_round has {sorted(set(self.kept_round))}, not all of which are numbers of rounds"
            raise ValueError(message)
        if len(set(self.process_names)) != shape[1]:
            message = "process_names repeat a name"
            raise ValueError(message)
        return self

    def history(self) -> TrainingHistory:
        """Convert to arrays and tuples."""
        return TrainingHistory(
            loss_name=self.loss_name,
            phase=tuple(self.phase),
            training_loss=np.array(self.training_loss, dtype=np.float64),
            validation_loss=np.array(self.validation_loss, dtype=np.float64),
            best_epoch=np.array(self.best_epoch, dtype=np.int64),
            member_fold=np.array(self.member_fold, dtype=np.int64),
            member_seed=np.array(self.member_seed, dtype=np.int64),
            collapsed=np.array(self.collapsed, dtype=np.bool_),
            rounds=tuple(each.record() for each in self.rounds),
            kept_round=tuple(self.kept_round),
            process_names=tuple(self.process_names),
            graduated=tuple(self.graduated),
            eve=tuple(self.eve),
            step=self.step,
        )


def _require_length(name: str, values: Sequence[object], expected: int, of: str) -> None:
    if len(values) != expected:
        message = f"{name} has {len(values)} values for {expected} {of}"
        raise ValueError(message)
