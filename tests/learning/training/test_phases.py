import pytest

from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, Goal, TrainingSettings, ZLossSettings
from zsig_hep.learning.losses.base import GeometricPath
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings
from zsig_hep.learning.training.phases import depends_on_goal, plan_phases, schedule_advice
from zsig_hep.statistics import FigureOfMerit, Objective, ProcessTable


def judge(*arguments):
    raise NotImplementedError


APART = Goal(Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"dy": 0.1}), judge)
TOGETHER = Goal(Objective(), judge)


def settings(**content):
    return TrainingSettings.model_validate(content)


def outline(phases):
    return [(phase.label, phase.settings.epochs, phase.round) for phase in phases]


def test_without_phases_a_warm_start_and_the_loss():
    planned = plan_phases(settings(), ZLossSettings(), None)
    assert outline(planned) == [("warm start", 20, None), ("Z loss", 15, None)]
    assert isinstance(planned[0].loss, BCELossSettings)


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
    assert outline(planned) == [("warm start", 20, None), ("effective weights", 15, None)]
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


PHASES = [
    {"loss": {"name": "bce"}, "epochs": 5, "batch_size": 512, "learning_rate": 3e-3},
    {"loss": {"name": "z", "relative_eps": {"start": 0.5, "stop": 0.05}}, "epochs": 6},
    {"loss": {"name": "z", "relative_eps": 0.05}, "epochs": 2, "optimizer": {"name": "sgd", "momentum": 0.9}},
]


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
    assert outline(planned) == [("warm start", 20, None)]


def test_fewer_epochs_than_rounds_leave_rounds_out():
    loss = ZLossSettings(relative_eps="auto", path=(0.3, 0.1, 0.05))
    planned = plan_phases(settings(main={"epochs": 2}), loss, TOGETHER)
    assert [(phase.relative_eps, phase.settings.epochs) for phase in planned[1:]] == [(0.3, 1), (0.05, 1)]
    assert planned[-1].is_last_round


def test_a_single_background_has_nothing_to_differ_from():
    one_signal = ProcessTable(("s", "dy", "top"), ("signal", "background", "background"))
    one_background = ProcessTable(("s", "t", "dy"), ("signal", "signal", "background"))
    assert APART.among(one_signal).tells_processes_apart
    assert not APART.among(one_background).tells_processes_apart
    two_signals = Goal(Objective(signals="mean"))
    assert two_signals.among(one_background).tells_processes_apart
    assert not two_signals.among(one_signal).tells_processes_apart


def test_phases_that_end_with_the_baseline_are_refused():
    with pytest.raises(ValueError, match="names the training"):
        settings(phases=[PHASES[2], PHASES[0]])


def test_a_loss_beside_phases_is_refused():
    with pytest.raises(ValueError, match="that of the last of the `phases`"):
        settings(phases=PHASES, loss={"name": "z"})


def test_the_loss_that_suits_the_goal_is_chosen_where_none_is_named():
    assert settings().main_loss(APART) == EffectiveWeightsLossSettings()
    assert settings().main_loss(TOGETHER) == ZLossSettings(error="sigmoid")
    assert settings(loss={"name": "z"}).main_loss(APART) == ZLossSettings()


def test_the_baseline_is_the_weighted_cross_entropy_beside_any_other_loss():
    assert list(settings().losses(APART)) == ["effective_weights", "bce"]
    assert list(settings(loss={"name": "bce"}).losses()) == ["bce"]
    assert list(settings(baseline=False).losses()) == ["z"]
    unweighted = settings(loss={"name": "bce", "weighting": "events"}).losses()
    assert unweighted == {"bce": BCELossSettings(weighting="events"), "weighted_bce": BCELossSettings()}


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
