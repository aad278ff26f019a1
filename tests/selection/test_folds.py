import dataclasses
import logging
import re

import numpy as np
import pytest

from tests.selection.varied_toy import varied_toy
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    CategorySettings,
    ScoredEvents,
    WorkingPointSettings,
    hold_out_categories,
    hold_out_working_point,
)
from zsig_hep.selection.folds import check_given_folds, in_partition

SIZE = 2000
NAMES, ROLES = ("hmumu", "dy", "top", "data"), ("signal", "background", "background", "data")
SETTINGS = WorkingPointSettings(minimum_effective_background=1)


def events(fold, fold_count=4, *, size=SIZE, weight=None):
    """Four processes in turn, with signal at larger scores."""
    process = np.arange(size) % 4
    score = np.random.default_rng(1).normal(np.where(process == 0, 1.0, 0.0))
    weights = np.ones(size) if weight is None else weight
    return ScoredEvents.from_arrays(score, weights, process, names=NAMES, roles=ROLES, fold=fold, fold_count=fold_count)


def shuffled(fold_count=4):
    return np.random.default_rng(2).integers(0, fold_count, SIZE)


def is_process(*rows):
    return np.isin(np.arange(SIZE) % 4, rows)


class TestRefused:
    @pytest.mark.parametrize(
        ("moved", "message"),
        [
            ((0,), "Fold 2 has no signal event, but 240 background events."),
            ((1, 2), "Fold 2 has no background event, but 125 signal events."),
            ((0, 1, 2), "Fold 2 has no signal and no background event: 3 of 4 folds are filled."),
        ],
    )
    def test_a_fold_without_a_class(self, moved, message):
        fold = shuffled()
        fold[is_process(*moved) & (fold == 2)] = 1
        with pytest.raises(InputError, match=re.escape(message)):
            check_given_folds(events(fold).simulated)

    def test_one_background_process_may_be_absent(self):
        fold = shuffled()
        fold[is_process(1) & (fold == 2)] = 1
        check_given_folds(events(fold).simulated)

    def test_sorted_classes_in_consecutive_folds(self):
        """What an unshuffled KFold of concatenated samples gives."""
        given = events(None)
        order = np.argsort(given.process[given.process < 3], kind="stable")
        one = ScoredEvents.from_arrays(
            given.score[given.process < 3][order], np.ones(1500), given.process[given.process < 3][order],
            names=NAMES[:3], roles=ROLES[:3], fold=np.arange(1500) * 5 // 1500,
        )  # fmt: skip
        with pytest.raises(InputError, match=r"Fold 0 has no background event.*; Fold 2 has no signal event"):
            hold_out_working_point(one, SETTINGS)

    def test_more_folds_are_announced_than_filled(self):
        with pytest.raises(InputError, match=r"Fold 4 has no signal and no background event: 4 of 6 folds are filled"):
            hold_out_working_point(events(shuffled(), fold_count=6), SETTINGS)

    def test_categories_too(self):
        fold = shuffled()
        fold[is_process(0) & (fold == 2)] = 1
        with pytest.raises(InputError, match="Fold 2 has no signal event"):
            hold_out_categories(events(fold), SETTINGS, CategorySettings(count=2))


class TestNotes:
    def test_a_share_beyond_a_factor_of_two(self, caplog):
        fold = shuffled()
        signal = np.flatnonzero(is_process(0))
        # Half of the signal in fold 0 is two of four shares, the limit; more is noted.
        fold[signal] = np.repeat([0, 1, 2, 3], [260, 100, 70, 70])
        with caplog.at_level(logging.WARNING):
            check_given_folds(events(fold).simulated)
        (record,) = caplog.records
        assert record.getMessage().startswith("Fold 0 has 52 % of the signal yield, and 25 % would be an equal share")

    def test_yields_not_events_are_compared(self, caplog):
        fold, weight = shuffled(), np.ones(SIZE)
        weight[is_process(1, 2) & (fold == 3)] = 0.1
        with caplog.at_level(logging.WARNING):
            check_given_folds(events(fold, weight=weight).simulated)
        (record,) = caplog.records
        assert record.getMessage().startswith("Fold 3 has 4 % of the background yield")

    def test_shares_within_a_factor_of_two(self, caplog):
        fold = shuffled()
        fold[np.flatnonzero(is_process(0))] = np.repeat([0, 1, 2, 3], [240, 120, 70, 70])
        with caplog.at_level(logging.WARNING):
            check_given_folds(events(fold).simulated)
        assert not caplog.records


