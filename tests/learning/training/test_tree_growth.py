from dataclasses import replace

import numpy as np
import pytest
import torch
import xgboost

from tests.learning.forests import SMALL, tree_settings
from tests.learning.toy import make_table
from zsig_hep.errors import TrainingError
from zsig_hep.learning import TreeSettings, make_sample
from zsig_hep.learning.losses.base import LossContext
from zsig_hep.learning.training import tree_growth
from zsig_hep.learning.training.members import make_members
from zsig_hep.learning.training.tree_growth import grow, tree_device
from zsig_hep.learning.training.tree_stages import plan_tree_stages

TREES = TreeSettings(**SMALL)


@pytest.fixture(scope="module")
def sample():
    return make_sample(make_table(500, missing=True), tree_settings())


def grown(sample, loss, trees=TREES, start=None, stage=0, seed=1, **changes):
    member = make_members(sample.fold, sample.fold_count, [seed])[0]
    chosen = plan_tree_stages(trees, tree_settings(loss=loss).main_loss(), None)[stage]
    context = LossContext(sample.processes, tuple(sample.yields.tolist()))
    options = {"yields": sample.yields, "context": context, "start": start, "device": "cpu"}
    return grow(sample, member, replace(chosen, **changes), trees, **options)


def balanced_log_loss(sample, events, outputs):
    signal = sample.is_signal[events]
    errors = np.logaddexp(0, np.where(signal, -outputs, outputs))
    # Each process counts with its full yield.
    process = sample.process[events]
    weights = sample.weights[events] * (sample.yields / np.bincount(process, sample.weights[events]))[process]
    halves = [np.average(errors[signal == flag], weights=weights[signal == flag]) for flag in (True, False)]
    return np.mean(halves)


def test_the_validation_loss_is_that_of_the_networks(sample):
    found = grown(sample, {"name": "bce"})
    member = make_members(sample.fold, sample.fold_count, [1])[0]
    best = found.validation_loss[found.best_round]
    for events, losses in ((member.training, found.training_loss), (member.validation, found.validation_loss)):
        outputs = found.forest.outputs(sample.features[events], 1)
        assert losses[found.best_round] == pytest.approx(balanced_log_loss(sample, events, outputs), abs=1e-6)
    assert best == found.validation_loss.min() < np.log(2)
    assert len(found.forest) == found.best_round + 1


def test_growth_ends_when_validation_does_not_improve(sample):
    patient = TREES.model_copy(update={"rounds": 300, "patience": 7})
    found = grown(sample, {"name": "bce"}, patient)
    assert len(found.validation_loss) == found.best_round + 1 + 7 < 300
    assert len(found.forest) == found.best_round + 1


def test_a_stage_continues_from_its_start_and_keeps_it_if_nothing_is_better(sample):
    start = grown(sample, {"name": "bce"}).forest
    further = grown(sample, {"name": "z", "error": "sigmoid"}, start=start, stage=1)
    assert np.array_equal(further.forest.first(len(start)).value, start.value)
    assert len(further.forest) == len(start) + further.best_round + 1
    assert further.training_loss[-1] < further.training_loss[0]
    wild = TREES.model_copy(update={"learning_rate": 1.0, "minimum_child_weight": 0.0, "l2_penalty": 0.0, "depth": 12})
    overtrained = grown(sample, {"name": "bce"}, wild).forest
    kept = grown(sample, {"name": "z", "error": "cross_entropy"}, wild, start=overtrained, stage=1)
    assert (kept.best_round == -1) == (len(kept.forest) == len(overtrained))
    assert kept.best_round == -1 or kept.validation_loss[kept.best_round] == kept.validation_loss.min()


def test_a_loss_that_changes_keeps_its_last_round(sample):
    start = grown(sample, {"name": "bce"}).forest
    loss = {"name": "z", "error": "sigmoid", "relative_eps": {"start": 1.0, "stop": 0.05}}
    found = grown(sample, loss, start=start, stage=1)
    assert found.best_round == len(found.validation_loss) - 1 == 7
    constant = grown(sample, loss | {"relative_eps": 0.05}, start=start, stage=1)
    # The first value is of another eps, the last of the same.
    assert found.validation_loss[0] != pytest.approx(constant.validation_loss[0], rel=1e-3)


