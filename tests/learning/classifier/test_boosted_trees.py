import json

import numpy as np
import pytest
import torch
import xgboost

from tests.learning.forests import followed, tree_settings
from tests.learning.toy import make_table
from zsig_hep.errors import ModelFileError, TrainingError
from zsig_hep.learning import BCELossSettings, BoostedTrees, Classifier, train_trees
from zsig_hep.learning.classifier.calibration import signal_share_below
from zsig_hep.learning.tensor_files import read_tensors, write_tensors


@pytest.fixture(scope="module")
def trained():
    table = make_table(600, missing=True)
    return table, train_trees(table, tree_settings())


def test_outputs_are_those_of_the_forests(trained):
    table, trees = trained
    logits = trees.logits(table.features[:40])
    expected = [followed(forest, table.features[:40]) for forest in trees.forests]
    assert logits == pytest.approx(np.array(expected), abs=1e-14)
    chosen = np.arange(10) % 3 == 1
    assert np.array_equal(trees.logits(table.features[:40], members=chosen), logits[chosen])
    assert trees.logits(table.features[:0]).shape == (10, 0)


def test_an_event_is_scored_by_the_forests_that_did_not_see_it(trained):
    table, trees = trained
    scores = trees.out_of_fold_scores(table.features, table.fold)
    logits = trees.logits(table.features)
    for event in (0, 77, 1799):
        mine = trees.history.member_fold == table.fold[event]
        shares = signal_share_below(logits[mine][:, [event]], trees.quantiles[mine])
        assert scores[event] == pytest.approx(shares.mean(), abs=1e-12)
    assert scores[table.is_signal].mean() > scores[table.is_background].mean() + 0.2
    assert 0 <= scores.min() <= scores.max() <= 1


def test_the_signal_is_flat_in_the_score(trained):
    table, trees = trained
    scores = trees.out_of_fold_scores(table.features, table.fold)
    for level in (0.2, 0.5):
        kept = table.weight[table.is_signal & (scores >= level)].sum() / table.weight[table.is_signal].sum()
        assert kept == pytest.approx(1 - level, abs=0.1)


def test_the_number_of_threads_changes_nothing(trained):
    table, trees = trained
    one = trees.logits(table.features)
    torch.set_num_threads(2)
    try:
        assert np.array_equal(trees.logits(table.features), one)
    finally:
        torch.set_num_threads(1)


def test_missing_values_are_taken_where_the_training_had_some(trained):
    table, trees = trained
    assert (trees.feature_names, trees.may_be_missing) == (("x", "y"), ("y",))
    changed = table.features[:5].copy()
    changed[0, 1] = np.nan
    assert np.isfinite(trees.scores(changed)).all()
    changed[1, 0] = np.nan
    with pytest.raises(
        TrainingError, match=r"Missing values \(NaN\) in 'x', of which no event of the training had one"
    ):
        trees.scores(changed)
    changed[1, 0] = np.inf
    with pytest.raises(TrainingError, match="Infinite values in 'x'"):
        trees.scores(changed)
    with pytest.raises(ModelFileError, match="takes 2 features"):
        trees.scores(table.features[:, :1])


def test_the_folder_holds_the_whole_model_as_data(trained, tmp_path):
    table, trees = trained
    trees.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["classifier"] == "boosted_trees"
    assert description["trees"] == [len(forest) for forest in trees.forests]
    assert description["configuration"]["trees"]["depth"] == 3
    assert not {"hidden", "embedding", "warm_start", "missing"} & set(description["configuration"])
    loaded = BoostedTrees.load(tmp_path)
    assert np.array_equal(loaded.logits(table.features), trees.logits(table.features))
    assert np.array_equal(loaded.quantiles, trees.quantiles)
    assert loaded.history.to_json() == trees.history.to_json()
    assert (loaded.missing, loaded.input_hash) == (trees.missing, trees.input_hash)
    with pytest.raises(ModelFileError, match="is not a model that this version of zsig_hep can read"):
        Classifier.load(tmp_path)


def put(name, place, value):
    return lambda tensors, content: tensors[name].__setitem__(place, value)


def described(name, value):
    return lambda tensors, content: content.__setitem__(name, value)


