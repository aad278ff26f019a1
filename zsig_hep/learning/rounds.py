"""Rounds of a training: what a selection is judged by, the weights that this gives the processes, and the best round.

A figure of merit F(s_1..s_H, b_1..b_P) of the yields that pass a cut is largest for a cut on the likelihood ratio of
the signals against a mixture of the backgrounds in which process p counts with its *effective weight*

    c_p = |dF/dy_p|,                                                                                   (1)

taken at that very cut: moving the border of the selected region changes F by sum_p (dF/dy_p) dy_p.  Weighted cross
entropy with c_p in its weights learns this ratio.  c_p and the cut depend on each other, hence the rounds: train, find
the working point, take c_p from it, train on from there.  Where F depends on the summed background only, as s / sqrt(b)
does, every c_p is the same and the recipe is weighted cross entropy itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsig_hep.learning.batches import Member
from zsig_hep.learning.calibration import signal_quantiles, signal_share_below
from zsig_hep.learning.sample import TrainingSample
from zsig_hep.statistics.significance import DEFAULT_PARAMETERS, FigureOfMerit, FigureParameters

Floats = npt.NDArray[np.float64]

Outputs = Sequence[npt.NDArray[np.float32]]
"""Logits of each member for its validation events, in their order."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """How good a score is at its working point.

    Attributes:
        figure: figure of merit there; NaN where no threshold qualifies.
        slopes: dF/dy_p there for every process, per event of yield, shape (P,).
        signal_efficiency: of the working point; NaN where there is none.
    """

    figure: float
    slopes: Floats
    signal_efficiency: float


class Judge(Protocol):
    """Finds the working point of a score and judges it."""

    def __call__(
        self,
        score: Floats,
        weight: Floats,
        process: npt.NDArray[np.int64],
        process_names: Sequence[str],
        signal: Sequence[bool],
    ) -> Judgement:
        """Judge the scores of events with yields `weight`; `signal` tells the role of each process."""


@dataclass(frozen=True)
class Goal:
    """What the selection will be used for.

    Attributes:
        figure: figure of merit, differentiable.
        background_uncertainties: relative systematic uncertainty by background process.
        relative_background_uncertainty: systematic uncertainty that moves all backgrounds together.
        judge: finds working points; a training with rounds needs it.  Its repr tells goals apart when a training is
            resumed.
        tells_backgrounds_apart: whether the figure of merit treats events of two backgrounds differently.
        tells_signals_apart: whether it treats events of two signals differently.
        figure_parameters: numbers in the definition of the figure.
    """

    figure: FigureOfMerit
    background_uncertainties: Mapping[str, float] = field(default_factory=dict)
    relative_background_uncertainty: float = 0.0
    judge: Judge | None = None
    tells_backgrounds_apart: bool = False
    tells_signals_apart: bool = False
    figure_parameters: FigureParameters = DEFAULT_PARAMETERS

    @property
    def tells_processes_apart(self) -> bool:
        """Whether processes of one role differ for the figure of merit, which is where effective weights differ."""
        return self.tells_backgrounds_apart or self.tells_signals_apart

    def among(self, signal: Sequence[bool]) -> "Goal":
        """The same goal among some processes: a single background, or a single signal, has nothing to differ from."""
        signals = sum(signal)
        return replace(
            self,
            tells_backgrounds_apart=self.tells_backgrounds_apart and len(signal) - signals > 1,
            tells_signals_apart=self.tells_signals_apart and signals > 1,
        )


@dataclass(frozen=True, eq=False)
class RoundRecord:
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


def effective_weights(
    judgement: Judgement, previous: Floats, yields: Floats, signal: npt.NDArray[np.bool_], damping: float
) -> Floats:
    """Equation 1, normalised to a yield-weighted mean of one among the signals and among the backgrounds.

    Args:
        judgement: of the last round.
        previous: weights of the last round, shape (P,); kept where no threshold qualified.
        yields: of each process before the cut, shape (P,).
        signal: whether each process is signal, shape (P,).
        damping: share of the old weights in the geometric mean with the new ones, in [0, 1).

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
    """Judge the networks of each test fold on events that do not test them, scored by networks that did not train on them.

    These are the events that the fold's networks validate or train on, each scored once: by the fold's own networks
    where they validate on it, else by those of another fold that do.  Networks of one fold are averaged on the scale
    of the signal share, as when events are scored.  The yields are those of the whole sample.

    The events of the test fold take no part; but the other folds' networks have been trained on them, as they have where
    the cut of a fold is chosen on the other folds.

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
    """Events that the networks of a fold train or validate on, shape (N,)."""
    known = np.zeros(len(sample.weights), dtype=np.bool_)
    for member in members:
        if member.fold == fold:
            known[member.training] = known[member.validation] = True
    return known


def _fold_scores(
    outputs: Outputs, members: Sequence[Member], sample: TrainingSample, fold: int
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Validation events of a fold's networks and their mean score."""
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
    # The number of events, unlike the ratio of yields, knows nothing of the test fold's weights.
    whole = len(sample.weights) / len(chosen)
    return judge(
        np.concatenate(scores),
        sample.weights[chosen] * whole,
        sample.process[chosen],
        sample.process_names,
        sample.signal_processes,
    )
