import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPointSettings,
    evaluate_classifier,
    hold_out_working_point,
    roc_curve,
    scan_thresholds,
)

NAMES, ROLES = ("hmumu", "dy", "data"), ("signal", "background", "data")
OPTIONS = WorkingPointSettings()


def toy(size=3000, folds=3):
    rng = np.random.default_rng(4)
    process = rng.integers(0, 3, size=size)
    score = 1 / (1 + np.exp(-rng.normal(1.5 * (process == 0))))
    return ScoredEvents.from_arrays(
        score, np.array([0.02, 1.0, 1.0])[process], process, names=NAMES, roles=ROLES,
        fold=rng.integers(0, folds, size=size), fold_count=folds,
    )  # fmt: skip


def evaluated(events, options=OPTIONS, **given):
    return evaluate_classifier("zloss", "Z loss", events, options, **given)


def data_of(evaluation):
    return evaluation.score_histogram["data", :].values(flow=True)


def test_the_parts_are_those_of_the_events():
    events = toy()
    found, scan = evaluated(events), scan_thresholds(events, OPTIONS)
    assert (found.name, found.label) == ("zloss", "Z loss")
    np.testing.assert_array_equal(found.scan.significance, scan.significance)
    assert found.working_point == hold_out_working_point(events, OPTIONS)
    assert found.working_point.status == "ok"
    assert found.roc.area == roc_curve(scan).area
    assert 0.8 < found.roc.area < 0.9
    assert (found.score_edges[0], found.score_edges[-1]) == (0.0, 1.0)


class TestBlinding:
    def test_bins_show_all_of_their_data_or_none(self):
        events = toy()
        blinded, unblinded = evaluated(events), evaluated(events, unblind=True)
        cuts = np.array(blinded.working_point.thresholds)
        above = events.is_data & (events.score >= cuts[events.fold])
        assert 0 < above.sum() < events.is_data.sum()
        first = int(np.searchsorted(blinded.score_edges, cuts.min(), side="right")) - 1
        counts, whole = (found.score_histogram["data", :].values() for found in (blinded, unblinded))
        np.testing.assert_array_equal(counts[:first], whole[:first])
        assert counts[first:].sum() == 0
        assert whole[first:].sum() >= above.sum()
        assert data_of(unblinded).sum() == events.is_data.sum()
        assert (blinded.observed, unblinded.observed) == (None, above.sum())
        assert blinded.score_histogram["dy", :] == unblinded.score_histogram["dy", :]
        assert blinded.working_point == unblinded.working_point

    @pytest.mark.parametrize(("cut", "first_hidden"), [(0.5, 20), (np.nextafter(0.5, 0), 19), (0.51, 20)])
    def test_the_bin_of_the_cut_is_hidden_and_the_one_below_is_not(self, cut, first_hidden):
        # Signal stands at the cut alone, so that every fold chooses it; data stand on every edge and inside every bin.
        edges = np.linspace(0, 1, 41)
        data = np.concatenate([edges[:-1], edges[:-1] + 0.01])
        score = np.concatenate([np.full(30, cut), np.full(30, cut), np.full(300, 0.1), data])
        process = np.repeat([0, 1, 1, 2], [30, 30, 300, data.size])
        events = ScoredEvents.from_arrays(score, np.ones(score.size), process, names=NAMES, roles=ROLES, fold_count=3)
        found = evaluated(events)
        assert found.working_point.thresholds == (cut,) * 3
        np.testing.assert_array_equal(found.score_edges, edges)
        shown = np.where(np.arange(40) < first_hidden, 2, 0)
        np.testing.assert_array_equal(data_of(found)[1:-1], shown)

    def test_the_loosest_cut_of_all_folds_says_where_it_begins(self):
        # Fold 0 holds a signal at 0.3 that makes the other folds prefer that cut; its own is at 0.7.
        process = np.repeat([0, 0, 1, 1, 2], [60, 60, 60, 2000, 2])
        score = np.repeat([0.3, 0.7, 0.7, 0.1, 0.31], [60, 60, 60, 2000, 2])
        fold = np.concatenate([np.zeros(60), np.arange(2120) % 2, [0, 1]]).astype(int)
        events = ScoredEvents.from_arrays(
            score, np.ones(score.size), process, names=NAMES, roles=ROLES, fold=fold, fold_count=2
        )
        found = evaluated(events)
        assert found.working_point.thresholds == (0.7, 0.3)
        assert data_of(found).sum() == 0

    def test_without_a_cut_all_data_are_hidden(self):
        found = evaluated(toy(), WorkingPointSettings(minimum_effective_background=1e6))
        assert found.working_point.status == "no_threshold_qualifies"
        assert data_of(found).sum() == 0
        assert found.score_histogram["dy", :].sum(flow=True).value > 0

    @pytest.mark.parametrize("unblind", [False, True])
    def test_what_others_hide_is_hidden_too(self, unblind):
        events = toy()
        low = events.is_data & (events.score < 0.3)
        whole, found = evaluated(events, unblind=unblind), evaluated(events, unblind=unblind, hidden=low)
        assert low.sum() > 0
        assert data_of(whole).sum() - data_of(found).sum() == low.sum()
        assert whole.observed == found.observed

    def test_without_data_nothing_is_observed(self):
        events = toy()
        assert evaluated(events.simulated, unblind=True).observed is None


def test_events_that_cannot_be_scanned_are_refused():
    with pytest.raises(InputError, match="The signal yield before the cut is 0"):
        evaluated(toy().select(toy().process != 0))
