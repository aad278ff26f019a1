"""The phases of a training, each with one loss, and the rounds of some losses."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.optimisation.schedules import advice
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.settings import ClassifierKind, PhaseSettings, TrainingSettings


@dataclass(frozen=True)
class Phase:
    """A part of the training with one loss and one optimiser.

    Attributes:
        label: for legends; the same for all rounds of a loss.
        loss: the loss that is minimised.
        settings: epochs, batch size, step size, optimiser.
        round: number of the round, from 1; None outside of rounds.
        is_last_round: whether the networks of the best round are restored at its end.
        reweights: whether the round has effective weights from the working point.
        damping: exponent of the old effective weights in their geometric mean with the new ones.
        relative_eps: eps of the round for `relative_eps: auto`.
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
        """Whether the loss changes over the phase, so that its values at two epochs cannot be compared."""
        return self.loss.at(0.0) != self.loss.at(1.0)


def plan_phases(settings: TrainingSettings, loss: LossSettings, goal: Goal | None) -> tuple[Phase, ...]:
    """Plan the phases of a training.

    Without `settings.phases` these are the warm start with the weighted cross entropy, of the classes' ratio of the loss
    if that is one too, and the main phase.  Otherwise they are those of the settings; if `loss` is not the loss of the settings (the baseline), it replaces every loss
    except the weighted cross entropy.

    Args:
        settings: of the training.
        loss: of the main phase.
        goal: the objective of the selection.

    Returns:
        Phases with at least one epoch each.

    Raises:
        TrainingError: if no phase has an epoch, several are trained in rounds, or a loss needs a goal that is None.
    """
    wanted: list[tuple[LossSettings, PhaseSettings]]
    if settings.phases:
        own = loss == settings.main_loss(goal)
        wanted = [(each.loss if own or each.loss == BCELossSettings() else loss, each) for each in settings.phases]
    else:
        is_weighted = isinstance(loss, BCELossSettings) and loss.weighting == "cross_section"
        wanted = [(loss if is_weighted else BCELossSettings(), settings.warm_start), (loss, settings.main)]
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


def depends_on_goal(settings: TrainingSettings, loss: LossSettings, classifier: ClassifierKind = "network") -> bool:
    """Whether a training with this loss can depend on the objective of the selection.

    Boosted trees do with every loss but the cross entropy, as the better of the trees with either is kept.
    """
    if classifier == "boosted_trees":
        return loss.name != "bce"
    losses = [loss, *(phase.loss for phase in settings.phases)]
    return any(each.eps_path is not None or each.name not in {"z", "bce", "focal"} for each in losses)


def schedule_advice(settings: TrainingSettings) -> tuple[str, ...]:
    """Advice on the optimisers and schedules of all phases of networks; see `zsig_hep.learning.optimisation.schedules.advice`."""
    if "network" not in settings.classifiers:
        return ()
    phases = settings.phases or (settings.warm_start, settings.main)
    sentences = [sentence for phase in phases for sentence in advice(phase.optimizer, phase.schedule)]
    return tuple(dict.fromkeys(sentences))


def _phases_of(label: str, loss: LossSettings, phase: PhaseSettings, goal: Goal | None) -> Iterator[Phase]:
    if isinstance(loss, EffectiveWeightsLossSettings):
        require_judge(loss, goal)
        if goal is not None and not goal.tells_processes_apart:
            yield Phase(label, loss.base, phase)
            return
        yield Phase(loss.base.label, loss.base, phase)
        one = Phase(label, loss.base, phase, reweights=True, damping=loss.damping)
        yield from _rounds([one] * loss.rounds)
    elif loss.eps_path:
        require_judge(loss, goal)
        yield from _rounds([Phase(label, loss.with_eps(eps), phase, relative_eps=eps) for eps in loss.eps_path])
    else:
        yield Phase(label, loss, phase)


def _rounds(rounds: list[Phase]) -> Iterator[Phase]:
    """Divide the epochs of a phase among its rounds; with fewer epochs than rounds, rounds are omitted evenly."""
    epochs = rounds[0].settings.epochs
    count = min(len(rounds), epochs)
    for number in range(1, count + 1):
        chosen = rounds[(number - 1) * (len(rounds) - 1) // max(1, count - 1)]
        share = epochs * number // count - epochs * (number - 1) // count
        settings = chosen.settings.model_copy(update={"epochs": share})
        yield replace(chosen, settings=settings, round=number, is_last_round=number == count)


def require_judge(loss: LossSettings, goal: Goal | None) -> None:
    """Refuse a goal without a judge for a loss that is trained in rounds.

    Raises:
        TrainingError: says how to make one.
    """
    if goal is None or goal.judge is None:
        message = (
            f"The {loss.label} is trained in rounds that are judged by a working point: pass "
            "`goal=zsig_hep.selection.training_goal(working_point_settings)`."
        )
        raise TrainingError(message)
