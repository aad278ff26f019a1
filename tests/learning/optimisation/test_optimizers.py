import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from tests.learning.optimisation.steps import parameters, run
from zsig_hep.learning.optimisation.eve import Eve
from zsig_hep.learning.optimisation.optimizers import (
    AdamSettings,
    AdamWSettings,
    EveSettings,
    OptimizerSettings,
    RAdamSettings,
    SGDSettings,
    step_with_loss,
)


@pytest.mark.parametrize(
    ("content", "kind", "settings_type", "label"),
    [
        ({"name": "adam", "betas": [0.8, 0.99]}, torch.optim.Adam, AdamSettings, "Adam"),
        ({"name": "radam"}, torch.optim.RAdam, RAdamSettings, "RAdam"),
        ({"name": "eve", "c": 5.0}, Eve, EveSettings, "Eve"),
        ({"name": "eve", "version": 1}, Eve, EveSettings, "Eve (version 1)"),
        ({"name": "sgd", "momentum": 0.5, "nesterov": True}, torch.optim.SGD, SGDSettings, "SGD with momentum"),
        ({"name": "sgd", "momentum": 0.0}, torch.optim.SGD, SGDSettings, "SGD"),
    ],
)
def test_settings_build_what_they_name(content, kind, settings_type, label):
    chosen = TypeAdapter(OptimizerSettings).validate_python(content)
    assert type(chosen) is settings_type
    assert chosen.label == label
    theta = nn.Parameter(torch.tensor([2.0]))
    optimizer = chosen.build([theta], 0.05, 0.01)
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert optimizer.param_groups[0]["weight_decay"] == 0.01
    if "momentum" in content:
        assert optimizer.param_groups[0]["momentum"] == content["momentum"]
        assert optimizer.param_groups[0]["nesterov"] is content.get("nesterov", False)
    if "betas" in content:
        assert optimizer.param_groups[0]["betas"] == (0.8, 0.99)
    for _ in range(5):
        optimizer.zero_grad()
        loss = theta.square().sum()
        loss.backward()
        step_with_loss(optimizer, loss.detach())
    assert theta.item() < 2


def test_adamw_decays_by_a_fraction_of_the_step_and_only_where_a_group_allows():
    theta, other = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([2.0]))
    chosen = TypeAdapter(OptimizerSettings).validate_python({"name": "adamw", "betas": [0.8, 0.99], "decay": 0.3})
    assert (type(chosen), chosen.label) == (AdamWSettings, "AdamW")
    optimizer = chosen.build([{"params": [theta]}, {"params": [other], "weight_decay": 0.0}], 0.05, weight_decay=7.0)
    assert type(optimizer) is torch.optim.AdamW
    assert [group["betas"] for group in optimizer.param_groups] == [(0.8, 0.99)] * 2
    theta.grad, other.grad = torch.zeros(1), torch.zeros(1)
    optimizer.step()
    assert theta.item() == pytest.approx(2.0 * (1 - 0.05 * 0.3), rel=1e-6)
    assert other.item() == 2.0


def test_eve_settings_reach_eve():
    eve = EveSettings(f_star=-2.0, c=4.0, betas=(0.8, 0.9, 0.7)).build([nn.Parameter(torch.ones(1))], 0.1)
    start, gradients, losses = [np.ones(1)], [[np.ones(1)]] * 3, [3.0, 3.5, 3.5]
    theta = parameters(start)
    direct = Eve(theta, lr=0.1, f_star=-2.0, c=4.0, betas=(0.8, 0.9, 0.7))
    assert eve.defaults == direct.defaults
    run(direct, theta, gradients, losses)
    assert direct.feedback.item() == pytest.approx(0.7 * (0.7 + 0.3 / 4) + 0.3 / 4, abs=1e-14)


@pytest.mark.parametrize(
    "content",
    [
        {"name": "sgd", "momentum": 1.0},
        {"name": "sgd", "momentum": -0.1},
        {"name": "sgd", "momentum": 0.0, "nesterov": True},
        {"name": "eve", "c": 0.9},
        {"name": "eve", "version": 2},
        {"name": "eve", "f_star": math.inf},
        {"name": "adam", "betas": [0.9, 1.0]},
        {"name": "adam", "momentum": 0.9},
        {"name": "adamw", "decay": -0.1},
        {"name": "lion"},
    ],
)
def test_settings_outside_their_domain(content):
    with pytest.raises(ValidationError):
        TypeAdapter(OptimizerSettings).validate_python(content)
