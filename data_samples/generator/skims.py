"""Preselections: which events are stored. The events that fail still count in the sums of weights."""

from collections.abc import Callable
from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from .kinematics import leading_pair
from .processes import B_TAG_VETO, SkimName
from .reconstruction import Reconstruction

MISSING_PT_GEV = 80
LEPTOQUARK_DIMUON_MASS_GEV = 190
SCALAR_SUM_GEV = 475
HMUMU_TEXT = (
    "nMuon>=2 (pt>26,20; |eta|<2.4; iso<0.25), 110<m_mumu<150, "
    "two leading jets (pt>30, |eta|<4.7): m_jj>300, |delta eta|>2"
)


@dataclass(frozen=True)
class Skim:
    """A preselection.

    Attributes:
        select: reconstructed events to one boolean per event.
        text: the same in words, for the file's metadata.
    """

    select: Callable[[Reconstruction], NDArray[np.bool_]]
    text: str


def _true(mask: ak.Array) -> NDArray[np.bool_]:
    """Count a comparison with a missing object as failed."""
    filled: NDArray[np.bool_] = ak.to_numpy(ak.fill_none(mask, False))
    return filled


def select_hmumu(event: Reconstruction) -> NDArray[np.bool_]:
    """Vector-boson fusion to a dimuon near the Higgs mass, wide enough for sidebands."""
    muon1, muon2, dimuon_mass_squared = leading_pair(event.muons)
    jet1, jet2, dijet_mass_squared = leading_pair(event.jets[event.jets.pt > 30])
    dimuon_mass = np.sqrt(np.maximum(dimuon_mass_squared, 0.0))
    dijet_mass = np.sqrt(np.maximum(dijet_mass_squared, 0.0))
    objects = _true((muon1.pt > 26) & (muon2.pt > 20) & (abs(jet1.eta - jet2.eta) > 2.0))
    return objects & (dimuon_mass > 110) & (dimuon_mass < 150) & (dijet_mass > 300)


def select_hmumu_top_pairs(event: Reconstruction) -> NDArray[np.bool_]:
    """Of top pairs only what a veto on b-tagged jets and a cut on missing momentum would leave."""
    tagged: NDArray[np.bool_] = ak.to_numpy(ak.any(event.jets.btagDeepFlavB >= B_TAG_VETO, axis=1))
    return select_hmumu(event) & ~tagged & (event.met_pt < MISSING_PT_GEV)


def select_leptoquark(event: Reconstruction) -> NDArray[np.bool_]:
    """Two muons far above the Z boson and two central jets, with a large scalar sum of their momenta."""
    muon1, muon2, dimuon_mass_squared = leading_pair(event.muons)
    jet1, jet2, _ = leading_pair(event.jets[(event.jets.pt > 30) & (abs(event.jets.eta) < 2.5)])
    momenta = _true((muon1.pt > 30) & (muon2.pt > 20) & (muon1.pt + muon2.pt + jet1.pt + jet2.pt > SCALAR_SUM_GEV))
    return momenta & (dimuon_mass_squared > LEPTOQUARK_DIMUON_MASS_GEV**2)


SKIMS: dict[SkimName, Skim] = {
    "leptoquark": Skim(
        select_leptoquark,
        f"nMuon>=2 (pt>30,20; |eta|<2.4; iso<0.25), m_mumu>{LEPTOQUARK_DIMUON_MASS_GEV}, "
        f"nJet(pt>30,|eta|<2.5)>=2, S_T (two muons, two jets)>{SCALAR_SUM_GEV}",
    ),
    "hmumu": Skim(select_hmumu, HMUMU_TEXT),
    "hmumu_top_pairs": Skim(
        select_hmumu_top_pairs, f"{HMUMU_TEXT}, no jet with b-tag score>={B_TAG_VETO}, MET<{MISSING_PT_GEV}"
    ),
}


def end_of_sample(keep: NDArray[np.bool_], room: int) -> int:
    """Count the events of a batch that belong to the sample: all, or up to the last one that there is room to store.

    Events beyond it must not count as generated, else the yield would come out too low.

    Example:
        >>> end_of_sample(np.array([True, False, True, False, True]), room=2)
        3
    """
    if keep.sum() <= room:
        return len(keep)
    return int(np.flatnonzero(keep)[room - 1]) + 1
