"""The yields of both analyses against a computation that knows neither coffea nor the package: uproot and NumPy."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
import yaml

from tests.analyses.conftest import ROOT, ReadColumns
from tests.analyses.conftest import invariant_mass as mass
from zsig_hep.ntuples import ColumnsResult

IPB_AT_140_IFB = 140_000.0
BRANCHES = (
    "genWeight",
    "MET_pt",
    *(f"Muon_{name}" for name in ("pt", "eta", "phi", "mass", "charge")),
    *(f"Jet_{name}" for name in ("pt", "eta", "phi", "mass", "btagDeepFlavB")),
)

# Files of each dataset, and the dataset's process.
HMUMU = {
    "vbf": {"hmumu_vbf": ["hmumu_vbf"]},
    "ggf": {"hmumu_ggf": ["hmumu_ggf"]},
    "dy": {"hmumu_dy": ["hmumu_dy_1", "hmumu_dy_2"]},
    "ttbar": {"hmumu_ttbar": ["hmumu_ttbar_1", "hmumu_ttbar_2", "hmumu_ttbar_3"]},
}
LEPTOQUARK = {
    "leptoquark": {"lq_m1400": ["lq_m1400"]},
    "ttbar": {name: [name] for name in ("ttbar", "ttbar_pt250", "ttbar_pt500")},
    "dy": {name: [name] for name in ("dy_m150", "dy_m150_pt250", "dy_m150_pt500")},
    "diboson": {name: [name] for boson in ("ww", "wz", "zz") for name in (boson, f"{boson}_pt250")},
}
ENDS = {
    **dict.fromkeys(("ttbar", "dy_m150", "ww", "wz", "zz"), 250),
    **dict.fromkeys(("ttbar_pt250", "dy_m150_pt250"), 500),
}
SAMPLES = {"hmumu": HMUMU, "leptoquark": LEPTOQUARK}

Entry = dict[str, Any]


def collection(entry: Entry, name: str) -> list[tuple[float, float, float, float]]:
    columns = (entry[f"{name}_{part}"].tolist() for part in ("pt", "eta", "phi", "mass"))
    return list(zip(*columns, strict=True))


def opposite_charges(entry: Entry) -> bool:
    return int(entry["Muon_charge"][0]) + int(entry["Muon_charge"][1]) == 0


def hmumu_mass(entry: Entry, dataset: str) -> float | None:
    """Dimuon mass of a selected event."""
    muons, jets = collection(entry, "Muon"), collection(entry, "Jet")
    if len(muons) < 2 or len(jets) < 2 or muons[0][0] < 26 or muons[1][0] < 20 or jets[1][0] < 30:
        return None
    dimuon = mass(*muons[:2])
    if not opposite_charges(entry) or not 110 <= dimuon <= 150:
        return None
    if mass(*jets[:2]) < 300 or abs(jets[0][1] - jets[1][1]) < 2:
        return None
    if entry["MET_pt"] >= 60:
        return None
    return None if any(score >= np.float32(0.3) for score in entry["Jet_btagDeepFlavB"]) else dimuon


def leptoquark_mass(entry: Entry, dataset: str) -> float | None:
    """Dimuon mass of a selected event."""
    if entry["Generator_binvar"] >= ENDS.get(dataset, math.inf):
        return None
    muons = collection(entry, "Muon")
    jets = [jet for jet in collection(entry, "Jet") if jet[0] >= 30 and abs(jet[1]) <= 2.5]
    if len(muons) < 2 or len(jets) < 2 or muons[0][0] < 30 or muons[1][0] < 20:
        return None
    dimuon = mass(*muons[:2])
    scalar_sum = muons[0][0] + muons[1][0] + jets[0][0] + jets[1][0]
    return dimuon if opposite_charges(entry) and dimuon >= 200 and scalar_sum >= 500 else None


SELECTIONS: dict[str, Callable[[Entry, str], float | None]] = {"hmumu": hmumu_mass, "leptoquark": leptoquark_mass}


def entries(path: Path, branches: tuple[str, ...]) -> Iterator[Entry]:
    with uproot.open(path) as file:
        arrays = file["Events"].arrays(list(branches), library="np")
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(arrays, values, strict=True))


def settings_of(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "analyses" / name / "analysis.yaml").read_text(encoding="utf-8"))


def independent(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights (yields at 140 / fb) and dimuon masses of the selected events of each process."""
    processes = settings_of(name)["processes"]
    branches = (*BRANCHES, "Generator_binvar") if name == "leptoquark" else BRANCHES
    result = {}
    for process, datasets in SAMPLES[name].items():
        weights, masses = [], []
        for dataset, files in datasets.items():
            given = processes[process]["datasets"][dataset]
            paths = [ROOT / "data_samples" / name / f"{file}.root" for file in files]
            sum_of_weights = math.fsum(generated_sum(path) for path in paths)
            factor = given["cross_section_pb"] * given.get("k_factor", 1.0) * IPB_AT_140_IFB / sum_of_weights
            for entry in (entry for path in paths for entry in entries(path, branches)):
                if (dimuon := SELECTIONS[name](entry, dataset)) is not None:
                    weights.append(float(entry["genWeight"]) * factor)
                    masses.append(dimuon)
        result[process] = np.array(weights), np.array(masses)
    return result


