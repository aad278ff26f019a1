import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import vector
from hypothesis import given
from hypothesis import strategies as st

MakeEvents = Callable[..., Any]

MUON_MASS = 0.1056584

MUONS = [(62.5, 0.0, 0.0, 1), (62.5, 0.0, math.pi, -1)]
JETS = [(60.0, 2.0, 1.0, 8.0, 0.01), (60.0, -2.0, 1.0 - math.pi, 8.0, -1.0)]
EVENT = {"muons": MUONS, "jets": JETS, "MET_pt": 20.0}


def momenta(*rows: tuple[float, float, float, float]) -> vector.MomentumNumpy4D:
    """One event's objects from (pt, eta, phi, mass), shape [1, len(rows)]."""
    values = np.array(rows, dtype=np.float64)
    return vector.array({name: values[np.newaxis, :, k] for k, name in enumerate(("pt", "eta", "phi", "mass"))})


def test_a_higgs_boson_at_rest(hmumu: ModuleType, make_events: MakeEvents) -> None:
    features, cuts = hmumu.columns(make_events([EVENT], "hmumu_vbf"))
    assert cuts.all().tolist() == [True]
    assert features["dimuon_mass"] == pytest.approx([125.0], rel=1e-5)
    assert features["dimuon_mass_resolution"] == pytest.approx([math.hypot(0.012, 0.00625) / math.sqrt(2)])
    assert features["cos_theta_cs"] == pytest.approx([0.0], abs=1e-12)
    assert features["zeppenfeld"] == pytest.approx([0.0], abs=1e-6)
    assert features["pt_balance"] == pytest.approx([0.0], abs=1e-6)
    assert features["dijet_delta_eta"] == pytest.approx([4.0])
    assert features["dijet_delta_phi"] == pytest.approx([math.pi], rel=1e-6)
    assert features["log_missing_pt"] == pytest.approx([math.log(21.0)])
    assert features["log_leading_jet_pt"] == pytest.approx([math.log(60.0)])


def test_dijet_mass_includes_the_masses_of_the_jets(hmumu: ModuleType, make_events: MakeEvents) -> None:
    features, _ = hmumu.columns(make_events([EVENT], "hmumu_vbf"))
    transverse, longitudinal = math.hypot(60.0, 8.0), 60.0 * math.sinh(2.0)
    energy = math.sqrt(transverse**2 + longitudinal**2)
    assert np.exp(features["log_dijet_mass"]) == pytest.approx([2.0 * energy], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        ({"muons": [(62.5, 0.0, 0.0, 1), (62.5, 0.0, math.pi, 1)]}, "opposite charges"),
        ({"muons": [(62.5, 0.0, 0.0, 1)]}, "two muons"),
        ({"muons": [(80.0, 0.0, 0.0, 1), (19.5, 0.0, math.pi, -1)]}, "two muons"),
        ({"muons": [(45.6, 0.0, 0.0, 1), (45.6, 0.0, math.pi, -1)]}, "dimuon mass"),
        ({"muons": [(76.0, 0.0, 0.0, 1), (76.0, 0.0, math.pi, -1)]}, "dimuon mass"),
        ({"jets": JETS[:1]}, "two jets"),
        ({"jets": []}, "two jets"),
        ({"jets": [JETS[0], (29.5, *JETS[1][1:])]}, "two jets"),
        ({"jets": [(60.0, 1.2, 1.0, 8.0, 0.01), (60.0, -1.2, -2.0, 8.0, 0.01)]}, "dijet mass"),
        ({"jets": [(400.0, 0.9, 1.0, 8.0, 0.01), (400.0, -0.9, -2.0, 8.0, 0.01)]}, "dijet separation"),
        ({"jets": [*JETS, (26.0, 0.0, 0.0, 4.0, 0.3)]}, "b-tag veto"),
    ],
)
def test_each_cut_removes_its_event(
    change: dict[str, object], cut: str, hmumu: ModuleType, make_events: MakeEvents
) -> None:
    features, cuts = hmumu.columns(make_events([EVENT, EVENT | change, EVENT], "hmumu_vbf"))
    assert cuts.all(cut).tolist() == [True, False, True]
    assert cuts.all().tolist() == [True, False, True]
    assert {len(values) for values in features.values()} == {2}


def test_a_jet_rounded_down_to_the_threshold_passes(hmumu: ModuleType, make_events: MakeEvents) -> None:
    event = EVENT | {"jets": [(90.0, *JETS[0][1:]), (30.0, *JETS[1][1:])]}
    _, cuts = hmumu.columns(make_events([event], "hmumu_vbf"))
    assert cuts.all().tolist() == [True]


def test_no_selected_event(hmumu: ModuleType, make_events: MakeEvents) -> None:
    features, cuts = hmumu.columns(make_events([EVENT | {"jets": []}], "hmumu_vbf"))
    assert not cuts.all().any()
    assert {len(values) for values in features.values()} == {0}


