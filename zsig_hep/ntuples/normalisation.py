"""Normalisation: the yield per unit of weight, from cross section, luminosity and sum of generator weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from uproot.behaviors.RNTuple import HasFields
from uproot.behaviors.TBranch import HasBranches

from zsig_hep.errors import NormalisationError
from zsig_hep.ntuples.datasets import SignOf, SumValue
from zsig_hep.ntuples.resolution import ResolvedDataset

IPB_PER_IFB = 1000.0
"""Inverse picobarns in an inverse femtobarn."""

RATIO_TOLERANCE = 1e-3
"""Relative difference between two sums of weights that is ascribed to the rounding of stored weights."""

_SUMS = ("genEventSumw", "genEventSumw2", "genEventCount")

_HIGH_BITS, _LOW_BITS = 26, 27
_MAXIMUM_LENGTH = 1 << 25


def exact_sum(values: NDArray[Any]) -> Fraction:
    """Sum floating-point numbers without rounding, so that the result does not depend on order or chunks.

    Each number is an integer times a power of two; the integers are added for each power, in two exact halves.

    Args:
        values: [N], finite; converted to float64.

    Returns:
        The sum as a fraction; conversion to float rounds once.

    Raises:
        NormalisationError: a value is not finite.

    Example:
        >>> float(exact_sum(np.array([1e16, 1.0, -1e16])))
        1.0
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        msg = "cannot sum values that are not finite"
        raise NormalisationError(msg)
    if len(values) and (values == values[0]).all():
        return Fraction(float(values[0])) * len(values)
    pieces = (values[start : start + _MAXIMUM_LENGTH] for start in range(0, len(values), _MAXIMUM_LENGTH))
    return sum(map(_exact_sum_of_piece, pieces), Fraction(0))


def _exact_sum_of_piece(values: NDArray[np.float64]) -> Fraction:
    fraction, exponent = np.frexp(values)
    lowest = int(exponent.min())
    exponent -= lowest
    fraction *= 1 << _HIGH_BITS
    high = np.floor(fraction)
    fraction -= high
    fraction *= 1 << _LOW_BITS
    # At most 2^25 halves below 2^27: every partial sum is an integer below 2^53, which float64 represents exactly.
    high_sums = np.bincount(exponent, weights=high)
    low_sums = np.bincount(exponent, weights=fraction)
    total = 0
    for power, (upper, lower) in enumerate(zip(high_sums.tolist(), low_sums.tolist(), strict=True)):
        total += ((int(upper) << _LOW_BITS) + int(lower)) << power
    return Fraction(total) * Fraction(2) ** (lowest - _HIGH_BITS - _LOW_BITS)


@dataclass(frozen=True)
class GeneratorSums:
    """Sums over all generated events, before any selection or skim.

    Attributes:
        sum_of_weights: sum of generator weights.
        sum_of_squares: sum of squared generator weights, None if not stored.
        entries: number of generated events, None if not stored.
    """

    sum_of_weights: Fraction
    sum_of_squares: Fraction | None
    entries: int | None

    def __add__(self, other: "GeneratorSums") -> "GeneratorSums":
        """Add the sums of other files; a sum that is None in one of them is None in the total."""
        return GeneratorSums(
            self.sum_of_weights + other.sum_of_weights,
            _add(self.sum_of_squares, other.sum_of_squares),
            _add(self.entries, other.entries),
        )


