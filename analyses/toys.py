"""Gaussian toys whose best possible selections are known: exact significances of any score function of the plane.

Each process is a Gaussian of unit variance in two uncorrelated features. Yields above a threshold are then integrals that
a quadrature gives to five digits, so a classifier is judged without simulated events, and three limits can be drawn beside
it: the best linear cut, the likelihood ratio (J. Neyman, E. Pearson 1933), and the likelihood ratio against a mixture of
backgrounds with effective weights, which is optimal where backgrounds have systematic uncertainties.

The figure of merit is equation 1 of `analyses.efficiency_curves`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyses.efficiency_curves import (
    EffectiveWeightsLimit,
    EfficiencyCurve,
    Floats,
    LinearCut,
    best_half_plane,
)
from zsig_hep.errors import InputError
from zsig_hep.ntuples import EventTable
from zsig_hep.statistics import ProcessTable, Role

FEATURES = ("x1", "x2")
MARGIN = 6.0
"""Distance from the outermost centre to the edge of the quadrature's box, in standard deviations: 1e-9 lies outside."""


@dataclass(frozen=True)
class GaussianProcess:
    """A process whose events are normally distributed around a centre with unit variance in both features.

    Attributes:
        name: name of the process.
        centre: mean of the two features.
        cross_section_fb: cross section in fb.
        role: signal or background.
        relative_uncertainty: k_p of equation 1.
    """

    name: str
    centre: tuple[float, float]
    cross_section_fb: float
    role: Role = "background"
    relative_uncertainty: float = 0.0


@dataclass(frozen=True, eq=False)
class ToyEvents:
    """Simulated events of all processes, process after process.

    Attributes:
        features: f8 [N, 2].
        process: integer [N], index into the toy's processes.
        is_signal: bool [N].
        weight: f8 [N]; a process's sum is its yield.
    """

    features: Floats
    process: npt.NDArray[np.int64]
    is_signal: npt.NDArray[np.bool_]
    weight: Floats


@dataclass(frozen=True, eq=False)
class QuadratureGrid:
    """Midpoints of equal cells of the plane, shared by all processes.

    Attributes:
        points: f8 [G, 2].
        yields: expected yield of each process in each cell, f8 [P, G].
    """

    points: Floats
    yields: Floats


