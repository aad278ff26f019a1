import math

import pytest
import torch

from zsig_hep.learning.classifier.embedding import PeriodicEmbedding, PeriodicSettings

SETTINGS = PeriodicSettings(frequencies=5, scale=0.3, width=2)


def make(*seeds, settings=SETTINGS, features=3):
    return PeriodicEmbedding(features, settings, [torch.Generator().manual_seed(seed) for seed in seeds])


def test_it_is_its_equation_number_by_number():
    embed, z = make(4, 5), torch.randn(2, 7, 3)
    found = embed(z)
    assert found.shape == (2, 7, embed.outputs) == (2, 7, 9)
    for member in range(2):
        for event in range(7):
            assert torch.equal(found[member, event, :3], z[member, event])
            for feature in range(3):
                c, b = embed.frequency[member, feature], embed.phase[member, feature]
                waves = torch.cos(2 * math.pi * (c * z[member, event, feature] + b))
                matrix = embed.weight[member, 5 * feature : 5 * feature + 5]
                expected = waves @ matrix + embed.bias[member, feature]
                got = found[member, event, 3 + 2 * feature : 5 + 2 * feature]
                assert torch.allclose(got, expected, atol=1e-5)


def test_gradients_are_those_of_differences():
    embed = make(1, 2).double()
    z = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(embed, (z,))
    parameters = tuple(embed.parameters())
    names = [name for name, _ in embed.named_parameters()]

    def of_parameters(*values):
        return torch.func.functional_call(embed, dict(zip(names, values, strict=True)), z.detach())

    assert torch.autograd.gradcheck(of_parameters, parameters)


def test_a_member_does_not_depend_on_the_ensemble_it_stands_in():
    alone, together = make(9), make(1, 9, 3)
    for one, many in zip(alone.parameters(), together.parameters(), strict=True):
        assert torch.equal(one[0], many[1])
        assert not torch.equal(one[0], many[0])


def test_parameters_have_three_axes_and_start_from_their_distributions():
    embed = make(0, settings=PeriodicSettings(frequencies=200, scale=0.1, width=3), features=50)
    shapes = embed.settings.shapes(1, 50)
    assert {name: tuple(parameter.shape) for name, parameter in embed.named_parameters()} == shapes
    assert {len(shape) for shape in shapes.values()} == {3}
    assert sum(math.prod(shape) for shape in shapes.values()) == 50 * embed.settings.parameters_of_feature
    assert embed.frequency.std().item() == pytest.approx(0.1, rel=0.03)
    assert embed.phase.abs().max() <= 0.5
    assert embed.phase.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.03)
    assert embed.weight.abs().max() <= 1 / math.sqrt(200)
