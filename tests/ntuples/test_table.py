"""The event table: construction, selection, folds and storage."""

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ntuples.conftest import write_ntuple
from tests.ntuples.tables import make
from zsig_hep.errors import InputError
from zsig_hep.ntuples import Dataset, Process
from zsig_hep.ntuples.table import as_feature


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


def test_no_event_after_selection(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 100)
    (tmp_path / "columns.py").write_text(
        "def columns(events):\n"
        "    keep = (events['MET_pt'] > 0) & (events.metadata['dataset'] == 'h')\n"
        "    return {'mass': events['mass'][keep]}, keep\n"
    )
    refused(r"process 'dy' has no event after the selection", columns="columns.py:columns")


def test_fewer_events_than_folds(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 4)
    refused(r"process 'dy' has 4 events after the selection, fewer than the 5 folds")


@pytest.mark.parametrize("role", ["signal", "background"])
def test_role_without_process(run, tmp_path, role):
    write_ntuple(tmp_path / "b.root", 50)
    only = {"p": Process(role=role, datasets={"b": Dataset(files=["b.root"], cross_section_pb=1.0)})}
    missing = "background" if role == "signal" else "signal"
    with pytest.raises(InputError, match=f"there is no {missing} process"):
        run(of=only)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a\0", " a", "x" * 300])
def test_features_whose_names_are_no_names(name):
    with pytest.raises(InputError, match=r"feature .*: a name may") as caught:
        as_feature(name, [1.0])
    assert len(str(caught.value)) < 400