@dataclass(frozen=True)
class GaussianToy:
    """A counting experiment of one signal and several backgrounds in two features.

    Attributes:
        name: name of the toy.
        luminosity_ifb: integrated luminosity in 1/fb.
        processes: one signal and at least one background.
        minimum_signal_efficiency: thresholds below it are no working point.

    Raises:
        InputError: there is not exactly one signal, or no background.

    Example:
        >>> PAPER_CASE_1.yields.tolist()
        [300.0, 3000.0, 300000.0]
        >>> round(float(PAPER_CASE_1.likelihood_ratio_curve().significance_at(0.1)), 1)
        18.4
    """

    name: str
    luminosity_ifb: float
    processes: tuple[GaussianProcess, ...]
    minimum_signal_efficiency: float = 0.0

    def __post_init__(self) -> None:
        """Check the roles."""
        signals = [process.name for process in self.processes if process.role == "signal"]
        if len(signals) != 1 or len(self.processes) < 2:
            message = f"Toy {self.name!r} needs one signal and at least one background; its signals are {signals}."
            raise InputError(message)

    @functools.cached_property
    def process_table(self) -> ProcessTable:
        """Names and roles of the processes."""
        return ProcessTable.of(*zip(*((process.name, process.role) for process in self.processes), strict=True))

    @property
    def process_names(self) -> tuple[str, ...]:
        """Names of the processes."""
        return self.process_table.names

    @property
    def is_signal(self) -> npt.NDArray[np.bool_]:
        """Bool [P], true for the signal process."""
        return self.process_table.is_signal

    @property
    def centres(self) -> Floats:
        """Centres, f8 [P, 2]."""
        return np.array([process.centre for process in self.processes])

    @property
    def yields(self) -> Floats:
        """Expected yields at the luminosity, f8 [P]."""
        return self.luminosity_ifb * np.array([process.cross_section_fb for process in self.processes])

    @property
    def relative_uncertainties(self) -> Floats:
        """k_p of the backgrounds, f8 [B]."""
        return np.array([process.relative_uncertainty for process in self.processes])[~self.is_signal]

    @property
    def background_uncertainties(self) -> Mapping[str, float]:
        """Relative uncertainties by background name, where there are any."""
        return {
            process.name: process.relative_uncertainty for process in self.processes if process.relative_uncertainty
        }

    def draw(self, events: int | Sequence[int], generator: np.random.Generator) -> ToyEvents:
        """Simulate events.

        Args:
            events: number of events of every process, or of each process.
            generator: source of the random numbers.
        """
        counts = np.broadcast_to(np.asarray(events), len(self.processes))
        process = np.repeat(np.arange(len(self.processes)), counts)
        return ToyEvents(
            features=self.centres[process] + generator.standard_normal((len(process), 2)),
            process=process,
            is_signal=self.is_signal[process],
            weight=(self.yields / counts)[process],
        )

    def table(self, events: ToyEvents, folds: int = 5, fold_seed: int = 0) -> EventTable:
        """Events as the table that training and selection take; a fold by the event's features."""
        return EventTable.from_arrays(
            dict(zip(FEATURES, events.features.T, strict=True)),
            weight=events.weight,
            process=np.array(self.process_names)[events.process],
            roles={process.name: process.role for process in self.processes},
            luminosity_ifb=self.luminosity_ifb,
            folds=folds,
            fold_seed=fold_seed,
        )

    def densities(self, points: npt.ArrayLike) -> Floats:
        """Probability density of each process, f8 [P, ...], at points [..., 2]."""
        centres = self.centres.reshape(len(self.processes), *[1] * (np.ndim(points) - 1), 2)
        squares: Floats = ((np.asarray(points) - centres) ** 2).sum(-1)
        return np.exp(-squares / 2) / (2 * np.pi)

    def grid(self, points_per_axis: int = 1000) -> QuadratureGrid:
        """Quadrature of the plane by the midpoint rule, computed once per toy."""
        return _grid(self, points_per_axis)

    def exact_curve(self, scores: npt.ArrayLike, points_per_axis: int = 1000) -> EfficiencyCurve:
        """Yields above every threshold of a score known at the points of the grid.

        Points of equal score are selected together; between thresholds the interpolation selects a fraction of them.

        Args:
            scores: score at each point of `grid(points_per_axis)`, larger being more like signal, [G].
            points_per_axis: as given to `grid`.
        """
        values = np.asarray(scores, dtype=np.float64)
        order = np.argsort(-values, kind="stable")
        distinct = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
        above = np.cumsum(self.grid(points_per_axis).yields[:, order], axis=1)[:, distinct]
        signal = above[self.is_signal][0]
        return EfficiencyCurve(
            signal / signal[-1],
            above[~self.is_signal],
            float(self.yields[self.is_signal][0]),
            self.relative_uncertainties,
        )

    def curve_of(self, score: Callable[[Floats], npt.ArrayLike], points_per_axis: int = 1000) -> EfficiencyCurve:
        """`exact_curve` of a score function of points [G, 2]."""
        return self.exact_curve(score(self.grid(points_per_axis).points), points_per_axis)

    def likelihood_ratio(self, points: npt.ArrayLike, effective_weights: npt.ArrayLike = 1.0) -> Floats:
        """Logarithm of the signal's over the background's yield density, the latter with effective weights [B]."""
        densities = self.densities(points)
        weights = self.yields[~self.is_signal] * np.asarray(effective_weights, dtype=np.float64)
        background: Floats = np.tensordot(weights, densities[~self.is_signal], axes=1)
        signal: Floats = self.yields[self.is_signal][0] * densities[self.is_signal][0]
        return np.log(signal) - np.log(background)

    def likelihood_ratio_curve(
        self, effective_weights: npt.ArrayLike = 1.0, points_per_axis: int = 1000
    ) -> EfficiencyCurve:
        """`exact_curve` of the likelihood ratio: the limit for s / sqrt(b) when all weights are one."""
        yields = self.grid(points_per_axis).yields
        weights = np.broadcast_to(np.asarray(effective_weights, dtype=np.float64), len(yields) - 1)
        background = weights @ yields[~self.is_signal]
        return self.exact_curve(np.log(yields[self.is_signal][0]) - np.log(background), points_per_axis)

    def effective_weights_limit(
        self,
        signal_efficiency: float | None = None,
        *,
        rounds: int = 50,
        tolerance: float = 1e-3,
        points_per_axis: int = 1000,
    ) -> EffectiveWeightsLimit:
        """The largest Z of equation 1 that any selection reaches.

        The optimal region is a likelihood ratio against backgrounds weighted with c_p = -dZ/db_p at the optimum,
        proportional to 1 + 2 k_p^2 b_p. The weights and the working point are iterated to consistency, each round
        taking the geometric mean of the old and the wanted weights, without which large k_p oscillate.

        Args:
            signal_efficiency: working point; None takes the best one above `minimum_signal_efficiency`.
            rounds: most iterations.
            tolerance: relative change of the weights at which to stop.
            points_per_axis: of the quadrature.
        """
        return _fixed_point(self, signal_efficiency, rounds, tolerance, points_per_axis)

    def best_linear_cut(self, signal_efficiency: float | None = None) -> LinearCut:
        """The half plane of the largest Z of equation 1, from normal tails.

        Args:
            signal_efficiency: fraction of the signal to keep, in (0, 1); None takes the best one, to 0.001.
        """
        if signal_efficiency is not None:
            return best_half_plane(
                self.centres, self.yields, self.is_signal, self.relative_uncertainties, signal_efficiency
            )
        lowest = max(0.001, self.minimum_signal_efficiency)
        coarse = _best_of(self, np.arange(lowest, 1.0, 0.02))
        near = coarse.signal_efficiency + np.arange(-0.02, 0.0205, 0.001)
        return _best_of(self, near[(near >= lowest) & (near < 1)])


