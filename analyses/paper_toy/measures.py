"""What is compared: significances and background efficiencies of selections, with their spread over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyses.efficiency_curves import EfficiencyCurve, WorkingPoint
from analyses.paper_toy import published
from analyses.paper_toy.lines import Line
from analyses.tables import Spread
from analyses.toys import GaussianToy

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Selection:
    """A way to select, with one curve per seed in each case.

    Attributes:
        label: name in tables.
        curves: exact curves by the name of the toy, one per seed.
        lines: decision boundaries of linear models by the name of the toy, one per seed; None for other models.
    """

    label: str
    curves: Mapping[str, tuple[EfficiencyCurve, ...]]
    lines: Mapping[str, tuple[Line, ...]] | None = None


@dataclass(frozen=True)
class Row:
    """A selection in one case.

    Attributes:
        label: name of the selection.
        peak: largest Z of the paper's scan.
        peak_efficiency: signal efficiency there.
        significances: Z at `published.EFFICIENCIES`.
        total_background: background efficiency counting events at `published.ROC_EFFICIENCIES`.
        true_background: the same weighted with cross sections.
    """

    label: str
    peak: Spread
    peak_efficiency: Spread
    significances: tuple[Spread, ...]
    total_background: tuple[Spread, ...]
    true_background: tuple[Spread, ...]


def lines_selection(label: str, toys: Sequence[GaussianToy], lines: Mapping[str, Sequence[Line]]) -> Selection:
    """Selections by straight boundaries, each moved parallel to itself; a case may have none."""
    curves = {toy.name: tuple(line.curve(toy) for line in lines[toy.name]) for toy in toys}
    return Selection(label, curves, {name: tuple(of_seeds) for name, of_seeds in lines.items()})


def peak(curve: EfficiencyCurve) -> WorkingPoint:
    """Largest Z with eps_sig >= 0.05 and at least five expected background events, as in the paper's scan."""
    enough = curve.background_yields.sum(0) >= published.MINIMUM_BACKGROUND
    allowed = enough & (curve.signal_efficiency >= published.MINIMUM_SIGNAL_EFFICIENCY)
    index = int(np.argmax(np.where(allowed, np.nan_to_num(curve.significance()), -np.inf)))
    return curve.point_at(float(curve.signal_efficiency[index]))


def background_efficiencies(
    toy: GaussianToy, curve: EfficiencyCurve, signal_efficiency: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Background efficiency at given signal efficiencies: counting events, and weighted with cross sections.

    Events are counted as in the paper, which simulates equally many of each background.
    """
    full = toy.yields[~toy.is_signal]
    selected = curve.background_yields_at(signal_efficiency)
    total = np.mean(selected / full.reshape(-1, *[1] * (selected.ndim - 1)), axis=0)
    return total, selected.sum(0) / full.sum()


def row(toy: GaussianToy, selection: Selection) -> Row:
    """Measure a selection in one case."""
    curves = selection.curves[toy.name]
    peaks = [peak(curve) for curve in curves]
    significances = np.stack([curve.significance_at(published.EFFICIENCIES) for curve in curves])
    backgrounds = np.stack([background_efficiencies(toy, curve, published.ROC_EFFICIENCIES) for curve in curves])
    return Row(
        selection.label,
        Spread.of([point.significance for point in peaks]),
        Spread.of([point.signal_efficiency for point in peaks]),
        tuple(Spread.of(values) for values in significances.T),
        tuple(Spread.of(values, 3) for values in backgrounds[:, 0].T),
        tuple(Spread.of(values, 4) for values in backgrounds[:, 1].T),
    )


def published_row(name: str) -> Row:
    """What the paper reports for case 1: BCE or Z loss."""
    value, efficiency = published.PEAK[name]
    return Row(
        f"{name}, as published",
        Spread(value, None),
        Spread(efficiency, None),
        tuple(Spread(each, None) for each in published.SIGNIFICANCES[name]),
        tuple(Spread(each, None, 3) for each in published.TOTAL_BACKGROUND[name]),
        tuple(Spread(each, None, 4) for each in published.TRUE_BACKGROUND[name]),
    )
