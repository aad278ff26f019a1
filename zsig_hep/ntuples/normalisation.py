"""Normalisation: the yield per unit of weight, from cross section, luminosity and sum of generator weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from zsig_hep.errors import NormalisationError
from zsig_hep.ntuples.datasets import SignOf, SumInHistogram, SumInTree, SumOfWeights, SumValue, WeightsAtLuminosity
from zsig_hep.ntuples.generator_sums import RATIO_TOLERANCE, EventWeights, GeneratorSums
from zsig_hep.ntuples.resolution import ResolvedDataset

IPB_PER_IFB = 1000.0
"""Inverse picobarns in an inverse femtobarn."""

Source = Literal["runs", "events", "value", "tree", "histogram", "normalised"]

_LARGEST_SHARE = 0.1


@dataclass(frozen=True)
class Normalisation:
    """The factor from weights to yields of a simulated dataset, with the numbers that it is computed from.

    Attributes:
        dataset: name of the dataset.
        process: name of its process.
        source: source of the sum of weights, or "normalised" for weights that are yields.
        sum_of_weights: sum of the generator weights of all generated events, by which yields are divided; None for
            weights that are yields.
        sum_over_events: sum of the generator weights of the events in the files, before the selection of the analysis.
        skim_ratio: `sum_over_events / sum_of_weights`, the weighted efficiency of the skim; None for weights that are
            yields.
        cross_section_pb: effective cross section in pb; None for weights that are yields.
        luminosity_ifb: integrated luminosity in 1/fb.
        factor: yield per unit of weight.
        generated_entries: number of generated events, None if not stored.
        entries_in_files: number of events in the files, before the selection of the analysis.
        notes: what is unusual in these numbers.
    """

    dataset: str
    process: str
    source: Source
    sum_of_weights: float | None
    sum_over_events: float
    skim_ratio: float | None
    cross_section_pb: float | None
    luminosity_ifb: float
    factor: float
    generated_entries: int | None
    entries_in_files: int
    notes: tuple[str, ...]


def normalise(
    dataset: ResolvedDataset,
    *,
    luminosity_ifb: float,
    events: EventWeights,
    stored: GeneratorSums | None,
    runs: GeneratorSums | None,
) -> Normalisation:
    """Compute the yield per unit of weight of a dataset.

        factor = sigma L / sum w

    with the effective cross section sigma, the luminosity L and the generator weights w of all generated events. Weights
    that are the yields at a luminosity L_0 have the factor L / L_0.

    Args:
        dataset: a simulated dataset.
        luminosity_ifb: integrated luminosity L in 1/fb.
        events: sums over the events of the files.
        stored: sums from the source of the dataset; None where the events or normalised weights are the source.
        runs: sums of the `Runs` trees, None if there are none.

    Returns:
        The normalisation.

    Raises:
        NormalisationError: the sum is missing, zero, negative or not finite, or contradicts the events or the Runs trees.
    """
    source = source_name(dataset.sum_of_weights)
    # The Runs tree sums the generator weight if that is a branch; not its sign, and not the number of events.
    comparable = runs if dataset.weight is not None and not isinstance(dataset.weight, SignOf) else None
    if source == "normalised":
        return _of_yields(dataset, luminosity_ifb, events, comparable)
    total = _usable_sum(dataset, source, events, stored, comparable)
    if dataset.cross_section_pb is None or not dataset.cross_section_pb > 0:
        msg = f"dataset {dataset.name!r} needs a positive cross_section_pb, not {dataset.cross_section_pb}"
        raise NormalisationError(msg)
    if problem := _contradiction(source, total, events, stored, comparable):
        msg = f"dataset {dataset.name!r}: {problem}"
        raise NormalisationError(msg)
    notes = [f"dataset {dataset.name!r}: {note}" for note in _notes(source, total, events, stored, comparable)]
    return Normalisation(
        dataset=dataset.name,
        process=dataset.process,
        source=source,
        sum_of_weights=total,
        sum_over_events=float(events.sum_of_weights),
        skim_ratio=float(events.sum_of_weights) / total,
        cross_section_pb=dataset.cross_section_pb,
        luminosity_ifb=luminosity_ifb,
        factor=dataset.cross_section_pb * luminosity_ifb * IPB_PER_IFB / total,
        generated_entries=_entries(stored, runs),
        entries_in_files=events.entries,
        notes=tuple(notes),
    )


def source_name(source: SumOfWeights) -> Source:
    """Name of a source of the sum of weights.

    Example:
        >>> source_name("runs"), source_name(SumValue(value=2.0)), source_name(WeightsAtLuminosity(weights_at_luminosity_ifb=1))
        ('runs', 'value', 'normalised')
    """
    if isinstance(source, str):
        return source
    names: dict[type, Source] = {SumValue: "value", SumInTree: "tree", SumInHistogram: "histogram"}
    return names.get(type(source), "normalised")


def _entries(stored: GeneratorSums | None, runs: GeneratorSums | None) -> int | None:
    return next((sums.entries for sums in (stored, runs) if sums is not None and sums.entries is not None), None)


def _of_yields(
    dataset: ResolvedDataset, luminosity_ifb: float, events: EventWeights, runs: GeneratorSums | None
) -> Normalisation:
    """The normalisation of weights that are yields already."""
    if runs is not None and events.entries and _agree(float(runs.sum_of_weights), float(events.sum_of_weights)):
        msg = (
            f"dataset {dataset.name!r}: its weights add to {float(events.sum_of_weights):g}, as the generator weights of its "
            "Runs trees do, so they are generator weights and not yields. Set sum_of_weights to `runs` and give a "
            "cross_section_pb, or name the branch of the normalised weights as `weight`."
        )
        raise NormalisationError(msg)
    at = dataset.sum_of_weights
    return Normalisation(
        dataset=dataset.name,
        process=dataset.process,
        source="normalised",
        sum_of_weights=None,
        sum_over_events=float(events.sum_of_weights),
        skim_ratio=None,
        cross_section_pb=None,
        luminosity_ifb=luminosity_ifb,
        factor=luminosity_ifb / at.weights_at_luminosity_ifb if isinstance(at, WeightsAtLuminosity) else 1.0,
        generated_entries=None if runs is None else runs.entries,
        entries_in_files=events.entries,
        notes=(),
    )


def _agree(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=RATIO_TOLERANCE)


def _usable_sum(
    dataset: ResolvedDataset,
    source: Source,
    events: EventWeights,
    stored: GeneratorSums | None,
    runs: GeneratorSums | None,
) -> float:
    """The sum to divide by.

    Raises:
        NormalisationError: it is not stored, is of other weights, or is zero, negative or not finite.
    """
    if source == "runs" and stored is None:
        msg = f"dataset {dataset.name!r} has no sum of weights in a Runs tree"
        raise NormalisationError(msg)
    if source == "runs" and runs is None:
        msg = (
            f"dataset {dataset.name!r}: its weight is not the generator weight that the Runs tree sums. "
            "Set sum_of_weights to `events` if nothing was skimmed, or to the matching value."
        )
        raise NormalisationError(msg)
    total = float((events if stored is None else stored).sum_of_weights)
    if not (total > 0 and math.isfinite(total)):
        kind = "zero" if total == 0 else "negative" if total < 0 else "not finite"
        msg = (
            f"dataset {dataset.name!r}: the sum of weights from {source!r} is {kind} ({total:g}), so its yields are "
            "undefined. Check the weight branch and the files, or give sum_of_weights a value."
        )
        raise NormalisationError(msg)
    return total


def _contradiction(
    source: Source, total: float, events: EventWeights, stored: GeneratorSums | None, runs: GeneratorSums | None
) -> str | None:
    """How the sum contradicts the events or the Runs trees of the files; None if it does not."""
    generated = None if runs is None else float(runs.sum_of_weights)
    if source == "events" and generated is not None and not _agree(generated, total):
        return (
            f"the weights of the events add to {total:g}, those of the generated events in the Runs tree to {generated:g}. "
            f"The files are a skim, and dividing by the events would make every yield {generated / total:.3g} times too "
            "large: set sum_of_weights to `runs`."
        )
    if source in {"tree", "histogram"} and generated is not None and not _agree(generated, total):
        return (
            f"the sum of weights in the {source} is {total:g}, but the Runs trees of the same files have {generated:g}. "
            "Set sum_of_weights to `runs`, or to the place that belongs to the weight branch."
        )
    own = stored if source in {"runs", "tree"} else None
    if own is not None and own.entries is not None and own.entries < events.entries:
        return (
            f"the files hold {events.entries} events, but their Runs trees count only {own.entries} generated ones. The sum "
            "belongs to other files."
        )
    over_events = float(events.sum_of_weights)
    if over_events / total > _largest_skim_ratio(events) * (1 + RATIO_TOLERANCE):
        negative = f", whose negative weights have a share of {events.negative_fraction:.3g}"
        return (
            f"the weights of the events add to {over_events:g}{negative if events.sum_of_negatives else ''}, more than "
            f"the sum of weights {total:g} of all generated events ({source}) allows. The sum belongs to other files."
        )
    if own is not None and (problem := _impossible_skim(events, own)):
        return f"{problem}. The sums belong to other files, or a file is damaged."
    return None


def _largest_skim_ratio(events: EventWeights) -> float:
    """Largest share of the sum of weights that a skim can keep: it removes negative weights only.

    With a fraction f of the absolute weights negative, the positive ones make (1 - f) / (1 - 2 f) of the sum.
    """
    negative = events.negative_fraction
    return (1 - negative) / (1 - 2 * negative) if negative < 0.5 else math.inf


def _impossible_skim(events: EventWeights, generated: GeneratorSums) -> str | None:
    """Why the events of the files cannot be part of the generated ones.

    The removed events r, N_r >= 0 of them, obey |sum_r w| <= sqrt(N_r sum_r w^2), unless weights were changed after the
    generation.
    """
    if generated.entries is None or generated.sum_of_squares is None:
        return None
    removed = generated.entries - events.entries
    squares, rounding = _removed_squares(events, generated)
    if squares < -rounding:
        return None
    difference = abs(float(generated.sum_of_weights - events.sum_of_weights))
    limit = math.sqrt(removed * (squares + rounding)) + RATIO_TOLERANCE * abs(float(generated.sum_of_weights))
    if difference <= limit:
        return None
    return (
        f"by their Runs trees the {removed} generated events that are not in the files have weights of sum "
        f"{float(generated.sum_of_weights - events.sum_of_weights):g} and squares of sum {squares:g}, which limit their "
        f"sum to {limit:g}"
    )


def _removed_squares(events: EventWeights, generated: GeneratorSums) -> tuple[float, float]:
    """Sum of the squared weights of generated events that are not in the files, and what rounding can do to it.

    Rounding moves a square by twice as much as the weight.
    """
    stored = generated.sum_of_squares or Fraction(0)
    rounding = 2 * RATIO_TOLERANCE * max(float(stored), float(events.sum_of_squares))
    return float(stored - events.sum_of_squares), rounding


def _notes(
    source: Source, total: float, events: EventWeights, stored: GeneratorSums | None, runs: GeneratorSums | None
) -> Iterator[str]:
    """What is unusual in the sums of a dataset without being impossible."""
    generated, over_events = None if runs is None else float(runs.sum_of_weights), float(events.sum_of_weights)
    disagrees = source == "value" and generated is not None and not _agree(generated, total)
    if disagrees and generated is not None:
        yield (
            f"the stated sum of weights {total:.6g} is {total / generated:.4g} times the {generated:.6g} of the Runs trees "
            "in its files: unless events of other files are meant to be in it, every yield is wrong by that factor"
        )
    if not _agree(over_events, total):
        yield (
            f"its files hold a share of {over_events / total:.4g} of the sum of weights ({over_events:.6g} of {total:.6g}, "
            f"{source}), which is taken as the efficiency of a skim"
        )
    elif stored is not None and stored.entries is not None and stored.entries != events.entries:
        yield (
            f"its {events.entries} events have the whole sum of weights of the {stored.entries} events that its Runs trees "
            "count: the others have no weight, or their weights cancel"
        )
    if source in {"runs", "tree"} and stored is not None and stored.sum_of_squares is not None:
        squares, rounding = _removed_squares(events, stored)
        if squares < -rounding:
            yield (
                f"the squared weights of its events add to {float(events.sum_of_squares):.6g}, more than the "
                f"{float(stored.sum_of_squares):.6g} of all generated events: its events were given larger weights than they "
                "were generated with, as where a part of them is kept for the whole"
            )
    if events.entries > 1 / _LARGEST_SHARE and events.largest > _LARGEST_SHARE * total:
        yield (
            f"one event has a weight of {events.largest:.4g}, {events.largest / total:.0%} of the sum of weights of all "
            "generated events"
        )
    counts = {events.entries, _entries(stored, runs)}
    mean = float(events.sum_of_weights - 2 * events.sum_of_negatives) / events.entries if events.entries else 1.0
    if source in {"value", "tree", "histogram"} and total in counts and not math.isclose(mean, 1.0, rel_tol=0.1):
        yield (
            f"its sum of weights is the number of events, {total:.0f}, but their mean weight is {mean:.4g}: take the sum "
            "of the weights, unless the number of events is that sum by chance"
        )
