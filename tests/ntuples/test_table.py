"""The event table: construction, selection, folds and storage."""

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.ntuples import EventTable

ROLES = {"higgs": "signal", "dy": "background"}


def make(features=None, events=40, **changes):
    rng = np.random.default_rng(1)
    features = {"pt": rng.exponential(30, events), "n": rng.integers(0, 4, events)} if features is None else features
    arguments = {
        "weight": rng.normal(1.0, 0.5, events),
        "process": np.where(np.arange(events) % 3 == 0, "higgs", "dy"),
        "roles": ROLES,
        "luminosity_ifb": 140.0,
    }
    return EventTable.from_arrays(features, **(arguments | changes))


def test_types_roles_and_yields():
    table = make()
    assert (table.features.dtype, table.weight.dtype, table.identity.dtype) == (np.float32, np.float64, np.uint64)
    assert table.features.shape == (40, 2)
    assert len(table) == 40
    assert table.is_signal.sum() == 14
    assert not table.is_data.any()
    assert table.yields()["higgs"].value == pytest.approx(table.weight[table.is_signal].sum())
    assert table.fold.max() < 5
    assert table.labels == ("higgs", "dy")


def test_pandas_awkward_and_mapping_agree():
    columns = {"pt": np.linspace(0, 1, 40), "n": np.arange(40)}
    tables = [make(columns), make(pd.DataFrame(columns)), make(ak.Array(columns))]
    for table in tables[1:]:
        assert table.feature_names == tables[0].feature_names
        assert np.array_equal(table.features, tables[0].features)
        assert np.array_equal(table.fold, tables[0].fold)


def test_missing_values_become_nan():
    table = make({"x": ak.Array([None, 1.0] * 20), "y": pd.Series([None, 2.0] * 20)})
    assert np.isnan(table.features).all(axis=1).sum() == 20


def test_arrays_are_copied():
    weight = np.ones(40)
    table = make(weight=weight)
    weight[:] = 7
    assert (table.weight == 1).all()


def test_fold_depends_on_identity_alone():
    identity = np.arange(40) + 1000
    table = make(identity=identity)
    order = np.random.default_rng(0).permutation(40)
    shuffled = make({"z": np.zeros(40)}, identity=identity[order], weight=np.ones(40))
    assert np.array_equal(shuffled.fold, table.fold[order])
    assert not np.array_equal(make(identity=identity, fold_seed=1).fold, table.fold)


def test_folds_are_equally_filled():
    table = make({"x": np.zeros(60_000)}, events=60_000, identity=np.arange(60_000), folds=6)
    counts = np.bincount(table.fold, minlength=6)
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=20, max_size=40, unique=True))
def test_distinct_identities_stay_distinct(numbers):
    process = ["higgs", "dy"] * (len(numbers) // 2) + ["dy"] * (len(numbers) % 2)
    table = make(
        {"x": np.zeros(len(numbers))}, weight=np.ones(len(numbers)), process=process, identity=np.array(numbers)
    )
    assert len(np.unique(table.identity)) == len(numbers)


def test_select_and_with_features():
    table = make()
    signal = table.select(table.is_signal)
    assert len(signal) == 14
    assert np.array_equal(signal.feature("pt"), table.feature("pt")[table.is_signal])
    reversed_features = table.with_features(["n", "pt"])
    assert reversed_features.feature_names == ("n", "pt")
    assert np.array_equal(reversed_features.features[:, 1], table.feature("pt"))
    with pytest.raises(InputError, match=r"no feature 'ptt'. Did you mean 'pt'"):
        table.with_features(["ptt"])


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


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"weight": np.ones(39)}, r"weight has shape \(39,\), but the features have 40 events"),
        ({"weight": np.full(40, np.nan)}, "weight of event 0 is nan; 40 weights are not finite"),
        ({"features": {"x": np.full(40, -np.inf)}}, "feature 'x' of event 0 is -inf"),
        ({"features": {"x": np.full(40, 1e300)}}, "feature 'x' of event 0 is inf"),
        ({"features": {"x": np.zeros(40), "y": np.zeros(39)}}, "feature 'y' has shape"),
        ({"features": {"x": ak.Array([[1.0], []] * 20)}}, "feature 'x' is not a flat array of numbers"),
        ({"features": {"x": np.zeros((40, 2))}}, "feature 'x' has 2 dimensions"),
        ({"features": {"x": ["a"] * 40}}, "feature 'x' is not a flat array of numbers"),
        ({"features": {}}, "features are empty"),
        ({"process": ["higs"] * 40}, "process 'higs' has no role. Did you mean 'higgs'"),
        ({"process": "dy"}, "process 'higgs' has no event after the selection"),
        ({"process": ["higgs"] * 3 + ["dy"] * 37}, "process 'higgs' has 3 events .* fewer than the 5 folds"),
        ({"roles": {"higgs": "background", "dy": "background"}}, "there is no signal process"),
        ({"roles": {"higgs": "signal", "dy": "data"}}, "there is no background process"),
        ({"identity": np.linspace(0, 1, 40)}, "identity must be integers"),
        ({"folds": 2}, "2 folds are too few"),
        ({"luminosity_ifb": 0.0}, "luminosity_ifb must be positive"),
    ],
)
def test_bad_arrays(changes, match):
    with pytest.raises(InputError, match=match):
        make(**changes)
