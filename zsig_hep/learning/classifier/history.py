"""What happened during a training."""

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
        floor_fraction: share of the phase's steps whose change of the loss was below the smallest that counts; near one,
            f_star is too low and Eve is Adam with c times the step size.
    """

    feedback: float
    floor_fraction: float

    @classmethod
    def of(cls, optimizer: Eve) -> "EveRecord":
        """Read it off the optimiser, which checks its losses on this occasion."""
        return cls(float(optimizer.feedback.mean()), float(optimizer.floor_fraction.mean()))


@dataclass(frozen=True, eq=False, repr=False)
class RoundRecord(ShortRepr):
    """What one round was trained with and what it reached on the validation folds; G folds, P processes.

    Attributes:
        number: 0 for the networks that the first round starts from.
        relative_eps: eps of the round's loss; None for a loss without.
        factors: effective weights of the round, shape (G, P); a yield-weighted mean of one in each class.
        figure: figure of merit, shape (G,); NaN where no threshold qualifies.
        signal_efficiency: at the working point, shape (G,).
    """

    number: int
    relative_eps: float | None
    factors: Floats
    figure: Floats
    signal_efficiency: Floats

    def change(self, before: "RoundRecord") -> float:
        """Largest |ln(c / c_before)| over folds and processes: how far the fixed point still is."""
        return float(np.abs(np.log(self.factors) - np.log(before.factors)).max())

    def to_json(self) -> dict[str, object]:
        """Render as plain lists and numbers; NaN becomes null."""
        return {
            "number": self.number,
            "relative_eps": self.relative_eps,
            "factors": self.factors.tolist(),
            "figure": [None if np.isnan(value) else value for value in self.figure.tolist()],
            "signal_efficiency": [None if np.isnan(value) else value for value in self.signal_efficiency.tolist()],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "RoundRecord":
        """Read what `to_json` rendered."""
        eps = content["relative_eps"]
        arrays = (np.array(content[key], dtype=np.float64) for key in ("factors", "figure", "signal_efficiency"))
        return cls(int(str(content["number"])), None if eps is None else float(str(eps)), *arrays)


@dataclass(frozen=True, repr=False)
class TrainingHistory(ShortRepr):
    """Losses per epoch and member, in one array over all phases.

    Losses of different phases are different functions; compare within a phase.  `best_epoch` counts in the last phase,
    over all its rounds; -1 stands for its starting point.

    Attributes:
        loss_name: label of the loss of the last phase.
        phase: label of each epoch's phase, length E.
        training_loss: mean over the epoch's batches, shape (E, M).
        validation_loss: on the validation fold after the epoch, shape (E, M).
        best_epoch: epoch of the last phase whose parameters were kept, shape (M,).
        member_fold: test fold per member, shape (M,).
        member_seed: seed per member, shape (M,).
        collapsed: whether the member ended with equal scores or at its loss's trivial value, shape (M,).
        rounds: what the rounds reached, the networks they start from first; empty for a training without rounds.
        kept_round: number of the round that each test fold kept, in ascending order of the folds.
        process_names: processes of the effective weights in `rounds`.
        graduated: stages of a graduated schedule with what was measured at their ends.
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
        """Say what to do about collapsed members; empty when there is none."""
        count = int(self.collapsed.sum())
        if not count and self.rounds and not any(np.isfinite(record.figure).any() for record in self.rounds):
            return (
                f"In no round of the training with the {self.loss_name} did a threshold qualify, so that its networks "
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
        """Render as plain lists and strings."""
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
            "graduated": [stage.to_json() for stage in self.graduated],
            "eve": [asdict(record) for record in self.eve],
        }

    @classmethod
    def from_json(cls, content: dict[str, object]) -> "TrainingHistory":
        """Read what `to_json` rendered."""
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
            graduated=tuple(GraduatedStage.from_json(stage) for stage in _list(content, "graduated")),
            eve=tuple(EveRecord(**record) for record in _list(content, "eve")),
            **arrays,
        )


def _list(content: dict[str, object], key: str) -> list[Any]:
    value = content.get(key)
    return value if isinstance(value, list) else []
