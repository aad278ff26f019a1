import dataclasses

import numpy as np
import pytest

from tests.learning.forests import tree_settings
from tests.learning.toy import make_table
from tests.learning.trainings import Killed, kill_after, separation
from zsig_hep.errors import ModelFileError, TrainingError
from zsig_hep.learning import BCELossSettings, Goal, Judgement, make_sample, train_trees
from zsig_hep.learning.tensor_files import read_tensors, write_tensors
from zsig_hep.learning.training.boosting import BoostedTreesTraining
from zsig_hep.selection import WorkingPointSettings, training_goal
from zsig_hep.statistics import FigureOfMerit, Objective

Z = {"name": "z", "error": "sigmoid"}


def same(one, other):
    return all(
        np.array_equal(first.value, second.value) and np.array_equal(first.left, second.left)
        for first, second in zip(one.forests, other.forests, strict=True)
    )


def goal_of(figures, **objective):
    """A judge that finds given figures of merit, for one fold after the other in each round."""
    found = iter(figures)

    def judge(score, weight, process, processes):
        return Judgement(next(found), np.array([1.0, -1.0, -9.0]), 0.5)

    return Goal(Objective(**objective), judge)


def test_trees_separate_and_never_see_the_events_they_score(table):
    trees = train_trees(table, tree_settings(loss=Z))
    assert separation(trees, table) > 0.8
    scores = trees.out_of_fold_scores(table.features, table.fold)
    changed = table.features.copy()
    changed[table.fold == 0] = changed[table.fold == 0][::-1]
    again = train_trees(dataclasses.replace(table, features=changed), tree_settings(loss=Z))
    rescored = again.out_of_fold_scores(changed, table.fold)
    assert np.array_equal(rescored[table.fold == 0], scores[table.fold == 0][::-1])
    assert not np.array_equal(rescored[table.fold == 1], scores[table.fold == 1])


def test_there_is_a_forest_for_each_fold_and_seed(table):
    trees = train_trees(table, tree_settings(seeds=3))
    assert np.bincount(trees.history.member_fold).tolist() == [3] * 5
    assert len(set(trees.history.member_seed.tolist())) == len(trees.forests) == 15


def test_history_has_every_round_of_every_forest(table):
    trees = train_trees(table, tree_settings({"rounds": 60, "patience": 3}, loss=Z))
    history = trees.history
    assert (history.loss_name, history.step) == ("Z loss", "round")
    assert list(dict.fromkeys(history.phase)) == ["weighted BCE", "Z loss"]
    assert history.training_loss.shape == history.validation_loss.shape == (len(history.phase), 10)
    first = sum(phase == "weighted BCE" for phase in history.phase)
    entropy, z = history.validation_loss[:first], history.validation_loss[first:]
    # The last losses of forests that ended early are repeated.
    assert (entropy[-1] == entropy[-2]).any()
    counts = entropy.argmin(axis=0) + 1 + history.best_epoch + 1
    assert [len(forest) for forest in trees.forests] == counts.tolist()
    assert all(best == -1 or best == row.argmin() for best, row in zip(history.best_epoch, z.T, strict=True))


def test_folds_keep_the_loss_only_where_the_working_point_is_better(table):
    # Five folds with the cross entropy, then with the loss, which has no working point in the last.
    figures = [2.0, 2.0, 2.0, np.nan, 2.0, 2.5, 1.5, 2.0, 1.0, np.nan]
    trees = train_trees(table, tree_settings(loss=Z, seeds=1), goal=goal_of(figures))
    plain = train_trees(table, tree_settings(loss=Z, seeds=1), loss=BCELossSettings())
    always = train_trees(table, tree_settings(loss=Z, seeds=1))
    assert trees.history.kept_round == (1, 0, 0, 1, 0)
    assert [record.number for record in trees.history.rounds] == [0, 1]
    assert np.array_equal(trees.history.rounds[1].figure, figures[5:], equal_nan=True)
    for fold, kept in enumerate(trees.history.kept_round):
        expected = always if kept else plain
        assert np.array_equal(trees.forests[fold].value, expected.forests[fold].value)
        assert trees.history.best_epoch[fold] == (always.history.best_epoch[fold] if kept else -1)


