"""Training of all networks, for folds and seeds, as one batched computation."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep.errors import TrainingError
from zsig_hep.learning.classifier.calibration import signal_quantiles
from zsig_hep.learning.classifier.classifier import Classifier
from zsig_hep.learning.classifier.history import EveRecord, TrainingHistory
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.classifier.preprocessing import Standardisation, fit_preprocessing
from zsig_hep.learning.losses.base import LossContext
from zsig_hep.learning.losses.cross_entropy import FocalLoss
from zsig_hep.learning.losses.margins import rescale_to_process_yields
from zsig_hep.learning.losses.settings import LossSettings
from zsig_hep.learning.optimisation.eve import Eve
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage, measured_stage, noise_of_batches
from zsig_hep.learning.optimisation.optimizers import SGDSettings, step_with_loss
from zsig_hep.learning.optimisation.schedules import GraduatedSettings
from zsig_hep.learning.training.batches import StratifiedBatches, padded, scaled_to_totals
from zsig_hep.learning.training.checkpoints import restore, store
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.members import Member, make_members, require_both_classes
from zsig_hep.learning.training.phases import Phase, plan_phases
from zsig_hep.learning.training.rounds import BestRound
from zsig_hep.learning.training.sample import TrainingSample
from zsig_hep.learning.training.settings import TrainingSettings, choose_device
from zsig_hep.learning.training.stored_state import StateOfTraining, optimizer_tensors

Progress = Callable[[str, int, int, float], None]

# Pairs of batches in an estimate of the gradient variance C^2.
_NOISE_PAIRS = 8

# Validation events of each member whose activations are in memory together.
_VALIDATED = 4096

_TINY = torch.finfo(torch.float32).tiny


class EnsembleTraining:
    """One training with its state, which advances by epochs.

    All tensors are on the device, for which the host waits once per epoch, not in every step.  Random numbers depend on
    the seeds and the number of the epoch only, so that the stored state is complete.

    Args:
        sample: events with non-negative weights.
        settings: of the training.
        loss: of the main phase.
        members: the networks; by default one for each fold and seed of the settings.
        goal: the objective of the selection; losses that are trained in rounds need it.

    Raises:
        TrainingError: for settings or events that cannot be used.
    """

    def __init__(
        self,
        sample: TrainingSample,
        settings: TrainingSettings,
        loss: LossSettings,
        members: Sequence[Member] | None = None,
        goal: Goal | None = None,
    ) -> None:
        goal = goal and goal.among(sample.processes)
        self.sample, self.settings, self.loss_settings, self.goal = sample, settings, loss, goal
        self.device = choose_device(settings.device)
        self.sample_hash = sample.hash()
        seeds = [settings.seed + repetition for repetition in range(settings.seeds)]
        self.members = tuple(members or make_members(sample.fold, sample.fold_count, seeds))
        self.member_seeds = [member.seed for member in self.members]
        require_both_classes(self.members, sample.is_signal)
        training_events = [member.training for member in self.members]
        self.preprocessing = fit_preprocessing(
            sample.features,
            sample.weights,
            sample.is_signal,
            training_events,
            sample.feature_names,
            settings.missing,
            is_bounded=not settings.is_linear,
        )
        self.phases = plan_phases(settings, loss, goal)
        self.largest_batch = int(np.mean([len(events) for events in training_events]))
        self.plans = [
            phase.settings.schedule.plan(
                phase.settings.epochs, phase.settings.learning_rate, phase.settings.batch_size, self.largest_batch
            )
            for phase in self.phases
        ]
        self.context = LossContext(sample.processes, tuple(sample.yields.tolist()), goal.objective if goal else None)
        # Losses that cannot be built for this analysis are an error before the first phase.
        for phase in self.phases:
            for progress in (0.0, 1.0):
                phase.loss.at(progress).build(self.context)
        self._batches: dict[int, StratifiedBatches] = {}
        self._to_device()
        self.standardise = Standardisation(self.preprocessing).to(self.device)
        self.network = StackedMLP(
            len(sample.feature_names),
            settings.hidden,
            member_seeds=self.member_seeds,
            activation=settings.activation,
            embedding=settings.periodic,
            indicators=len(self.preprocessing.indicated),
        ).to(self.device)
        self.history_phase: list[str] = []
        self.training_losses: list[npt.NDArray[np.float64]] = []
        self.validation_losses: list[npt.NDArray[np.float64]] = []
        self.graduated: list[GraduatedStage] = []
        self.eve: list[EveRecord] = []
        self.rounds = BestRound(self.members, sample)
        self.final_epoch = torch.full((len(self.members),), -1, device=self.device)
        self.begin_phase(0)

    def _to_device(self) -> None:
        sample = self.sample
        self.features = torch.from_numpy(sample.features).to(self.device)
        self.weights = torch.from_numpy(sample.weights.astype(np.float32)).to(self.device)
        self.is_signal = torch.from_numpy(sample.is_signal).to(self.device)
        self.process = torch.from_numpy(sample.process).to(self.device)
        self.yields = torch.from_numpy(sample.yields.astype(np.float32)).to(self.device)
        indices, present = padded([member.validation for member in self.members])
        self.validation_events, self.validation_present = indices.to(self.device), present.to(self.device)

    @property
    def current(self) -> Phase:
        """The phase of the next epoch."""
        return self.phases[self.phase]

    def begin_phase(self, phase: int, *, is_resumed: bool = False) -> None:
        """Start a phase with a new optimiser; its initial parameters can be kept as the best ones."""
        self.phase, self.epoch = phase, 0
        if phase == len(self.phases):
            return
        if self.current.round is not None and self.goal is not None and not is_resumed:
            self.rounds.begin(self.current, self.goal, self.validation_outputs(), self.network, len(self.history_phase))
        factors = torch.from_numpy(self.rounds.member_factors(self.current).astype(np.float32)).to(self.device)
        # Batches of set losses, and the events of a cross entropy, are rescaled to these yields, and so have the factors.
        self.effective_yields = self.yields * factors
        self._build_loss()
        self._balance()
        settings = self.current.settings
        self.optimizer = settings.optimizer.build(
            self.network.parameter_groups(), settings.learning_rate, self.settings.weight_decay
        )
        self.best = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.best_loss = self.validation_loss()
        self.best_epoch = torch.full((len(self.members),), -1, device=self.device)
        self.stale_epochs = 0

    def _build_loss(self) -> None:
        """Build the loss of the current epoch; paths end in the last epoch."""
        last = max(1, self.current.settings.epochs - 1)
        self.loss: nn.Module = self.current.loss.at(min(1.0, self.epoch / last)).build(self.context)

    def _balance(self) -> None:
        """Balance the weights of a cross entropy over all training events of each member.

        Sets `totals`, the factor on the weights of each process times its number of events, shape (M, P); None for losses
        of sets, which need the full yields in each batch.  In small batches rescaled processes would only add noise.
        """
        self.totals: Tensor | None = None
        if not isinstance(self.loss, FocalLoss):
            return
        rows = []
        for member, yields in zip(self.members, self.effective_yields, strict=True):
            events = torch.from_numpy(member.training).to(self.device)
            process, weights = self.process[events], self.weights[events]
            scaled = rescale_to_process_yields(weights, process, yields)
            shares = self.loss.shares(scaled, self.is_signal[events], process)
            relative = self.loss.relative_weights(weights)
            of_process = [process == index for index in range(len(self.yields))]
            rows.append(
                torch.stack([shares[m].sum() / relative[m].sum().clamp(min=_TINY) * m.sum() for m in of_process])
            )
        self.totals = torch.stack(rows)

    def start_from(self, parameters: Mapping[str, Tensor]) -> None:
        """Start with the parameters of networks of the same shape, such as a common warm start of several trainings."""
        self.network.load_state_dict(parameters)
        self.rounds = BestRound(self.members, self.sample)
        self.begin_phase(0)

    def run(self, checkpoint: Path | None = None, progress: Progress | None = None) -> Classifier:
        """Train to the end, from the checkpoint if it exists."""
        if checkpoint is not None and checkpoint.exists():
            restore(self, checkpoint)
        while self.phase < len(self.phases):
            label, epochs, number = self.current.label, self.current.settings.epochs, self.epoch + 1
            self.train_epoch()
            if checkpoint is not None:
                store(self, checkpoint)
            if progress is not None:
                progress(label, number, epochs, float(self.validation_losses[-1].mean()))
        return self.classifier()

    def outputs(self, events: Tensor) -> Tensor:
        """Logits of each member for its own events, indices of shape (M, n)."""
        logits: Tensor = self.network(self.standardise(self.features[events]))
        return logits

    def batch_losses(self, scores: Tensor, events: Tensor) -> Tensor:
        """Loss of each member on a batch, an estimate of that on its training events."""
        if self.totals is None or not isinstance(self.loss, FocalLoss):
            return self.losses(scores, events)
        weights = scaled_to_totals(self.loss.relative_weights(self.weights[events]), self.process[events], self.totals)
        return (self.loss.event_losses(scores, self.is_signal[events]) * weights).sum(-1)

    def losses(self, scores: Tensor, events: Tensor, present: Tensor | None = None) -> Tensor:
        """Loss of each member on its own events, with processes rescaled to yield times effective weight."""
        weights, process = self.weights[events], self.process[events]
        if present is not None:
            weights = weights * present
        weights = rescale_to_process_yields(weights, process, self.effective_yields)
        values: Tensor = self.loss(scores, self.is_signal[events], weights, process)
        return values

    def _validation_logits(self) -> Tensor:
        """Logits of each member for its validation events and the padding, computed in blocks to save memory."""
        with torch.no_grad():
            blocks = torch.split(self.validation_events, _VALIDATED, dim=1)
            return torch.cat([self.outputs(block) for block in blocks], dim=1)

    def validation_loss(self) -> Tensor:
        """Loss of each member on its validation fold, shape (M,)."""
        with torch.no_grad():
            return self.losses(self._validation_logits(), self.validation_events, self.validation_present)

    def validation_outputs(self) -> list[npt.NDArray[np.float32]]:
        """Logits of each member for its validation events."""
        outputs = self._validation_logits().cpu().numpy()
        return [row[: len(member.validation)] for row, member in zip(outputs, self.members, strict=True)]

    def batches(self, batch_size: int) -> StratifiedBatches:
        """Batches of a size."""
        if batch_size not in self._batches:
            self._batches[batch_size] = StratifiedBatches.from_members(
                self.members, self.sample.process, len(self.sample.yields), batch_size
            )
        return self._batches[batch_size]

    def draw_epoch(self, number: int) -> Tensor:
        """Batches of an epoch of the current phase, indices of shape (steps, M, batch)."""
        batches = self.batches(self.plans[self.phase][self.epoch].batch_size)
        return batches.epoch(self.member_seeds, number, self.device)

    def gradients(self, events: Tensor) -> Tensor:
        """Losses of a batch, shape (M,); sets the gradients of the parameters to those of their sum."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.batch_losses(self.outputs(events), events)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        return losses.detach()

    def train_epoch(self) -> None:
        """Train one epoch of the current phase; start the next phase if it was the last epoch."""
        plan = self.plans[self.phase][self.epoch]
        self._build_loss()
        # Each phase has its own numbers of epochs, so that the order of events differs between phases.
        batches = self.draw_epoch(10_000 * self.phase + self.epoch)
        values = []
        for step, events in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = plan.learning_rate_at(step / len(batches))
            values.append(self.gradients(events))
            try:
                step_with_loss(self.optimizer, values[-1])
            except TrainingError:
                # Replace the error of Eve about a loss that is not finite, which does not state the step.
                self._require_finite(torch.stack(values))
                raise
        self._close_epoch(torch.stack(values))

    def _close_epoch(self, step_losses: Tensor) -> None:
        validation = self.validation_loss()
        self._require_finite(step_losses)
        # A divergence in the last step is visible in the validation loss only.
        self._require_finite(validation.unsqueeze(0), first_step=len(step_losses))
        self.history_phase.append(self.current.label)
        self.training_losses.append(step_losses.mean(0).cpu().double().numpy())
        self.validation_losses.append(validation.cpu().double().numpy())
        # Values of a loss that changes cannot be compared between epochs; the last epoch is kept.
        improved = validation < self.best_loss if not self.current.changes else torch.ones_like(validation).bool()
        for name, value in self.network.state_dict().items():
            self.best[name] = torch.where(improved.view(-1, 1, 1), value, self.best[name])
        self.best_loss = torch.where(improved, validation, self.best_loss)
        self.best_epoch = torch.where(improved, self.epoch, self.best_epoch)
        self.stale_epochs = 0 if bool(improved.any()) else self.stale_epochs + 1
        if isinstance(self.optimizer, Eve):
            self.eve.append(EveRecord.of(self.optimizer))
        self.graduated += self._stage_just_ended()
        self.epoch += 1
        # A graduated schedule is not stopped early, since its later stages can improve the loss again.
        stops_early = not isinstance(self.current.settings.schedule, GraduatedSettings)
        if self.epoch == self.current.settings.epochs or (stops_early and self.stale_epochs >= self.settings.patience):
            self._end_phase()

    def _stage_just_ended(self) -> list[GraduatedStage]:
        """The stage of a graduated schedule that ends with this epoch, as measured; empty if none ends."""
        plan, settings = self.plans[self.phase], self.current.settings
        stage = plan[self.epoch].stage
        is_last = self.epoch + 1 == len(plan) or plan[self.epoch + 1].stage != stage
        if not isinstance(settings.schedule, GraduatedSettings) or not is_last:
            return []
        variance, norm = self._gradient_noise()
        momentum = settings.optimizer.momentum if isinstance(settings.optimizer, SGDSettings) else 0.0
        losses = self.training_losses[-1]
        measured = measured_stage(plan, stage, variance, losses, momentum=momentum, gradient_norm=norm)
        # In the history epochs are counted over the whole training.
        before = len(self.history_phase) - self.epoch - 1
        return [replace(measured, first_epoch=measured.first_epoch + before)]

    def _gradient_noise(self) -> tuple[list[float], list[float]]:
        # Numbers between those of this phase and of the next, so that these are not batches of the training.
        batches = self.draw_epoch(10_000 * self.phase + 5_000 + self.epoch)
        if len(batches) == 1:
            # Two batches of the whole sample would have the same events; halves do not, and have all processes.
            half = batches.shape[-1] // 2
            batches = torch.stack([batches[0, :, 0 : 2 * half : 2], batches[0, :, 1 : 2 * half : 2]])
        gradients = []
        for events in batches[: 2 * min(_NOISE_PAIRS, len(batches) // 2)]:
            self.gradients(events)
            gradients.append([each.grad.clone() for each in self.network.parameters() if each.grad is not None])
        return noise_of_batches(gradients, batches.shape[-1])

    def _end_phase(self) -> None:
        self.network.load_state_dict(self.best)
        self.final_epoch = self.best_epoch
        if self.current.round is not None and self.goal is not None:
            first = len(self.history_phase) - self.epoch
            self.rounds.end(self.current, self.goal, self.validation_outputs(), self.network, self.best_epoch, first)
            if self.current.is_last_round:
                self.final_epoch = self.rounds.take_up(self.network)
        self.begin_phase(self.phase + 1)

    def _require_finite(self, step_losses: Tensor, first_step: int = 1) -> None:
        finite = torch.isfinite(step_losses).all(-1)
        if not bool(finite.all()):
            step = int((~finite).nonzero()[0]) + first_step
            message = (
                f"The loss became NaN or infinite in step {step} of epoch {self.epoch + 1} of the "
                f"phase {self.current.label!r}. Lower its learning rate; the checkpoint of the epoch before is kept."
            )
            raise TrainingError(message)

    def collapsed(self) -> npt.NDArray[np.bool_]:
        """Whether a member gives all events nearly the same score, the trivial minimum of set losses, shape (M,)."""
        spreads = [(outputs.std(), np.abs(outputs.mean())) for outputs in self.validation_outputs()]
        return np.array([spread < 0.05 * (1 + mean) for spread, mean in spreads], dtype=np.bool_)

    def signal_quantiles(self) -> npt.NDArray[np.float32]:
        """Quantiles of each member's output for the signal of its validation fold, shape (M, 201)."""
        rows = []
        for outputs, member in zip(self.validation_outputs(), self.members, strict=True):
            mine = self.sample.is_signal[member.validation]
            rows.append(signal_quantiles(outputs[mine], self.sample.weights[member.validation][mine]))
        return np.stack(rows)

    def classifier(self) -> Classifier:
        """The result of a finished training."""
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
            rounds=tuple(self.rounds.records),
            kept_round=tuple(self.rounds.kept_round.tolist()),
            process_names=self.sample.processes.names,
            graduated=tuple(self.graduated),
            eve=tuple(self.eve),
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
            embedding=self.settings.periodic,
        )

    @property
    def identity(self) -> dict[str, object]:
        """Settings, goal and events for which a stored state is valid."""
        return {"configuration": self.configuration(), "goal": repr(self.goal), "events": self.sample_hash}

    def state_dict(self) -> dict[str, Any]:
        """The state after an epoch by name: tensors, and values of types that JSON has."""
        state: dict[str, Any] = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state |= {f"best.{name}": value for name, value in self.best.items()}
        state |= optimizer_tensors(self.optimizer)
        state |= {f"rounds.{name}": value for name, value in self.rounds.state_dict().items()}
        return state | {
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            # At the end of the training it is the same tensor as best_epoch, which safetensors does not allow.
            "final_epoch": self.final_epoch.clone(),
            "training_losses": torch.from_numpy(np.stack(self.training_losses)),
            "validation_losses": torch.from_numpy(np.stack(self.validation_losses)),
            "phase": self.phase,
            "epoch": self.epoch,
            "stale_epochs": self.stale_epochs,
            "history_phase": list(self.history_phase),
            "graduated": [asdict(stage) for stage in self.graduated],
            "eve": [asdict(record) for record in self.eve],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the state to a result of `state_dict` for the same settings and events.

        Raises:
            ValueError: this training cannot have had the state; it is then unchanged.
        """
        folds, processes = self.rounds.factors.shape
        StateOfTraining(self.network, self.phases, folds, processes, self.settings.weight_decay).require(state)
        self.network.load_state_dict(_part(state, "network."))
        self.rounds.load_state_dict(_part(state, "rounds.", self.device))
        self.begin_phase(state["phase"], is_resumed=True)
        if self.phase < len(self.phases):
            held: dict[int, dict[str, Tensor]] = {}
            for name, value in _part(state, "optimizer.").items():
                index, key = name.split(".")
                held.setdefault(int(index), {})[key] = value
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": held})
        self.epoch, self.stale_epochs = state["epoch"], state["stale_epochs"]
        self.best = _part(state, "best.", self.device)
        for name in ("best_loss", "best_epoch", "final_epoch"):
            setattr(self, name, state[name].to(self.device))
        self.training_losses = list(state["training_losses"].numpy())
        self.validation_losses = list(state["validation_losses"].numpy())
        self.history_phase = list(state["history_phase"])
        self.graduated = [GraduatedStage(**stage) for stage in state["graduated"]]
        self.eve = [EveRecord(**record) for record in state["eve"]]

    def configuration(self) -> dict[str, object]:
        """All settings that the result depends on, with the device that is used."""
        content = self.settings.configuration_of("network")
        content["loss"] = json.loads(self.loss_settings.model_dump_json())
        content["device"] = self.device.type
        return content


def _part(state: Mapping[str, Any], prefix: str, device: torch.device | None = None) -> dict[str, Any]:
    part = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {name: value.to(device) if device and isinstance(value, Tensor) else value for name, value in part.items()}