def test_one_seed_gives_one_forest_whatever_the_threads(sample):
    one = grown(sample, {"name": "z", "error": "sigmoid"})
    torch.set_num_threads(2)
    try:
        two = grown(sample, {"name": "z", "error": "sigmoid"})
    finally:
        torch.set_num_threads(1)
    assert np.array_equal(one.forest.value, two.forest.value)
    assert not np.array_equal(one.forest.value[:5], grown(sample, {"name": "bce"}, seed=2).forest.value[:5])


def test_a_seed_of_64_bits_is_taken(sample):
    assert len(grown(sample, {"name": "bce"}, seed=2**60).forest) > 0


def test_effective_weights_move_the_trees(sample):
    plain = grown(sample, {"name": "bce"})
    member = make_members(sample.fold, sample.fold_count, [1])[0]
    stage = plan_tree_stages(TREES, tree_settings(loss={"name": "bce"}).main_loss(), None)[0]
    context = LossContext(sample.processes, tuple(sample.yields.tolist()))
    costly = sample.yields * np.array([1.0, 0.2, 5.0])
    other = grow(sample, member, stage, TREES, yields=costly, context=context, start=None, device="cpu")
    change = other.forest.outputs(sample.features, 1) - plain.forest.outputs(sample.features, 1)
    assert change[sample.process == 2].mean() < change[sample.process == 1].mean()


def test_events_that_are_separated_perfectly_leave_no_error_and_no_nan(sample):
    """The gradient of the hinge error vanishes, and with it the curvature."""
    separated = replace(
        sample, features=np.where(sample.is_signal[:, None], 5.0, -5.0).astype(np.float32) * np.ones((1, 2), np.float32)
    )
    bold = TREES.model_copy(
        update={"l2_penalty": 0.0, "minimum_child_weight": 0.0, "learning_rate": 1.0, "significance_rounds": 50}
    )
    start = grown(separated, {"name": "bce"}, bold).forest
    found = grown(separated, {"name": "z"}, bold, start=start, stage=1)
    assert found.validation_loss.min() == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(found.forest.value).all()
    assert np.isfinite(found.training_loss).all()


@pytest.mark.parametrize("loss", [{"name": "bce"}, {"name": "z", "error": "sigmoid"}])
@pytest.mark.parametrize("kind", ["constant", "two values", "all missing", "99 % sentinels", "largest float"])
def test_features_of_no_use_do_no_harm(sample, loss, kind):
    generator = np.random.default_rng(2)
    column = {
        "constant": np.full(len(sample.weights), 7.0),
        "two values": generator.integers(0, 2, len(sample.weights)),
        "all missing": np.full(len(sample.weights), np.nan),
        "99 % sentinels": np.where(generator.random(len(sample.weights)) < 0.99, -999.0, sample.features[:, 0]),
        "largest float": np.where(generator.random(len(sample.weights)) < 0.5, np.finfo(np.float32).max, 1.0),
    }[kind]
    wider = replace(
        sample,
        features=np.column_stack([sample.features, column]).astype(np.float32),
        feature_names=(*sample.feature_names, "useless"),
    )
    all_features = TREES.model_copy(update={"feature_share": 1.0})
    found = grown(wider, loss, all_features)
    plain = grown(sample, loss, all_features)
    assert found.validation_loss.min() == pytest.approx(plain.validation_loss.min(), abs=0.02)
    if kind in {"constant", "all missing"}:
        inner = ~found.forest.is_leaf
        assert (found.forest.feature[inner] < 2).all()


def test_the_device_is_one_that_xgboost_can_use(monkeypatch):
    assert tree_device("cpu") == "cpu"
    monkeypatch.setattr(tree_growth, "choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})
    assert (tree_device("auto"), tree_device("cuda")) == ("cuda", "cuda")
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": False})
    assert tree_device("auto") == "cpu"
    with pytest.raises(
        TrainingError, match="needs an xgboost that was built with CUDA: pip install xgboost in place of"
    ):
        tree_device("cuda")
