"""The parts of the generator that need neither Pythia nor fastjet."""

import dataclasses
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from generator import options
from generator.errors import GeneratorError
from generator.kinematics import cylindrical, delta_phi, leading_pair, nearest_delta_r, relative_isolation
from generator.ntuple import Batch, Content, NtupleWriter, branches, rounded_mantissa
from generator.options import GenerationOptions, check_numbers
from generator.processes import PROCESSES, process_named
from generator.reconstruction import Reconstruction
from generator.sets import SETS
from generator.skims import SKIMS, end_of_sample
from generator.weights import WeightSums, tau_branching_factor, with_emulated_signs


def objects(*events: list[tuple[float, float, float]]) -> ak.Array:
    """Jagged (pt, eta, phi) with the other fields of leptons and jets filled in."""
    rows = [
        [
            {"pt": pt, "eta": eta, "phi": phi, "mass": 0.1, "charge": 1, "iso": 0.01, "btagDeepFlavB": 0.5}
            | {"hadronFlavour": 5}
            for pt, eta, phi in event
        ]
        for event in events
    ]
    return ak.Array(rows)


def reconstruction(muons: ak.Array, jets: ak.Array) -> Reconstruction:
    ones = np.ones(len(muons))
    return Reconstruction(
        muons=muons,
        electrons=muons,
        jets=jets,
        met_pt=40.003 * ones,
        met_phi=ones,
        sum_et=ones,
        true_met_pt=ones,
        vertices=np.full(len(muons), 33),
        untagged_probability=ones,
    )


MUON_PAIR = [(80.0, 0.5, 0.0), (50.0, -0.2, 3.0)]  # 131 GeV
WIDE_JETS = [(90.0, 2.5, 1.0), (60.0, -2.0, -2.0)]


class TestProcesses:
    def test_table_covers_signals_and_backgrounds_of_both_sets(self) -> None:
        in_sets = set(SETS["hmumu"].processes) | set(SETS["leptoquark"].processes)
        assert len(in_sets) == 4 + 13
        assert set(PROCESSES) - in_sets == {f"lq_m{m}" for m in (800, 1000, 1200, 1600)}
        assert {p.skim for p in SETS["hmumu"].processes.values()} == {"hmumu", "hmumu_top_pairs"}
        signals = {name for name, process in PROCESSES.items() if process.signal_mass_gev is not None}
        assert signals == {"hmumu_vbf", "hmumu_ggf", *(f"lq_m{m}" for m in (800, 1000, 1200, 1400, 1600))}

    def test_slices_reach_a_fifth_beyond_the_next(self) -> None:
        low, middle, high = (PROCESSES[f"ttbar{suffix}"].settings for suffix in ("", "_pt250", "_pt500"))
        assert "PhaseSpace:pTHatMax=300" in low
        assert {"PhaseSpace:pTHatMin=250", "PhaseSpace:pTHatMax=600"} <= set(middle)
        assert "PhaseSpace:pTHatMin=500" in high
        assert not [setting for setting in high if "pTHatMax" in setting]
        assert "PhaseSpace:pTHatMin=250" in PROCESSES["zz_pt250"].settings

    def test_unknown_name_offers_the_nearest(self) -> None:
        with pytest.raises(GeneratorError, match=r"unknown process 'lq_m140'.*lq_m1400"):
            process_named("lq_m140")
        with pytest.raises(GeneratorError, match="There are: dy_m150, "):
            process_named("?")


class TestKinematics:
    def test_cylindrical_inverts_cartesian(self) -> None:
        pt, eta, phi = np.array([20.0, 300.0]), np.array([-3.0, 0.7]), np.array([1.0, -3.1])
        again = cylindrical(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))
        np.testing.assert_allclose(again, [pt, eta, phi], rtol=1e-12)

    def test_delta_phi_goes_the_short_way(self) -> None:
        assert delta_phi(3.0, -3.0) == pytest.approx(6.0 - 2 * np.pi)

    def test_leading_pair_of_massless_objects(self) -> None:
        pairs = objects([(50, 1.0, 0.0), (50, 1.0, np.pi), (40, 0, 0)], [(50, 0, 0)])
        first, second, mass_squared = leading_pair(pairs)
        np.testing.assert_allclose(mass_squared, [100.0**2, 0.0])
        assert first.pt.tolist() == [50, 50]
        assert second.pt.tolist() == [50, None]

    def test_nearest_delta_r(self) -> None:
        found = nearest_delta_r(objects([(1, 0, 3.1)], [(1, 0, 0)]), objects([(1, 0, -3.1), (1, 1, 3.1)], []))
        assert found[0, 0] == pytest.approx(2 * np.pi - 6.2)
        assert np.isinf(found[1, 0])

    def test_isolation_leaves_the_lepton_itself_out(self) -> None:
        lepton, cone = [(50.0, 0.0, 0.0)], [(50.0, 0.0, 0.0), (10.0, 0.2, 0.2), (99.0, 0.4, 0.1)]
        assert relative_isolation(objects(lepton), objects(cone)).tolist() == [[pytest.approx(0.2)]]


