"""Systematic variations at a working point: yields up and down, what each does to Z, and the background uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.representation import html_table
from zsig_hep.selection.events import ScoredEvents
from zsig_hep.selection.numbers import as_arrays
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, varied_selections
from zsig_hep.selection.varied_events import VariedYield, background_uncertainty, varied_yields
from zsig_hep.statistics.objective import Objective
from zsig_hep.statistics.significance import FigureOfMerit
from zsig_hep.statistics.yields import Yield

_UNCERTAIN_RELATIVE = {
    FigureOfMerit.S_OVER_SQRT_B: FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY,
    FigureOfMerit.POISSON: FigureOfMerit.POISSON_WITH_UNCERTAINTY,
}


@dataclass(frozen=True)
class SystematicRow:
    """One variation at the working point.

    Attributes:
        name: of the variation.
        kind: what varies.
        yields: by process that it touches.
        significance_up: figure of merit with all yields moved up by the variation; NaN where it does not exist.
        significance_down: likewise downwards.
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
        background_uncertainty: systematic sigma_b of the background yield from all of them, in events.
        figure: the figure of merit that knows sigma_b.
        significance: its value with sigma_b from the variations.
        significance_without: its value without them.
        notes: what is unusual of single variations.
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

    The cut of each fold stays; events under shape variations have their own scores. The background uncertainty adds up over
    variations in quadrature and over processes within a variation (`selection.varied_events`, equation 1).

    Args:
        point: the working point.
        events: with their variations.
        settings: figure of merit.

    Returns:
        The table; None without variations or a working point.
    """
    if point.status != "ok" or not events.variations:
        return None
    varied = varied_yields(events, varied_selections(events, point.thresholds), point.yields)
    processes, objective = events.processes.simulated, settings.objective

    def moved(process: Mapping[str, Yield], figure: Objective, common_uncertainty: float | None = None) -> float:
        """Figure of merit where some processes have other yields."""
        arrays = as_arrays({**point.yields, **process}, processes)
        return float(figure.evaluate(*arrays, processes, common_uncertainty=common_uncertainty).value)

    rows = tuple(
        SystematicRow(
            name=up.name,
            kind=up.kind,
            yields=varied[up.name],
            significance_up=moved({name: each.up for name, each in varied[up.name].items()}, objective),
            significance_down=moved({name: each.down for name, each in varied[up.name].items()}, objective),
        )
        for up, _ in events.variations
    )
    sigma = background_uncertainty(varied, processes.backgrounds)
    uncertain = replace(objective, figure=uncertain_relative(objective.figure))
    relative = sigma / point.background.value if point.background is not None else 0.0
    common = float(np.hypot(objective.relative_background_uncertainty, relative))
    return SystematicTable(
        rows=rows,
        background_uncertainty=sigma,
        figure=uncertain.figure,
        significance=moved({}, uncertain, common),
        significance_without=moved({}, uncertain, objective.relative_background_uncertainty),
        notes=tuple(_notes(rows)),
    )


def uncertain_relative(figure: FigureOfMerit) -> FigureOfMerit:
    """The figure of merit with background uncertainty that belongs to one without.

    Example:
        >>> str(uncertain_relative(FigureOfMerit.ASIMOV))
        'asimov_with_uncertainty'
    """
    if figure.knows_background_uncertainty:
        return figure
    return _UNCERTAIN_RELATIVE.get(figure, FigureOfMerit.ASIMOV_WITH_UNCERTAINTY)


def _notes(rows: Sequence[SystematicRow]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for process, each in row.yields.items():
            if each.note:
                found.setdefault((row.name, each.note), []).append(process)
    return [
        f"variation '{name}' at the cut: {what} for {', '.join(processes)}" for (name, what), processes in found.items()
    ]
