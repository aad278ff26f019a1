"""Networks of ratios, one for each fold and seed, and their training by the recipe of the classifier."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep.errors import InputError, TrainingError
from zsig_hep.learning.classifier.embedding import PeriodicSettings
from zsig_hep.learning.classifier.network import Activation, StackedMLP
from zsig_hep.learning.classifier.preprocessing import Preprocessing, Standardisation, fit_preprocessing
from zsig_hep.learning.ratios.targets import Floats, RatioTarget, Stopping
from zsig_hep.learning.ratios.transforms import RatioTransform
from zsig_hep.learning.training.batches import StratifiedBatches, padded, scaled_to_totals
from zsig_hep.learning.training.members import Member, make_members
from zsig_hep.learning.training.sample import TrainingSample
from zsig_hep.learning.training.settings import TrainingSettings, choose_device
from zsig_hep.representation import ShortRepr

# Events whose activations are in memory together, of all members.
_AT_ONCE = 4096


@dataclass(frozen=True, eq=False, repr=False)
class RatioSample(ShortRepr):
    """Background events, and those that are shifted by variations, in one array.

    Attributes:
        nominal: all nominal events, signal too, to which the preprocessing is fitted.
        features: of the events of the training, shape [N, F].
        weights: not negative, shape [N].
        process: index of each event's process, shape [N].
        shift: 0 for nominal events, k + 1 for those under variation k, shape [N].
        fold: shape [N]; an event and its shifted self share a fold.
    """

    nominal: TrainingSample
    features: npt.NDArray[np.float32]
    weights: Floats
    process: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]

    @classmethod
    def of_backgrounds(cls, nominal: TrainingSample) -> "RatioSample":
        """The nominal background events."""
        chosen = ~nominal.is_signal
        return cls(
            nominal,
            nominal.features[chosen],
            nominal.weights[chosen],
            nominal.process[chosen],
            np.zeros(int(chosen.sum()), dtype=np.int64),
            nominal.fold[chosen],
        )

    def with_shifted(
        self, shift: int, features: npt.NDArray[np.float32], weights: Floats, process: npt.NDArray[np.int64],
        fold: npt.NDArray[np.int64],
    ) -> "RatioSample":  # fmt: skip
        """These events and those under a variation, of backgrounds only."""
        chosen = ~self.nominal.processes.is_signal[process]
        return RatioSample(
            self.nominal,
            np.concatenate([self.features, features[chosen]]),
            np.concatenate([self.weights, weights[chosen]]),
            np.concatenate([self.process, process[chosen]]),
            np.concatenate([self.shift, np.full(int(chosen.sum()), shift)]),
            np.concatenate([self.fold, fold[chosen]]),
        )


@dataclass(frozen=True, eq=False, repr=False)
class RatioEnsemble(ShortRepr):
    """Trained networks of ratios.

    Attributes:
        network: stacked networks of M members, on the CPU.
        preprocessing: of all members.
        transform: what the outputs stand for.
        member_fold: fold that each member is tested on, shape [M].
        best_epoch: epoch that each member is kept at, shape [M].
        validation_loss: of each epoch and member, shape [E, M].
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        embedding: of the features; None for the features themselves.
    """

    network: StackedMLP
    preprocessing: Preprocessing
    transform: RatioTransform
    member_fold: npt.NDArray[np.int64]
    best_epoch: npt.NDArray[np.int64]
    validation_loss: Floats
    hidden: tuple[int, ...]
    activation: Activation
    embedding: PeriodicSettings | None

    def of_members(self, features: npt.NDArray[np.float32]) -> Floats:
        """Ratios of every member, shape [M, N, K].

        Raises:
            TrainingError: for infinite values, or missing values without a rule.
        """
        self.preprocessing.require_known_missing(features)
        layers = nn.Sequential(Standardisation(self.preprocessing), self.network)
        members, parts = len(self.member_fold), []
        with torch.inference_mode():
            for start in range(0, max(len(features), 1), _AT_ONCE):
                block = torch.from_numpy(np.ascontiguousarray(features[start : start + _AT_ONCE]))
                parts.append(layers(block.expand(members, -1, -1)).reshape(members, -1, self.transform.outputs))
        return self.transform(torch.cat(parts, dim=1).double().numpy())

    def out_of_fold(self, features: npt.NDArray[np.float32], fold: npt.NDArray[np.integer]) -> Floats:
        """Ratios of each event by the networks that were not trained on its fold, mean over seeds, shape [N, K].

        Args:
            features: shape [N, F].
            fold: fold of each event, shape [N].

        Raises:
            InputError: an event is of a fold without networks.
        """
        if len(unknown := np.setdiff1d(fold, self.member_fold)):
            message = (
                f"An event is of fold {unknown[0]}; the networks have folds {np.unique(self.member_fold).tolist()}."
            )
            raise InputError(message)
        found = np.empty((len(features), self.transform.outputs))
        for number in np.unique(fold):
            mine = fold == number
            found[mine] = self.of_members(features[mine])[self.member_fold == number].mean(axis=0)
        return found

    def of_new(self, features: npt.NDArray[np.float32]) -> Floats:
        """Ratios of events that no network was trained on, mean over all members, shape [N, K]."""
        return np.asarray(self.of_members(features).mean(axis=0))


def train_ensemble(sample: RatioSample, target: RatioTarget, settings: TrainingSettings) -> RatioEnsemble:
    """Train networks of ratios: the embedding, networks, folds, seeds and `warm_start` phase of the classifier.

    Args:
        sample: background events, nominal and shifted.
        target: what the outputs are trained for.
        settings: of the training of the classifier.

    Raises:
        TrainingError: the warm start has no epoch, a background is in no training fold, or the loss is not finite.
    """
    return _Training(sample, target, settings).run()


class _Training:
    def __init__(self, sample: RatioSample, target: RatioTarget, settings: TrainingSettings) -> None:
        self.sample, self.target, self.settings, nominal = sample, target, settings, sample.nominal
        self.phase = settings.warm_start
        if self.phase.epochs == 0:
            message = "Ratios are trained in the phase `warm_start`, which has no epoch."
            raise TrainingError(message)
        self.device = choose_device(settings.device)
        seeds = [settings.seed + repetition for repetition in range(settings.seeds)]
        self.members = make_members(sample.fold, nominal.fold_count, seeds)
        self.preprocessing = fit_preprocessing(
            nominal.features, nominal.weights, nominal.is_signal,
            [member.training for member in make_members(nominal.fold, nominal.fold_count, seeds)],
            nominal.feature_names, settings.missing, is_bounded=not settings.is_linear,
        )  # fmt: skip
        self.network = StackedMLP(
            len(nominal.feature_names),
            settings.hidden,
            member_seeds=[member.seed for member in self.members],
            activation=settings.activation,
            embedding=settings.periodic,
            indicators=len(self.preprocessing.indicated),
            outputs=target.outputs,
        ).to(self.device)
        self.standardise = Standardisation(self.preprocessing).to(self.device)
        self._strata()
        self._to_device()

    def _strata(self) -> None:
        """Strata of batches, the processes of each shift; and the factor that gives each process its whole yield."""
        processes = len(self.sample.nominal.processes)
        code = self.sample.shift * processes + self.sample.process
        codes, self.stratum = np.unique(code, return_inverse=True)
        sizes = [int(np.mean([len(member.training) for member in self.members]))]
        self.batches = StratifiedBatches.from_members(
            self.members, self.stratum, len(codes), min(self.phase.batch_size, sizes[0])
        )
        self.plan = self.phase.schedule.plan(
            self.phase.epochs, self.phase.learning_rate, self.phase.batch_size, sizes[0]
        )
        self.factors = np.stack([self._factors(member, codes % processes) for member in self.members])

    def _factors(self, member: Member, process_of_stratum: npt.NDArray[np.int64]) -> Floats:
        nominal = member.training[self.sample.shift[member.training] == 0]
        sums = np.bincount(
            self.sample.process[nominal], self.sample.weights[nominal], minlength=len(self.sample.nominal.yields)
        )
        background = self.sample.nominal.yields[~self.sample.nominal.processes.is_signal].sum()
        relative = self.sample.nominal.yields / np.where(sums > 0, sums, np.inf) / background
        return np.asarray(relative[process_of_stratum])

    def _to_device(self) -> None:
        self.features = torch.from_numpy(np.ascontiguousarray(self.sample.features)).to(self.device)
        self.weights = torch.from_numpy(self.sample.weights.astype(np.float32)).to(self.device)
        self.strata = torch.from_numpy(self.stratum).to(self.device)
        self.target.prepare([member.training for member in self.members])
        self.target.to(self.device)
        counts = np.stack(
            [np.bincount(self.stratum[member.training], minlength=self.factors.shape[1]) for member in self.members]
        )
        self.factor = torch.from_numpy(self.factors.astype(np.float32)).to(self.device)
        self.totals = torch.from_numpy((self.factors * counts).astype(np.float32)).to(self.device)
        indices, present = padded([member.validation for member in self.members])
        self.validation_events, self.validation_present = indices.to(self.device), present.to(self.device)

    def run(self) -> RatioEnsemble:
        optimizer = self.phase.optimizer.build(
            self.network.parameter_groups(), self.phase.learning_rate, self.settings.weight_decay
        )
        best = {name: value.clone() for name, value in self.network.state_dict().items()}
        best_loss = torch.full((len(self.members),), torch.inf, device=self.device)
        best_epoch = torch.full((len(self.members),), -1, device=self.device)
        history: list[npt.NDArray[np.float64]] = []
        stale = 0
        for epoch, plan in enumerate(self.plan):
            drawn = self.batches.epoch([member.seed for member in self.members], epoch, self.device)
            for step, events in enumerate(drawn):
                for group in optimizer.param_groups:
                    group["lr"] = plan.learning_rate_at(step / len(drawn))
                optimizer.zero_grad(set_to_none=True)
                weights = scaled_to_totals(self.weights[events], self.strata[events], self.totals)
                loss = (self.target.event_losses(self._outputs(events), events) * weights).sum()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            validation = self._validation_loss()
            self._require_finite(validation, epoch)
            history.append(validation.cpu().double().numpy())
            improved = validation < best_loss
            for name, value in self.network.state_dict().items():
                best[name] = torch.where(improved.view(-1, 1, 1), value, best[name])
            best_loss = torch.where(improved, validation, best_loss)
            best_epoch = torch.where(improved, epoch, best_epoch)
            stale = 0 if bool(improved.any()) else stale + 1
            if stale >= self.settings.patience:
                break
        self.network.load_state_dict(best)
        transform = self.target.transform(self._stopping())
        return RatioEnsemble(
            self.network.to("cpu").eval(), self.preprocessing, transform,
            np.array([member.fold for member in self.members]), best_epoch.cpu().numpy(), np.stack(history),
            self.settings.hidden, self.settings.activation, self.settings.periodic,
        )  # fmt: skip

    def _outputs(self, events: Tensor) -> Tensor:
        outputs: Tensor = self.network(self.standardise(self.features[events]))
        return outputs.reshape(*events.shape, self.target.outputs)

    def _stopping(self) -> list[Stopping]:
        with torch.no_grad():
            blocks = torch.split(self.validation_events, _AT_ONCE, dim=1)
            outputs = torch.cat([self._outputs(block) for block in blocks], dim=1).cpu().double().numpy()
        found = []
        for row, member, factors in zip(outputs, self.members, self.factors, strict=True):
            events = member.validation
            weights = self.sample.weights[events] * factors[self.stratum[events]]
            found.append((row[: len(events)], events, weights))
        return found

    def _validation_loss(self) -> Tensor:
        """Weighted mean over the validation events of each member, shape (M,)."""
        total = torch.zeros(len(self.members), device=self.device)
        norm = torch.zeros_like(total)
        with torch.no_grad():
            blocks = zip(
                torch.split(self.validation_events, _AT_ONCE, dim=1),
                torch.split(self.validation_present, _AT_ONCE, dim=1),
                strict=True,
            )
            for events, present in blocks:
                weights = self.weights[events] * present * self.factor.gather(1, self.strata[events])
                total += (self.target.event_losses(self._outputs(events), events) * weights).sum(-1)
                norm += weights.sum(-1)
        return total / norm

    def _require_finite(self, validation: Tensor, epoch: int) -> None:
        if not bool(torch.isfinite(validation).all()):
            message = (
                f"The validation loss of ratios is not finite after epoch {epoch + 1}. Lower the learning rate of "
                "`warm_start`, or check that the stopping fold has background events."
            )
            raise TrainingError(message)
