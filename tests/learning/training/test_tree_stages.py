import pytest

from tests.learning.training.goals import APART, TOGETHER, settings
from zsig_hep.errors import TrainingError
from zsig_hep.learning import Goal, TreeSettings
from zsig_hep.learning.training.tree_stages import plan_tree_stages
from zsig_hep.statistics import Objective

TREES = TreeSettings(rounds=100, significance_rounds=40)


def plan(loss, goal=None):
    return plan_tree_stages(TREES, settings(loss=loss).main_loss(), goal)


def shown(stages):
    return [(stage.label, stage.rounds, stage.starts_anew, stage.round) for stage in stages]


@pytest.mark.parametrize("weighting", ["cross_section", "events"])
def test_cross_entropy_is_one_stage(weighting):
    (stage,) = plan({"name": "bce", "weighting": weighting}, TOGETHER)
    assert (stage.rounds, stage.starts_anew, stage.round) == (100, True, None)
    assert stage.loss.weighting == weighting


def test_another_loss_continues_from_the_cross_entropy():
    stages = plan({"name": "z", "error": "sigmoid"})
    assert shown(stages) == [("weighted BCE", 100, True, None), ("Z loss", 40, False, None)]


def test_with_a_judge_both_are_judged():
    assert shown(plan({"name": "z"}, TOGETHER)) == [("weighted BCE", 100, True, 0), ("Z loss", 40, False, 1)]
    without = Goal(Objective())
    assert [stage.round for stage in plan({"name": "z"}, without)] == [None, None]


def test_each_eps_continues_from_the_one_before():
    stages = plan({"name": "z", "relative_eps": "auto", "path": [0.3, 0.1]}, TOGETHER)
    assert shown(stages)[1:] == [("Z loss", 20, False, 1), ("Z loss", 20, False, 2)]
    assert [stage.relative_eps for stage in stages] == [None, 0.3, 0.1]
    assert [stage.loss.relative_eps for stage in stages[1:]] == [0.3, 0.1]


def test_effective_weights_grow_new_trees_in_every_round():
    stages = plan({"name": "effective_weights", "rounds": 2, "damping": 0.1}, APART)
    assert shown(stages) == [
        ("weighted BCE", 100, True, 0),
        ("effective weights", 100, True, 1),
        ("effective weights", 100, True, 2),
    ]
    assert [(stage.reweights, stage.damping) for stage in stages] == [(False, 0.0), (True, 0.1), (True, 0.1)]


def test_effective_weights_that_are_equal_are_cross_entropy():
    from zsig_hep.statistics import ProcessTable

    goal = TOGETHER.among(ProcessTable.of(["h", "dy", "top"], ["signal", "background", "background"]))
    assert shown(plan({"name": "effective_weights"}, goal)) == [("effective weights", 100, True, None)]


@pytest.mark.parametrize("loss", [{"name": "z", "relative_eps": "auto"}, {"name": "effective_weights"}])
def test_rounds_need_a_judge(loss):
    with pytest.raises(TrainingError, match="is trained in rounds that are judged by a working point"):
        plan(loss)


def test_effective_weights_over_another_loss_are_refused():
    with pytest.raises(TrainingError, match="effective weights over the cross entropy only, found the base 'z'"):
        plan({"name": "effective_weights", "base": {"name": "z"}}, APART)


def test_a_loss_that_changes_is_known():
    (changing,) = plan({"name": "z", "relative_eps": {"start": 0.3, "stop": 0.1}})[1:]
    assert changing.changes
    assert not plan({"name": "z"})[1].changes
