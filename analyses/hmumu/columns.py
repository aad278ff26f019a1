"""Features of the search for a Higgs boson that decays to two muons beside two jets (vector-boson fusion).

`columns` is called once per chunk of events with coffea's BaseSchema. Masses, momenta and energies are in GeV.
Kinematics are computed in float64, so that float32 cancellations move no event across a cut.
"""

import awkward as ak
import numpy as np
import numpy.typing as npt
import vector
from coffea.analysis_tools import PackedSelection

FloatArray = npt.NDArray[np.float64]

EXTRA_JET_PT = 25.0
B_TAG_VETO = 0.3
MISSING_PT_MAXIMUM = 60.0


JET_ENERGY_DIRECTIONS = {None: 0.0, "jesUp": 1.0, "jesDown": -1.0}
JET_ENERGY_CONSTANT, JET_ENERGY_OFFSET = 0.01, 0.9


def columns(events: ak.Array, variation: str | None = None) -> tuple[dict[str, FloatArray], PackedSelection]:
    """Return the features of the selected events, and the cuts that select them.

    The variations "jesUp" and "jesDown" shift the energy scale of all jets, and the missing momentum with it.

    The skim of the samples has made the cuts on muons, masses and jets already; they are repeated here so that
    ntuples with a looser skim give the same answer. A threshold includes its value, because the samples store ten
    bits of mantissa: a jet of 30.003 GeV is stored as 30.0 GeV.
    """
    if JET_ENERGY_DIRECTIONS[variation]:
        events = with_shifted_jets(events, JET_ENERGY_DIRECTIONS[variation])
    muons = leading(events, "Muon", 2)
    jets = leading(events, "Jet", 3)
    cuts = select(events, muons, jets)
    selected = cuts.all()
    return features(events[selected], muons[selected], jets[selected]), cuts


def with_shifted_jets(events: ak.Array, direction: float) -> ak.Array:
    """Return the events with jets shifted by `direction` times the uncertainty of their energy scale.

    The uncertainty of the detector of the samples is taken as 1 % and 0.9 GeV / pT in quadrature: 3.2 % at 30 GeV, 1.3 %
    at 100 GeV, of the size of what CMS (arXiv:1607.03663) and ATLAS (arXiv:2007.02645) quote. Momentum and mass scale alike,
    the order of jets stays, and what the jets gain the missing momentum loses.
    """
    pt = ak.values_astype(events["Jet_pt"], np.float64)
    factor = 1.0 + direction * np.hypot(JET_ENERGY_CONSTANT, JET_ENERGY_OFFSET / pt)
    gained = (factor - 1.0) * pt
    phi, met_phi = events["Jet_phi"], events["MET_phi"]
    x = events["MET_pt"] * np.cos(met_phi) - ak.sum(gained * np.cos(phi), axis=1)
    y = events["MET_pt"] * np.sin(met_phi) - ak.sum(gained * np.sin(phi), axis=1)
    return ak.zip(
        {name: events[name] for name in events.fields}
        | {
            "Jet_pt": pt * factor,
            "Jet_mass": events["Jet_mass"] * factor,
            "MET_pt": np.hypot(x, y),
            "MET_phi": np.arctan2(y, x),
        },
        depth_limit=1,
    )


def leading(events: ak.Array, collection: str, count: int) -> vector.MomentumNumpy4D:
    """Return the objects of largest transverse momentum per event as four-momenta, shape [N, count].

    NanoAOD stores its collections by falling transverse momentum. A place without an object holds a null vector.
    """
    return vector.array({name: padded(events[f"{collection}_{name}"], count) for name in ("pt", "eta", "phi", "mass")})


def padded(values: ak.Array, count: int) -> FloatArray:
    """Return the first `count` values of each event, shape [N, count], with zeros where an event has fewer."""
    rectangle = ak.fill_none(ak.pad_none(values, count, clip=True), 0.0)
    return ak.to_numpy(rectangle).astype(np.float64)


def select(events: ak.Array, muons: vector.MomentumNumpy4D, jets: vector.MomentumNumpy4D) -> PackedSelection:
    """Return the cuts of the analysis in the order of its cutflow."""
    charges = padded(events["Muon_charge"], 2)
    dimuon_mass = (muons[:, 0] + muons[:, 1]).mass
    dijet_mass = (jets[:, 0] + jets[:, 1]).mass
    cuts = PackedSelection()
    cuts.add("two muons", (muons[:, 0].pt >= 26.0) & (muons[:, 1].pt >= 20.0))
    cuts.add("opposite charges", charges[:, 0] * charges[:, 1] < 0.0)
    cuts.add("dimuon mass", (dimuon_mass >= 110.0) & (dimuon_mass <= 150.0))
    cuts.add("two jets", jets[:, 1].pt >= 30.0)
    cuts.add("dijet mass", dijet_mass >= 300.0)
    cuts.add("dijet separation", np.abs(jets[:, 0].eta - jets[:, 1].eta) >= 2.0)
    # The neutrinos of top pairs; the signal has none and loses 0.6 %.
    cuts.add("missing transverse momentum", ak.to_numpy(events["MET_pt"]) < MISSING_PT_MAXIMUM)
    cuts.add("b-tag veto", ak.to_numpy(ak.all(events["Jet_btagDeepFlavB"] < B_TAG_VETO, axis=1)))
    return cuts


