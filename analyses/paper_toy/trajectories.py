"""The way of a linear model during training, and where it comes closest to a published boundary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from analyses.paper_toy.lines import Line
from analyses.paper_toy.population import population_loss
from analyses.paper_toy.training import Loss, Samples, Schedule, linear_parameters, train
from analyses.toys import GaussianToy
from zsig_hep.learning import ZLoss
from zsig_hep.learning.classifier.network import StackedMLP

Floats = npt.NDArray[np.float64]

RECORDS = 250

CLEAR_SPREAD = 0.05
"""Standard deviation of the outputs below which the boundary moves with the noise of the batches."""

ANGLE_TOLERANCE = math.radians(5)
EFFICIENCY_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A linear model during training; R recorded steps.

    Attributes:
        steps: steps done, [R].
        parameters: (a1, a2, c) in the features as drawn, f8 [R, 3].
    """

    steps: npt.NDArray[np.int64]
    parameters: Floats

    @property
    def spread(self) -> Floats:
        """Standard deviation of the outputs within a process, f8 [R]."""
        return np.hypot(self.parameters[:, 0], self.parameters[:, 1])

    @property
    def lines(self) -> list[Line]:
        """Boundaries F = 0."""
        return [Line.from_parameters(parameters) for parameters in self.parameters]

    def losses(self, toy: GaussianToy) -> Floats:
        """Z loss with the hinge error and eps = S on infinitely many events, f8 [R]."""
        loss = ZLoss(eps=float(toy.yields[toy.is_signal][0]))
        values: Floats = population_loss(toy, torch.tensor(self.parameters), loss).numpy()
        return values


@dataclass(frozen=True)
class Approach:
    """Where a trajectory comes closest to a published boundary while its outputs are well above the noise of collapse.

    Attributes:
        step: number of steps done.
        line: boundary there.
        spread: standard deviation of the outputs there.
        distance: larger of the angle's distance in units of 5 degrees and that of the signal efficiency of the
            boundary in units of 0.05; infinite if the outputs were small from the start.
    """

    step: int
    line: Line
    spread: float
    distance: float

    @property
    def passes(self) -> bool:
        """Whether angle and signal efficiency are both within their tolerances."""
        return self.distance <= 1


def trajectories(
    toys: Sequence[GaussianToy], samples: Samples, network: StackedMLP, loss: Loss, schedule: Schedule
) -> dict[str, tuple[Trajectory, ...]]:
    """Train linear models and record them, by the name of the toy.

    The members are those of `Samples.draw`: all seeds of the first toy, then of the second.
    """
    steps: list[int] = []
    parameters: list[Floats] = []
    every = max(1, schedule.steps // RECORDS)

    def record(step: int, current: StackedMLP) -> None:
        if step % every == 0:
            steps.append(step)
            parameters.append(linear_parameters(current, samples))

    final = train(network, samples, loss, schedule, record)
    recorded = np.stack([*parameters, linear_parameters(final, samples)], axis=1)
    done, seeds = np.array([*steps, schedule.steps]), samples.members // len(toys)
    return {
        toy.name: tuple(Trajectory(done, member) for member in recorded[index * seeds : (index + 1) * seeds])
        for index, toy in enumerate(toys)
    }


def distance(toy: GaussianToy, line: Line, other: Line) -> float:
    """Larger of the distances in angle and in the signal efficiency of the boundary, in units of their tolerances."""
    turn = math.remainder(line.angle - other.angle, 2 * math.pi)
    shift = line.signal_efficiency(toy) - other.signal_efficiency(toy)
    return max(abs(turn) / ANGLE_TOLERANCE, abs(shift) / EFFICIENCY_TOLERANCE)


def closest_approach(toy: GaussianToy, trajectory: Trajectory, target: Line) -> Approach:
    """The recorded step whose boundary is most like a target."""
    lines = trajectory.lines
    distances = [
        distance(toy, line, target) if spread > CLEAR_SPREAD else math.inf
        for line, spread in zip(lines, trajectory.spread, strict=True)
    ]
    index = int(np.argmin(distances))
    return Approach(
        int(trajectory.steps[index]), lines[index], float(trajectory.spread[index]), float(distances[index])
    )
