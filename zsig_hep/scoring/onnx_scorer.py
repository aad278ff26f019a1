"""Scores of exported models with ONNX Runtime, without torch."""

import importlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from zsig_hep.errors import InputError, ModelFileError, first_line
from zsig_hep.scoring.metadata import ModelMetadata
from zsig_hep.scoring.onnx_digest import has_its_digest
from zsig_hep.scoring.scorer import check_features, check_folds
from zsig_hep.settings import first_reason

_NEW_OPSET = re.compile(r"Opset (\d+) is under development.*till opset (\d+)")
_NEW_FORMAT = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")

# Events per call of ONNX Runtime, so that the activations of all members fit into the cache of the processor.
_EVENTS = 512


class OnnxScorer:
    """Scores with ONNX Runtime, on one thread, so that workers of coffea do not compete for cores.

    It is pickled with the content of the file, so that workers need no access to the file; each process makes its own
    sessions of ONNX Runtime.

    No code of the file is executed. The digest of the file, its metadata, and whether the graph has the features, folds
    and outputs of the metadata are checked once, here.

    Args:
        path: what `export_onnx` wrote.

    Raises:
        InputError: the extra `onnx` is not installed.
        ModelFileError: the file is missing, damaged, from another program or version, needs a newer runtime, or has
            metadata that are not those of its graph.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        try:
            self._content = Path(path).read_bytes()
        except OSError as error:
            message = f"The model {path} cannot be read: {error.strerror}. `zsig export ANALYSIS` writes it."
            raise ModelFileError(message) from error
        if not has_its_digest(self._content):
            message = (
                f"The model {path} cannot be used: it is damaged or no ONNX model that this version of zsig_hep wrote, as "
                "its last bytes are not the digest of the others. Export it again: `zsig export ANALYSIS`."
            )
            raise ModelFileError(message)
        session = _make_session(self._content, self.path)
        self.metadata = _metadata_of(session, self.path)
        _require_graph_of(self.metadata, session, self.path)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the model's inputs."""
        return self.metadata.feature_names

    @property
    def fold_count(self) -> int:
        """Number of folds, K."""
        return self.metadata.fold_count

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score new events with all members.

        Args:
            features: shape (N, F), columns in the order of `feature_names`, NaN where missing.

        Returns:
            Fraction of the signal with a lower score, in [0, 1], shape (N,).

        Raises:
            ModelFileError: the number of features is not that of the model.
            InputError: a feature is infinite, or missing without a rule.
        """
        return self._run("score", features, _make_session(self._content, self.path))

    def fold_scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score events with the members of each fold; arguments and errors as for `scores`.

        Returns:
            Shape (N, K); column k is from the members that were not trained on fold k.
        """
        return self._run("fold_scores", features, _make_session(self._content, self.path))

    def out_of_fold_scores(self, features: NDArray[np.float32], fold: NDArray[np.integer]) -> NDArray[np.float64]:
        """Score each event with the members that were not trained on its fold; otherwise as `scores`.

        Args:
            features: shape (N, F).
            fold: fold of each event, shape (N,).

        Returns:
            Shape (N,).

        Raises:
            InputError: as `scores`, or there is not one fold, a whole number, for each event.
            ModelFileError: as `scores`, or the model has no such fold.
        """
        check_folds(fold, len(features), self.fold_count)
        scores = np.full(len(features), np.nan)
        for k in range(self.fold_count):
            output = f"fold_{k}"
            session = _make_reduced_session(self._content, self.path, output)
            scores[fold == k] = self._run(output, features[fold == k], session)
        return scores

    def _run(self, output: str, features: NDArray[np.float32], session: Any) -> NDArray[np.float64]:
        check_features(features, self.metadata)
        blocks = [features[start : start + _EVENTS] for start in range(0, max(len(features), 1), _EVENTS)]
        parts = [_compute(session, [output], np.ascontiguousarray(block), self.path)[0] for block in blocks]
        return np.concatenate(parts)


