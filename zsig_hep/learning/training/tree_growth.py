"""The growth of one forest of boosted trees in a stage."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.classifier.forest import Forest, import_xgboost
from zsig_hep.learning.losses.base import LossContext
from zsig_hep.learning.losses.margins import rescale_to_process_yields
from zsig_hep.learning.training.members import IndexArray, Member
from zsig_hep.learning.training.sample import TrainingSample
from zsig_hep.learning.training.settings import TreeSettings, choose_device
from zsig_hep.learning.training.tree_objective import Objective
from zsig_hep.learning.training.tree_stages import TreeStage

Floats = npt.NDArray[np.float64]

# xgboost takes seeds of 32 bits.
_SEEDS = 2**31


@dataclass(frozen=True)
class Growth:
    """A forest at the end of a stage.

    Attributes:
        forest: up to its best round.
        training_loss: after each round that was tried, shape (R,).
        validation_loss: likewise.
        best_round: counted from 0 in the stage, -1 for its start.
    """

    forest: Forest
    training_loss: Floats
    validation_loss: Floats
    best_round: int


def tree_device(name: str) -> str:
    """Device of xgboost for the setting `device`: cuda if there is an NVIDIA GPU and xgboost can use it, else cpu.

    Raises:
        InputError: the extra `trees` is not installed.
        TrainingError: if a device that is asked for is not available.
    """
    has_cuda = bool(import_xgboost().build_info().get("USE_CUDA", False))
    if choose_device(name).type != "cuda":
        return "cpu"
    if name == "cuda" and not has_cuda:
        message = (
            "`device: cuda` needs an xgboost that was built with CUDA: pip install xgboost in place of xgboost-cpu, or set "
            "`device: auto`."
        )
        raise TrainingError(message)
    return "cuda" if has_cuda else "cpu"


def grow(
    sample: TrainingSample,
    member: Member,
    stage: TreeStage,
    settings: TreeSettings,
    *,
    yields: Floats,
    context: LossContext,
    start: Forest | None,
    device: str,
) -> Growth:
    """Add trees to a forest until the loss of the validation events has no better value, and keep the best number.

    Random numbers depend on the seed of the member and the number of the tree only.  A loss that changes over the stage
    has no best round: its last is kept.

    Args:
        sample: events.
        member: which of them train, and which stop.
        stage: loss and number of rounds.
        settings: of the trees.
        yields: of each process, times its effective weight, shape (P,).
        context: for the loss.
        start: forest that is continued; None for a new one.
        device: result of `tree_device`.

    Raises:
        TrainingError: the loss is not finite.
    """
    xgboost = import_xgboost()
    training, validation = (
        _objective(sample, events, stage, 0.0, yields, context) for events in (member.training, member.validation)
    )
    features = sample.features
    matrix = xgboost.DMatrix(features[member.training], weight=training.shares)
    stopping = xgboost.DMatrix(features[member.validation])
    booster = xgboost.Booster(_parameters(settings, member, device), [matrix, stopping])
    if start is not None:
        booster = start.booster(features.shape[1])
        booster.set_param(_parameters(settings, member, device))
    before = 0 if start is None else len(start)
    # A forest without trees is no classifier.
    best, best_round = (np.inf if start is None else validation.value(_outputs(booster, stopping))), -1
    losses: list[tuple[float, float]] = []
    _, gradient, curvature = training.derivatives(
        _outputs(booster, matrix) if before else np.zeros(len(member.training))
    )
    for number in range(stage.rounds):
        booster.boost(matrix, before + number, grad=gradient, hess=curvature)
        if stage.changes:
            progress = min(1.0, (number + 1) / max(1, stage.rounds - 1))
            training, validation = (
                _objective(sample, events, stage, progress, yields, context)
                for events in (member.training, member.validation)
            )
        value, gradient, curvature = training.derivatives(_outputs(booster, matrix))
        losses.append((value, validation.value(_outputs(booster, stopping))))
        if losses[-1][1] < best or stage.changes:
            best, best_round = losses[-1][1], number
        if number - best_round >= settings.patience:
            break
    forest = Forest.of_booster(booster, before + best_round + 1)
    training_loss, validation_loss = np.array(losses).T
    return Growth(forest, training_loss, validation_loss, best_round)


def _parameters(settings: TreeSettings, member: Member, device: str) -> dict[str, Any]:
    return {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "tree_method": "hist",
        "device": device,
        "max_depth": settings.depth,
        "eta": settings.learning_rate,
        "subsample": settings.subsample,
        "colsample_bytree": settings.feature_share,
        "min_child_weight": settings.minimum_child_weight,
        "lambda": settings.l2_penalty,
        "max_bin": settings.bins,
        "seed": member.seed % _SEEDS,
        "seed_per_iteration": True,
        "nthread": torch.get_num_threads(),
        "verbosity": 0,
    }


def _outputs(booster: Any, matrix: Any) -> npt.NDArray[np.float32]:
    outputs: npt.NDArray[np.float32] = booster.predict(matrix, output_margin=True)
    return outputs


def _objective(
    sample: TrainingSample, events: IndexArray, stage: TreeStage, progress: float, yields: Floats, context: LossContext
) -> Objective:
    """The loss of events with the full yield of each process, as that of networks."""
    process = torch.from_numpy(sample.process[events])
    weights = rescale_to_process_yields(torch.from_numpy(sample.weights[events]), process, torch.from_numpy(yields))
    loss = stage.loss.at(progress).build(context)
    return Objective(loss, torch.from_numpy(sample.is_signal[events]), weights, process)