def read_runs_sum(file: Any, name: str, dataset: str) -> GeneratorSums:
    """Add the sums in the `Runs` tree of NanoAOD over all rows of a file.

    Args:
        file: the open `uproot` file.
        name: of the file, for messages.
        dataset: name of the dataset, for messages.

    Returns:
        The sums of `genEventSumw`, `genEventSumw2` and `genEventCount`, whose names may end in an underscore.

    Raises:
        NormalisationError: the file has no such tree or branch, or a sum is not finite or contradicts the others.
    """
    if (runs := runs_tree(file)) is None:
        msg = (
            f"dataset {dataset!r}: {name} has no Runs tree with genEventSumw. Set sum_of_weights to the "
            "value that the production reports, or to `events` if the files hold every generated event."
        )
        raise NormalisationError(msg)
    stored = [_stored(runs, key) for key in _SUMS]
    where = f"in the Runs tree of {name}"
    if (
        problem := _misnamed(where, runs)
        or _no_sums(where, stored, int(runs.num_entries))
        or _contradiction(where, *stored)
    ):
        msg = f"dataset {dataset!r}: {problem}. Produce the file again."
        raise NormalisationError(msg)
    total, squares, entries = map(_total, stored)
    return GeneratorSums(total or Fraction(0), squares, None if entries is None else int(entries))


def _misnamed(where: str, runs: Any) -> str | None:
    """Which branch has nearly the name of a sum that is not stored, as a damaged file has."""
    names = {stored for key in _SUMS if (stored := _stored_name(runs, key))}
    missing = [key for key in _SUMS if _stored_name(runs, key) is None]
    others = sorted(set(runs.keys()) - names)
    close = {key: match for key in missing for match in get_close_matches(key, others, n=1, cutoff=0.9)}
    return next((f"branch {match!r} {where} may be a damaged {key!r}" for key, match in close.items()), None)


def _no_sums(where: str, stored: Sequence[NDArray[Any] | None], rows: int) -> str | None:
    """What is wrong with single branches of the sums; None stands for a branch that is not stored."""
    for name, values in zip(_SUMS, stored, strict=True):
        if values is None:
            continue
        if values.shape != (rows,) or values.dtype.kind not in "iuf":
            return f"{name} {where} is not one number for each of the {rows} rows"
        if not (finite := np.isfinite(values)).all():
            return f"{name} {where} is not finite ({values[~finite][0]})"
        if name != "genEventSumw" and (values < 0).any():
            return f"{name} {where} is negative ({values.min():g})"
    return None


def _contradiction(where: str, weights: Any, squares: Any, counts: Any) -> str | None:
    """Which row of the sums of weights w and w^2 over N events contradicts |sum w| <= sqrt(N sum w^2).

    This is the inequality of Cauchy and Schwarz.
    """
    if squares is None or counts is None:
        return None
    largest = np.sqrt(counts) * np.sqrt(squares.astype(np.float64))
    if not (impossible := np.abs(weights) > largest * (1 + RATIO_TOLERANCE)).any():
        return None
    row = int(np.argmax(impossible))
    return (
        f"genEventSumw {where} is {weights[row]:g}, but genEventCount {counts[row]} and genEventSumw2 {squares[row]:g} "
        f"limit it to {largest[row]:g}"
    )


def runs_tree(file: Any) -> Any:
    """The `Runs` tree of an open file if it has a sum of generator weights, else None."""
    if "Runs" not in file.keys(cycle=False, recursive=False):
        return None
    runs = file["Runs"]
    if not isinstance(runs, HasBranches | HasFields):
        return None
    return runs if _stored_name(runs, "genEventSumw") else None


def _stored_name(runs: Any, name: str) -> str | None:
    known = set(runs.keys())
    return next((stored for stored in (name, f"{name}_") if stored in known), None)


def _stored(runs: Any, name: str) -> NDArray[Any] | None:
    """A branch by row, None if it is not stored."""
    stored = _stored_name(runs, name)
    return None if stored is None else np.asarray(runs[stored].array(library="np"))


def _total(values: NDArray[Any] | None) -> Fraction | None:
    return None if values is None else exact_sum(values)


Number = TypeVar("Number", int, Fraction)


def _add(first: Number | None, second: Number | None) -> Number | None:
    return None if first is None or second is None else first + second


