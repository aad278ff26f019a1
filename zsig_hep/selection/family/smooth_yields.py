"""Smooth yields: every event counts for every process with its density ratio.

Simulated events of a background are few where a cut is tight, and yields that are counted jump from cut to cut. But the
events of the signal are many there, and their density ratios say how much of each background there is. On the mixture of
signal and background in equal parts, of density m = (p_s + p_b) / 2, an event has the weights

    p_s / m = 2 e / (1 + e),    p_b / m = 2 / (1 + e),    e = exp(logit)                                        (1)

for signal and background, and 2 f_k / (1 + e) for the background k. They are as good as the ratios are, which
`zsig_hep.selection.family.closure` tests, and serve for choosing coefficients only.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr
from zsig_hep.selection.ratios import Floats, LikelihoodRatios
from zsig_hep.statistics.process_table import ProcessTable, Role

# Exponentials of larger logits are not needed for an order, and would overflow.
_LARGEST_LOGIT = 300.0


@dataclass(frozen=True, eq=False, repr=False)
class SmoothYields(ShortRepr):
    """Expected yields of P processes, and of V shifts of the background, that each of N events stands for.

    Attributes:
        ratios: of the events.
        processes: the P processes, none of them data, in the order of the rows.
        yields: yield of each process that an event stands for, shape [N, P], and then the shifts of the background under
            each variation: (r_up - r_down) / 2 of all, and (r_up + r_down) / 2 - 1 of all, shape [N, P + 2 V]. Not
            normalised.
        scale: factor on each column with which a process has the yield that is counted, shape [P + 2 V].
        mean_weights: sum w^2 / sum w of each process, for the variance of the simulation, shape [P]; zero where the
            densities are exact.
    """

    ratios: LikelihoodRatios
    processes: ProcessTable
    yields: Floats
    scale: Floats
    mean_weights: Floats

    @classmethod
    def of_events(
        cls, ratios: LikelihoodRatios, weight: Floats, process: npt.NDArray[np.integer], processes: ProcessTable
    ) -> Self:
        """Smooth yields of simulated events.

        Args:
            ratios: of the events.
            weight: signed weights [events], shape [N].
            process: index of each event's process, shape [N].
            processes: the P processes, none of them data.

        Raises:
            InputError: the ratios are not those of the backgrounds, or the signal or background yield is not positive.
        """
        counted, squares = (
            np.bincount(process, each, minlength=len(processes)).astype(np.float64) for each in (weight, weight**2)
        )
        is_signal = processes.is_signal[process]
        totals = _positive_totals(counted, processes)
        mixture = weight / (2 * np.where(is_signal, totals[0], totals[1]))
        mean_weights = np.divide(squares, counted, out=np.zeros_like(counted), where=counted > 0)
        return cls.of_mixture(ratios, mixture, counted, processes, mean_weights)

    @classmethod
    def of_mixture(
        cls,
        ratios: LikelihoodRatios,
        mixture: Floats,
        totals: Floats,
        processes: ProcessTable,
        mean_weights: Floats | None = None,
    ) -> Self:
        """Smooth yields of events, or of the points of a quadrature, that are distributed like the mixture.

        Args:
            ratios: of the events.
            mixture: share of the mixture that an event stands for, shape [N]; they add up to one.
            totals: yield of each process [events], shape [P].
            processes: the P processes, none of them data.
            mean_weights: see the attribute; None for zero.
        """
        _require_columns(ratios, processes)
        s, b = _positive_totals(totals, processes)
        logit = ratios.logit
        signal = s * mixture * 2 * expit(logit)
        background = b * mixture * 2 * expit(-logit)
        yields = np.empty((len(ratios), len(processes) + 2 * len(ratios.variation_names)))
        yields[:, processes.rows("signal")] = signal[:, None] * _signal_shares(ratios, totals, processes)
        yields[:, processes.rows("background")] = background[:, None] * ratios.composition
        yields[:, len(processes) :] = background[:, None] * np.hstack([ratios.odd_shifts, ratios.even_shifts])
        return cls(
            ratios, processes, yields, _scale(yields, totals, processes),
            np.zeros(len(processes)) if mean_weights is None else mean_weights,
        )  # fmt: skip

    @cached_property
    def totals(self) -> Floats:
        """Yield of each process without a cut, shape [P]."""
        rows = len(self.processes)
        return np.asarray(self.yields[:, :rows].sum(axis=0) * self.scale[:rows])

    def every(self, stride: int) -> Self:
        """Every n-th event, with the same yields in all."""
        if stride == 1:
            return self
        kept = np.s_[::stride]
        yields = self.yields[kept]
        return type(self)(
            self.ratios.select(kept), self.processes, yields, _scale(yields, self.totals, self.processes),
            self.mean_weights,
        )  # fmt: skip

    def ordering_columns(self) -> tuple[Floats, Floats]:
        """What a score of the family is made of: e^-logit, shape [N], and g_j, f_k, u_v and u'_v in the order of `yields`.

        Events are ordered by e^-logit times the sum of backgrounds and shifts over that of signals, each with its
        coefficients; it is lowest for the most signal-like events, and negative for those that are always accepted.
        """
        columns = np.empty_like(self.yields)
        shares = _signal_shares(self.ratios, self.totals, self.processes)
        columns[:, self.processes.rows("signal")] = shares
        columns[:, self.processes.rows("background")] = self.ratios.composition
        columns[:, len(self.processes) :] = np.hstack([self.ratios.odd_shifts, self.ratios.even_shifts])
        return np.exp(-np.clip(self.ratios.logit, -_LARGEST_LOGIT, _LARGEST_LOGIT)), columns


def _positive_totals(totals: Floats, processes: ProcessTable) -> tuple[float, float]:
    roles: tuple[Role, Role] = ("signal", "background")
    found = [float(processes.summed(totals, role)) if processes.rows(role) else 0.0 for role in roles]
    for role, total in zip(roles, found, strict=True):
        if not total > 0:
            message = f"The {role} yield is {total:g}; an optimal score needs a positive one."
            raise InputError(message)
    return found[0], found[1]


def _require_columns(ratios: LikelihoodRatios, processes: ProcessTable) -> None:
    if ratios.backgrounds != processes.backgrounds:
        message = (
            f"The composition has columns {', '.join(ratios.backgrounds)}, but the backgrounds are "
            f"{', '.join(processes.backgrounds) or 'none'}; they must be the same in the same order."
        )
        raise InputError(message)
    if ratios.signal_composition is not None and ratios.signals != processes.signals:
        message = (
            f"The signal composition has columns {', '.join(ratios.signals)}, but the signals are "
            f"{', '.join(processes.signals)}; they must be the same in the same order."
        )
        raise InputError(message)


def _signal_shares(ratios: LikelihoodRatios, totals: Floats, processes: ProcessTable) -> Floats:
    """g_j, or shares of the yields where they are not known, which is right for the sum of the signals."""
    if ratios.signal_composition is not None:
        return ratios.signal_composition
    of_signals = totals[processes.rows("signal")]
    return np.broadcast_to(of_signals / of_signals.sum(), (len(ratios), of_signals.size))


def _scale(yields: Floats, totals: Floats, processes: ProcessTable) -> Floats:
    sums = yields[:, : len(processes)].sum(axis=0)
    scale = np.divide(totals, sums, out=np.ones_like(sums), where=(sums > 0) & (totals > 0))
    background = processes.rows("background")
    of_all = totals[background].sum() / sums[background].sum()
    return np.concatenate([scale, np.full(yields.shape[1] - len(processes), of_all)])
