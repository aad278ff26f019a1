"""The search without a classifier: dilepton and pairing cuts, the last one on the scalar sum of transverse momenta."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def cut_variable(features: Mapping[str, FloatArray]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the variable of the last cut, and whether an event passes the fixed ones.

    The pair of muon-jet masses lies at the mass of the leptoquark, the dimuon mass far above the Z boson.
    """
    passes = (features["log_dimuon_mass"] >= np.log(300.0)) & (features["log_min_muon_jet_mass"] >= np.log1p(500.0))
    return features["log_scalar_sum"], passes
