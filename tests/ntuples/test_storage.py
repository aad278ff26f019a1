import json
import os
import subprocess
import sys
from pathlib import Path

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
    columns, varied = read_chunk(path, ["y", "x"], found, {"other": 2, "tilt": 2})
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


def rewritten(path, metadata=None, checksum=None, column=None):
    """Write the table at `path` again with other metadata or another column, its checksum included."""
    table = pq.read_table(path)
    stored = json.loads(table.schema.metadata[storage._METADATA_KEY])
    text = json.dumps(stored | (metadata or {})).encode()
    if column is not None:
        name, values = column
        table = table.set_column(table.column_names.index(name), name, values)
    keys = {storage._METADATA_KEY: text, storage._CHECKSUM_KEY: checksum or storage._checksum(text)}
    pq.write_table(table.replace_schema_metadata(keys), path)


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ({"feature_names": "x"}, "feature_names: Input should be a valid"),
        ({"feature_names": ["pt", "pt"]}, "feature_names has a name twice"),
        ({"feature_names": ["pt", "m"]}, 'Field "m" does not exist'),
        ({"process_names": ["higgs"]}, "1 processes have 2 roles and 2 labels"),
        ({"process_names": ["a"], "roles": ["signal"], "labels": ["a"]}, r"process 1 of an event is not in \[0, 1\)"),
        ({"roles": ["signal", "noise"]}, r"roles\.1: Input should be 'signal'"),
        ({"fold_count": 0}, "fold_count: Input should be greater than or equal to 1"),
        ({"fold_count": 2}, r"fold \d of an event is not in \[0, 2\)"),
        ({"luminosity_ifb": float("nan")}, "luminosity_ifb: Input should be"),
        ({"luminosity_ifb": -1.0}, "luminosity_ifb: Input should be greater than 0"),
        ({"luminosity_ifb": "140"}, "luminosity_ifb: Input should be a valid number"),
        ({"weight_variations": {"isr": 2}}, "zsig:isrUp"),
        ({"weight_variations": {"pdf": 3}}, "zsig:pdf_0"),
        ({"weight_variations": {"pdf": 1}}, r"weight_variations\.pdf: Input should be greater than or equal to 2"),
    ],
)
def test_metadata_that_do_not_describe_a_table(tmp_path, metadata, match):
    path = tmp_path / "t.parquet"
    make().to_parquet(path)
    rewritten(path, metadata)
    with pytest.raises(InputError, match=rf"t\.parquet is not a readable event table \(.*{match}"):
        EventTable.from_parquet(path)


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (("pt", pa.array(np.ones(40))), "'pt' has 40 values of type double, 0 of them missing, in place of 40 of type float32"),
        (("pt", pa.array([None, *[1.0] * 39], pa.float32())), "1 of them missing"),
        (("zsig:fold", pa.array(np.full(40, -1, "i2"))), r"fold -1 of an event is not in \[0, 5\)"),
        (("zsig:weight", pa.array([np.inf, *[1.0] * 39])), "weight is not finite"),
    ],
)  # fmt: skip
def test_columns_of_another_program(tmp_path, column, match):
    path = tmp_path / "t.parquet"
    make().to_parquet(path)
    rewritten(path, column=column)
    with pytest.raises(InputError, match=rf"t\.parquet is not a readable event table \(.*{match}"):
        EventTable.from_parquet(path)


def test_changed_metadata_are_noticed(tmp_path):
    path = tmp_path / "t.parquet"
    make().to_parquet(path)
    rewritten(path, {"luminosity_ifb": 150.0}, checksum=pq.read_schema(path).metadata[storage._CHECKSUM_KEY])
    with pytest.raises(InputError, match=r"t\.parquet is not a readable event table \(its metadata do not have"):
        EventTable.from_parquet(path)


def flipped(path, value):
    """Change the last bit of a value that the file holds once."""
    content, stored = path.read_bytes(), value.tobytes()
    assert content.count(stored) == 1
    path.write_bytes(content.replace(stored, bytes([stored[0] ^ 1]) + stored[1:]))


def test_a_changed_bit_in_a_table_is_noticed(tmp_path):
    table = make()
    table.to_parquet(tmp_path / "t.parquet")
    flipped(tmp_path / "t.parquet", table.weight[7])
    with pytest.raises(InputError, match=r"t\.parquet is not a readable event table \(.*CRC"):
        EventTable.from_parquet(tmp_path / "t.parquet")


def test_a_changed_bit_in_a_chunk_is_noticed(tmp_path):
    features, weight = {"x": np.array([1.5, 2.5], "f4")}, np.array([0.1, -0.2])
    path = tmp_path / "c.parquet"
    write_chunk(path, features, weight=weight, identity=np.array([7, 8], "u8"))
    with pytest.raises(InputError, match=r"c\.parquet is not a readable chunk of events \(column 'x' has 2 values"):
        read_chunk(path, ["x"], np.empty((3, 1), "f4"))
    flipped(path, weight[1])
    with pytest.raises(InputError, match=r"c\.parquet is not a readable chunk of events \(.*CRC.*\): run again"):
        read_chunk(path, ["x"], np.empty((2, 1), "f4"))


LITTLE_MEMORY = """
import resource
import sys
from pathlib import Path

from zsig_hep.errors import InputError
from zsig_hep.ntuples import EventTable

hard = resource.getrlimit(resource.RLIMIT_AS)[1]
for megabytes in (1, 30, 80):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + megabytes * 2**20, hard))
    try:
        EventTable.from_parquet(Path(sys.argv[1]))
    except InputError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the address space is read from /proc")
def test_short_memory_is_an_error_and_nothing_hangs(tmp_path):
    table = make({f"x{i}": np.ones(400_000) for i in range(40)}, events=400_000)
    path = tmp_path / "t.parquet"
    table.to_parquet(path)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", LITTLE_MEMORY, path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(f"memory is too short to read {path} (") == 3
