"""Training of boosted trees for all folds and seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt, model_validator

from zsig_hep.learning.classifier.boosted_trees import BoostedTrees, forests_of, tensors_of
from zsig_hep.learning.classifier.calibration import signal_quantiles
from zsig_hep.learning.classifier.forest import Forest
from zsig_hep.learning.classifier.history import Count, RoundRecord, StoredContent, TrainingHistory
from zsig_hep.learning.classifier.preprocessing import require_known_missing, require_rules_of_features
from zsig_hep.learning.losses.base import LossContext
from zsig_hep.learning.losses.settings import LossSettings
from zsig_hep.learning.tensor_files import require_finite, require_outline
from zsig_hep.learning.training.checkpoints import restore, store
from zsig_hep.learning.training.ensemble import Progress
from zsig_hep.learning.training.goal import Goal, Judgement
from zsig_hep.learning.training.members import Member, make_members, require_both_classes
from zsig_hep.learning.training.rounds import comparable_figure, effective_weights, judge_folds
from zsig_hep.learning.training.sample import TrainingSample
from zsig_hep.learning.training.settings import TrainingSettings
from zsig_hep.learning.training.tree_growth import Growth, grow, tree_device
from zsig_hep.learning.training.tree_stages import TreeStage, plan_tree_stages

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class BoostedTreesTraining:
    """One training of boosted trees, which advances by forests: each stage for each member.

    The state is what has been grown; all else follows from it, so that an interrupted training goes on to the same trees.

    Args:
        sample: events with non-negative weights.
        settings: of the training.
        loss: of the last stage.
        members: one forest each; by default one for each fold and seed of the settings.
        goal: the objective of the selection.  If it has a judge, the forests with the loss are kept for the folds in
            which they have a larger figure of merit than those of the cross entropy from which they started.

    Raises:
        InputError: the extra `trees` is not installed.
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
        self.device = tree_device(settings.device)
        self.sample_hash = sample.hash()
        seeds = [settings.seed + repetition for repetition in range(settings.seeds)]
        self.members = tuple(members or make_members(sample.fold, sample.fold_count, seeds))
        require_both_classes(self.members, sample.is_signal)
        require_rules_of_features(settings.missing, sample.feature_names)
        absent: npt.NDArray[np.bool_] = np.any(np.isnan(sample.features), axis=0)
        require_known_missing(sample.features, sample.feature_names, absent)
        self.missing = tuple(name for name, flag in zip(sample.feature_names, absent, strict=True) if flag)
        self.stages = plan_tree_stages(settings.trees, loss, goal)
        self.context = LossContext(sample.processes, tuple(sample.yields.tolist()), goal.objective if goal else None)
        # Losses that cannot be built for this analysis are an error before the first stage.
        for stage in self.stages:
            for progress in (0.0, 1.0):
                stage.loss.at(progress).build(self.context)
        self.grown: list[list[Growth]] = [[] for _ in self.stages]

    def run(self, checkpoint: Path | None = None, progress: Progress | None = None) -> BoostedTrees:
        """Train to the end, from the checkpoint if it exists.

        Args:
            checkpoint: file that is written after every forest.
            progress: called with the label of the stage, the number of its forests that are grown, the number of all
                of them and the mean validation loss of the best rounds.
        """
        if checkpoint is not None and checkpoint.exists():
            restore(self, checkpoint)
        choice = _Choice(self)
        for number, stage in enumerate(self.stages):
            grown = self.grown[number]
            while len(grown) < len(self.members):
                grown.append(self._grow(number, choice))
                if checkpoint is not None:
                    store(self, checkpoint)
                if progress is not None:
                    loss = np.mean([each.validation_loss[max(0, each.best_round)] for each in grown])
                    progress(stage.label, len(grown), len(self.members), float(loss))
            choice.end(number)
        return self._classifier(choice)

    def _grow(self, number: int, choice: "_Choice") -> Growth:
        stage, index = self.stages[number], len(self.grown[number])
        start = None if stage.starts_anew else self.grown[number - 1][index].forest
        return grow(
            self.sample,
            self.members[index],
            stage,
            self.settings.trees,
            yields=self.sample.yields * choice.member_factors(stage)[index],
            context=self.context,
            start=start,
            device=self.device,
        )

    def outputs(self, forests: Sequence[Forest]) -> list[npt.NDArray[np.float32]]:
        """Logits of each member for its validation events."""
        threads = torch.get_num_threads()
        rows = zip(forests, self.members, strict=True)
        return [
            forest.outputs(self.sample.features[member.validation], threads).astype(np.float32)
            for forest, member in rows
        ]

    def _classifier(self, choice: "_Choice") -> BoostedTrees:
        outputs = self.outputs(choice.forests)
        return BoostedTrees(
            forests=tuple(choice.forests),
            names=self.sample.feature_names,
            missing=self.missing,
            quantiles=self._signal_quantiles(outputs),
            history=self._history(choice, outputs),
            configuration=self.configuration(),
            input_hash=self.sample_hash,
        )

    def _signal_quantiles(self, outputs: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        rows = []
        for values, member in zip(outputs, self.members, strict=True):
            mine = self.sample.is_signal[member.validation]
            rows.append(signal_quantiles(values[mine], self.sample.weights[member.validation][mine]))
        return np.stack(rows)

    def _history(self, choice: "_Choice", outputs: Sequence[npt.NDArray[np.float32]]) -> TrainingHistory:
        """Losses by round; after the last round of a member its last losses are repeated."""
        training, validation, labels = [], [], []
        for stage, grown in zip(self.stages, self.grown, strict=True):
            rounds = _longest(grown)
            labels += [stage.label] * rounds
            training.append(np.stack([_extended(each.training_loss, rounds) for each in grown], axis=1))
            validation.append(np.stack([_extended(each.validation_loss, rounds) for each in grown], axis=1))
        return TrainingHistory(
            loss_name=self.loss_settings.label,
            phase=tuple(labels),
            training_loss=np.concatenate(training),
            validation_loss=np.concatenate(validation),
            best_epoch=choice.rounds,
            member_fold=np.array([member.fold for member in self.members]),
            member_seed=np.array([member.seed for member in self.members]),
            collapsed=np.array([each.std() < 0.05 * (1 + np.abs(each.mean())) for each in outputs], dtype=np.bool_),
            rounds=tuple(choice.records),
            kept_round=tuple(choice.kept_round.tolist()) if choice.records else (),
            process_names=self.sample.processes.names,
            step="round",
        )

    def configuration(self) -> dict[str, object]:
        """All settings that the result depends on, with the device that is used."""
        content = self.settings.configuration_of("boosted_trees")
        content["loss"] = json.loads(self.loss_settings.model_dump_json())
        return content | {"classifier": "boosted_trees", "device": self.device}

    @property
    def identity(self) -> dict[str, object]:
        """Settings, goal and events for which a stored state is valid."""
        return {"configuration": self.configuration(), "goal": repr(self.goal), "events": self.sample_hash}

    def state_dict(self) -> dict[str, Any]:
        """What has been grown: arrays of the trees and losses, and numbers of both by forest."""
        grown = [each for of_stage in self.grown for each in of_stage]
        losses = [np.stack([each.training_loss, each.validation_loss]) for each in grown]
        return tensors_of(tuple(each.forest for each in grown)) | {
            "losses": torch.from_numpy(np.concatenate(losses, axis=1)),
            "trees": [len(each.forest) for each in grown],
            "nodes": sum(len(each.forest.left) for each in grown),
            "rounds": [len(each.training_loss) for each in grown],
            "best_rounds": [each.best_round for each in grown],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the state to a result of `state_dict` for the same settings and events.

        Raises:
            ValueError: this training cannot have had the state; it is then unchanged.
        """
        tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
        numbers = {name: value for name, value in state.items() if name not in tensors}
        stored = _Progress.model_validate_json(json.dumps(numbers))
        losses = tensors.pop("losses", torch.empty(0))
        require_outline({"losses": losses}, {"losses": (torch.float64, (2, sum(stored.rounds)))})
        require_finite({"losses": losses})
        forests = forests_of(tensors, stored.trees, stored.nodes, len(self.sample.feature_names))
        ends = np.cumsum(stored.rounds)
        rows = zip(forests, ends, stored.rounds, stored.best_rounds, strict=True)
        both = losses.numpy()
        grown = [
            Growth(forest, both[0, end - count : end], both[1, end - count : end], best)
            for forest, end, count, best in rows
        ]
        count = len(self.members)
        self._require_growths(grown)
        self.grown = [grown[first : first + count] for first in range(0, count * len(self.stages), count)]

    def _require_growths(self, grown: Sequence[Growth]) -> None:
        members = len(self.members)
        if len(grown) > members * len(self.stages):
            message = f"{len(grown)} forests, but the training has {members} in each of {len(self.stages)} stages"
            raise ValueError(message)
        for number, each in enumerate(grown):
            stage = self.stages[number // members]
            before = 0 if stage.starts_anew else len(grown[number - members].forest)
            expected, rounds = before + each.best_round + 1, len(each.training_loss)
            if rounds > stage.rounds or len(each.forest) != expected:
                message = (
                    f"forest {number} has {len(each.forest)} trees after {rounds} rounds, expected {expected} after at "
                    f"most {stage.rounds}"
                )
                raise ValueError(message)


class _Progress(StoredContent):
    """The values of a state that are not tensors."""

    trees: Annotated[list[PositiveInt], Field(min_length=1)]
    nodes: Count
    rounds: list[Annotated[int, Field(gt=0, lt=2**31)]]
    best_rounds: list[Annotated[int, Field(ge=-1, lt=2**31)]]

    @model_validator(mode="after")
    def _is_of_these_forests(self) -> Self:
        if not len(self.trees) == len(self.rounds) == len(self.best_rounds):
            message = "the lengths of trees, rounds and best_rounds disagree"
            raise ValueError(message)
        if any(best >= rounds for best, rounds in zip(self.best_rounds, self.rounds, strict=True)):
            message = "a best round is not one of the rounds, which are counted from 0"
            raise ValueError(message)
        return self


class _Choice:
    """The forests that are kept, and the effective weights of the next stage, as the stages end one after the other."""

    def __init__(self, training: BoostedTreesTraining) -> None:
        self.training = training
        folds = sorted({member.fold for member in training.members})
        self.fold_of_member = np.array([folds.index(member.fold) for member in training.members])
        self.factors: Floats = np.ones((len(folds), len(training.sample.yields)))
        self.records: list[RoundRecord] = []
        self.kept_figure = np.full(len(folds), -np.inf)
        self.kept_round: Indices = np.zeros(len(folds), dtype=np.int64)
        self.forests: list[Forest] = []
        # Of the forests that are kept, and of the last ones, counted in the last phase; -1 is its start.
        self.rounds: Indices = np.full(len(training.members), -1)
        self._last_rounds = self.rounds
        self._rounds_before = 0

    def member_factors(self, stage: TreeStage) -> Floats:
        """Effective weights of the processes in a stage, shape (M, P)."""
        factors = self.factors if stage.reweights else np.ones_like(self.factors)
        of_members: Floats = factors[self.fold_of_member]
        return of_members

    def end(self, number: int) -> None:
        """Judge the forests of a stage, if it is one of those that are judged, and keep the best."""
        training, stage = self.training, self.training.stages[number]
        grown = training.grown[number]
        forests = [each.forest for each in grown]
        if stage.label == training.stages[-1].label:
            found = np.array([each.best_round for each in grown])
            self._last_rounds = np.where(found >= 0, self._rounds_before + found, self._last_rounds)
            self._rounds_before += _longest(grown)
        if stage.round is None or training.goal is None:
            self.forests, self.rounds = forests, self._last_rounds
            return
        judgements = self._judge(stage, forests, training.goal)
        figures = np.array([comparable_figure(judgement) for judgement in judgements])
        better = figures > self.kept_figure
        self.kept_figure = np.where(better, figures, self.kept_figure)
        self.kept_round = np.where(better, stage.round, self.kept_round)
        taken = better[self.fold_of_member]
        before = self.forests or forests
        self.forests = [new if take else old for new, old, take in zip(forests, before, taken, strict=True)]
        self.rounds = np.where(taken, self._last_rounds, self.rounds)
        following = training.stages[number + 1 : number + 2]
        if following and following[0].reweights:
            self._reweight(judgements, following[0].damping)

    def _judge(self, stage: TreeStage, forests: Sequence[Forest], goal: Goal) -> tuple[Judgement, ...]:
        training = self.training
        outputs = training.outputs(forests)
        judgements = judge_folds(outputs, training.members, training.sample, goal.required_judge)
        figures = np.array([judgement.figure for judgement in judgements])
        efficiencies = np.array([judgement.signal_efficiency for judgement in judgements])
        record = RoundRecord(stage.round or 0, stage.relative_eps, self.factors.copy(), figures, efficiencies)
        self.records.append(record)
        return judgements

    def _reweight(self, judgements: Sequence[Judgement], damping: float) -> None:
        yields, signal = self.training.sample.yields, self.training.sample.processes.is_signal
        rows = zip(judgements, self.factors, strict=True)
        self.factors = np.stack([effective_weights(each, row, yields, signal, damping) for each, row in rows])


def _longest(grown: Sequence[Growth]) -> int:
    return max(len(each.training_loss) for each in grown)


def _extended(losses: Floats, length: int) -> Floats:
    return np.pad(losses, (0, length - len(losses)), mode="edge")
