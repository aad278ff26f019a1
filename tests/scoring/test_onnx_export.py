import json
from dataclasses import replace

import numpy as np
import pytest

from tests.learning.toy import make_table
from tests.scoring.models import describe, trained_on
from zsig_hep import __version__
from zsig_hep.errors import OutputError
from zsig_hep.scoring.metadata import ModelMetadata
from zsig_hep.scoring.onnx_export import export_onnx
from zsig_hep.scoring.onnx_graph import IR_VERSION, OPSET

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(classifier, path, features):
    export_onnx(classifier, path, describe(classifier))
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["score", "fold_scores"], {"features": features})


@pytest.fixture(scope="module")
def trained_with_missing():
    table = make_table(600, missing=True)
    return table, trained_on(table, missing={"y": "mean"})


@pytest.mark.parametrize("embedding", ["none", {"frequencies": 4, "scale": 0.5, "width": 2}], ids=["plain", "periodic"])
@pytest.mark.parametrize(("activation", "hidden"), [("relu", [8]), ("silu", [7, 5]), ("tanh", [8]), ("silu", [])])
def test_scores_are_those_of_torch(tmp_path, activation, hidden, embedding):
    table = make_table(300)
    classifier = trained_on(table, activation=activation, hidden=hidden, embedding=embedding)
    score, fold_scores = run(classifier, tmp_path / "model.onnx", table.features)
    assert score.dtype == fold_scores.dtype == np.float64
    assert fold_scores.shape == (len(table), table.fold_count)
    assert score == pytest.approx(classifier.scores(table.features), abs=1e-6)
    own = fold_scores[np.arange(len(table)), table.fold]
    assert own == pytest.approx(classifier.out_of_fold_scores(table.features, table.fold), abs=1e-6)
    assert np.ptp(fold_scores, axis=1).max() > 1e-3


@pytest.mark.parametrize("embedding", ["none", "periodic"])
@pytest.mark.parametrize("rules", [{"y": "mean"}, {}], ids=["rule", "indicator"])
def test_missing_values_are_filled_in_by_the_model(tmp_path, rules, embedding):
    table = make_table(600, missing=True)
    classifier = trained_on(table, missing=rules, embedding=embedding)
    score, fold_scores = run(classifier, tmp_path / "model.onnx", table.features)
    assert np.isnan(table.features[:, 1]).any()
    assert score == pytest.approx(classifier.scores(table.features), abs=1e-6)
    own = fold_scores[np.arange(len(table)), table.fold]
    assert own == pytest.approx(classifier.out_of_fold_scores(table.features, table.fold), abs=1e-6)


@pytest.mark.parametrize("embedding", ["none", "periodic"])
def test_values_far_outside_are_scored_as_by_torch(tmp_path, embedding):
    classifier = trained_on(make_table(300), embedding=embedding)
    largest = np.finfo(np.float32).max
    features = np.array([[largest, -largest], [1e12, 0], [-1e6, 3e4], [40, -40]], dtype=np.float32)
    score, _ = run(classifier, tmp_path / "model.onnx", features)
    assert score == pytest.approx(classifier.scores(features), abs=1e-9)


def test_events_that_cannot_be_scored_get_nan(trained_with_missing, tmp_path):
    _, classifier = trained_with_missing
    features = np.array([[0.5, 0.5], [np.nan, 0.5], [0.5, np.nan], [np.inf, 0.5], [0.5, -np.inf]], dtype="f4")
    score, fold_scores = run(classifier, tmp_path / "model.onnx", features)
    assert np.isnan(score).tolist() == [False, True, False, True, True]
    assert np.array_equal(np.isnan(fold_scores).any(axis=1), np.isnan(score))


