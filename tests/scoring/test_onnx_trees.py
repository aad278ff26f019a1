import numpy as np
import pytest

from tests.learning.forests import tree_settings
from tests.learning.toy import make_table
from tests.scoring.models import describe
from zsig_hep.errors import InputError
from zsig_hep.learning import train_trees
from zsig_hep.scoring.onnx_export import export_onnx
from zsig_hep.scoring.onnx_scorer import OnnxScorer
from zsig_hep.scoring.torch_scorer import TorchScorer, load_scorer


@pytest.fixture(scope="module")
def stored_trees(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("trees")
    table = make_table(900, missing=True)
    trees = train_trees(table, tree_settings({"rounds": 60}, loss={"name": "z", "error": "sigmoid"}))
    trees.save(folder)
    export_onnx(trees, folder / "model.onnx", describe(trees, thresholds=(0.5,) * 5))
    return table, trees, folder


def test_scores_are_those_of_xgboost_to_the_rounding_of_float64(stored_trees):
    table, trees, folder = stored_trees
    scorer = OnnxScorer(folder / "model.onnx")
    assert np.isnan(table.features).any()
    assert scorer.scores(table.features) == pytest.approx(trees.scores(table.features), abs=1e-12)
    expected = trees.out_of_fold_scores(table.features, table.fold)
    assert scorer.out_of_fold_scores(table.features, table.fold) == pytest.approx(expected, abs=1e-12)


def test_events_on_a_threshold_go_the_same_way(stored_trees):
    """float32 thresholds are values of features, on which other events can lie."""
    _, trees, folder = stored_trees
    forest = trees.forests[0]
    thresholds = [forest.value[~forest.is_leaf & (forest.feature == column)][:150] for column in (0, 1)]
    count = min(map(len, thresholds))
    features = np.stack([each[:count] for each in thresholds], axis=1)
    assert OnnxScorer(folder / "model.onnx").scores(features) == pytest.approx(trees.scores(features), abs=1e-12)


def test_what_may_be_missing_is_known_to_every_scorer(stored_trees):
    _, _, folder = stored_trees
    features = np.float32([[0.5, np.nan], [np.nan, 0.5]])
    for scorer in (OnnxScorer(folder / "model.onnx"), TorchScorer(folder)):
        assert scorer.metadata.may_be_missing == ("y",)
        assert np.isfinite(scorer.scores(features[:1])).all()
        with pytest.raises(InputError, match=r"Missing values \(NaN\) in 'x'"):
            scorer.scores(features)


def test_a_folder_is_scored_as_by_the_trees(stored_trees):
    table, trees, folder = stored_trees
    scorer = load_scorer(folder)
    assert np.array_equal(scorer.scores(table.features), trees.scores(table.features))
    folds = scorer.fold_scores(table.features)
    assert np.array_equal(
        folds[np.arange(len(folds)), table.fold], trees.out_of_fold_scores(table.features, table.fold)
    )


def test_metadata_name_the_loss(stored_trees):
    _, trees, folder = stored_trees
    metadata = OnnxScorer(folder / "model.onnx").metadata
    assert (metadata.loss, metadata.input_hash, metadata.fold_count) == ("Z loss", trees.input_hash, 5)


def test_without_missing_values_none_may_be_missing(tmp_path):
    pytest.importorskip("onnxruntime")
    table = make_table(300)
    trees = train_trees(table, tree_settings(seeds=1))
    export_onnx(trees, tmp_path / "model.onnx", describe(trees))
    scorer = OnnxScorer(tmp_path / "model.onnx")
    assert scorer.metadata.may_be_missing == ()
    assert scorer.scores(table.features) == pytest.approx(trees.scores(table.features), abs=1e-12)
