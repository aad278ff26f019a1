"""Settings of the optimisers, and a step that is the same for all of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RAdam

from zsig_hep.learning.optimisation.eve import Eve, Parameters
from zsig_hep.settings import NonNegativeNumber, Settings


def step_with_loss(optimizer: Optimizer, losses: Tensor) -> None:
    """Make a step with any optimiser; Eve also gets the losses, shape () or (M,)."""
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
        """Make the optimiser; `weight_decay` is an L2 penalty."""
        return Adam(parameters, lr=learning_rate, betas=self.betas, weight_decay=weight_decay)


class AdamWSettings(Settings):
    """AdamW, arXiv:1711.05101: Adam with a decay of the parameters that does not enter the mean square."""

    name: Literal["adamw"] = "adamw"
    """Chooses this optimiser."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of the mean and of the mean square of the gradient."""
    decay: NonNegativeNumber = 0.1
    """Decay of the matrices of the layers in a step, as a fraction of the step size; replaces `weight_decay`."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "AdamW"

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:  # noqa: ARG002 (has its own)
        """Make the optimiser."""
        return AdamW(parameters, lr=learning_rate, betas=self.betas, weight_decay=self.decay)


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
    """Eve, arXiv:1611.01505: Adam with a step size that depends on the change of the loss."""

    name: Literal["eve"] = "eve"
    """Chooses this optimiser."""
    f_star: Annotated[float, Field(ge=-1e12, le=1e12)] = 0.0
    """Lower bound of the loss, not used by version 1; 0 is a bound of all normalised losses of the package."""
    c: Annotated[float, Field(ge=1, le=1e12)] = 10.0
    """Limit of the feedback: the step size is divided by a number in [1/c, c]."""
    betas: tuple[Decay, Decay, Decay] = (0.9, 0.999, 0.999)
    """Decay rates of the mean and of the mean square of the gradient, and of the feedback."""
    version: Literal[1, 3] = 3
    """Version of the paper with the algorithm."""

    @property
    def label(self) -> str:
        """Name for legends."""
        return "Eve" if self.version == 3 else "Eve (version 1)"

    def build(self, parameters: Parameters, learning_rate: float, weight_decay: float = 0.0) -> Optimizer:
        """Make the optimiser, which needs the loss in each step; see `step_with_loss`."""
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
    """Decay rate of the heavy-ball momentum; 0 for no momentum."""
    nesterov: bool = False
    """Whether Nesterov momentum is used."""

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


OptimizerChoice = AdamSettings | AdamWSettings | RAdamSettings | EveSettings | SGDSettings
OptimizerSettings = Annotated[OptimizerChoice, Field(discriminator="name")]