class TestSkims:
    def test_hmumu(self) -> None:
        muons = [MUON_PAIR, [(80, 0.5, 0), (19, -0.2, 3)], [(60, 0.1, 0), (35, 0, 3)], MUON_PAIR, MUON_PAIR, []]
        central = [(90.0, 0.9, 1.0), (60.0, -1.0, -2.0)]
        soft = [(90.0, 2.5, 1.0), (29.0, -2.0, -2.0)]
        jets = [WIDE_JETS, WIDE_JETS, WIDE_JETS, central, soft, WIDE_JETS]
        seen = reconstruction(objects(*muons), objects(*jets))
        assert SKIMS["hmumu"].select(seen).tolist() == [True, False, False, False, False, False]

    def test_leptoquark(self) -> None:
        low_mass = [(35.0, 0.0, 0.0), (25.0, 0.1, 0.2)]
        central = [(90.0, 0.9, 1.0), (60.0, -1.0, -2.0)]
        heavy = [(220.0, 0.5, 0.0), (110.0, -0.2, 3.0)]  # S_T 480 with the central jets, 475 with the softer ones
        softer = [(90.0, 0.9, 1.0), (55.0, -1.0, -2.0)]
        muons = objects(heavy, low_mass, heavy, heavy[:1], heavy, [(400, 0.5, 0), (30, 0.5, 0.9)])
        jets = objects(central, central, WIDE_JETS[:1], central, softer, central)
        assert SKIMS["leptoquark"].select(reconstruction(muons, jets)).tolist() == [True, *[False] * 5]

    def test_top_pairs_of_hmumu_have_no_tag_and_little_missing_momentum(self) -> None:
        seen = reconstruction(objects(MUON_PAIR, MUON_PAIR), objects(WIDE_JETS, WIDE_JETS))
        select = SKIMS["hmumu_top_pairs"].select
        assert select(seen).tolist() == [False, False]
        scores = ak.Array([[0.29, -1.0], [0.29, 0.3]])
        untagged = dataclasses.replace(seen, jets=ak.with_field(seen.jets, scores, "btagDeepFlavB"))
        assert select(untagged).tolist() == [True, False]
        assert select(dataclasses.replace(untagged, met_pt=np.array([80.0, 0.0]))).tolist() == [False, False]

    def test_sample_ends_with_its_last_stored_event(self) -> None:
        keep = np.array([True, False, True, False, True, False])
        assert end_of_sample(keep, room=2) == 3
        assert end_of_sample(keep, room=3) == 6
        assert end_of_sample(keep, room=9) == 6


class TestWeights:
    def test_every_prompt_tau_brings_its_branching_ratio(self) -> None:
        np.testing.assert_allclose(tau_branching_factor(np.array([2, 0, 1])), [0.1739**2, 1.0, 0.1739])

    def test_emulated_signs_leave_the_sum_and_inflate_the_variance(self) -> None:
        weight = np.random.default_rng(1).exponential(size=200_000)
        signed = with_emulated_signs(weight, 0.16, np.random.default_rng(2))
        assert abs(signed.sum() - weight.sum()) < 4 * np.sqrt((signed**2).sum())
        assert (signed < 0).mean() == pytest.approx(0.16, abs=0.004)
        np.testing.assert_allclose(np.abs(signed), weight / 0.68)

    def test_no_signs_draw_no_random_numbers(self) -> None:
        rng = np.random.default_rng(3)
        assert with_emulated_signs(np.ones(5), 0.0, rng).tolist() == [1.0] * 5
        assert rng.random() == np.random.default_rng(3).random()

    def test_sums_count_every_generated_event(self) -> None:
        sums = WeightSums()
        sums.add(np.array([1.0, 2, 4]), np.array([0.5, 1, 1]), np.array([0.5, 2, -4]))
        sums.add_stored(np.array([0.5, -4]))
        sums.add(np.ones(1), np.ones(1), np.ones(1))
        assert (sums.events, sums.generated, sums.generated_squared) == (4, -0.5, 21.25)
        assert (sums.selected, sums.selected_squared) == (-3.5, 16.25)
        assert sums.mean_tau_factor == 7.5 / 8
        assert sums.skim_efficiency == 7.0
        assert sums.effective_entries == pytest.approx(3.5**2 / 16.25)


