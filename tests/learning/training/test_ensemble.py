"""Trainings in rounds, with schedules and with the other optimisers, as a whole."""

import logging

import numpy as np
import pytest
import torch

from tests.learning.toy import make_table
from tests.learning.trainings import Killed, kill_after, parameters, separation
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, Classifier, TrainingSettings, make_sample, train
from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.learning.training.members import make_members
from zsig_hep.learning.training.rounds import judge_folds
from zsig_hep.selection import WorkingPointSettings, training_goal

PHASES = {
    "warm_start": {"epochs": 3, "batch_size": 256, "learning_rate": 1e-2},
    "main": {"epochs": 4, "batch_size": 512, "learning_rate": 3e-3},
}
UNCERTAIN = WorkingPointSettings(
    figure_of_merit="asimov_with_uncertainty", background_uncertainties={"top": 0.5}, minimum_effective_background=5
)


def settings(**changes):
    return TrainingSettings.model_validate(
        {"hidden": [8], "embedding": "none", "seeds": 2, "device": "cpu"} | PHASES | changes
    )


@pytest.fixture(scope="module", name="table")
def make_large_table():
    return make_table(n=1500)


def test_effective_weights_make_an_uncertain_background_count_more(table):
    history = train(
        table, settings(loss={"name": "effective_weights", "rounds": 3}), goal=training_goal(UNCERTAIN)
    ).history
    assert history.process_names == ("higgs", "dy", "top")
    assert [record.number for record in history.rounds] == [0, 1, 2, 3]
    assert (history.rounds[0].factors == 1).all()
    dy, top = history.rounds[-1].factors[:, 1], history.rounds[-1].factors[:, 2]
    assert (top > 1.5 * dy).all()
    assert all(np.isfinite(record.figure).all() for record in history.rounds)
    assert history.rounds[3].change(history.rounds[2]) < history.rounds[1].change(history.rounds[0])


def test_the_round_that_is_kept_is_the_best_of_its_fold(table):
    history = train(
        table, settings(loss={"name": "effective_weights", "rounds": 3}), goal=training_goal(UNCERTAIN)
    ).history
    figures = np.stack([record.figure for record in history.rounds])
    assert history.kept_round == tuple(figures.argmax(axis=0).tolist())
    for member, fold in enumerate(history.member_fold):
        if history.kept_round[fold] == 0:
            assert history.best_epoch[member] == -1
        else:
            assert 0 <= history.best_epoch[member] < 4


@pytest.mark.slow
def test_the_networks_of_a_fold_go_with_its_best_round(table):
    loss = {"name": "z", "error": "sigmoid", "relative_eps": "auto", "path": (0.5, 0.1, 0.001)}
    options, goal = settings(loss=loss), training_goal(WorkingPointSettings(minimum_effective_background=5))
    sample = make_sample(table, options)
    kept = []
    for fold in range(5):
        # Alone, so that no network of another fold, which may keep another round, has a part in the judgement.
        members = [member for member in make_members(sample.fold, 5, [1, 2]) if member.fold == fold]
        training = EnsembleTraining(sample, options, options.main_loss(), members, goal)
        history = training.run().history
        (judgement,) = judge_folds(training.validation_outputs(), training.members, sample, goal.judge)
        figures = [record.figure[0] for record in history.rounds]
        assert judgement.figure == pytest.approx(max(figures))
        kept += history.kept_round
    assert len(set(kept)) > 1


@pytest.mark.parametrize("loss", [{"name": "bce"}, {"name": "bce", "weighting": "events"}, {"name": "focal", "weighting": "processes"}, {"name": "effective_weights", "rounds": 2}])  # fmt: skip
def test_the_cross_entropy_of_batches_is_on_average_that_of_all_training_events(table, loss):
    options = settings(phases=[{"loss": loss}], seeds=1)
    sample = make_sample(table, options)
    member = make_members(sample.fold, 5, [1])[0]
    training = EnsembleTraining(sample, options, options.main_loss(), [member], training_goal(UNCERTAIN))
    # The rounds of effective weights begin after the first phase, with weights of their own.
    training.begin_phase(len(training.phases) - 1)
    training.rounds.factors[:] = [1.0, 0.8, 1.7]
    training.begin_phase(len(training.phases) - 1)
    events = torch.from_numpy(member.training)[None]
    with torch.no_grad():
        whole = training.losses(training.outputs(events), events)
        assert training.batch_losses(training.outputs(events), events) == pytest.approx(whole, rel=1e-5)
        parts = [torch.cat([events[:, sample.process[events[0]] == p][:, i::7] for p in range(3)], 1) for i in range(7)]
        estimates = [training.batch_losses(training.outputs(part), part).item() for part in parts]
    assert np.mean(estimates) == pytest.approx(whole.item(), rel=0.01)
    assert np.std(estimates) > 0


