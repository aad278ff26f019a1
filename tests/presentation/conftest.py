"""Small real evaluations, made with the package's own statistics."""

from collections.abc import Callable

import numpy as np
import pytest

from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.ntuples.table import EventTable
from zsig_hep.presentation import Style
from zsig_hep.selection import ScoredEvents, WorkingPointSettings
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation, evaluate_classifier

Evaluations = list[ClassifierEvaluation]
PROCESSES = {
    "vbf": ("signal", 400, 25.0, 2.2),
    "dy": ("background", 1500, 2000.0, -1.2),
    "ttbar": ("background", 500, 300.0, -0.8),
}


def make_table(*, data: bool = False, negative: float = 0.05) -> EventTable:
    rng = np.random.default_rng(5)
    names, weights, mass, score = [], [], [], []
    for name, (_, count, total, mean) in PROCESSES.items():
        weight = np.where(rng.random(count) < negative, -1.0, 1.0)
        weights.append(weight * total / weight.sum())
        mass.append(rng.normal(125, 2, count) if name == "vbf" else rng.uniform(110, 150, count))
        score.append(rng.normal(mean, 1.2, count))
        names += [name] * count
    roles = {name: role for name, (role, *_) in PROCESSES.items()}
    if data:
        roles["data"] = "data"
        weights.append(np.ones(2300))
        mass.append(rng.uniform(110, 150, 2300))
        score.append(rng.normal(-1.1, 1.2, 2300))
        names += ["data"] * 2300
    features = {"dimuon_mass": np.concatenate(mass), "logit": np.concatenate(score)}
    return EventTable.from_arrays(
        features, weight=np.concatenate(weights), process=np.array(names), roles=roles, luminosity_ifb=140.0
    )


def make_evaluations(table: EventTable, **settings: float) -> list[ClassifierEvaluation]:
    logit = table.feature("logit").astype(np.float64)
    noise = np.random.default_rng(6).normal(0, 0.6, len(table))
    chosen = WorkingPointSettings(**settings)
    return [
        evaluate_classifier(name, label, ScoredEvents.of_table(table, 1 / (1 + np.exp(-score))), chosen)
        for name, label, score in (("zloss", "Z loss", logit), ("bce", "Weighted BCE", logit + noise))
    ]


@pytest.fixture(scope="session")
def table() -> EventTable:
    return make_table()


@pytest.fixture(scope="session")
def data_table() -> EventTable:
    return make_table(data=True)


@pytest.fixture(scope="session")
def evaluations(table: EventTable) -> list[ClassifierEvaluation]:
    return make_evaluations(table)


@pytest.fixture(scope="session")
def data_evaluations(data_table: EventTable) -> list[ClassifierEvaluation]:
    return make_evaluations(data_table)


@pytest.fixture(scope="session")
def unqualified(table: EventTable) -> list[ClassifierEvaluation]:
    return make_evaluations(table, minimum_effective_background=1e6)


@pytest.fixture(params=["plain", "CMS", "ATLAS"])
def style(request: pytest.FixtureRequest) -> Style:
    return Style(request.param, "Simulation Preliminary", 140.0, 13.0)


@pytest.fixture(scope="session")
def make_history() -> Callable[..., TrainingHistory]:
    def make(*, collapsed: tuple[int, ...] = (), phases: tuple[str, ...] = ("warm start", "Z loss")) -> TrainingHistory:
        members, epochs = 4, 6
        loss = np.linspace(1, 0.5, epochs * len(phases))[:, None] + 0.01 * np.arange(members)
        return TrainingHistory(
            loss_name=phases[-1],
            phase=tuple(phase for phase in phases for _ in range(epochs)),
            training_loss=loss,
            validation_loss=loss + 0.02,
            best_epoch=np.array([5, 4, -1, 2]),
            member_fold=np.array([0, 1, 0, 1]),
            member_seed=np.array([0, 0, 1, 1]),
            collapsed=np.isin(np.arange(members), collapsed),
        )

    return make
