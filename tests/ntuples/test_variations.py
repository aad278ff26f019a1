"""Systematic variations and luminosity masks, from ntuples of a small search to the event table."""

import json
import shutil

import awkward as ak
import numpy as np
import pytest
import uproot

from zsig_hep.errors import AnalysisFileError, InputError
from zsig_hep.ntuples import EventTable, run_columns
from zsig_hep.ntuples.variations import (
    LuminosityVariation,
    NormalisationVariation,
    ShapeVariation,
    WeightVariation,
    expand_variations,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

COLUMNS = """
def columns(events, variation=None):
    shift = {None: 0.0, "scaleUp": 0.3, "scaleDown": -0.2}[variation]
    x = events["x"] + shift
    selected = abs(x) < 2.0
    return {"x": x[selected], "y": events["y"][selected]}, selected
"""

WEIGHTS = """
import numpy as np


def tilt(events):
    slope = 0.1 * np.asarray(events["x"])
    return 1.0 + slope, 1.0 - slope


def only_up(events):
    return 1.0 + 0.1 * np.asarray(events["x"]) ** 2


def broken(events):
    return np.asarray(events["x"])[:3]
"""


@pytest.fixture
def search(small_search, tmp_path):
    """The small search with a columns function that knows variations, and ntuples with varied weights."""
    search = small_search.copy(tmp_path / "search")
    (search.folder / "columns.py").write_text(COLUMNS)
    (search.folder / "weights.py").write_text(WEIGHTS)
    for name in ("signal", "dy", "top"):
        add_weights(search.folder / f"{name}.root")
    return search


def add_weights(path):
    """Write a file again with an array of factors and three flat weights."""
    with uproot.open(path) as file:
        events, runs = file["Events"].arrays(), file["Runs"].arrays(library="np")
    x = np.asarray(events["x"], dtype=np.float64)
    flat = {name: np.asarray(events[name]) for name in events.fields}
    flat |= {"sf": np.full(len(x), 0.9), "sf_up": np.full(len(x), 0.99), "sf_down": np.full(len(x), 0.8)}
    shower = ak.Array(np.stack([1 + 0.05 * x, np.ones_like(x), 1 - 0.04 * x], axis=1))
    with uproot.recreate(path) as file:
        types = {name: values.dtype for name, values in flat.items()}
        file.mktree("Events", types | {"PSWeight": "var * float64"})
        file["Events"].extend(flat | {"PSWeight": ak.from_regular(shower)})
        file.mktree("Runs", {name: values.dtype for name, values in runs.items()})
        file["Runs"].extend(runs)


def read(search, output, variations, **changes):
    analysis = search.analysis(**changes)
    return run_columns(
        analysis.ntuples,
        analysis.processes,
        base_folder=search.folder,
        luminosity_ifb=analysis.luminosity_ifb,
        output_folder=output,
        variations=variations,
    )


def arrays(search, name):
    with uproot.open(search.folder / f"{name}.root") as file:
        return file["Events"].arrays(library="np")


def test_weight_variations_multiply_the_whole_weight_and_touch_named_processes_only(search, tmp_path):
    variations = {
        "isr": WeightVariation(kind="weight", branch="PSWeight", up=0, down=2, processes=["dy"]),
        "sf": WeightVariation(kind="weight", up="sf_up", down="sf_down", nominal="sf"),
        "tilt": WeightVariation(kind="weight", function="weights.py:tilt"),
        "square": WeightVariation(kind="weight", function="weights.py:only_up"),
    }
    table = read(search, tmp_path / "out", variations, ntuples={"chunk_size": 137}).table
    assert list(table.weight_variations) == list(variations)
    dy, other = table.process == 1, table.process != 1
    x = table.feature("x").astype(np.float64)
    up, down = table.weight_variations["isr"]
    np.testing.assert_allclose(up[dy] / table.weight[dy], 1 + 0.05 * x[dy], rtol=1e-6)
    np.testing.assert_allclose(down[dy] / table.weight[dy], 1 - 0.04 * x[dy], rtol=1e-6)
    assert (up[other] == table.weight[other]).all()
    for got, expected in zip(table.weight_variations["sf"], (1.1, 0.8 / 0.9), strict=True):
        np.testing.assert_allclose(got, table.weight * expected, rtol=1e-12)
    np.testing.assert_allclose(table.weight_variations["tilt"][1] / table.weight, 1 - 0.1 * x, rtol=1e-6)
    # One-sided: down is mirrored.
    np.testing.assert_allclose(table.weight_variations["square"].sum(axis=0), 2 * table.weight, rtol=1e-12)


def test_shape_variations_select_and_compute_again_with_the_folds_of_the_events(search, tmp_path):
    result = read(search, tmp_path / "out", {"scale": ShapeVariation(kind="shape", processes=["higgs", "top"])})
    assert list(result.shapes) == ["scaleUp", "scaleDown"]
    nominal, up = result.table, result.shapes["scaleUp"]
    events = arrays(search, "top")
    selected = np.abs(events["x"] + np.float32(0.3)) < 2.0
    top = up.process == 2
    np.testing.assert_array_equal(up.feature("x")[top], (events["x"] + np.float32(0.3))[selected])
    factor = 0.02 * 100.0 * 1000 / (2.0 * 500)
    np.testing.assert_allclose(up.weight[top], events["genWeight"][selected].astype(np.float64) * factor, rtol=1e-12)
    assert not (up.process == 1).any()
    folds = dict(zip(nominal.identity.tolist(), nominal.fold.tolist(), strict=True))
    shared = [
        folds[identity] == fold
        for identity, fold in zip(up.identity.tolist(), up.fold.tolist(), strict=True)
        if identity in folds
    ]
    assert len(shared) > 500
    assert all(shared)
    again = EventTable.from_parquet(tmp_path / "out" / "shapes" / "scaleUp.parquet")
    np.testing.assert_array_equal(again.features, up.features)


def test_varied_tables_depend_on_neither_chunks_nor_variations_beside_them(search, tmp_path):
    scale, tilt = ShapeVariation(kind="shape"), WeightVariation(kind="weight", function="weights.py:tilt")
    both = read(search, tmp_path / "a", {"scale": scale, "tilt": tilt}, ntuples={"chunk_size": 101})
    alone = read(search, tmp_path / "b", {"scale": scale})
    plain = read(search, tmp_path / "c", {})
    np.testing.assert_array_equal(both.shapes["scaleDown"].weight, alone.shapes["scaleDown"].weight)
    np.testing.assert_array_equal(both.shapes["scaleDown"].features, alone.shapes["scaleDown"].features)
    np.testing.assert_array_equal(both.table.weight, plain.table.weight)
    assert plain.shapes == {}


def test_the_table_keeps_weight_variations_in_files_and_selections(search, tmp_path):
    result = read(search, tmp_path / "out", {"tilt": WeightVariation(kind="weight", function="weights.py:tilt")})
    again = EventTable.from_parquet(tmp_path / "out" / "events.parquet")
    np.testing.assert_array_equal(again.weight_variations["tilt"], result.table.weight_variations["tilt"])
    mask = again.is_signal
    assert again.select(mask).weight_variations["tilt"].shape == (2, mask.sum())


def test_names_expand_to_one_nuisance_per_process_where_they_are_uncorrelated(search):
    processes = search.analysis().processes
    expanded = expand_variations(
        {
            "lumi": LuminosityVariation(kind="luminosity", relative=0.02),
            "xs": NormalisationVariation(
                kind="normalisation", up=1.1, down=0.95, processes=["dy", "top"], correlated=False
            ),
        },
        processes,
    )
    assert {name: each.processes for name, each in expanded.items()} == {
        "lumi": ["higgs", "dy", "top"],
        "xs_dy": ["dy"],
        "xs_top": ["top"],
    }
    assert expanded["xs_dy"].factors == (1.1, 0.95)


@pytest.mark.parametrize(
    ("variation", "match"),
    [
        (WeightVariation(kind="weight", branch="PSWeigth", up=0, down=2), "no branch 'PSWeigth'. Did you mean 'PSWeight'.*Variation 'v'"),
        (WeightVariation(kind="weight", branch="PSWeight", up=0, down=7), "has 3 elements in some events.*no element 7"),
        (WeightVariation(kind="weight", branch="x", up=0, down=1), "branch 'x' has no elements"),
        (WeightVariation(kind="weight", up="PSWeight"), "is not one number per event"),
        (WeightVariation(kind="weight", function="weights.py:tlit"), "no function 'tlit'. Did you mean 'tilt'"),
        (WeightVariation(kind="weight", function="weights.py:broken"), r"factors of shape \(3,\); valid is one for each"),
        (ShapeVariation(kind="shape", processes=["dyy"]), "names process 'dyy', which does not exist. Did you mean 'dy'"),
        (ShapeVariation(kind="shape"), "raised KeyError.*'vUp'"),
    ],
)  # fmt: skip
def test_variations_that_cannot_be_read(search, tmp_path, variation, match):
    with pytest.raises(InputError, match=match):
        read(search, tmp_path / "out", {"v": variation})


def test_a_branch_that_only_one_process_has_is_used_when_that_process_is_named(search, small_search, tmp_path):
    shutil.copy(small_search.folder / "top.root", search.folder / "top.root")
    isr = WeightVariation(kind="weight", branch="PSWeight", up=0, down=2)
    with pytest.raises(InputError, match=r"top\.root.*no branch 'PSWeight'.*processes: \[\.\.\.\]"):
        read(search, tmp_path / "a", {"isr": isr})
    table = read(search, tmp_path / "b", {"isr": isr.model_copy(update={"processes": ["higgs", "dy"]})}).table
    top = table.process == 2
    assert (table.weight_variations["isr"][0][top] == table.weight[top]).all()


def test_shifted_objects_need_a_function_that_takes_a_variation_and_event_identities(small_search, search, tmp_path):
    scale = {"scale": ShapeVariation(kind="shape")}
    with pytest.raises(InputError, match=r"takes no variation\. Define columns\(events, variation=None\)"):
        read(small_search, tmp_path / "a", scale)
    with pytest.raises(InputError, match="needs columns as a function"):
        read(search, tmp_path / "b", scale, ntuples={"columns": ["x", "y"]})
    with pytest.raises(InputError, match="cannot identify an event"):
        read(search, tmp_path / "c", scale, ntuples={"event_identity": "content"})


@pytest.mark.parametrize(
    ("variations", "match"),
    [
        ({"jesUp": {"kind": "shape"}}, "Up and Down are added to its name"),
        ({"je s": {"kind": "shape"}}, "a name is a letter followed by"),
        ({"a": {"kind": "weight", "branch": "w", "up": "x"}}, "give one of: `branch` with the elements"),
        ({"a": {"kind": "normalisation", "relative": 0.1, "up": 1.1}}, "give either `relative`"),
        ({"a": {"kind": "scaling", "up": "x"}}, "weight"),
        ({"a": {"kind": "shape", "processes": ["data"]}}, "names process 'data', which is data"),
        ({n: {"kind": "luminosity", "relative": 0.1} for n in "ab"}, "more than one variation of kind 'luminosity'"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused_with_their_place(search, variations, match):
    from tests.conftest import DATA
    from zsig_hep.analysis import Analysis

    file = search.write(variations=variations, processes={"data": DATA})
    with pytest.raises(AnalysisFileError, match=match):
        Analysis.from_file(file)


def with_data(mask=None, **dataset):
    data = {"role": "data", "datasets": {"data": {"files": ["data.root"]} | dataset}}
    return {"processes": {"data": data}, "ntuples": {"luminosity_mask": mask}}


def test_a_golden_json_file_keeps_certified_data_and_leaves_simulation_alone(search, tmp_path):
    (search.folder / "golden.json").write_text(json.dumps({"1": [[1, 3], [7, 7]]}))
    with uproot.open(search.folder / "data.root") as file:
        events = {name: np.asarray(values) for name, values in file["Events"].arrays(library="np").items()}
    events["luminosityBlock"] = (np.arange(len(events["x"])) % 9).astype("u4")
    with uproot.recreate(search.folder / "data.root") as file:
        file.mktree("Events", {name: values.dtype for name, values in events.items()}).extend(events)
    result = read(search, tmp_path / "out", {}, **with_data("golden.json"))
    certified = np.isin(events["luminosityBlock"], [1, 2, 3, 7]) & (np.abs(events["x"]) < 2.0)
    assert result.table.yields()["data"].entries == certified.sum()
    rows = {row.cut: row.entries for row in result.cutflows["data"]}
    assert rows == {
        "ntuple": 60,
        "luminosity mask": np.isin(events["luminosityBlock"], [1, 2, 3, 7]).sum(),
        "selection": certified.sum(),
    }
    without = read(search, tmp_path / "again", {})
    assert (result.table.yields()["dy"].value, result.cutflows["dy"]) == (
        without.table.yields()["dy"].value,
        without.cutflows["dy"],
    )


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "there is no luminosity mask"),
        ("{", "cannot be read as JSON"),
        ('{"1": [[3, 1]]}', r"is not of the form \{\"run\": \[\[first, last\]"),
        ('{"2": [[1, 100]]}', "no event of dataset 'data' lies in a luminosity block"),
    ],
)
def test_masks_that_cannot_be_used(search, tmp_path, content, match):
    if content is not None:
        (search.folder / "golden.json").write_text(content)
    with pytest.raises(InputError, match=match):
        read(search, tmp_path / "out", {}, **with_data("golden.json"))


def test_data_without_a_mask_beside_certified_data_have_to_say_so(search, tmp_path):
    (search.folder / "golden.json").write_text('{"1": [[1, 1]]}')
    shutil.copy(search.folder / "data.root", search.folder / "more.root")
    other = {"files": ["more.root"]}
    both = with_data(luminosity_mask="golden.json")
    both["processes"]["data"]["datasets"]["more"] = other
    with pytest.raises(InputError, match=r"'more' is data without a luminosity mask.*luminosity_mask: null"):
        read(search, tmp_path / "a", {}, **both)
    other["luminosity_mask"] = None
    kept = read(search, tmp_path / "b", {}, **both).cutflows["data"]
    assert {row.cut for row in kept} == {"ntuple", "luminosity mask", "selection"}


def test_a_file_is_not_data_and_simulation_at_once(search, tmp_path):
    with pytest.raises(InputError, match=r"dy\.root is data and simulation at once"):
        read(search, tmp_path / "out", {}, **with_data(files=["dy.root"]))


def test_simulation_has_no_luminosity_mask(search):
    from pydantic import ValidationError

    dataset = {"tt": {"files": ["top.root"], "cross_section_pb": 0.02, "luminosity_mask": "golden.json"}}
    with pytest.raises(ValidationError, match="is simulation: a luminosity_mask is for data"):
        search.analysis(processes={"top": {"datasets": dataset}})