@functools.lru_cache(maxsize=4)
def _grid(toy: GaussianToy, points_per_axis: int) -> QuadratureGrid:
    low, high = toy.centres.min(0) - MARGIN, toy.centres.max(0) + MARGIN
    step = (high - low) / points_per_axis
    axes = [low[axis] + step[axis] * (np.arange(points_per_axis) + 0.5) for axis in (0, 1)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    return QuadratureGrid(points, toy.yields[:, None] * toy.densities(points) * step.prod())


def _fixed_point(
    toy: GaussianToy, signal_efficiency: float | None, rounds: int, tolerance: float, points_per_axis: int
) -> EffectiveWeightsLimit:
    weights, done = np.ones(len(toy.relative_uncertainties)), 0
    while True:
        done += 1
        curve = toy.likelihood_ratio_curve(weights, points_per_axis)
        at = signal_efficiency
        point = curve.best(toy.minimum_signal_efficiency) if at is None else curve.point_at(at)
        slopes = 1 + 2 * toy.relative_uncertainties**2 * np.array(point.background_yields)
        wanted = slopes / slopes[0]
        converged = bool(np.all(np.abs(wanted - weights) <= tolerance * weights))
        if converged or done == rounds:
            return EffectiveWeightsLimit(
                **dataclasses.asdict(point),
                effective_weights=tuple(float(weight) for weight in weights),
                rounds=done,
                converged=converged,
                curve=curve,
            )
        weights = np.sqrt(weights * wanted)


def _best_of(toy: GaussianToy, efficiencies: Floats) -> LinearCut:
    return max((toy.best_linear_cut(float(value)) for value in efficiencies), key=lambda cut: cut.significance)


def _paper_case(name: str, first_fb: float, second_fb: float) -> GaussianToy:
    return GaussianToy(
        name,
        3000.0,
        (
            GaussianProcess("signal", (4.0, 7.0), 0.1, "signal"),
            GaussianProcess("background_1", (2.0, 5.0), first_fb),
            GaussianProcess("background_2", (2.0, 10.0), second_fb),
        ),
        minimum_signal_efficiency=0.05,
    )


def _overlap(name: str, luminosity_ifb: float, background_fb: float, minimum_signal_efficiency: float) -> GaussianToy:
    return GaussianToy(
        name,
        luminosity_ifb,
        (
            GaussianProcess("signal", (3.0, 3.0), 1.0, "signal"),
            GaussianProcess("background_1", (1.5, 3.0), background_fb, relative_uncertainty=0.02),
            GaussianProcess("background_2", (3.0, 1.5), background_fb, relative_uncertainty=0.30),
        ),
        minimum_signal_efficiency,
    )


PAPER_CASE_1 = _paper_case("paper case 1", 1.0, 100.0)
"""The toy of arXiv:2412.09500 with the large background behind the signal in x2."""

PAPER_CASE_2 = _paper_case("paper case 2", 100.0, 1.0)
"""The toy of arXiv:2412.09500 with the large background before the signal in both features."""

OVERLAP_100 = _overlap("overlap, 100 per fb", 100.0, 10.0, 0.0)
"""Two backgrounds of equal yield, known to 2 % and 30 %."""

OVERLAP_3000 = _overlap("overlap, 3000 per fb", 3000.0, 50.0, 0.02)
"""The same with 150 times the background, where the systematic uncertainties dominate."""

TOYS = (PAPER_CASE_1, PAPER_CASE_2, OVERLAP_100, OVERLAP_3000)
