from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from tests.learning.toy import make_table
from tests.learning.trainings import Killed, kill_after, parameters, settings
from zsig_hep.errors import ModelFileError, OutputError
from zsig_hep.learning import train
from zsig_hep.learning.tensor_files import read_tensors, write_tensors
from zsig_hep.learning.training import checkpoints
from zsig_hep.learning.training.checkpoints import restore, store
from zsig_hep.selection import WorkingPointSettings, training_goal


@dataclass
class Counting:
    """A training that counts its epochs."""

    identity: dict = field(default_factory=lambda: {"configuration": {"hidden": [8]}, "events": "abc"})
    state: dict = field(default_factory=dict)

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = dict(state)


def test_the_state_comes_back_without_what_it_belongs_to(tmp_path):
    state = {"weight": torch.tensor([1.5, -2.0], dtype=torch.float64), "epoch": 3, "phases": ["warm start"]}
    store(Counting(state=dict(state)), tmp_path / "state.safetensors")
    resumed = Counting()
    restore(resumed, tmp_path / "state.safetensors")
    assert torch.equal(resumed.state.pop("weight"), state.pop("weight"))
    assert resumed.state == state


def test_all_that_differs_is_named_and_nothing_is_taken_up(tmp_path):
    store(Counting(state={"epoch": 3}), tmp_path / "state.safetensors")
    other = Counting({"configuration": {"hidden": [9]}, "events": "other"}, {"epoch": 0})
    with pytest.raises(ModelFileError, match="written with another configuration and events"):
        restore(other, tmp_path / "state.safetensors")
    assert other.state == {"epoch": 0}


def test_a_state_of_another_version_is_refused(tmp_path, monkeypatch):
    store(Counting(), tmp_path / "state.safetensors")
    monkeypatch.setattr(checkpoints, "__version__", "0.0.0")
    with pytest.raises(ModelFileError, match="another version"):
        restore(Counting(), tmp_path / "state.safetensors")


def test_a_killed_run_resumes_to_bit_equal_parameters(table, tmp_path):
    whole = train(table, settings())
    checkpoint = tmp_path / "checkpoint.safetensors"
    for calls in (1, 2, 2):
        with pytest.raises(Killed):
            train(table, settings(), checkpoint=checkpoint, progress=kill_after(calls))
    resumed = train(table, settings(), checkpoint=checkpoint)
    for one, other in zip(parameters(whole), parameters(resumed), strict=True):
        assert torch.equal(one, other)
    assert np.array_equal(whole.history.validation_loss, resumed.history.validation_loss)
    assert np.array_equal(whole.history.best_epoch, resumed.history.best_epoch)
    finished = train(table, settings(), checkpoint=checkpoint)
    assert torch.equal(parameters(whole)[0], parameters(finished)[0])


@pytest.mark.parametrize(
    ("changes", "other_table", "message"),
    [({"hidden": [9]}, False, "another configuration"), ({}, True, "another events")],
)
def test_a_checkpoint_of_something_else_is_refused(table, tmp_path, changes, other_table, message):
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        train(table, settings(), checkpoint=checkpoint, progress=kill_after(1))
    with pytest.raises(ModelFileError, match=message):
        train(make_table(seed=5) if other_table else table, settings(**changes), checkpoint=checkpoint)
    assert checkpoint.exists()


def test_a_checkpoint_of_another_goal_is_refused(table, tmp_path):
    checkpoint, options = tmp_path / "checkpoint.safetensors", settings(loss={"name": "effective_weights"})
    uncertain = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", background_uncertainties={"top": 0.5})
    with pytest.raises(Killed):
        train(table, options, goal=training_goal(uncertain), checkpoint=checkpoint, progress=kill_after(4))
    other = uncertain.model_copy(update={"background_uncertainties": {"top": 0.01}})
    with pytest.raises(ModelFileError, match="another goal"):
        train(table, options, goal=training_goal(other), checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("changes", "reason"), [({"epoch": -3}, "epoch: .*found -3"), ({"phase": 5}, "phase 5, but the training has 2")]
)
def test_a_state_that_cannot_be_is_refused_with_file_and_reason(table, tmp_path, changes, reason):
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Killed):
        train(table, settings(), checkpoint=checkpoint, progress=kill_after(2))
    tensors, description = read_tensors(checkpoint)
    write_tensors(checkpoint, tensors, description | changes)
    with pytest.raises(ModelFileError, match=rf"checkpoint\.safetensors is not a state of this training \({reason}"):
        train(table, settings(), checkpoint=checkpoint)


def test_a_damaged_checkpoint_is_refused(table, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelFileError, match="damaged"):
        train(table, settings(), checkpoint=checkpoint)


def test_a_checkpoint_that_cannot_be_written_is_reported(table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        train(table, settings(), checkpoint=tmp_path / "file" / "checkpoint.safetensors")
