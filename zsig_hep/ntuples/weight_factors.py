"""Factors on event weights under weight variations, from branches or the user's function."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import awkward as ak
import numpy as np
from coffea.analysis_tools import Weights
from numpy.typing import NDArray

from zsig_hep.errors import InputError, ZsigError, nearest_name
from zsig_hep.ntuples.columns import branch, element, flat_branch, is_reading_error
from zsig_hep.ntuples.functions import FileFunction, deed, reason
from zsig_hep.ntuples.variations import WeightVariation
from zsig_hep.ntuples.weight_sets import WeightSetVariation

Floats = NDArray[np.float64]


def weight_factors(
    events: Any, name: str, variation: WeightVariation, function: Callable[[Any], Any] | None, where: str
) -> tuple[Floats, Floats]:
    """Factors on the event weights of a chunk, up and down.

    Args:
        events: the chunk, N events.
        name: of the variation, for messages.
        variation: the variation.
        function: the loaded `function` of the variation, if it has one.
        where: dataset and file, for messages.

    Returns:
        f8 [N] each.

    Raises:
        InputError: a branch or element is missing, the function raises or returns no factors, or one is not finite.
    """
    place = f"{where}: weight variation {name!r}"
    if function is not None:
        factors = _of_function(function, events, place)
    elif variation.branch is not None:
        factors = [
            _element(events, variation.branch, at, place) for at in (variation.up, variation.down) if at is not None
        ]
    else:
        factors = [_of_branch(events, str(at), place) for at in (variation.up, variation.down) if at is not None]
        if variation.nominal is not None:
            factors = _relative(factors, _of_branch(events, variation.nominal, place), variation.nominal, place)
    for factor in factors:
        _check(factor, len(events), place)
    up = factors[0]
    return up, factors[1] if len(factors) > 1 else 2.0 - up


def set_factors(events: Any, name: str, variation: WeightSetVariation, where: str) -> tuple[Floats, ...]:
    """Factors on the event weights of a chunk from the elements of a set of weights.

    Args:
        events: the chunk, N events.
        name: of the variation, for messages.
        variation: the set.
        where: dataset and file, for messages.

    Returns:
        f8 [N] for each of the elements.

    Raises:
        InputError: the branch or an element is missing, events have different numbers of elements, or a factor is not
            finite.
    """
    place = f"{where}: variation {name!r}"
    _branch(events, variation.branch, place)
    lengths = set_lengths(events, variation)
    if len(lengths) > 1:
        raise InputError(_unequal_lengths(f"{place}: ", variation.branch, lengths))
    factors = tuple(_element(events, variation.branch, number, place) for number in variation.elements)
    for factor in factors:
        _check(factor, len(events), place)
    return factors


def set_lengths(events: Any, variation: WeightSetVariation) -> list[int]:
    """The different numbers of elements that the events of a chunk have in the branch of a set, ascending."""
    array = branch(events, variation.branch)
    return [int(each) for each in np.unique(ak.to_numpy(ak.num(array)))] if array.ndim == 2 else []


def require_equal_lengths(dataset: str, name: str, variation: WeightSetVariation, lengths: Collection[int]) -> None:
    """Refuse a set whose branch has different numbers of elements in the chunks of a dataset.

    Raises:
        InputError: there is more than one length.
    """
    if len(set(lengths)) > 1:
        place = f"dataset {dataset!r}: variation {name!r}: "
        raise InputError(_unequal_lengths(place, variation.branch, sorted(set(lengths))))


def _unequal_lengths(place: str, name: str, lengths: Sequence[int]) -> str:
    return (
        f"{place}branch {name!r} has {lengths[0]} elements in some events and {lengths[-1]} in others, so that an element is "
        "not the same variation in all. Divide the files into datasets with one length each, or name the processes that "
        "have it: processes: [...]"
    )


def scale_factors(weights: Weights | None, name: str, scale_factor: str, where: str) -> tuple[Floats, Floats]:
    """Factors on the event weights of a chunk from a variation of coffea's `Weights`, up and down.

    Args:
        weights: of the columns, for N events; None if the columns return none.
        name: of the variation, for messages.
        scale_factor: name of the variation in `weights`, without "Up" and "Down".
        where: dataset and file, for messages.

    Returns:
        f8 [N] each, relative to the nominal weight.

    Raises:
        InputError: there is no such variation, or a factor does not exist or is not finite.
    """
    place = f"{where}: weight variation {name!r}"
    known = set() if weights is None else set(weights.variations)
    if weights is None or f"{scale_factor}Up" not in known:
        there = nearest_name(scale_factor, {each.removesuffix("Up").removesuffix("Down") for each in known})
        msg = (
            f"{place}: the columns return no Weights with a variation {scale_factor!r}.{there} If only some processes have "
            "it, name them: processes: [...]"
        )
        raise InputError(msg)
    nominal = np.asarray(weights.weight(), np.float64)
    varied = [np.asarray(weights.weight(f"{scale_factor}{direction}"), np.float64) for direction in ("Up", "Down")]
    up, down = _relative(varied, nominal, "the nominal weight", place)
    for factor in (up, down):
        _check(factor, len(nominal), place)
    return up, down


def _of_branch(events: Any, name: str, place: str) -> Floats:
    array = _branch(events, name, place)
    if array.ndim != 1:
        msg = f"{place}: branch {name!r} is not one number per event; name `branch` and the elements `up` and `down`"
        raise InputError(msg)
    return flat_branch(events, name, place).astype(np.float64)


def _element(events: Any, name: str, number: int | str, place: str) -> Floats:
    try:
        array = element(_branch(events, name, place), int(number), name)
    except InputError as error:
        msg = f"{place}: {error}; name another branch, or other elements"
        raise InputError(msg) from error
    numbers = np.asarray(ak.to_numpy(array))
    if numbers.dtype.kind not in "iubf":
        msg = f"{place}: the elements of branch {name!r} are not numbers"
        raise InputError(msg)
    return numbers.astype(np.float64)


def _branch(events: Any, name: str, place: str) -> Any:
    try:
        return branch(events, name)
    except InputError as error:
        msg = f"{place}: {error} If only some processes have it, name them: processes: [...]"
        raise InputError(msg) from error


def _relative(factors: list[Floats], nominal: Floats, name: str, place: str) -> list[Floats]:
    """Divide by the nominal weight; the factor is one where both are zero, since the event has no weight then."""
    zero = nominal == 0
    if any((factor[zero] != 0).any() for factor in factors):
        msg = f"{place}: {name!r} is 0 in events whose varied weight is not 0, so that the factor does not exist"
        raise InputError(msg)
    return [np.divide(factor, nominal, out=np.ones_like(factor), where=~zero) for factor in factors]


def _of_function(function: Callable[[Any], Any], events: Any, place: str) -> list[Floats]:
    try:
        returned = function(events)
    except (ZsigError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and is_reading_error(error):
            raise
        file = f" of {function.path}" if isinstance(function, FileFunction) else ""
        msg = f"{place}: its function{file} {deed(error)}{reason(error)}"
        raise InputError(msg) from error
    both = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned,)
    try:
        return [
            np.asarray(ak.to_numpy(ak.Array(each)) if isinstance(each, ak.Array) else each, np.float64) for each in both
        ]
    except (TypeError, ValueError) as error:
        msg = f"{place}: its function returned {type(returned).__name__}; valid are the factors (up, down), or up alone"
        raise InputError(msg) from error


def _check(factor: Floats, length: int, place: str) -> None:
    if factor.shape != (length,):
        msg = f"{place} has factors of shape {factor.shape}; valid is one for each of the {length} events"
        raise InputError(msg)
    finite = np.isfinite(factor)
    if not finite.all():
        first = int(np.argmin(finite))
        msg = (
            f"{place}: the factor of event {first} of the chunk is {factor[first]} ({int((~finite).sum())} such events)"
        )
        raise InputError(msg)
