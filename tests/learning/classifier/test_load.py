import pytest

from tests.learning.forests import tree_settings
from tests.learning.toy import make_table
from tests.learning.trainings import settings
from zsig_hep.errors import ModelFileError
from zsig_hep.learning import BoostedTrees, Classifier, load_classifier, train, train_trees

PHASE = {"epochs": 1, "batch_size": 256, "learning_rate": 1e-2}


def test_each_kind_is_loaded_as_what_it_is(tmp_path):
    table = make_table(300)
    train(table, settings(warm_start=PHASE, main=PHASE)).save(tmp_path / "networks")
    train_trees(table, tree_settings()).save(tmp_path / "trees")
    assert type(load_classifier(tmp_path / "networks")) is Classifier
    assert type(load_classifier(tmp_path / "trees")) is BoostedTrees


def test_an_empty_folder_has_none(tmp_path):
    with pytest.raises(ModelFileError, match="There is no model file"):
        load_classifier(tmp_path)
