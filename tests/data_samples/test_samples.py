"""The committed files against their metadata, and against what the README says of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from generator.processes import PROCESSES
from generator.skims import SKIMS
from generator.summary import combine, markdown_table, summarise

ROOT_FILES = sorted((Path(__file__).resolve().parents[2] / "data_samples").glob("*/*.root"))
LUMINOSITY_IPB = 140_000.0

SLIM_BRANCHES = {
    "run", "luminosityBlock", "event", "genWeight", "MET_pt", "MET_phi", "nMuon", "nJet",
    *(f"Muon_{name}" for name in ("pt", "eta", "phi", "mass", "charge", "pfRelIso04_all")),
    *(f"Jet_{name}" for name in ("pt", "eta", "phi", "mass", "btagDeepFlavB")),
}  # fmt: skip

PINNED_YIELDS = {
    "hmumu_dy_1": 6099.3, "hmumu_dy_2": 6125.3, "hmumu_ggf": 14.798, "hmumu_ttbar_1": 540.15,
    "hmumu_ttbar_2": 548.27, "hmumu_ttbar_3": 561.35, "hmumu_vbf": 25.64, "hmumu_dy_s3031": 6122.8,
    "hmumu_ggf_s3021": 14.722, "hmumu_ttbar_s3001": 9573.9, "hmumu_vbf_s3011": 25.612, "dy_m150": 3683.9,
    "dy_m150_pt250": 1057, "dy_m150_pt500": 127.52, "lq_m1400": 33.786, "ttbar": 6170.1,
    "ttbar_pt250": 7950.9, "ttbar_pt500": 609.01, "ww": 93.406, "ww_pt250": 40.21,
    "wz": 39.228, "wz_pt250": 8.9899, "zz": 35.727, "zz_pt250": 9.2921,
}  # fmt: skip


def metadata_of(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def yield_of(path: Path, window: tuple[float, float] | None = None) -> tuple[float, float]:
    """Yield at 140/fb and its statistical uncertainty, by nothing but uproot and NumPy.

    Args:
        path: of the file.
        window: the part of Generator_binvar to count, its upper bound excluded; None for all.
    """
    with uproot.open(path) as file:
        branches = ["genWeight", *(["Generator_binvar"] if window else [])]
        events = file["Events"].arrays(branches, library="np")
        sum_of_weights = file["Runs"]["genEventSumw"].array(library="np").sum()
    weight = events["genWeight"].astype(np.float64)
    if window:
        weight = weight[(events["Generator_binvar"] >= window[0]) & (events["Generator_binvar"] < window[1])]
    factor = metadata_of(path)["xsec_pb"] * LUMINOSITY_IPB / sum_of_weights
    return factor * weight.sum(), factor * np.sqrt((weight**2).sum())


def sample(name: str) -> Path:
    return next(path for path in ROOT_FILES if path.stem == name)


every_file = pytest.mark.parametrize("path", ROOT_FILES, ids=lambda path: path.stem)


def test_every_file_is_there_with_its_metadata() -> None:
    assert {path.stem for path in ROOT_FILES} == set(PINNED_YIELDS)
    assert all(path.with_suffix(".json").exists() for path in ROOT_FILES)


@every_file
def test_content_is_the_recorded_one(path: Path) -> None:
    content, metadata = path.read_bytes(), metadata_of(path)
    assert len(content) == metadata["file_bytes"]
    assert hashlib.sha256(content).hexdigest() == metadata["sha256"]
    assert metadata["file"] == path.name


@every_file
def test_trees_and_branches(path: Path) -> None:
    more = {"leptoquark": {"Generator_binvar"}, "hmumu_shower": {"PSWeight", "nPSWeight"}}.get(path.parent.name, set())
    with uproot.open(path) as file:
        assert file.classnames(cycle=False) == {"Events": "TTree", "Runs": "TTree"}
        assert set(file["Events"].keys()) == SLIM_BRANCHES | more
        assert file["Events"].num_entries == metadata_of(path)["entries"]


@every_file
def test_runs_tree_holds_the_recorded_sums(path: Path) -> None:
    metadata = metadata_of(path)
    with uproot.open(path) as file:
        runs = file["Runs"].arrays(library="np")
    for name in ("genEventCount", "genEventSumw", "genEventSumw2"):
        assert runs[name].tolist() == [metadata[name]]


@every_file
def test_yield_and_effective_entries(path: Path) -> None:
    metadata = metadata_of(path)
    value, uncertainty = yield_of(path)
    # genWeight is stored as float32
    assert value == pytest.approx(metadata["yield_140fb"], rel=1e-6)
    assert (value / uncertainty) ** 2 == pytest.approx(metadata["neff_stored"], rel=1e-5)
    assert value == pytest.approx(PINNED_YIELDS[path.stem], rel=5e-4)


@every_file
def test_sum_over_stored_events_is_not_the_sum_of_weights(path: Path) -> None:
    metadata = metadata_of(path)
    with uproot.open(path) as file:
        stored = file["Events"]["genWeight"].array(library="np").astype(np.float64).sum()
    assert stored / metadata["genEventSumw"] == pytest.approx(metadata["skim_efficiency"], rel=1e-6)
    assert metadata["skim_efficiency"] < 0.8


@every_file
def test_negative_weights_are_those_that_were_emulated(path: Path) -> None:
    metadata = metadata_of(path)
    with uproot.open(path) as file:
        negative = (file["Events"]["genWeight"].array(library="np") < 0).mean()
    probability = metadata["negative_weight_fraction"]
    assert metadata["negative_weights_emulated"] is (probability > 0)
    assert probability == (0.16 if path.stem.startswith("dy_") else 0)
    assert abs(negative - probability) <= 4 * np.sqrt(probability * (1 - probability) / metadata["entries"])


@every_file
def test_identities_are_unique_within_a_file(path: Path) -> None:
    with uproot.open(path) as file:
        events = file["Events"].arrays(["run", "luminosityBlock", "event"], library="np")
        generated = metadata_of(path)["genEventCount"]
    assert np.all(np.diff(events["event"].astype(np.int64)) > 0)
    assert events["event"][-1] < generated
    np.testing.assert_array_equal(events["luminosityBlock"], 1 + events["event"] // 1000)
    assert np.all(events["run"] == 1)


def test_identities_repeat_between_files_of_a_process_with_other_content() -> None:
    first, second = (
        uproot.open(sample(name))["Events"].arrays(["event", "Muon_pt"]) for name in ("hmumu_dy_1", "hmumu_dy_2")
    )
    _, i, j = np.intersect1d(first.event, second.event, return_indices=True)
    assert len(i) > 100
    same = ak.to_numpy(first.Muon_pt[i, 0] == second.Muon_pt[j, 0])
    assert same.mean() < 0.05


@every_file
def test_stored_events_pass_the_skim(path: Path) -> None:
    """Within the rounding to 10 mantissa bits, which masses feel through differences of angles."""
    branches = ["Muon_pt", "Muon_eta", "Muon_phi", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_btagDeepFlavB", "MET_pt"]
    events = uproot.open(path)["Events"].arrays(branches)
    hmumu = path.parent.name.startswith("hmumu")
    assert ak.all(events.Muon_pt[:, 0] >= (26 if hmumu else 30))
    assert ak.all(events.Muon_pt[:, 1] >= 20)
    dimuon_mass = pair_mass(events.Muon_pt, events.Muon_eta, events.Muon_phi)
    # jets between the storage threshold and 30 GeV are in the file too, and 30.003 GeV is stored as 30
    jets = events.Jet_pt >= 30
    if hmumu:
        assert np.all((dimuon_mass > 0.995 * 110) & (dimuon_mass < 1.005 * 150))
        eta = events.Jet_eta[jets]
        assert ak.all(abs(eta[:, 0] - eta[:, 1]) > 1.995)
        assert np.all(pair_mass(events.Jet_pt[jets], eta, events.Jet_phi[jets]) > 0.995 * 300)
        vetoed = ak.all(events.Jet_btagDeepFlavB <= 0.3003, axis=1) & (events.MET_pt <= 80)
        assert ak.all(vetoed) == (metadata_of(path)["untagged_below"] is not None)
    else:
        central = jets & (abs(events.Jet_eta) <= 2.5)
        assert np.all(dimuon_mass > 0.995 * 190)
        assert ak.all(ak.sum(central, axis=1) >= 2)
        momenta = ak.sum(events.Muon_pt[:, :2], axis=1) + ak.sum(events.Jet_pt[central][:, :2], axis=1)
        assert ak.all(momenta > 0.999 * 475)


def pair_mass(pt: ak.Array, eta: ak.Array, phi: ak.Array) -> np.ndarray:
    """Leading pair as massless four-vectors, by components rather than by the generator's closed form."""
    first, second = (
        [ak.to_numpy(x[:, i]).astype(np.float64) for x in (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))]
        for i in (0, 1)
    )
    energy = sum(np.sqrt(sum(component**2 for component in momentum)) for momentum in (first, second))
    squared = energy**2 - sum((a + b) ** 2 for a, b in zip(first, second, strict=True))
    return np.sqrt(np.maximum(squared, 0))


