import dataclasses

import numpy as np
import pytest

from tests.learning.toy import make_table
from zsig_hep.learning import TrainingSettings, make_sample
from zsig_hep.learning.batches import Member, make_members
from zsig_hep.learning.best_round import is_better
from zsig_hep.learning.rounds import Judgement, RoundRecord, effective_weights, judge_folds

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

    def __call__(self, score, weight, process, process_names, signal):
        self.calls.append((score, weight, process))
        return Judgement(float(len(self.calls)), np.ones(len(signal)), 0.5)


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


def test_the_error_of_a_difference_is_that_of_a_bootstrap():
    generator = np.random.default_rng(2)
    n = 4000
    process = np.repeat([0, 1], n)
    weight = np.repeat([30.0, 1000.0], n) / n
    base = generator.normal(1.5 * (process == 0))
    scores = [base, base + 0.3 * generator.normal(size=2 * n)]

    def figure(score, counts):
        s, b = (np.sum((weight * counts)[(process == row) & (score >= 1.5)]) for row in (0, 1))
        return s / np.sqrt(b)

    def judge(score, *_):
        s, b = (weight[(process == row) & (score >= 1.5)].sum() for row in (0, 1))
        return Judgement(s / np.sqrt(b), np.array([1 / np.sqrt(b), -s / 2 / b**1.5]), 0.5, 1.5)

    judgements = [judge(score) for score in scores]
    influences = [
        np.where(score >= 1.5, weight * one.slopes[process], 0) for score, one in zip(scores, judgements, strict=True)
    ]
    one, other = (dataclasses.replace(j, influence=i) for j, i in zip(judgements, influences, strict=True))
    replicas = generator.poisson(1.0, (400, 2 * n))
    differences = [figure(scores[0], counts) - figure(scores[1], counts) for counts in replicas]
    assert one.error_of_difference(other) == pytest.approx(np.std(differences), rel=0.1)
    assert one.error_of_difference(one) == 0
    assert one.error_of_difference(other) < 0.8 * np.std([figure(scores[0], counts) for counts in replicas])


@pytest.mark.parametrize(
    ("figure", "kept", "errors", "better"),
    [
        (2.2, 2.0, 1.0, False),
        (2.5, 2.0, 1.0, True),
        (2.2, 2.0, 0.0, True),
        (np.nan, 2.0, 0.0, False),
        (2.0, np.nan, 1.0, True),
    ],
)
def test_a_round_must_be_better_by_more_than_the_error(figure, kept, errors, better):
    nothing, slopes = np.zeros(2), np.zeros(1)
    one = Judgement(figure, slopes, 0.5, 1.0, np.array([0.3, 0.0]))
    assert is_better(one, Judgement(kept, slopes, 0.5, 1.0, nothing), errors) is better


def test_a_record_survives_json():
    record = RoundRecord(2, 0.1, np.array([[1.0, 0.5, 2.0]]), np.array([np.nan]), np.array([0.3]))
    again = RoundRecord.from_json(record.to_json())
    assert (again.number, again.relative_eps) == (2, 0.1)
    assert np.array_equal(again.factors, record.factors)
    assert np.isnan(again.figure).all()
    assert record.to_json()["figure"] == [None]
    start = dataclasses.replace(record, number=0, relative_eps=None, factors=np.ones((1, 3)))
    assert RoundRecord.from_json(start.to_json()).relative_eps is None
    assert record.change(start) == pytest.approx(np.log(2))
