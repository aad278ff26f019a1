"""The whole ensemble, folds x seeds, trained as one batched computation."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep import __version__
from zsig_hep.errors import ModelFileError, TrainingError
from zsig_hep.learning.batches import Member, StratifiedBatches, make_members, padded
from zsig_hep.learning.calibration import signal_quantiles
from zsig_hep.learning.checkpoints import read_tensors, write_tensors
from zsig_hep.learning.classifier import Classifier
from zsig_hep.learning.history import TrainingHistory
from zsig_hep.learning.losses import BCELossSettings, LossSettings, rescale_to_process_yields
from zsig_hep.learning.network import StackedMLP
from zsig_hep.learning.options import TrainingSettings, choose_device
from zsig_hep.learning.preprocessing import Standardisation, fit_preprocessing
from zsig_hep.learning.sample import TrainingSample

Progress = Callable[[str, int, int, float], None]


class EnsembleTraining:
    """The state of one training, epoch by epoch.

    Every tensor stays on the device; the host waits for it once per epoch, not in a step.  All randomness comes from
    the seeds and the number of the epoch, so that a stored state is complete.

    Args:
        sample: events with non-negative weights.
        settings: of the training.
        loss: of the main phase.
        members: what to train; by default one network per fold and seed of the settings.
    """

    def __init__(
        self,
        sample: TrainingSample,
        settings: TrainingSettings,
        loss: LossSettings,
        members: Sequence[Member] | None = None,
    ) -> None:
        self.settings, self.loss_settings = settings, loss
        self.device = choose_device(settings.device)
        self.sample_hash = sample.hash()
        seeds = [settings.seed + repetition for repetition in range(settings.seeds)]
        self.members = tuple(members or make_members(sample.fold, sample.fold_count, seeds))
        self.member_seeds = [member.seed for member in self.members]
        _require_both_classes(self.members, sample.is_signal)
        training_events = [member.training for member in self.members]
        self.preprocessing = fit_preprocessing(
            sample.features, sample.weights, sample.is_signal, training_events, sample.feature_names, settings.missing
        )
        self.process_count = len(sample.yields)
        self.phases = [
            (BCELossSettings(), settings.warm_start, "warm start"),
            (loss, settings.main, loss.label),
        ]
        self.phases = [phase for phase in self.phases if phase[1].epochs > 0]
        if not self.phases:
            message = "Neither `warm_start` nor `main` has an epoch; there is nothing to train."
            raise TrainingError(message)
        self.batches = [
            StratifiedBatches.from_members(self.members, sample.process, self.process_count, phase[1].batch_size)
            for phase in self.phases
        ]
        self._to_device(sample)
        self.standardise = Standardisation(self.preprocessing).to(self.device)
        self.network = StackedMLP(
            len(sample.feature_names), settings.hidden, member_seeds=self.member_seeds, activation=settings.activation
        ).to(self.device)
        self.history_phase: list[str] = []
        self.training_losses: list[npt.NDArray[np.float64]] = []
        self.validation_losses: list[npt.NDArray[np.float64]] = []
        self.begin_phase(0)

    def _to_device(self, sample: TrainingSample) -> None:
        self.features = torch.from_numpy(sample.features).to(self.device)
        self.weights = torch.from_numpy(sample.weights.astype(np.float32)).to(self.device)
        self.is_signal = torch.from_numpy(sample.is_signal).to(self.device)
        self.process = torch.from_numpy(sample.process).to(self.device)
        self.yields = torch.from_numpy(sample.yields.astype(np.float32)).to(self.device)
        indices, present = padded([member.validation for member in self.members])
        self.validation_events, self.validation_present = indices.to(self.device), present.to(self.device)

    def begin_phase(self, phase: int) -> None:
        """Start a phase from the current parameters, with a fresh optimiser; its starting point is a candidate."""
        self.phase, self.epoch = phase, 0
        if phase == len(self.phases):
            return
        self.loss: nn.Module = self.phases[phase][0].build()
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=self.phases[phase][1].learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.best_loss = self.validation_loss()
        self.best_epoch = torch.full((len(self.members),), -1, device=self.device)
        self.stale_epochs = 0

    def run(self, checkpoint: Path | None = None, progress: Progress | None = None) -> Classifier:
        """Train to the end, from the checkpoint where there is one."""
        if checkpoint is not None and checkpoint.exists():
            self.restore(checkpoint)
        while self.phase < len(self.phases):
            label, plan = self.phases[self.phase][2], self.phases[self.phase][1]
            number = self.epoch + 1
            self.train_epoch()
            if checkpoint is not None:
                self.store(checkpoint)
            if progress is not None:
                progress(label, number, plan.epochs, float(self.validation_losses[-1].mean()))
        return self.classifier()

    def outputs(self, events: Tensor) -> Tensor:
        """Logits of each member for its own events, indices of shape (M, n)."""
        logits: Tensor = self.network(self.standardise(self.features[events]))
        return logits

    def losses(self, scores: Tensor, events: Tensor, present: Tensor | None = None) -> Tensor:
        """Loss of each member on its own events, every process rescaled to its full yield."""
        weights = self.weights[events]
        if present is not None:
            weights = weights * present
        weights = rescale_to_process_yields(weights, self.process[events], self.yields)
        values: Tensor = self.loss(scores, self.is_signal[events], weights)
        return values

    def validation_loss(self) -> Tensor:
        """Loss of each member on its validation fold, shape (M,)."""
        with torch.no_grad():
            return self.losses(self.outputs(self.validation_events), self.validation_events, self.validation_present)

    def train_epoch(self) -> None:
        """Train one epoch of the current phase and move on when the phase is over."""
        _, plan, label = self.phases[self.phase]
        fraction = self.epoch / plan.epochs
        for group in self.optimizer.param_groups:
            group["lr"] = plan.learning_rate * (1 + np.cos(np.pi * fraction)) / 2
        # A number that no other phase of the same member uses, so that phases see their events in another order.
        drawn = self.batches[self.phase].epoch(self.member_seeds, 10_000 * self.phase + self.epoch, self.device)
        total = torch.zeros(len(self.members), device=self.device)
        for events in drawn:
            self.optimizer.zero_grad(set_to_none=True)
            losses = self.losses(self.outputs(events), events)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += losses.detach()
        self._close_epoch(label, total / len(drawn))

    def _close_epoch(self, label: str, training_loss: Tensor) -> None:
        validation = self.validation_loss()
        self.history_phase.append(label)
        self.training_losses.append(training_loss.cpu().double().numpy())
        self.validation_losses.append(validation.cpu().double().numpy())
        if not np.isfinite(self.training_losses[-1]).all():
            message = (
                f"The loss became NaN or infinite in epoch {self.epoch + 1} of the phase {label!r}. Lower its "
                "learning rate; the checkpoint of the epoch before is kept."
            )
            raise TrainingError(message)
        improved = validation < self.best_loss
        for name, value in self.network.state_dict().items():
            self.best[name] = torch.where(improved.view(-1, 1, 1), value, self.best[name])
        self.best_loss = torch.where(improved, validation, self.best_loss)
        self.best_epoch = torch.where(improved, self.epoch, self.best_epoch)
        self.stale_epochs = 0 if bool(improved.any()) else self.stale_epochs + 1
        self.epoch += 1
        if self.epoch == self.phases[self.phase][1].epochs or self.stale_epochs >= self.settings.patience:
            self.network.load_state_dict(self.best)
            self.final_epoch = self.best_epoch
            self.begin_phase(self.phase + 1)

    def collapsed(self) -> npt.NDArray[np.bool_]:
        """Find the members that give all events nearly the same score, where every set loss has its trivial value."""
        present = self.validation_present
        with torch.no_grad():
            scores = self.outputs(self.validation_events)
        count = present.sum(-1)
        mean = torch.where(present, scores, 0).sum(-1) / count
        deviation = torch.where(present, scores - mean.unsqueeze(-1), 0)
        spread = (deviation.square().sum(-1) / count).sqrt()
        result: npt.NDArray[np.bool_] = (spread < 0.05 * (1 + mean.abs())).cpu().numpy()
        return result

    def signal_quantiles(self) -> npt.NDArray[np.float32]:
        """Calibrate each member on the signal of its validation fold, shape (M, 201)."""
        events = self.validation_events
        with torch.no_grad():
            outputs = self.outputs(events).cpu().numpy()
        signal = (self.validation_present & self.is_signal[events]).cpu().numpy()
        weights = self.weights[events].cpu().numpy()
        rows = zip(outputs, weights, signal, strict=True)
        return np.stack([signal_quantiles(output[mine], weight[mine]) for output, weight, mine in rows])

    def classifier(self) -> Classifier:
        """Gather the result of a finished training."""
        quantiles = self.signal_quantiles()
        history = TrainingHistory(
            loss_name=self.loss_settings.label,
            phase=tuple(self.history_phase),
            training_loss=np.stack(self.training_losses),
            validation_loss=np.stack(self.validation_losses),
            best_epoch=self.final_epoch.cpu().numpy(),
            member_fold=np.array([member.fold for member in self.members]),
            member_seed=np.array(self.member_seeds),
            collapsed=self.collapsed(),
        )
        return Classifier(
            network=self.network.to("cpu").eval(),
            preprocessing=self.preprocessing,
            quantiles=quantiles,
            history=history,
            configuration=self.configuration(),
            input_hash=self.sample_hash,
            hidden=self.settings.hidden,
            activation=self.settings.activation,
        )

    def configuration(self) -> dict[str, object]:
        """Everything but the events that decides the result; the device is where it ran, not what was asked for."""
        content: dict[str, object] = json.loads(self.settings.model_dump_json())
        content["loss"] = json.loads(self.loss_settings.model_dump_json())
        content["device"] = self.device.type
        del content["baseline"]
        return content

    def store(self, path: Path) -> None:
        """Write the complete state after an epoch, atomically."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        tensors |= {"best_loss": self.best_loss, "best_epoch": self.best_epoch}
        tensors["training_losses"] = torch.from_numpy(np.stack(self.training_losses))
        tensors["validation_losses"] = torch.from_numpy(np.stack(self.validation_losses))
        write_tensors(
            path,
            tensors,
            self._identity()
            | {
                "phase": self.phase,
                "epoch": self.epoch,
                "stale_epochs": self.stale_epochs,
                "history_phase": self.history_phase,
            },
        )

    def restore(self, path: Path) -> None:
        """Take up the state that `store` wrote.

        Raises:
            ModelFileError: if the file is damaged, or was written for other events, settings or another version.
        """
        tensors, description = read_tensors(path)
        expected = self._identity()
        differing = [key for key, value in expected.items() if description.get(key) != value]
        if differing:
            message = (
                f"The checkpoint {path} was written with another {' and '.join(differing)}. Go on with the settings "
                "it was made for, or move it away to start anew."
            )
            raise ModelFileError(message)
        self.network.load_state_dict(_part(tensors, "network."))
        self.begin_phase(int(str(description["phase"])))
        if self.phase < len(self.phases):
            self._restore_optimizer(_part(tensors, "optimizer."))
        self.epoch, self.stale_epochs = int(str(description["epoch"])), int(str(description["stale_epochs"]))
        self.best = {name: value.to(self.device) for name, value in _part(tensors, "best.").items()}
        self.best_loss, self.best_epoch = tensors["best_loss"].to(self.device), tensors["best_epoch"].to(self.device)
        self.final_epoch = self.best_epoch
        self.training_losses = list(tensors["training_losses"].numpy())
        self.validation_losses = list(tensors["validation_losses"].numpy())
        phases = description["history_phase"]
        self.history_phase = [str(label) for label in phases] if isinstance(phases, list) else []

    def _restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})

    def _identity(self) -> dict[str, object]:
        return {"configuration": self.configuration(), "events": self.sample_hash, "version": __version__}


def _require_both_classes(members: Sequence[Member], is_signal: npt.NDArray[np.bool_]) -> None:
    for member in members:
        stopping = is_signal[member.validation]
        if stopping.all() or not stopping.any():
            absent = "background" if stopping.any() else "signal"
            message = (
                f"The fold that stops the networks of fold {member.fold} holds no {absent} event; use fewer folds "
                "(`ntuples: {folds: N}`, at least 3) or more events."
            )
            raise TrainingError(message)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
