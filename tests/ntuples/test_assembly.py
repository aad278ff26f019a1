import numpy as np
import pytest
import uproot

from tests.ntuples.conftest import LUMINOSITY_IFB, event_arrays, two_processes, write_ntuple
from tests.ntuples.varied_search import read
from zsig_hep.errors import InputError, ZsigError
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


def with_bookkeeping(path, arrays, total, *, vector=False):
    """An ntuple with its sum of weights in a histogram and a tree of a folder, and the weight as first of a vector."""
    weight = arrays["genWeight"].astype("f4")
    arrays = {name: array for name, array in arrays.items() if name not in {"Jet_pt", "genWeight"}}
    arrays |= {"mcEventWeights": np.stack([weight, 2 * weight], axis=1)} if vector else {"genWeight": weight}
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}).extend(arrays)
        file["book/counts"] = (np.array([1.0, total, 3.0]), np.arange(4.0))
        file.mktree("book/sums", {"sumw": "f8"}).extend({"sumw": np.array([0.25 * total, 0.75 * total])})
    return weight.astype("f8")


@pytest.mark.parametrize("source", [{"histogram": "book/counts", "bin": 2}, {"tree": "book/sums", "branch": "sumw"}])
def test_yields_with_sums_from_histograms_and_trees(run, tmp_path, source):
    write_ntuple(tmp_path / "signal.root", 100, 1)
    first, second = (
        with_bookkeeping(tmp_path / f"b_{seed}.root", event_arrays(200, seed), total, vector=True)
        for seed, total in ((2, 400.0), (3, 600.0))
    )
    processes = two_processes(["b_*.root"], sum_of_weights=source, weight=["mcEventWeights[0]", "pileup"])
    result = run(of=processes, columns=["MET_pt", "mass"])
    pileup = np.concatenate([event_arrays(200, seed)["pileup"] for seed in (2, 3)]).astype("f8")
    expected = np.concatenate([first, second]) * pileup * LUMINOSITY_IFB * 1e3 / 1000.0
    np.testing.assert_allclose(result.table.weight[result.table.is_background], expected, rtol=1e-12)
    (normalisation,) = (each for each in result.normalisations if each.dataset == "b")
    assert (normalisation.sum_of_weights, normalisation.source) == (1000.0, next(iter(source)))


@pytest.mark.parametrize(
    ("source", "luminosity_ifb"), [("normalised", LUMINOSITY_IFB), ({"weights_at_luminosity_ifb": 2}, 2)]
)
def test_weights_that_are_yields_are_scaled_by_luminosity_alone(run, tmp_path, source, luminosity_ifb):
    write_ntuple(tmp_path / "signal.root", 100, 1)
    weight = with_bookkeeping(tmp_path / "b.root", event_arrays(200, 2), 400.0)
    processes = two_processes(["b.root"])
    processes["dy"] = Process(role="background", datasets={"b": Dataset(files=["b.root"], sum_of_weights=source)})
    table = run(of=processes, columns=["MET_pt", "mass"]).table
    np.testing.assert_allclose(table.weight[table.is_background], weight * LUMINOSITY_IFB / luminosity_ifb, rtol=1e-13)


def test_an_extension_counts_as_more_files_of_the_dataset(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 100, 1)
    for seed, total in ((2, 400.0), (3, 900.0)):
        write_ntuple(tmp_path / f"b_{seed}.root", 200, seed, runs=(total, int(2 * total)))
    together = run(of=two_processes(["b_*.root"])).table
    apart = two_processes(["b_2.root"])
    apart["dy"] = Process(
        role="background",
        datasets={
            "b": Dataset(files=["b_2.root"], cross_section_pb=1.0),
            "b_ext": Dataset(files=["b_3.root"], extends="b"),
        },
    )
    extended = run(of=apart)
    assert extended.table.weight == pytest.approx(together.weight, rel=1e-14)
    assert {each.sum_of_weights for each in extended.normalisations if each.process == "dy"} == {1300.0}
    assert extended.cutflows["dy"][0].value == pytest.approx(LUMINOSITY_IFB * 1e3)
    apart["dy"].datasets["b_ext"] = Dataset(files=["b_3.root"], cross_section_pb=1.0)
    twice = run(of=apart)
    assert (
        twice.table.weight[twice.table.is_background].sum()
        > 1.5 * extended.table.weight[extended.table.is_background].sum()
    )
    assert any("'b' and 'b_ext' of process 'dy' have the same cross section" in note for note in twice.notes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"weight": "mcEventWeights[2]"},
            r"'mcEventWeights' has 2 elements in 200 of 200 events, so there is no element 2",
        ),
        ({"weight": "mcEventWeights"}, r"is not one number per event; write mcEventWeights\[0\] for the first"),
        ({"weight": "MET_pt[0]"}, "'MET_pt' has no elements"),
        ({"weight": "mcEventWeight[0]"}, r"no branch 'mcEventWeight\[0\]'. Did you mean 'mcEventWeights'"),
        (
            {"sum_of_weights": {"histogram": "book/count", "bin": 1}},
            "has no histogram 'book/count'. Did you mean 'book/counts'",
        ),
    ],
)
def test_elements_and_sums_that_are_not_there(run, tmp_path, changes, match):
    write_ntuple(tmp_path / "signal.root", 100, 1)
    with_bookkeeping(tmp_path / "b.root", event_arrays(200, 2), 400.0, vector=True)
    options = {"weight": "mcEventWeights[0]", "sum_of_weights": {"histogram": "book/counts", "bin": 2}} | changes
    with pytest.raises(ZsigError, match=match):
        run(of=two_processes(["b.root"], **options), columns=["MET_pt", "mass"])


def test_absent_identities_name_the_remedy(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", 100, 1)
    write_ntuple(tmp_path / "b.root", {name: array for name, array in event_arrays(200, 2).items() if name != "event"})
    with pytest.raises(InputError, match=r"no branch 'event'.*or set event_identity: content"):
        run(of=two_processes(["b.root"]))
