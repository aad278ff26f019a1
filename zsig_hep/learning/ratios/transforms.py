"""From outputs of networks to ratios: what stands for the targets of `zsig_hep.learning.ratios.targets` after the training."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsig_hep.learning.ratios.logit_calibration import LogitCalibration

Floats = npt.NDArray[np.float64]

LARGEST_LOG_RATIO = 5.0
"""Largest |ln r| of shifted events, where the nominal background is empty."""


class RatioTransform(Protocol):
    """What K outputs of each of M members stand for."""

    @property
    def outputs(self) -> int:
        """Number of outputs K."""

    def __call__(self, outputs: Floats) -> Floats:
        """Ratios for outputs of shape (M, n, K), same shape."""


@dataclass(frozen=True)
class ShareTransform:
    """The composition f_k is the softmax of the outputs.

    Attributes:
        outputs: number of backgrounds K.
    """

    outputs: int

    def __call__(self, outputs: Floats) -> Floats:
        """Shares, which add up to one."""
        exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class WeightTransform:
    """The ratio of varied to nominal weights is m + s o.

    Attributes:
        mean: m of each member and output, shape (M, 1, K).
        scale: s of each member and output, zero for a constant ratio, shape (M, 1, K).
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    @property
    def outputs(self) -> int:
        """Number of outputs K."""
        return int(self.mean.shape[2])

    def __call__(self, outputs: Floats) -> Floats:
        """Return m + s o."""
        return np.asarray(self.mean.astype(np.float64) + self.scale.astype(np.float64) * outputs)


@dataclass(frozen=True, eq=False)
class ShapeTransform:
    """The ratio of shifted to nominal events is e^o of calibrated outputs o.

    Attributes:
        outputs: number of variations K, up and down counted apart.
        calibrations: of each member and output; empty for outputs as they are.
    """

    outputs: int
    calibrations: tuple[tuple[LogitCalibration, ...], ...] = ()

    def __call__(self, outputs: Floats) -> Floats:
        """Return e^o, limited where the nominal background is empty."""
        logits = outputs.copy()
        for member, of_member in enumerate(self.calibrations):
            for column, calibration in enumerate(of_member):
                logits[member, :, column] = calibration(outputs[member, :, column])
        return np.asarray(np.exp(np.clip(logits, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)))
