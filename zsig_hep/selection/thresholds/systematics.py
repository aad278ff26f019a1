"""Systematic variations at a working point: yields and Z under each variation, and the background uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsig_hep.ntuples.variations import Direction, VariationKind
from zsig_hep.representation import html_table
from zsig_hep.selection.events import ScoredEvents
from zsig_hep.selection.numbers import as_arrays
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, varied_selections
from zsig_hep.selection.varied_events import VariedYield, background_uncertainty, varied_yields
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.significance import FigureOfMerit
from zsig_hep.statistics.yields import Yield


@dataclass(frozen=True)
class SystematicRow:
    """One variation at the working point.

    Attributes:
        name: name of the variation.
        kind: what is varied.
        yields: yields of the processes it touches, by name.
        significance_up: figure of merit with all yields varied up, with the relative uncertainties of the working point;
            NaN where it does not exist.
        significance_down: the same with all yields varied down.
    """

    name: str
    kind: VariationKind
    yields: Mapping[str, VariedYield]
    significance_up: float
    significance_down: float


@dataclass(frozen=True)
class SystematicTable:
    """All variations at a working point.

    Attributes:
        rows: one per variation.
        background_uncertainty: systematic uncertainty sigma_b of the background yield from all variations, in events.
        figure: figure of merit with background uncertainty.
        significance: its value with sigma_b from the variations.
        significance_without: its value without the variations.
        notes: warnings about single variations.
    """

    rows: tuple[SystematicRow, ...]
    background_uncertainty: float
    figure: FigureOfMerit
    significance: float
    significance_without: float
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """The significance under each variation, for notebooks."""
        rows = [[row.name, row.kind, row.significance_up, row.significance_down] for row in self.rows]
        title = f"Z = {self.significance:.4g} with {self.background_uncertainty:.4g} events of systematic uncertainty"
        return html_table(title, ["variation", "kind", "Z up", "Z down"], rows)


def systematic_table(
    point: HeldOutWorkingPoint, events: ScoredEvents, settings: WorkingPointSettings
) -> SystematicTable | None:
    """Vary the yields at a held-out working point.

    The cut of each fold is fixed; events under shape variations have their own scores. For the background uncertainty
    the shifts are added linearly over the processes of a variation, and in quadrature over variations (equation 1 of
    `zsig_hep.selection.varied_events.background_uncertainty`).

    Args:
        point: the working point.
        events: events with their variations.
        settings: figure of merit.

    Returns:
        The table; None without variations or a working point.
    """
    if point.status != "ok" or not events.variations:
        return None
    varied = varied_yields(events, varied_selections(events, point.thresholds), point.yields)
    processes, objective = events.processes.simulated, settings.objective

    def varied_figure(objective: Objective, common: float | None, changed: Mapping[str, Yield] | None = None) -> float:
        """Figure of merit with the yields of some processes changed."""
        arrays = as_arrays({**point.yields, **(changed or {})}, processes)
        return float(objective.evaluate(*arrays, processes, common_uncertainty=common).value)

    def shifted(of_processes: Mapping[str, VariedYield], direction: Direction) -> float:
        # With the uncertainty of the point, so that the row can be compared with its significance.
        changed = {name: each.up if direction == "up" else each.down for name, each in of_processes.items()}
        return varied_figure(objective, point.common_uncertainty, changed)

    rows = tuple(
        SystematicRow(
            name=up.name,
            kind=up.kind,
            yields={name: VariedYield(each.nominal, each.up, each.down) for name, each in varied[up.name].items()},
            significance_up=shifted(varied[up.name], "up"),
            significance_down=shifted(varied[up.name], "down"),
        )
        for up, *_ in events.variations
    )
    sigma = background_uncertainty(varied, processes.backgrounds)
    uncertain = replace(objective, figure=uncertain_relative(objective.figure))
    relative = sigma / point.background.value if point.background is not None else 0.0
    common = float(np.hypot(objective.relative_background_uncertainty, relative))
    return SystematicTable(
        rows=rows,
        background_uncertainty=sigma,
        figure=uncertain.figure,
        significance=varied_figure(uncertain, common),
        significance_without=varied_figure(uncertain, None),
        notes=tuple(_notes(rows)),
    )


def uncertain_relative(figure: FigureOfMerit) -> FigureOfMerit:
    """The counterpart with background uncertainty of a figure of merit; the Asimov significance if it has none.

    Example:
        >>> str(uncertain_relative(FigureOfMerit.ASIMOV))
        'asimov_with_uncertainty'
    """
    return figure.with_background_uncertainty or FigureOfMerit.ASIMOV_WITH_UNCERTAINTY


def _notes(rows: Sequence[SystematicRow]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for process, each in row.yields.items():
            if each.note:
                found.setdefault((row.name, each.note), []).append(process)
    return [
        f"variation '{name}' at the cut: {what} for {', '.join(processes)}" for (name, what), processes in found.items()
    ]