class TestFoldsThatAreNotGiven:
    def test_chance_is_no_fault(self, caplog):
        """Of folds by a hash, a small sample leaves some empty."""
        few = events(None, fold_count=7, size=20)
        assert (few.process[few.fold == 6] != 0).all()
        with caplog.at_level(logging.WARNING):
            check_given_folds(few.simulated)
            check_given_folds(dataclasses.replace(events(shuffled(), fold_count=6), folds_are_given=False))
        assert not caplog.records


def replaced(varied, scores):
    return dataclasses.replace(varied, partition_scores=np.stack(scores))


class TestPartitions:
    def test_the_first_is_that_of_the_training(self):
        one = events(shuffled())
        assert in_partition(one, 0) is one

    def test_others_are_even_and_independent_of_each_other(self):
        one = events(shuffled(), size=SIZE)
        folds = [in_partition(one, number).fold for number in range(4)]
        for index, fold in enumerate(folds[1:], start=1):
            assert np.bincount(fold, minlength=4) == pytest.approx(np.full(4, SIZE / 4), rel=0.2)
            for other in folds[:index]:
                assert np.mean(fold == other) == pytest.approx(1 / 4, abs=0.05)

    def test_the_fold_depends_on_the_identity_alone(self):
        identity = np.arange(SIZE, dtype=np.uint64)
        one = dataclasses.replace(events(shuffled()), identity=identity)
        order = np.random.default_rng(0).permutation(SIZE)
        np.testing.assert_array_equal(in_partition(one.select(order), 2).fold, in_partition(one, 2).fold[order])
        twins = dataclasses.replace(one, identity=identity // np.uint64(2))
        fold = in_partition(twins, 1).fold
        np.testing.assert_array_equal(fold[::2], fold[1::2])

    def test_varied_events_follow_their_nominal_events(self):
        one = varied_toy()
        other = in_partition(one, 1)
        weights = next(pair for pair in other.variations if pair[0].name == "lumi")
        np.testing.assert_array_equal(weights[0].fold, other.fold)
        assert not np.array_equal(other.fold, one.fold)
        assert all(len(pair[1].fold) == len(pair[1]) for pair in other.variations)

    def test_scores_that_are_chosen_in_each_partition(self):
        one = varied_toy()
        own = np.stack([one.score, one.score + 1])
        of_up = [replaced(each, [each.score, each.score - 1]) for each in one.variations[0]]
        one = dataclasses.replace(one, partition_scores=own, variations=(tuple(of_up),))
        other = in_partition(one.select(np.arange(len(one))[::-1]), 1)
        np.testing.assert_array_equal(other.score, one.score[::-1] + 1)
        np.testing.assert_array_equal(other.variations[0][1].score, one.variations[0][1].score - 1)
        assert other.partition_scores is None
        with pytest.raises(InputError, match=r"chosen fold by fold in 2 partitions; partition 2 has none"):
            in_partition(one, 2)

    def test_events_without_identity(self):
        one = varied_toy()
        with pytest.raises(InputError, match=r"scored events have no identity.*set partitions to 1"):
            in_partition(dataclasses.replace(one, identity=None), 1)
        up, down = one.variations[0]
        blind = dataclasses.replace(one, variations=((dataclasses.replace(up, identity=None), down),))
        with pytest.raises(InputError, match=r"The events of variation 'lumi' up have no identity"):
            in_partition(blind, 1)
        # Variations that are not in the figure of merit need none.
        assert hold_out_working_point(blind, WorkingPointSettings()).status == "ok"

    def test_identities_that_are_none(self):
        for identity in (np.zeros(3, dtype=np.uint64), np.zeros(4), -np.ones(4, dtype=np.int64)):
            with pytest.raises(InputError, match=r"Identities must be unsigned integers of shape \(4,\)"):
                ScoredEvents.from_arrays(
                    np.zeros(4), np.ones(4), np.arange(4), names=NAMES, roles=ROLES, identity=identity
                )
