import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection import (
    WorkingPointSettings,
    evaluate_classifier,
    hold_out_working_point,
    roc_curve,
    scan_thresholds,
)


def table_of(events=3000, folds=3):
    rng = np.random.default_rng(4)
    process = rng.integers(0, 3, size=events)
    return EventTable(
        features=rng.normal(1.5 * (process == 0)).astype(np.float32).reshape(-1, 1),
        feature_names=("mass",),
        weight=np.array([0.02, 1.0, 1.0])[process],
        process=process.astype(np.int32),
        process_names=("hmumu", "dy", "data"),
        roles=("signal", "background", "data"),
        labels=("H", "DY", "Data"),
        fold=rng.integers(0, folds, size=events).astype(np.int16),
        fold_count=folds,
        identity=np.arange(events, dtype=np.uint64),
        luminosity_ifb=10.0,
    )


def test_the_parts_are_those_of_the_table():
    table, options = table_of(), WorkingPointSettings()
    score = 1 / (1 + np.exp(-table.feature("mass")))
    found = evaluate_classifier("zloss", "Z loss", score, table, options)
    arrays = (score, table.weight, table.process)
    given = {"process_names": table.process_names, "roles": table.roles, "settings": options}
    scan = scan_thresholds(*arrays, **given)
    assert (found.name, found.label) == ("zloss", "Z loss")
    np.testing.assert_array_equal(found.scan.significance, scan.significance)
    assert found.working_point == hold_out_working_point(*arrays, table.fold, fold_count=3, **given)
    assert found.working_point.status == "ok"
    assert found.roc.area == roc_curve(scan).area
    assert 0.8 < found.roc.area < 0.9
    assert (found.score_edges[0], found.score_edges[-1]) == (0.0, 1.0)


def test_data_above_the_cut_are_hidden_until_the_analysis_is_unblinded():
    table, options = table_of(), WorkingPointSettings()
    score = 1 / (1 + np.exp(-table.feature("mass").astype(np.float64)))
    blinded = evaluate_classifier("zloss", "Z loss", score, table, options)
    unblinded = evaluate_classifier("zloss", "Z loss", score, table, options, unblind=True)
    above = score >= np.array(blinded.working_point.thresholds)[table.fold]
    data = table.is_data
    assert 0 < (data & above).sum() < data.sum()
    lowest = min(blinded.working_point.thresholds)
    counts, whole = (found.score_histogram["data", :].values() for found in (blinded, unblinded))
    first = int(np.searchsorted(blinded.score_edges, lowest, side="right")) - 1
    # Every bin shows all of its data or none, and none from the bin of the lowest cut on.
    np.testing.assert_array_equal(counts[:first], whole[:first])
    assert counts[first:].sum() == 0
    assert whole[first:].sum() >= (data & above).sum()
    assert unblinded.score_histogram["data", :].sum().value == data.sum()
    assert (blinded.observed, unblinded.observed) == (None, (data & above).sum())
    assert blinded.score_histogram["dy", :] == unblinded.score_histogram["dy", :]
    assert blinded.working_point == unblinded.working_point


def test_without_a_cut_all_data_are_hidden():
    table = table_of()
    score = 1 / (1 + np.exp(-table.feature("mass")))
    found = evaluate_classifier("z", "Z", score, table, WorkingPointSettings(minimum_effective_background=1e6))
    assert found.working_point.status == "no_threshold_qualifies"
    assert found.score_histogram["data", :].sum(flow=True).value == 0


def test_scores_that_are_not_finite_are_refused():
    table = table_of(100)
    with pytest.raises(InputError, match="score of event 0 is nan"):
        evaluate_classifier("zloss", "Z loss", np.full(100, np.nan), table, WorkingPointSettings())


def test_scores_of_another_table_are_refused():
    with pytest.raises(InputError, match="one length"):
        evaluate_classifier("zloss", "Z loss", np.ones(99), table_of(100), WorkingPointSettings())
