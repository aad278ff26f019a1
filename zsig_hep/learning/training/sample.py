"""The events of a training, with non-negative weights that preserve the yields."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.statistics.process_table import ProcessTable

NegativeWeights = Literal["refuse", "absolute", "drop"]


@dataclass(frozen=True)
class TrainingSample:
    """Simulated events of an analysis, as arrays.

    Attributes:
        features: shape (N, F), float32, NaN where missing.
        feature_names: of length F.
        weights: non-negative training weights [events], shape (N,); the sum over a process is its signed yield.
        process: index of each event's process, 0 to P - 1, shape (N,).
        yields: of each process [events], shape (P,).
        fold: fold of each event, shape (N,).
        fold_count: number of folds.
        processes: the P processes, none of them data.
    """

    features: npt.NDArray[np.float32]
    feature_names: tuple[str, ...]
    weights: npt.NDArray[np.float64]
    process: npt.NDArray[np.int64]
    yields: npt.NDArray[np.float64]
    fold: npt.NDArray[np.int64]
    fold_count: int
    processes: ProcessTable

    @cached_property
    def is_signal(self) -> npt.NDArray[np.bool_]:
        """Which events are signal, shape (N,)."""
        return self.processes.is_signal[self.process]

    def __repr__(self) -> str:
        """Without the arrays."""
        return f"TrainingSample({len(self.weights)} events of {', '.join(self.processes.names)})"

    def hash(self) -> str:
        """Hash of the fields that the result of a training depends on."""
        digest = hashlib.sha256(repr((self.feature_names, self.fold_count, self.processes.names)).encode())
        for array in (self.features, self.weights, self.is_signal, self.process, self.fold):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def training_weights(
    weights: npt.NDArray[np.float64],
    process: npt.NDArray[np.int64],
    process_names: tuple[str, ...],
    policy: NegativeWeights,
) -> npt.NDArray[np.float64]:
    """Make weights non-negative and preserve the yield of every process.

    With negative weights set functions are neither monotonic nor submodular, and cross entropy has no lower bound.
    Signed weights are used in every evaluation.

    Args:
        weights: signed, shape (N,).
        process: index of each event's process, shape (N,).
        process_names: names of the processes.
        policy: `refuse` negative weights, take their `absolute` value, or `drop` them (weight zero).

    Returns:
        Weights >= 0, shape (N,); the sum over each process is the signed sum.

    Raises:
        TrainingError: for negative weights under `refuse`, or a process whose yield is not positive.

    Example:
        >>> training_weights(np.array([2.0, -1.0, 2.0]), np.array([0, 0, 0]), ("dy",), "absolute")
        array([1.2, 0.6, 1.2])
    """
    negative = weights < 0
    if policy == "refuse" and negative.any():
        names = ", ".join(process_names[index] for index in np.unique(process[negative]))
        message = (
            f"{int(negative.sum())} events of {names} have negative weights, which cannot be used in the training. Set "
            "`training: {negative_weights: absolute}` or `drop`; both preserve the yields, and the evaluation uses the "
            "signed weights."
        )
        raise TrainingError(message)
    positive = np.abs(weights) if policy == "absolute" else np.where(negative, 0.0, weights)
    result = np.zeros_like(positive)
    for index, name in enumerate(process_names):
        mine = process == index
        signed, unsigned = weights[mine].sum(), positive[mine].sum()
        if not signed > 0:
            message = f"The process {name!r} has the yield {signed:.6g}; a training needs a positive one."
            raise TrainingError(message)
        result[mine] = positive[mine] * (signed / unsigned)
    return result


def select_features(feature_names: tuple[str, ...], wanted: tuple[str, ...] | None) -> list[int]:
    """Indices of the wanted features among all features; None wants all.

    Raises:
        TrainingError: for an unknown name.
    """
    for name in wanted or ():
        if name not in feature_names:
            message = f"`training: features` names {name!r}, which does not exist.{nearest_name(name, feature_names)}"
            raise TrainingError(message)
    return [feature_names.index(name) for name in wanted or feature_names]
