"""Systematic variations at a working point: yields up and down, what each does to Z, and the background uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsig_hep.ntuples.datasets import Role
from zsig_hep.ntuples.variations import VariationKind
from zsig_hep.selection.figure_of_merit import WorkingPointSettings, significance
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection
from zsig_hep.selection.varied_events import VariationPair, VariedYield, background_uncertainty, varied_yields
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


def systematic_table(
    point: HeldOutWorkingPoint,
    pairs: Sequence[VariationPair],
    *,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
) -> SystematicTable | None:
    """Vary the yields at a held-out working point.

    The cut of each fold stays; events under shape variations have their own scores. The background uncertainty adds up over
    variations in quadrature and over processes within a variation (`selection.variations`, equation 1).

    Args:
        point: the working point.
        pairs: events under every variation.
        process_names: of the table.
        roles: of the processes.
        settings: figure of merit.

    Returns:
        The table; None without variations or a working point.
    """
    if point.status != "ok" or not pairs:
        return None
    selections = [(_passes(up.score, up.fold, point), _passes(down.score, down.fold, point)) for up, down in pairs]
    varied = varied_yields(pairs, selections, point.yields, process_names)
    role_of = dict(zip(process_names, roles, strict=True))
    rows = tuple(
        SystematicRow(
            name=up.name,
            kind=up.kind,
            yields=varied[up.name],
            significance_up=_significance(
                {name: each.up for name, each in varied[up.name].items()}, point, role_of, settings
            ),
            significance_down=_significance(
                {name: each.down for name, each in varied[up.name].items()}, point, role_of, settings
            ),
        )
        for up, _ in pairs
    )
    backgrounds = [name for name, role in role_of.items() if role == "background"]
    sigma = background_uncertainty(varied, backgrounds)
    uncertain = settings.model_copy(update={"figure_of_merit": uncertain_relative(settings.figure_of_merit)})
    relative = sigma / point.background.value if point.background is not None else 0.0
    common = float(np.hypot(settings.relative_background_uncertainty, relative))
    return SystematicTable(
        rows=rows,
        background_uncertainty=sigma,
        figure=uncertain.figure_of_merit,
        significance=_significance({}, point, role_of, uncertain, common),
        significance_without=_significance({}, point, role_of, uncertain, settings.relative_background_uncertainty),
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


def _passes(score: np.ndarray, fold: np.ndarray, point: HeldOutWorkingPoint) -> np.ndarray:
    return held_out_selection(score, fold, point.thresholds)


def _significance(
    moved: Mapping[str, Yield],
    point: HeldOutWorkingPoint,
    role_of: Mapping[str, Role],
    settings: WorkingPointSettings,
    common_uncertainty: float | None = None,
) -> float:
    """Figure of merit where some processes have other yields."""
    yields = {**point.yields, **moved}
    values = np.array([yields[name].value for name in point.yields])
    variances = np.array([yields[name].variance for name in point.yields])
    roles = [role_of[name] for name in point.yields]
    z = significance(values, variances, tuple(point.yields), roles, settings, common_uncertainty=common_uncertainty)
    return float(z.value)


def _notes(rows: Sequence[SystematicRow]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for process, each in row.yields.items():
            if each.note:
                found.setdefault((row.name, each.note), []).append(process)
    return [
        f"variation '{name}' at the cut: {what} for {', '.join(processes)}" for (name, what), processes in found.items()
    ]