OVERLAPS = [
    *((name, f"{name}_pt250", 250, 300) for name in ("ttbar", "dy_m150", "ww", "wz", "zz")),
    *((f"{name}_pt250", f"{name}_pt500", 500, 600) for name in ("ttbar", "dy_m150")),
]


@pytest.mark.parametrize(("lower", "upper", "begin", "end"), OVERLAPS)
def test_a_slice_continues_the_one_below(lower: str, upper: str, begin: float, end: float) -> None:
    """Where both have events, what stitching drops has the yield of what replaces it."""
    dropped, dropped_error = yield_of(sample(lower), (begin, end))
    replacing, replacing_error = yield_of(sample(upper), (begin, end))
    assert dropped > 2 * dropped_error
    assert abs(dropped - replacing) < 4 * np.hypot(dropped_error, replacing_error)


@pytest.mark.parametrize(("lower", "upper", "begin", "end"), OVERLAPS)
def test_slices_hold_what_their_bounds_allow(lower: str, upper: str, begin: float, end: float) -> None:
    """A fifth more than what is counted, and nothing below their own beginning (12 mantissa bits)."""
    below, above = (
        uproot.open(sample(name))["Events"]["Generator_binvar"].array(library="np") for name in (lower, upper)
    )
    assert end * 0.8 < below.max() <= end * (1 + 2**-12)
    assert begin * (1 - 2**-12) <= above.min() < begin * 1.2


