import copy
import re

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.learning.toy import make_table
from tests.learning.trainings import PHASES, settings
from zsig_hep.learning import make_sample
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.selection import WorkingPointSettings, training_goal
from zsig_hep.settings import first_reason

GOAL = training_goal(
    WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={"dy": 0.3, "top": 0.01},
        minimum_effective_background=5,
    )
)
EVE = {"loss": {"name": "bce"}, "main": PHASES["main"] | {"optimizer": {"name": "eve"}}}
ROUNDS = {"loss": {"name": "effective_weights", "rounds": 2}, "main": PHASES["main"] | {"epochs": 4}}
EMBEDDED = {"embedding": "periodic", "loss": {"name": "bce"}}


def make_training(options):
    chosen = settings(**options)
    return EnsembleTraining(make_sample(make_table(300), chosen), chosen, chosen.main_loss(GOAL), goal=GOAL)


def trained_for(options, epochs):
    training = make_training(options)
    while len(training.history_phase) < epochs and training.phase < len(training.phases):
        training.train_epoch()
    return training


@pytest.fixture(scope="module")
def states():
    """States within the phase of Eve, within the first round, of a finished training, and of one with an embedding.

    With each a training after its first epoch that could take it up.
    """
    made = {"eve": (EVE, 5), "rounds": (ROUNDS, 8), "finished": (ROUNDS, 99), "embedded": (EMBEDDED, 2)}
    return {
        name: (trained_for(options, epochs).state_dict(), trained_for(options, 1))
        for name, (options, epochs) in made.items()
    }


def put(name, place, value):
    return lambda state: state[name].__setitem__(place, value)


def replaced(**values):
    return lambda state: state.update(values)


def without(name):
    return lambda state: state.pop(name)


def cast(name, dtype):
    return lambda state: state.update({name: state[name].to(dtype)})


