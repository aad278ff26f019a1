"""eps as the knob of the working point: networks trained along a decreasing path of eps, each step from the last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from analyses.paper_toy.measures import peak
from analyses.paper_toy.training import Samples, Schedule, train
from analyses.toys import GaussianToy
from zsig_hep.learning import ZLoss
from zsig_hep.learning.classifier.network import StackedMLP

Floats = npt.NDArray[np.float64]

PATH = (1.0, 0.5, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.001)
"""eps relative to the background yield."""


@dataclass(frozen=True, eq=False)
class WorkingPoints:
    """What networks reach along a path; E values of eps, K seeds.

    Attributes:
        relative_eps: [E].
        best_efficiency: signal efficiency at the cut of the largest Z, f8 [E, K].
        own_efficiency: signal efficiency of F > 0, the network's own cut, f8 [E, K].
        significance: largest Z, f8 [E, K].
        spread: standard deviation of the signal's outputs, f8 [E, K].
    """

    relative_eps: tuple[float, ...]
    best_efficiency: Floats
    own_efficiency: Floats
    significance: Floats
    spread: Floats


def follow(
    toys: Sequence[GaussianToy],
    samples: Samples,
    start: StackedMLP,
    schedule: Schedule,
    error: str,
    points_per_axis: int,
) -> dict[str, WorkingPoints]:
    """Train along the path and measure at each step, by the name of the toy."""
    network, measured = start, []
    for relative_eps in PATH:
        network = train(network, samples, ZLoss(relative_eps, error=error, check_weights=False), schedule)
        measured.append(measure(toys, samples, network, points_per_axis))
    values = np.stack(measured)
    return {
        toy.name: WorkingPoints(PATH, *(values[:, index, :, quantity] for quantity in range(4)))
        for index, toy in enumerate(toys)
    }


def measure(toys: Sequence[GaussianToy], samples: Samples, network: StackedMLP, points_per_axis: int) -> Floats:
    """Best efficiency, own efficiency, largest Z and spread of every seed in every case, f8 [case, K, 4]."""
    points = torch.tensor(toys[0].grid(points_per_axis).points, dtype=torch.float32)
    scores = samples.scores(network, points).double().numpy().reshape(len(toys), -1, len(points))
    return np.array(
        [
            [_measure(toy, of_seed, points_per_axis) for of_seed in of_case]
            for toy, of_case in zip(toys, scores, strict=True)
        ]
    )


def _measure(toy: GaussianToy, scores: Floats, points_per_axis: int) -> tuple[float, float, float, float]:
    best = peak(toy.exact_curve(scores, points_per_axis))
    signal = toy.grid(points_per_axis).yields[toy.is_signal][0]
    share = signal / signal.sum()
    mean = float(share @ scores)
    own = float(share @ (scores > 0))
    return best.signal_efficiency, own, best.significance, float(np.sqrt(share @ (scores - mean) ** 2))
