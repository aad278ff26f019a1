"""Models that are trained for a moment, and how they are described."""

from tests.learning.trainings import settings
from zsig_hep.learning import train
from zsig_hep.scoring.metadata import model_metadata

PHASE = {"epochs": 1, "batch_size": 256, "learning_rate": 1e-2}


def trained_on(table, **changes):
    return train(table, settings(warm_start=PHASE, main=PHASE, **changes))


def describe(classifier, **changes):
    options = {"fold_seed": 3, "event_identity": ("run", "event"), "datasets": ("h", "dy")} | changes
    return model_metadata(classifier, **options)
