"""The order of a training: phases, each with one loss, and the rounds that some losses are trained in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.optimisation.schedules import advice
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.settings import PhaseSettings, TrainingSettings


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own optimiser.

    Attributes:
        label: for legends; the rounds of a loss share theirs.
        loss: what is minimised.
        settings: epochs, batch size, step size, optimiser.
        round: number of the round from 1; None outside of rounds.
        is_last_round: whether the best round is taken up at its end.
        reweights: whether the round begins with effective weights from the working point.
        damping: share of the old effective weights in the new ones.
        relative_eps: value of the path of `relative_eps: auto` that the round takes.
    """

    label: str
    loss: LossSettings
    settings: PhaseSettings
    round: int | None = None
    is_last_round: bool = False
    reweights: bool = False
    damping: float = 0.0
    relative_eps: float | None = None

    @property
    def changes(self) -> bool:
        """Whether the loss changes over the phase; its values at two epochs are then values of two functions."""
        return self.loss.at(0.0) != self.loss.at(1.0)


def plan_phases(settings: TrainingSettings, loss: LossSettings, goal: Goal | None) -> tuple[Phase, ...]:
    """Lay out a training with a loss.

    With `settings.phases` empty: the warm start with the weighted cross entropy, then the main phase.  Otherwise the
    phases as they stand; where `loss` is not the loss of the settings (the baseline), it takes the place of every
    loss but the weighted cross entropy.

    Args:
        settings: of the training.
        loss: of the main phase.
        goal: what the selection is judged by.

    Returns:
        Phases with at least one epoch each.

    Raises:
        TrainingError: if there is nothing to train, or a loss needs a goal that is not given.
    """
    wanted: list[tuple[LossSettings, PhaseSettings]]
    if settings.phases:
        own = loss == settings.main_loss(goal)
        wanted = [(each.loss if own or each.loss == BCELossSettings() else loss, each) for each in settings.phases]
    else:
        wanted = [(BCELossSettings(), settings.warm_start), (loss, settings.main)]
    phases: list[Phase] = []
    for position, (each_loss, phase) in enumerate(wanted):
        label = "warm start" if not settings.phases and position == 0 else each_loss.label
        phases += _phases_of(label, each_loss, phase, goal)
    phases = [phase for phase in phases if phase.settings.epochs > 0]
    if sum(phase.round == 1 for phase in phases) > 1:
        message = "Only one of the `phases` may be trained in rounds (effective_weights, or `relative_eps: auto`)."
        raise TrainingError(message)
    if not phases:
        message = "Neither `warm_start` nor `main` has an epoch; there is nothing to train."
        raise TrainingError(message)
    return tuple(phases)


def depends_on_goal(settings: TrainingSettings, loss: LossSettings) -> bool:
    """Whether a training with this loss may depend on how the selection is judged."""
    losses = [loss, *(phase.loss for phase in settings.phases)]
    return any(each.eps_path is not None or each.name not in {"z", "bce", "focal"} for each in losses)


def schedule_advice(settings: TrainingSettings) -> tuple[str, ...]:
    """Say, once each, where an optimiser and a schedule of the settings do not go together."""
    phases = settings.phases or (settings.warm_start, settings.main)
    sentences = [sentence for phase in phases for sentence in advice(phase.optimizer, phase.schedule)]
    return tuple(dict.fromkeys(sentences))


def _phases_of(label: str, loss: LossSettings, phase: PhaseSettings, goal: Goal | None) -> Iterator[Phase]:
    if isinstance(loss, EffectiveWeightsLossSettings):
        _require_judge(loss, goal)
        if goal is not None and not goal.tells_processes_apart:
            yield Phase(label, loss.base, phase)
            return
        yield Phase(loss.base.label, loss.base, phase)
        one = Phase(label, loss.base, phase, reweights=True, damping=loss.damping)
        yield from _rounds([one] * loss.rounds)
    elif loss.eps_path:
        _require_judge(loss, goal)
        yield from _rounds([Phase(label, loss.with_eps(eps), phase, relative_eps=eps) for eps in loss.eps_path])
    else:
        yield Phase(label, loss, phase)


def _rounds(rounds: list[Phase]) -> Iterator[Phase]:
    """Share the epochs of a phase out over its rounds; where there are fewer epochs, rounds are left out evenly."""
    epochs = rounds[0].settings.epochs
    count = min(len(rounds), epochs)
    for number in range(1, count + 1):
        chosen = rounds[(number - 1) * (len(rounds) - 1) // max(1, count - 1)]
        share = epochs * number // count - epochs * (number - 1) // count
        settings = chosen.settings.model_copy(update={"epochs": share})
        yield replace(chosen, settings=settings, round=number, is_last_round=number == count)


def _require_judge(loss: LossSettings, goal: Goal | None) -> None:
    if goal is None or goal.judge is None:
        message = (
            f"The {loss.label} is trained in rounds that are judged by a working point: pass "
            "`goal=zsig_hep.selection.training_goal(working_point_settings)`."
        )
        raise TrainingError(message)
