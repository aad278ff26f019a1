"""Training of many small networks at once: every seed of both cases is a member of one stacked network.

A member has its own events, its own batches and its own initial weights. Each batch carries the full yield of every
process, so that a weight is w = sigma_k L / nu_k with nu_k the events of process k in the batch, as in the paper.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import softplus

from analyses.toys import GaussianToy
from zsig_hep.errors import TrainingError
from zsig_hep.learning import rescale_to_process_yields
from zsig_hep.learning.classifier.network import StackedLinear, StackedMLP

Floats = npt.NDArray[np.float64]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Samples:
    """Training events and yields of M members: seed after seed of the first case, then of the second.

    Attributes:
        features: f4 [M, N, 2] as drawn.
        process: integer [N].
        is_signal: bool [N].
        yields: f4 [M, P].
        shift: subtracted from the features before the network, f4 [2].
        scale: divides them, f4 [2].
    """

    features: Tensor
    process: Tensor
    is_signal: Tensor
    yields: Tensor
    shift: Tensor
    scale: Tensor

    @classmethod
    def draw(cls, toys: Sequence[GaussianToy], seeds: int, events: int) -> Self:
        """Draw one sample per seed; the toys share it, for they differ in cross sections only."""
        drawn = [toys[0].draw(events, np.random.default_rng(seed)) for seed in range(seeds)]
        features = torch.tensor(np.stack([sample.features for sample in drawn] * len(toys)), dtype=torch.float32)
        yields = np.stack([toy.yields for toy in toys]).repeat(seeds, axis=0)
        return cls(
            features=features,
            process=torch.tensor(drawn[0].process),
            is_signal=torch.tensor(drawn[0].is_signal),
            yields=torch.tensor(yields, dtype=torch.float32),
            shift=torch.zeros(2),
            scale=torch.ones(2),
        )

    def standardised(self) -> Self:
        """The same events for a network that sees features of zero mean and unit variance."""
        flat = self.features.reshape(-1, 2)
        return type(self)(
            self.features, self.process, self.is_signal, self.yields, shift=flat.mean(0), scale=flat.std(0)
        )

    @property
    def members(self) -> int:
        """Number of members M."""
        return len(self.features)

    def network(self, hidden: Sequence[int], seeds: int) -> StackedMLP:
        """One network per member; a seed starts from the same weights in each case."""
        return StackedMLP(2, hidden, member_seeds=list(range(seeds)) * (self.members // seeds))

    def scores(self, network: StackedMLP, points: Tensor) -> Tensor:
        """Outputs at points [n, 2] given as drawn, [M, n]."""
        with torch.no_grad():
            result: Tensor = network(((points - self.shift) / self.scale).expand(self.members, -1, -1))
        return result


@dataclass(frozen=True)
class Schedule:
    """How a training runs.

    Attributes:
        steps: number of steps.
        learning_rate: step size of RAdam.
        batch: events of a batch.
        seed: of the batches.
        decays: whether the step size falls to zero along a cosine.
    """

    steps: int
    learning_rate: float
    batch: int = 3000
    seed: int = 0
    decays: bool = True

    def rate(self, step: int) -> float:
        """Step size of a step."""
        return self.learning_rate * (0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.decays else 1.0)


def train(
    network: StackedMLP,
    samples: Samples,
    loss: Loss,
    schedule: Schedule,
    record: Callable[[int, StackedMLP], None] | None = None,
) -> StackedMLP:
    """Train a copy of a network with RAdam (the paper's optimiser) and return it.

    Args:
        network: start.
        samples: events and yields.
        loss: called with outputs [M, n], signal mask [M, n] and yields [M, n].
        schedule: steps, step size and batch.
        record: called with the number of steps done and the network, before each step.
    """
    trained = copy.deepcopy(network)
    optimizer = torch.optim.RAdam(trained.parameters(), lr=schedule.learning_rate)
    generator = torch.Generator().manual_seed(schedule.seed)
    scaled = (samples.features - samples.shift) / samples.scale
    members, rows = samples.members, torch.arange(samples.members)[:, None]
    for step in range(schedule.steps):
        if record is not None:
            record(step, trained)
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        events = torch.randint(len(samples.process), (members, schedule.batch), generator=generator)
        process = samples.process[events]
        weights = rescale_to_process_yields(torch.ones(events.shape), process, samples.yields)
        value = loss(trained(scaled[rows, events]), samples.is_signal[events], weights)
        optimizer.zero_grad()
        torch.autograd.backward(value.sum())
        optimizer.step()
    return trained


def unweighted_bce(scores: Tensor, is_signal: Tensor, weights: Tensor) -> Tensor:
    """Mean cross entropy of the events of a batch, whatever their cross section: the paper's baseline."""
    del weights
    return softplus(scores * (1 - 2 * is_signal.to(scores.dtype))).mean(-1)


def linear_parameters(network: StackedMLP, samples: Samples) -> Floats:
    """(a1, a2, c) of F = a1 x1 + a2 x2 + c in the features as drawn, f8 [M, 3], of a network without hidden layer."""
    layer = _only_layer(network)
    slopes = layer.weight.detach()[:, :, 0].double() / samples.scale.double()
    constants = layer.bias.detach()[:, 0, 0].double() - slopes @ samples.shift.double()
    parameters: Floats = torch.cat([slopes, constants[:, None]], dim=1).numpy()
    return parameters


def start_at(network: StackedMLP, parameters: Floats) -> StackedMLP:
    """A linear network on features as drawn whose members start from (a1, a2, c), f8 [M, 3] or [3]."""
    started = copy.deepcopy(network)
    layer = _only_layer(started)
    values = torch.tensor(np.broadcast_to(parameters, (len(layer.weight), 3)), dtype=torch.float32)
    with torch.no_grad():
        layer.weight.copy_(values[:, :2, None])
        layer.bias.copy_(values[:, None, 2:])
    return started


def _only_layer(network: StackedMLP) -> StackedLinear:
    layer, *others = network.layers
    if others or not isinstance(layer, StackedLinear):
        message = f"The boundary of a network with {len(others) // 2} hidden layers is no line: give a linear model."
        raise TrainingError(message)
    return layer
