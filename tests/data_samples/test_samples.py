"""The committed files against their metadata, and against what the README says of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from generator.processes import PROCESSES, STITCH_PT_HAT_GEV
from generator.summary import markdown_table, summarise

ROOT_FILES = sorted((Path(__file__).resolve().parents[2] / "data_samples").glob("*/*.root"))
LUMINOSITY_IPB = 140_000.0

SLIM_BRANCHES = {
    "run", "luminosityBlock", "event", "genWeight", "MET_pt", "MET_phi", "nMuon", "nJet",
    *(f"Muon_{name}" for name in ("pt", "eta", "phi", "mass", "charge", "pfRelIso04_all")),
    *(f"Jet_{name}" for name in ("pt", "eta", "phi", "mass", "btagDeepFlavB")),
}  # fmt: skip

PINNED_YIELDS = {
    "hmumu_vbf_s3011": 25.612, "hmumu_ggf_s3021": 14.722, "hmumu_dy_s3031": 6517.1, "hmumu_ttbar_s3001": 9573.9,
    "hmumu_vbf": 25.64, "hmumu_ggf": 14.80, "hmumu_dy_1": 6487, "hmumu_dy_2": 6511, "hmumu_ttbar": 10045,
    "lq_m800": 2153, "lq_m1000": 462.3, "lq_m1200": 119.0, "lq_m1400": 33.55, "lq_m1600": 9.908,
    "ttbar": 284_746, "ttbar_pt250": 26_300, "dy_m50to150": 1_152_247, "dy_m150": 21_417, "dy_m150_pt250": 1909.5,
    "ww": 2098, "wz": 11_580, "zz": 11_444,
}  # fmt: skip


def metadata_of(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def yield_of(path: Path, selection: str | None = None) -> tuple[float, float]:
    """Yield at 140/fb and its statistical uncertainty, by nothing but uproot and NumPy."""
    with uproot.open(path) as file:
        branches = ["genWeight", *([selection.split()[0]] if selection else [])]
        events = file["Events"].arrays(branches, library="np")
        sum_of_weights = file["Runs"]["genEventSumw"].array(library="np").sum()
    weight = events["genWeight"].astype(np.float64)
    if selection:
        name, _, threshold = selection.split()
        weight = weight[events[name] >= float(threshold)]
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
    events = uproot.open(path)["Events"].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Jet_pt", "Jet_eta", "Jet_phi"])
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
    else:
        assert np.all(dimuon_mass > 0.995 * 50)
        assert ak.all(ak.sum(jets & (abs(events.Jet_eta) <= 2.5), axis=1) >= 2)


def pair_mass(pt: ak.Array, eta: ak.Array, phi: ak.Array) -> np.ndarray:
    """Leading pair as massless four-vectors, by components rather than by the generator's closed form."""
    first, second = (
        [ak.to_numpy(x[:, i]).astype(np.float64) for x in (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))]
        for i in (0, 1)
    )
    energy = sum(np.sqrt(sum(component**2 for component in momentum)) for momentum in (first, second))
    squared = energy**2 - sum((a + b) ** 2 for a, b in zip(first, second, strict=True))
    return np.sqrt(np.maximum(squared, 0))


@pytest.mark.parametrize("inclusive", ["ttbar", "dy_m150"])
def test_high_slices_continue_the_inclusive_samples(inclusive: str) -> None:
    """The part of the inclusive sample that stitching drops has the yield of the sample that replaces it."""
    dropped, dropped_error = yield_of(sample(inclusive), f"Generator_binvar >= {STITCH_PT_HAT_GEV}")
    tail, tail_error = yield_of(sample(f"{inclusive}_pt250"))
    assert dropped > 20 * tail / 30
    assert abs(dropped - tail) < 4 * np.hypot(dropped_error, tail_error)


def test_high_slices_start_where_the_inclusive_samples_are_cut() -> None:
    for name in ("ttbar_pt250", "dy_m150_pt250"):
        binvar = uproot.open(sample(name))["Events"]["Generator_binvar"].array(library="np")
        assert binvar.min() >= STITCH_PT_HAT_GEV


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