NAN, INFINITY = float("nan"), float("inf")
CHANGES = [
    ("eve", replaced(phase=-1), "phase: .* found -1"),
    ("eve", replaced(phase=7), "phase 7, but the training has 2"),
    ("eve", replaced(phase=True), "phase: .* found True"),
    ("eve", replaced(phase=2), "epoch 2 of a phase of 1 epochs"),
    ("eve", replaced(phase=0), "0 finished phases of 0 epochs at most"),
    ("eve", replaced(epoch=-3), "epoch: .* found -3"),
    ("eve", replaced(epoch=3), "epoch 3 of a phase of 3 epochs, counted from 0"),
    ("eve", replaced(epoch=2.0), "epoch: .* found 2.0"),
    ("eve", replaced(epoch=1), "4 epochs in 1 finished phases of 3 epochs at most"),
    ("eve", replaced(stale_epochs=-1), "stale_epochs: .* found -1"),
    ("eve", replaced(stale_epochs=3), "stale_epochs is 3, expected 2 at most"),
    ("eve", replaced(history_phase=[]), "history_phase: "),
    ("eve", replaced(history_phase=["warm start"] * 5), "history_phase has labels of other phases"),
    ("eve", replaced(eve=[{"feedback": 1.0}]), "eve.0.floor_fraction"),
    ("eve", replaced(eve=[{"feedback": 1.0, "floor_fraction": 0.0}] * 6), "6 records of Eve for 5 epochs"),
    ("eve", replaced(code="import os"), "code: Extra inputs are not permitted"),
    ("eve", without("epoch"), "epoch: Field required"),
    ("eve", without("best.layers.0.weight"), "no tensor best.layers.0.weight"),
    ("eve", replaced(other=torch.zeros(2)), "unknown tensor other"),
    ("eve", cast("network.layers.0.weight", torch.float64), "network.layers.0.weight is float64"),
    ("eve", put("network.layers.0.weight", (0, 0, 0), NAN), "network.layers.0.weight has values that are not finite"),
    ("eve", put("best.layers.0.bias", 0, INFINITY), "best.layers.0.bias has values that are not finite"),
    ("eve", replaced(best_loss=torch.zeros(9)), r"best_loss is float32 of shape \[9\], expected .*\[10\]"),
    ("eve", put("best_loss", 0, NAN), "best_loss has values that are not finite"),
    ("eve", put("best_epoch", 0, 2), r"best_epoch has values that are not in -1\.\.1"),
    ("eve", put("final_epoch", 0, -2), r"final_epoch has values that are not in -1\.\.4"),
    ("eve", replaced(training_losses=torch.zeros(4, 10).double()), r"training_losses is .*expected .*\[5, 10\]"),
    ("eve", put("validation_losses", (0, 0), NAN), "validation_losses has values"),
    ("eve", without("optimizer.0.exp_avg"), "no tensor optimizer.0.exp_avg"),
    ("eve", without("optimizer.0.previous_loss"), "no tensor optimizer.0.previous_loss"),
    ("eve", replaced(**{"optimizer.9.exp_avg": torch.zeros(2)}), "unknown tensor optimizer.9.exp_avg"),
    ("eve", replaced(**{"optimizer.0.exp_avg": torch.zeros(2)}), "tensor optimizer.0.exp_avg is"),
    ("eve", put("optimizer.0.exp_avg", (0, 0, 0), NAN), "optimizer.0.exp_avg has values that are not finite"),
    ("eve", put("optimizer.0.exp_avg_sq", (0, 0, 0), INFINITY), "exp_avg_sq has values that are not finite"),
    ("eve", put("optimizer.0.exp_avg_sq", (0, 0, 0), -1.0), "optimizer.0.exp_avg_sq has negative values"),
    ("rounds", put("rounds.factors", (0, 0), 0.0), "rounds.factors must be positive"),
    ("rounds", put("rounds.factors", (0, 0), NAN), "rounds.factors has values that are not finite"),
    ("rounds", replaced(**{"rounds.factors": torch.ones(3, 3).double()}), r"rounds.factors .*expected .*\[5, 3\]"),
    ("rounds", put("rounds.kept_figure", 0, NAN), "rounds.kept_figure must be numbers or -infinity"),
    ("rounds", put("rounds.kept_round", 0, 3), r"rounds.kept_round has values that are not in 0\.\.2"),
    ("rounds", put("rounds.epoch", 0, 99), r"rounds.epoch has values that are not in -1\.\.7"),
    ("rounds", put("rounds.epochs_before", (), -1), r"rounds.epochs_before has values that are not in 0\.\.8"),
    ("rounds", without("rounds.kept.layers.0.weight"), "no tensor rounds.kept.layers.0.weight"),
    ("rounds", lambda state: state["rounds.records"].pop(), r"rounds.records has 0 rounds, expected 1"),
    ("rounds", lambda state: state["rounds.records"][0]["factors"].pop(), "lengths of factors, figure"),
    ("rounds", lambda state: state["rounds.records"][0].update(factors=[[1.0]] * 5), r"\(5, 1\) folds and processes"),
    ("embedded", without("network.embedding.phase"), "no tensor network.embedding.phase"),
    ("embedded", without("best.embedding.weight"), "no tensor best.embedding.weight"),
    ("embedded", cast("network.embedding.bias", torch.float64), "network.embedding.bias is float64"),
    ("embedded", put("best.embedding.frequency", (0, 0, 0), NAN), "best.embedding.frequency has values that are not f"),
    ("embedded", put("optimizer.2.exp_avg_sq", (0, 0, 0), -1.0), "optimizer.2.exp_avg_sq has negative values"),
    ("embedded", without("optimizer.7.exp_avg"), "no tensor optimizer.7.exp_avg"),
    ("finished", replaced(epoch=1), "epoch 1 of a phase of 1 epochs"),
    ("finished", put("best_epoch", 0, 2), "best_epoch has values"),
    ("finished", without("optimizer.0.step"), "no tensor optimizer.0.step"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "reason"), CHANGES, ids=range(len(CHANGES)))
def test_a_state_that_the_training_cannot_have_had_is_refused_and_changes_nothing(states, name, change, reason):
    state, training = states[name]
    state = copy.deepcopy(state)
    change(state)
    before = copy.deepcopy(training.state_dict())
    with pytest.raises(ValueError, match=r"^.") as caught:
        training.load_state_dict(state)
    message = first_reason(caught.value) if isinstance(caught.value, ValidationError) else str(caught.value)
    assert re.search(reason, message), message
    after = training.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(after[key], value) if isinstance(value, torch.Tensor) else after[key] == value


@pytest.mark.parametrize("optimizer", [{"name": "adam"}, {"name": "adamw"}, {"name": "sgd"}, {"name": "sgd", "momentum": 0.9}, {"name": "eve", "version": 1}, {"name": "eve", "f_star": -1e6}])  # fmt: skip
def test_every_state_of_a_training_is_taken_up(optimizer):
    options = ROUNDS | {"main": ROUNDS["main"] | {"optimizer": optimizer}}
    training = make_training(options)
    while training.phase < len(training.phases):
        training.train_epoch()
        other = make_training(options)
        other.load_state_dict(copy.deepcopy(training.state_dict()))
        assert (other.phase, other.epoch) == (training.phase, training.epoch)
    assert np.array_equal(other.classifier().quantiles, training.classifier().quantiles)
    # A finished training that was taken up has no state of an optimiser.
    make_training(options).load_state_dict(other.state_dict())
