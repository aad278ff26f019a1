import numpy as np
import pytest

from tests.learning.toy import make_table
from zsig_hep.errors import TrainingError
from zsig_hep.learning import TrainingSettings, make_sample, training_weights
from zsig_hep.ntuples import EventTable


@pytest.mark.parametrize("policy", ["absolute", "drop"])
def test_policies_keep_the_signed_yield_of_each_process(policy):
    generator = np.random.default_rng(0)
    process = generator.integers(0, 3, 500)
    weights = generator.normal(1.0, 0.8, 500)
    kept = training_weights(weights, process, ("a", "b", "c"), policy)
    assert (kept >= 0).all()
    for index in range(3):
        assert kept[process == index].sum() == pytest.approx(weights[process == index].sum(), rel=1e-12)
    assert ((kept == 0) == (weights < 0)).all() == (policy == "drop")


def test_positive_weights_are_untouched_by_every_policy():
    weights = np.array([0.1, 0.2, 0.3])
    for policy in ("refuse", "absolute", "drop"):
        assert training_weights(weights, np.zeros(3, dtype=int), ("a",), policy) == pytest.approx(weights, rel=1e-15)


def test_negative_weights_are_refused_by_default_with_the_way_out():
    table = make_table(negative=True)
    with pytest.raises(TrainingError, match=r"100 events of dy have negative weights.*negative_weights: absolute"):
        make_sample(table, TrainingSettings())
    sample = make_sample(table, TrainingSettings(negative_weights="absolute"))
    assert sample.yields[1] == pytest.approx(table.weight[table.process == 1].sum())


def test_a_process_without_positive_yield_is_refused():
    with pytest.raises(TrainingError, match=r"process 'b' has the yield -1"):
        training_weights(np.array([1.0, -2.0, 1.0]), np.array([0, 1, 1]), ("a", "b"), "absolute")


def test_data_are_left_out_and_processes_renumbered():
    generator = np.random.default_rng(0)
    process = np.repeat(["data", "signal", "background"], 60)
    table = EventTable.from_arrays(
        {"x": generator.normal(size=180)},
        weight=np.ones(180),
        process=process,
        roles={"data": "data", "signal": "signal", "background": "background"},
        luminosity_ifb=1.0,
    )
    sample = make_sample(table, TrainingSettings())
    assert len(sample.weights) == 120
    assert sorted(set(sample.process)) == [0, 1]
    assert np.array_equal(sample.is_signal, ~table.is_background[~table.is_data])


def test_features_are_chosen_by_name(table):
    sample = make_sample(table, TrainingSettings(features=["y"]))
    assert sample.feature_names == ("y",)
    assert np.array_equal(sample.features[:, 0], table.feature("y"))
    with pytest.raises(TrainingError, match=r"names 'z', which does not exist"):
        make_sample(table, TrainingSettings(features=["z"]))


def test_the_hash_sees_every_array(table):
    sample = make_sample(table, TrainingSettings())
    hashes = {sample.hash(), make_sample(make_table(seed=1), TrainingSettings()).hash()}
    hashes.add(make_sample(table, TrainingSettings(features=["x"])).hash())
    assert len(hashes) == 3
    assert make_sample(make_table(), TrainingSettings()).hash() == sample.hash()