def test_third_jet_is_missing_below_its_threshold(hmumu: ModuleType, make_events: MakeEvents) -> None:
    soft = [*JETS, (24.0, 0.0, 0.0, 3.0, 0.0)]
    hard = [*JETS, (40.0, 0.0, 0.0, 3.0, 0.0), (28.0, 1.0, 0.0, 3.0, 0.0), (20.0, 1.0, 0.0, 3.0, 0.0)]
    events = make_events([EVENT, EVENT | {"jets": soft}, EVENT | {"jets": hard}], "hmumu_vbf")
    features, _ = hmumu.columns(events)
    assert features["log_third_jet_pt"] == pytest.approx([math.nan, math.nan, math.log(40.0)], nan_ok=True)
    assert features["log_extra_jet_ht"] == pytest.approx([0.0, 0.0, math.log1p(68.0)])


def collins_soper_by_boosts(first: vector.MomentumObject4D, second: vector.MomentumObject4D) -> float:
    """|cos theta*| by definition: in the pair's rest frame, against the axis that bisects one proton and minus the other."""
    pair = first + second
    protons = [vector.obj(px=0.0, py=0.0, pz=sign * 6500.0, E=6500.0) for sign in (1.0, -1.0)]
    forward, backward = (proton.boostCM_of_p4(pair).to_3D().unit() for proton in protons)
    axis = (forward - backward).unit()
    return abs(float(first.boostCM_of_p4(pair).to_3D().unit().dot(axis)))


directions = st.tuples(st.floats(20.0, 500.0), st.floats(-2.4, 2.4), st.floats(-math.pi, math.pi))


@given(first=directions, second=directions)
def test_collins_soper_angle_is_the_boosted_one(
    first: tuple[float, float, float], second: tuple[float, float, float], hmumu: ModuleType
) -> None:
    pair = [vector.obj(pt=pt, eta=eta, phi=phi, mass=0.0) for pt, eta, phi in (first, second)]
    if (pair[0] + pair[1]).mass < 50.0:
        return
    found = hmumu.cos_theta_collins_soper(momenta((*first, 0.0), (*second, 0.0)))
    assert found == pytest.approx([collins_soper_by_boosts(*pair)], abs=1e-6)


def test_collins_soper_angle_of_a_pair_without_transverse_momentum(hmumu: ModuleType) -> None:
    muons = momenta((40.0, 0.8, 0.3, MUON_MASS), (40.0, -0.8, 0.3 - math.pi, MUON_MASS))
    assert hmumu.cos_theta_collins_soper(muons) == pytest.approx([math.tanh(0.8)], rel=1e-5)


def test_mass_resolution_is_the_spread_of_smeared_pairs(hmumu: ModuleType) -> None:
    muons = momenta((300.0, 0.5, 0.0, MUON_MASS), (40.0, -0.2, 1.0, MUON_MASS))
    rng = np.random.default_rng(1)
    smeared = [
        muon.pt * (1.0 + math.hypot(0.012, 1e-4 * float(muon.pt)) * rng.standard_normal(200_000)) for muon in muons[0]
    ]
    mass = np.sqrt(2.0 * smeared[0] * smeared[1] * (math.cosh(0.7) - math.cos(1.0)))
    assert hmumu.dimuon_mass_resolution(muons) == pytest.approx([mass.std() / mass.mean()], rel=0.01)


@pytest.mark.parametrize("boost", [0.0, 0.7, -1.3])
def test_zeppenfeld_variable_is_half_at_a_jet_and_independent_of_boosts(boost: float, hmumu: ModuleType) -> None:
    jets = momenta((60.0, 3.0 + boost, 0.0, 0.0), (50.0, -1.0 + boost, 2.0, 0.0))[0]
    for rapidity, expected in ((3.0, 0.5), (1.0, 0.0), (-1.0, 0.5), (5.0, 1.0)):
        dimuon = vector.obj(pt=40.0, eta=rapidity + boost, phi=1.0, mass=0.0)
        assert hmumu.zeppenfeld(dimuon, jets[0], jets[1]) == pytest.approx(expected)


def test_pt_balance_is_one_when_everything_recoils_against_something_unseen(hmumu: ModuleType) -> None:
    aligned = momenta((60.0, 3.0, 0.5, 0.0), (50.0, -1.0, 0.5, 0.0), (40.0, 0.0, 0.5, 0.0))[0]
    assert hmumu.pt_balance(*aligned) == pytest.approx(1.0)


def test_rapidity_distance_to_the_nearer_jet(hmumu: ModuleType) -> None:
    dimuon, *jets = momenta((60.0, 0.5, 0.5, 0.0), (50.0, -1.0, 0.5, 0.0), (40.0, 3.0, 0.5, 0.0))[0]
    assert hmumu.min_delta_rapidity(dimuon, *jets) == pytest.approx(1.5)
