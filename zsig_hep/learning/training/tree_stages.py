"""The stages of a training of boosted trees, each with one loss."""

from dataclasses import dataclass

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.cross_entropy import BCELossSettings
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.phases import require_judge
from zsig_hep.learning.training.settings import TreeSettings


@dataclass(frozen=True)
class TreeStage:
    """Rounds of boosting with one loss.

    Attributes:
        label: for legends.
        loss: that is minimised.
        rounds: number of trees at most.
        starts_anew: whether forests grow from nothing, rather than on those of the stage before.
        round: number under which a working point judges the forests at the end; None without a judgement.
        reweights: whether the stage has effective weights from the last judgement.
        damping: exponent of the old effective weights in their geometric mean with the new ones.
        relative_eps: eps of the stage for `relative_eps: auto`.
    """

    label: str
    loss: LossSettings
    rounds: int
    starts_anew: bool = False
    round: int | None = None
    reweights: bool = False
    damping: float = 0.0
    relative_eps: float | None = None

    @property
    def changes(self) -> bool:
        """Whether the loss changes over the stage, so that its values in two rounds cannot be compared."""
        return self.loss.at(0.0) != self.loss.at(1.0)


def plan_tree_stages(settings: TreeSettings, loss: LossSettings, goal: Goal | None) -> tuple[TreeStage, ...]:
    """Plan the stages of a training.

    Weighted cross entropy is one stage.  Another loss continues from its forests, with each eps of `relative_eps: auto`
    one after the other.  Effective weights grow new forests in every round.  Where there is a goal with a judge, the
    forests after each stage are judged, those of the cross entropy as round 0, and the best are kept.

    Args:
        settings: numbers of rounds.
        loss: the chosen one.
        goal: the objective of the selection.

    Returns:
        The stages, the first of which starts anew.

    Raises:
        TrainingError: a loss in rounds has no judge, or effective weights have another base than cross entropy.
    """
    is_judged = goal is not None and goal.judge is not None
    if isinstance(loss, BCELossSettings):
        return (TreeStage(loss.label, loss, settings.rounds, starts_anew=True),)
    if isinstance(loss, EffectiveWeightsLossSettings):
        return _effective_weights(settings, loss, goal)
    entropy = BCELossSettings()
    first = TreeStage(entropy.label, entropy, settings.rounds, starts_anew=True, round=0 if is_judged else None)
    if not loss.eps_path:
        return first, TreeStage(loss.label, loss, settings.significance_rounds, round=1 if is_judged else None)
    require_judge(loss, goal)
    share = max(1, settings.significance_rounds // len(loss.eps_path))
    further = [
        TreeStage(loss.label, loss.with_eps(eps), share, round=number, relative_eps=eps)
        for number, eps in enumerate(loss.eps_path, 1)
    ]
    return first, *further


def _effective_weights(
    settings: TreeSettings, loss: EffectiveWeightsLossSettings, goal: Goal | None
) -> tuple[TreeStage, ...]:
    require_judge(loss, goal)
    if not isinstance(loss.base, BCELossSettings):
        message = (
            f"Boosted trees take effective weights over the cross entropy only, found the base {loss.base.name!r}: use "
            "`loss: {name: effective_weights, base: {name: bce}}`."
        )
        raise TrainingError(message)
    if goal is not None and not goal.tells_processes_apart:
        return (TreeStage(loss.label, loss.base, settings.rounds, starts_anew=True),)
    rounds = [
        TreeStage(loss.label, loss.base, settings.rounds, True, number, reweights=True, damping=loss.damping)
        for number in range(1, loss.rounds + 1)
    ]
    return TreeStage(loss.base.label, loss.base, settings.rounds, starts_anew=True, round=0), *rounds
