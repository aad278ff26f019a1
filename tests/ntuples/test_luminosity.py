import json

import awkward as ak
import numpy as np
import pytest
import uproot

from tests.ntuples.varied_search import read, with_data
from zsig_hep.errors import InputError
from zsig_hep.ntuples.luminosity import LuminosityMask


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
        ("[" * 100_000, "cannot be read as JSON"),
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


def test_the_edges_of_a_range_belong_to_it_and_runs_are_told_apart():
    mask = LuminosityMask("golden.json", '{"1": [[2, 4], [7, 7]], "30": [[1, 1]]}')
    run, block = (grid.ravel() for grid in np.meshgrid([1, 2, 30], np.arange(9)))
    certified = mask.certified(ak.Array({"run": run, "luminosityBlock": block}), "here")
    expected = ((run == 1) & np.isin(block, [2, 3, 4, 7])) | ((run == 30) & (block == 1))
    assert certified.dtype == np.bool_
    np.testing.assert_array_equal(certified, expected)


@pytest.mark.parametrize(
    "ranges",
    [
        *("[]", "{}", '{"a": [[1, 2]]}', '{"1": [1, 2]}', '{"1": [[1]]}', '{"1": [[-1, 2]]}'),
        *('[["1", [[1, 2]]]]', '{"1": {}}', '{"1": {"1": 2}}'),
        *('{"²": [[1, 2]]}', '{"4294967296": [[1, 2]]}', '{"1": [[1, 4294967295]]}'),
    ],
)
def test_what_holds_no_ranges_by_run_is_no_mask(tmp_path, ranges):
    (tmp_path / "golden.json").write_text(ranges, encoding="utf-8")
    with pytest.raises(InputError, match="is not of the form"):
        LuminosityMask.from_file(tmp_path / "golden.json")


@pytest.mark.parametrize("seed", range(5))
def test_ranges_in_any_order_nested_overlapping_and_of_a_repeated_run_are_one_set(tmp_path, seed):
    rng = np.random.default_rng(seed)
    parts = [(int(rng.integers(1, 3)), sorted(rng.integers(0, 40, 2).tolist())) for _ in range(12)]
    (tmp_path / "golden.json").write_text("{" + ", ".join(f'"{run}": [{block}]' for run, block in parts) + "}")
    mask = LuminosityMask.from_file(tmp_path / "golden.json")
    run, block = (grid.ravel() for grid in np.meshgrid([1, 2, 3], np.arange(42)))
    expected = np.zeros(run.size, dtype=bool)
    for number, (first, last) in parts:
        expected |= (run == number) & (block >= first) & (block <= last)
    np.testing.assert_array_equal(mask.certified(ak.Array({"run": run, "luminosityBlock": block}), "here"), expected)


def test_events_without_luminosity_block_are_refused():
    mask = LuminosityMask("golden.json", '{"1": [[1, 1]]}')
    with pytest.raises(
        InputError, match=r"the luminosity mask golden\.json cannot be applied: here: .*'luminosityBlock'"
    ):
        mask.certified(ak.Array({"run": [1]}), "here")


def test_runs_that_are_not_one_number_per_event_are_refused():
    mask = LuminosityMask("golden.json", '{"1": [[1, 1]]}')
    with pytest.raises(InputError, match="here: branch 'run' is not one number per event"):
        mask.certified(ak.Array({"run": [[1], [1, 2]], "luminosityBlock": [1, 1]}), "here")
