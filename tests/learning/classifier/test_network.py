import numpy as np
import pytest
import torch

from zsig_hep.learning.classifier.network import StackedMLP


@pytest.mark.parametrize("hidden", [(), (7,), (8, 5)])
@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_each_member_is_an_ordinary_mlp(hidden, activation):
    network = StackedMLP(3, hidden, member_seeds=[4, 5], activation=activation)
    activations = {"relu": torch.relu, "silu": torch.nn.functional.silu, "tanh": torch.tanh}
    x = torch.randn(2, 11, 3)
    layers = [layer for layer in network.layers if hasattr(layer, "weight")]
    for member in range(2):
        value = x[member]
        for position, layer in enumerate(layers):
            value = torch.nn.functional.linear(value, layer.weight[member].T, layer.bias[member, 0])
            if position < len(layers) - 1:
                value = activations[activation](value)
        assert torch.allclose(network(x)[member], value[:, 0], atol=1e-6)


def test_a_member_does_not_depend_on_the_ensemble_it_stands_in():
    alone = StackedMLP(4, [6], member_seeds=[9])
    together = StackedMLP(4, [6], member_seeds=[1, 9, 3])
    for one, many in zip(alone.parameters(), together.parameters(), strict=True):
        assert torch.equal(one[0], many[1])
        assert not torch.equal(one[0], many[0])


def test_parameters_start_within_the_bound_of_linear_layers():
    network = StackedMLP(100, [50], member_seeds=[0])
    weight = network.layers[0].weight.detach().numpy()
    assert np.abs(weight).max() <= 0.1
    assert weight.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
