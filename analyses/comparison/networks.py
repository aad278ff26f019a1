"""Train one method on one unit from the shared warm start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from analyses.comparison.methods import OptimizerMethod, rounds_of
from analyses.comparison.units import Case, Logits, Predict, Unit
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, Classifier, LossSettings, TrainedEnsemble, TrainingSettings
from zsig_hep.learning.optimisation.optimizers import AdamSettings, AdamWSettings
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.learning.training.settings import MainSettings, WarmStartSettings

CHUNK = 8192

STEP_FACTORS = {"linear": 10.0, "mlp": 1.0}
"""A linear model has few parameters, which have far to go: all its step sizes are larger by a factor."""

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training.

    Attributes:
        classifier: its networks.
        criterion: what step sizes are compared by, lower is better: the validation loss, or minus the figure of merit of
            the validation events for a loss that is trained in rounds; mean over members.
        kept_epoch: mean over members of the epoch that was kept, counted over all rounds; -1 is the warm start.
    """

    classifier: Classifier
    criterion: float
    kept_epoch: float


def predictor(classifier: TrainedEnsemble) -> Predict:
    """Outputs of all members, in blocks that stay in the processor's cache."""

    def predict(features: np.ndarray) -> Logits:
        blocks = [classifier.logits(features[start : start + CHUNK]) for start in range(0, len(features), CHUNK)]
        return np.concatenate(blocks, axis=1)

    return predict


def warm_start(case: Case, model: str, unit: Unit, folder: Path) -> Parameters:
    """Parameters after the weighted cross entropy, trained once and kept in a file."""
    path = folder / f"{case.name}-{model}-{'-'.join(map(str, unit.seeds))}.safetensors"
    if not path.exists():
        settings = _settings(case, model).model_copy(
            update={
                "warm_start": WarmStartSettings(
                    epochs=case.epochs[0],
                    batch_size=case.batch_sizes[0],
                    learning_rate=case.warm_start_step * STEP_FACTORS[model],
                    optimizer=AdamSettings() if model == "linear" else AdamWSettings(),
                ),
                "main": MainSettings(epochs=0),
            }
        )
        classifier = EnsembleTraining(unit.sample, settings, BCELossSettings(), unit.members).run()
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        save_file(dict(classifier.network.state_dict()), unfinished)
        unfinished.replace(path)
    return load_file(path)


def train_from(
    warm: Parameters,
    case: Case,
    model: str,
    unit: Unit,
    loss: LossSettings,
    optimizer: OptimizerMethod,
    learning_rate: float,
) -> Trained:
    """Train the main phase.

    Raises:
        TrainingError: if the loss cannot be built or does not stay finite.
    """
    # The recipe of effective weights trains its base loss first, and then as long again in its rounds.
    is_recipe = loss.name == "effective_weights" and unit.goal.tells_processes_apart
    epochs = case.epochs[1] // 2 if is_recipe else case.epochs[1]
    main = MainSettings(
        epochs=epochs,
        batch_size=case.batch_sizes[1],
        learning_rate=learning_rate,
        optimizer=optimizer.settings,
        schedule=optimizer.schedule(epochs // rounds_of(loss, unit.goal)),
    )
    update = {"warm_start": WarmStartSettings(epochs=0), "main": main, "patience": max(1, epochs)}
    settings = _settings(case, model).model_copy(update=update)
    training = EnsembleTraining(unit.sample, settings, loss, unit.members, unit.goal)
    training.start_from(warm)
    classifier = training.run()
    if training.rounds.records:
        figures = training.rounds.kept_figure
        criterion = -float(figures.mean()) if np.isfinite(figures).all() else np.inf
    else:
        criterion = float(training.best_loss.mean())
    return Trained(classifier, criterion, float(np.mean(classifier.history.best_epoch)))


def choose_learning_rate(
    warm: Parameters, case: Case, model: str, unit: Unit, loss: LossSettings, optimizer: OptimizerMethod
) -> tuple[float, Trained]:
    """Try the step sizes on the first seed of a unit.

    Raises:
        TrainingError: if the loss stays finite with none of them.
    """
    count = len(unit.members) // len(unit.seeds)
    first = replace(unit, seeds=unit.seeds[:1], members=unit.members[:count])
    start = {name: value[:count] for name, value in warm.items()}
    tried: list[tuple[float, Trained]] = []
    reasons = []
    for step in optimizer.learning_rates:
        learning_rate = step * STEP_FACTORS[model]
        try:
            tried.append((learning_rate, train_from(start, case, model, first, loss, optimizer, learning_rate)))
        except TrainingError as error:
            reasons.append(str(error))
    if not tried:
        raise TrainingError(reasons[0])
    return min(tried, key=lambda pair: pair[1].criterion)


def _settings(case: Case, model: str) -> TrainingSettings:
    """Preprocessing and embedding as by default; a linear model has no embedding."""
    update: dict[str, object] = {"hidden": case.hidden[model]}
    return case.training.model_copy(update=update | ({"embedding": "none"} if model == "linear" else {}))
