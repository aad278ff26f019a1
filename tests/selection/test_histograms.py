import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection import ScoredEvents, feature_histogram, score_edges, score_histogram

NAMES, ROLES = ("hmumu", "dy", "data"), ("signal", "background", "data")


def table_of(values, weight, process, name="mass"):
    count = len(weight)
    return EventTable(
        features=np.asarray(values, dtype=np.float32).reshape(count, 1),
        feature_names=(name,),
        weight=np.asarray(weight, dtype=np.float64),
        process=np.asarray(process, dtype=np.int32),
        process_names=NAMES,
        roles=ROLES,
        labels=NAMES,
        fold=(np.arange(count) % 3).astype(np.int16),
        fold_count=3,
        identity=np.arange(count, dtype=np.uint64),
        luminosity_ifb=10.0,
    )


def histogram_of(score, weight, process, edges):
    return score_histogram(ScoredEvents.from_arrays(score, weight, process, names=NAMES, roles=ROLES), edges)


class TestScores:
    def test_against_numpy_by_process(self):
        rng = np.random.default_rng(0)
        score, process = rng.random(2000).astype(np.float32), rng.integers(0, 3, size=2000)
        weight = rng.normal(1.0, 2.0, size=2000)
        edges = score_edges(score, 25)
        found = histogram_of(score, weight, process, edges)
        assert [axis.name for axis in found.axes] == ["process", "score"]
        for index, name in enumerate(NAMES):
            mask = process == index
            values, _ = np.histogram(score[mask].astype(float), edges, weights=weight[mask])
            variances, _ = np.histogram(score[mask].astype(float), edges, weights=weight[mask] ** 2)
            np.testing.assert_allclose(found[name, :].values(), values, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(found[name, :].variances(), variances, rtol=1e-12)

    def test_the_highest_score_falls_into_the_last_bin(self):
        found = histogram_of([0.0, 1.0], [1.0, 2.0], [0, 0], [0.0, 0.5, 1.0])
        np.testing.assert_array_equal(found["hmumu", :].values(), [1.0, 2.0])
        assert found["hmumu", :].values(flow=True).sum() == 3.0

    def test_a_process_without_events_has_empty_bins(self):
        found = histogram_of([0.2], [1.0], [0], [0.0, 1.0])
        assert list(found.axes["process"]) == list(NAMES)
        assert found["dy", :].sum().value == 0.0

    def test_what_lies_outside_of_the_edges_is_in_the_flow_bins(self):
        found = histogram_of([-1.0, 0.5, 3.0], [1.0, 2.0, 4.0], [1, 1, 1], [0.0, 1.0])
        np.testing.assert_array_equal(found["dy", :].values(flow=True), [1.0, 2.0, 4.0])

    def test_edges(self):
        np.testing.assert_allclose(score_edges([0.3, 0.4], 4), [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(score_edges([-3.0, 1.0], 4), [-3, -2, -1, 0, 1])
        np.testing.assert_allclose(score_edges([0.0, 1.5], 3), [0, 0.5, 1, 1.5])
        np.testing.assert_allclose(score_edges([-0.5, 1.0], 3), [-0.5, 0, 0.5, 1])
        np.testing.assert_allclose(score_edges([4.0, 4.0], 2), [2, 4, 6])
        assert score_edges([0.5]).size == 41
        np.testing.assert_allclose(score_edges([], 2), [0, 0.5, 1])


class TestFeatures:
    def test_values_without_nan(self):
        table = table_of([1.0, 2.0, np.nan, 3.0, np.nan], [0.5, -1.0, 7.0, 1.0, 9.0], [0, 1, 1, 2, 1])
        found = feature_histogram(table, "mass", bins=2)
        assert [axis.name for axis in found.axes] == ["process", "mass"]
        assert found.values(flow=True).sum() == pytest.approx(0.5)
        assert found["dy", :].values(flow=True).sum() == -1.0

    def test_the_range_keeps_a_rare_signal_and_leaves_the_tails_to_the_flow_bins(self):
        rng = np.random.default_rng(1)
        values = np.concatenate([rng.normal(200.0, 1.0, 500), rng.normal(90.0, 1.0, 5000), [1e6]])
        weight = np.concatenate([np.full(500, 1e-3), np.full(5001, 10.0)])
        table = table_of(values, weight, np.repeat([0, 1], [500, 5001]))
        found = feature_histogram(table, "mass")
        edges = found.axes[1].edges
        assert 86 < edges[0] < 90
        assert 200 < edges[-1] < 205
        assert found.axes[1].size == 40
        assert found["dy", :].values(flow=True)[-1] == 10.0
        assert found.sum(flow=True).value == pytest.approx(weight.sum(), rel=1e-12)

    def test_one_value_only(self):
        found = feature_histogram(table_of([2.0] * 3, [1.0] * 3, [0, 1, 1]), "mass")
        assert found.sum().value == 3.0

    @pytest.mark.parametrize("name", ["process", "weight", "sample"])
    def test_a_feature_whose_name_hist_keeps_for_itself(self, name):
        found = feature_histogram(table_of([1.0, 2.0], [1.0, 1.0], [0, 1], name), name)
        assert found.axes[1].name == f"{name}_"

    def test_a_feature_without_any_value(self):
        with pytest.raises(InputError, match="'mass' is NaN for every event"):
            feature_histogram(table_of([np.nan] * 2, [1.0] * 2, [0, 1]), "mass")

    def test_an_unknown_feature(self):
        with pytest.raises(InputError, match="mass"):
            feature_histogram(table_of([1.0] * 2, [1.0] * 2, [0, 1]), "maas")
