import json

import numpy as np
import pytest
import torch

from tests.learning.trainings import settings
from zsig_hep.errors import ModelFileError
from zsig_hep.learning import Classifier, train
from zsig_hep.learning.tensor_files import read_tensors, write_tensors


@pytest.fixture(scope="module")
def trained():
    from tests.learning.toy import make_table

    table = make_table(600)
    phase = {"epochs": 1, "batch_size": 256, "learning_rate": 1e-2}
    return table, train(table, settings(warm_start=phase, main=phase))


def test_the_folder_holds_the_whole_model_as_data(trained, tmp_path):
    table, classifier = trained
    classifier.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["feature_names"] == ["x", "y"]
    assert description["network"] == {"hidden": [8], "activation": "silu"}
    assert description["configuration"]["seeds"] == 2
    assert description["input_hash"] == classifier.input_hash
    loaded = Classifier.load(tmp_path)
    assert np.array_equal(loaded.logits(table.features), classifier.logits(table.features))
    assert loaded.history.phase == classifier.history.phase
    assert np.array_equal(loaded.history.validation_loss, classifier.history.validation_loss)


def share_below(classifier, member, table, logit):
    """Share of the validation signal of a member below an output, counted event by event."""
    fold = (classifier.history.member_fold[member] + 1) % table.fold_count
    events = table.is_signal & (table.fold == fold)
    outputs = classifier.logits(table.features[events])[member]
    weights = table.weight[events]
    return weights[outputs < logit].sum() / weights.sum()


def test_out_of_fold_scores_are_signal_shares_of_the_members_of_the_fold(trained):
    table, classifier = trained
    logits = classifier.logits(table.features)
    scores = classifier.out_of_fold_scores(table.features, table.fold)
    for event in (0, 77, 550, 1799):
        members = np.flatnonzero(classifier.history.member_fold == table.fold[event])
        assert len(members) == 2
        expected = np.mean([share_below(classifier, member, table, logits[member, event]) for member in members])
        assert scores[event] == pytest.approx(expected, abs=0.06)


def test_signal_is_flat_in_the_score(trained):
    table, classifier = trained
    scores = classifier.out_of_fold_scores(table.features, table.fold)
    for level in (0.2, 0.5):
        kept = table.weight[table.is_signal & (scores >= level)].sum() / table.weight[table.is_signal].sum()
        assert kept == pytest.approx(1 - level, abs=0.1)


def test_new_events_are_scored_by_the_whole_ensemble(trained):
    table, classifier = trained
    logits = classifier.logits(table.features[:5])
    expected = [
        np.mean([share_below(classifier, member, table, logits[member, event]) for member in range(len(logits))])
        for event in range(5)
    ]
    assert classifier.scores(table.features[:5]) == pytest.approx(expected, abs=0.05)
    assert classifier.scores(table.features[:0]).shape == (0,)


def test_columns_are_found_by_name_whatever_their_order(trained):
    _, classifier = trained
    assert classifier.columns_of(("y", "other", "x")) == [2, 0]
    with pytest.raises(ModelFileError, match="needs the feature 'y'"):
        classifier.columns_of(("x", "yy"))


def test_another_number_of_features_is_refused(trained):
    table, classifier = trained
    with pytest.raises(ModelFileError, match="takes 2 features"):
        classifier.scores(table.features[:, :1])


@pytest.mark.parametrize("damage", ["missing", "text", "truncated", "foreign", "format"])
def test_a_folder_that_is_no_model_is_refused(trained, tmp_path, damage):
    _, classifier = trained
    classifier.save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("hello")
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2)}, path)
    else:
        tensors, description = read_tensors(path)
        write_tensors(path, tensors, description | {"format": 99})
    with pytest.raises(ModelFileError):
        Classifier.load(tmp_path)
