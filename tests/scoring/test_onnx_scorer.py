import builtins
import importlib
import json

import numpy as np
import pytest

from tests.scoring.models import describe
from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.scoring.onnx_digest import with_digest
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
    return with_digest(model.SerializeToString())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda model: small_onnx(opset=99),
            r"has opset 99, the runtime reads up to \d+\. Install a newer onnxruntime",
        ),
        (lambda model: small_onnx(ir_version=99), r"has IR version 99, the runtime reads up to \d+"),
        (lambda model: model[: len(model) // 2], "damaged or no ONNX model that this version of zsig_hep wrote"),
        (lambda model: b"", "damaged or no ONNX model"),
        (lambda model: b"hello", "damaged or no ONNX model"),
        (lambda model: with_digest(b"hello"), "damaged or no ONNX model"),
        (lambda model: model[:-85], "damaged or no ONNX model that this version of zsig_hep wrote"),
        (
            lambda model: small_onnx(),
            "not one that this version of zsig_hep wrote .no property 'zsig_hep.feature_names'",
        ),
    ],
    ids=["opset", "ir", "truncated", "empty", "text", "text with a digest", "no digest", "foreign"],
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


def edited(path, folder, properties=None, edit=lambda graph: None):
    """A copy of a model with other properties or another graph, and with the digest of its content."""
    model = onnx.load(path)
    del model.metadata_props[-1]
    known = {each.key: each.value for each in model.metadata_props}
    changed = {f"zsig_hep.{key}": json.dumps(value) for key, value in (properties or {}).items()}
    onnx.helper.set_model_props(model, known | changed)
    edit(model.graph)
    (folder / "model.onnx").write_bytes(with_digest(model.SerializeToString()))
    return folder / "model.onnx"


def test_a_copy_with_the_same_content_is_the_same_model(stored, tmp_path):
    table, _, _, path = stored
    copy = OnnxScorer(edited(path, tmp_path))
    assert copy.metadata == OnnxScorer(path).metadata
    assert np.array_equal(copy.scores(table.features), OnnxScorer(path).scores(table.features))


@pytest.mark.parametrize("place", [0.05, 0.3, 0.6, 0.9, 0.97, 0.999])
def test_a_flipped_bit_is_refused(stored, tmp_path, place):
    content = bytearray(stored[3].read_bytes())
    content[int(place * len(content))] ^= 4
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.onnx cannot be used: it is damaged"):
        OnnxScorer(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"fold_count": 4, "thresholds": []}, "the metadata have 4 folds, the outputs are"),
        ({"fold_count": 10**9, "thresholds": []}, "the metadata have 1000000000 folds"),
        ({"feature_names": ["x", "y", "z"]}, r"the metadata have 3 features, the inputs are .*\[2\]"),
        ({"may_be_missing": ["x", "y"]}, "not those of its graph: other features may be missing"),
        ({"may_be_missing": []}, "not those of its graph: other features may be missing"),
        ({"thresholds": [0.5]}, "not one that this version of zsig_hep wrote .1 thresholds for 5 folds"),
        ({"fold_count": True}, "fold_count: Input should be a valid integer, found True"),
    ],
)
def test_metadata_of_another_graph_are_refused(stored, tmp_path, properties, message):
    path = edited(stored[3], tmp_path, properties)
    with pytest.raises(ModelFileError, match=rf"model\.onnx .*{message}"):
        OnnxScorer(path)


def drop_an_output(graph):
    output = next(each for each in graph.output if each.name == "fold_2")
    graph.output.remove(output)


def exchange_columns(graph):
    concat = next(node for node in graph.node if node.output[0] == "fold_scores")
    concat.input[0], concat.input[1] = concat.input[1], concat.input[0]


def append(operator, value):
    """A change that makes the score the result of one more operator with a constant."""

    def edit(graph):
        graph.node[-1].output[0] = "before"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), "constant"))
        graph.node.append(onnx.helper.make_node(operator, ["before", "constant"], ["score"]))

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop_an_output, "the metadata have 5 folds, the outputs are"),
        (exchange_columns, "fold_0, fold_1... are not the columns of fold_scores"),
        (append("Add", 7.0), r"gives scores that are not in \[0, 1\]"),
        (append("Mul", -1.0), r"gives scores that are not in \[0, 1\]"),
        (append("Gather", [0, 0]), "gives 2 scores for 3 events"),
        (append("Unsqueeze", [1]), "not all of the outputs .* are scores of one fold"),
        (append("Reshape", [7]), "cannot be computed: .*Reshape"),
    ],
)
def test_a_graph_with_other_outputs_is_refused(stored, tmp_path, edit, message):
    assert stored[1].scores(np.zeros((1, 2), "f4")) > 0
    path = edited(stored[3], tmp_path, edit=edit)
    with pytest.raises(ModelFileError, match=message):
        OnnxScorer(path)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_without_networks_is_named(stored, fold):
    table, _, _, path = stored
    folds = table.fold.copy()
    folds[7] = fold
    with pytest.raises(ModelFileError, match=f"of fold {fold}, for which .* it has 5 folds, 0 to 4"):
        OnnxScorer(path).out_of_fold_scores(table.features, folds)


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
