"""The optimisers that can be chosen: their settings, by name, and one way to step with any of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer, RAdam

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.learning.optimisation.eve import Eve, Parameters
from zsig_hep.settings import Settings


def step_with_loss(optimizer: Optimizer, losses: Tensor) -> None:
    """Go one step with any optimiser, handing the losses, shape () or (M,), to the one that wants them."""
    if isinstance(optimizer, Eve):
        optimizer.step(loss=losses)
    else:
        optimizer.step()


Decay = Annotated[float, Field(ge=0, lt=1)]


class AdamSettings(Settings):
    """Adam, arXiv:1412.6980."""

    name: Literal["adam"] = "adam"
    """Chooses this optimiser."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the mean and of the mean square of the gradient."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Adam"

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
        """Make the optimiser; `weight_decay` is an L2 penalty for each of them."""
        return Adam(parameters, lr=learning_rate, betas=self.betas, weight_decay=weight_decay)


class RAdamSettings(Settings):
    """RAdam, arXiv:1908.03265."""

    name: Literal["radam"] = "radam"
    """Chooses this optimiser."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the mean and of the mean square of the gradient."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "RAdam"

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
        """Make the optimiser."""
        return RAdam(parameters, lr=learning_rate, betas=self.betas, weight_decay=weight_decay)


class EveSettings(Settings):
    """Eve, arXiv:1611.01505: Adam with a step size that follows the loss."""

    name: Literal["eve"] = "eve"
    """Chooses this optimiser."""
    f_star: float = 0.0
    """Lower bound of the loss, which version 1 does not use; 0 bounds every normalised loss of the package."""
    c: Annotated[float, Field(ge=1)] = 10.0
    """The feedback on the step size stays within [1/c, c]."""
    betas: tuple[Decay, Decay, Decay] = (0.9, 0.999, 0.999)
    """Decay rates of the mean and of the mean square of the gradient, and of the feedback."""
    version: Literal[1, 3] = 3
    """Version of the paper."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Eve" if self.version == 3 else "Eve (version 1)"

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
        """Make the optimiser; it wants the loss in each step, see `step_with_loss`."""
        return Eve(
            parameters,
            lr=learning_rate,
            f_star=self.f_star,
            betas=self.betas,
            c=self.c,
            weight_decay=weight_decay,
            version=self.version,
        )


class SGDSettings(Settings):
    """Stochastic gradient descent, with heavy-ball momentum unless it is zero."""

    name: Literal["sgd"] = "sgd"
    """Chooses this optimiser."""
    momentum: Decay = 0.9
    """Decay rate of the heavy-ball momentum; 0 is none."""
    nesterov: bool = False
    """Whether the momentum is that of Nesterov."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            message = "nesterov needs a momentum above zero"
            raise ValueError(message)
        return self

    @property
    def label(self) -> str:
        """Name for legends."""
        return "SGD" if self.momentum == 0 else "SGD with momentum"

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
        """Make the optimiser."""
        return SGD(
            parameters,
            lr=learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=weight_decay,
        )


OptimizerChoice = AdamSettings | RAdamSettings | EveSettings | SGDSettings
OptimizerSettings = Annotated[OptimizerChoice, Field(discriminator="name")]

OPTIMIZERS: dict[str, type[OptimizerChoice]] = {
    "adam": AdamSettings,
    "radam": RAdamSettings,
    "eve": EveSettings,
    "sgd": SGDSettings,
}


def make_optimizer(
    name: str, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0, **options: object
) -> Optimizer:
    """Make an optimiser by name.

    Args:
        name: adam, radam, eve or sgd.
        parameters: what to optimise.
        learning_rate: step size.
        weight_decay: L2 penalty.
        options: fields of the optimiser's settings.

    Raises:
        TrainingError: for an unknown name or an option that is unknown or outside its domain.

    Example:
        >>> import torch
        >>> parameter = torch.nn.Parameter(torch.zeros(2))
        >>> make_optimizer("sgd", [parameter], 0.1, momentum=0.5).defaults["momentum"]
        0.5
    """
    if name not in OPTIMIZERS:
        message = f"Unknown optimiser {name!r}.{nearest_name(name, OPTIMIZERS)}"
        raise TrainingError(message)
    try:
        settings = OPTIMIZERS[name].model_validate(options)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        message = f"The optimiser {name!r} cannot be made with these options: {problems}."
        raise TrainingError(message) from error
    return settings.build(parameters, learning_rate, weight_decay)