def generated_sum(path: Path) -> float:
    with uproot.open(path) as file:
        return float(file["Runs"]["genEventSumw"].array(library="np").sum())


@pytest.fixture(scope="module", params=["hmumu", "leptoquark"])
def both(request: pytest.FixtureRequest, read_columns: ReadColumns) -> tuple[str, ColumnsResult, Any]:
    name = request.param
    return name, read_columns(name), independent(name)


def test_yields_agree(both: tuple[str, ColumnsResult, Any]) -> None:
    _, result, expected = both
    yields = result.table.yields()
    assert list(yields) == list(expected)
    for process, (weights, _) in expected.items():
        assert yields[process].entries == len(weights)
        assert yields[process].value == pytest.approx(math.fsum(weights), rel=1e-9)
        assert yields[process].variance == pytest.approx(math.fsum(weights**2), rel=1e-9)
        assert result.cutflows[process][-1].value == pytest.approx(math.fsum(weights), rel=1e-9)


def test_dimuon_masses_agree_event_by_event(both: tuple[str, ColumnsResult, Any]) -> None:
    name, result, expected = both
    for index, (_, masses) in enumerate(expected.values()):
        selected = result.table.process == index
        feature = result.table.feature("dimuon_mass" if name == "hmumu" else "log_dimuon_mass")[selected]
        compared = masses if name == "hmumu" else np.log(masses)
        np.testing.assert_allclose(np.sort(feature), np.sort(compared), rtol=1e-6)


def test_features_are_complete_but_for_the_third_jet(both: tuple[str, ColumnsResult, Any]) -> None:
    name, result, _ = both
    missing = {f for f in result.table.feature_names if np.isnan(result.table.feature(f)).any()}
    rules = settings_of(name)["training"].get("missing", {})
    assert missing == set(rules)


def test_every_feature_has_an_axis_label(both: tuple[str, ColumnsResult, Any]) -> None:
    name, result, _ = both
    assert tuple(settings_of(name)["presentation"]["axis_labels"]) == result.table.feature_names


@pytest.mark.parametrize("name", ["hmumu", "leptoquark"])
def test_cross_sections_are_those_of_the_samples(name: str) -> None:
    processes = settings_of(name)["processes"]
    for process, datasets in SAMPLES[name].items():
        for dataset, files in datasets.items():
            paths = [ROOT / "data_samples" / name / f"{file}.json" for file in files]
            stored = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
            generated = [meta["genEventCount"] for meta in stored]
            mean = np.average([meta["xsec_pb"] for meta in stored], weights=generated)
            assert processes[process]["datasets"][dataset]["cross_section_pb"] == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("name", ["hmumu", "leptoquark"])
@pytest.mark.parametrize("suffix", ["", "_s101"])
def test_patterns_find_their_own_files_only(name: str, suffix: str, tmp_path: Path) -> None:
    owner = {
        file + suffix: dataset for datasets in SAMPLES[name].values() for dataset, of in datasets.items() for file in of
    }
    for file in (*owner, *(() if name == "hmumu" else ("lq_m1000",))):
        for extension in (".root", ".json"):
            (tmp_path / (file + extension)).touch()
    for process in settings_of(name)["processes"].values():
        for dataset, values in process["datasets"].items():
            found = {path.name for pattern in values["files"] for path in tmp_path.glob(pattern)}
            assert found == {f"{file}.root" for file, owned_by in owner.items() if owned_by == dataset}
