import pickle

import numpy as np
import pytest
import torch

from tests.learning.toy import make_table
from tests.scoring.test_onnx_export import describe, trained_on
from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.scoring.onnx_export import export_onnx
from zsig_hep.scoring.onnx_scorer import OnnxScorer
from zsig_hep.scoring.torch_scorer import TorchScorer, load_scorer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A table, its classifier, the folder of the model and the ONNX file."""
    folder = tmp_path_factory.mktemp("model")
    table = make_table(900, missing=True)
    classifier = trained_on(table, missing={"y": "median"})
    classifier.save(folder)
    export_onnx(classifier, folder / "model.onnx", describe(classifier, thresholds=(0.5,) * 5))
    return table, classifier, folder, folder / "model.onnx"


@pytest.fixture(params=["onnx", "torch"])
def scorer(request, stored):
    _, _, folder, path = stored
    return OnnxScorer(path) if request.param == "onnx" else TorchScorer(folder, OnnxScorer(path).metadata)


def small_onnx(opset=17, ir_version=8, properties=None):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["n", 2]) for name in ("features", "score")]
    graph = helper.make_graph([helper.make_node("Identity", ["features"], ["score"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    helper.set_model_props(model, properties or {})
    return model.SerializeToString()


def test_scores_are_those_of_the_training(stored, scorer):
    table, classifier, *_ = stored
    assert scorer.scores(table.features) == pytest.approx(classifier.scores(table.features), abs=1e-6)
    by_fold = scorer.fold_scores(table.features)
    assert by_fold.shape == (len(table), scorer.fold_count)
    own = scorer.out_of_fold_scores(table.features, table.fold)
    assert np.array_equal(own, by_fold[np.arange(len(table)), table.fold])
    assert own == pytest.approx(classifier.out_of_fold_scores(table.features, table.fold), abs=1e-6)


def test_scorers_know_how_they_are_applied(scorer):
    assert scorer.feature_names == ("x", "y")
    assert scorer.fold_count == scorer.metadata.fold_count == 5
    assert scorer.metadata.may_be_missing == ("y",)
    assert scorer.metadata.threshold == 0.5


def test_scorers_travel_without_their_model(stored, scorer):
    table, *_ = stored
    expected = scorer.scores(table.features)
    travelled = pickle.loads(pickle.dumps(scorer))
    assert set(vars(travelled)) <= {"path", "_content", "folder", "metadata"}
    assert np.array_equal(travelled.scores(table.features), expected)


def test_no_events(scorer):
    nothing = np.empty((0, 2), dtype="f4")
    assert scorer.scores(nothing).shape == (0,)
    assert scorer.fold_scores(nothing).shape == (0, 5)
    assert scorer.out_of_fold_scores(nothing, np.empty(0, dtype="i2")).shape == (0,)


def test_the_result_does_not_depend_on_the_other_events(stored, scorer):
    table, *_ = stored
    alone = np.concatenate([scorer.scores(row[None]) for row in table.features[:5]])
    assert alone == pytest.approx(scorer.scores(table.features)[:5], abs=1e-6)


def test_torch_has_its_threads_back(stored):
    table, _, folder, _ = stored
    torch.set_num_threads(2)
    try:
        TorchScorer(folder).scores(table.features[:9])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_unusable_features_are_refused(scorer):
    with pytest.raises(ModelFileError, match=r"takes 2 features per event, found shape \(3, 3\)"):
        scorer.scores(np.zeros((3, 3), "f4"))
    with pytest.raises(ModelFileError, match=r"found shape \(2,\)"):
        scorer.fold_scores(np.zeros(2, "f4"))
    with pytest.raises(InputError, match=r"Missing values \(NaN\) in 'x'"):
        scorer.scores(np.array([[np.nan, 0.0]], "f4"))
    with pytest.raises(InputError, match="Infinite values in 'y'"):
        scorer.scores(np.array([[0.0, np.inf]], "f4"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda model: small_onnx(opset=99),
            r"has opset 99, the runtime reads up to \d+\. Install a newer onnxruntime",
        ),
        (lambda model: small_onnx(ir_version=99), r"has IR version 99, the runtime reads up to \d+"),
        (lambda model: model[: len(model) // 2], "damaged or no ONNX model"),
        (lambda model: b"", "damaged or no ONNX model"),
        (lambda model: b"hello", "damaged or no ONNX model"),
        (
            lambda model: small_onnx(),
            "not one that this version of zsig_hep wrote .no property 'zsig_hep.feature_names'",
        ),
    ],
    ids=["opset", "ir", "truncated", "empty", "text", "foreign"],
)
def test_files_that_are_no_usable_model_are_refused(stored, tmp_path, content, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(content(stored[3].read_bytes()))
    with pytest.raises(ModelFileError, match=message):
        OnnxScorer(path)


def test_another_format_is_refused(stored, tmp_path):
    properties = describe(stored[1]).to_properties() | {"zsig_hep.format": "99"}
    (tmp_path / "model.onnx").write_bytes(small_onnx(properties=properties))
    with pytest.raises(ModelFileError, match="format 99, expected 1"):
        OnnxScorer(tmp_path / "model.onnx")


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
    from dataclasses import replace

    with pytest.raises(ModelFileError, match="trained on other events"):
        TorchScorer(folder, replace(OnnxScorer(path).metadata, input_hash="other"))


def test_a_damaged_model_folder_is_refused(stored, tmp_path):
    _, classifier, *_ = stored
    classifier.save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelFileError, match="damaged"):
        TorchScorer(tmp_path)