def test_batches_of_a_cross_entropy_are_not_rescaled_to_the_yields_of_processes(table):
    options = settings(loss={"name": "bce"})
    training = EnsembleTraining(make_sample(table, options), options, options.main_loss())
    events = training.draw_epoch(0)[0]
    outputs = training.outputs(events)
    assert not torch.allclose(training.batch_losses(outputs, events), training.losses(outputs, events), rtol=1e-3)
    set_loss = EnsembleTraining(make_sample(table, options), options, settings(loss={"name": "z"}).main_loss())
    set_loss.begin_phase(1)
    assert torch.equal(set_loss.batch_losses(outputs, events), set_loss.losses(outputs, events))


def test_validation_is_computed_in_blocks_with_the_same_result(table, monkeypatch):
    options = settings(embedding="periodic")
    training = EnsembleTraining(make_sample(table, options), options, options.main_loss())
    whole, sizes = training.validation_loss(), []
    training.network.register_forward_pre_hook(lambda network, arguments: sizes.append(arguments[0].shape[1]))
    monkeypatch.setattr("zsig_hep.learning.training.ensemble._VALIDATED", 100)
    assert torch.allclose(training.validation_loss(), whole, rtol=1e-5)
    assert max(sizes) == 100
    assert sum(sizes) == max(len(member.validation) for member in training.members)


def test_a_shared_warm_start_is_where_the_training_begins(table):
    warm = EnsembleTraining(make_sample(table, settings()), settings(), BCELossSettings())
    main_only = settings(loss={"name": "bce"}, warm_start=PHASES["warm_start"] | {"epochs": 0})
    training = EnsembleTraining(make_sample(table, main_only), main_only, BCELossSettings())
    training.start_from({name: value + 0.1 for name, value in warm.network.state_dict().items()})
    assert torch.equal(training.best_loss, training.validation_loss())
    assert torch.equal(parameters(training)[0], parameters(warm)[0] + 0.1)


def test_rounds_begin_with_the_networks_that_are_handed_over(table):
    loss = {"name": "z", "error": "sigmoid", "relative_eps": "auto"}
    main_only = settings(loss=loss, warm_start=PHASES["warm_start"] | {"epochs": 0})
    sample, goal = make_sample(table, main_only), training_goal(UNCERTAIN)
    warm = EnsembleTraining(sample, settings(), BCELossSettings())
    for _ in range(3):
        warm.train_epoch()
    training = EnsembleTraining(sample, main_only, main_only.main_loss(), goal=goal)
    training.start_from(warm.network.state_dict())
    judged = judge_folds(training.validation_outputs(), training.members, sample, goal.judge)
    (start,) = training.rounds.records
    assert start.figure.tolist() == [judgement.figure for judgement in judged]


def test_the_events_that_test_a_fold_do_not_judge_it(table):
    sample, goal = make_sample(table, settings()), training_goal(UNCERTAIN)
    members = make_members(sample.fold, 5, [1])
    outputs = [sample.features[member.validation, 0] for member in members]
    moved = [
        np.where(sample.fold[member.validation] == 0, 9.0, out) for member, out in zip(members, outputs, strict=True)
    ]
    first, other = (judge_folds(each, members, sample, goal.judge) for each in (outputs, moved))
    assert first[0].figure == other[0].figure
    assert first[1].figure != other[1].figure


def test_an_automatic_eps_records_its_path(table):
    loss = {"name": "z", "error": "sigmoid", "relative_eps": "auto", "path": (0.3, 0.05)}
    history = train(table, settings(loss=loss), goal=training_goal(WorkingPointSettings())).history
    assert [record.relative_eps for record in history.rounds] == [None, 0.3, 0.05]
    assert (history.rounds[2].factors == 1).all()
    assert history.phase[3:] == ("Z loss",) * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "effective_weights", "rounds": 2}, "embedding": "periodic"},
        {"loss": {"name": "z", "relative_eps": {"start": 0.5, "stop": 0.05}}},
        {"loss": {"name": "z"}, "main": PHASES["main"] | {"optimizer": {"name": "eve"}}},
        {
            "loss": {"name": "bce"},
            "main": PHASES["main"]
            | {"optimizer": {"name": "sgd", "momentum": 0.9}, "schedule": {"kind": "graduated", "stages": 2}},
        },
    ],
)
def test_a_killed_recipe_resumes_to_bit_equal_parameters(table, tmp_path, changes):
    arguments = {"goal": training_goal(UNCERTAIN)}
    whole = train(table, settings(**changes), **arguments)
    checkpoint = tmp_path / "checkpoint.safetensors"
    for calls in (4, 1, 1):
        with pytest.raises(Killed):
            train(table, settings(**changes), checkpoint=checkpoint, progress=kill_after(calls), **arguments)
    resumed = train(table, settings(**changes), checkpoint=checkpoint, **arguments)
    for one, other in zip(parameters(whole), parameters(resumed), strict=True):
        assert torch.equal(one, other)
    assert whole.history.to_json() == resumed.history.to_json()


