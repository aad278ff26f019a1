"""The search without a classifier: textbook cuts for vector-boson fusion, the last one on the dijet mass."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def cut_variable(features: Mapping[str, FloatArray]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the variable of the last cut, and whether an event passes the fixed ones.

    A mass window of about 1.5 sigma, well separated jets with the muons between them, little missing momentum.
    """
    passes = (
        (np.abs(features["dimuon_mass"] - 125.0) <= 2.5)
        & (features["dijet_delta_eta"] >= 3.0)
        & (features["zeppenfeld"] <= 0.3)
        & (features["log_missing_pt"] <= np.log1p(40.0))
    )
    return features["log_dijet_mass"], passes
