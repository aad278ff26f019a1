import logging
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from zsig_hep.errors import TrainingError
from zsig_hep.learning.optimisation.optimizers import AdamSettings, EveSettings, RAdamSettings, SGDSettings
from zsig_hep.learning.optimisation.schedules import (
    ConstantSettings,
    CosineSettings,
    EpochPlan,
    GraduatedSettings,
    ScheduleSettings,
    advice,
)

MODES = ("lr", "batch", "hybrid", "poly")

AUTHORS = {
    "lr": ((0.1, 0.0707107, 0.05, 0.0353553, 0.025), (32, 32, 32, 32, 32)),
    "batch": ((0.1, 0.1, 0.1, 0.1, 0.1), (32, 64, 128, 256, 512)),
    "hybrid": ((0.1, 0.0866025, 0.075, 0.0649519, 0.05625), (32, 48, 72, 108, 162)),
    # Powers .9 of 1, .8, .6, .4, .2.
    "poly": ((0.1, 0.0818052, 0.0631446, 0.0438383, 0.0234924), (32, 32, 32, 32, 32)),
}
"""Stages of arXiv:2311.08745 with the authors' settings: step .1, 32 events, 5 stages, gamma = 1 / sqrt(2), p = .9."""


def stages_of(plan):
    return tuple(dict.fromkeys(plan))


def degree(epoch):
    return epoch.learning_rate / math.sqrt(epoch.batch_size)


@pytest.mark.parametrize("mode", MODES)
def test_stages_of_the_authors(mode):
    plan = GraduatedSettings(mode=mode).plan(200, 0.1, 32, 50_000)
    stages = stages_of(plan)
    assert [each.learning_rate for each in stages] == pytest.approx(AUTHORS[mode][0], abs=5e-8)
    assert tuple(each.batch_size for each in stages) == AUTHORS[mode][1]
    assert [each.stage for each in stages] == [1, 2, 3, 4, 5]
    assert all([each.stage for each in plan].count(number) == 40 for number in range(1, 6))


def test_polynomial_decay_with_a_stage_per_epoch_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=20, power=0.9)
    for epoch in GraduatedSettings(mode="poly", stages=20).plan(20, 0.1, 32):
        assert epoch.learning_rate == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        scheduler.step()


@given(
    mode=st.sampled_from(("lr", "batch", "hybrid")),
    gamma=st.floats(0.05, 0.99),
    stages=st.integers(1, 8),
    extra=st.integers(0, 9),
    largest=st.integers(1000, 20_000),
)
@settings(max_examples=80, deadline=None)
def test_gamma_holds_from_stage_to_stage_in_every_mode_and_after_saturation(mode, gamma, stages, extra, largest):
    plan = GraduatedSettings(mode=mode, stages=stages, gamma=gamma).plan(stages + extra, 0.3, 1000, largest)
    table = stages_of(plan)
    assert len(table) == stages
    for one, other in pairwise(table):
        # Batches are whole numbers of at least 1000 events.
        assert degree(other) / degree(one) == pytest.approx(gamma, rel=1.1e-3)
        assert other.learning_rate <= one.learning_rate * (1 + 1e-12)
        assert one.batch_size <= other.batch_size <= largest
    lengths = [[epoch.stage for epoch in plan].count(number) for number in range(1, stages + 1)]
    assert sum(lengths) == stages + extra
    assert max(lengths) - min(lengths) <= 1


@given(stages=st.integers(2, 12), power=st.floats(0.1, 2.0))
@settings(max_examples=30, deadline=None)
def test_polynomial_factors_are_those_of_the_paper_up_to_the_last_stage(stages, power):
    table = GraduatedSettings(mode="poly", stages=stages, power=power).plan(stages, 0.3, 64)
    for m, (one, other) in enumerate(pairwise(table), start=1):
        assert degree(other) / degree(one) == pytest.approx(((stages - m) / (stages - m + 1)) ** power, rel=1e-12)
    assert table[-1].learning_rate > 0


def test_hybrid_is_midway_between_step_and_batch():
    schedule = GraduatedSettings(mode="hybrid", gamma=0.5, stages=2)
    first, second = schedule.plan(2, 1.0, 1000)
    # lambda = (1 + 4) / 2, kappa^2 = (1 + 1/4) / 2
    assert second.batch_size == 2500
    assert second.learning_rate == pytest.approx(math.sqrt(0.625))
    assert first == EpochPlan(1.0, 1000, 1)


def test_batches_saturate_and_the_step_takes_over(caplog):
    with caplog.at_level(logging.WARNING):
        plan = GraduatedSettings(mode="batch").plan(10, 0.1, 32, 100)
    stages = stages_of(plan)
    assert [each.batch_size for each in stages] == [32, 64, 100, 100, 100]
    assert [degree(each) / degree(stages[0]) for each in stages] == pytest.approx([0.5 ** (m / 2) for m in range(5)])
    assert stages[2].learning_rate == pytest.approx(0.1 * 0.5 * math.sqrt(100 / 32))
    assert stages[4].learning_rate / stages[3].learning_rate == pytest.approx(math.sqrt(0.5))
    assert [record.getMessage() for record in caplog.records] == [
        "Batches grow to 100 events; from stage 3 on the step size decays instead."
    ]


