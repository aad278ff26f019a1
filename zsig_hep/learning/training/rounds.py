"""Rounds of a training: working points, effective weights of the processes, and the best round.

A figure of merit F(s_1..s_H, b_1..b_P) of the yields above a cut is largest for a cut on the likelihood ratio of the
signals and a mixture of the backgrounds in which process p has the *effective weight*

    c_p = |dF/dy_p|                                                                                    (1)

at the cut: a shift of the boundary of the selected region changes F by sum_p (dF/dy_p) dy_p.  Cross entropy with
weights that include c_p has this ratio as its minimiser.  As c_p and the cut depend on each other, the training has
rounds: train, find the working point, compute c_p, continue the training.  If F depends on the sum of the backgrounds
only, as s / sqrt(b) does, all c_p are equal, and the result is weighted cross entropy.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep.learning.classifier.calibration import signal_quantiles, signal_share_below
from zsig_hep.learning.classifier.history import RoundRecord
from zsig_hep.learning.training.goal import Floats, Goal, Judge, Judgement
from zsig_hep.learning.training.members import Member
from zsig_hep.learning.training.phases import Phase
from zsig_hep.learning.training.sample import TrainingSample

Outputs = Sequence[npt.NDArray[np.float32]]
"""Logits of each member for its validation events, in their order."""


def effective_weights(
    judgement: Judgement, previous: Floats, yields: Floats, signal: npt.NDArray[np.bool_], damping: float
) -> Floats:
    """Equation 1, normalised to a yield-weighted mean of one over the signals and over the backgrounds.

    Args:
        judgement: of the last round.
        previous: weights of the last round, shape (P,), which are returned if no threshold qualified.
        yields: of each process before the cut, shape (P,).
        signal: whether each process is signal, shape (P,).
        damping: exponent of the old weights in their geometric mean with the new ones, in [0, 1).

    Returns:
        Weights > 0, shape (P,).
    """
    target = np.where(signal, 1, -1) * judgement.slopes
    if not np.isfinite(judgement.figure) or not (np.isfinite(target) & (target > 0)).all():
        return previous
    weights = np.exp((1 - damping) * np.log(target) + damping * np.log(previous))
    for role in (True, False):
        mine = signal == role
        weights[mine] *= yields[mine].sum() / (weights[mine] * yields[mine]).sum()
    return weights


def judge_folds(
    outputs: Outputs, members: Sequence[Member], sample: TrainingSample, judge: Judge
) -> tuple[Judgement, ...]:
    """Find the working point of the networks of each test fold on the events of the other folds.

    Each event is scored by networks that have it in their validation fold: by those of the test fold if possible, else
    by those of another fold.  The scores of the networks of a fold are averaged after calibration, as in `Classifier`.
    The yields are those of the whole sample.

    The events of the test fold are not used here, but the networks of other folds were trained on them, as is the case
    when the cut of a fold is chosen on the other folds.

    Args:
        outputs: of each member for its validation events, in their order.
        members: of the ensemble.
        sample: the events.
        judge: finds working points.

    Returns:
        One judgement per distinct test fold, in ascending order.
    """
    folds = sorted({member.fold for member in members})
    scored = {fold: _fold_scores(outputs, members, sample, fold) for fold in folds}
    return tuple(_judge_fold(fold, scored, _known_events(members, sample, fold), sample, judge) for fold in folds)


def _known_events(members: Sequence[Member], sample: TrainingSample, fold: int) -> npt.NDArray[np.bool_]:
    """Mask of the training and validation events of the networks of a fold, shape (N,)."""
    known = np.zeros(len(sample.weights), dtype=np.bool_)
    for member in members:
        if member.fold == fold:
            known[member.training] = known[member.validation] = True
    return known


def _fold_scores(
    outputs: Outputs, members: Sequence[Member], sample: TrainingSample, fold: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Indices of the validation events of the networks of a fold, and their mean score."""
    mine = [index for index, member in enumerate(members) if member.fold == fold]
    events = members[mine[0]].validation
    signal = sample.is_signal[events]
    weights = sample.weights[events]
    shares = [
        signal_share_below(outputs[index][None], signal_quantiles(outputs[index][signal], weights[signal])[None])[0]
        for index in mine
    ]
    return events, np.mean(shares, axis=0)


def _judge_fold(
    fold: int,
    scored: Mapping[int, tuple[npt.NDArray[np.int64], Floats]],
    free: npt.NDArray[np.bool_],
    sample: TrainingSample,
    judge: Judge,
) -> Judgement:
    events, scores = [], []
    for other in sorted(scored, key=lambda key: key != fold):
        candidates, values = scored[other]
        taken = free[candidates]
        events.append(candidates[taken])
        scores.append(values[taken])
        free[candidates[taken]] = False
    chosen = np.concatenate(events)
    # Scaled by the numbers of events, since the ratio of yields depends on the weights of the test fold.
    whole = len(sample.weights) / len(chosen)
    return judge(
        np.concatenate(scores),
        sample.weights[chosen] * whole,
        sample.process[chosen],
        sample.processes,
    )


