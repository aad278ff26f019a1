import numpy as np
import pytest

from zsig_hep.scoring.onnx_graph import IR_VERSION, OPSET, OnnxGraph

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def twice_plus_one():
    """The sum over features of 2 x + 1, in float64."""
    graph = OnnxGraph()
    x = graph.apply("Cast", "features", to=graph.onnx.TensorProto.DOUBLE)
    doubled = graph.apply("Mul", x, graph.constant(2, np.float64))
    shifted = graph.apply("Add", doubled, graph.constant([1, 1], np.float64))
    graph.apply("ReduceSum", shifted, graph.constant([1], np.int64), keepdims=0, name="score")
    return graph


def serialised(graph, outputs=None, about=None):
    return graph.serialise({"features": ["events", 2]}, outputs or {"score": ["events"]}, about or {})


def test_operators_compute_what_they_are_named():
    session = runtime.InferenceSession(serialised(twice_plus_one()), providers=["CPUExecutionProvider"])
    x = np.array([[1.0, 2.0], [3.0, -4.0], [0.1, 0.0]], "f4")
    (score,) = session.run(["score"], {"features": x})
    assert score.dtype == np.float64
    np.testing.assert_array_equal(score, (2 * x.astype("f8") + 1).sum(axis=1))


def test_names_of_outputs_and_constants_are_their_own():
    graph = twice_plus_one()
    names = [output for node in graph.nodes for output in node.output] + [each.name for each in graph.constants]
    assert len(set(names)) == len(names) == 7
    assert names[3] == "score"


def test_constants_are_stored_in_the_kind_that_is_asked_for():
    graph = OnnxGraph()
    graph.constant(np.arange(6, dtype="f8").reshape(2, 3).T, np.float32)
    stored = onnx.numpy_helper.to_array(graph.constants[0])
    assert stored.dtype == np.float32
    assert stored.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_the_file_says_its_versions_and_what_it_was_told_about():
    model = onnx.load_model_from_string(serialised(twice_plus_one(), about={"key": "value"}))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert (model.ir_version, model.producer_name) == (IR_VERSION, "zsig_hep")
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("key", "value")]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "events"


def test_a_graph_that_does_not_compute_its_output_is_refused():
    with pytest.raises(onnx.checker.ValidationError, match="scores"):
        serialised(twice_plus_one(), {"scores": ["events"]})