def test_the_better_of_the_trees_is_kept_for_the_goal_of_a_selection(table):
    goal = training_goal(WorkingPointSettings(minimum_effective_background=3.0))
    history = train_trees(table, tree_settings(loss=Z, seeds=1), goal=goal).history
    before, after = (record.figure for record in history.rounds)
    assert np.array_equal(np.array(history.kept_round) == 1, after > before)


def test_each_eps_is_tried_and_the_best_kept(table):
    loss = {"name": "z", "error": "sigmoid", "relative_eps": "auto", "path": [0.3, 0.1]}
    figures = [1.0] * 5 + [2.0, 2.0, 0.5, 0.5, 0.5] + [3.0, 1.5, 3.0, 0.5, 0.5]
    trees = train_trees(table, tree_settings(loss=loss, seeds=1), goal=goal_of(figures))
    history = trees.history
    assert history.kept_round == (2, 1, 2, 0, 0)
    assert [record.relative_eps for record in history.rounds] == [None, 0.3, 0.1]
    assert len(trees.forests[0]) >= len(trees.forests[1])
    assert (history.best_epoch[3:] == -1).all()
    assert history.best_epoch.max() < sum(phase == "Z loss" for phase in history.phase) == 8


def test_effective_weights_follow_the_slopes_and_the_best_round_is_kept(table):
    loss = {"name": "effective_weights", "rounds": 2, "damping": 0.0}
    objective = {"figure": FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, "background_uncertainties": {"top": 0.5}}
    figures = [1.0] * 5 + [3.0] * 5 + [2.0] * 5
    trees = train_trees(table, tree_settings(loss=loss, seeds=1), goal=goal_of(figures, **objective))
    factors = trees.history.rounds[1].factors
    assert trees.history.kept_round == (1,) * 5
    assert factors[:, 2] / factors[:, 1] == pytest.approx(9.0)
    plain = train_trees(table, tree_settings(seeds=1), loss=BCELossSettings())
    change = trees.logits(table.features) - plain.logits(table.features)
    assert change[:, table.process == 2].mean() < change[:, table.process == 1].mean()
    assert set(trees.history.phase) == {"weighted BCE", "effective weights"}


def test_a_killed_run_resumes_to_the_same_trees(table, tmp_path):
    loss = {"name": "z", "error": "sigmoid", "relative_eps": "auto", "path": [0.3, 0.1]}
    goal = training_goal(WorkingPointSettings(minimum_effective_background=3.0))
    options = tree_settings(loss=loss)
    whole = train_trees(table, options, goal=goal)
    checkpoint = tmp_path / "checkpoint.safetensors"
    for calls in (3, 9, 11):
        with pytest.raises(Killed):
            train_trees(table, options, goal=goal, checkpoint=checkpoint, progress=kill_after(calls))
    resumed = train_trees(table, options, goal=goal, checkpoint=checkpoint)
    assert same(whole, resumed)
    assert whole.history.to_json() == resumed.history.to_json()
    assert np.array_equal(whole.quantiles, resumed.quantiles)
    assert same(whole, train_trees(table, options, goal=goal, checkpoint=checkpoint))


def test_progress_counts_forests(table):
    seen = []
    train_trees(table, tree_settings(loss=Z), progress=lambda *arguments: seen.append(arguments[:3]))
    assert seen == [(label, number, 10) for label in ("weighted BCE", "Z loss") for number in range(1, 11)]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    checkpoint = tmp_path_factory.mktemp("state") / "checkpoint.safetensors"
    table = make_table()
    with pytest.raises(Killed):
        train_trees(table, tree_settings(loss=Z), checkpoint=checkpoint, progress=kill_after(12))
    return table, *read_tensors(checkpoint)


def put(name, place, value):
    return lambda tensors, content: tensors[name].__setitem__(place, value)


def entry(name, place, change):
    return lambda tensors, content: content[name].__setitem__(place, change(content[name][place]))


