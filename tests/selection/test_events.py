import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.ntuples import EventTable
from zsig_hep.selection import ScoredEvents, VariedEvents
from zsig_hep.selection.events import _renumbered
from zsig_hep.statistics import ProcessTable, weighted_yield

NAMES, ROLES = ("dy", "data", "higgs", "top"), ("background", "data", "signal", "background")
FOLDS = 4


def varied(direction, process, fold, factor):
    """Events of dy and higgs, whose scores tell where they were before anything is renumbered or left out."""
    size = len(process)
    return VariedEvents(
        "jes", "shape", direction, ("dy", "higgs"), np.linspace(0, 1, size), np.full(size, factor),
        np.array(process), np.array(fold), np.arange(2.0 * size, dtype=np.float32).reshape(size, 2),
    )  # fmt: skip


def toy(seed=0, size=40):
    rng = np.random.default_rng(seed)
    events = ScoredEvents.from_arrays(
        rng.normal(size=size), rng.normal(1, 1, size), rng.integers(0, 4, size),
        names=NAMES, roles=ROLES, fold=rng.integers(0, FOLDS, size), fold_count=FOLDS,
    )  # fmt: skip
    pair = varied("up", [0, 2, 0, 2, 2], [0, 1, 2, 3, 0], 1.5), varied("down", [2, 0, 2], [3, 0, 0], 0.5)
    features = rng.normal(size=(size, 2)).astype(np.float32)
    return dataclasses.replace(events, features=features, feature_names=("mass", "pt"), variations=(pair,))


def of(score, weight, process, **given):
    return ScoredEvents.from_arrays(score, weight, process, **{"names": NAMES, "roles": ROLES} | given)


class TestFromArrays:
    def test_types_and_folds_in_turn(self):
        events = of(np.array([0.5, 0.25], dtype=np.float32), [1, 2], np.array([2, 0], dtype=np.int16), fold_count=1)
        assert [each.dtype for each in (events.score, events.weight, events.process, events.fold)] == [
            np.float64, np.float64, np.int64, np.int64,
        ]  # fmt: skip
        assert (events.score.tolist(), events.fold.tolist(), len(events)) == ([0.5, 0.25], [0, 0], 2)
        assert events.processes == ProcessTable(NAMES, ROLES)
        assert of(np.zeros(7), np.ones(7), [0] * 7, fold_count=3).fold.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert (events.features.shape, events.feature_names, events.variations) == ((2, 0), (), ())

    def test_arguments_are_not_changed(self):
        arrays = [np.array([0.1, 0.2]), np.array([1.0, -2.0]), np.array([0, 3]), np.array([1, 0])]
        copies = [array.copy() for array in arrays]
        events = of(*arrays[:3], fold=arrays[3])
        _ = events.simulated, events.outside(0), events.yields()
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_no_events(self):
        events = of([], [], [])
        assert len(events) == 0
        assert events.yields()["dy"].entries == 0

    @pytest.mark.parametrize(
        ("arrays", "given", "words"),
        [
            (([0.1, 0.2], [1.0], [0, 1]), {}, r"arrays of one length; found shapes \(2,\), \(1,\) and \(2,\)"),
            (([[0.1]], [[1.0]], [[0]]), {}, "arrays of one length"),
            (([0.1, np.inf], [1.0, 1.0], [0, 1]), {}, r"score of event 1 is inf \(1 "),
            (([0.1, 0.2], [np.nan, np.nan], [0, 1]), {}, r"weight of event 0 is nan \(2 "),
            (([np.nan], [1.0], [1]), {}, "score of event 0 is nan"),
            (([0.1, 0.2], [1.0, 1.0], [1, 4]), {}, "run from 1 to 4, but there are 4 processes"),
            (([0.1, 0.2], [1.0, 1.0], [-1, 2]), {}, "run from -1 to 2"),
            (([0.1], [1.0], ["dy"]), {}, "must be integer indices"),
            (([0.1], [1.0], [0.0]), {}, "must be integer indices"),
            (([0.1], [1.0], [0]), {"roles": ROLES[:1]}, "one role"),
            (([0.1], [1.0], [0]), {"roles": ("sgnal", *ROLES[1:])}, "'dy' has role 'sgnal'"),
            (([0.1], [1.0], [0]), {"fold": [0, 1]}, r"integers of shape \(1,\)"),
            (([0.1], [1.0], [0]), {"fold": [0.5]}, "Folds must be integers"),
            (
                ([0.1, 0.2], [1.0, 1.0], [0, 0]),
                {"fold": [1, 3], "fold_count": 3},
                r"from 1 to 3; they must be in \[0, 3\)",
            ),
            (([0.1, 0.2], [1.0, 1.0], [0, 0]), {"fold": [-1, 2]}, r"must be in \[0, 5\)"),
        ],
    )
    def test_what_is_wrong_is_named(self, arrays, given, words):
        with pytest.raises(InputError, match=words):
            of(*arrays, **given)