TOP_PAIR_BRANCHES = ["genWeight", "MET_pt", "Muon_charge", "Jet_btagDeepFlavB"]


def test_top_pairs_of_hmumu_have_the_yields_of_a_plain_production() -> None:
    """858 750 top pairs, all showered and with b-tag scores drawn as they come, gave the pinned yields at 140/fb."""
    files = [path for path in ROOT_FILES if path.stem.startswith("hmumu_ttbar") and path.parent.name == "hmumu"]
    events = ak.concatenate([uproot.open(path)["Events"].arrays(TOP_PAIR_BRANCHES) for path in files])
    summary = combine([metadata_of(path) for path in files])
    factor = summary.cross_section_pb * LUMINOSITY_IPB / summary.sum_of_weights
    weight = factor * ak.to_numpy(events.genWeight).astype(np.float64)
    untagged = ak.to_numpy(ak.all(events.Jet_btagDeepFlavB < 0.3, axis=1))
    selected = untagged & ak.to_numpy((events.Muon_charge[:, 0] * events.Muon_charge[:, 1] < 0) & (events.MET_pt < 60))
    for passing, plain, plain_error in ((untagged, 505.8, 35.4), (selected, 315.1, 27.9)):
        value, error = weight[passing].sum(), np.sqrt((weight[passing] ** 2).sum())
        assert abs(value - plain) < 3 * np.hypot(error, plain_error)
    # against 127.9
    assert weight[selected].sum() ** 2 / (weight[selected] ** 2).sum() > 4.5 * 127.9


@every_file
def test_processes_are_still_those_of_the_files(path: Path) -> None:
    metadata = metadata_of(path)
    process = PROCESSES[metadata["process"]]
    assert metadata["settings"][:2] == ["Print:quiet=on", "Beams:eCM=13000.0"]
    variations = 2 * metadata["psweights"]
    assert tuple(metadata["settings"][7 : len(metadata["settings"]) - variations]) == process.settings
    assert metadata["mass"] == process.signal_mass_gev
    assert metadata["is_signal"] is (process.signal_mass_gev is not None)
    assert metadata["negative_weight_fraction"] == process.negative_weight_fraction
    if path.stem != "hmumu_ttbar_s3001":  # made without thinning and with the skim of the other processes
        assert (metadata["thinning"], metadata["untagged_below"]) == (process.thinning, process.untagged_below)
        assert metadata["skim"] == SKIMS[process.skim].text


@pytest.mark.parametrize("folder", ["hmumu", "hmumu_shower", "leptoquark"])
def test_readme_table_is_derived_from_the_metadata(data_samples: Path, folder: str) -> None:
    samples = [metadata_of(path) for path in ROOT_FILES if path.parent.name == folder]
    assert markdown_table(summarise(samples)) in (data_samples / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", [path for path in ROOT_FILES if path.parent.name == "hmumu_shower"], ids=lambda path: path.stem
)
def test_shower_weights_are_four_factors_around_one(path: Path) -> None:
    with uproot.open(path) as file:
        events = file["Events"].arrays(["genWeight", "PSWeight"])
    factors = ak.to_numpy(events.PSWeight).astype(np.float64)
    weight = ak.to_numpy(events.genWeight).astype(np.float64)
    assert factors.shape == (len(weight), 4)
    assert (factors > 0).all()
    assert metadata_of(path)["psweights"]
    mean = (weight[:, None] * factors).sum(axis=0) / weight.sum()
    assert np.all(np.abs(mean - 1) < 0.25)
    # ISR up, FSR up, ISR down, FSR down: directions of one oppose, and final-state radiation is the one that spreads widely.
    logarithms = np.log(factors)
    correlation = np.corrcoef(logarithms.T)
    assert np.all(np.diag(correlation, 2) < -0.9)
    assert np.all(np.abs(np.diag(correlation, 1)) < 0.2)
    assert np.all(logarithms.std(axis=0)[[1, 3]] > 3 * logarithms.std(axis=0)[[0, 2]])


def test_files_stay_small() -> None:
    sizes = [path.stat().st_size for path in ROOT_FILES]
    assert sum(sizes) < 12e6
    assert max(sizes) < 3e6
