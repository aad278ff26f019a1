import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ntuples.tables import make
from tests.ntuples.varied_search import read
from zsig_hep.errors import InputError
from zsig_hep.ntuples import EventTable, storage
from zsig_hep.ntuples.storage import read_chunk, write_chunk
from zsig_hep.ntuples.variations import WeightVariation


def test_parquet_round_trip_to_the_bit(tmp_path):
    table = make({"x": np.array([np.nan, 1.0] * 20), "y": np.arange(40)}, labels={"dy": "Drell-Yan"})
    table.to_parquet(tmp_path / "deep" / "t.parquet")
    back = EventTable.from_parquet(tmp_path / "deep" / "t.parquet")
    for name in ("features", "weight", "process", "fold", "identity"):
        assert getattr(back, name).tobytes() == getattr(table, name).tobytes()
        assert getattr(back, name).dtype == getattr(table, name).dtype
    assert (back.process_names, back.roles, back.labels) == (table.process_names, table.roles, ("higgs", "Drell-Yan"))
    assert (back.fold_count, back.luminosity_ifb, back.feature_names) == (5, 140.0, ("x", "y"))


def test_foreign_and_damaged_parquet(tmp_path):
    with pytest.raises(InputError, match=r"no event table .*run the columns stage"):
        EventTable.from_parquet(tmp_path / "missing.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "foreign.parquet")
    with pytest.raises(InputError, match="was not written as an event table"):
        EventTable.from_parquet(tmp_path / "foreign.parquet")
    make().to_parquet(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a readable event table"):
        EventTable.from_parquet(tmp_path / "t.parquet")


def test_the_table_keeps_weight_variations_in_files_and_selections(search, tmp_path):
    result = read(search, tmp_path / "out", {"tilt": WeightVariation(kind="weight", function="weights.py:tilt")})
    again = EventTable.from_parquet(tmp_path / "out" / "events.parquet")
    np.testing.assert_array_equal(again.weight_variations["tilt"], result.table.weight_variations["tilt"])
    mask = again.is_signal
    assert again.select(mask).weight_variations["tilt"].shape == (2, mask.sum())


def test_a_chunk_comes_back_in_the_order_that_is_asked_for(tmp_path):
    features = {"x": np.array([1.5, np.nan], "f4"), "y": np.array([3.0, 4.0], "f4")}
    weight, identity = np.array([0.1, -0.2]), np.array([2**64 - 1, 0], "u8")
    tilt = (np.array([0.2, -0.1]), np.array([0.3, -0.4]))
    path = tmp_path / "chunk.parquet"
    write_chunk(path, features, weight=weight, identity=identity, weight_variations={"tilt": tilt})
    found = np.empty((2, 2), "f4")
    columns, varied = read_chunk(path, ["y", "x"], found, ["other", "tilt"])
    np.testing.assert_array_equal(found, np.stack([features["y"], features["x"]], axis=1))
    assert {name: (values.dtype, values.tolist()) for name, values in columns.items()} == {
        "weight": (np.float64, [0.1, -0.2]),
        "identity": (np.uint64, [2**64 - 1, 0]),
    }
    assert list(varied) == ["tilt"]
    np.testing.assert_array_equal(varied["tilt"], tilt)


def test_a_table_of_more_rows_than_are_written_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_ROWS_AT_A_TIME", 7)
    table = make()
    table.to_parquet(tmp_path / "t.parquet")
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 6
    np.testing.assert_array_equal(EventTable.from_parquet(tmp_path / "t.parquet").features, table.features)


def test_a_table_of_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_FORMAT", 1)
    make().to_parquet(tmp_path / "t.parquet")
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"has event table format 1, this version reads \d+: run the columns stage"):
        EventTable.from_parquet(tmp_path / "t.parquet")
