import numpy as np
import pytest
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.training.batches import StratifiedBatches, padded, scaled_to_totals
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


def test_the_sum_over_a_batch_estimates_that_over_all_events_also_where_a_process_is_drawn_more_often():
    generator = np.random.default_rng(3)
    fold, process = np.arange(900) % 3, np.repeat([0, 1, 2], [600, 291, 9])
    members = make_members(fold, 3, seeds=[1])[:1]
    (training,) = (member.training for member in members)
    values = torch.from_numpy(generator.exponential(1.0, 900))
    counts = torch.tensor([[float((process[training] == index).sum()) for index in range(3)]])
    batches = StratifiedBatches.from_members(members, process, 3, batch_size=20)
    # The three events of the rarest process are in every batch of the epoch, one each.
    assert batches.per_batch[2] == 1
    processes = torch.from_numpy(process)
    sums = [
        scaled_to_totals(values[events], processes[events], counts).sum().item()
        for epoch in range(40)
        for events in batches.epoch([1], epoch, CPU)
    ]
    assert np.mean(sums) == pytest.approx(values[torch.from_numpy(training)].sum().item(), rel=0.01)


def test_padding_is_marked():
    indices, present = padded([np.array([4, 5]), np.array([7])])
    assert indices.tolist() == [[4, 5], [7, 0]]
    assert present.tolist() == [[True, True], [True, False]]
