"""Results as markdown tables and as JSON values."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.paper_toy import published
from analyses.paper_toy.experiments import TOYS, Passage, Results, published_bce_line, published_line
from analyses.paper_toy.landscape import landscape
from analyses.paper_toy.lines import Line
from analyses.paper_toy.measures import Row, Selection, peak, published_row, row
from analyses.paper_toy.population import COLLAPSED_SPREAD
from analyses.paper_toy.trajectories import ANGLE_TOLERANCE, CLEAR_SPREAD, EFFICIENCY_TOLERANCE
from analyses.tables import Spread, table
from analyses.toys import GaussianToy


def markdown(results: Results) -> str:
    """All tables."""
    parts = ["# The toy of arXiv:2412.09500", _size(results)]
    for toy in TOYS:
        rows = all_rows(toy, results)
        parts += [f"## {toy.name}: significance", _significances(rows)]
        parts += [f"## {toy.name}: background efficiency", _backgrounds(rows)]
        parts += [f"## {toy.name}: boundaries of linear models", _lines(toy, results)]
    parts += [
        "## Published boundaries during training",
        _passages(results),
        "## The loss with eps = S on infinitely many events",
        _rises(results),
        _minima(results),
    ]
    parts += ["## eps as the knob of the working point", _working_points(results)]
    parts += ["## Corners of the loss landscapes", _corners()]
    return "\n\n".join(parts) + "\n"


def values(results: Results) -> dict[str, Any]:
    """The same numbers for `results.json`."""
    return {
        "size": dataclasses.asdict(results.size),
        "selections": {toy.name: [dataclasses.asdict(each) for each in all_rows(toy, results)] for toy in TOYS},
        "corners": {error: landscape(error, 2).corners for error in published.CORNERS},
        "passages": {
            passage.label: {toy.name: _passage_values(toy, passage) for toy in TOYS}
            for passage in (results.baseline, *results.collapses)
        },
        "rises": {toy.name: dict(results.exact[toy.name].rises) for toy in TOYS},
        "minima": {
            toy.name: [
                {"relative_eps": eps, "loss": found.loss, "spread": found.spread}
                for eps, found in results.exact[toy.name].minima.items()
            ]
            for toy in TOYS
        },
        "working_points": {
            name: {
                case: {key: np.asarray(value).tolist() for key, value in vars(points).items()}
                for case, points in of.items()
            }
            for name, of in results.working_points.items()
        },
    }


def all_rows(toy: GaussianToy, results: Results) -> list[Row]:
    """Rows of a case: published values (case 1 has them), selections, limits."""
    shown = [each for each in (*results.selections, *results.limits) if each.curves[toy.name]]
    rows = [row(toy, selection) for selection in shown]
    if toy is not TOYS[0]:
        return rows
    labels = [each.label for each in rows]
    for name, before in (("Z loss", "Z line of the paper, exact"), ("BCE", "BCE line of the paper, exact")):
        rows.insert(labels.index(before), published_row(name))
    return rows


def _size(results: Results) -> str:
    size = results.size
    return (
        f"{size.seeds} seeds, {size.events} training events per process and seed; "
        "Z = s / sqrt(b) exact; mean ± standard deviation over seeds."
    )


def _significances(rows: Sequence[Row]) -> str:
    header = ["selection", "peak Z", "at", *(f"Z at {value}" for value in published.EFFICIENCIES)]
    return table(header, ([each.label, each.peak, each.peak_efficiency, *each.significances] for each in rows))


def _backgrounds(rows: Sequence[Row]) -> str:
    names = [f"{kind} at {value}" for kind in ("total", "true") for value in published.ROC_EFFICIENCIES]
    return table(["selection", *names], ([each.label, *each.total_background, *each.true_background] for each in rows))


def _lines(toy: GaussianToy, results: Results) -> str:
    fixed = [
        ("BCE line of the paper", published_bce_line()),
        ("Z line of the paper", published_line(toy)),
        ("least rise of the loss at eps = S", results.exact[toy.name].valley),
        ("best linear cut", Line.from_cut(toy.best_linear_cut())),
    ]
    rows = [(label, [line]) for label, line in fixed]
    rows += [
        (each.label, list(each.lines[toy.name]))
        for each in _trained(results.selections)
        if each.lines and each.lines[toy.name]
    ]
    header = ["boundary", "slope", "intercept", "angle [°]", "signal efficiency", "peak Z"]
    return table(header, ([label, *_line_spreads(toy, lines)] for label, lines in rows))


def _trained(selections: Sequence[Selection]) -> list[Selection]:
    return [each for each in selections if not each.label.endswith(("exact", "last step"))]


def _line_spreads(toy: GaussianToy, lines: Sequence[Line]) -> list[Spread]:
    return [
        Spread.of([line.slope for line in lines]),
        Spread.of([line.intercept for line in lines]),
        Spread.of([math.degrees(line.angle) for line in lines], 1),
        Spread.of([line.signal_efficiency(toy) for line in lines], 3),
        Spread.of([peak(line.curve(toy)).significance for line in lines]),
    ]


def _passage_values(toy: GaussianToy, passage: Passage) -> dict[str, Any]:
    return {
        "last_loss": [float(each.losses(toy)[-1]) for each in passage.trajectories[toy.name]],
        "last_spread": [float(each.spread[-1]) for each in passage.trajectories[toy.name]],
        "closest": [
            {
                "step": each.step,
                "angle_degrees": math.degrees(each.line.angle),
                "signal_efficiency": each.line.signal_efficiency(toy),
                "spread": each.spread,
                "distance": each.distance,
            }
            for each in passage.approaches[toy.name]
        ],
    }


def _passages(results: Results) -> str:
    lines = [
        [passage.label, toy.name, *_passage_cells(toy, passage)]
        for passage in (results.baseline, *results.collapses)
        for toy in TOYS
    ]
    header = ["loss and start", "case", "last loss", "collapsed", "pass the published line"]
    closest = ["step", "angle [°]", "signal efficiency", "spread"]
    explanation = (
        "Closest approach to the published line, seed by seed, while the outputs still spread over more than "
        f"{CLEAR_SPREAD}; passing means within {math.degrees(ANGLE_TOLERANCE):.0f}° and {EFFICIENCY_TOLERANCE} of its "
        "signal efficiency. The last loss is the Z loss with eps = S of the worst seed.\n\n"
    )
    return explanation + table([*header, *(f"closest: {name}" for name in closest)], lines)


def _passage_cells(toy: GaussianToy, passage: Passage) -> list[str]:
    found, approaches = passage.trajectories[toy.name], passage.approaches[toy.name]
    return [
        f"{max(each.losses(toy)[-1] for each in found):.3f}",
        f"{sum(each.spread[-1] < COLLAPSED_SPREAD for each in found)} of {len(found)}",
        f"{sum(each.passes for each in approaches)} of {len(approaches)}",
        ", ".join(str(each.step) for each in approaches),
        ", ".join(f"{math.degrees(each.line.angle):.1f}" for each in approaches),
        ", ".join(f"{each.line.signal_efficiency(toy):.3f}" for each in approaches),
        ", ".join(f"{each.spread:.2f}" for each in approaches),
    ]


def _rises(results: Results) -> str:
    names = list(results.exact[TOYS[0].name].rises)
    return (
        "Slope of the loss at F = 0 with eps = S, per unit of spread, of outputs proportional to the distance to a line:\n\n"
        + table(
            ["case", *names],
            ([toy.name, *(f"{results.exact[toy.name].rises[name]:.3f}" for name in names)] for toy in TOYS),
        )
    )


def _minima(results: Results) -> str:
    lines = []
    for toy in TOYS:
        for eps, found in results.exact[toy.name].minima.items():
            where: list[object] = ["F = 0", "", ""]
            if found.line is not None:
                best = found.line.curve(toy).best(published.MINIMUM_SIGNAL_EFFICIENCY)
                angle = f"{math.degrees(found.line.angle):.1f}"
                where = [angle, f"{found.line.signal_efficiency(toy):.3f}", f"{best.significance:.2f}"]
            lines.append([toy.name, f"{eps:.2g}", f"{found.loss:.4f}", f"{found.spread:.3f}", *where])
    return "Minima of the hinge loss of a linear model on infinitely many events:\n\n" + table(
        ["case", "eps / B", "loss", "spread", "angle [°]", "signal efficiency", "peak Z"], lines
    )


def _working_points(results: Results) -> str:
    lines = []
    for name, of_cases in results.working_points.items():
        for case, points in of_cases.items():
            for index, eps in enumerate(points.relative_eps):
                collapsed = int((points.spread[index] < COLLAPSED_SPREAD).sum())
                lines.append(
                    [
                        name,
                        case,
                        f"{eps:g}",
                        Spread.of(points.best_efficiency[index]),
                        Spread.of(points.own_efficiency[index]),
                        Spread.of(points.significance[index]),
                        f"{collapsed} of {points.spread.shape[1]}",
                    ]
                )
    header = ["model, error", "case", "eps / B", "signal efficiency at the best cut", "of F > 0", "Z at the best cut"]
    return table([*header, "collapsed"], lines)


def _corners() -> str:
    header = ["error", "(lo, lo)", "(lo, hi)", "(hi, lo)", "(hi, hi)"]
    return table(header, (line for error, golden in published.CORNERS.items() for line in _corner_lines(error, golden)))


def _corner_lines(error: str, golden: Sequence[float]) -> list[list[str]]:
    ours = landscape(error, 2).corners
    return [
        [error, *(f"{value:.7f}" for value in ours)],
        [f"{error}, paper", *(f"{value:.7f}" for value in golden)],
    ]
