"""Exported models that score events with ONNX Runtime; workers need neither torch nor the training."""

import importlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.scoring.metadata import ModelMetadata
from zsig_hep.scoring.scorer import check_features

_NEW_OPSET = re.compile(r"Opset (\d+) is under development.*till opset (\d+)")
_NEW_FORMAT = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")

# Events that are scored at a time: the activations of all members stay in the processor's cache.
_EVENTS = 512


class OnnxScorer:
    """Scores with ONNX Runtime, on one thread, so that workers of coffea do not compete for cores.

    The content of the file travels to workers, which need not see the file; each process makes sessions of it when they are
    first needed.

    Args:
        path: what `export_onnx` wrote.

    Raises:
        InputError: the extra `onnx` is not installed.
        ModelFileError: the file is missing, damaged, of another program, or needs a newer runtime.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        try:
            self._content = Path(path).read_bytes()
        except OSError as error:
            message = f"The model {path} cannot be read: {error.strerror}. `zsig export ANALYSIS` writes it."
            raise ModelFileError(message) from error
        self.metadata = _metadata_of(_make_session(self._content, self.path), self.path)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the model's inputs."""
        return self.metadata.feature_names

    @property
    def fold_count(self) -> int:
        """Number of folds, K."""
        return self.metadata.fold_count

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score new events, which no member saw, by the whole ensemble.

        Args:
            features: shape (N, F), columns in the order of `feature_names`, NaN where missing.

        Returns:
            Share of the signal that scores lower, in [0, 1], shape (N,).

        Raises:
            ModelFileError: the number of features differs.
            InputError: a feature is infinite, or missing without a rule.
        """
        return self._run("score", features, _make_session(self._content, self.path))

    def fold_scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score events by the members that never saw each fold; as `scores` otherwise.

        Returns:
            Shape (N, K); the score of an event of fold k stands in column k.
        """
        return self._run("fold_scores", features, _make_session(self._content, self.path))

    def out_of_fold_scores(self, features: NDArray[np.float32], fold: NDArray[np.integer]) -> NDArray[np.float64]:
        """Score each event by the members that never saw its fold; as `scores` otherwise.

        Args:
            features: shape (N, F).
            fold: fold of each event, shape (N,).

        Returns:
            Shape (N,).
        """
        scores = np.empty(len(features))
        for k in range(self.fold_count):
            output = f"fold_{k}"
            session = _make_reduced_session(self._content, self.path, output)
            scores[fold == k] = self._run(output, features[fold == k], session)
        return scores

    def _run(self, output: str, features: NDArray[np.float32], session: Any) -> NDArray[np.float64]:
        check_features(features, self.metadata)
        blocks = [features[start : start + _EVENTS] for start in range(0, max(len(features), 1), _EVENTS)]
        parts = [session.run([output], {"features": np.ascontiguousarray(block)})[0] for block in blocks]
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


# Coffea's workers unpickle their processor for every chunk, so that it cannot keep its sessions.
@lru_cache(maxsize=64)
def _make_session(content: bytes, path: str) -> Any:
    runtime = import_onnx_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime raises classes of its own that share no base but Exception.
        message = f"The model {path} cannot be loaded by ONNX Runtime {runtime.__version__}: {_loading_problem(error)}"
        raise ModelFileError(message) from error


@lru_cache(maxsize=64)
def _make_reduced_session(content: bytes, path: str, output: str) -> Any:
    """A session that computes one output: ONNX Runtime computes every output of a model, whatever is asked for."""
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
    except (KeyError, ValueError, TypeError) as error:
        reason = f"no property {error}" if isinstance(error, KeyError) else str(error)
        message = (
            f"{path} is an ONNX model, but not one that this version of zsig_hep wrote ({reason}). Export it again."
        )
        raise ModelFileError(message) from error
