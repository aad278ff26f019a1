"""Batches of training events in which every process is represented."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zsig_hep.errors import TrainingError
from zsig_hep.learning.training.members import IndexArray, Member


@dataclass(frozen=True)
class StratifiedBatches:
    """Batches with the same number of events of a process in every step, in proportion to its events, at least one.

    Attributes:
        pools: event indices for each member and process.
        per_batch: number of events of each process in a batch.
        steps: number of batches in an epoch.
    """

    pools: tuple[tuple[IndexArray, ...], ...]
    per_batch: tuple[int, ...]
    steps: int

    @classmethod
    def from_members(
        cls, members: Sequence[Member], process: npt.NDArray[np.integer], process_count: int, batch_size: int
    ) -> "StratifiedBatches":
        """Group each member's training events by process and set the composition of a batch.

        Raises:
            TrainingError: if a process has no event in the training folds of a member.
        """
        pools = tuple(
            tuple(member.training[process[member.training] == index] for index in range(process_count))
            for member in members
        )
        if any(len(pool) == 0 for of_member in pools for pool in of_member):
            message = "A process has no event in the training folds of some network; use fewer folds or more events."
            raise TrainingError(message)
        mean_sizes = np.mean([[len(pool) for pool in of_member] for of_member in pools], axis=0)
        steps = max(1, round(float(mean_sizes.sum()) / batch_size))
        per_batch = tuple(max(1, round(float(size) / steps)) for size in mean_sizes)
        return cls(pools, per_batch, steps)

    def epoch(self, seeds: Sequence[int], epoch: int, device: torch.device) -> Tensor:
        """Draw the batches of one epoch, which depend on seed and epoch only and are the same in a resumed training.

        Args:
            seeds: one seed per member.
            epoch: number of the epoch.
            device: device of the indices.

        Returns:
            Event indices, shape (steps, M, batch).
        """
        drawn = [
            self._draw(of_member, np.random.default_rng([seed, epoch]))
            for seed, of_member in zip(seeds, self.pools, strict=True)
        ]
        return torch.from_numpy(np.stack(drawn, axis=1)).to(device)

    def _draw(self, pools: Sequence[IndexArray], generator: np.random.Generator) -> IndexArray:
        """Shuffle the events of each process and divide them among the steps; too few events are repeated."""
        columns = []
        for pool, count in zip(pools, self.per_batch, strict=True):
            needed = self.steps * count
            rounds = -(-needed // len(pool))
            shuffled = np.concatenate([generator.permutation(pool) for _ in range(rounds)])
            columns.append(shuffled[:needed].reshape(self.steps, count))
        return np.concatenate(columns, axis=1)


def scaled_to_totals(weights: Tensor, process: Tensor, totals: Tensor) -> Tensor:
    """Weights with which the sum over a stratified batch estimates the sum over all training events without bias.

    Args:
        weights: of the events of a batch, shape (M, n).
        process: index of each event's process, shape (M, n).
        totals: number of training events times the factor of the weights of each process, shape (M, P).

    Returns:
        weight * total of the process / number of its events in the batch, shape (M, n).

    Example:
        >>> scaled_to_totals(torch.ones(1, 3), torch.tensor([[0, 0, 1]]), torch.tensor([[10.0, 4.0]]))
        tensor([[5., 5., 4.]])
    """
    scaled = weights
    for index in range(totals.shape[-1]):
        mine = process == index
        count = mine.sum(-1, keepdim=True).clamp(min=1)
        scaled = torch.where(mine, weights * (totals[:, index : index + 1] / count), scaled)
    return scaled


def padded(index_lists: Sequence[IndexArray]) -> tuple[Tensor, Tensor]:
    """Stack index lists of different lengths.

    Returns:
        Indices, shape (M, longest), and a mask of the same shape that is False for the padding.
    """
    longest = max(len(indices) for indices in index_lists)
    stacked = np.zeros((len(index_lists), longest), dtype=np.int64)
    present = np.zeros_like(stacked, dtype=bool)
    for row, indices in enumerate(index_lists):
        stacked[row, : len(indices)] = indices
        present[row, : len(indices)] = True
    return torch.from_numpy(stacked), torch.from_numpy(present)
