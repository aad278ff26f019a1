"""The best of the rounds of a training, fold by fold."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zsig_hep.errors import TrainingError
from zsig_hep.learning.batches import Member
from zsig_hep.learning.phases import Phase
from zsig_hep.learning.rounds import (
    Floats,
    Goal,
    Judge,
    Judgement,
    Outputs,
    RoundRecord,
    effective_weights,
    judge_folds,
)
from zsig_hep.learning.sample import TrainingSample


class BestRound:
    """Judges the networks after each round, sets the weights of the next, and keeps the best.

    The networks that the first round starts from are a candidate, so that no round can do harm but by a fluctuation
    of the validation events.  Networks of one fold are judged, and kept, together.

    Args:
        members: of the ensemble.
        sample: the events.
    """

    def __init__(self, members: Sequence[Member], sample: TrainingSample) -> None:
        self.members, self.sample = members, sample
        folds = sorted({member.fold for member in members})
        self.fold_of_member = np.array([folds.index(member.fold) for member in members])
        self.yields, self.signal = sample.yields, np.array(sample.signal_processes)
        self.factors = np.ones((len(folds), len(self.yields)))
        self.records: list[RoundRecord] = []
        self.kept_figure = np.full(len(folds), -np.inf)
        self.kept_round = np.zeros(len(folds), dtype=np.int64)
        self.kept: dict[str, Tensor] = {}
        self.kept_epoch = torch.full((len(members),), -1)
        self.current_epoch = self.kept_epoch
        self.epochs_before = 0

    def member_factors(self, phase: Phase) -> Floats:
        """Effective weights of the processes in a phase, shape (M, P)."""
        return self.factors[self.fold_of_member] if phase.reweights else np.ones((len(self.members), len(self.yields)))

    def begin(self, phase: Phase, goal: Goal, outputs: Outputs, network: nn.Module, epochs_before: int) -> None:
        """Before the first round: judge where it starts from, and take the weights from there."""
        if phase.round != 1:
            return
        self.epochs_before = epochs_before
        self.kept = {name: value.clone() for name, value in network.state_dict().items()}
        judgements = self._record(0, None, goal, outputs)
        self.kept_figure = np.array([_comparable(judgement) for judgement in judgements])
        self._reweight(phase, judgements)

    def end(
        self, phase: Phase, goal: Goal, outputs: Outputs, network: nn.Module, best_epoch: Tensor, first_epoch: int
    ) -> None:
        """Judge a round, keep its networks where they are the best so far, and set the weights of the next.

        Args:
            phase: the round.
            goal: what the selection is judged by.
            outputs: of each member for its validation events.
            network: with the parameters of each member's best epoch in the round.
            best_epoch: that epoch, counted in the round, shape (M,).
            first_epoch: the round's first epoch, counted over the whole training.
        """
        judgements = self._record(phase.round or 0, phase.relative_eps, goal, outputs)
        figures = np.array([_comparable(judgement) for judgement in judgements])
        better = figures > self.kept_figure
        self.kept_figure = np.where(better, figures, self.kept_figure)
        self.kept_round = np.where(better, phase.round or 0, self.kept_round)
        taken = torch.from_numpy(better[self.fold_of_member]).to(best_epoch.device)
        for name, value in network.state_dict().items():
            self.kept[name] = torch.where(taken.view(-1, 1, 1), value, self.kept[name])
        # A round that kept its start ends with the networks of the round before.
        in_rounds = best_epoch + (first_epoch - self.epochs_before)
        self.current_epoch = torch.where(best_epoch >= 0, in_rounds, self.current_epoch.to(best_epoch.device))
        self.kept_epoch = torch.where(taken, self.current_epoch, self.kept_epoch.to(best_epoch.device))
        self._reweight(phase, judgements)

    def take_up(self, network: nn.Module) -> Tensor:
        """Give the network the best round's parameters; return the epoch of each member over all rounds."""
        network.load_state_dict(self.kept)
        return self.kept_epoch

    def _record(self, number: int, relative_eps: float | None, goal: Goal, outputs: Outputs) -> tuple[Judgement, ...]:
        judgements = judge_folds(outputs, self.members, self.sample, _judge(goal))
        figures = np.array([judgement.figure for judgement in judgements])
        efficiencies = np.array([judgement.signal_efficiency for judgement in judgements])
        self.records.append(RoundRecord(number, relative_eps, self.factors.copy(), figures, efficiencies))
        return judgements

    def _reweight(self, phase: Phase, judgements: Sequence[Judgement]) -> None:
        if phase.reweights:
            rows = zip(judgements, self.factors, strict=True)
            updated = [effective_weights(each, row, self.yields, self.signal, phase.damping) for each, row in rows]
            self.factors = np.stack(updated)

    def tensors(self) -> dict[str, Tensor]:
        """The part of the state that a checkpoint holds as tensors."""
        parts = {f"kept.{name}": value for name, value in self.kept.items()}
        numbers = {"factors": self.factors, "kept_figure": self.kept_figure, "kept_round": self.kept_round}
        return (
            parts
            | {name: torch.from_numpy(value) for name, value in numbers.items()}
            | {
                "epoch": self.kept_epoch.clone(),
                "current_epoch": self.current_epoch.clone(),
                "epochs_before": torch.tensor(self.epochs_before),
            }
        )

    def description(self) -> list[dict[str, object]]:
        """The part of the state that a checkpoint holds as JSON."""
        return [record.to_json() for record in self.records]

    def restore(self, tensors: Mapping[str, Tensor], records: Sequence[Mapping[str, object]]) -> None:
        """Take up what `tensors` and `description` gave."""
        self.kept = {key.removeprefix("kept."): value for key, value in tensors.items() if key.startswith("kept.")}
        self.factors, self.kept_figure, self.kept_round = (
            tensors[name].cpu().numpy() for name in ("factors", "kept_figure", "kept_round")
        )
        self.kept_epoch, self.current_epoch = tensors["epoch"], tensors["current_epoch"]
        self.epochs_before = int(tensors["epochs_before"])
        self.records = [RoundRecord.from_json(record) for record in records]


def _comparable(judgement: Judgement) -> float:
    return judgement.figure if np.isfinite(judgement.figure) else -np.inf


def _judge(goal: Goal) -> Judge:
    if goal.judge is None:
        message = "A training in rounds needs a goal with a judge: zsig_hep.selection.training_goal(settings)."
        raise TrainingError(message)
    return goal.judge
