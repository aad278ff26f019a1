"""Training of a classifier on an event table."""

from pathlib import Path

import numpy as np

from zsig_hep.learning.classifier.boosted_trees import BoostedTrees
from zsig_hep.learning.classifier.classifier import Classifier
from zsig_hep.learning.losses.settings import LossSettings
from zsig_hep.learning.training.boosting import BoostedTreesTraining
from zsig_hep.learning.training.ensemble import EnsembleTraining, Progress
from zsig_hep.learning.training.goal import Goal
from zsig_hep.learning.training.sample import TrainingSample, select_features, training_weights
from zsig_hep.learning.training.settings import TrainingSettings
from zsig_hep.ntuples import EventTable


def make_sample(table: EventTable, settings: TrainingSettings) -> TrainingSample:
    """Make the sample of the simulated events of a table, with non-negative weights.

    Args:
        table: events; data are omitted.
        settings: features and the treatment of negative weights.

    Returns:
        The sample, with the processes renumbered without data.

    Raises:
        TrainingError: for unknown features, negative weights under `refuse`, or a process without positive yield.
    """
    table = table.simulated
    process = table.process.astype(np.int64)
    weights = training_weights(table.weight, process, table.process_names, settings.negative_weights)
    columns = select_features(table.feature_names, settings.features)
    return TrainingSample(
        features=np.ascontiguousarray(table.features[:, columns]),
        feature_names=tuple(table.feature_names[column] for column in columns),
        weights=weights,
        process=process,
        yields=np.bincount(process, weights, minlength=len(table.processes)).astype(np.float64),
        fold=table.fold.astype(np.int64),
        fold_count=table.fold_count,
        processes=table.processes,
    )


def train(
    table: EventTable,
    settings: TrainingSettings,
    *,
    loss: LossSettings | None = None,
    goal: Goal | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """Train an ensemble of networks: weighted cross entropy first, then the loss, each member kept at its best validation epoch.

    Args:
        table: events with features, weights [events at the luminosity] and folds.
        settings: of the training.
        loss: instead of that of the settings; `BCELossSettings()` trains the baseline.
        goal: the objective of the selection, `zsig_hep.selection.training_goal(working_point_settings)`; needed by
            losses that are trained in rounds or depend on systematic uncertainties.
        checkpoint: file that is written after every epoch, and from which the training is resumed if it exists; on the
            CPU the parameters at the end are the same, bit by bit.
        progress: called with the phase's label, the epoch, the number of epochs and the mean validation loss.

    Returns:
        The trained networks.

    Raises:
        TrainingError: for events or settings that cannot be trained on, or a loss that is not finite.
        ModelFileError: if the checkpoint is damaged or belongs to another configuration.
    """
    sample = make_sample(table, settings)
    training = EnsembleTraining(sample, settings, settings.main_loss(goal) if loss is None else loss, goal=goal)
    return training.run(checkpoint, progress)


def train_trees(
    table: EventTable,
    settings: TrainingSettings,
    *,
    loss: LossSettings | None = None,
    goal: Goal | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> BoostedTrees:
    """Train an ensemble of boosted trees: weighted cross entropy first, then the loss, each up to its best round.

    Args:
        table: events with features, weights [events at the luminosity] and folds.
        settings: of the training.
        loss: instead of that of the settings; `BCELossSettings()` trains the baseline.
        goal: as for `train`.  If it has a judge, each fold keeps the trees with the loss only if they have the larger
            figure of merit on the events of other folds.
        checkpoint: file that is written after every forest, and from which the training is resumed if it exists; the
            trees at the end are the same.
        progress: called with the stage's label, the number of forests, that of all forests and the mean validation loss.

    Returns:
        The trained trees.

    Raises:
        InputError: the extra `trees` is not installed.
        TrainingError: for events or settings that cannot be trained on, or a loss that is not finite.
        ModelFileError: if the checkpoint is damaged or belongs to another configuration.
    """
    sample = make_sample(table, settings)
    training = BoostedTreesTraining(sample, settings, settings.main_loss(goal) if loss is None else loss, goal=goal)
    return training.run(checkpoint, progress)
