"""The complete state of a training in one file, after every epoch."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zsig_hep import __version__
from zsig_hep.errors import ModelFileError
from zsig_hep.learning.checkpoints import read_tensors, write_tensors
from zsig_hep.learning.history import EveRecord
from zsig_hep.learning.schedules import GraduatedStage

if TYPE_CHECKING:
    from zsig_hep.learning.ensemble import EnsembleTraining


def store(training: "EnsembleTraining", path: Path) -> None:
    """Write the complete state after an epoch, atomically."""
    tensors = {f"network.{name}": value for name, value in training.network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in training.best.items()}
    for index, state in training.optimizer.state_dict()["state"].items():
        held = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        tensors |= {f"optimizer.{index}.{name}": value for name, value in held.items()}
    tensors |= {f"rounds.{name}": value for name, value in training.rounds.tensors().items()}
    tensors |= {
        "best_loss": training.best_loss,
        "best_epoch": training.best_epoch,
        # The same tensor as best_epoch where the training has ended, which the file format refuses.
        "final_epoch": training.final_epoch.clone(),
        "training_losses": torch.from_numpy(np.stack(training.training_losses)),
        "validation_losses": torch.from_numpy(np.stack(training.validation_losses)),
    }
    progress = {
        "phase": training.phase,
        "epoch": training.epoch,
        "stale_epochs": training.stale_epochs,
        "history_phase": training.history_phase,
        "rounds": training.rounds.description(),
        "graduated": [stage.to_json() for stage in training.graduated],
        "eve": [asdict(record) for record in training.eve],
    }
    write_tensors(path, tensors, _identity(training) | progress)


def restore(training: "EnsembleTraining", path: Path) -> None:
    """Take up the state that `store` wrote.

    Raises:
        ModelFileError: if the file is damaged, or was written for other events, settings or another version.
    """
    tensors, description = read_tensors(path)
    differing = [key for key, value in _identity(training).items() if description.get(key) != value]
    if differing:
        message = (
            f"The checkpoint {path} was written with another {' and '.join(differing)}. Go on with the settings "
            "it was made for, or move it away to start anew."
        )
        raise ModelFileError(message)
    training.network.load_state_dict(_part(tensors, "network."))
    training.rounds.restore(_part(tensors, "rounds.", training.device), _list(description["rounds"]))
    training.begin_phase(int(str(description["phase"])), is_resumed=True)
    if training.phase < len(training.phases):
        _restore_optimizer(training, _part(tensors, "optimizer."))
    training.epoch, training.stale_epochs = int(str(description["epoch"])), int(str(description["stale_epochs"]))
    training.best = _part(tensors, "best.", training.device)
    for name in ("best_loss", "best_epoch", "final_epoch"):
        setattr(training, name, tensors[name].to(training.device))
    training.training_losses = list(tensors["training_losses"].numpy())
    training.validation_losses = list(tensors["validation_losses"].numpy())
    training.history_phase = [str(label) for label in _list(description["history_phase"])]
    training.graduated = [GraduatedStage.from_json(stage) for stage in _list(description["graduated"])]
    training.eve = [EveRecord(**record) for record in _list(description["eve"])]


def _restore_optimizer(training: "EnsembleTraining", tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    training.optimizer.load_state_dict(training.optimizer.state_dict() | {"state": state})


def _identity(training: "EnsembleTraining") -> dict[str, object]:
    return {
        "configuration": training.configuration(),
        "goal": repr(training.goal),
        "events": training.sample_hash,
        "version": __version__,
    }


def _part(tensors: dict[str, Tensor], prefix: str, device: torch.device | None = None) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value.to(device) if device else value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
