"""An ensemble of multilayer perceptrons as one network with stacked parameters."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "silu", "tanh"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


class StackedLinear(nn.Module):
    """M independent linear layers, evaluated as one batched matrix product.

    Each member is drawn from its own seed with the distribution of `torch.nn.Linear` (uniform within 1 / sqrt(inputs)),
    so that it does not depend on the other members.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weight = torch.empty(len(generators), inputs, outputs)
        bias = torch.empty(len(generators), 1, outputs)
        for member, generator in enumerate(generators):
            weight[member].uniform_(-bound, bound, generator=generator)
            bias[member].uniform_(-bound, bound, generator=generator)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, n, inputs) to (M, n, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


class StackedMLP(nn.Module):
    """M multilayer perceptrons with one output each.

    Args:
        inputs: number of features.
        hidden: width of each hidden layer; empty for a linear model.
        member_seeds: one seed per member; its length is M.
        activation: relu, silu or tanh.

    Example:
        >>> network = StackedMLP(3, [8], member_seeds=[0, 1])
        >>> network(torch.zeros(2, 5, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], *, member_seeds: Sequence[int], activation: Activation = "silu"
    ) -> None:
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in member_seeds]
        widths = [inputs, *hidden, 1]
        layers: list[nn.Module] = []
        for position, (left, right) in enumerate(itertools.pairwise(widths)):
            layers.append(StackedLinear(left, right, generators))
            if position < len(hidden):
                layers.append(ACTIVATIONS[activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardised features (M, n, inputs) to logits (M, n)."""
        logits: Tensor = self.layers(x)
        return logits.squeeze(-1)
