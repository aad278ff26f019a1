from dataclasses import replace

import pytest
import torch

from zsig_hep.errors import ModelFileError
from zsig_hep.scoring.onnx_scorer import OnnxScorer
from zsig_hep.scoring.torch_scorer import TorchScorer, load_scorer


def test_torch_has_its_threads_back(stored):
    table, _, folder, _ = stored
    torch.set_num_threads(2)
    try:
        TorchScorer(folder).scores(table.features[:9])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_absent_models_are_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"model .*absent\.onnx cannot be read: No such file"):
        load_scorer(tmp_path / "absent.onnx")
    with pytest.raises(ModelFileError, match="There is no model file"):
        load_scorer(tmp_path)


def test_the_path_decides_the_backend(stored):
    _, _, folder, path = stored
    assert isinstance(load_scorer(path), OnnxScorer)
    scorer = load_scorer(folder)
    assert isinstance(scorer, TorchScorer)
    assert scorer.metadata.datasets is None


def test_metadata_of_another_model_are_refused(stored):
    _, _, folder, path = stored
    with pytest.raises(ModelFileError, match="trained on other events"):
        TorchScorer(folder, replace(OnnxScorer(path).metadata, input_hash="other"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_names": ("y", "x")}, r"feature_names is \('y', 'x'\), of the model \('x', 'y'\)"),
        ({"fold_count": 4, "thresholds": ()}, "fold_count is 4, of the model 5"),
        ({"may_be_missing": ()}, "may_be_missing is"),
        ({"thresholds": (0.5,)}, "cannot be used: 1 thresholds for 5 folds"),
    ],
)
def test_metadata_of_other_features_or_folds_are_refused(stored, changes, message):
    _, _, folder, path = stored
    with pytest.raises(ModelFileError, match=message):
        TorchScorer(folder, replace(OnnxScorer(path).metadata, **changes))


def test_a_damaged_model_folder_is_refused(stored, tmp_path):
    _, classifier, *_ = stored
    classifier.save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelFileError, match="damaged"):
        TorchScorer(tmp_path)
