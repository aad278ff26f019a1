"""The history of a training: losses, rounds, stages of schedules and the feedback of Eve."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.learning.optimisation.eve import Eve
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage
from zsig_hep.representation import ShortRepr

Floats = npt.NDArray[np.float64]


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
        """Read the result of `to_json`."""
        eps = content["relative_eps"]
        arrays = (np.array(content[key], dtype=np.float64) for key in ("factors", "figure", "signal_efficiency"))
        return cls(int(str(content["number"])), None if eps is None else float(str(eps)), *arrays)


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
        }

    @classmethod
    def from_json(cls, content: dict[str, object]) -> "TrainingHistory":
        """Read the result of `to_json`."""
        types = {"best_epoch": np.int64, "member_fold": np.int64, "member_seed": np.int64, "collapsed": np.bool_}
        arrays: dict[str, npt.NDArray[Any]] = {
            key: np.asarray(content[key], dtype=types.get(key, np.float64))
            for key in ("training_loss", "validation_loss", *types)
        }
        return cls(
            loss_name=str(content["loss_name"]),
            phase=tuple(str(label) for label in _list(content, "phase")),
            rounds=tuple(RoundRecord.from_json(record) for record in _list(content, "rounds")),
            kept_round=tuple(int(number) for number in _list(content, "kept_round")),
            process_names=tuple(str(name) for name in _list(content, "process_names")),
            graduated=tuple(GraduatedStage(**stage) for stage in _list(content, "graduated")),
            eve=tuple(EveRecord(**record) for record in _list(content, "eve")),
            **arrays,
        )


def _list(content: dict[str, object], key: str) -> list[Any]:
    value = content.get(key)
    return value if isinstance(value, list) else []