class TestNtuple:
    @pytest.mark.parametrize("bits", [1, 8, 10, 12, 22])
    def test_rounding_is_to_the_nearest(self, bits: int) -> None:
        values = (np.random.default_rng(4).normal(size=1000) * 1e3).astype(np.float32)
        rounded = rounded_mantissa(values, bits)
        assert np.all(np.abs(rounded / values.astype(float) - 1) <= 2.0 ** -(bits + 1))
        assert np.all(rounded.view(np.uint32) % np.uint32(1 << (23 - bits)) == 0)
        np.testing.assert_array_equal(rounded_mantissa(rounded, bits), rounded)

    def test_rounding_moves_numbers_across_a_cut(self) -> None:
        assert rounded_mantissa([30.003, 0.0, 1.99999], 10).tolist() == [30.0, 0.0, 2.0]

    def written(self, path: Path, content: Content) -> Any:
        muons, jets = objects(MUON_PAIR, MUON_PAIR, []), objects(WIDE_JETS, [], WIDE_JETS)
        weight = np.array([0.5, -1.5, 2.0])
        generator = ak.Array(
            {"id1": [1, 2, 3], "id2": [-1, 0, 1], "x1": [0.1] * 3, "x2": [0.2] * 3}
            | {"Q2Fac": [100.0] * 3, "pT2Hat": [300.0**2, 1.0, 4.0]}
        )
        shower = np.array([[1.0, 1.1, 0.9, 0.8]] * 3)
        keep = np.array([True, False, True])
        batch = Batch(
            1999 + np.arange(3), keep, weight, reconstruction(muons, jets), generator, None if content.slim else shower
        )
        writer, sums = NtupleWriter(path, "zlib"), WeightSums()
        writer.add(branches(batch, content))
        sums.add(weight, np.ones(3), weight)
        writer.finish(sums)
        assert writer.entries == 2
        return uproot.open(path)

    def test_slim_file_holds_the_kept_events_and_all_the_sums(self, tmp_path: Path) -> None:
        with self.written(tmp_path / "slim.root", Content(slim=True, keep_binvar=True)) as file:
            assert file.classnames(cycle=False) == {"Events": "TTree", "Runs": "TTree"}
            events = file["Events"].arrays()
            assert events.event.tolist() == [1999, 2001]
            assert events.luminosityBlock.tolist() == [2, 3]
            assert events.genWeight.tolist() == [0.5, 2.0]
            assert events.nMuon.tolist() == [2, 0]
            assert events.Jet_pt.tolist() == [[90, 60], [90, 60]]
            assert events.MET_pt.tolist() == [40, 40]
            assert events.Generator_binvar.tolist() == [300, 2]
            assert "Electron_pt" not in file["Events"]
            assert file["Runs"].arrays(library="np")["genEventSumw"].tolist() == [1.0]
            assert file["Runs"].arrays(library="np")["genEventSumw2"].tolist() == [6.5]
            assert file["Runs"].arrays(library="np")["genEventCount"].tolist() == [3]

    def test_full_file_adds_truth_electrons_and_variations(self, tmp_path: Path) -> None:
        with self.written(tmp_path / "full.root", Content()) as file:
            events = file["Events"].arrays()
            assert events.Jet_hadronFlavour.tolist() == [[5, 5], [5, 5]]
            assert events.nElectron.tolist() == [2, 0]
            assert events.Generator_scalePDF.tolist() == [10, 10]
            assert events.PV_npvs.tolist() == [33, 33]
            np.testing.assert_allclose(events.PSWeight, [[1, 1.1, 0.9, 0.8]] * 2, rtol=2.0**-9)


class TestOptions:
    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ({"mantissa_bits": 23}, "mantissa bits cannot be 23; valid: 1 to 22"),
            ({"compression": "gzip"}, "compression cannot be gzip; valid: one of lzma, zstd"),
            ({"batch": 0}, "batch size cannot be 0"),
            ({"max_cpu_s": float("nan")}, "CPU seconds cannot be nan"),
            ({"negative_weight_fraction": 0.5}, "negative weights cannot be 0.5"),
        ],
    )
    def test_values_outside_their_domain(self, bad: dict[str, Any], message: str) -> None:
        with pytest.raises(GeneratorError, match=message):
            GenerationOptions(**bad)

    def test_seeds_that_pythia_would_not_repeat(self) -> None:
        with pytest.raises(GeneratorError, match="seed cannot be 0"):
            check_numbers(10, 0)
        with pytest.raises(GeneratorError, match="stored events cannot be 0"):
            check_numbers(0, 1)

    def test_missing_packages_are_named_with_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(options, "GENERATOR_PACKAGES", ("numpy", "pythia_that_does_not_exist"))
        with pytest.raises(GeneratorError) as error:
            options.require_generator_packages()
        assert "not installed: pythia_that_does_not_exist." in str(error.value)
        assert "pip install --only-binary :all: pythia8mc fastjet" in str(error.value)