@dataclass(frozen=True)
class Normalisation:
    """The factor from weights to yields of a simulated dataset, with the numbers that it is computed from.

    Attributes:
        dataset: name of the dataset.
        process: name of its process.
        source: source of the sum of weights.
        sum_of_weights: sum of the generator weights of all generated events, by which yields are divided.
        sum_over_events: sum of the generator weights of the events in the files, before the selection of the analysis.
        skim_ratio: `sum_over_events / sum_of_weights`, the weighted efficiency of the skim.
        cross_section_pb: effective cross section in pb.
        luminosity_ifb: integrated luminosity in 1/fb.
        factor: yield per unit of weight.
        generated_entries: number of generated events, None if not stored.
        entries_in_files: number of events in the files, before the selection of the analysis.
    """

    dataset: str
    process: str
    source: Literal["runs", "events", "value"]
    sum_of_weights: float
    sum_over_events: float
    skim_ratio: float
    cross_section_pb: float
    luminosity_ifb: float
    factor: float
    generated_entries: int | None
    entries_in_files: int | None


def normalise(
    dataset: ResolvedDataset,
    *,
    luminosity_ifb: float,
    events: GeneratorSums,
    has_negative_weights: bool,
    runs: GeneratorSums | None,
) -> Normalisation:
    """Compute the yield per unit of weight of a dataset.

        factor = sigma L / sum w

    with the effective cross section sigma, the luminosity L and the generator weights w of all generated events.

    Args:
        dataset: a simulated dataset.
        luminosity_ifb: integrated luminosity L in 1/fb.
        events: sums over the events of the files.
        has_negative_weights: whether an event has a negative generator weight.
        runs: sums of the `Runs` trees, None if there are none.

    Returns:
        The normalisation.

    Raises:
        NormalisationError: the sum is missing, zero, negative or not finite, or contradicts the events.
    """
    source, total = _source_and_sum(dataset, events, runs)
    if dataset.cross_section_pb is None or not dataset.cross_section_pb > 0:
        msg = f"dataset {dataset.name!r} needs a positive cross_section_pb, not {dataset.cross_section_pb}"
        raise NormalisationError(msg)
    if not (total > 0 and np.isfinite(total)):
        kind = "zero" if total == 0 else "negative" if total < 0 else "not finite"
        msg = (
            f"dataset {dataset.name!r}: the sum of weights from {source!r} is {kind} ({total:g}), so its yields are "
            "undefined. Check the weight branch and the files, or give sum_of_weights a value."
        )
        raise NormalisationError(msg)
    over_events = float(events.sum_of_weights)
    _compare(dataset, source, total, events, runs, has_negative_weights=has_negative_weights)
    return Normalisation(
        dataset=dataset.name,
        process=dataset.process,
        source=source,
        sum_of_weights=total,
        sum_over_events=over_events,
        skim_ratio=over_events / total,
        cross_section_pb=dataset.cross_section_pb,
        luminosity_ifb=luminosity_ifb,
        factor=dataset.cross_section_pb * luminosity_ifb * IPB_PER_IFB / total,
        generated_entries=None if runs is None else runs.entries,
        entries_in_files=events.entries,
    )


def _source_and_sum(
    dataset: ResolvedDataset, events: GeneratorSums, runs: GeneratorSums | None
) -> tuple[Literal["runs", "events", "value"], float]:
    source = dataset.sum_of_weights
    if isinstance(source, SumValue):
        return "value", source.value
    if source == "events":
        return "events", float(events.sum_of_weights)
    if runs is None:
        msg = f"dataset {dataset.name!r} has no sum of weights in a Runs tree"
        raise NormalisationError(msg)
    if not _is_summed_in_runs(dataset):
        msg = (
            f"dataset {dataset.name!r}: its weight is not the generator weight that the Runs tree sums. "
            "Set sum_of_weights to `events` if nothing was skimmed, or to the matching value."
        )
        raise NormalisationError(msg)
    return "runs", float(runs.sum_of_weights)


def _is_summed_in_runs(dataset: ResolvedDataset) -> bool:
    """Whether the generator weight is a branch, which the `Runs` tree sums; not a sign and not unweighted."""
    return dataset.weight is not None and not isinstance(dataset.weight, SignOf)