def features(events: ak.Array, muons: vector.MomentumNumpy4D, jets: vector.MomentumNumpy4D) -> dict[str, FloatArray]:
    """Return the inputs of the classifier; steeply falling ones as logarithms, which a network scales better."""
    dimuon = muons[:, 0] + muons[:, 1]
    jet_1, jet_2, jet_3 = jets[:, 0], jets[:, 1], jets[:, 2]
    has_third_jet = jet_3.pt >= EXTRA_JET_PT
    return {
        "dimuon_mass": dimuon.mass,
        "dimuon_mass_resolution": dimuon_mass_resolution(muons),
        "log_dimuon_pt": np.log1p(dimuon.pt),
        "dimuon_rapidity": np.abs(dimuon.rapidity),
        "cos_theta_cs": cos_theta_collins_soper(muons),
        "log_dijet_mass": np.log((jet_1 + jet_2).mass),
        "dijet_delta_eta": np.abs(jet_1.eta - jet_2.eta),
        "dijet_delta_phi": np.abs(jet_1.deltaphi(jet_2)),
        "log_leading_jet_pt": np.log(jet_1.pt),
        "log_subleading_jet_pt": np.log(jet_2.pt),
        "zeppenfeld": zeppenfeld(dimuon, jet_1, jet_2),
        "pt_balance": pt_balance(dimuon, jet_1, jet_2),
        "min_delta_rapidity": min_delta_rapidity(dimuon, jet_1, jet_2),
        "log_third_jet_pt": np.log(jet_3.pt, where=has_third_jet, out=np.full(len(jets), np.nan)),
        "log_extra_jet_ht": np.log1p(extra_jet_ht(events["Jet_pt"])),
        "log_missing_pt": np.log1p(ak.to_numpy(events["MET_pt"]).astype(np.float64)),
    }


def dimuon_mass_resolution(muons: vector.MomentumNumpy4D) -> FloatArray:
    """Return sigma(m) / m of each pair from the momentum resolution of its muons.

    The detector of the samples smears a muon by 1.2 % and 10 % x pT / TeV, added in quadrature. Since
    m^2 = 2 pT1 pT2 (cosh(delta eta) - cos(delta phi)), sigma(m) / m = sqrt(r1^2 + r2^2) / 2.
    """
    relative = np.hypot(0.012, 0.10 * muons.pt / 1000.0)
    return 0.5 * np.hypot(relative[:, 0], relative[:, 1])


def cos_theta_collins_soper(muons: vector.MomentumNumpy4D) -> FloatArray:
    """Return |cos theta*| of the muons in the Collins-Soper frame, in [0, 1], for massless muons.

    |cos theta*| = 2 pT1 pT2 |sinh(eta1 - eta2)| / (m sqrt(m^2 + pT^2)): flat for a scalar, 1 + cos^2 for Drell-Yan.
    """
    first, second = muons[:, 0], muons[:, 1]
    dimuon = first + second
    numerator = 2.0 * first.pt * second.pt * np.abs(np.sinh(first.eta - second.eta))
    return numerator / (dimuon.mass * np.hypot(dimuon.mass, dimuon.pt))


def zeppenfeld(
    dimuon: vector.MomentumNumpy4D, jet_1: vector.MomentumNumpy4D, jet_2: vector.MomentumNumpy4D
) -> FloatArray:
    """Return |y_mumu - (y_1 + y_2) / 2| / |y_1 - y_2|: zero midway between the jets, one half at a jet."""
    centre = 0.5 * (jet_1.rapidity + jet_2.rapidity)
    return np.abs(dimuon.rapidity - centre) / np.abs(jet_1.rapidity - jet_2.rapidity)


def pt_balance(
    dimuon: vector.MomentumNumpy4D, jet_1: vector.MomentumNumpy4D, jet_2: vector.MomentumNumpy4D
) -> FloatArray:
    """Return the vector sum over the scalar sum of transverse momenta, in [0, 1]: zero when nothing else recoils."""
    return (dimuon + jet_1 + jet_2).pt / (dimuon.pt + jet_1.pt + jet_2.pt)


def min_delta_rapidity(
    dimuon: vector.MomentumNumpy4D, jet_1: vector.MomentumNumpy4D, jet_2: vector.MomentumNumpy4D
) -> FloatArray:
    """Return the rapidity distance of the muon pair to the nearer of the two leading jets."""
    return np.minimum(np.abs(dimuon.rapidity - jet_1.rapidity), np.abs(dimuon.rapidity - jet_2.rapidity))


def extra_jet_ht(jet_pt: ak.Array) -> FloatArray:
    """Return the scalar sum of transverse momenta of all jets but the two leading ones."""
    extra = jet_pt[:, 2:]
    return ak.to_numpy(ak.sum(ak.values_astype(extra[extra >= EXTRA_JET_PT], np.float64), axis=1))