def test_a_loss_that_changes_keeps_its_last_epoch(table):
    loss = {"name": "z", "relative_eps": {"start": 0.5, "stop": 0.05}}
    history = train(table, settings(loss=loss)).history
    assert (history.best_epoch == 3).all()


def test_every_loss_of_the_schedule_language_trains(table):
    phases = [
        {"loss": {"name": "bce"}, "epochs": 3, "batch_size": 256, "learning_rate": 1e-2},
        {
            "loss": {
                "name": "sum",
                "terms": [
                    {"coefficient": {"start": 1.0, "stop": 0.1}, "loss": {"name": "bce"}},
                    {"loss": {"name": "z", "error": "sigmoid", "relative_eps": {"start": 0.5, "stop": 0.05}}},
                ],
            },
            "epochs": 3,
            "batch_size": 512,
            "learning_rate": 3e-3,
        },
        {"loss": {"name": "soft_significance"}, "epochs": 2, "batch_size": 512, "learning_rate": 1e-3},
    ]
    classifier = train(table, settings(phases=phases), goal=training_goal(UNCERTAIN))
    assert len(set(classifier.history.phase)) == 3
    assert separation(classifier, table) > 0.75
    baseline = train(table, settings(phases=phases), loss=BCELossSettings(), goal=training_goal(UNCERTAIN))
    assert len(baseline.history.phase) == 8


def test_graduated_stages_are_measured_and_survive_the_file(table, tmp_path):
    main = {
        "epochs": 4,
        "batch_size": 256,
        "learning_rate": 0.1,
        "optimizer": {"name": "sgd"},
        "schedule": {"kind": "graduated", "mode": "batch", "stages": 2},
    }
    classifier = train(table, settings(loss={"name": "bce"}, main=main))
    first, second = classifier.history.graduated
    assert (first.batch_size, second.batch_size) == (256, 512)
    assert second.delta == pytest.approx(first.delta * np.sqrt(0.5), rel=0.5)
    assert second.delta < first.delta
    classifier.save(tmp_path)
    assert Classifier.load(tmp_path).history.graduated == (first, second)


def test_a_batch_larger_than_the_data_saturates_and_is_said_once(table, caplog):
    main = {
        "epochs": 4,
        "batch_size": 2000,
        "learning_rate": 0.1,
        "optimizer": {"name": "sgd"},
        "schedule": {"kind": "graduated", "mode": "batch", "stages": 4},
    }
    with caplog.at_level(logging.WARNING):
        history = train(table, settings(loss={"name": "bce"}, main=main)).history
    assert history.graduated[-1].batch_size == history.graduated[-2].batch_size
    assert history.graduated[-1].learning_rate < history.graduated[-2].learning_rate
    assert sum("Batches grow to" in record.message for record in caplog.records) == 1


def test_the_feedback_of_eve_is_reported_for_every_epoch(table):
    main = PHASES["main"] | {"optimizer": {"name": "eve", "f_star": -1e6}}
    history = train(table, settings(loss={"name": "bce"}, main=main)).history
    assert len(history.eve) == 4
    # A bound so far below the loss leaves every step at the floor of the feedback.
    assert history.eve[-1].floor_fraction > 0.9
    assert TrainingHistory.from_json(history.to_json()).eve == history.eve


def test_without_any_working_point_the_warm_start_is_kept_and_said(table):
    hopeless = UNCERTAIN.model_copy(update={"minimum_effective_background": 1e9})
    history = train(table, settings(loss={"name": "effective_weights"}), goal=training_goal(hopeless)).history
    assert set(history.kept_round) == {0}
    assert "No threshold qualified in any round" in history.advice()


def test_eve_refuses_a_bound_above_the_loss(table):
    main = PHASES["main"] | {"optimizer": {"name": "eve", "f_star": 5.0}}
    with pytest.raises(TrainingError, match="f_star"):
        train(table, settings(loss={"name": "bce"}, main=main))


def test_uncertainties_of_unknown_processes_are_refused(table):
    goal = training_goal(
        WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", background_uncertainties={"topp": 0.1})
    )
    with pytest.raises(TrainingError, match="Did you mean 'top'"):
        train(table, settings(loss={"name": "soft_significance"}), goal=goal)
