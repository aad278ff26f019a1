"""Events under systematic variations, in the form that every yield and histogram is made of."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.selection.events import Floats, Integers


@dataclass(frozen=True, eq=False)
class VariedEvents:
    """Events of one direction of one variation, of the processes that it touches; all other processes stay nominal.

    Attributes:
        name: of the variation; processes that share it move together.
        kind: what varies.
        direction: "up" or "down".
        processes: names of the processes it touches.
        score: shape [M].
        weight: yield at the luminosity, varied, shape [M].
        process: index into the process names of the table, shape [M].
        fold: shape [M].
        features: columns as in the table, shape [M, F].
    """

    name: str
    kind: VariationKind
    direction: Literal["up", "down"]
    processes: tuple[str, ...]
    score: Floats
    weight: Floats
    process: Integers
    fold: Integers
    features: npt.NDArray[np.float32]
