"""FeatureProcessor as an ordinary processor in a user's own coffea Runner."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor import FuturesExecutor, IterativeExecutor, Runner

from tests.ntuples.conftest import write_ntuple
from zsig_hep.ntuples import FeatureProcessor, SignOf, load_columns

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore:Missing cross-reference:RuntimeWarning"
)


def make_runner(executor, schema):
    return Runner(executor=executor, schema=schema, chunksize=130, metadata_cache={})


@pytest.fixture
def scaled_mass():
    """A local function, which cloudpickle sends to workers by value as it does those of scripts and notebooks."""

    def columns(events):
        kept = events["mass"] > 90
        return {"twice": 2 * events["mass"][kept]}, kept

    return columns


@pytest.fixture
def written(tmp_path):
    return write_ntuple(tmp_path / "a.root", 300, 3)


def process(tmp_path, written, executor, schema, columns, **options):
    options = {"weights": {"a": "genWeight"}} | options
    processor = FeatureProcessor(columns, folder=tmp_path / "chunks", **options)
    fileset = {"a": {"files": {str(written.path): "Events"}}}
    return make_runner(executor, schema)(fileset, processor)


def stored(records, name):
    ordered = [records[key] for key in sorted(records, key=lambda key: key[3])]
    return np.concatenate([pq.read_table(Path(record.path))[name].to_numpy() for record in ordered])


@pytest.mark.parametrize("schema", [BaseSchema, NanoAODSchema])
@pytest.mark.parametrize("kind", [IterativeExecutor, pytest.param(FuturesExecutor, marks=pytest.mark.slow)])
def test_writes_chunks_in_any_runner(tmp_path, written, kind, schema, scaled_mass, pool):
    executor = kind(status=False) if kind is IterativeExecutor else kind(status=False, pool=pool)
    records = process(tmp_path, written, executor, schema, scaled_mass)
    mass, weight = written.arrays["mass"], written.arrays["genWeight"].astype("f8")
    kept = mass > 90
    assert len(records) == 2
    assert np.array_equal(stored(records, "twice"), (2 * mass[kept]).astype("f4"))
    assert np.array_equal(stored(records, "zsig:weight"), weight[kept])
    assert float(sum(record.generator.sum_of_weights for record in records.values())) == pytest.approx(weight.sum())
    assert sum(record.selected for record in records.values()) == kept.sum()
    names = {entry.name for entry in (tmp_path / "chunks").iterdir()}
    assert names == {Path(record.path).name for record in records.values()}


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (None, lambda arrays: np.ones(300)),
        (["genWeight", "pileup"], lambda arrays: arrays["genWeight"].astype("f8") * arrays["pileup"].astype("f8")),
        (SignOf(sign_of="genWeight"), lambda arrays: np.sign(arrays["genWeight"].astype("f8"))),
    ],
)
def test_weights(tmp_path, written, weight, expected):
    executor = IterativeExecutor(status=False)
    records = process(tmp_path, written, executor, BaseSchema, ["mass"], weights={"a": weight})
    assert np.array_equal(stored(records, "zsig:weight"), expected(written.arrays))


def test_generator_weight_is_the_first_factor(tmp_path, written):
    executor = IterativeExecutor(status=False)
    records = process(tmp_path, written, executor, BaseSchema, ["mass"], weights={"a": ["genWeight", "pileup"]})
    total = float(sum(record.generator.sum_of_weights for record in records.values()))
    assert total == pytest.approx(written.arrays["genWeight"].sum(dtype="f8"), rel=1e-12)


def test_error_names_itself_in_a_runner(tmp_path, written):
    executor = IterativeExecutor(status=False, retries=0)
    with pytest.raises(Exception, match=r"InputError.*there is no branch 'masss'. Did you mean 'mass'"):
        process(tmp_path, written, executor, BaseSchema, ["masss"])
    with pytest.raises(Exception, match=r"InputError.*no weight is given for dataset 'a'"):
        process(tmp_path, written, executor, BaseSchema, ["mass"], weights={"other": None})


def test_jagged_branches_are_no_weights_or_identities(tmp_path, written):
    executor = IterativeExecutor(status=False, retries=0)
    with pytest.raises(Exception, match="branch 'Jet_pt' is not one number per event"):
        process(tmp_path, written, executor, BaseSchema, ["mass"], weights={"a": "Jet_pt"})


@pytest.mark.slow
def test_columns_file_in_a_runner(tmp_path, written, selecting_columns, pool):
    columns = load_columns(selecting_columns, tmp_path)
    executor = FuturesExecutor(status=False, pool=pool)
    records = process(tmp_path, written, executor, BaseSchema, columns)
    assert {record.feature_names for record in records.values()} == {("met", "leading", "jets")}
    assert stored(records, "met").min() > 10.0
