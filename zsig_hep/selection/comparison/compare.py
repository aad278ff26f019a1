"""Differences between classifiers, with errors from the simulation, the choice of cuts and the training.

Quantities without a cut come first: they are known better, since no cut moves with the fluctuations of a few events. The
error of a difference D is

    sigma_D^2 = sigma_simulation^2 + sigma_choice^2 + sigma_training^2                                (1)

- simulation: standard deviation of D over a Poisson bootstrap that counts each event equally often for both classifiers,
  at fixed cuts, each selection with its own background uncertainty from variations;
- choice, for Z at the chosen cuts: standard deviation of D over the partitions of the events. Cuts that are chosen again
  in each replica of a bootstrap would move twice as much as they do from sample to sample;
- training: for each classifier the variance over seeds of the quantity of the networks of one seed, divided by the number
  of seeds, since the score is a mean over seeds. At least 3 seeds give it.

Variances from few partitions and seeds are themselves uncertain. D / sigma_D follows about Student's distribution with

    nu = sigma_D^4 / sum_i (sigma_i^4 / nu_i)                                                         (2)

degrees of freedom (B. L. Welch, Biometrika 34 (1947) 28), nu_i one less than the number of replicas, partitions or seeds,
and "n standard deviations" are those of a Gaussian with the same probability.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr, html_table
from zsig_hep.selection.comparison.quantities import (
    BinnedSignificance,
    Quantity,
    WeightedArea,
    WeightedLogLoss,
    bootstrap_quantities,
)
from zsig_hep.selection.events import Floats, ScoredEvents
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.bootstrap import bootstrap_significances
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection, hold_out_working_point

QuantityName = Literal["binned_significance", "area", "log_loss", "significance"]
MissingPart = Literal["training", "choice"]

WITHOUT_CUT: tuple[QuantityName, ...] = ("binned_significance", "area", "log_loss")
FEWEST_SEEDS = 3
"""Number of seeds from which the spread of a training is estimated."""
NOTABLE = 2.0
"""Number of standard deviations from which a classifier is named as the better one."""


@dataclass(frozen=True, eq=False, repr=False)
class ScoredClassifier(ShortRepr):
    """A classifier to compare.

    Attributes:
        name: short name.
        events: events with its out-of-fold scores.
        working_point: result of `hold_out_working_point` on these events.
        seed_scores: out-of-fold scores of the networks of each of S seeds alone, shape [S, N]; None if not known.
    """

    name: str
    events: ScoredEvents
    working_point: HeldOutWorkingPoint
    seed_scores: Floats | None = None


@dataclass(frozen=True)
class QuantityDifference:
    """A quantity of a first classifier minus that of a second one, on the same events.

    Attributes:
        quantity: "binned_significance", "area" under the ROC curve, "log_loss", or "significance" at the chosen cuts.
        first: value of the first classifier.
        second: value of the second classifier.
        value: first - second.
        uncertainty: standard deviation of the difference, from the parts that are known.
        simulation: its part from the finite simulation.
        choice: its part from the choice of cuts; None without a cut, or if there is one partition only.
        training: its part from the training; None if a classifier has fewer than 3 seeds.
        missing: parts that the uncertainty lacks; no winner is then named.
        standard_deviations: |value| in standard deviations of a Gaussian with the same probability; None if the
            uncertainty is 0 or lacks a part.
        better: name of the better classifier if that is at least 2; otherwise None.
    """

    quantity: QuantityName
    first: float
    second: float
    value: float
    uncertainty: float
    simulation: float
    choice: float | None
    training: float | None
    missing: tuple[MissingPart, ...]
    standard_deviations: float | None
    better: str | None


@dataclass(frozen=True)
class Comparison:
    """A first classifier minus a second one.

    Attributes:
        first: name of the first classifier.
        second: name of the second classifier.
        quantities: those without a cut first; the significance at the chosen cuts last, if both have a working point.
    """

    first: str
    second: str
    quantities: tuple[QuantityDifference, ...]

    def of(self, quantity: QuantityName) -> QuantityDifference | None:
        """The difference of one quantity; None if there is none."""
        return next((each for each in self.quantities if each.quantity == quantity), None)

    def _repr_html_(self) -> str:
        """The differences, for notebooks."""
        rows = [[each.quantity, each.first, each.second, each.value, each.uncertainty] for each in self.quantities]
        title = f"{self.first} minus {self.second}"
        return html_table(title, ["quantity", self.first, self.second, "difference", "uncertainty"], rows)


def compare_classifiers(
    classifiers: Sequence[ScoredClassifier],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    *,
    replicas: int = 400,
) -> tuple[Comparison, ...]:
    """Compare the first of several classifiers with each of the others, equations 1 and 2 of this module.

    Args:
        classifiers: classifiers of the same events, in the same order.
        settings: figure of merit and requirements of the working points.
        generator: random generator of the bootstrap.
        replicas: number of its replicas, at least 2.

    Returns:
        One comparison for each classifier but the first. Quantities that are not finite are left out.

    Raises:
        InputError: the classifiers have different events, or seed scores of another shape.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> process = np.repeat([0, 1], 2000)
        >>> def scored(name, noise):
        ...     seeds = rng.normal(1.0 - process + rng.normal(0, 1, 4000), noise, (3, 4000))
        ...     events = ScoredEvents.from_arrays(
        ...         seeds.mean(axis=0), np.where(process == 0, 0.02, 0.5), process, names=["hmumu", "dy"],
        ...         roles=["signal", "background"])
        ...     return ScoredClassifier(name, events, hold_out_working_point(events, WorkingPointSettings()), seeds)
        >>> good, poor = scored("good", 0.1), scored("poor", 3.0)
        >>> (comparison,) = compare_classifiers([good, poor], WorkingPointSettings(), rng, replicas=50)
        >>> [(each.quantity, each.better) for each in comparison.quantities]  # doctest: +NORMALIZE_WHITESPACE
        [('binned_significance', 'good'), ('area', 'good'), ('log_loss', 'good'), ('significance', None)]
    """
    if len(classifiers) < 2:
        return ()
    classifiers = [_simulated(each) for each in classifiers]
    _require_same_events(classifiers)
    measured = [*_without_cut(classifiers, settings, generator, replicas)]
    measured += _with_cut(classifiers, settings, generator, replicas)
    return tuple(
        Comparison(
            classifiers[0].name,
            other.name,
            tuple(
                found
                for quantity in (*WITHOUT_CUT, "significance")
                if (found := _difference(quantity, classifiers[0].name, other.name, measured)) is not None
            ),
        )
        for other in classifiers[1:]
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """A quantity of one classifier: over replicas [R], partitions [P] (None without a cut) and seeds [S] (None: unknown)."""

    quantity: QuantityName
    name: str
    value: float
    drawn: Floats
    partitions: Floats | None
    seeds: Floats | None


def _without_cut(
    classifiers: Sequence[ScoredClassifier],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int,
) -> Iterator[_Measured]:
    scored = [classifier.events for classifier in classifiers]
    scored += [events for each in classifiers for events in _of_seeds(each)]
    binned_of_each = BinnedSignificance.of_each(
        scored, settings.objective, variations_in_figure=settings.variations_in_figure
    )
    quantities: list[list[Quantity]] = [
        [binned, WeightedArea.of_events(events), WeightedLogLoss.of_events(events)]
        for binned, events in zip(binned_of_each, scored, strict=True)
    ]
    every = [quantity for of_classifier in quantities[: len(classifiers)] for quantity in of_classifier]
    values, drawn = bootstrap_quantities(every, len(scored[0]), generator, replicas=replicas)
    ones = np.ones((1, len(scored[0])))
    of_seeds = iter(quantities[len(classifiers) :])
    for number, classifier in enumerate(classifiers):
        each_seed = [[quantity.of_counts(ones)[0] for quantity in next(of_seeds)] for _ in _of_seeds(classifier)]
        seeds = np.array(each_seed) if each_seed else None
        for column, quantity in enumerate(WITHOUT_CUT):
            row = number * len(WITHOUT_CUT) + column
            of_quantity = None if seeds is None else seeds[:, column]
            yield _Measured(quantity, classifier.name, float(values[row]), drawn[row], None, of_quantity)


def _of_seeds(classifier: ScoredClassifier) -> list[ScoredEvents]:
    """The events with the scores of each seed; none if these are not known or too few for a spread.

    The scores of single seeds under variations are not known, so that these are left out of the spread.
    """
    known = classifier.seed_scores
    if known is None or len(known) < FEWEST_SEEDS:
        return []
    return [replace(classifier.events, score=score, variations=()) for score in known]


def _with_cut(
    classifiers: Sequence[ScoredClassifier],
    settings: WorkingPointSettings,
    generator: np.random.Generator,
    replicas: int,
) -> Iterator[_Measured]:
    """Z at the cuts chosen in each partition, for the classifiers that have a working point."""
    usable = [each for each in classifiers if each.working_point.status == "ok"]
    if len(usable) < 2:
        return
    # Only partitions in which every classifier has a significance can be paired.
    paired = [
        number
        for number, choices in enumerate(zip(*(each.working_point.partitions for each in usable), strict=True))
        if all(choice.significance is not None for choice in choices)
    ]
    selections, common = [], []
    for classifier in usable:
        for number in paired:
            choice = classifier.working_point.partitions[number]
            selections.append(held_out_selection(in_partition(classifier.events, number), choice.thresholds))
            common.append(choice.common_uncertainty)
    k = settings.objective.relative_background_uncertainty
    nominal, drawn = bootstrap_significances(
        np.stack(selections),
        usable[0].events,
        settings.objective,
        generator=generator,
        replicas=replicas,
        common_uncertainty=np.array([k if each is None else each for each in common]),
    )
    shape = (len(usable), len(paired), replicas)
    for classifier, values, replicated in zip(usable, nominal.reshape(shape[:2]), drawn.reshape(shape), strict=True):
        seeds = _significances_of_seeds(classifier, settings)
        mean = replicated.mean(axis=0)
        yield _Measured("significance", classifier.name, float(values.mean()), mean, values, seeds)


def _significances_of_seeds(classifier: ScoredClassifier, settings: WorkingPointSettings) -> Floats | None:
    """Z at the cuts of the networks of each seed; NaN without a working point."""
    points = [hold_out_working_point(events, settings) for events in _of_seeds(classifier)]
    if not points:
        return None
    return np.array([np.nan if point.significance is None else point.significance for point in points])


def _difference(
    quantity: QuantityName, first: str, second: str, measured: Sequence[_Measured]
) -> QuantityDifference | None:
    by_name = {each.name: each for each in measured if each.quantity == quantity}
    if first not in by_name or second not in by_name:
        return None
    one, other = by_name[first], by_name[second]
    value = one.value - other.value
    replicas = one.drawn - other.drawn
    if not np.isfinite(value) or np.isfinite(replicas).sum() < 2:
        return None
    parts = [(float(np.nanvar(replicas, ddof=1)), np.isfinite(replicas).sum() - 1)]
    missing: list[MissingPart] = []
    choice = None
    if one.partitions is not None and other.partitions is not None:
        if len(one.partitions) > 1:
            parts.append((float(np.var(one.partitions - other.partitions, ddof=1)), len(one.partitions) - 1))
            choice = float(np.sqrt(parts[-1][0]))
        else:
            missing.append("choice")
    both = [_training_variance(each.seeds) for each in (one, other)]
    training = [each for each in both if each is not None]
    if len(training) < len(both):
        missing.append("training")
        training = []
    variance = sum(each for each, _ in parts + training)
    deviations = None if missing else _standard_deviations(value, parts + training)
    first_is_better = (value < 0) if quantity == "log_loss" else (value > 0)
    return QuantityDifference(
        quantity=quantity,
        first=one.value,
        second=other.value,
        value=value,
        uncertainty=float(np.sqrt(variance)),
        simulation=float(np.sqrt(parts[0][0])),
        choice=choice,
        training=float(np.sqrt(sum(each for each, _ in training))) if training else None,
        missing=tuple(missing),
        standard_deviations=deviations,
        better=None if deviations is None or deviations < NOTABLE else (first if first_is_better else second),
    )


def _training_variance(seeds: Floats | None) -> tuple[float, int] | None:
    """Variance of the mean over seeds, and its degrees of freedom; None for fewer than 3 seeds with a value."""
    if seeds is None or np.isfinite(seeds).sum() < FEWEST_SEEDS:
        return None
    known = seeds[np.isfinite(seeds)]
    return float(np.var(known, ddof=1) / len(known)), len(known) - 1


def _standard_deviations(value: float, parts: Sequence[tuple[float, int]]) -> float | None:
    """|value| in standard deviations of a Gaussian, by equation 2 from variances and their degrees of freedom.

    Example:
        >>> round(_standard_deviations(2.0, [(1.0, 10_000)]), 2), round(_standard_deviations(2.0, [(1.0, 4)]), 2)
        (2.0, 1.57)
    """
    variance = sum(each for each, _ in parts)
    if not variance > 0:
        return None
    freedom = variance**2 / sum(each**2 / degrees for each, degrees in parts)
    return float(stats.norm.isf(stats.t.sf(abs(value) / np.sqrt(variance), freedom)))


def _simulated(classifier: ScoredClassifier) -> ScoredClassifier:
    """The classifier without data; checks the seed scores."""
    events, seeds = classifier.events, classifier.seed_scores
    if seeds is not None and (seeds.ndim != 2 or seeds.shape[1] != len(events)):
        message = f"The seed scores of '{classifier.name}' must have shape [seeds, {len(events)}]; found {seeds.shape}."
        raise InputError(message)
    kept = None if seeds is None else seeds[:, ~events.is_data]
    return replace(classifier, events=events.simulated, seed_scores=kept)


def _require_same_events(classifiers: Sequence[ScoredClassifier]) -> None:
    first = classifiers[0]
    for other in classifiers[1:]:
        same = all(
            np.array_equal(getattr(first.events, name), getattr(other.events, name))
            for name in ("weight", "process", "fold")
        )
        if not same or first.events.processes != other.events.processes:
            message = (
                f"'{first.name}' and '{other.name}' scored different events; compare classifiers on the same events, in "
                "the same order and the same folds."
            )
            raise InputError(message)
