"""All trainings of the command, as selections to be measured."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from analyses.efficiency_curves import EfficiencyCurve
from analyses.paper_toy import published
from analyses.paper_toy.lines import Line, linear_cut_curve
from analyses.paper_toy.measures import Selection, lines_selection
from analyses.paper_toy.population import Minimum, minimum, rise, valley
from analyses.paper_toy.training import Loss, Samples, Schedule, linear_parameters, start_at, train, unweighted_bce
from analyses.paper_toy.trajectories import Approach, Trajectory, closest_approach, trajectories
from analyses.paper_toy.trees import boosted_trees
from analyses.paper_toy.working_points import PATH, WorkingPoints, follow
from analyses.toys import PAPER_CASE_1, PAPER_CASE_2, GaussianToy
from zsig_hep.learning import BCELoss, ZLoss
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.losses.soft_counts import InverseAsimovLoss, SoftSignificanceLoss

logger = logging.getLogger(__name__)

TOYS = (PAPER_CASE_1, PAPER_CASE_2)
EQUAL_CLASSES = "BCE with equal class weights"
"""The loss whose training passes the paper's BCE line."""

RECIPE = (0.05, 0.02, 0.01)
"""eps relative to the background yield, each stage starting from the one before."""


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
        seeds: networks per case, each with its own events.
        events: training events per process.
        effort: factor on the steps of every training.
        points_per_axis: of the quadrature for networks that are not linear.
        hidden: layers of the small network.
    """

    seeds: int = 5
    events: int = 50_000
    effort: float = 1.0
    points_per_axis: int = 300
    hidden: tuple[int, ...] = (16, 16)

    def schedule(self, steps: int, learning_rate: float, *, decays: bool = True) -> Schedule:
        """A schedule of so many steps at full effort."""
        return Schedule(max(1, round(steps * self.effort)), learning_rate, decays=decays)


@dataclass(frozen=True, eq=False)
class Passage:
    """Recorded trainings of the linear model on the features as drawn, and how close they come to a published line.

    Attributes:
        label: loss and start.
        trajectories: by the name of the toy, one per seed.
        approaches: closest approach to the published line, likewise.
    """

    label: str
    trajectories: Mapping[str, tuple[Trajectory, ...]]
    approaches: Mapping[str, tuple[Approach, ...]]


@dataclass(frozen=True)
class ExactLoss:
    """The loss with eps = S and along the path on infinitely many events, for one case.

    Attributes:
        rises: slope of the loss at F = 0 along some lines, by their name.
        valley: the line of the least rise.
        minima: by relative eps, the minimum of the hinge loss, each search starting from the last that is not F = 0.
    """

    rises: Mapping[str, float]
    valley: Line
    minima: Mapping[float, Minimum]


@dataclass(frozen=True, eq=False)
class Results:
    """Everything the command shows."""

    size: Size
    selections: tuple[Selection, ...]
    limits: tuple[Selection, ...]
    baseline: Passage
    collapses: tuple[Passage, ...]
    exact: Mapping[str, ExactLoss]
    working_points: Mapping[str, Mapping[str, WorkingPoints]] = field(default_factory=dict)


def published_line(toy: GaussianToy) -> Line:
    """The published Z boundary of a case; the signal lies above it where the large background lies below."""
    return Line.from_slope(*published.Z_LINES[toy.name], signal_above=toy is PAPER_CASE_2)


def published_bce_line() -> Line:
    """The published BCE boundary, the same in both cases; the signal lies at larger x1."""
    return Line.from_slope(*published.BCE_LINE, signal_above=False)


def run(size: Size) -> Results:
    """Train and measure everything."""
    raw = Samples.draw(TOYS, size.seeds, size.events)
    samples = raw.standardised()
    linear = _Linear(size, samples)
    logger.info("linear models")
    baselines = linear.baselines()
    stages = linear.stages(baselines["weighted BCE"])
    logger.info("collapse")
    baseline, collapses = _passages(size, raw, linear_parameters(baselines[EQUAL_CLASSES], samples))
    logger.info("small networks")
    networks, paths = _networks(size, samples)
    logger.info("working points")
    for error in ("hinge", "sigmoid"):
        paths[f"linear, {error}"] = linear.path(baselines["weighted BCE"], error)
    return Results(
        size,
        selections=(
            _published("BCE line of the paper, exact", {toy.name: published_bce_line() for toy in TOYS}),
            _passing(baseline),
            *(linear.selection(f"linear, {name}", network) for name, network in baselines.items()),
            _published("Z line of the paper, exact", {toy.name: published_line(toy) for toy in TOYS}),
            *(selection for passage in collapses for selection in (_passing(passage), _last(passage))),
            *(linear.selection(f"linear, Z hinge, eps = {eps} B", each) for eps, each in stages.items()),
            *networks,
            *boosted_trees(TOYS, samples, size.seeds, size.schedule(150, 0.1).steps, size.points_per_axis),
        ),
        limits=(
            Selection("best linear cut", {toy.name: (linear_cut_curve(toy),) for toy in TOYS}),
            Selection("likelihood ratio", {toy.name: (toy.likelihood_ratio_curve(),) for toy in TOYS}),
        ),
        baseline=baseline,
        collapses=collapses,
        exact={toy.name: _exact(toy) for toy in TOYS},
        working_points=paths,
    )


@dataclass(frozen=True, eq=False)
class _Linear:
    """Trainings of the linear model on standardised features."""

    size: Size
    samples: Samples

    def train(self, loss: Loss, schedule: Schedule, start: StackedMLP | None = None) -> StackedMLP:
        return train(start or self.samples.network((), self.size.seeds), self.samples, loss, schedule)

    def baselines(self) -> dict[str, StackedMLP]:
        """Losses that need no start, by their names in tables."""
        recipes: dict[str, tuple[Loss, float]] = {
            "BCE unweighted": (unweighted_bce, 0.2),
            EQUAL_CLASSES: (_balanced_bce, 0.2),
            "weighted BCE": (BCELoss(), 0.2),
            "1/q0 of soft counts": (InverseAsimovLoss(), 0.1),
            "ln 1/q0 of soft counts": (SoftSignificanceLoss(form="log"), 0.2),
        }
        return {name: self.train(loss, self.size.schedule(800, rate)) for name, (loss, rate) in recipes.items()}

    def path(self, start: StackedMLP, error: str) -> dict[str, WorkingPoints]:
        """What the models reach along the decreasing path of eps."""
        return follow(TOYS, self.samples, start, self.size.schedule(200, 0.1), error, self.size.points_per_axis)

    def stages(self, start: StackedMLP) -> dict[float, StackedMLP]:
        stages: dict[float, StackedMLP] = {}
        for relative_eps in RECIPE:
            start = self.train(ZLoss(relative_eps, check_weights=False), self.size.schedule(400, 0.05), start)
            stages[relative_eps] = start
        return stages

    def selection(self, label: str, network: StackedMLP) -> Selection:
        parameters = linear_parameters(network, self.samples).reshape(len(TOYS), -1, 3)
        lines = {
            toy.name: [Line.from_parameters(each) for each in of_case]
            for toy, of_case in zip(TOYS, parameters, strict=True)
        }
        return lines_selection(label, TOYS, lines)


def _balanced_bce(scores: torch.Tensor, is_signal: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    value: torch.Tensor = BCELoss()(scores, is_signal, torch.ones_like(weights))
    return value


def _published(label: str, lines: Mapping[str, Line]) -> Selection:
    return lines_selection(label, TOYS, {name: [line] for name, line in lines.items()})


def _z_of_signal_eps() -> ZLoss:
    """The paper's choice: hinge error and eps = S, the same in both cases."""
    return ZLoss(eps=float(TOYS[0].yields[TOYS[0].is_signal][0]), check_weights=False)


