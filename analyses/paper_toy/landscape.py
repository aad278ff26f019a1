"""The Z loss of one signal and one background event as a function of their two outputs (the paper's figure 3).

Yields S = 1 and B = 10, eps = 1, so that the loss of everything is one: F1 is the output of the signal event, F2 that of
the background event. Hinge, cross entropy and focal take logits; the sigmoid measure takes probabilities.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from zsig_hep.learning import ZLoss

Floats = npt.NDArray[np.float64]

RANGES = {"hinge": (-2.0, 2.0), "sigmoid": (0.0, 1.0), "cross_entropy": (0.0, 1.0), "focal": (0.0, 1.0)}
"""Range of both outputs in the paper's figure 3."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """Loss over a square of outputs.

    Attributes:
        error: error measure.
        outputs: values of F1 and of F2, f8 [n].
        loss: f8 [n, n], F1 along the first axis.
    """

    error: str
    outputs: Floats
    loss: Floats

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Loss at (lo, lo), (lo, hi), (hi, lo), (hi, hi) of (F1, F2)."""
        (first, second), (third, fourth) = self.loss[np.ix_([0, -1], [0, -1])].tolist()
        return first, second, third, fourth


def landscape(error: str, points: int = 201) -> Landscape:
    """Evaluate the loss over the paper's range of an error measure.

    Args:
        error: hinge, sigmoid, cross_entropy or focal.
        points: values of each output.

    Example:
        >>> [round(value, 6) for value in landscape("hinge", 3).corners]
        [3.0, 3.0, 0.0, 2.095466]
    """
    outputs = torch.linspace(*RANGES[error], points, dtype=torch.float64)
    logits = torch.logit(outputs) if error == "sigmoid" else outputs
    pairs = torch.stack(torch.meshgrid(logits, logits, indexing="ij"), dim=-1)
    loss = ZLoss(eps=1.0, error=error)(pairs, torch.tensor([True, False]), torch.tensor([1.0, 10.0]))
    return Landscape(error, outputs.numpy(), loss.numpy())
