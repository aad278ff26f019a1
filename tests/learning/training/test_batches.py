import numpy as np
import pytest
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.training.batches import StratifiedBatches, padded
from zsig_hep.learning.training.members import make_members

CPU = torch.device("cpu")


@pytest.fixture
def sample():
    generator = np.random.default_rng(1)
    fold = generator.integers(0, 4, 2000)
    process = np.where(generator.random(2000) < 0.02, 0, generator.integers(1, 3, 2000))
    return fold, process


def test_every_batch_holds_every_process_from_the_members_own_events(sample):
    fold, process = sample
    members = make_members(fold, 4, seeds=[1])
    batches = StratifiedBatches.from_members(members, process, 3, batch_size=100)
    drawn = batches.epoch([member.seed for member in members], 0, CPU).numpy()
    assert drawn.shape == (batches.steps, 4, sum(batches.per_batch))
    for step in drawn:
        for member, events in zip(members, step, strict=True):
            assert set(process[events]) == {0, 1, 2}
            assert np.isin(events, member.training).all()
    expected = np.bincount(process) / len(process)
    assert np.array(batches.per_batch[1:]) / sum(batches.per_batch) == pytest.approx(expected[1:], abs=0.03)


def test_an_epoch_uses_nearly_every_event_once(sample):
    fold, process = sample
    members = make_members(fold, 4, seeds=[1])
    batches = StratifiedBatches.from_members(members, process, 3, batch_size=100)
    drawn = batches.epoch([member.seed for member in members], 0, CPU).numpy()
    _, counts = np.unique(drawn[:, 0], return_counts=True)
    assert len(counts) > 0.9 * len(members[0].training)
    assert np.median(counts) == 1


def test_epochs_differ_and_repeat(sample):
    fold, process = sample
    members = make_members(fold, 4, seeds=[1])
    batches = StratifiedBatches.from_members(members, process, 3, batch_size=100)
    seeds = [member.seed for member in members]
    assert torch.equal(batches.epoch(seeds, 3, CPU), batches.epoch(seeds, 3, CPU))
    assert not torch.equal(batches.epoch(seeds, 3, CPU), batches.epoch(seeds, 4, CPU))


def test_a_process_without_training_events_is_refused(sample):
    fold, process = sample
    members = make_members(fold, 4, seeds=[1])
    process = np.where(fold == 2, 0, np.where(process == 0, 1, process))
    with pytest.raises(TrainingError, match="no event in the training folds"):
        StratifiedBatches.from_members(members, process, 3, batch_size=100)


def test_padding_is_marked():
    indices, present = padded([np.array([4, 5]), np.array([7])])
    assert indices.tolist() == [[4, 5], [7, 0]]
    assert present.tolist() == [[True, True], [True, False]]