class BestRound:
    """Finds the working point after each round, sets the weights of the next, and keeps the networks of the best.

    The networks before the first round can be the best, so that rounds make the result worse by statistical
    fluctuations of the validation events only.  The networks of one fold are judged, and kept, together.

    Args:
        members: of the ensemble.
        sample: the events.
    """

    def __init__(self, members: Sequence[Member], sample: TrainingSample) -> None:
        self.members, self.sample = members, sample
        folds = sorted({member.fold for member in members})
        self.fold_of_member = np.array([folds.index(member.fold) for member in members])
        self.yields, self.signal = sample.yields, sample.processes.is_signal
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
        """Before the first round, judge the initial networks and set the weights; nothing before other rounds."""
        if phase.round != 1:
            return
        self.epochs_before = epochs_before
        self.kept = {name: value.clone() for name, value in network.state_dict().items()}
        judgements = self._record(0, None, goal, outputs)
        self.kept_figure = np.array([comparable_figure(judgement) for judgement in judgements])
        self._reweight(phase, judgements)

    def end(
        self, phase: Phase, goal: Goal, outputs: Outputs, network: nn.Module, best_epoch: Tensor, first_epoch: int
    ) -> None:
        """Judge a round, keep its networks if they are the best so far, and set the weights of the next.

        Args:
            phase: the round.
            goal: with a judge.
            outputs: of each member for its validation events.
            network: with the parameters of each member's best epoch in the round.
            best_epoch: that epoch, counted in the round, shape (M,).
            first_epoch: the round's first epoch, counted over the whole training.
        """
        judgements = self._record(phase.round or 0, phase.relative_eps, goal, outputs)
        figures = np.array([comparable_figure(judgement) for judgement in judgements])
        better = figures > self.kept_figure
        self.kept_figure = np.where(better, figures, self.kept_figure)
        self.kept_round = np.where(better, phase.round or 0, self.kept_round)
        taken = torch.from_numpy(better[self.fold_of_member]).to(best_epoch.device)
        for name, value in network.state_dict().items():
            self.kept[name] = torch.where(taken.view(-1, 1, 1), value, self.kept[name])
        # -1: the round ends with its initial networks, those of an earlier epoch.
        in_rounds = best_epoch + (first_epoch - self.epochs_before)
        self.current_epoch = torch.where(best_epoch >= 0, in_rounds, self.current_epoch.to(best_epoch.device))
        self.kept_epoch = torch.where(taken, self.current_epoch, self.kept_epoch.to(best_epoch.device))
        self._reweight(phase, judgements)

    def take_up(self, network: nn.Module) -> Tensor:
        """Restore the parameters of the best round; return the epoch of each member over all rounds."""
        network.load_state_dict(self.kept)
        return self.kept_epoch

    def _record(self, number: int, relative_eps: float | None, goal: Goal, outputs: Outputs) -> tuple[Judgement, ...]:
        judgements = judge_folds(outputs, self.members, self.sample, goal.required_judge)
        figures = np.array([judgement.figure for judgement in judgements])
        efficiencies = np.array([judgement.signal_efficiency for judgement in judgements])
        self.records.append(RoundRecord(number, relative_eps, self.factors.copy(), figures, efficiencies))
        return judgements

    def _reweight(self, phase: Phase, judgements: Sequence[Judgement]) -> None:
        if phase.reweights:
            rows = zip(judgements, self.factors, strict=True)
            updated = [effective_weights(each, row, self.yields, self.signal, phase.damping) for each, row in rows]
            self.factors = np.stack(updated)

    def state_dict(self) -> dict[str, Any]:
        """The state by name: tensors, and records of types that JSON has."""
        numbers = {"factors": self.factors, "kept_figure": self.kept_figure, "kept_round": self.kept_round}
        return (
            {f"kept.{name}": value for name, value in self.kept.items()}
            | {name: torch.from_numpy(value) for name, value in numbers.items()}
            | {
                "epoch": self.kept_epoch.clone(),
                "current_epoch": self.current_epoch.clone(),
                "epochs_before": torch.tensor(self.epochs_before),
                "records": [record.to_json() for record in self.records],
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the state to a result of `state_dict`."""
        self.kept = {key.removeprefix("kept."): value for key, value in state.items() if key.startswith("kept.")}
        self.factors, self.kept_figure, self.kept_round = (
            state[name].cpu().numpy() for name in ("factors", "kept_figure", "kept_round")
        )
        self.kept_epoch, self.current_epoch = state["epoch"], state["current_epoch"]
        self.epochs_before = int(state["epochs_before"])
        self.records = [RoundRecord.from_json(record) for record in state["records"]]


def comparable_figure(judgement: Judgement) -> float:
    """The figure of merit; minus infinity where no threshold qualifies."""
    return judgement.figure if np.isfinite(judgement.figure) else -np.inf
