"""Checks of a stored state of a training, before the training takes it up."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from zsig_hep.learning.classifier.history import Count, EveRecord, StoredContent, StoredRound
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage
from zsig_hep.learning.optimisation.optimizers import step_with_loss
from zsig_hep.learning.tensor_files import Outline, require_finite, require_outline
from zsig_hep.learning.training.phases import Phase

# State of optimisers that is never negative: numbers of steps, means of squares, and divisors.
_NOT_NEGATIVE = {"step", "exp_avg_sq", "feedback", "feedback_steps", "floor_steps"}


class _Progress(StoredContent):
    """The values of a state that are not tensors."""

    phase: Count
    epoch: Count
    stale_epochs: Count
    history_phase: Annotated[list[str], Field(min_length=1)]
    graduated: list[GraduatedStage]
    eve: list[EveRecord]
    records: list[StoredRound] = Field(alias="rounds.records")


@dataclass(frozen=True)
class StateOfTraining:
    """What decides whether a stored state is one of a training.

    Attributes:
        network: the stacked networks of M members.
        phases: of the training.
        folds: number of distinct test folds, G.
        processes: number of processes, P.
        weight_decay: of the optimisers.
    """

    network: StackedMLP
    phases: Sequence[Phase]
    folds: int
    processes: int
    weight_decay: float

    def require(self, state: Mapping[str, Any]) -> None:
        """Refuse a state that this training cannot have had; see `EnsembleTraining.state_dict`.

        Raises:
            ValueError: says which value differs and what would be valid.
        """
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        values = {name: value for name, value in state.items() if name not in tensors}
        progress = _Progress.model_validate_json(json.dumps(values))
        self._require_progress(progress)
        self._require_records(progress)
        optimizer = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
        others = {name: value for name, value in tensors.items() if name not in optimizer}
        require_outline(others, self._outline(progress))
        kept_figure = others.pop("rounds.kept_figure")
        _require(bool((kept_figure < torch.inf).all()), "rounds.kept_figure must be numbers or -infinity")
        require_finite(others)
        _require(bool((others["rounds.factors"] > 0).all()), "rounds.factors must be positive")
        self._require_epochs(others, progress)
        self._require_optimizer(optimizer, progress)

    def _require_progress(self, progress: _Progress) -> None:
        phase, count = progress.phase, len(self.phases)
        _require(phase <= count, f"phase {phase}, but the training has {count}")
        epochs = self.phases[phase].settings.epochs if phase < count else 1
        _require(progress.epoch < epochs, f"epoch {progress.epoch} of a phase of {epochs} epochs, counted from 0")
        total = len(progress.history_phase)
        before, done = total - progress.epoch, self.phases[:phase]
        most = sum(each.settings.epochs for each in done)
        _require(phase <= before <= most, f"{before} epochs in {phase} finished phases of {most} epochs at most")
        current = [self.phases[phase].label] * progress.epoch if phase < count else []
        labels = set(progress.history_phase[:before]) <= {each.label for each in done}
        _require(labels and progress.history_phase[before:] == current, "history_phase has labels of other phases")
        stale = progress.epoch if phase < count else total
        _require(progress.stale_epochs <= stale, f"stale_epochs is {progress.stale_epochs}, expected {stale} at most")
        _require(len(progress.eve) <= total, f"{len(progress.eve)} records of Eve for {total} epochs")

    def _require_records(self, progress: _Progress) -> None:
        ended = sum(each.round is not None for each in self.phases[: progress.phase])
        expected = ended + 1 if self._is_in_rounds(progress) else 0
        found = len(progress.records)
        _require(found == expected, f"rounds.records has {found} rounds, expected {expected}")
        for record in progress.records:
            shape = len(record.factors), len(record.factors[0])
            _require(
                shape == (self.folds, self.processes),
                f"a record of rounds for {shape} folds and processes, expected {(self.folds, self.processes)}",
            )

    def _is_in_rounds(self, progress: _Progress) -> bool:
        return any(each.round is not None for each in self.phases[: progress.phase + 1])

    def _outline(self, progress: _Progress) -> Outline:
        """Types and shapes of all tensors except those of the optimiser."""
        network = outline_of(self.network.state_dict())
        (members,) = {shape[0] for _, shape in network.values()}
        numbers, of_members, of_folds = torch.float64, (members,), (self.folds,)
        losses = len(progress.history_phase), members
        prefixes = ["network.", "best.", *(["rounds.kept."] if self._is_in_rounds(progress) else [])]
        return {prefix + name: kind for prefix in prefixes for name, kind in network.items()} | {
            "best_loss": (torch.float32, of_members),
            "best_epoch": (torch.int64, of_members),
            "final_epoch": (torch.int64, of_members),
            "training_losses": (numbers, losses),
            "validation_losses": (numbers, losses),
            "rounds.factors": (numbers, (self.folds, self.processes)),
            "rounds.kept_figure": (numbers, of_folds),
            "rounds.kept_round": (torch.int64, of_folds),
            "rounds.epoch": (torch.int64, of_members),
            "rounds.current_epoch": (torch.int64, of_members),
            "rounds.epochs_before": (torch.int64, ()),
        }

    def _require_epochs(self, tensors: Mapping[str, Tensor], progress: _Progress) -> None:
        total, finished = len(progress.history_phase), progress.phase == len(self.phases)
        rounds = max((each.round or 0 for each in self.phases), default=0)
        _require_between(
            tensors, "best_epoch", -1, (self.phases[-1].settings.epochs if finished else progress.epoch) - 1
        )
        for name in ("final_epoch", "rounds.epoch", "rounds.current_epoch"):
            _require_between(tensors, name, -1, total - 1)
        _require_between(tensors, "rounds.epochs_before", 0, total)
        _require_between(tensors, "rounds.kept_round", 0, rounds)

    def _require_optimizer(self, found: Mapping[str, Tensor], progress: _Progress) -> None:
        finished = progress.phase == len(self.phases)
        # A phase begins with a new optimiser, and a finished training needs none.
        if progress.epoch > 0 or (finished and found):
            phase = self.phases[-1] if finished else self.phases[progress.phase]
            expected = outline_of(_tensors_after_a_step(phase, self.network, self.weight_decay))
        else:
            expected = {}
        require_outline(found, expected)
        require_finite(found)
        for name, value in found.items():
            if name.rsplit(".", maxsplit=1)[-1] in _NOT_NEGATIVE:
                _require(bool((value >= 0).all()), f"tensor {name} has negative values")


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The tensors of an optimiser's state, named by the number of the parameter and the name of the state."""
    return {
        f"optimizer.{index}.{name}": value
        for index, held in optimizer.state_dict()["state"].items()
        for name, value in held.items()
        if isinstance(value, Tensor)
    }


def outline_of(tensors: Mapping[str, Tensor]) -> Outline:
    """Types and shapes of tensors."""
    return {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}


def _tensors_after_a_step(phase: Phase, network: StackedMLP, weight_decay: float) -> dict[str, Tensor]:
    """Optimisers make their state in the first step, which is made here on a copy of the networks."""
    copied = copy.deepcopy(network)
    settings = phase.settings
    optimizer = settings.optimizer.build(copied.parameter_groups(), settings.learning_rate, weight_decay)
    for parameter in copied.parameters():
        parameter.grad = torch.zeros_like(parameter)
    members = next(copied.parameters())
    # Eve refuses losses below its bound.
    loss = optimizer.defaults.get("bound", 0.0) + 1.0
    step_with_loss(optimizer, torch.full((len(members),), loss, device=members.device))
    return optimizer_tensors(optimizer)


def _require_between(tensors: Mapping[str, Tensor], name: str, lowest: int, highest: int) -> None:
    inside = (tensors[name] >= lowest) & (tensors[name] <= highest)
    _require(bool(inside.all()), f"tensor {name} has values that are not in {lowest}..{highest}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
