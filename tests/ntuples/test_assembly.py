import numpy as np
import pytest
import uproot

from tests.ntuples.conftest import LUMINOSITY_IFB, event_arrays, two_processes, write_ntuple
from tests.ntuples.varied_search import read
from zsig_hep.ntuples import Dataset, Process
from zsig_hep.ntuples.variations import ShapeVariation, WeightVariation


def test_repeated_identities_with_other_content_are_noted(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 50)
    write_ntuple(tmp_path / "b.root", 200, 5)
    write_ntuple(tmp_path / "other_seed.root", 150, 6)
    result = run(of=two_processes(["b.root", "other_seed.root"]))
    assert any("150 selected events have the identity of another event" in note for note in result.notes)


def test_equal_features_by_chance_are_no_copies(run, tmp_path):
    (tmp_path / "columns.py").write_text(
        "import awkward as ak\ndef columns(events):\n    return {'jets': ak.num(events['Jet_pt'])}\n"
    )
    write_ntuple(tmp_path / "signal.root", 50, signed=False)
    for seed, name in ((5, "b.root"), (6, "other_seed.root")):
        arrays = event_arrays(300, seed) | {"genWeight": np.ones(300, "f4")}
        write_ntuple(tmp_path / name, arrays)
    result = run(of=two_processes(["b.root", "other_seed.root"]), columns="columns.py:columns")
    assert any("compatible with chance" in note for note in result.notes)


def test_varied_tables_depend_on_neither_chunks_nor_variations_beside_them(search, tmp_path):
    scale, tilt = ShapeVariation(kind="shape"), WeightVariation(kind="weight", function="weights.py:tilt")
    both = read(search, tmp_path / "a", {"scale": scale, "tilt": tilt}, ntuples={"chunk_size": 101})
    alone = read(search, tmp_path / "b", {"scale": scale})
    plain = read(search, tmp_path / "c", {})
    np.testing.assert_array_equal(both.shapes["scaleDown"].weight, alone.shapes["scaleDown"].weight)
    np.testing.assert_array_equal(both.shapes["scaleDown"].features, alone.shapes["scaleDown"].features)
    np.testing.assert_array_equal(both.table.weight, plain.table.weight)
    assert plain.shapes == {}


def test_file_order_and_splitting_change_no_event(run, tmp_path):
    arrays = event_arrays(800, 8)
    write_ntuple(tmp_path / "whole.root", arrays)
    for name, part in (("part_1.root", slice(500, 800)), ("part_2.root", slice(0, 500))):
        write_ntuple(tmp_path / name, {branch: array[part] for branch, array in arrays.items()})
    write_ntuple(tmp_path / "signal.root", 100, 9)
    signal = Process(role="signal", datasets={"s": Dataset(files=["signal.root"], cross_section_pb=0.1)})

    def sorted_background(pattern):
        background = Dataset(files=[pattern], cross_section_pb=1.0)
        processes = {"s": signal, "b": Process(role="background", datasets={"b": background})}
        table = run(of=processes).table
        table = table.select(table.is_background)
        return table.select(np.argsort(table.identity))

    whole, parts = sorted_background("whole.root"), sorted_background("part_*.root")
    assert np.array_equal(whole.fold, parts.fold)
    assert np.array_equal(whole.features, parts.features)
    assert whole.weight == pytest.approx(parts.weight, rel=1e-12)


def test_chunks_with_other_features_are_refused(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 50)
    (tmp_path / "columns.py").write_text(
        "def columns(events):\n    return {'x' if events.metadata['dataset'] == 'h' else 'y': events.mass}\n"
    )
    refused(r"'x', 'y' are not in both", columns="columns.py:columns")


def test_processes_stand_in_the_order_of_the_analysis_and_their_weights_are_yields(run, processes, tmp_path):
    table = run(of=dict(reversed(processes.items()))).table
    assert table.process_names == ("dy", "higgs")
    assert table.labels == ("Drell-Yan", "higgs")
    assert (np.diff(table.process) >= 0).all()
    with uproot.open(tmp_path / "signal.root") as file:
        weight = file["Events"]["genWeight"].array(library="np").astype("f8")
    np.testing.assert_allclose(table.weight[table.is_signal], weight * 0.1 * LUMINOSITY_IFB * 1e3 / 3000.0, rtol=1e-14)
