"""Export of a trained ensemble as one ONNX model, from features to scores, with preprocessing and calibration."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path
from zsig_hep.learning.classifier.boosted_trees import BoostedTrees
from zsig_hep.learning.classifier.calibration import LEVELS
from zsig_hep.learning.classifier.classifier import Classifier
from zsig_hep.learning.classifier.embedding import PeriodicEmbedding
from zsig_hep.learning.classifier.network import StackedLinear
from zsig_hep.learning.classifier.preprocessing import LARGEST, LIMIT
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.scoring.metadata import ModelMetadata
from zsig_hep.scoring.onnx_digest import with_digest
from zsig_hep.scoring.onnx_graph import OnnxGraph
from zsig_hep.scoring.onnx_trees import forest_logits

# Steps of a bisection over 256 places, to which the 201 quantiles are padded.
_STEPS = (128, 64, 32, 16, 8, 4, 2, 1)
_PLACES = 2 * _STEPS[0]
_LAST_SEGMENT = len(LEVELS) - 2


def can_export_onnx() -> bool:
    """Whether the extra `onnx` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxruntime"))


def export_onnx(classifier: Classifier | BoostedTrees, path: Path, metadata: ModelMetadata) -> None:
    """Write a classifier as an ONNX model that gives the same scores.

    The input `features`, float32 of shape (N, F), has columns in the order of the metadata's feature names, NaN where
    a value is missing.  The outputs are float64: `score`, shape (N,), the mean over all members, for new events;
    `fold_scores`, shape (N, K), whose column k is the mean over the members that were not trained on fold k; and each
    of these columns as `fold_0`, `fold_1`..., for programs that compute the networks of one fold only.  Scores are NaN
    for events that the classifier refuses: with an infinite feature, or one that may not be missing.

    The last property of the model, `zsig_hep.sha256`, is the digest of the rest of the file, which `OnnxScorer` checks.

    Opset 17, for boosted trees with opset 3 of ai.onnx.ml, IR version 8.  Everything is computed in float64, as in
    `TrainedEnsemble.logits`, for the reason given there.

    Args:
        classifier: the trained networks or boosted trees.
        path: the ONNX file, which appears only when it is complete.
        metadata: stored as properties of the model, each as JSON.

    Raises:
        InputError: the extra `onnx` is not installed.
        OutputError: a fold has no member, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from zsig_hep.learning import train, TrainingSettings
        >>> from zsig_hep.scoring.metadata import model_metadata
        >>> from zsig_hep.ntuples import EventTable
        >>> x = np.arange(60) % 20 - 10.0
        >>> table = EventTable.from_arrays({"x": x}, weight=np.ones(60), process=np.where(x > 0, "h", "dy"),
        ...     roles={"h": "signal", "dy": "background"}, luminosity_ifb=1.0, folds=3)
        >>> phase = {"epochs": 1, "batch_size": 16}
        >>> settings = TrainingSettings.model_validate({"hidden": [2], "warm_start": phase, "main": phase})
        >>> classifier = train(table, settings)
        >>> path = Path(tempfile.mkdtemp()) / "model.onnx"
        >>> export_onnx(classifier, path, model_metadata(
        ...     classifier, fold_seed=0, event_identity="content", datasets=()))
        >>> from zsig_hep.scoring.onnx_scorer import OnnxScorer
        >>> difference = OnnxScorer(path).scores(table.features) - classifier.scores(table.features)
        >>> bool(np.abs(difference).max() < 1e-6)
        True
    """
    graph = OnnxGraph()
    # Events are the last axis, along which ONNX Runtime broadcasts several times faster.
    transposed = graph.apply("Transpose", "features", perm=[1, 0])
    features = graph.apply("Cast", transposed, to=graph.onnx.TensorProto.DOUBLE)
    poison = _poison(graph, features, ~np.isin(classifier.feature_names, classifier.may_be_missing))
    numbers = [_members_of_fold(classifier, fold) for fold in range(metadata.fold_count)]
    folds = [_fold_score(graph, features, poison, classifier, members, fold) for fold, members in enumerate(numbers)]
    _together(graph, folds, [len(members) for members in numbers])
    outputs: dict[str, list[object]] = {"score": ["events"], "fold_scores": ["events", metadata.fold_count]}
    content = graph.serialise(
        {"features": ["events", len(metadata.feature_names)]},
        outputs | {fold: ["events"] for fold in folds},
        metadata.to_properties(),
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(with_digest(content))


def _members_of_fold(classifier: TrainedEnsemble, fold: int) -> npt.NDArray[np.int64]:
    members = np.flatnonzero(classifier.history.member_fold == fold)
    if not len(members):
        message = f"The model has no member for fold {fold}; train with every fold to export it."
        raise OutputError(message)
    return members


def _fold_score(
    graph: OnnxGraph,
    features: str,
    poison: str,
    classifier: Classifier | BoostedTrees,
    members: npt.NDArray[np.int64],
    fold: int,
) -> str:
    """Scores (N,) of events (F, N), the mean over the members of a fold."""
    if isinstance(classifier, BoostedTrees):
        logits = forest_logits(graph, "features", [classifier.forests[member] for member in members])
    else:
        logits = _networks(graph, features, classifier, members)
    shares = _signal_shares(graph, logits, classifier.quantiles[members])
    mean = graph.apply("ReduceMean", shares, axes=[0], keepdims=0)
    return graph.apply("Add", mean, poison, name=f"fold_{fold}")


def _standardised(graph: OnnxGraph, features: str, classifier: Classifier, members: npt.NDArray[np.int64]) -> list[str]:
    """Standardised features (M, F, N) of features (F, N), and their indicators (M, I, N) if there are any."""
    preprocessing = classifier.preprocessing
    features = graph.apply("Unsqueeze", features, graph.constant([0], np.int64))
    absent = graph.apply("IsNaN", features)
    if not np.isnan(preprocessing.fill).all():
        features = graph.apply(
            "Where", absent, graph.constant(preprocessing.fill[members, :, None], np.float64), features
        )
    centre, scale = (part[members, :, None] for part in (preprocessing.centre, preprocessing.scale))
    centred = graph.apply("Sub", features, graph.constant(centre, np.float64))
    # The reciprocal is rounded to float32, as in `Standardisation`.
    z = graph.apply("Mul", centred, graph.constant(1 / scale, np.float64))
    parts = [_bounded(graph, z) if preprocessing.is_bounded else z]
    if preprocessing.indicated:
        columns = graph.constant(preprocessing.indicated_columns, np.int64)
        ones = graph.constant(np.ones((len(members), 1, 1)), np.float64)
        chosen = graph.apply("Gather", absent, columns, axis=1)
        parts.append(graph.apply("Where", chosen, ones, graph.constant(0.0, np.float64)))
    return parts


def _bounded(graph: OnnxGraph, z: str) -> str:
    limits = (graph.constant(limit, np.float64) for limit in (-LARGEST, LARGEST))
    z = graph.apply("Clip", z, *limits)
    ratio = graph.apply("Div", z, graph.constant(LIMIT, np.float64))
    square = graph.apply("Add", graph.apply("Mul", ratio, ratio), graph.constant(1.0, np.float64))
    return graph.apply("Div", z, graph.apply("Sqrt", square))


def _embedded(graph: OnnxGraph, z: str, embedding: PeriodicEmbedding, members: npt.NDArray[np.int64]) -> str:
    """Linear combinations of the cosines, (M, F d, N), of standardised features (M, F, N)."""
    features, width = embedding.features, embedding.settings.width
    phase, frequency, weight, bias = (
        part.detach().numpy()[members].astype(np.float64)
        for part in (embedding.phase, embedding.frequency, embedding.weight, embedding.bias)
    )
    z = graph.apply("Unsqueeze", z, graph.constant([2], np.int64))
    angles = graph.apply("Mul", z, graph.constant(2 * np.pi * frequency[..., None], np.float64))
    angles = graph.apply("Add", angles, graph.constant(2 * np.pi * phase[..., None], np.float64))
    matrices = weight.reshape(len(members), features, -1, width).swapaxes(2, 3)
    combined = graph.apply("MatMul", graph.constant(matrices, np.float64), graph.apply("Cos", angles))
    combined = graph.apply("Add", combined, graph.constant(bias[..., None], np.float64))
    events = graph.apply("Shape", combined, start=3)
    shape = graph.apply("Concat", graph.constant([len(members), features * width], np.int64), events, axis=0)
    return graph.apply("Reshape", combined, shape, allowzero=1)


def _networks(graph: OnnxGraph, features: str, classifier: Classifier, members: npt.NDArray[np.int64]) -> str:
    """Standardise and apply members: (F, N) to (M, N)."""
    parts = _standardised(graph, features, classifier, members)
    if classifier.network.embedding is not None:
        parts.insert(1, _embedded(graph, parts[0], classifier.network.embedding, members))
    outputs = graph.apply("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    for layer in classifier.network.layers:
        if isinstance(layer, StackedLinear):
            weight, bias = (part.detach().numpy()[members].swapaxes(1, 2) for part in (layer.weight, layer.bias))
            product = graph.apply("MatMul", graph.constant(weight, np.float64), outputs)
            outputs = graph.apply("Add", product, graph.constant(bias, np.float64))
        else:
            outputs = _ACTIVATIONS[type(layer)](graph, outputs)
    return graph.apply("Squeeze", outputs, graph.constant([1], np.int64))


def _silu(graph: OnnxGraph, x: str) -> str:
    """Compute x / (1 + e^-x): ONNX Runtime has no vectorised sigmoid of float64."""
    decayed = graph.apply("Exp", graph.apply("Neg", x))
    return graph.apply("Div", x, graph.apply("Add", decayed, graph.constant(1.0, np.float64)))


_ACTIVATIONS: dict[type[nn.Module], Callable[[OnnxGraph, str], str]] = {
    nn.ReLU: lambda graph, x: graph.apply("Relu", x),
    nn.SiLU: _silu,
    nn.Tanh: lambda graph, x: graph.apply("Tanh", x),
}


def _signal_shares(graph: OnnxGraph, logits: str, quantiles: npt.NDArray[np.float32]) -> str:
    """Calibrate logits (M, N) as `signal_share_below` does, with temporary arrays of M x N numbers only.

    The last quantile that is not larger than a logit is found by bisection in eight steps, in one constant that holds
    the quantiles of all members one after the other.
    """
    knots = quantiles.astype(np.float64)
    widths, heights = np.diff(knots), np.diff(LEVELS)
    slopes = np.divide(heights, widths, out=np.zeros_like(widths), where=widths > 0)
    start = np.arange(len(knots))[:, None] * _PLACES
    table = graph.constant(_padded(knots, np.inf), np.float64)
    first = graph.constant(start, np.int64)
    place = first
    for step in _STEPS:
        candidate = graph.apply("Add", place, graph.constant(step, np.int64))
        reached = graph.apply("LessOrEqual", graph.apply("Gather", table, candidate), logits)
        place = graph.apply("Where", reached, candidate, place)
    place = graph.apply("Min", place, graph.constant(start + _LAST_SEGMENT, np.int64))
    beyond = graph.apply("Sub", logits, graph.apply("Gather", table, place))
    slope = graph.apply("Gather", graph.constant(_padded(slopes, 0.0), np.float64), place)
    level = graph.apply("Gather", graph.constant(_padded(np.broadcast_to(LEVELS, knots.shape), 1.0), np.float64), place)
    inside = graph.apply("Add", graph.apply("Mul", slope, beyond), level)
    above = graph.apply("GreaterOrEqual", logits, graph.constant(knots[:, -1:], np.float64))
    below = graph.apply("Less", logits, graph.constant(knots[:, :1], np.float64))
    capped = graph.apply("Where", above, graph.constant(1.0, np.float64), inside)
    return graph.apply("Where", below, graph.constant(0.0, np.float64), capped)


def _padded(rows: npt.NDArray[np.float64], value: float) -> npt.NDArray[np.float64]:
    padding = ((0, 0), (0, _PLACES - rows.shape[1]))
    return np.pad(rows, padding, constant_values=value).ravel()


def _poison(graph: OnnxGraph, features: str, ruleless: npt.NDArray[np.bool_]) -> str:
    """Zero for events that can be scored and NaN for all others, shape (N,), as zero times infinity is NaN."""
    fill = graph.constant(np.where(ruleless, np.nan, 0.0)[:, None], np.float64)
    filled = graph.apply("Where", graph.apply("IsNaN", features), fill, features)
    nothing = graph.apply("Mul", filled, graph.constant(0.0, np.float64))
    return graph.apply("ReduceSum", nothing, graph.constant([0], np.int64), keepdims=0)


def _together(graph: OnnxGraph, folds: Sequence[str], members: Sequence[int]) -> None:
    """Outputs with the scores of all folds, and with the mean over all members."""
    columns = [graph.apply("Unsqueeze", fold, graph.constant([1], np.int64)) for fold in folds]
    graph.apply("Concat", *columns, axis=1, name="fold_scores")
    share = graph.constant(np.array(members)[:, None] / sum(members), np.float64)
    mean = graph.apply("MatMul", "fold_scores", share)
    graph.apply("Squeeze", mean, graph.constant([1], np.int64), name="score")