def test_the_smaller_of_the_two_largest_batches_counts(caplog):
    for own, given_ in ((100, 5000), (5000, 100)):
        plan = GraduatedSettings(mode="batch", largest_batch=own).plan(5, 0.1, 32, given_)
        assert max(epoch.batch_size for epoch in plan) == 100
    assert len(caplog.records) == 2


def test_nothing_is_said_when_the_last_stage_just_fits(caplog):
    GraduatedSettings(mode="batch").plan(5, 0.1, 32, 512)
    GraduatedSettings(mode="lr").plan(5, 0.1, 32, 32)
    assert not caplog.records


@pytest.mark.parametrize("schedule", [ConstantSettings(), CosineSettings(), GraduatedSettings(mode="batch")])
def test_a_first_batch_larger_than_the_data_saturates_and_is_said_once(schedule, caplog):
    plan = schedule.plan(10, 0.1, 4096, 300)
    assert {epoch.batch_size for epoch in plan} == {300}
    assert plan[0].learning_rate == 0.1
    assert [record.getMessage() for record in caplog.records] == [
        "Batches of 4096 events are not possible; all batches have the largest size of 300 events."
    ]


def test_constant_and_cosine():
    assert ConstantSettings().plan(3, 0.2, 64) == (EpochPlan(0.2, 64, 1),) * 3
    rates = [epoch.learning_rate for epoch in CosineSettings().plan(4, 0.2, 64)]
    assert rates == pytest.approx([0.2, 0.1 * (1 + math.sqrt(0.5)), 0.1, 0.1 * (1 - math.sqrt(0.5))])


def test_the_cosine_falls_within_an_epoch_to_the_start_of_the_next_and_to_zero():
    plan = CosineSettings().plan(4, 0.2, 64)
    for epoch, following in pairwise(plan):
        assert epoch.learning_rate_at(1.0) == pytest.approx(following.learning_rate)
    assert plan[-1].learning_rate_at(1.0) == pytest.approx(0, abs=1e-15)
    assert plan[1].learning_rate_at(0.5) == pytest.approx((plan[1].learning_rate + plan[2].learning_rate) / 2)
    for constant in (*ConstantSettings().plan(2, 0.2, 64), *GraduatedSettings(stages=2).plan(2, 0.2, 64)):
        assert constant.learning_rate_at(0.9) == constant.learning_rate


@pytest.mark.parametrize("schedule", [ConstantSettings(), CosineSettings(), GraduatedSettings()])
def test_bad_plans(schedule):
    assert schedule.plan(0, 0.1, 32) == ()
    for arguments, message in (
        ((-1, 0.1, 32), "epochs >= 0, found -1"),
        ((5, 0.0, 32), "learning rate > 0"),
        ((5, math.nan, 32), "learning rate > 0, found nan"),
        ((5, 0.1, 0), "batch size >= 1"),
        ((5, 0.1, 32, 0), "largest batch >= 1"),
    ):
        with pytest.raises(TrainingError, match=message):
            schedule.plan(*arguments)


def test_more_stages_than_epochs():
    with pytest.raises(TrainingError, match="5 stages of a graduated schedule need as many epochs, found 4"):
        GraduatedSettings().plan(4, 0.1, 32)


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "graduated", "stages": 0},
        {"kind": "graduated", "gamma": 1.0},
        {"kind": "graduated", "gamma": 0.0},
        {"kind": "graduated", "power": 0.0},
        {"kind": "graduated", "mode": "step"},
        {"kind": "graduated", "largest_batch": 0},
        {"kind": "cosine", "gamma": 0.5},
        {"kind": "linear"},
    ],
)
def test_settings_outside_their_domain(content):
    with pytest.raises(ValidationError):
        TypeAdapter(ScheduleSettings).validate_python(content)


def test_settings_are_told_apart_by_their_kind():
    adapter = TypeAdapter(ScheduleSettings)
    chosen = adapter.validate_python({"kind": "graduated", "mode": "batch", "gamma": 0.5, "stages": 3})
    assert chosen == GraduatedSettings(mode="batch", gamma=0.5, stages=3)
    assert isinstance(adapter.validate_python({"kind": "cosine"}), CosineSettings)
    assert isinstance(adapter.validate_python({"kind": "constant"}), ConstantSettings)


def test_advice():
    grows = [GraduatedSettings(mode=mode) for mode in ("batch", "hybrid")]
    decays = [GraduatedSettings(mode=mode) for mode in ("lr", "poly")]
    for schedule in grows:
        sentences = advice(EveSettings(), schedule)
        assert sentences[0].startswith("Eve undoes the growth of batches")
        assert "for Eve there is no theory" in sentences[1]
    for schedule in decays:
        (sentence,) = advice(EveSettings(), schedule)
        assert "no theory" in sentence
    for optimizer in (AdamSettings(), RAdamSettings()):
        (sentence,) = advice(optimizer, grows[0])
        assert f"for {optimizer.label} there is no theory" in sentence
    assert advice(SGDSettings(momentum=0.0), grows[0]) == advice(SGDSettings(), decays[0]) == ()
    assert "does not fall as batches grow" in advice(SGDSettings(), grows[0])[0]
    assert "not for Nesterov momentum" in advice(SGDSettings(nesterov=True), decays[0])[0]
    assert advice(EveSettings(), CosineSettings()) == advice(AdamSettings(), ConstantSettings()) == ()
