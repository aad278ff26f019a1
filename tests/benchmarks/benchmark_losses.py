"""Time of the Z loss, forward and backward, over what it is made of, and of a batched ensemble over one in a row.

    python tests/benchmarks/benchmark_losses.py

Baselines in the same run: weighted BCE; `torch.sort` of the same array plus BCE; the Lovasz extension by differences of
cumulative sums.  Each number is the median over repetitions.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from zsig_hep.learning import BCELoss, TrainingSettings, ZLoss, make_sample
from zsig_hep.learning.batches import make_members
from zsig_hep.learning.ensemble import EnsembleTraining
from zsig_hep.learning.losses import hinge_error, margin
from zsig_hep.ntuples import EventTable


def median_time(action: Callable[[], object], repetitions: int) -> float:
    """Median seconds of an action, after one warm-up."""
    action()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def forward_and_backward(loss: Callable[..., Tensor], scores: Tensor, is_signal: Tensor, weights: Tensor) -> None:
    """One use of a loss in a training step."""
    scores.grad = None
    loss(scores, is_signal, weights).backward()


def by_differences(scores: Tensor, is_signal: Tensor, weights: Tensor) -> Tensor:
    """The same loss from cumulative values of the set function, as the paper writes it."""
    errors, order = torch.sort(hinge_error(margin(scores, is_signal)), descending=True)
    w, s = weights[order], is_signal[order]
    total, eps = (w * s).sum(), 0.05 * (w * ~s).sum()
    values = total / eps.sqrt() - (total - torch.cumsum(w * s, 0)) / torch.sqrt(eps + torch.cumsum(w * ~s, 0))
    return (errors * torch.diff(values, prepend=values.new_zeros(1))).sum() * eps.sqrt() / total


def losses() -> None:
    """Ratios of the losses over the number of events."""
    print(
        "| events | Z loss / BCE | Z loss / (sort + BCE) | Z loss / differences | Z loss [ms] |\n|---|---|---|---|---|"
    )
    for n in (1_000, 10_000, 100_000, 1_000_000):
        generator = torch.Generator().manual_seed(1)
        scores = torch.randn(n, generator=generator, requires_grad=True)
        is_signal = torch.rand(n, generator=generator) < 0.3
        weights = torch.rand(n, generator=generator)

        data = (scores, is_signal, weights)
        repetitions = min(200, max(5, 2_000_000 // n))
        z, bce, differences = (
            median_time(partial(forward_and_backward, loss, *data), repetitions)
            for loss in (ZLoss(0.05, check_weights=False), BCELoss(), by_differences)
        )
        sort = median_time(partial(torch.sort, scores.detach(), descending=True), repetitions)
        print(f"| {n} | {z / bce:.2f} | {z / (sort + bce):.2f} | {z / differences:.2f} | {1e3 * z:.2f} |")


def ensemble() -> None:
    """Ratio of one epoch of ten batched members to ten ensembles of one member in a row."""
    generator = np.random.default_rng(1)
    n = 30_000
    features = {f"x{index}": generator.normal(size=2 * n) for index in range(16)}
    table = EventTable.from_arrays(
        features,
        weight=generator.exponential(1.0, 2 * n),
        process=np.repeat(["signal", "background"], n),
        roles={"signal": "signal", "background": "background"},
        luminosity_ifb=1.0,
    )
    settings = TrainingSettings(seeds=2)
    sample = make_sample(table, settings)

    def epoch(training: EnsembleTraining) -> float:
        training.train_epoch()
        start = time.perf_counter()
        training.train_epoch()
        return time.perf_counter() - start

    batched = epoch(EnsembleTraining(sample, settings, settings.loss))
    members = make_members(sample.fold, sample.fold_count, [1, 2])
    single = sum(epoch(EnsembleTraining(sample, settings, settings.loss, [member])) for member in members)
    print(f"epoch of ten batched members over ten in a row: {batched / single:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    losses()
    ensemble()
