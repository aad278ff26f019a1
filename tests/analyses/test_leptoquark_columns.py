import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import vector

MakeEvents = Callable[..., Any]

MUONS = [(400.0, 0.3, 0.0, 1), (300.0, -0.4, 2.0, -1)]
JETS = [(350.0, 1.0, -2.0, 20.0, 0.4), (250.0, -1.0, 1.0, 15.0, 0.1)]
EVENT = {"muons": MUONS, "jets": JETS, "MET_pt": 30.0, "MET_phi": 0.1, "Generator_binvar": 300.0}


def pair_mass(muon: tuple[float, ...], jet: tuple[float, ...]) -> float:
    """Invariant mass of a muon and a jet from energies and momenta."""
    pt_1, eta_1, phi_1 = muon[:3]
    pt_2, eta_2, phi_2, mass = jet[:4]
    energy = pt_1 * math.cosh(eta_1) + math.sqrt((pt_2 * math.cosh(eta_2)) ** 2 + mass**2)
    x = pt_1 * math.cos(phi_1) + pt_2 * math.cos(phi_2)
    y = pt_1 * math.sin(phi_1) + pt_2 * math.sin(phi_2)
    z = pt_1 * math.sinh(eta_1) + pt_2 * math.sinh(eta_2)
    return math.sqrt(energy**2 - x**2 - y**2 - z**2)


def test_features_of_one_event(leptoquark: ModuleType, make_events: MakeEvents) -> None:
    features, cuts = leptoquark.columns(make_events([EVENT], "lq_m1400"))
    assert cuts.all().tolist() == [True]
    assert np.exp(features["log_scalar_sum"]) == pytest.approx([1300.0])
    mass = math.sqrt(2 * 400 * 300 * (math.cosh(0.7) - math.cos(2.0)))
    assert np.exp(features["log_dimuon_mass"]) == pytest.approx([mass], rel=1e-6)
    assert features["dimuon_delta_r"] == pytest.approx([math.hypot(0.7, 2.0)], rel=1e-6)
    assert features["missing_pt_muon_delta_phi"] == pytest.approx([0.1], rel=1e-6)
    assert features["central_jets"].tolist() == [2.0]
    assert features["max_b_tag"] == pytest.approx([0.4])


@pytest.mark.parametrize("order", [1, -1])
def test_muons_and_jets_are_paired_by_the_smallest_difference(
    order: int, leptoquark: ModuleType, make_events: MakeEvents
) -> None:
    jets = [(300.0, *jet[1:]) for jet in JETS][::order]
    features, _ = leptoquark.columns(make_events([EVENT | {"jets": jets}], "lq_m1400"))
    pairings = [
        (pair_mass(MUONS[0], jets[0]), pair_mass(MUONS[1], jets[1])),
        (pair_mass(MUONS[0], jets[1]), pair_mass(MUONS[1], jets[0])),
    ]
    smaller, larger = sorted(min(pairings, key=lambda masses: abs(masses[0] - masses[1])))
    assert np.expm1(features["log_min_muon_jet_mass"]) == pytest.approx([smaller], rel=1e-5)
    assert np.exp(features["log_max_muon_jet_mass"]) == pytest.approx([larger], rel=1e-5)
    assert np.exp(features["log_mean_muon_jet_mass"]) == pytest.approx([(smaller + larger) / 2], rel=1e-5)
    assert features["muon_jet_mass_asymmetry"] == pytest.approx([(larger - smaller) / (larger + smaller)], rel=1e-4)


@pytest.mark.parametrize(
    ("dataset", "selected"),
    [
        ("ttbar", [True, False, False, False]),
        ("dy_m150", [True, False, False, False]),
        ("zz", [True, False, False, False]),
        ("ttbar_pt250", [True, True, True, False]),
        ("dy_m150_pt250", [True, True, True, False]),
        ("dy_m150_pt500", [True, True, True, True]),
        ("zz_pt250", [True, True, True, True]),
        ("lq_m1400", [True, True, True, True]),
    ],
)
def test_datasets_end_where_the_next_slice_begins(
    dataset: str, selected: list[bool], leptoquark: ModuleType, make_events: MakeEvents
) -> None:
    events = make_events([EVENT | {"Generator_binvar": pt_hat} for pt_hat in (249.9, 250.0, 499.9, 500.0)], dataset)
    _, cuts = leptoquark.columns(events)
    assert cuts.all("stitching").tolist() == selected


def test_ntuples_without_the_stitching_branch_serve_where_nothing_is_stitched(
    leptoquark: ModuleType, make_events: MakeEvents
) -> None:
    event = {name: value for name, value in EVENT.items() if name != "Generator_binvar"}
    _, cuts = leptoquark.columns(make_events([event], "lq_m1400"))
    assert cuts.all().tolist() == [True]


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        ({"muons": [MUONS[0], (*MUONS[1][:3], 1)]}, "opposite charges"),
        ({"muons": MUONS[:1]}, "two muons"),
        ({"muons": [MUONS[0], (19.5, *MUONS[1][1:])]}, "two muons"),
        ({"muons": [(400.0, 0.3, 0.0, 1), (300.0, 0.3, 0.5, -1)]}, "dimuon mass"),
        ({"jets": JETS[:1]}, "two central jets"),
        ({"jets": [JETS[0], (250.0, 2.6, 1.0, 15.0, -1.0)]}, "two central jets"),
        (
            {"muons": [(170.0, 0.3, 0.0, 1), (150.0, -0.4, 2.0, -1)], "jets": [(89.5, *jet[1:]) for jet in JETS]},
            "scalar sum",
        ),
    ],
)
def test_each_cut_removes_its_event(
    change: dict[str, object], cut: str, leptoquark: ModuleType, make_events: MakeEvents
) -> None:
    features, cuts = leptoquark.columns(make_events([EVENT, EVENT | change, EVENT], "lq_m1400"))
    assert cuts.all(cut).tolist() == [True, False, True]
    assert {len(values) for values in features.values()} == {2}


def test_only_central_jets_are_used(leptoquark: ModuleType, make_events: MakeEvents) -> None:
    forward = (900.0, 3.0, 0.0, 30.0, -1.0)
    features, _ = leptoquark.columns(make_events([EVENT, EVENT | {"jets": [forward, *JETS]}], "lq_m1400"))
    for name, values in features.items():
        assert values[0] == pytest.approx(values[1]), name


def test_azimuth_wraps_around(leptoquark: ModuleType) -> None:
    muons = vector.array({name: np.full((1, 2), value) for name, value in (("pt", 50.0), ("eta", 0.0), ("phi", 3.1))})
    found = leptoquark.missing_pt_muon_delta_phi(np.array([-3.1], dtype=np.float32), muons)
    assert found == pytest.approx([2 * math.pi - 6.2], rel=1e-5)
