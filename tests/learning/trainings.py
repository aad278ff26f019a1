"""Short trainings of small ensembles, and what to ask of them."""

import numpy as np

from zsig_hep.learning import TrainingSettings

PHASES = {
    "warm_start": {"epochs": 3, "batch_size": 256, "learning_rate": 1e-2},
    "main": {"epochs": 3, "batch_size": 512, "learning_rate": 3e-3},
}


def settings(**changes):
    return TrainingSettings.model_validate(
        {"hidden": [8], "embedding": "none", "seeds": 2, "device": "cpu"} | PHASES | changes
    )


def parameters(classifier):
    return [parameter.detach() for parameter in classifier.network.parameters()]


class Killed(Exception):
    pass


def kill_after(calls):
    seen = []

    def progress(*arguments):
        seen.append(arguments)
        if len(seen) == calls:
            raise Killed

    return progress


def separation(classifier, table):
    """Weighted probability that signal scores above background."""
    score = classifier.out_of_fold_scores(table.features, table.fold)
    order = np.argsort(score)
    s = np.where(table.is_signal, table.weight, 0)[order]
    b = np.where(table.is_signal, 0, table.weight)[order]
    return (s * np.cumsum(b)).sum() / (s.sum() * b.sum())
