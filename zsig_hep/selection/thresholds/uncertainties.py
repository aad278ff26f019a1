"""The uncertainty that the finite simulation leaves on a significance at fixed cuts, three ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.datasets import Role
from zsig_hep.selection.events import Booleans, Events, Floats, Integers
from zsig_hep.selection.figure_of_merit import SelectionSignificance, WorkingPointSettings, significance
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection


@dataclass(frozen=True)
class SignificanceUncertainties:
    """Three standard deviations of one significance; they agree if it answers linearly to the events that are selected.

    Attributes:
        significance: Z of the selected events.
        propagated: from the sums of squared weights and the derivatives of Z; exact for small deviations.
        bootstrap: standard deviation over replicas that count every event n ~ Poisson(1) times. It sees the curvature
            of Z; its own relative error is 1 / sqrt(2 replicas).
        jackknife: from the significances without one fold each. It is blind to weights and derivatives, and sees any
            dependence between events of one fold; its own relative error is 1 / sqrt(2 (folds - 1)), so that intervals
            follow Student's distribution of folds - 1 degrees of freedom. None if Z without some fold is not finite.
        replicas: number of replicas with a finite significance.
        folds: number of folds.
    """

    significance: float
    propagated: float
    bootstrap: float
    jackknife: float | None
    replicas: int
    folds: int


def significance_uncertainties(
    selected: Booleans,
    weight: npt.ArrayLike,
    process: npt.ArrayLike,
    fold: npt.NDArray[np.integer],
    *,
    fold_count: int,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int = 1000,
    common_uncertainty: float | None = None,
) -> SignificanceUncertainties:
    """Propagation, bootstrap over events and jackknife over folds of the significance of a selection.

    With Z_(k) that of the events outside fold k, their weights multiplied by K / (K - 1), the jackknife is

        sigma^2 = (K - 1)/K sum_k (Z_(k) - mean Z_(k))^2                                       (1)

    (B. Efron and C. Stein, Ann. Statist. 9 (1981) 586). All three hold the cuts, and with them the classifier.

    Args:
        selected: events that pass, shape [N].
        weight: signed event weights, shape [N], in events at the luminosity.
        process: index into `process_names`, shape [N].
        fold: fold of each event in [0, fold_count), equal shares by a hash of the event identity, shape [N].
        fold_count: number of folds K, at least 2.
        process_names: names of all processes.
        roles: role of each process; events of data processes are left out.
        settings: figure of merit.
        generator: source of the replicas' randomness.
        replicas: number of replicas, at least 2.
        common_uncertainty: relative uncertainty of all backgrounds together, in place of that of the settings.

    Returns:
        The significance with its three uncertainties; these are NaN, and None, where the selected background is not
        positive.

    Raises:
        InputError: lengths differ, a weight is not finite, an index or a fold is out of range, or a number is too small.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> found = significance_uncertainties(
        ...     np.ones(5000, dtype=bool), np.repeat([0.02, 0.5], [1000, 4000]), np.repeat([0, 1], [1000, 4000]),
        ...     rng.integers(0, 50, 5000), fold_count=50, process_names=("hmumu", "dy"), roles=("signal", "background"),
        ...     settings=WorkingPointSettings(), generator=rng)
        >>> round(found.significance, 3), round(found.propagated, 4), round(found.bootstrap, 4), round(found.jackknife, 4)
        (0.446, 0.0145, 0.0145, 0.0162)
    """
    events = Events.checked(np.zeros(np.shape(weight)), weight, process, process_names=process_names, roles=roles)
    passes, folds = _checked(selected, fold, events, fold_count, replicas)
    nominal, drawn = bootstrap_significances(
        passes[None], events.weight, events.process,
        process_names=process_names, roles=roles, settings=settings, generator=generator, replicas=replicas,
        common_uncertainty=common_uncertainty,
    )  # fmt: skip
    rows = [index for index, role in enumerate(roles) if role != "data"]
    yields, variances = (
        _by_fold(passes, values, events.process, folds, (len(roles), fold_count))[rows]
        for values in (events.weight, events.weight**2)
    )
    names, of_role = [process_names[row] for row in rows], [roles[row] for row in rows]

    def figure(yields: Floats, variances: Floats) -> SelectionSignificance:
        return significance(yields, variances, names, of_role, settings, common_uncertainty=common_uncertainty)

    z = figure(yields.sum(axis=1), variances.sum(axis=1))
    # Without background some figures have a value by convention, which must not pass for one without uncertainty.
    defined = bool(np.isfinite(z.uncertainty))
    finite = drawn[0][np.isfinite(drawn[0]) & defined]
    return SignificanceUncertainties(
        significance=float(nominal[0]),
        propagated=float(z.uncertainty),
        bootstrap=float(np.std(finite, ddof=1)) if finite.size > 1 else np.nan,
        jackknife=_jackknife(yields, variances, figure) if defined else None,
        replicas=int(finite.size),
        folds=fold_count,
    )


def held_out_uncertainties(
    point: HeldOutWorkingPoint,
    score: npt.ArrayLike,
    weight: npt.ArrayLike,
    process: npt.ArrayLike,
    fold: npt.NDArray[np.integer],
    *,
    process_names: Sequence[str],
    roles: Sequence[Role],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int = 1000,
) -> SignificanceUncertainties | None:
    """`significance_uncertainties` of a held-out working point, on the events that it was found with.

    Args:
        point: of `hold_out_working_point` with the same arguments.
        score: out-of-fold classifier output, shape [N].
        weight: signed event weights, shape [N].
        process: index into `process_names`, shape [N].
        fold: fold of each event, shape [N].
        process_names: names of all processes.
        roles: role of each process.
        settings: figure of merit.
        generator: source of the replicas' randomness.
        replicas: number of replicas.

    Returns:
        The uncertainties; None where the working point has no significance.

    Raises:
        InputError: as `significance_uncertainties`.
    """
    if point.status != "ok":
        return None
    scores = np.asarray(score, dtype=np.float64)
    return significance_uncertainties(
        held_out_selection(scores, fold, point.thresholds), weight, process, fold,
        fold_count=len(point.thresholds), process_names=process_names, roles=roles, settings=settings,
        generator=generator, replicas=replicas, common_uncertainty=point.common_uncertainty,
    )  # fmt: skip


def _by_fold(passes: Booleans, values: Floats, process: Integers, folds: Integers, shape: tuple[int, int]) -> Floats:
    """Sum of the passing values by process and fold, in that shape."""
    cell = process[passes] * shape[1] + folds[passes]
    return np.bincount(cell, weights=values[passes], minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)


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


def _checked(
    selected: Booleans, fold: npt.NDArray[np.integer], events: Events, fold_count: int, replicas: int
) -> tuple[Booleans, Integers]:
    passes, folds = np.asarray(selected), np.asarray(fold)
    if passes.dtype != np.bool_ or not passes.shape == folds.shape == events.weight.shape:
        message = (
            "The selection must be booleans, and selection, weights and folds of one length; found "
            f"{passes.dtype} of shape {passes.shape}, and shapes {events.weight.shape} and {folds.shape}."
        )
        raise InputError(message)
    if fold_count < 2 or replicas < 2:
        message = f"A jackknife needs 2 folds and a bootstrap 2 replicas; found {fold_count} and {replicas}."
        raise InputError(message)
    if folds.size and (folds.dtype.kind not in "iu" or folds.min() < 0 or folds.max() >= fold_count):
        message = (
            f"Folds must be integers in [0, {fold_count}); found {folds.dtype} from {folds.min()} to {folds.max()}."
        )
        raise InputError(message)
    return passes, folds.astype(np.int64)
