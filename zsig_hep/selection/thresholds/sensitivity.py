"""How the optimal cut and its significance depend on cross sections, luminosity and background uncertainties.

The optimal cut t*(theta) = argmax_t Z(t; theta) is a stationary point, so that (S. Gould et al., arXiv:1607.05447)

    dt*/dtheta = -Z_t_theta / Z_tt,        dZmax/dtheta = Z_theta at fixed t*,                      (1)

where the second equation is the envelope theorem: the movement of the cut does not change Z to first order. theta is
the logarithm of a quantity, so dZmax/dtheta is the change of the significance per relative change of that quantity.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zsig_hep.errors import InputError
from zsig_hep.representation import html_table
from zsig_hep.selection.events import Floats, ScoredEvents
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.smooth_figure import Derivatives, Parameter, SmoothFigure, central_spread
from zsig_hep.selection.thresholds.scan import ThresholdScan, scan_thresholds
from zsig_hep.selection.thresholds.working_points import choose_working_point
from zsig_hep.statistics.significance import FigureOfMerit

Status = Literal["ok", "several_maxima", "limited", "flat", "kink", "no_working_point"]

# As a fraction of the bandwidth; a smaller derivative of the cut is rounding. The one in the luminosity is zero where Z
# is proportional to its square root.
_ROUNDING = 1e-10
# A figure of merit that varies by a smaller fraction over all allowed cuts is flat.
_FLAT = 1e-3
# Largest |Z_t| h / Z of a stationary point; the rounding of a sum over a million events is far smaller.
_STATIONARY = 1e-6
_POINTS_PER_BANDWIDTH, _FEWEST_POINTS, _MOST_POINTS = 2, 50, 2000
# Replicas are binned; five bins per bandwidth change the fraction g of `smooth_figure` by less than 2e-4.
_BINS_PER_BANDWIDTH = 5
# An event this many bandwidths from the cut passes or fails to within 2e-9.
_REACH = 20


@dataclass(frozen=True)
class Impact:
    """Derivatives of the optimum in the natural logarithm of one parameter.

    Attributes:
        parameter: the parameter.
        significance_slope: dZmax/dtheta; None where the optimum is a kink.
        significance_slope_uncertainty: its standard deviation over the replicas.
        cut_slope: dt*/dtheta in units of the score; None where there is no stationary maximum.
        cut_slope_uncertainty: half of the central 68 % interval of the replicas that have one.
        cut_slope_with_bandwidths: dt*/dtheta with half and with twice the bandwidth; None where there is no maximum.
        shift: change of Z when a background's yield increases by its systematic uncertainty, k dZmax/dtheta; None for
            other parameters.
    """

    parameter: Parameter
    significance_slope: float | None
    significance_slope_uncertainty: float | None
    cut_slope: float | None
    cut_slope_uncertainty: float | None
    cut_slope_with_bandwidths: tuple[float | None, float | None]
    shift: float | None


@dataclass(frozen=True)
class OtherMaximum:
    """Another local maximum of the significance.

    Attributes:
        cut: position of the maximum.
        significance: Z there.
    """

    cut: float
    significance: float


@dataclass(frozen=True)
class ImpactTable:
    """Impacts of all parameters, the largest change of the significance first.

    Attributes:
        status: "ok"; "several_maxima" when the Z of another maximum is equal within two standard deviations, so that
            the cut may jump; "limited" when the requirements of the working point exclude the maximum of Z, so that the
            cut does not depend on the parameters; "flat" when Z hardly depends on the cut; "kink" when the smallest of
            several significances changes from one signal to another at the optimum; "no_working_point" when no
            threshold qualifies.
        reason: empty when ok; otherwise what was found, with numbers.
        rows: impacts; none without a working point.
        cut: t*, one for all folds, on all events.
        cut_uncertainty: half of the central 68 % interval of the replicas.
        significance: Z of the smoothed yields at t*, on the events that chose it.
        curvature: Z_tt at t*.
        residual: |Z_t| h / Z at t*, which is 0 at a stationary point.
        runner_up: the best other local maximum; None when there is none.
        bandwidth: h, in units of the score.
        replicas: number of bootstrap replicas that have a stationary maximum.
        figure_of_merit: the figure of merit that is differentiated: that of the settings, but the Asimov significance
            in place of an exact Poisson tail.
    """

    status: Status
    reason: str = ""
    rows: tuple[Impact, ...] = ()
    cut: float | None = None
    cut_uncertainty: float | None = None
    significance: float | None = None
    curvature: float | None = None
    residual: float | None = None
    runner_up: OtherMaximum | None = None
    bandwidth: float | None = None
    replicas: int = 0
    figure_of_merit: FigureOfMerit | None = None

    def _repr_html_(self) -> str:
        """The derivatives for each parameter, for notebooks."""
        rows = [
            [
                " ".join(filter(None, [row.parameter.kind, row.parameter.process])),
                row.significance_slope,
                row.cut_slope,
                row.shift,
            ]
            for row in self.rows
        ]
        title = f"Sensitivities of the optimal cut: {self.reason or self.status}"
        return html_table(title, ["parameter", "dZ/dtheta", "dt/dtheta", "shift of Z"], rows)


@dataclass(frozen=True, eq=False)
class _Optimum:
    """A maximum of each of R sets of weights on a grid."""

    values: Tensor
    cut: Tensor
    derivatives: Derivatives
    stationary: npt.NDArray[np.bool_]
    bandwidth: float

    def moves(self, index: int) -> Floats:
        """dt*/dtheta of one parameter, shape [R]; 0 where it is rounding."""
        found = self.derivatives.response[:, index].numpy()
        return np.where(np.abs(found) < _ROUNDING * self.bandwidth, 0.0, found)


def cut_sensitivities(
    events: ScoredEvents, settings: WorkingPointSettings, generator: np.random.Generator
) -> ImpactTable:
    """Differentiate the optimal cut on all events, with errors from a Poisson bootstrap over events.

    There is one cut for all folds, and the significance is that on the events that chose it, so only the derivatives
    should be quoted. The cut is restricted to the range of thresholds that qualify. The bandwidth is
    `settings.sensitivity.relative_bandwidth` times the mean distance of the selected signal from the threshold of the
    working point, so that it scales with the score. Replicas count every event n ~ Poisson(1) times and choose their
    own cut. The classifier is fixed, so the errors do not include those of the training.

    Args:
        events: events with out-of-fold scores; data are left out.
        settings: figure of merit, requirements, bandwidth and number of replicas.
        generator: random generator.

    Returns:
        The table; its status says which derivatives exist.

    Raises:
        InputError: the events cannot be scanned, or the range of scores is too large for the bandwidth.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> process = np.repeat([0, 1], 4000)
        >>> events = ScoredEvents.from_arrays(
        ...     rng.normal(1.0 - process), np.where(process == 0, 0.01, 0.5), process, names=["higgs", "dy"],
        ...     roles=["signal", "background"])
        >>> found = cut_sensitivities(events, WorkingPointSettings(), rng)
        >>> found.status, [row.parameter.process or row.parameter.kind for row in found.rows]
        ('ok', ['higgs', 'dy', 'luminosity'])
    """
    scan = scan_thresholds(events, settings)
    point = choose_working_point(scan, settings)
    if point.threshold is None:
        return ImpactTable("no_working_point", point.reason)
    events = events.simulated
    bandwidth = settings.sensitivity.relative_bandwidth * _mean_excess(events, scan, point.threshold)
    allowed = scan.threshold[scan.qualifies]
    grid = _grid(float(allowed[0]), float(allowed[-1]), bandwidth)
    objective = settings.objective.differentiable
    at = {factor: SmoothFigure.of_events(events, factor * bandwidth, objective) for factor in (1.0, 0.5, 2.0)}
    nominal, *others = (_optimum(figure, grid) for figure in at.values())
    drawn = _replicas(events, at[1.0], grid, settings.sensitivity.replicas, generator)
    return _table(at[1.0], grid, nominal, others, _optimum(drawn, grid), drawn)


def _mean_excess(events: ScoredEvents, scan: ThresholdScan, cut: float) -> float:
    """Mean of x - t over the signal above the cut t; the range of the scores if signed weights make it negative."""
    selected = scan.processes.is_signal[events.process] & (events.score >= cut)
    weight = events.weight[selected]
    excess = float((weight * (events.score[selected] - cut)).sum() / weight.sum())
    return excess if excess > 0 else float(scan.threshold[-1] - scan.threshold[0]) or 1.0


def _grid(low: float, high: float, bandwidth: float) -> Tensor:
    if (high - low) / _MOST_POINTS > bandwidth:
        message = (
            f"The scores run from {low:.4g} to {high:.4g}, which is too far for a smoothing by {bandwidth:.3g}: map each score "
            "to the fraction of the signal with lower scores first, or raise the bandwidth."
        )
        raise InputError(message)
    points = int(np.clip((high - low) / bandwidth * _POINTS_PER_BANDWIDTH, _FEWEST_POINTS, _MOST_POINTS))
    return torch.linspace(low, high, points, dtype=torch.float64)


def _optimum(figure: SmoothFigure, grid: Tensor) -> _Optimum:
    values = figure.on_grid(grid)
    cut = figure.maximum(grid, values)
    found = figure.derivatives(cut)
    residual = (found.cut_slope * figure.bandwidth / found.value).abs().numpy()
    inside = ((cut > grid[0]) & (cut < grid[-1])).numpy()
    return _Optimum(
        values, cut, found, inside & (found.cut_cut.numpy() < 0) & (residual < _STATIONARY), figure.bandwidth
    )


def _replicas(
    events: ScoredEvents, figure: SmoothFigure, grid: Tensor, replicas: int, generator: np.random.Generator
) -> SmoothFigure:
    """Histograms of replicas that count each event n ~ Poisson(1) times, in bins much narrower than the bandwidth."""
    width, reach = figure.bandwidth / _BINS_PER_BANDWIDTH, _REACH * figure.bandwidth
    start, stop = float(grid[0]) - reach, float(grid[-1]) + reach
    bins, count = int(np.ceil((stop - start) / width)), len(figure.processes)
    near = events.score > start
    bin_of = np.minimum((events.score[near] - start) / width, bins - 1).astype(np.int64)
    cell, weight = events.process[near] * bins + bin_of, events.weight[near]

    def histogram(values: Floats) -> Floats:
        return np.bincount(cell, values, minlength=count * bins).astype(np.float64, copy=False).reshape(count, bins)

    drawn = [
        (histogram(number * weight), histogram(number * weight**2))
        for number in (
            generator.poisson(1.0, cell.size).astype(np.float64)
            for _ in range(replicas)
        )
    ]  # fmt: skip
    sums, squares = (torch.tensor(np.stack(each)) for each in zip(*drawn, strict=True))
    centers = start + width * (torch.arange(bins, dtype=torch.float64) + 0.5)
    return SmoothFigure(centers, sums, squares, figure.bandwidth, figure.processes, figure.objective)


def _table(
    figure: SmoothFigure,
    grid: Tensor,
    nominal: _Optimum,
    others: list[_Optimum],
    replicas: _Optimum,
    drawn: SmoothFigure,
) -> ImpactTable:
    runner_up = _runner_up(nominal, grid)
    status, reason = _status(grid, nominal, runner_up, drawn)
    found, good = nominal.derivatives, replicas.stationary
    rows = [_impact(index, each, status, nominal, others, replicas) for index, each in enumerate(figure.parameters)]
    return ImpactTable(
        status=status,
        reason=reason,
        rows=tuple(sorted(rows, key=lambda row: -abs(row.significance_slope or 0.0))),
        cut=float(nominal.cut),
        cut_uncertainty=central_spread(replicas.cut.numpy()[good]),
        significance=float(found.value),
        curvature=float(found.cut_cut),
        residual=abs(float(found.cut_slope * figure.bandwidth / found.value)),
        runner_up=runner_up,
        bandwidth=figure.bandwidth,
        replicas=int(good.sum()),
        figure_of_merit=figure.objective.figure,
    )


def _impact(
    index: int,
    parameter: Parameter,
    status: Status,
    nominal: _Optimum,
    others: list[_Optimum],
    replicas: _Optimum,
) -> Impact:
    slopes = replicas.derivatives.parameters[:, index].numpy()
    moves = replicas.moves(index)[replicas.stationary]
    smooth, stationary = status != "kink", status in {"ok", "several_maxima"}
    value = float(nominal.derivatives.parameters[0, index])
    half, double = (float(each.moves(index)[0]) if each.stationary[0] else None for each in others)
    known = parameter.relative_uncertainty if parameter.kind == "cross_section" else None
    return Impact(
        parameter=parameter,
        significance_slope=value if smooth else None,
        significance_slope_uncertainty=float(np.std(slopes[np.isfinite(slopes)], ddof=1)) if smooth else None,
        cut_slope=float(nominal.moves(index)[0]) if stationary else None,
        cut_slope_uncertainty=central_spread(moves) if stationary else None,
        cut_slope_with_bandwidths=(half, double) if stationary else (None, None),
        shift=known * value if known and smooth else None,
    )


def _runner_up(optimum: _Optimum, grid: Tensor) -> OtherMaximum | None:
    """The highest other local maximum on the grid, its ends included."""
    values = optimum.values[:, 0].numpy()
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    is_peak = (values > padded[:-2]) & (values >= padded[2:])
    is_peak[int(values.argmax())] = False
    if not is_peak.any():
        return None
    best = int(np.where(is_peak, values, -np.inf).argmax())
    return OtherMaximum(float(grid[best]), float(values[best]))


def _status(
    grid: Tensor,
    nominal: _Optimum,
    runner_up: OtherMaximum | None,
    drawn: SmoothFigure,
) -> tuple[Status, str]:
    cut, values = float(nominal.cut), nominal.values[:, 0].numpy()
    best, lowest = float(values.max()), float(values[np.isfinite(values)].min())
    if best - lowest < _FLAT * best:
        return "flat", (
            f"Z lies between {lowest:.4g} and {best:.4g} for every allowed cut from {float(grid[0]):.4g} to "
            f"{float(grid[-1]):.4g}: no cut is preferred"
        )
    if cut in {float(grid[0]), float(grid[-1])}:
        return "limited", (
            f"Z rises up to the {'loosest' if cut == float(grid[0]) else 'tightest'} cut that the requirements of the "
            f"working point allow, {cut:.4g}: the cut does not depend on the parameters"
        )
    slope, curvature = float(nominal.derivatives.cut_slope), float(nominal.derivatives.cut_cut)
    if abs(slope) * nominal.bandwidth >= _STATIONARY * best:
        return "kink", (
            f"at the highest Z the derivative in the cut is {slope:.3g} instead of zero: there the smallest significance "
            "changes from one signal to another; with signals: mean or signals: sum the derivatives exist"
        )
    if not curvature < 0:
        return "flat", f"Z has no maximum: its curvature is {curvature:.3g} at the cut {cut:.4g} of highest Z"
    if runner_up is not None:
        with torch.no_grad():
            first, second = (
                drawn(torch.full((len(drawn.weights),), at, dtype=torch.float64)) for at in (cut, runner_up.cut)
            )
        spread = float(np.nanstd((first - second).numpy(), ddof=1))
        if best - runner_up.significance < 2 * spread:
            return "several_maxima", (
                f"Z = {runner_up.significance:.4g} at the cut {runner_up.cut:.4g} is within two standard deviations "
                f"({spread:.2g} each) of Z = {best:.4g} at {cut:.4g}: the cut may jump from one to the other"
            )
    return "ok", ""