def _passages(size: Size, samples: Samples, bce: npt.NDArray[np.float64]) -> tuple[Passage, tuple[Passage, ...]]:
    """Recorded trainings of the paper's BCE, and of its Z loss from random weights and from a BCE (a1, a2, c)."""
    schedule = size.schedule(2000, 1e-2, decays=False)
    start = samples.network((), size.seeds)
    baseline = _passage(EQUAL_CLASSES, samples, start, _balanced_bce, schedule)
    starts = {"random start": start, "start from BCE": start_at(start, bce)}
    return baseline, tuple(
        _passage(f"Z hinge, eps = S, {label}", samples, each, _z_of_signal_eps(), schedule)
        for label, each in starts.items()
    )


def _passage(label: str, samples: Samples, start: StackedMLP, loss: Loss, schedule: Schedule) -> Passage:
    found = trajectories(TOYS, samples, start, loss, schedule)
    approaches = {}
    for toy in TOYS:
        target = published_line(toy) if isinstance(loss, ZLoss) else published_bce_line()
        approaches[toy.name] = tuple(closest_approach(toy, each, target) for each in found[toy.name])
    return Passage(label, found, approaches)


def _passing(passage: Passage) -> Selection:
    """The boundaries of the seeds that pass the published line, where they pass it."""
    lines = {toy.name: [each.line for each in passage.approaches[toy.name] if each.passes] for toy in TOYS}
    return lines_selection(f"linear, {passage.label}, passing the published line", TOYS, lines)


