"""The generator itself, where its packages are installed: twenty events of a fast process."""

import dataclasses
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

from generator.detector import Detector
from generator.errors import GeneratorError
from generator.options import GenerationOptions
from generator.processes import PROCESSES, TOP_PAIR, Process, biased
from generator.production import cross_section, generate
from generator.simulation import HardProcessHook, Simulation, _Record

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


def test_oversampling_leaves_the_cross_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """The efficiency of the lepton filter rises with the momentum of the tops: it is one of weights, not of numbers."""
    monkeypatch.setitem(PROCESSES, "plain", Process(TOP_PAIR))
    monkeypatch.setitem(PROCESSES, "tail", Process((*TOP_PAIR, *biased(2.0))))
    plain, plain_error = cross_section("plain", 10_000, seed=3)
    tail, tail_error = cross_section("tail", 10_000, seed=6)
    assert plain == pytest.approx(5.878, abs=4 * np.hypot(plain_error, 0.004))  # with showers, over 858 750 events
    assert abs(plain - tail) < 4 * np.hypot(plain_error, tail_error)
    assert max(plain_error, tail_error) < 0.02 * plain


def test_thinning_leaves_yields_and_sums(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PROCESSES, "thick", dataclasses.replace(PROCESSES["ttbar_pt500"], thinning=None))
    thinned = generate("ttbar_pt500", 300, SEED, tmp_path, OPTIONS)
    thick = generate("thick", 300, SEED, tmp_path, OPTIONS)
    both = (thinned, thick)
    for value, errors in (
        (
            [sample["xsec_generator_pb"] for sample in both],
            [sample["xsec_err_pb"] / sample["mean_tau_br_factor"] for sample in both],
        ),
        (
            [sample["genEventSumw"] / sample["genEventCount"] for sample in both],
            [np.sqrt(sample["genEventSumw2"]) / sample["genEventCount"] for sample in both],
        ),
    ):
        assert abs(value[0] - value[1]) < 4 * np.hypot(*errors)
    error = np.hypot(*(sample["yield_140fb"] / np.sqrt(sample["neff_stored"]) for sample in (thinned, thick)))
    assert abs(thinned["yield_140fb"] - thick["yield_140fb"]) < 4 * error
    events = arrays(tmp_path / thinned["file"])
    assert events.event[-1] == thinned["genEventCount"] - 1
    assert np.all(np.diff(events.event) > 0)
    assert thinned["genEventCount"] > 5 * thick["genEventCount"]


def test_forced_scores_weigh_the_probability_of_no_tag() -> None:
    top_pairs = Simulation(Process(TOP_PAIR), 5, np.random.default_rng(1), mpi=False, shower_variations=False)
    events, hard = top_pairs.next_batch(400)
    assert hard.probability.tolist() == [1.0] * 400
    plain = Detector(np.random.default_rng(2)).reconstruct(events.prt)
    forced = Detector(np.random.default_rng(2), untagged_below=0.3).reconstruct(events.prt)
    assert np.all(plain.untagged_probability == 1)
    assert ak.all(forced.jets.btagDeepFlavB < 0.3)
    untagged = ak.to_numpy(ak.all(plain.jets.btagDeepFlavB < 0.3, axis=1))
    expected = forced.untagged_probability
    assert np.all((expected > 0) & (expected <= 1))
    assert abs(untagged.mean() - expected.mean()) < 4 * np.sqrt(expected.mean() / 400)
    assert forced.untagged_probability.std() > 0.05


class TestMatching:
    """Events that Pythia returns are matched to the hard processes that the hook has seen."""

    def hook(self, *records: _Record) -> HardProcessHook:
        hook = HardProcessHook(lambda: 1.0, None, np.random.default_rng(0))
        hook._records = list(records)
        return hook

    def test_what_pythia_gave_up_is_not_counted_and_what_was_thinned_out_is(self) -> None:
        hook = self.hook(
            _Record(1.0, 0, 0.1, None), _Record(2.0, 1, 0.2, 0.5), _Record(3.0, 0, 0.3, 0.5), _Record(4.0, 2, 0.4, 1.0)
        )
        found = hook.take(np.array([0.2, 0.4]))
        assert found.weight.tolist() == [1.0, 2.0, 4.0]
        assert found.taus.tolist() == [0, 1, 2]
        assert found.simulated.tolist() == [1, 2]
        assert found.probability.tolist() == [0.5, 1.0]

    def test_an_unknown_event_is_refused(self) -> None:
        with pytest.raises(GeneratorError, match="only 0 of 1 events"):
            self.hook(_Record(1.0, 0, 0.1, 1.0)).take(np.array([0.2]))
