import pytest

from tests.learning.training.goals import APART, PHASES, TOGETHER, settings
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, Goal, ZLossSettings
from zsig_hep.learning.losses.base import GeometricPath
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings
from zsig_hep.learning.training.phases import depends_on_goal, plan_phases, schedule_advice
from zsig_hep.statistics import Objective


def outline(phases):
    return [(phase.label, phase.settings.epochs, phase.round) for phase in phases]


def test_without_phases_a_warm_start_and_the_loss():
    planned = plan_phases(settings(), ZLossSettings(), None)
    assert outline(planned) == [("warm start", 15, None), ("Z loss", 15, None)]
    assert isinstance(planned[0].loss, BCELossSettings)


def test_the_warm_start_has_the_ratio_of_the_classes_of_a_weighted_cross_entropy():
    loss = BCELossSettings(background_to_signal=100)
    assert [phase.loss for phase in plan_phases(settings(), loss, TOGETHER)] == [loss, loss]
    for other in (BCELossSettings(weighting="events", background_to_signal=100), ZLossSettings()):
        assert [phase.loss for phase in plan_phases(settings(), other, TOGETHER)] == [BCELossSettings(), other]


def test_the_epochs_of_the_main_phase_are_shared_by_the_rounds():
    loss = EffectiveWeightsLossSettings(rounds=4, damping=0.25)
    planned = plan_phases(settings(), loss, APART)
    label = loss.label
    assert outline(planned)[1:] == [
        ("weighted BCE", 15, None),
        (label, 3, 1),
        (label, 4, 2),
        (label, 4, 3),
        (label, 4, 4),
    ]
    assert [phase.is_last_round for phase in planned] == [False] * 5 + [True]
    assert all(phase.reweights and phase.damping == 0.25 for phase in planned[2:])
    assert {phase.loss for phase in planned} == {BCELossSettings()}


def test_without_uncertainties_the_effective_weights_are_the_weighted_cross_entropy():
    planned = plan_phases(settings(), EffectiveWeightsLossSettings(), TOGETHER)
    assert outline(planned) == [("warm start", 15, None), ("effective weights", 15, None)]
    assert planned[1].loss == BCELossSettings()
    assert not planned[1].reweights


def test_an_automatic_eps_is_a_path_of_rounds():
    planned = plan_phases(settings(), ZLossSettings(relative_eps="auto", path=(0.3, 0.05)), TOGETHER)
    assert [phase.relative_eps for phase in planned[1:]] == [0.3, 0.05]
    assert [phase.round for phase in planned[1:]] == [1, 2]


@pytest.mark.parametrize("loss", [EffectiveWeightsLossSettings(), ZLossSettings(relative_eps="auto")])
@pytest.mark.parametrize("goal", [None, Goal(Objective(background_uncertainties={"dy": 0.1}))])
def test_rounds_need_a_judge(loss, goal):
    with pytest.raises(TrainingError, match="judged by a working point: pass `goal="):
        plan_phases(settings(), loss, goal)


def test_phases_of_the_analysis_file_are_taken_as_they_stand():
    chosen = settings(phases=PHASES)
    planned = plan_phases(chosen, chosen.main_loss(), None)
    assert outline(planned) == [("weighted BCE", 5, None), ("Z loss", 6, None), ("Z loss", 2, None)]
    assert [phase.changes for phase in planned] == [False, True, False]
    assert planned[1].loss.relative_eps == GeometricPath(start=0.5, stop=0.05)
    assert planned[2].settings.optimizer.momentum == 0.9


def test_the_baseline_runs_the_same_phases_with_the_cross_entropy():
    planned = plan_phases(settings(phases=PHASES), BCELossSettings(), None)
    assert [(phase.loss, phase.settings.epochs) for phase in planned] == [(BCELossSettings(), n) for n in (5, 6, 2)]


def test_another_cross_entropy_is_replaced_in_the_baseline():
    chosen = settings(phases=[{"loss": {"name": "bce", "weighting": "events"}}])
    (phase,) = plan_phases(chosen, BCELossSettings(), None)
    assert phase.loss == BCELossSettings()


def test_two_phases_with_rounds_are_refused():
    twice = settings(phases=[{"loss": {"name": "effective_weights"}}, {"loss": {"name": "z", "relative_eps": "auto"}}])
    with pytest.raises(TrainingError, match="Only one of the `phases`"):
        plan_phases(twice, twice.main_loss(), APART)


def test_rounds_without_epochs_are_none():
    planned = plan_phases(settings(main={"epochs": 0}), EffectiveWeightsLossSettings(), APART)
    assert outline(planned) == [("warm start", 15, None)]


def test_fewer_epochs_than_rounds_leave_rounds_out():
    loss = ZLossSettings(relative_eps="auto", path=(0.3, 0.1, 0.05))
    planned = plan_phases(settings(main={"epochs": 2}), loss, TOGETHER)
    assert [(phase.relative_eps, phase.settings.epochs) for phase in planned[1:]] == [(0.3, 1), (0.05, 1)]
    assert planned[-1].is_last_round


def test_only_losses_that_see_the_goal_depend_on_it():
    assert not depends_on_goal(settings(), ZLossSettings())
    assert not depends_on_goal(settings(), BCELossSettings())
    assert depends_on_goal(settings(), ZLossSettings(relative_eps="auto"))
    assert depends_on_goal(settings(), EffectiveWeightsLossSettings())
    assert depends_on_goal(settings(phases=[{"loss": {"name": "soft_significance"}}]), BCELossSettings())


def test_eve_beside_growing_batches_and_delta_without_theory_are_said_once():
    graduated = {"epochs": 5, "batch_size": 64, "learning_rate": 0.1, "schedule": {"kind": "graduated"}}
    assert schedule_advice(settings()) == ()
    assert schedule_advice(settings(main=graduated | {"optimizer": {"name": "sgd", "momentum": 0.0}})) == ()
    phases = {
        "warm_start": graduated | {"optimizer": {"name": "eve"}},
        "main": graduated | {"optimizer": {"name": "eve"}},
    }
    undone, no_theory = schedule_advice(settings(**phases))
    assert "Eve undoes the growth of batches" in undone
    assert "there is no theory" in no_theory


def test_boosted_trees_need_no_advice_on_optimisers():
    content = {"main": {"optimizer": {"name": "eve"}, "schedule": {"kind": "graduated"}}}
    assert schedule_advice(settings(**content))
    assert schedule_advice(settings(**content, classifier="boosted_trees")) == ()
    assert schedule_advice(settings(**content, classifier=["boosted_trees", "network"]))


def test_boosted_trees_depend_on_the_goal_with_every_loss_but_cross_entropy():
    assert depends_on_goal(settings(), ZLossSettings(), "boosted_trees")
    assert not depends_on_goal(settings(), BCELossSettings(), "boosted_trees")
