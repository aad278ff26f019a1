import numpy as np
import pytest

from zsig_hep.selection import HeldOutWorkingPoint, ScoredEvents, hidden_data

NAMES, ROLES = ("data", "higgs", "dy"), ("data", "signal", "background")


def events_of(score, process, fold):
    return ScoredEvents.from_arrays(
        score, np.ones(len(score)), process, names=NAMES, roles=ROLES, fold=fold, fold_count=2
    )


def cut_at(*thresholds):
    return HeldOutWorkingPoint(status="ok", thresholds=thresholds)


def test_data_at_or_above_the_cut_of_their_fold():
    events = events_of([0.49, 0.5, 0.51, 0.5, 0.7], [0] * 5, [0, 0, 0, 1, 1])
    assert hidden_data([(events, cut_at(0.5, 0.7))]).tolist() == [False, True, True, False, True]


def test_simulated_events_are_never_hidden():
    events = events_of([0.9, 0.9, 0.9], [0, 1, 2], [0, 0, 0])
    assert hidden_data([(events, cut_at(0.5, 0.5))]).tolist() == [True, False, False]


def test_where_a_fold_has_no_cut_all_of_its_data_are_hidden():
    events = events_of([-9.0, -9.0, -9.0], [0, 0, 2], [0, 1, 1])
    assert hidden_data([(events, cut_at(0.5, None))]).tolist() == [False, True, False]


@pytest.mark.parametrize("swapped", [False, True])
def test_what_any_classifier_selects_is_hidden(swapped):
    first = events_of([0.9, 0.1, 0.1], [0, 0, 0], [0, 0, 0]), cut_at(0.5, 0.5)
    second = events_of([0.1, 0.9, 0.1], [0, 0, 0], [0, 0, 0]), cut_at(0.8, 0.8)
    assert hidden_data([second, first] if swapped else [first, second]).tolist() == [True, True, False]
