import numpy as np
import pytest

from tests.learning.toy import make_table
from zsig_hep.learning import TrainingSettings, make_sample
from zsig_hep.learning.training.goal import Judgement
from zsig_hep.learning.training.members import Member, make_members
from zsig_hep.learning.training.rounds import effective_weights, judge_folds

YIELDS = np.array([50.0, 1000.0, 300.0])
SIGNAL = np.array([True, False, False])


def judgement(slopes, figure=2.0):
    return Judgement(figure, np.array(slopes), 0.3)


def test_effective_weights_are_the_slopes_with_a_mean_of_one_in_each_class():
    weights = effective_weights(judgement([0.2, -0.01, -0.04]), np.ones(3), YIELDS, SIGNAL, damping=0.0)
    assert weights[2] / weights[1] == pytest.approx(4.0)
    assert (weights[1:] * YIELDS[1:]).sum() == pytest.approx(1300.0)
    assert weights[0] == pytest.approx(1.0)


def test_damping_takes_the_geometric_mean_with_the_old_weights():
    old = np.array([1.0, 1.0, 9.0])
    weights = effective_weights(judgement([0.2, -0.01, -0.04]), old, YIELDS, SIGNAL, damping=0.5)
    assert weights[2] / weights[1] == pytest.approx(6.0)


@pytest.mark.parametrize(
    "bad", [judgement([0.2, -0.01, -0.04], np.nan), judgement([np.nan] * 3), judgement([1, 0, -1])]
)
def test_without_a_working_point_the_weights_stay(bad):
    old = np.array([1.0, 0.5, 2.0])
    assert np.array_equal(effective_weights(bad, old, YIELDS, SIGNAL, damping=0.0), old)


class Recorder:
    """Keeps what it was asked to judge."""

    def __init__(self):
        self.calls = []

    def __call__(self, score, weight, process, processes):
        self.calls.append((score, weight, process))
        return Judgement(float(len(self.calls)), np.ones(len(processes)), 0.5)


@pytest.fixture(name="sample")
def make_toy_sample():
    return make_sample(make_table(), TrainingSettings())


def test_a_fold_is_judged_on_every_event_of_the_other_folds_once(sample):
    members = make_members(sample.fold, sample.fold_count, [1, 2])
    outputs = [
        np.random.default_rng(k).normal(size=len(m.validation)).astype(np.float32) for k, m in enumerate(members)
    ]
    recorder = Recorder()
    judgements = judge_folds(outputs, members, sample, recorder)
    assert [each.figure for each in judgements] == [1.0, 2.0, 3.0, 4.0, 5.0]
    for fold, (score, weight, process) in enumerate(recorder.calls):
        others = sample.fold != fold
        assert len(score) == others.sum()
        assert np.bincount(process).tolist() == np.bincount(sample.process[others]).tolist()
        whole = len(others) / others.sum()
        assert np.allclose(np.sort(weight), np.sort(sample.weights[others]) * whole)


def test_scores_of_a_fold_are_averaged_over_its_seeds_and_its_own_come_first(sample):
    members = make_members(sample.fold, sample.fold_count, [1, 2])
    generator = np.random.default_rng(3)
    outputs = [generator.normal(size=len(member.validation)).astype(np.float32) for member in members]
    recorder = Recorder()
    judge_folds(outputs, members, sample, recorder)
    first = recorder.calls[0][0][: len(members[0].validation)]
    mine = sample.is_signal[members[0].validation]
    weight = sample.weights[members[0].validation][mine]
    ranks = [weight @ (out[mine][:, None] < out) / weight.sum() for out in outputs[:2]]
    assert np.abs(first - np.mean(ranks, axis=0)).max() < 0.03
    assert np.abs(first - ranks[0]).max() > 0.2


def test_networks_that_share_their_validation_events_are_judged_apart(sample):
    events = np.arange(len(sample.weights))
    members = [Member(fold, fold, events[::2], events[1::2]) for fold in range(3)]
    outputs = [np.full(len(events[1::2]), fold, np.float32) for fold in range(3)]
    recorder = Recorder()
    judge_folds(outputs, members, sample, recorder)
    assert [len(call[0]) for call in recorder.calls] == [len(events[1::2])] * 3


def test_networks_of_separate_data_sets_are_judged_apart(sample):
    events = np.arange(len(sample.weights))
    members = [Member(part, part, events[part::4], events[part + 2 :: 4]) for part in range(2)]
    outputs = [np.random.default_rng(9).normal(size=len(member.validation)).astype(np.float32) for member in members]
    recorder = Recorder()
    judge_folds(outputs, members, sample, recorder)
    for member, (_, weight, process) in zip(members, recorder.calls, strict=True):
        assert process.tolist() == sample.process[member.validation].tolist()
        assert np.allclose(weight, sample.weights[member.validation] * 4)