def _compare(
    dataset: ResolvedDataset,
    source: str,
    total: float,
    events: GeneratorSums,
    runs: GeneratorSums | None,
    *,
    has_negative_weights: bool,
) -> None:
    ratio = float(events.sum_of_weights) / total
    stored = None if runs is None or not _is_summed_in_runs(dataset) else float(runs.sum_of_weights)
    if source == "events" and stored is not None and abs(stored / total - 1) > RATIO_TOLERANCE:
        msg = (
            f"dataset {dataset.name!r}: the weights of the events add to {total:g}, those of the generated events in "
            f"the Runs tree to {stored:g}. The files are a skim, and dividing by the events would make every yield "
            f"{stored / total:.3g} times too large: set sum_of_weights to `runs`."
        )
        raise NormalisationError(msg)
    if ratio > 1 + RATIO_TOLERANCE and not has_negative_weights:
        msg = (
            f"dataset {dataset.name!r}: the weights of the events add to {float(events.sum_of_weights):g}, more than "
            f"the sum of weights {total:g} of all generated events ({source}). The sum belongs to other files."
        )
        raise NormalisationError(msg)
    if runs is not None and source == "runs" and (problem := _impossible_skim(events, runs)):
        msg = f"dataset {dataset.name!r}: {problem}. The sums belong to other files, or a file is damaged."
        raise NormalisationError(msg)


def _impossible_skim(events: GeneratorSums, generated: GeneratorSums) -> str | None:
    """Why the events of the files cannot be part of the generated ones.

    The removed events r must exist, N_r >= 0 and sum_r w^2 >= 0, and obey |sum_r w| <= sqrt(N_r sum_r w^2).
    """
    if events.entries is None or generated.entries is None:
        return None
    removed = generated.entries - events.entries
    if removed < 0:
        return f"the files hold {events.entries} events, but their Runs trees count only {generated.entries} generated ones"
    if events.sum_of_squares is None or generated.sum_of_squares is None:
        return None
    # Rounding moves a square by twice as much as the weight.
    rounding = 2 * RATIO_TOLERANCE * max(float(generated.sum_of_squares), float(events.sum_of_squares))
    squares = float(generated.sum_of_squares - events.sum_of_squares)
    if squares < -rounding:
        return (
            f"the squared weights of their events add to {float(events.sum_of_squares):g}, more than the "
            f"{float(generated.sum_of_squares):g} of all generated events in the Runs trees"
        )
    difference = abs(float(generated.sum_of_weights - events.sum_of_weights))
    limit = np.sqrt(removed * (squares + rounding)) + RATIO_TOLERANCE * abs(float(generated.sum_of_weights))
    if difference <= limit:
        return None
    return (
        f"by their Runs trees the {removed} generated events that are not in the files have weights of sum "
        f"{float(generated.sum_of_weights - events.sum_of_weights):g} and squares of sum {squares:g}, which limit their sum "
        f"to {limit:g}"
    )


def comparison_note(normalisation: Normalisation) -> str | None:
    """Note on a dataset whose events do not have the whole sum of weights, or have it without being all; None if neither."""
    if abs(normalisation.skim_ratio - 1) <= RATIO_TOLERANCE:
        return _weightless_events_note(normalisation)
    return (
        f"dataset {normalisation.dataset!r}: its files hold a share of {normalisation.skim_ratio:.4g} of the sum of "
        f"weights ({normalisation.sum_over_events:.6g} of {normalisation.sum_of_weights:.6g}, {normalisation.source}), "
        "which is taken as the efficiency of a skim"
    )


def _weightless_events_note(normalisation: Normalisation) -> str | None:
    generated, present = normalisation.generated_entries, normalisation.entries_in_files
    if normalisation.source != "runs" or generated is None or present is None or generated == present:
        return None
    return (
        f"dataset {normalisation.dataset!r}: its {present} events have the whole sum of weights of the {generated} events that "
        "its Runs trees count: the others have no weight, or their weights cancel"
    )
