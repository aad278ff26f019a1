import numpy as np
import pytest
import torch

from zsig_hep.learning.classifier.embedding import PeriodicSettings
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


def test_features_are_embedded_and_indicators_are_not():
    network = StackedMLP(3, [6], member_seeds=[9, 2], embedding=PeriodicSettings(), indicators=2)
    x = torch.randn(2, 5, 5)
    assert network.layers[0].weight.shape == (2, 3 * 4 + 2, 6)
    inputs = torch.cat([network.embedding(x[..., :3]), x[..., 3:]], dim=2)
    assert torch.equal(network(x), network.layers(inputs)[..., 0])
    alone = StackedMLP(3, [6], member_seeds=[2], embedding=PeriodicSettings(), indicators=2)
    assert torch.allclose(network(x)[1], alone(x[1:])[0], atol=1e-6)


def test_only_the_matrices_of_the_layers_decay():
    network = StackedMLP(3, [6, 4], member_seeds=[9], embedding=PeriodicSettings())
    matrices, others = network.parameter_groups()
    assert [tuple(each.shape) for each in matrices["params"]] == [(1, 12, 6), (1, 6, 4), (1, 4, 1)]
    assert "weight_decay" not in matrices
    assert others["weight_decay"] == 0
    assert len(others["params"]) + 3 == len(list(network.parameters()))


def test_parameters_start_within_the_bound_of_linear_layers():
    network = StackedMLP(100, [50], member_seeds=[0])
    weight = network.layers[0].weight.detach().numpy()
    assert np.abs(weight).max() <= 0.1
    assert weight.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)


def test_several_outputs_are_the_last_axis():
    network = StackedMLP(3, [6], member_seeds=[9, 2], outputs=4)
    x = torch.randn(2, 5, 3)
    assert network(x).shape == (2, 5, 4)
    assert torch.equal(network(x), network.layers(x))