def import_onnx_extra(name: str) -> Any:
    """Import a module of the extra `onnx`.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"ONNX models need the extra `onnx`, of which {name} is missing: pip install 'zsig_hep[onnx]'"
        raise InputError(message) from error


# Sessions are cached here, not in the scorer: coffea's workers unpickle their processor for every chunk.
@lru_cache(maxsize=64)
def _make_session(content: bytes, path: str) -> Any:
    runtime = import_onnx_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # The exceptions of ONNX Runtime have no common base class but Exception.
        message = f"The model {path} cannot be loaded by ONNX Runtime {runtime.__version__}: {_loading_problem(error)}"
        raise ModelFileError(message) from error


@lru_cache(maxsize=64)
def _make_reduced_session(content: bytes, path: str, output: str) -> Any:
    """A session for a model of one output, as ONNX Runtime always computes all outputs of a model."""
    onnx = import_onnx_extra("onnx")
    model = onnx.load_model_from_string(content)
    graph, needed, nodes = model.graph, {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    kept = {
        "node": nodes[::-1],
        "initializer": [each for each in graph.initializer if each.name in needed],
        "output": [each for each in graph.output if each.name == output],
    }
    for field, entries in kept.items():
        graph.ClearField(field)
        getattr(graph, field).extend(entries)
    return _make_session(model.SerializeToString(), path)


def _compute(session: Any, outputs: list[str], features: NDArray[np.float32], path: str) -> list[NDArray[np.float64]]:
    try:
        results: list[NDArray[np.float64]] = session.run(outputs, {"features": features})
    except Exception as error:
        # As for loading.
        message = f"The model {path} cannot be computed: {first_line(error)}. Export it again: `zsig export ANALYSIS`."
        raise ModelFileError(message) from error
    if lengths := {len(each) for each in results} - {len(features)}:
        message = f"The model {path} gives {lengths.pop()} scores for {len(features)} events. Export it again."
        raise ModelFileError(message)
    return results


def _loading_problem(error: Exception) -> str:
    text = " ".join(str(error).split())
    for what, pattern in (("opset", _NEW_OPSET), ("IR version", _NEW_FORMAT)):
        if versions := pattern.search(text):
            found, known = versions.groups()
            return (
                f"it has {what} {found}, the runtime reads up to {known}. Install a newer onnxruntime, or export the "
                "model with zsig_hep, which writes an older one."
            )
    return "it is damaged or no ONNX model. Export it again: `zsig export ANALYSIS`."


def _metadata_of(session: Any, path: str) -> ModelMetadata:
    try:
        return ModelMetadata.from_properties(session.get_modelmeta().custom_metadata_map)
    except (KeyError, ValueError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, KeyError):
            reason = f"no property {error}"
        elif isinstance(error, ValidationError):
            reason = first_reason(error)
        message = (
            f"{path} is an ONNX model, but not one that this version of zsig_hep wrote ({reason}). Export it again."
        )
        raise ModelFileError(message) from error


def _require_graph_of(metadata: ModelMetadata, session: Any, path: str) -> None:
    """Refuse a graph with other inputs, outputs or folds than in the metadata.

    What a graph declares need not be what it computes, which is therefore compared for an event of zeros, and for one
    without each feature.
    """
    features, folds = len(metadata.feature_names), metadata.fold_count
    inputs = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    outputs = {each.name: (each.type, each.shape[1:]) for each in session.get_outputs()}
    if inputs != [("features", "tensor(float)", [features])]:
        _refuse_graph(path, f"the metadata have {features} features, the inputs are {inputs}")
    if len(outputs) != folds + 2 or outputs.get("fold_scores") != ("tensor(double)", [folds]):
        _refuse_graph(path, f"the metadata have {folds} folds, the outputs are {outputs}")
    single = ["score", *(f"fold_{fold}" for fold in range(folds))]
    if any(outputs.get(name) != ("tensor(double)", []) for name in single):
        _refuse_graph(path, f"not all of the outputs {outputs} are scores of one fold")
    events = np.zeros((1 + features, features), dtype=np.float32)
    np.fill_diagonal(events[1:], np.nan)
    without_score = np.array([False, *(name not in metadata.may_be_missing for name in metadata.feature_names)])
    fold_scores, score, *by_fold = _compute(session, ["fold_scores", *single], events, path)
    if score.shape != (len(events),) or not np.array_equal(fold_scores, np.array(by_fold).T, equal_nan=True):
        _refuse_graph(path, "score is no column, or fold_0, fold_1... are not the columns of fold_scores")
    scores = np.column_stack([score, fold_scores])
    if not (np.isnan(scores) == without_score[:, None]).all():
        _refuse_graph(path, "other features may be missing")
    # A mean over folds can be above one by rounding.
    if not np.allclose(scores, scores.clip(0, 1), rtol=0, atol=1e-9, equal_nan=True):
        _refuse_graph(path, "it gives scores that are not in [0, 1]")


def _refuse_graph(path: str, reason: str) -> NoReturn:
    message = f"The metadata of the model {path} are not those of its graph: {reason}. Export it again."
    raise ModelFileError(message)
