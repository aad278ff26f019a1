"""What the detector hands on to the skims and the ntuple."""

from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reconstruction:
    """What the detector saw in a batch of N events; collections are jagged and ordered by descending pt.

    Attributes:
        muons, electrons: records of pt, eta, phi, mass, charge, iso.
        jets: records of pt, eta, phi, mass, btagDeepFlavB, hadronFlavour.
        met_pt, met_phi: missing transverse momentum, shape [N].
        sum_et: scalar sum over the visible particles, shape [N].
        true_met_pt: missing transverse momentum without detector effects, shape [N].
        vertices: number of primary vertices, shape [N].
        untagged_probability: that no jet is b-tagged, where scores are drawn that way (`Detector`), else 1; shape [N].
    """

    muons: ak.Array
    electrons: ak.Array
    jets: ak.Array
    met_pt: Floats
    met_phi: Floats
    sum_et: Floats
    true_met_pt: Floats
    vertices: NDArray[np.int64]
    untagged_probability: Floats
