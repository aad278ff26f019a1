import sys
from dataclasses import replace

import numpy as np
import pytest
import xgboost

from tests.learning.forests import booster, events, followed
from zsig_hep.errors import InputError
from zsig_hep.learning.classifier.forest import ARRAYS, Forest, import_xgboost


@pytest.fixture(scope="module")
def forest():
    return Forest.of_booster(booster())


def test_outputs_are_the_sums_of_the_leaves_that_events_end_in(forest):
    features, _ = events(seed=3)
    assert np.isnan(features).any()
    assert forest.outputs(features, 1) == pytest.approx(followed(forest, features), abs=1e-15)
    assert forest.outputs(features[:0], 1).shape == (0,)


def test_an_event_on_a_threshold_goes_to_the_right():
    one, zero = (np.array(values, dtype=np.int32) for values in ([1, -1, -1], [2, -1, -1]))
    stump = Forest(
        np.array([3], dtype=np.int32),
        one,
        zero,
        np.zeros(3, dtype=np.int32),
        np.float32([0.5, -1.0, 2.0]),
        np.array([True, False, False]),
        np.zeros(3, dtype=np.float32),
        np.zeros(3, dtype=np.float32),
    )
    stump.require_usable(1)
    x = np.float32([[0.4], [0.5], [0.6], [np.nan]])
    assert stump.outputs(x, 1).tolist() == [-1.0, 2.0, 2.0, -1.0]


def test_outputs_are_those_of_xgboost_to_its_rounding(forest):
    features, _ = events(seed=4)
    expected = booster().predict(xgboost.DMatrix(features), output_margin=True)
    assert forest.outputs(features, 1) == pytest.approx(expected, abs=1e-6)


def test_a_booster_comes_back_bit_by_bit(forest):
    features, _ = events(seed=5)
    matrix = xgboost.DMatrix(features)
    again = forest.booster(3)
    assert np.array_equal(again.predict(matrix), booster().predict(matrix))
    twice = Forest.of_booster(again)
    assert all(np.array_equal(getattr(twice, name), getattr(forest, name)) for name in ARRAYS)
    assert again.get_score(importance_type="gain") == booster().get_score(importance_type="gain")


def test_blocks_of_events_give_what_all_together_give(forest, monkeypatch):
    features, _ = events()
    whole = forest.outputs(features, 1)
    monkeypatch.setattr("zsig_hep.learning.classifier.forest._LEAVES", 8 * 7)
    assert np.array_equal(forest.outputs(features, 1), whole)


def test_forests_are_joined_split_and_cut_short(forest):
    features, _ = events()
    parts = list(Forest.join([forest.first(3), forest, forest.first(1)]).split([3, 8, 1]))
    assert [len(part) for part in parts] == [3, 8, 1]
    assert np.array_equal(parts[1].outputs(features, 1), forest.outputs(features, 1))
    assert np.array_equal(parts[2].value, forest.first(1).value)
    assert Forest.of_booster(booster(), 3).outputs(features, 1) == pytest.approx(followed(parts[0], features))


def changed(name, place, value):
    def change(forest):
        array = getattr(forest, name).copy()
        array[place] = value
        return replace(forest, **{name: array})

    return change


DAMAGES = {
    "a size of nothing": (changed("sizes", 0, 0), "must be positive and add up to"),
    "a size too large": (changed("sizes", 0, 2**31 - 1), "must be positive and add up to"),
    "a threshold of NaN": (changed("value", 0, np.nan), "have a value that is not finite"),
    "an infinite gain": (changed("gain", 0, np.inf), "have a gain that is not finite"),
    "an infinite cover": (changed("cover", 0, np.inf), "have a cover that is not finite"),
    "a feature too many": (changed("feature", 0, 3), "split feature 3 of 3"),
    "a negative feature": (changed("feature", 0, -1), "split feature -1 of 3"),
    "a circle": (changed("left", 1, 0), "is no later node of its tree"),
    "a child of itself": (changed("right", 0, 0), "is no later node of its tree"),
    "a child of another tree": (changed("left", 0, 2**30), "has the child 1073741824, which is no later node"),
    "half a split": (changed("left", 0, -1), "without a left child has a right one"),
    "another sign of a leaf": (changed("left", -1, -2), "or not -1 for both"),
    "a leaf with half a sign": (changed("right", -1, -2), "or not -1 for both"),
    "the other half": (changed("right", 0, -1), "is no later node of its tree"),
    "a child of two": (changed("right", 0, 1), "is the child of two nodes or of none"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_arrays_that_are_no_trees_are_refused(forest, name):
    change, reason = DAMAGES[name]
    forest.require_usable(3)
    with pytest.raises(ValueError, match=reason):
        change(forest).require_usable(3)


@pytest.mark.parametrize("kind", ["gblinear", "dart"])
def test_boosters_of_other_kinds_are_refused(kind):
    parameters = {"booster": kind} if kind == "dart" else {"booster": kind, "updater": "coord_descent"}
    features, is_signal = events()
    parameters |= {"objective": "binary:logistic", "verbosity": 0}
    other = xgboost.train(parameters, xgboost.DMatrix(np.nan_to_num(features), is_signal.astype(float)), 2)
    with pytest.raises(ValueError, match=f"a booster of the kind '{kind}', expected 'gbtree'"):
        Forest.of_booster(other)


def test_categorical_splits_are_refused():
    features, is_signal = events()
    labels = (np.nan_to_num(features) > 0).astype(float)
    matrix = xgboost.DMatrix(labels, is_signal.astype(float), enable_categorical=True, feature_types=["c"] * 3)
    made = xgboost.train({"objective": "binary:logistic", "tree_method": "hist"}, matrix, 2)
    with pytest.raises(ValueError, match="trees with categorical splits"):
        Forest.of_booster(made)


def test_an_absent_xgboost_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(InputError, match=r"need the extra `trees`: pip install 'zsig_hep\[trees\]'.*xgboost-cpu"):
        import_xgboost()
