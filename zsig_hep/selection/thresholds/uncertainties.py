"""Uncertainty of a significance from the finite simulation at fixed cuts, by three methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from zsig_hep.errors import InputError
from zsig_hep.selection.events import Booleans, Floats, ScoredEvents
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection
from zsig_hep.statistics.objective import Objective, SelectionSignificance

JackknifeStatus = Literal["agrees", "disagrees", "not_defined"]
RARE = 0.003
"""Probability of a jackknife that disagrees by chance."""


@dataclass(frozen=True)
class SignificanceUncertainties:
    """Three estimates of the standard deviation of one significance, which agree if Z is linear in the yields.

    Attributes:
        significance: Z of the selected events.
        propagated: from the sums of squared weights and the derivatives of Z; exact for small deviations.
        bootstrap: standard deviation over replicas that count every event n ~ Poisson(1) times. It includes the
            curvature of Z; its relative error is 1 / sqrt(2 replicas).
        jackknife: from the significances without one fold each. It uses neither sums of squared weights nor
            derivatives, and it includes correlations between events of one fold. Its relative error is 1 / sqrt(2
            (folds - 1)), so that intervals follow Student's distribution with folds - 1 degrees of freedom. None if Z
            without some fold is not finite.
        replicas: number of replicas with a finite significance.
        folds: number of folds.
    """

    significance: float
    propagated: float
    bootstrap: float
    jackknife: float | None
    replicas: int
    folds: int

    @property
    def jackknife_chi2(self) -> float | None:
        """(folds - 1) jackknife^2 / propagated^2, which follows chi2 with folds - 1 degrees of freedom if both are right."""
        if self.jackknife is None or not self.propagated > 0:
            return None
        return (self.folds - 1) * (self.jackknife / self.propagated) ** 2

    @property
    def jackknife_status(self) -> JackknifeStatus:
        """Whether it agrees: "disagrees" where a chi2 as far from its mean, on either side, has a probability below 0.003.

        Example:
            >>> SignificanceUncertainties(1.0, 0.1, 0.1, 0.25, 1000, 5).jackknife_status
            'disagrees'
        """
        chi2 = self.jackknife_chi2
        if chi2 is None:
            return "not_defined"
        tails = stats.chi2.cdf(chi2, self.folds - 1), stats.chi2.sf(chi2, self.folds - 1)
        return "disagrees" if 2 * min(tails) < RARE else "agrees"


def significance_uncertainties(
    selected: Booleans,
    events: ScoredEvents,
    objective: Objective,
    generator: np.random.Generator,
    *,
    replicas: int = 1000,
    common_uncertainty: float | None = None,
) -> SignificanceUncertainties:
    """Uncertainty of the significance of a selection by propagation, bootstrap over events and jackknife over folds.

    With the significance Z_(k) of the events outside fold k, with weights multiplied by K / (K - 1), the jackknife is

        sigma^2 = (K - 1)/K sum_k (Z_(k) - mean Z_(k))^2                                       (1)

    (B. Efron and C. Stein, Ann. Statist. 9 (1981) 586). The cuts and the classifier are fixed in all three.

    Args:
        selected: events that pass, shape [N].
        events: the N events, with at least 2 folds; data are left out.
        objective: the figure of merit.
        generator: random generator of the replicas.
        replicas: number of replicas, at least 2.
        common_uncertainty: relative uncertainty common to all backgrounds; replaces that of the objective.

    Returns:
        The significance with its three uncertainties; if the selected background is not positive, the first two are NaN
        and the jackknife is None.

    Raises:
        InputError: the selection is not boolean of shape [N], or there are fewer than 2 folds or replicas.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> events = ScoredEvents.from_arrays(
        ...     np.zeros(5000), np.repeat([0.02, 0.5], [1000, 4000]), np.repeat([0, 1], [1000, 4000]),
        ...     names=["hmumu", "dy"], roles=["signal", "background"], fold=rng.integers(0, 50, 5000), fold_count=50)
        >>> found = significance_uncertainties(np.ones(5000, dtype=bool), events, Objective(), rng)
        >>> round(found.significance, 3), round(found.propagated, 4), round(found.bootstrap, 4), round(found.jackknife, 4)
        (0.446, 0.0145, 0.0145, 0.0162)
    """
    passes = _checked(selected, events, replicas)
    nominal, drawn = bootstrap_significances(
        passes[None], events, objective, generator=generator, replicas=replicas, common_uncertainty=common_uncertainty
    )
    passing = events.select(passes).simulated

    def by_fold(values: Floats) -> Floats:
        """Sums by process and fold, shape [P, K]."""
        shape = len(passing.processes), passing.fold_count
        cell = passing.process * shape[1] + passing.fold
        return np.bincount(cell, weights=values, minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)

    def figure(yields: Floats, variances: Floats, **options: Any) -> SelectionSignificance:
        options["common_uncertainty"] = common_uncertainty
        return objective.evaluate(yields, variances, passing.processes, **options)

    yields, variances, *higher = (by_fold(passing.weight**power) for power in (1, 2, 3, 4))
    third, fourth = (each.sum(axis=1) for each in higher)
    z = figure(yields.sum(axis=1), variances.sum(axis=1), higher_moments=(third, fourth))
    # Without background some figures of merit have a value by convention, whose uncertainty is not zero but undefined.
    defined = bool(np.isfinite(z.uncertainty))
    finite = drawn[0][np.isfinite(drawn[0]) & defined]
    return SignificanceUncertainties(
        significance=float(nominal[0]),
        propagated=float(z.uncertainty),
        bootstrap=float(np.std(finite, ddof=1)) if finite.size > 1 else np.nan,
        jackknife=_jackknife(yields, variances, figure) if defined else None,
        replicas=int(finite.size),
        folds=events.fold_count,
    )


def held_out_uncertainties(
    point: HeldOutWorkingPoint,
    events: ScoredEvents,
    objective: Objective,
    generator: np.random.Generator,
    *,
    replicas: int = 1000,
) -> SignificanceUncertainties | None:
    """`significance_uncertainties` of a held-out working point.

    Args:
        point: result of `hold_out_working_point` on these events.
        events: events with out-of-fold scores.
        objective: the figure of merit.
        generator: random generator of the replicas.
        replicas: number of replicas.

    Returns:
        The uncertainties; None if the working point has no significance.
    """
    if point.status != "ok":
        return None
    selected = held_out_selection(events, point.thresholds)
    return significance_uncertainties(
        selected, events, objective, generator, replicas=replicas, common_uncertainty=point.common_uncertainty
    )


def _jackknife(
    yields: Floats, variances: Floats, figure: Callable[[Floats, Floats], SelectionSignificance]
) -> float | None:
    """Equation 1 from sums by process and fold, shape [P, K]."""
    count = yields.shape[1]
    factor = count / (count - 1)
    left_yields, left_variances = (each.sum(axis=1, keepdims=True) - each for each in (yields, variances))
    z = np.asarray(figure(factor * left_yields, factor**2 * left_variances).value)
    if not np.isfinite(z).all():
        return None
    return float(np.sqrt((count - 1) * np.var(z)))


def _checked(selected: Booleans, events: ScoredEvents, replicas: int) -> Booleans:
    passes = np.asarray(selected)
    if passes.dtype != np.bool_ or passes.shape != events.weight.shape:
        message = (
            f"The selection must be booleans of shape {events.weight.shape}; found {passes.dtype} of shape "
            f"{passes.shape}."
        )
        raise InputError(message)
    if events.fold_count < 2 or replicas < 2:
        message = f"A jackknife needs 2 folds and a bootstrap 2 replicas; found {events.fold_count} and {replicas}."
        raise InputError(message)
    return passes
