"""The generator itself, where its packages are installed: twenty events of a fast process."""

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

pytest.importorskip("pythia8mc", reason="the generator needs the extra 'samples'")
pytest.importorskip("fastjet", reason="the generator needs the extra 'samples'")

from generator.errors import GeneratorError
from generator.options import GenerationOptions
from generator.production import generate

EVENTS = 20
SEED = 40  # of the committed file
OPTIONS = GenerationOptions(mpi=False, slim=True, compression="lzma")


def arrays(path: Path) -> ak.Array:
    with uproot.open(path) as file:
        return file["Events"].arrays()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("generated")
    generate("hmumu_vbf", EVENTS, SEED, path, OPTIONS)
    return path


@pytest.fixture(scope="module")
def metadata(folder: Path) -> dict[str, Any]:
    return json.loads((folder / f"hmumu_vbf_s{SEED}.json").read_text(encoding="utf-8"))


def test_only_the_finished_pair_is_left(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {f"hmumu_vbf_s{SEED}.root", f"hmumu_vbf_s{SEED}.json"}


def test_metadata_have_the_keys_of_the_committed_files(metadata: dict[str, Any], data_samples: Path) -> None:
    committed = json.loads((data_samples / "hmumu" / "hmumu_vbf.json").read_text(encoding="utf-8"))
    assert set(metadata) == set(committed)
    differing = {key for key in metadata if metadata[key] != committed[key]}
    assert not differing & {"process", "is_signal", "mass", "tree", "sqrts_gev", "skim", "seed", "settings", "mpi"}


def test_normalisation(folder: Path, metadata: dict[str, Any]) -> None:
    with uproot.open(folder / metadata["file"]) as file:
        weight = file["Events"]["genWeight"].array(library="np").astype(np.float64)
        runs = file["Runs"].arrays(library="np")
    assert len(weight) == metadata["entries"] == EVENTS
    assert runs["genEventSumw"].tolist() == [metadata["genEventSumw"]]
    assert runs["genEventCount"].tolist() == [metadata["genEventCount"]]
    assert metadata["genEventCount"] > EVENTS
    value = metadata["xsec_pb"] * 140_000 * weight.sum() / metadata["genEventSumw"]
    assert value == pytest.approx(metadata["yield_140fb"], rel=1e-6)
    # the committed file's 25.64, within five times the binomial error of the skim efficiency
    efficiency = metadata["skim_efficiency"]
    assert abs(value - 25.64) < 5 * value * np.sqrt((1 - efficiency) / EVENTS)


def test_last_stored_event_is_the_last_generated_one(folder: Path, metadata: dict[str, Any]) -> None:
    assert arrays(folder / metadata["file"]).event[-1] == metadata["genEventCount"] - 1


def test_same_seed_same_events_and_other_seed_others(folder: Path, tmp_path: Path, metadata: dict[str, Any]) -> None:
    again = generate("hmumu_vbf", EVENTS, SEED, tmp_path, OPTIONS)
    other = generate("hmumu_vbf", EVENTS, SEED + 3, tmp_path, OPTIONS)
    first = arrays(folder / metadata["file"])
    assert ak.array_equal(first, arrays(tmp_path / again["file"]))
    assert again["genEventSumw"] == metadata["genEventSumw"]
    assert not ak.array_equal(first.MET_pt, arrays(tmp_path / other["file"]).MET_pt)


@pytest.mark.skipif(
    version("pythia8mc") != "8.317.2" or platform.machine() != "x86_64",
    reason="other versions and machines round differently",
)
def test_committed_file_is_reproduced(folder: Path, metadata: dict[str, Any], data_samples: Path) -> None:
    """The order of every random draw is as it was: the first events are the committed ones, bit for bit."""
    committed = arrays(data_samples / "hmumu" / "hmumu_vbf.root")[:EVENTS]
    assert ak.array_equal(arrays(folder / metadata["file"]), committed)


def test_an_existing_sample_is_refused(folder: Path) -> None:
    with pytest.raises(GeneratorError, match="exists"):
        generate("hmumu_vbf", EVENTS, SEED, folder, OPTIONS)


def test_too_little_time_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="no event passed the skim in 1e-06 CPU seconds"):
        generate("hmumu_vbf", EVENTS, SEED, tmp_path, GenerationOptions(mpi=False, max_cpu_s=1e-6))
    assert not list(tmp_path.iterdir())


def test_negative_weights_and_full_content(tmp_path: Path) -> None:
    options = GenerationOptions(mpi=False, negative_weight_fraction=0.4, shower_weights=True, batch=100)
    metadata = generate("hmumu_vbf", EVENTS, SEED, tmp_path, options)
    events = arrays(tmp_path / metadata["file"])
    assert set(np.round(events.genWeight, 5)) == {-5.0, 5.0}
    assert metadata["negative_weights_emulated"] is True
    assert ak.all(ak.num(events.PSWeight) == 4)
    assert {"Electron_pt", "Jet_hadronFlavour", "Generator_binvar", "PV_npvs"} <= set(events.fields)
