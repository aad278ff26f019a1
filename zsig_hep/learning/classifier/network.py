"""An ensemble of multilayer perceptrons as one network with stacked parameters."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zsig_hep.learning.classifier.embedding import PeriodicEmbedding, PeriodicSettings

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
    """M multilayer perceptrons, after an embedding of the features or without.

    Args:
        inputs: number of features F.
        hidden: width of each hidden layer; empty for a linear model of the features and their embedding.
        member_seeds: one seed per member; its length is M.
        activation: relu, silu or tanh.
        embedding: of each feature; None for the feature itself.
        indicators: number of further inputs I, which are not embedded.
        outputs: number of outputs K of each.

    Example:
        >>> network = StackedMLP(3, [8], member_seeds=[0, 1])
        >>> network(torch.zeros(2, 5, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        *,
        member_seeds: Sequence[int],
        activation: Activation = "silu",
        embedding: PeriodicSettings | None = None,
        indicators: int = 0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        generators = [torch.Generator().manual_seed(seed) for seed in member_seeds]
        self.embedding = None if embedding is None else PeriodicEmbedding(inputs, embedding, generators)
        widths = [layer_inputs(inputs, embedding, indicators), *hidden, outputs]
        layers: list[nn.Module] = []
        for position, (left, right) in enumerate(itertools.pairwise(widths)):
            layers.append(StackedLinear(left, right, generators))
            if position < len(hidden):
                layers.append(ACTIVATIONS[activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardised features and indicators (M, n, F + I) to outputs (M, n), of several outputs (M, n, K)."""
        if self.embedding is not None:
            features = self.embedding.features
            x = torch.cat([self.embedding(x[..., :features]), x[..., features:]], dim=2)
        outputs: Tensor = self.layers(x)
        return outputs.squeeze(-1)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters for an optimiser: the matrices of the layers, and all others, which do not decay."""
        matrices = [layer.weight for layer in self.layers if isinstance(layer, StackedLinear)]
        chosen = {id(matrix) for matrix in matrices}
        others = [parameter for parameter in self.parameters() if id(parameter) not in chosen]
        return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


def layer_inputs(features: int, embedding: PeriodicSettings | None, indicators: int) -> int:
    """Number of inputs of the first layer."""
    return features * (1 if embedding is None else 1 + embedding.width) + indicators


def parameter_shapes(
    members: int,
    features: int,
    hidden: Sequence[int],
    *,
    embedding: PeriodicSettings | None = None,
    indicators: int = 0,
    outputs: int = 1,
) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of a `StackedMLP` of M members, by name; arguments as there.

    Example:
        >>> parameter_shapes(2, 3, [8])["layers.0.weight"]
        (2, 3, 8)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    if embedding is not None:
        shapes |= {f"embedding.{name}": shape for name, shape in embedding.shapes(members, features).items()}
    widths = [layer_inputs(features, embedding, indicators), *hidden, outputs]
    for position, (left, right) in enumerate(itertools.pairwise(widths)):
        # An activation stands between two layers.
        layer = f"layers.{2 * position}"
        shapes |= {f"{layer}.weight": (members, left, right), f"{layer}.bias": (members, 1, right)}
    return shapes
