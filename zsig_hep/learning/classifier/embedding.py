"""Periodic embedding of features, with which a small network learns as sharp a dependence on a feature as trees do."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from zsig_hep.settings import Settings


class PeriodicSettings(Settings):
    """Each feature z is joined by linear combinations of cos(2 pi (c z + b)), arXiv:2203.05556 and arXiv:2407.04491."""

    frequencies: Annotated[int, Field(gt=0, le=1024)] = 8
    """Number of frequencies c of each feature."""
    scale: Annotated[float, Field(ge=1e-6, le=1000)] = 0.1
    """Standard deviation of the frequencies at the start, per interquartile range of the feature."""
    width: Annotated[int, Field(gt=0, le=1024)] = 3
    """Number of linear combinations of the cosines of each feature."""

    @property
    def parameters_of_feature(self) -> int:
        """Number of parameters for each feature of a network."""
        return 2 * self.frequencies + (self.frequencies + 1) * self.width

    def shapes(self, members: int, features: int) -> dict[str, tuple[int, int, int]]:
        """Shapes of the parameters of a `PeriodicEmbedding` of M members and F features, by name."""
        return {
            "frequency": (members, features, self.frequencies),
            "phase": (members, features, self.frequencies),
            "weight": (members, features * self.frequencies, self.width),
            "bias": (members, features, self.width),
        }


class PeriodicEmbedding(nn.Module):
    r"""The embeddings of M independent networks: z -> (z, W cos(2 pi (c z + b)) + a) for each of F features.

    The frequencies c start from N(0, scale), the phases b from U(-1/2, 1/2), W and a as in `torch.nn.Linear`, each
    member's from its own generator.  All parameters have three axes, the members first.

    Args:
        features: F.
        settings: numbers of frequencies n and of combinations d, and the scale.
        generators: one per member.

    Example:
        >>> embed = PeriodicEmbedding(2, PeriodicSettings(), [torch.Generator().manual_seed(0)])
        >>> embed(torch.zeros(1, 5, 2)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(self, features: int, settings: PeriodicSettings, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.settings = settings
        drawn = {name: torch.empty(shape) for name, shape in settings.shapes(len(generators), features).items()}
        bound = 1 / math.sqrt(settings.frequencies)
        for member, generator in enumerate(generators):
            drawn["frequency"][member].normal_(0, settings.scale, generator=generator)
            drawn["phase"][member].uniform_(-0.5, 0.5, generator=generator)
            for name in ("weight", "bias"):
                drawn[name][member].uniform_(-bound, bound, generator=generator)
        self.frequency, self.phase = nn.Parameter(drawn["frequency"]), nn.Parameter(drawn["phase"])
        self.weight, self.bias = nn.Parameter(drawn["weight"]), nn.Parameter(drawn["bias"])

    @property
    def features(self) -> int:
        """Number of features F."""
        return self.phase.shape[1]

    @property
    def outputs(self) -> int:
        """Number of outputs, F (1 + d)."""
        return self.features * (1 + self.settings.width)

    def forward(self, z: Tensor) -> Tensor:
        """Map (M, n, F) to (M, n, F (1 + d)): first the features, then the combinations of each feature."""
        members, events, features = z.shape
        each, width = members * features, self.settings.width
        # Events are the last axis until the end, along which the small products are twice as fast.  The parameters are
        # multiplied by 2 pi, of which there are fewer than angles.
        phase, frequency = (2 * math.pi * part.view(each, -1, 1) for part in (self.phase, self.frequency))
        angles = torch.baddbmm(phase, frequency, z.transpose(1, 2).reshape(each, 1, events))
        matrices = self.weight.view(each, -1, width).transpose(1, 2)
        combined = torch.baddbmm(self.bias.view(each, width, 1), matrices, torch.cos(angles))
        return torch.cat([z, combined.view(members, features * width, events).transpose(1, 2)], dim=2)
