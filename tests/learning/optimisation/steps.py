"""Steps of an optimiser with given gradients and losses."""

import torch
from torch import nn

from zsig_hep.learning.optimisation.eve import Eve


def parameters(start, dtype=torch.float64):
    return [nn.Parameter(torch.tensor(array, dtype=dtype)) for array in start]


def run(optimizer, theta, gradients, losses):
    feedback = []
    for gradient, loss in zip(gradients, losses, strict=True):
        for parameter, array in zip(theta, gradient, strict=True):
            parameter.grad = torch.tensor(array, dtype=parameter.dtype)
        if isinstance(optimizer, Eve):
            optimizer.step(loss=torch.tensor(loss, dtype=theta[0].dtype))
            feedback.append(optimizer.feedback)
        else:
            optimizer.step()
    return feedback
