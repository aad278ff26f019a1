"""Goals of a selection, and settings of trainings for them."""

from zsig_hep.learning import Goal, TrainingSettings
from zsig_hep.statistics import FigureOfMerit, Objective


def judge(*arguments):
    raise NotImplementedError


APART = Goal(Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"dy": 0.1}), judge)
TOGETHER = Goal(Objective(), judge)


def settings(**content):
    return TrainingSettings.model_validate(content)


PHASES = [
    {"loss": {"name": "bce"}, "epochs": 5, "batch_size": 512, "learning_rate": 3e-3},
    {"loss": {"name": "z", "relative_eps": {"start": 0.5, "stop": 0.05}}, "epochs": 6},
    {"loss": {"name": "z", "relative_eps": 0.05}, "epochs": 2, "optimizer": {"name": "sgd", "momentum": 0.9}},
]
