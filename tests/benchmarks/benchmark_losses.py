"""Time of the Z loss, forward and backward, over what it is made of, and of a batched ensemble over one in a row.

    python tests/benchmarks/benchmark_losses.py

Baselines in the same run: weighted BCE; `torch.sort` of the same array plus BCE; the Lovasz extension by differences of
cumulative sums.  Each number is the median over repetitions.  A last table gives every loss over weighted BCE: its own
forward and backward pass, and a whole step (gradient, loss, Adam) of a 14-48-48-1 network.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from zsig_hep.learning import (
    BCELoss,
    BinnedAsimovLoss,
    FocalLoss,
    HypothesesLoss,
    InverseAsimovLoss,
    LovaszLoss,
    PunziLoss,
    SoftSignificanceLoss,
    SumLoss,
    TrainingSettings,
    ZLoss,
    ZLossSettings,
    make_sample,
)
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.losses.margins import hinge_error, margin
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.learning.training.members import make_members
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


def paired_ratio(action: Callable[[], object], reference: Callable[[], object], repetitions: int) -> float:
    """Median ratio of the times of two actions in turn, which other work on the machine shifts alike."""
    action()
    reference()
    ratios = []
    for _ in range(repetitions):
        times = [time.perf_counter()]
        for each in (action, reference):
            each()
            times.append(time.perf_counter())
        ratios.append((times[1] - times[0]) / (times[2] - times[1]))
    return statistics.median(ratios)


def forward_and_backward(scores: Tensor, data: tuple[Tensor, ...], loss: Callable[..., Tensor]) -> None:
    """One use of a loss in a training step."""
    scores.grad = None
    loss(scores, *data).sum().backward()


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

        use = partial(forward_and_backward, scores, (is_signal, weights))
        repetitions = min(200, max(5, 2_000_000 // n))
        z, bce, differences = (
            median_time(partial(use, loss), repetitions)
            for loss in (ZLoss(0.05, check_weights=False), BCELoss(), by_differences)
        )
        sort = median_time(partial(torch.sort, scores.detach(), descending=True), repetitions)
        print(f"| {n} | {z / bce:.2f} | {z / (sort + bce):.2f} | {z / differences:.2f} | {1e3 * z:.2f} |")


PROCESS_K = (0.0, 0.0, 1e-4, 3e-4)

EVERY_LOSS: dict[str, Callable[..., Tensor]] = {
    "weighted BCE": BCELoss(),
    "process-balanced BCE": BCELoss(weighting="processes", process_count=4),
    "focal": FocalLoss(),
    **{
        f"Z loss, {error}": ZLoss(error=error, check_weights=False)
        for error in ("hinge", "sigmoid", "cross_entropy", "focal")
    },
    **{
        f"Lovasz {name}": LovaszLoss(name, check_weights=False, **options)
        for name, options in {
            "s_over_sqrt_b": {},
            "s_over_b": {},
            "punzi": {},
            "asimov_squared": {},
            "ams_squared": {},
            "asimov_squared_with_uncertainty": {"relative_uncertainty": 0.1},
            "s_squared_over_b": {},
            "s_squared_over_s_plus_b": {},
            "s_over_sqrt_b_with_uncertainty": {"relative_uncertainty": 0.1},
            "s_over_sqrt_b_with_uncertainty_of_b": {"relative_uncertainty": 1e-3},
            "s_over_sqrt_b_with_process_uncertainties": {"process_uncertainties": PROCESS_K},
        }.items()
    },
    "1 / Z_A^2": InverseAsimovLoss(0.1),
    "soft s / sqrt(b + sum (k b)^2)": SoftSignificanceLoss(
        "s_over_sqrt_b_with_uncertainty", process_uncertainties=PROCESS_K
    ),
    "soft Z_A with uncertainties": SoftSignificanceLoss("asimov_with_uncertainty", process_uncertainties=PROCESS_K),
    "Punzi, two hypotheses": PunziLoss(signal_processes=[0, 1]),
    "binned Asimov, ten bins": BinnedAsimovLoss(),
    "Z loss + BCE": SumLoss([(1.0, ZLoss(check_weights=False)), (1.0, BCELoss())]),
    "worst of two hypotheses, Z loss": HypothesesLoss(ZLoss(check_weights=False), [0, 1], combine="minimum"),
}


def network_step(
    network: StackedMLP,
    optimizer: torch.optim.Optimizer,
    features: Tensor,
    data: tuple[Tensor, ...],
    loss: Callable[..., Tensor],
) -> None:
    """One step of a training."""
    optimizer.zero_grad(set_to_none=True)
    loss(network(features), *data).sum().backward()
    optimizer.step()


def every_loss() -> None:
    """Time of each loss over weighted BCE, alone and in the step of a network; one member."""
    sizes = (4_096, 100_000)
    print(
        "\n| loss / weighted BCE | "
        + " | ".join(f"alone, {n} | step, {n}" for n in sizes)
        + " |\n|---|---|---|---|---|"
    )
    ratios: dict[str, list[str]] = {name: [] for name in EVERY_LOSS}
    for n in sizes:
        generator = torch.Generator().manual_seed(1)
        process = torch.randint(4, (1, n), generator=generator)
        data = (process < 2, torch.rand((1, n), generator=generator), process)
        features = torch.randn((1, n, 14), generator=generator)
        scores = torch.randn((1, n), generator=generator, requires_grad=True)
        network = StackedMLP(14, (48, 48), member_seeds=[1], activation="silu")
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)
        repetitions = max(9, 200_000 // n)

        alone = partial(forward_and_backward, scores, data)
        step = partial(network_step, network, optimizer, features, data)
        reference = BCELoss()
        times = [1e3 * median_time(partial(each, reference), repetitions) for each in (alone, step)]
        print(f"  {n} events, weighted BCE: {times[0]:.2f} ms alone, {times[1]:.2f} ms a step")
        for name, loss in EVERY_LOSS.items():
            ratios[name] += [
                f"{paired_ratio(partial(each, loss), partial(each, reference), repetitions):.2f}"
                for each in (alone, step)
            ]
    for name, row in ratios.items():
        print(f"| {name} | " + " | ".join(row) + " |")


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
    settings, loss = TrainingSettings(seeds=2), ZLossSettings()
    sample = make_sample(table, settings)

    def epoch(training: EnsembleTraining) -> float:
        training.train_epoch()
        start = time.perf_counter()
        training.train_epoch()
        return time.perf_counter() - start

    batched = epoch(EnsembleTraining(sample, settings, loss))
    members = make_members(sample.fold, sample.fold_count, [1, 2])
    single = sum(epoch(EnsembleTraining(sample, settings, loss, [member])) for member in members)
    print(f"epoch of ten batched members over ten in a row: {batched / single:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    losses()
    ensemble()
    every_loss()
