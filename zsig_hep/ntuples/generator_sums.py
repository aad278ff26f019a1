"""Sums of the generator weights of all generated events, where files store them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from uproot.behaviors.RNTuple import HasFields
from uproot.behaviors.TBranch import HasBranches
from uproot.behaviors.TH1 import Histogram

from zsig_hep.errors import InputError, NormalisationError, nearest_name
from zsig_hep.ntuples.columns import branch_and_element, element
from zsig_hep.ntuples.datasets import SumInHistogram, SumInTree, SumOfWeights

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
class EventWeights:
    """Sums over the generator weights of the events in the files.

    Attributes:
        entries: number of events.
        sum_of_weights: exact sum of weights.
        sum_of_squares: exact sum of squared weights.
        sum_of_negatives: exact sum of the negative weights, at most zero.
        largest: largest absolute weight; 0 without events.
    """

    entries: int
    sum_of_weights: Fraction
    sum_of_squares: Fraction
    sum_of_negatives: Fraction
    largest: float

    def __add__(self, other: "EventWeights") -> "EventWeights":
        """Add the sums of other events."""
        return EventWeights(
            self.entries + other.entries,
            self.sum_of_weights + other.sum_of_weights,
            self.sum_of_squares + other.sum_of_squares,
            self.sum_of_negatives + other.sum_of_negatives,
            max(self.largest, other.largest),
        )

    @classmethod
    def of(cls, weight: NDArray[np.float64]) -> "EventWeights":
        """The sums of weights f8 [N].

        Example:
            >>> EventWeights.of(np.array([2.0, -0.5]))
            EventWeights(entries=2, sum_of_weights=Fraction(3, 2), sum_of_squares=Fraction(17, 4), \
sum_of_negatives=Fraction(-1, 2), largest=2.0)
        """
        return cls(
            entries=len(weight),
            sum_of_weights=exact_sum(weight),
            sum_of_squares=exact_sum(np.square(weight)),
            sum_of_negatives=exact_sum(weight[weight < 0]),
            largest=float(np.abs(weight).max(initial=0.0)),
        )

    @classmethod
    def of_unweighted(cls, entries: int) -> "EventWeights":
        """The sums of events that each have the weight one."""
        return cls(entries, Fraction(entries), Fraction(entries), Fraction(0), float(entries > 0))

    @property
    def negative_fraction(self) -> float:
        """Share of the absolute weights that negative weights have, from 0 to 1; 0 without events."""
        absolute = self.sum_of_weights - 2 * self.sum_of_negatives
        return float(-self.sum_of_negatives / absolute) if absolute else 0.0


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


def read_stored_sum(file: Any, name: str, dataset: str, source: SumOfWeights) -> GeneratorSums | None:
    """Read the sum that a file has for a source.

    Args:
        file: the open `uproot` file.
        name: of the file, for messages.
        dataset: name of the dataset, for messages.
        source: the source.

    Returns:
        The sums; None for sources that are not in the file.

    Raises:
        NormalisationError: the file does not have it, or it cannot be used.
    """
    if source == "runs":
        return read_runs_sum(file, name, dataset)
    if isinstance(source, SumInTree):
        return read_tree_sum(file, name, dataset, source)
    if isinstance(source, SumInHistogram):
        return read_histogram_sum(file, name, dataset, source)
    return None


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
    return _sums_of_tree(runs, f"in the Runs tree of {name}", dataset)


def _sums_of_tree(runs: Any, where: str, dataset: str) -> GeneratorSums:
    """The sums in a tree with `genEventSumw`."""
    stored = [_stored(runs, key) for key in _SUMS]
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
    names = {stored for key in _SUMS if (stored := stored_name(runs, key))}
    missing = [key for key in _SUMS if stored_name(runs, key) is None]
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


def read_tree_sum(file: Any, name: str, dataset: str, source: SumInTree) -> GeneratorSums:
    """Add a branch over all rows of a tree of a file.

    Args:
        file: the open `uproot` file.
        name: of the file, for messages.
        dataset: name of the dataset, for messages.
        source: the tree, in any folder of the file, and the branch, or an element of a branch with lists, `name[0]`.

    Returns:
        The sum; for `genEventSumw` also the sums of `genEventSumw2` and `genEventCount`, if they are stored.

    Raises:
        NormalisationError: the file has no such tree or branch, or a sum is not finite or contradicts the others.
    """
    tree = _stored_object(file, name, dataset, source.tree, HasBranches | HasFields, "tree")
    where = f"in tree {source.tree!r} of {name}"
    if source.branch == "genEventSumw":
        if stored_name(tree, "genEventSumw"):
            return _sums_of_tree(tree, where, dataset)
    elif (values := _branch_or_element(tree, source.branch, where, dataset)) is not None:
        if values.shape == (int(tree.num_entries),) and values.dtype.kind in "iuf" and np.isfinite(values).all():
            return GeneratorSums(exact_sum(values), None, None)
        msg = f"dataset {dataset!r}: branch {source.branch!r} {where} is not one finite number for each row"
        raise NormalisationError(msg)
    msg = (
        f"dataset {dataset!r}: there is no branch {source.branch!r} {where}.{nearest_name(source.branch, tree.keys())}"
    )
    raise NormalisationError(msg)


def _branch_or_element(tree: Any, name: str, where: str, dataset: str) -> NDArray[Any] | None:
    """A branch by row, or an element of each row of it, `name[0]`; None if the tree has no such branch."""
    known = set(tree.keys())
    if name in known:
        return np.asarray(tree[name].array(library="np"))
    stem, number = branch_and_element(name)
    if number is None or stem not in known:
        return None
    try:
        return np.asarray(element(tree[stem].array(), number, stem))
    except InputError as error:
        msg = f"dataset {dataset!r}: {error} {where}"
        raise NormalisationError(msg) from error


def read_histogram_sum(file: Any, name: str, dataset: str, source: SumInHistogram) -> GeneratorSums:
    """Read a bin of a histogram of a file.

    Args:
        file: the open `uproot` file.
        name: of the file, for messages.
        dataset: name of the dataset, for messages.
        source: the histogram, in any folder of the file, and the number of the bin as ROOT counts, from 1, or its label.

    Returns:
        The content of the bin.

    Raises:
        NormalisationError: the file has no such histogram or bin, it has more than one axis, or the content is not finite.
    """
    histogram = _stored_object(file, name, dataset, source.histogram, Histogram, "histogram")
    where = f"dataset {dataset!r}: histogram {source.histogram!r} of {name}"
    values = histogram.values()
    if values.ndim != 1:
        msg = f"{where} has {values.ndim} axes; the sum of weights is read from one with a single axis"
        raise NormalisationError(msg)
    labels = [label for label in histogram.axis().labels() or () if label]
    if isinstance(source.bin, str):
        if source.bin not in labels:
            msg = f"{where} has no bin labelled {source.bin!r}.{nearest_name(source.bin, labels)}"
            if not labels:
                msg += f" Its {len(values)} bins have no labels: give the number of a bin, from 1"
            raise NormalisationError(msg)
        number = list(histogram.axis().labels()).index(source.bin) + 1
    else:
        number = source.bin
    if number > len(values):
        msg = f"{where} has {len(values)} bins, so no bin {number}"
        raise NormalisationError(msg)
    if not np.isfinite(values[number - 1]):
        msg = f"{where}: bin {source.bin!r} is not finite ({values[number - 1]})"
        raise NormalisationError(msg)
    return GeneratorSums(Fraction(float(values[number - 1])), None, None)


def _stored_object(file: Any, name: str, dataset: str, path: str, kind: Any, word: str) -> Any:
    """The one object of a kind at a path in a file, where `*` and `?` stand for any characters.

    Raises:
        NormalisationError: there is none, or more than one.
    """
    known = file.keys(cycle=False)
    found = sorted({key for key in known if fnmatchcase(key, path)})
    if len(found) > 1:
        msg = f"dataset {dataset!r}: {len(found)} objects of {name} match {path!r}: {', '.join(found[:5])}. Name one {word}."
        raise NormalisationError(msg)
    if not found:
        msg = f"dataset {dataset!r}: {name} has no {word} {path!r}.{nearest_name(path, known)}"
        raise NormalisationError(msg)
    stored = file[found[0]]
    if not isinstance(stored, kind):
        msg = f"dataset {dataset!r}: {found[0]!r} of {name} is no {word}, but of class {stored.classname}"
        raise NormalisationError(msg)
    return stored


def runs_tree(file: Any) -> Any:
    """The `Runs` tree of an open file if it has a sum of generator weights, else None."""
    if "Runs" not in file.keys(cycle=False, recursive=False):
        return None
    runs = file["Runs"]
    if not isinstance(runs, HasBranches | HasFields):
        return None
    return runs if stored_name(runs, "genEventSumw") else None


def stored_name(runs: Any, name: str) -> str | None:
    """Name of a branch of the `Runs` tree, which may end in an underscore; None if there is none."""
    known = set(runs.keys())
    return next((stored for stored in (name, f"{name}_") if stored in known), None)


def _stored(runs: Any, name: str) -> NDArray[Any] | None:
    """A branch by row, None if it is not stored."""
    stored = stored_name(runs, name)
    return None if stored is None else np.asarray(runs[stored].array(library="np"))


def _total(values: NDArray[Any] | None) -> Fraction | None:
    return None if values is None else exact_sum(values)


Number = TypeVar("Number", int, Fraction)


def _add(first: Number | None, second: Number | None) -> Number | None:
    return None if first is None or second is None else first + second