def _last(passage: Passage) -> Selection:
    lines = {toy.name: [each.lines[-1] for each in passage.trajectories[toy.name]] for toy in TOYS}
    return lines_selection(f"linear, {passage.label}, last step", TOYS, lines)


def _networks(size: Size, samples: Samples) -> tuple[list[Selection], dict[str, dict[str, WorkingPoints]]]:
    """Small networks: baselines, the recipe, and the paths of eps."""
    weighted = train(samples.network(size.hidden, size.seeds), samples, BCELoss(), size.schedule(1200, 0.02))
    soft = train(weighted, samples, InverseAsimovLoss(), size.schedule(300, 0.005))
    selections = [_grid_selection("MLP, weighted BCE", weighted, samples, size)]
    selections.append(_grid_selection("MLP, 1/q0 of soft counts", soft, samples, size))
    network = weighted
    for relative_eps in RECIPE:
        loss: Callable[..., torch.Tensor] = ZLoss(relative_eps, check_weights=False)
        network = train(network, samples, loss, size.schedule(300, 0.01))
        selections.append(_grid_selection(f"MLP, Z hinge, eps = {relative_eps} B", network, samples, size))
    paths = {
        f"MLP, {error}": follow(TOYS, samples, weighted, size.schedule(120, 0.01), error, size.points_per_axis)
        for error in ("hinge", "sigmoid")
    }
    return selections, paths


def _grid_selection(label: str, network: StackedMLP, samples: Samples, size: Size) -> Selection:
    points = torch.tensor(TOYS[0].grid(size.points_per_axis).points, dtype=torch.float32)
    scores = samples.scores(network, points).double().numpy().reshape(len(TOYS), -1, len(points))
    return Selection(
        label,
        {toy.name: _curves(toy, of_case, size.points_per_axis) for toy, of_case in zip(TOYS, scores, strict=True)},
    )


def _curves(toy: GaussianToy, scores: npt.NDArray[np.float64], points_per_axis: int) -> tuple[EfficiencyCurve, ...]:
    return tuple(toy.exact_curve(each, points_per_axis) for each in scores)


def _exact(toy: GaussianToy) -> ExactLoss:
    signal = float(toy.yields[toy.is_signal][0])
    least = valley(toy, signal)
    lines = {
        "least rise": least,
        "Z line of the paper": published_line(toy),
        "BCE line of the paper": published_bce_line(),
        "best linear cut": Line.from_cut(toy.best_linear_cut()),
    }
    minima: dict[float, Minimum] = {}
    start = (2.0, 0.0, -6.0)
    for relative_eps in (*PATH, signal / float(toy.yields[~toy.is_signal].sum())):
        minima[relative_eps] = minimum(toy, relative_eps, start)
        start = minima[relative_eps].parameters if minima[relative_eps].line else start
    return ExactLoss({name: rise(toy, line, signal) for name, line in lines.items()}, least, minima)