DAMAGES = {
    "a threshold of NaN": (put("trees.value", 0, float("nan")), "have a value that is not finite"),
    "a circle": (put("trees.left", 1, 0), "no later node of its tree"),
    "a feature out of reach": (put("trees.feature", 0, 2), "split feature 2 of 2"),
    "quantiles that decrease": (put("calibration.quantiles", (0, 100), 1e6), "calibration.quantiles decrease"),
    "no quantiles": (lambda t, c: t.pop("calibration.quantiles"), "tensor calibration.quantiles is float32 of shape"),
    "no thresholds": (lambda t, c: t.pop("trees.value"), "no tensor trees.value"),
    "thresholds of another type": (lambda t, c: t.update({"trees.value": t["trees.value"].double()}), "is float64 of shape"),
    "an unknown array": (lambda t, c: t.update(other=torch.zeros(2)), "unknown tensor other"),
    "a tree more": (lambda t, c: c["trees"].__setitem__(0, c["trees"][0] + 1), "tensor trees.sizes is int32 of shape"),
    "a forest without trees": (lambda t, c: c["trees"].__setitem__(0, 0), "trees.0: .* greater than 0"),
    "a forest of a giant": (lambda t, c: c["trees"].__setitem__(0, 10**18), "tensor trees.sizes is int32 of shape"),
    "a forest less": (lambda t, c: c["trees"].pop(), "numbers of trees of 9 members, but 10 folds"),
    "nodes of a giant": (described("nodes", 10**15), "expected .*1000000000000000"),
    "a missing feature that is none": (described("may_be_missing", ["z"]), "may_be_missing has 'z', which is no feature"),
    "another kind": (described("classifier", "forest"), "classifier: Extra inputs are not permitted|network: Field required"),
    "an unknown key": (described("code", "import os"), "code: Extra inputs are not permitted"),
    "another format": (described("format", 1), "format 1, expected 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_that_is_no_model_is_refused_with_the_reason(trained, tmp_path, name, monkeypatch):
    from zsig_hep.learning import load_classifier

    change, reason = DAMAGES[name]
    trained[1].save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors, description = read_tensors(path)
    change(tensors, description)
    write_tensors(path, tensors, description)
    # Nothing of it reaches xgboost.
    monkeypatch.setattr(xgboost.Booster, "load_model", lambda *_: pytest.fail("loads"))
    with pytest.raises(ModelFileError, match=rf"model.safetensors is not a model .*\(.*({reason})"):
        load_classifier(tmp_path)


def test_a_changed_byte_is_refused(trained, tmp_path):
    trained[1].save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="does not have the digest in its header"):
        BoostedTrees.load(tmp_path)


def test_members_are_written_as_json_of_xgboost(trained, tmp_path):
    table, trees = trained
    trees.write_xgboost(tmp_path)
    seed = int(trees.history.member_seed[3])
    assert len(list(tmp_path.iterdir())) == 10
    booster = xgboost.Booster(model_file=str(tmp_path / f"fold_1_seed_{seed}.json"))
    matrix = xgboost.DMatrix(table.features, feature_names=["x", "y"])
    logits = booster.predict(matrix, output_margin=True)
    assert logits == pytest.approx(trees.logits(table.features)[3], abs=1e-5)
    quantiles = json.loads(booster.attr("zsig_hep.signal_quantiles"))
    assert quantiles == trees.quantiles[3].tolist()
    assert booster.attr("zsig_hep.input_hash") == trees.input_hash


def test_names_that_xgboost_refuses_are_written_with_other_characters(trained, tmp_path):
    from dataclasses import replace

    renamed = replace(trained[1], names=("pt[0]", "eta<2"), missing=("eta<2",))
    renamed.write_xgboost(tmp_path)
    booster = xgboost.Booster(model_file=str(next(iter(tmp_path.iterdir()))))
    assert booster.feature_names == ["pt(0)", "eta_2"]
    assert json.loads(booster.attr("zsig_hep.feature_names")) == ["pt[0]", "eta<2"]


def test_forests_without_a_split_are_advised_on():
    table = make_table(200)
    trees = train_trees(table, tree_settings({"minimum_child_weight": 1e9}), loss=BCELossSettings())
    assert trees.history.collapsed.all()
    assert "10 of 10 forests trained with the weighted BCE give nearly the same score" in trees.advice
    assert np.isfinite(trees.scores(table.features)).all()


def test_a_useful_forest_needs_no_advice(trained):
    assert trained[1].advice == ""


def test_the_repr_shows_no_content(trained):
    assert len(repr(trained[1])) < 3000
