import pytest

from tests.learning.training.goals import APART, TOGETHER, judge
from zsig_hep.errors import TrainingError
from zsig_hep.learning import Goal
from zsig_hep.statistics import Objective, ProcessTable


def test_a_single_background_has_nothing_to_differ_from():
    one_signal = ProcessTable(("s", "dy", "top"), ("signal", "background", "background"))
    one_background = ProcessTable(("s", "t", "dy"), ("signal", "signal", "background"))
    assert APART.among(one_signal).tells_processes_apart
    assert not APART.among(one_background).tells_processes_apart
    two_signals = Goal(Objective(signals="mean"))
    assert two_signals.among(one_background).tells_processes_apart
    assert not two_signals.among(one_signal).tells_processes_apart


def test_a_goal_keeps_its_processes_and_changes_no_other():
    processes = ProcessTable(("s", "dy"), ("signal", "background"))
    assert TOGETHER.among(processes) == Goal(Objective(), judge, processes)
    assert TOGETHER.processes is None


def test_a_goal_without_judge_says_what_it_needs():
    assert APART.required_judge is judge
    with pytest.raises(TrainingError, match=r"needs a goal with a judge: zsig_hep\.selection\.training_goal"):
        _ = Goal(Objective()).required_judge