class TestOfTable:
    TABLE = EventTable.from_arrays(
        {"mass": np.arange(12.0), "pt": np.ones(12)}, weight=np.arange(12) - 3.0, process=np.repeat(["dy", "higgs"], 6),
        roles={"higgs": "signal", "dy": "background"}, luminosity_ifb=1.0, folds=3,
    )  # fmt: skip

    def test_everything_but_the_score_is_of_the_table(self):
        pairs = toy().variations
        events = ScoredEvents.of_table(self.TABLE, np.linspace(0, 1, 12), pairs)
        for name in ("weight", "process", "fold", "features"):
            np.testing.assert_array_equal(getattr(events, name), getattr(self.TABLE, name))
        assert events.processes == ProcessTable(("higgs", "dy"), ("signal", "background"))
        assert (events.fold_count, events.feature_names, events.variations) == (3, ("mass", "pt"), pairs)
        np.testing.assert_array_equal(events.score, np.linspace(0, 1, 12))

    def test_scores_that_do_not_fit(self):
        with pytest.raises(InputError, match="one length"):
            ScoredEvents.of_table(self.TABLE, np.ones(11))
        with pytest.raises(InputError, match="score of event 0 is nan"):
            ScoredEvents.of_table(self.TABLE, np.full(12, np.nan))


class TestSimulated:
    def test_events_keep_their_process_under_its_new_number(self):
        events = toy()
        found, kept = events.simulated, events.process != 1
        assert found.processes.names == ("dy", "higgs", "top")
        for name in ("score", "weight", "fold", "features"):
            np.testing.assert_array_equal(getattr(found, name), getattr(events, name)[kept])
        names = np.array(NAMES)[events.process[kept]]
        np.testing.assert_array_equal(np.array(found.processes.names)[found.process], names)
        assert not found.is_data.any()
        np.testing.assert_array_equal(events.is_data, ~kept)

    def test_varied_events_are_renumbered_alike(self):
        found = toy().simulated
        up, down = found.variations[0]
        assert (up.process.tolist(), down.process.tolist()) == ([0, 1, 0, 1, 1], [1, 0, 1])
        assert up.weight.tolist() == [1.5] * 5
        assert (up.touched, up.direction, down.direction) == (("dy", "higgs"), "up", "down")

    def test_varied_events_of_a_process_that_goes_are_left_out(self):
        up, _ = toy().variations[0]
        (found,) = _renumbered((up,), np.array([-1, -1, 0, 1]))
        assert found.process.tolist() == [0, 0, 0]
        np.testing.assert_array_equal(found.score, up.score[[1, 3, 4]])

    def test_without_data_it_is_the_same(self):
        events = toy().simulated
        assert events.simulated is events


class TestOutside:
    @given(st.integers(0, 10_000), st.integers(0, FOLDS - 1))
    def test_the_others_at_the_whole_luminosity(self, seed, fold):
        events = toy(seed)
        found, kept = events.outside(fold), events.fold != fold
        np.testing.assert_allclose(found.weight, events.weight[kept] * 4 / 3, rtol=1e-15)
        np.testing.assert_array_equal(found.score, events.score[kept])
        assert found.fold_count == FOLDS

    def test_varied_events_are_left_out_and_scaled_alike(self):
        up, down = toy().outside(0).variations[0]
        assert (up.fold.tolist(), down.fold.tolist()) == ([1, 2, 3], [3])
        np.testing.assert_allclose(up.weight, [2.0, 2.0, 2.0], rtol=1e-15)
        np.testing.assert_allclose(down.weight, [2 / 3], rtol=1e-15)
        np.testing.assert_array_equal(up.features, toy().variations[0][0].features[1:4])

    def test_the_mean_over_folds_is_the_whole_yield(self):
        events = toy(5)
        means = np.mean([[each.value for each in events.outside(k).yields().values()] for k in range(FOLDS)], axis=0)
        np.testing.assert_allclose(means, [each.value for each in events.yields().values()], rtol=1e-12)


class TestYields:
    def test_by_process_and_without_data(self):
        events = toy(2)
        chosen = events.score > 0
        for found, mask in ((events.yields(), np.ones(40, dtype=bool)), (events.yields(chosen), chosen)):
            expected = {
                name: weighted_yield(events.weight[mask & (events.process == row)])
                for row, name in ((0, "dy"), (2, "higgs"), (3, "top"))
            }
            assert found == expected

    def test_a_selection_leaves_the_varied_events(self):
        events = toy(3)
        kept = events.select(events.score > 0)
        assert len(kept) == (events.score > 0).sum()
        assert kept.variations == events.variations
        np.testing.assert_array_equal(kept.features, events.features[events.score > 0])


def test_what_is_printed_has_no_arrays():
    events = toy()
    assert repr(events) == "ScoredEvents(40 events of dy, data, higgs, top; 4 folds)"
    assert repr(events.variations[0][1]) == "VariedEvents(jes down: 3 events of dy, higgs)"
