import builtins
import importlib

import numpy as np
import pytest

from tests.scoring.models import describe
from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.scoring.onnx_export import export_onnx
from zsig_hep.scoring.onnx_scorer import OnnxScorer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_an_absent_extra_is_named(trained, tmp_path, monkeypatch):
    _, classifier = trained

    def without_onnx(name, package=None):
        if name == "onnx":
            raise ImportError(name)
        return builtins.__import__(name)

    monkeypatch.setattr(importlib, "import_module", without_onnx)
    with pytest.raises(InputError, match=r"pip install 'zsig_hep\[onnx\]'"):
        export_onnx(classifier, tmp_path / "model.onnx", describe(classifier))


def small_onnx(opset=17, ir_version=8, properties=None):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["n", 2]) for name in ("features", "score")]
    graph = helper.make_graph([helper.make_node("Identity", ["features"], ["score"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    helper.set_model_props(model, properties or {})
    return model.SerializeToString()


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


def test_events_of_several_blocks_keep_their_order(stored):
    table, _, _, path = stored
    scorer = OnnxScorer(path)
    whole = scorer.scores(table.features)
    assert len(table) > 2 * 512
    np.testing.assert_allclose(scorer.scores(table.features[::-1]), whole[::-1], rtol=1e-12)


def test_only_the_networks_of_a_fold_run_for_its_events(stored, monkeypatch):
    table, _, _, path = stored
    scorer, asked = OnnxScorer(path), []

    def run(output, features, session):
        asked.append((output, len(features), [each.name for each in session.get_outputs()]))
        return np.zeros(len(features))

    monkeypatch.setattr(scorer, "_run", run)
    scorer.out_of_fold_scores(table.features, table.fold)
    counts = np.bincount(table.fold)
    assert asked == [(f"fold_{k}", counts[k], [f"fold_{k}"]) for k in range(5)]
