import dataclasses
import json

import numpy as np
import pytest
import torch

from zsig_hep.learning.classifier.history import EveRecord, RoundRecord, TrainingHistory
from zsig_hep.learning.optimisation.eve import Eve
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage

ROUNDS = tuple(
    RoundRecord(
        number, None if number == 0 else 0.1, np.full((2, 3), 1.0 + number), np.array([1.0, np.nan]), np.ones(2)
    )
    for number in range(2)
)


def history(collapsed=(False, False, False, False), **changes):
    """Four networks, two for each of two folds, trained for three epochs."""
    losses = np.arange(12.0).reshape(3, 4)
    fields = {"best_epoch": np.array([2, 1, -1, 0]), "member_fold": np.array([0, 0, 1, 1]), "member_seed": np.arange(4)}
    phase = ("warm start", "Z loss", "Z loss")
    return TrainingHistory("Z loss", phase, losses, losses + 0.5, **fields, collapsed=np.array(collapsed), **changes)


def test_a_record_survives_json():
    record = RoundRecord(2, 0.1, np.array([[1.0, 0.5, 2.0]]), np.array([np.nan]), np.array([0.3]))
    again = RoundRecord.from_json(record.to_json())
    assert (again.number, again.relative_eps) == (2, 0.1)
    assert np.array_equal(again.factors, record.factors)
    assert np.isnan(again.figure).all()
    assert record.to_json()["figure"] == [None]
    start = dataclasses.replace(record, number=0, relative_eps=None, factors=np.ones((1, 3)))
    assert RoundRecord.from_json(start.to_json()).relative_eps is None
    assert record.change(start) == pytest.approx(np.log(2))


def test_a_history_survives_a_file():
    whole = history(
        (True, False, False, True),
        rounds=ROUNDS,
        kept_round=(1, 0),
        process_names=("higgs", "dy", "top"),
        graduated=(GraduatedStage(1, 1, 3, 0.2, 10, 3.0, 0.19, 1.5),),
        eve=(EveRecord(0.5, 0.25),),
    )
    again = TrainingHistory.from_json(json.loads(json.dumps(whole.to_json(), allow_nan=False)))
    for field in dataclasses.fields(TrainingHistory):
        one, other = getattr(whole, field.name), getattr(again, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other)
        elif field.name != "rounds":
            assert one == other, field.name
    assert [record.to_json() for record in again.rounds] == [record.to_json() for record in whole.rounds]


def test_lists_that_a_file_lacks_are_empty():
    content = history().to_json()
    for key in ("rounds", "kept_round", "process_names", "graduated", "eve"):
        del content[key]
    assert TrainingHistory.from_json(content).rounds == ()


def test_epochs_are_counted_from_one_over_all_phases():
    assert history().epochs == (1, 2, 3)


def test_collapsed_networks_are_counted_and_a_way_out_is_named():
    assert history().advice() == ""
    advice = history((True, False, True, True)).advice()
    assert "3 of 4 networks trained with the Z loss collapsed" in advice
    assert "Raise relative_eps" in advice


def test_rounds_without_any_working_point_are_told_unless_networks_collapsed():
    none = [dataclasses.replace(record, figure=np.full(2, np.nan)) for record in ROUNDS]
    assert "No threshold qualified in any round of the training with the Z loss" in history(rounds=tuple(none)).advice()
    assert "collapsed" in history((True,) * 4, rounds=tuple(none)).advice()
    # One fold of one round is enough.
    assert history(rounds=(none[0], ROUNDS[1])).advice() == ""


def test_the_feedback_of_eve_is_averaged_over_the_members():
    theta = torch.nn.Parameter(torch.zeros(2, 1, dtype=torch.float64))
    eve = Eve([theta], f_star=0.0, betas=(0.9, 0.999, 0.0))
    for loss in ([1.0, 1.0], [2.0, 1.001]):
        theta.grad = torch.ones_like(theta)
        eve.step(loss=torch.tensor(loss))
    # Without memory d is the change over the smaller loss: 1, and 0.001 raised to the floor 1 / 10.
    assert EveRecord.of(eve) == EveRecord(pytest.approx(0.55), 0.5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"factors": [[1.0, 2.0], [1.0]]}, "lengths of factors"),
        ({"figure": [1.0]}, "lengths of factors"),
        ({"factors": [[1.0, 0.0, 1.0]] * 2}, "greater than 0"),
        ({"relative_eps": -0.1}, "greater than 0"),
        ({"number": 1.0}, "valid integer"),
        ({"number": True}, "valid integer"),
        ({"figure": ["1", None]}, "valid number"),
    ],
)
def test_a_record_that_no_round_gives_is_refused(changes, reason):
    RoundRecord.from_json(ROUNDS[1].to_json())
    with pytest.raises(ValueError, match=reason):
        RoundRecord.from_json(ROUNDS[1].to_json() | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"process_names": ("higgs", "dy")}, r"factors of round 0 for \(2, 3\) folds and processes, expected \(2, 2\)"),
        ({"process_names": ("dy", "dy", "top")}, "process_names repeat a name"),
        ({"kept_round": (1,)}, "kept_round has 1 values for 2 folds"),
        ({"kept_round": (1, 2)}, "not all of which are numbers of rounds"),
        ({"graduated": (GraduatedStage(1, 1, 3, 0.2, 10, "3.0", 0.19, 1.5),)}, "graduated.0.gradient_deviation"),
    ],
)
def test_rounds_of_other_folds_or_processes_are_refused(changes, reason):
    fitting = {"rounds": ROUNDS, "kept_round": (1, 0), "process_names": ("higgs", "dy", "top")}
    assert len(TrainingHistory.from_json(history(**fitting).to_json()).rounds) == 2
    with pytest.raises(ValueError, match=reason):
        TrainingHistory.from_json(history(**(fitting | changes)).to_json())