STATES = {
    "a loss of NaN": (put("losses", (0, 0), float("nan")), "tensor losses has values that are not finite"),
    "a threshold of NaN": (put("trees.value", 0, float("nan")), "have a value that is not finite"),
    "a circle": (put("trees.left", 1, 0), "no later node of its tree"),
    "a tree more": (entry("trees", 0, lambda n: n + 1), "tensor trees.sizes is int32"),
    "a round more": (entry("rounds", 0, lambda n: n + 1), "tensor losses is float64 of shape"),
    "another best round": (entry("best_rounds", 0, lambda n: n - 1), "forest 0 has .* trees after .* rounds, expected"),
    "a best round after the last": (entry("best_rounds", 0, lambda n: 99), "a best round is not one of the rounds"),
    "a best round less": (lambda t, c: c["best_rounds"].pop(), "lengths of trees, rounds and best_rounds disagree"),
    "no losses": (lambda t, c: t.pop("losses"), "tensor losses is float32"),
    "nodes of text": (lambda t, c: c.update(nodes="3"), "nodes: Input should be a valid integer"),
    "an unknown key": (lambda t, c: c.update(code="import os"), "code: Extra inputs"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_cannot_be_is_refused(interrupted, tmp_path, name):
    change, reason = STATES[name]
    table, tensors, description = interrupted
    tensors = {key: value.clone() for key, value in tensors.items()}
    description = {key: list(value) if isinstance(value, list) else value for key, value in description.items()}
    change(tensors, description)
    checkpoint = tmp_path / "checkpoint.safetensors"
    write_tensors(checkpoint, tensors, description)
    with pytest.raises(
        ModelFileError, match=rf"checkpoint\.safetensors is not a state of this training \(.*({reason})"
    ):
        train_trees(table, tree_settings(loss=Z), checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trees": {"depth": 4}}, "another configuration"),
        ({"seeds": 1}, "another configuration"),
        ({}, "another events"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(interrupted, tmp_path, changes, message):
    table, tensors, description = interrupted
    checkpoint = tmp_path / "checkpoint.safetensors"
    write_tensors(checkpoint, tensors, description)
    with pytest.raises(ModelFileError, match=message):
        train_trees(
            table if changes else make_table(seed=5), tree_settings(**{"loss": Z} | changes), checkpoint=checkpoint
        )


def test_settings_of_networks_change_nothing(table):
    one = train_trees(table, tree_settings(loss=Z, seeds=1))
    other = train_trees(table, tree_settings(loss=Z, seeds=1, hidden=[3], patience=2, activation="relu"))
    assert same(one, other)
    assert one.configuration == other.configuration


def test_a_rule_for_missing_values_is_not_applied(table):
    table = make_table(missing=True)
    assert same(
        train_trees(table, tree_settings(seeds=1)), train_trees(table, tree_settings(seeds=1, missing={"y": "median"}))
    )


def test_events_and_rules_that_cannot_be_used_are_refused(table):
    with pytest.raises(TrainingError, match="rule for missing values names the unknown feature 'z'"):
        train_trees(table, tree_settings(missing={"z": 0.0}))
    infinite = table.features.copy()
    infinite[3, 0] = np.inf
    with pytest.raises(TrainingError, match="Infinite values in 'x'"):
        train_trees(dataclasses.replace(table, features=infinite), tree_settings())
    with pytest.raises(TrainingError, match="negative weights"):
        train_trees(make_table(negative=True), tree_settings())


def test_a_loss_that_cannot_be_built_is_refused_before_a_tree_grows(table):
    loss = {
        "name": "lovasz",
        "figure": "s_over_sqrt_b_with_uncertainty_of_b",
        "relative_uncertainty": 0.5,
        "relative_eps": 0.3,
    }
    sample = make_sample(table, tree_settings())
    with pytest.raises(TrainingError, match="submodular"):
        BoostedTreesTraining(sample, tree_settings(), tree_settings(loss=loss).main_loss())


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "binned_asimov"},
        {"name": "soft_significance"},
        {"name": "focal"},
        {"name": "sum", "terms": [{"loss": Z}, {"coefficient": 0.3, "loss": {"name": "bce"}}]},
        {"name": "lovasz", "error": "sigmoid"},
    ],
)
def test_every_loss_is_an_objective(table, loss):
    trees = train_trees(table, tree_settings(loss=loss, seeds=1))
    last = [phase == trees.history.loss_name for phase in trees.history.phase]
    losses = trees.history.training_loss[last]
    assert losses[-1].mean() < losses[0].mean()