@pytest.mark.parametrize(
    "quantiles",
    [
        np.repeat(0.25, 201),
        np.concatenate([np.repeat(-1.0, 70), np.linspace(-1, 1, 61), np.repeat(1.0, 70)]),
        np.sort(np.random.default_rng(1).normal(size=201)),
        np.round(np.linspace(-1, 1, 201), 1),
    ],
    ids=["constant", "ties at both ends", "irregular", "steps"],
)
def test_calibration_is_that_of_numpy_at_knots_between_and_beyond(trained, tmp_path, quantiles):
    """A linear network of one weight gives logits that are its feature, so that every place is reached exactly."""
    _, classifier = trained
    identity = make_identity(classifier, quantiles.astype("f4"))
    knots = quantiles.astype("f4")
    points = np.concatenate([knots, (knots[1:] + knots[:-1]) / 2, [-9, 9], np.nextafter(knots, np.float32(9))])
    features = np.stack([points, np.zeros_like(points)], axis=1).astype("f4")
    assert np.array_equal(identity.logits(features)[0], features[:, 0])
    score, _ = run(identity, tmp_path / "model.onnx", features)
    assert score == pytest.approx(identity.scores(features), abs=1e-12)
    assert score[-len(knots) - 2 : -len(knots)].tolist() == [0.0, 1.0]


def make_identity(classifier, quantiles):
    from zsig_hep.learning.classifier.network import StackedMLP

    members = len(classifier.history.member_fold)
    network = StackedMLP(2, [], member_seeds=[0] * members)
    layer = network.layers[0]
    layer.weight.data[:] = 0.0
    layer.weight.data[:, 0] = 1.0
    layer.bias.data[:] = 0.0
    flat = {"centre": np.zeros((members, 2), "f4"), "scale": np.ones((members, 2), "f4")}
    preprocessing = replace(classifier.preprocessing, **flat, is_bounded=False)
    return replace(
        classifier, network=network, preprocessing=preprocessing, quantiles=np.tile(quantiles, (members, 1)), hidden=()
    )


def test_any_number_of_events(trained, tmp_path):
    table, classifier = trained
    for count in (0, 1, 7):
        score, fold_scores = run(classifier, tmp_path / "model.onnx", table.features[:count])
        assert score.shape == (count,)
        assert fold_scores.shape == (count, table.fold_count)


def test_memory_does_not_grow_with_the_number_of_quantiles(trained, tmp_path):
    """No tensor of the model has an axis of quantiles: its constants are flat, and nothing else has fixed shapes."""
    _, classifier = trained
    export_onnx(classifier, tmp_path / "model.onnx", describe(classifier))
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx"))
    shapes = [[d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.value_info]
    assert shapes
    assert max(length for shape in shapes for length in shape) <= 10


def test_properties_say_how_the_model_is_applied(trained, tmp_path):
    _, classifier = trained
    thresholds = (0.9, 0.8, 0.85, 0.95, 0.7)
    metadata = describe(classifier, thresholds=thresholds, units={"x": "GeV"})
    export_onnx(classifier, tmp_path / "model.onnx", metadata)
    model = onnx.load(tmp_path / "model.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["zsig_hep.feature_names"] == '["x", "y"]'
    assert json.loads(properties["zsig_hep.threshold"]) == pytest.approx(0.84)
    assert properties["zsig_hep.zsig_hep_version"] == f'"{__version__}"'
    assert ModelMetadata.from_properties(properties) == metadata
    assert (metadata.fold_seed, metadata.event_identity, metadata.datasets) == (3, ("run", "event"), ("h", "dy"))
    assert (metadata.thresholds, metadata.units) == (thresholds, {"x": "GeV"})
    assert (metadata.may_be_missing, metadata.input_hash) == ((), classifier.input_hash)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION


def test_a_model_without_a_member_for_a_fold_is_refused(trained, tmp_path):
    _, classifier = trained
    metadata = describe(classifier)
    fold = np.where(classifier.history.member_fold == 2, 1, classifier.history.member_fold)
    partial = replace(classifier, history=replace(classifier.history, member_fold=fold))
    with pytest.raises(OutputError, match="no member for fold 2"):
        export_onnx(partial, tmp_path / "model.onnx", metadata)
    assert not list(tmp_path.iterdir())
