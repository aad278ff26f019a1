import numpy as np
import pytest

from zsig_hep.errors import TrainingError
from zsig_hep.learning.training.members import make_members, require_both_classes


@pytest.fixture
def fold():
    return np.random.default_rng(1).integers(0, 4, 2000)


def test_no_member_sees_its_test_fold_for_training_or_stopping(fold):
    members = make_members(fold, 4, seeds=[1, 2])
    assert [member.fold for member in members] == [0, 0, 1, 1, 2, 2, 3, 3]
    for member in members:
        seen = np.concatenate([member.training, member.validation])
        assert not (fold[seen] == member.fold).any()
        assert len(np.intersect1d(member.training, member.validation)) == 0
        assert len(seen) == (fold != member.fold).sum()
    assert len({member.seed for member in members}) == 8


def test_a_member_stops_on_the_fold_behind_its_own(fold):
    for member in make_members(fold, 4, seeds=[7]):
        assert set(fold[member.validation]) == {(member.fold + 1) % 4}


def test_two_folds_are_too_few(fold):
    with pytest.raises(TrainingError, match="three folds"):
        make_members(fold % 2, 2, seeds=[1])


@pytest.mark.parametrize(("absent", "is_signal"), [("signal", False), ("background", True)])
def test_a_stopping_fold_of_one_class_is_named_by_the_fold_it_serves(fold, absent, is_signal):
    classes = np.arange(len(fold)) % 2 == 0
    members = make_members(fold, 4, seeds=[1])
    require_both_classes(members, classes)
    with pytest.raises(TrainingError, match=f"stops the networks of fold 1 has no {absent} event; use fewer folds"):
        require_both_classes(members, np.where(fold == 2, is_signal, classes))
