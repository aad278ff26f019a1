"""Features of the search for pairs of second-generation leptoquarks, each decaying to a muon and a charm quark.

`columns` is called once per chunk of events with coffea's BaseSchema. Masses, momenta and energies are in GeV.
Kinematics are computed in float64, so that float32 cancellations move no event across a cut.
"""

import awkward as ak
import numpy as np
import numpy.typing as npt
import vector
from coffea.analysis_tools import PackedSelection

FloatArray = npt.NDArray[np.float64]

STITCHED_BELOW_PT_HAT = {
    **dict.fromkeys(("ttbar", "dy_m150", "ww", "wz", "zz"), 250.0),
    **dict.fromkeys(("ttbar_pt250", "dy_m150_pt250"), 500.0),
}
"""Transverse momentum of the hard process above which a dataset gives way to the next slice of its process."""


def columns(events: ak.Array) -> tuple[dict[str, FloatArray], PackedSelection]:
    """Return the features of the selected events, and the cuts that select them.

    A threshold includes its value, because the samples store ten bits of mantissa: a jet of 30.003 GeV is stored as
    30.0 GeV.
    """
    central = (events["Jet_pt"] >= 30.0) & (np.abs(events["Jet_eta"]) <= 2.5)
    muons = leading(events, "Muon", 2)
    jets = leading(events, "Jet", 2, among=central)
    jet_count = ak.to_numpy(ak.sum(central, axis=1)).astype(np.float64)
    cuts = select(events, muons, jets)
    selected = cuts.all()
    return features(events[selected], muons[selected], jets[selected], jet_count[selected]), cuts


def leading(events: ak.Array, collection: str, count: int, among: ak.Array | None = None) -> vector.MomentumNumpy4D:
    """Return the objects of largest transverse momentum per event as four-momenta, shape [N, count].

    NanoAOD stores its collections by falling transverse momentum. `among` is a mask of the objects to choose from.
    A place without an object holds a null vector.
    """
    branches = {name: events[f"{collection}_{name}"] for name in ("pt", "eta", "phi", "mass")}
    chosen = {name: values if among is None else values[among] for name, values in branches.items()}
    return vector.array({name: padded(values, count) for name, values in chosen.items()})


def padded(values: ak.Array, count: int) -> FloatArray:
    """Return the first `count` values of each event, shape [N, count], with zeros where an event has fewer."""
    rectangle = ak.fill_none(ak.pad_none(values, count, clip=True), 0.0)
    return ak.to_numpy(rectangle).astype(np.float64)


def select(events: ak.Array, muons: vector.MomentumNumpy4D, jets: vector.MomentumNumpy4D) -> PackedSelection:
    """Return the cuts of the analysis in the order of its cutflow.

    The cut on the dimuon mass removes the Z peak, and with it the need for Drell-Yan below a generated mass of
    150 GeV. The cut on S_T removes what no leptoquark of 800 GeV or more resembles. Both stand a little above the skim
    of the samples, which is 190 and 475 GeV.
    """
    charges = padded(events["Muon_charge"], 2)
    cuts = PackedSelection()
    cuts.add("stitching", below_own_slice(events))
    cuts.add("two muons", (muons[:, 0].pt >= 30.0) & (muons[:, 1].pt >= 20.0))
    cuts.add("opposite charges", charges[:, 0] * charges[:, 1] < 0.0)
    cuts.add("two central jets", jets[:, 1].pt >= 30.0)
    cuts.add("dimuon mass", (muons[:, 0] + muons[:, 1]).mass >= 200.0)
    cuts.add("scalar sum", scalar_sum(muons, jets) >= 500.0)
    return cuts


def below_own_slice(events: ak.Array) -> npt.NDArray[np.bool_]:
    """Return which events are not covered by the slice of larger transverse momenta of their process."""
    limit = STITCHED_BELOW_PT_HAT.get(events.metadata["dataset"])
    if limit is None:
        return np.ones(len(events), dtype=np.bool_)
    return ak.to_numpy(events["Generator_binvar"]) < limit


def features(
    events: ak.Array, muons: vector.MomentumNumpy4D, jets: vector.MomentumNumpy4D, jet_count: FloatArray
) -> dict[str, FloatArray]:
    """Return the inputs of the classifier; steeply falling ones as logarithms, which a network scales better."""
    lighter, heavier = muon_jet_masses(muons, jets)
    return {
        "log_dimuon_mass": np.log((muons[:, 0] + muons[:, 1]).mass),
        "log_scalar_sum": np.log(scalar_sum(muons, jets)),
        "log_min_muon_jet_mass": np.log1p(lighter),
        "log_max_muon_jet_mass": np.log(heavier),
        "log_mean_muon_jet_mass": np.log(0.5 * (lighter + heavier)),
        "muon_jet_mass_asymmetry": (heavier - lighter) / (heavier + lighter),
        "log_leading_muon_pt": np.log(muons[:, 0].pt),
        "log_subleading_muon_pt": np.log(muons[:, 1].pt),
        "log_leading_jet_pt": np.log(jets[:, 0].pt),
        "log_subleading_jet_pt": np.log(jets[:, 1].pt),
        "dimuon_delta_r": muons[:, 0].deltaR(muons[:, 1]),
        "log_missing_pt": np.log1p(ak.to_numpy(events["MET_pt"]).astype(np.float64)),
        "missing_pt_muon_delta_phi": missing_pt_muon_delta_phi(ak.to_numpy(events["MET_phi"]), muons),
        "central_jets": jet_count,
        "max_b_tag": ak.to_numpy(ak.max(events["Jet_btagDeepFlavB"], axis=1, mask_identity=False, initial=0.0)),
    }


def scalar_sum(muons: vector.MomentumNumpy4D, jets: vector.MomentumNumpy4D) -> FloatArray:
    """Return S_T, the scalar sum of transverse momenta of the two muons and the two leading central jets."""
    return muons.pt.sum(axis=1) + jets.pt.sum(axis=1)


def muon_jet_masses(muons: vector.MomentumNumpy4D, jets: vector.MomentumNumpy4D) -> tuple[FloatArray, FloatArray]:
    """Return the smaller and the larger mass of the two muon-jet pairs, paired so that they differ least."""
    straight = np.stack([(muons[:, 0] + jets[:, 0]).mass, (muons[:, 1] + jets[:, 1]).mass])
    crossed = np.stack([(muons[:, 0] + jets[:, 1]).mass, (muons[:, 1] + jets[:, 0]).mass])
    masses = np.where(np.ptp(straight, axis=0) <= np.ptp(crossed, axis=0), straight, crossed)
    return masses.min(axis=0), masses.max(axis=0)


def missing_pt_muon_delta_phi(missing_phi: FloatArray, muons: vector.MomentumNumpy4D) -> FloatArray:
    """Return the azimuth between the missing momentum and the nearer muon, in [0, pi]: small for W decays."""
    difference = np.abs(missing_phi[:, np.newaxis].astype(np.float64) - muons.phi)
    return np.minimum(difference, 2.0 * np.pi - difference).min(axis=1)
