"""Calls of the user's `columns(events)`, nominally or under a variation, and checks of what it returns."""

import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import awkward as ak
import numpy as np
from coffea.analysis_tools import PackedSelection, Weights
from numpy.typing import NDArray

from zsig_hep.errors import InputError, ZsigError, first_line, nearest_name
from zsig_hep.ntuples.functions import FileFunction, deed, line_in, load_function, reason
from zsig_hep.ntuples.table import as_feature

_NO_FIELD = re.compile(r"no field named '([^']+)'|no field '([^']+)'|key \"([^\"]+)\" does not exist")

# What turns the bytes of a file into arrays; coffea calls awkward's part when a branch is first used.
_READERS = ("uproot.", "coffea.nanoevents.mapping.", "awkward.operations.ak_from_buffers")


def load_columns(columns: str | Sequence[str], folder: Path) -> FileFunction | tuple[str, ...]:
    """Load the columns of an analysis.

    Args:
        columns: `file.py:function`, or names of flat branches.
        folder: folder of the analysis file.

    Returns:
        The function, checked to exist; or the names.

    Raises:
        InputError: the file is missing, cannot be executed or lacks the function.
    """
    return load_function(columns, folder) if isinstance(columns, str) else tuple(columns)


def require_variation_argument(columns: FileFunction | tuple[str, ...], variation: str) -> None:
    """Refuse columns that cannot compute shifted objects.

    Args:
        columns: of `load_columns`.
        variation: name of a shape variation, for the message.

    Raises:
        InputError: the columns are branches, or a function of the events alone.
    """
    if isinstance(columns, FileFunction):
        try:
            inspect.signature(columns.function).bind(None, variation)
        except TypeError as error:
            msg = (
                f"variation {variation!r} shifts objects, but {columns.path}: {columns.name}(events) takes no "
                f"variation. Define {columns.name}(events, variation=None), which is called with '{variation}Up' and "
                f"'{variation}Down'"
            )
            raise InputError(msg) from error
        return
    msg = f"variation {variation!r} shifts objects, which needs columns as a function, not as names of branches"
    raise InputError(msg)


@dataclass(frozen=True)
class SelectedColumns:
    """Features of the selected events of a chunk and the cuts that selected them.

    Attributes:
        features: f4 [S] of the S selected events, by name.
        cuts: names and cumulative masks, bool [N] each, in order of application.
        weights: factors on the weights of the N events, with their variations; None without.
    """

    features: dict[str, NDArray[np.float32]]
    cuts: tuple[tuple[str, NDArray[np.bool_]], ...]
    weights: Weights | None = None

    @property
    def selected(self) -> NDArray[np.bool_] | None:
        """Bool [N], true for selected events; None when there is no selection."""
        return self.cuts[-1][1] if self.cuts else None


def select_columns(
    columns: Callable[..., Any] | Sequence[str], events: Any, where: str, variation: str | None = None
) -> SelectedColumns:
    """Compute the features of a chunk of events.

    Args:
        columns: a function that returns features by name, (features, cuts) or (features, cuts, weights); or names of flat
            branches.
        events: the chunk, N events.
        where: dataset and file, for messages.
        variation: second argument of the function, such as "jesUp"; None calls it without.

    Returns:
        Features, cuts and factors on the weights.

    Raises:
        InputError: the function raises, exits, or returns something other than features of equal lengths.
    """
    if callable(columns):
        arguments = (events,) if variation is None else (events, variation)
        features, cuts, weights = _split(_call(columns, arguments, where), where)
    else:
        features, cuts, weights = {name: branch_or_element(events, name) for name in columns}, None, None
    length = len(events)
    _check_weights(weights, length, where)
    masks = _cumulative(cuts, length, where)
    rows = int(np.count_nonzero(masks[-1][1])) if masks else length
    return SelectedColumns(_feature_arrays(features, rows, length, where), masks, weights)


def _check_weights(weights: Any, length: int, where: str) -> None:
    if weights is None:
        return
    if not isinstance(weights, Weights):
        msg = f"columns(events) returned {type(weights).__name__} as third on {where}; valid is coffea.analysis_tools.Weights"
        raise InputError(msg)
    values = np.asarray(weights.weight())
    if values.shape != (length,):
        msg = f"columns(events) returned weights of shape {values.shape} on {where}, which has {length} events"
        raise InputError(msg)
    if not (finite := np.isfinite(values)).all():
        msg = (
            f"columns(events) returned weights that are not finite on {where}, the first for event {int(np.argmin(finite))} "
            f"of the chunk: {values[~finite][0]} ({int((~finite).sum())} such events)"
        )
        raise InputError(msg)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...], where: str) -> Any:
    try:
        return function(*arguments)
    except (ZsigError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, Exception) and is_reading_error(error):
            msg = f"{where} cannot be read, it may be truncated or damaged: {first_line(error)}"
            raise InputError(msg) from error
        path = _file_of(function)
        hint = _branch_hint(error, arguments[0])
        line = line_in(path, error.__traceback__)
        msg = f"{path}{line}: columns(events) {deed(error)} on {where}{reason(error)}{hint}"
        raise InputError(msg) from error


def _file_of(function: Callable[..., Any]) -> str:
    if isinstance(function, FileFunction):
        return function.path
    code = getattr(function, "__code__", None)
    return str(code.co_filename) if code else repr(function)


def _branch_hint(error: BaseException, events: Any) -> str:
    missing = _NO_FIELD.search(str(error))
    name = next(filter(None, missing.groups()), "") if missing else ""
    return nearest_name(name, _branch_names(events)) if name else ""


def _branch_names(events: Any) -> list[str]:
    names = list(events.fields)
    for field in events.fields:
        names += getattr(events[field], "fields", [])
    return names


def is_reading_error(error: BaseException) -> bool:
    """Whether an error was raised while a file was read, rather than by the user's code."""
    if isinstance(error, OSError):
        return True
    frames: list[FrameType] = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if any(frame.f_globals.get("__name__", "").startswith(_READERS) for frame in frames[1:]):
        return True
    return error.__cause__ is not None and is_reading_error(error.__cause__)


def branch(events: Any, name: str) -> Any:
    """One branch of a chunk by its name in the file, whatever the schema.

    Args:
        events: the chunk, in coffea's base or NanoAOD schema.
        name: name in the file, such as `genWeight` or `MET_pt`.

    Returns:
        The awkward array.

    Raises:
        InputError: there is no such branch.
    """
    fields = events.fields
    if name in fields:
        return events[name]
    collection, _, member = name.partition("_")
    try:
        if collection in fields and member in events[collection].fields:
            return events[collection][member]
    except ValueError as error:
        msg = (
            f"coffea's schema cannot make {collection!r}, where {name!r} belongs: {first_line(error)}. Try schema: base"
        )
        raise InputError(msg) from error
    msg = f"there is no branch {name!r}.{nearest_name(name, fields)}"
    raise InputError(msg)


def has_branch(events: Any, name: str) -> bool:
    """Whether a chunk has a branch of this name in the file."""
    collection, _, member = name.partition("_")
    return name in events.fields or (collection in events.fields and member in events[collection].fields)


_ELEMENT = re.compile(r"(?P<branch>.+)\[(?P<number>\d{1,9})\]")


def branch_and_element(name: str) -> tuple[str, int | None]:
    """The branch and the number of the element that a name such as `mcEventWeights[0]` stands for.

    Example:
        >>> branch_and_element("mcEventWeights[0]"), branch_and_element("genWeight")
        (('mcEventWeights', 0), ('genWeight', None))
    """
    match = _ELEMENT.fullmatch(name)
    return (match["branch"], int(match["number"])) if match else (name, None)


def element(array: Any, number: int, name: str) -> Any:
    """One element of each event of a branch with lists.

    Args:
        array: N lists.
        number: of the element, from 0.
        name: of the branch, for messages.

    Raises:
        InputError: the branch has no lists, or one is too short.
    """
    if array.ndim != 2:
        msg = f"branch {name!r} has no elements"
        raise InputError(msg)
    lengths = ak.to_numpy(ak.num(array))
    if (short := (lengths <= number) | (number < 0)).any():
        msg = (
            f"branch {name!r} has {lengths[short].min()} elements in {int(short.sum())} of {len(lengths)} events, so there is "
            f"no element {number}"
        )
        raise InputError(msg)
    return array[:, number]


def branch_or_element(events: Any, name: str) -> Any:
    """A branch of a chunk, or an element of each event of it, `name[0]`.

    Raises:
        InputError: there is no such branch or element.
    """
    stem, number = branch_and_element(name)
    if number is None or name in events.fields:
        return branch(events, name)
    return element(branch(events, stem), number, stem)


def flat_branch(events: Any, name: str, where: str) -> NDArray[Any]:
    """A branch or element of a branch with one number per event; a missing real number is NaN.

    Raises:
        InputError: there is no such branch, it has another shape, or an integer or a truth value is missing.
    """
    try:
        array = branch_or_element(events, name)
    except InputError as error:
        msg = f"{where}: {error}"
        raise InputError(msg) from error
    found = ak.to_numpy(array) if array.ndim == 1 else np.empty(0, dtype=np.object_)
    if (missing := int(np.ma.getmaskarray(found).sum())) and found.dtype.kind in "iub":
        msg = f"{where}: branch {name!r} has no value in {missing} events, and one is needed in each"
        raise InputError(msg)
    numbers = np.asarray(np.ma.filled(found, np.nan) if missing else found)
    if numbers.dtype.kind not in "iubf":
        advice = f"; write {name}[0] for the first of each event" if array.ndim == 2 else ""
        msg = f"{where}: branch {name!r} is not one number per event{advice}"
        raise InputError(msg)
    return numbers


def _split(returned: Any, where: str) -> tuple[Mapping[str, Any], Any, Any]:
    parts = returned if isinstance(returned, tuple) and len(returned) in {2, 3} else (returned,)
    features, cuts, weights = (*parts, None, None)[:3]
    if not isinstance(features, Mapping) or not features:
        msg = (
            f"columns(events) returned {type(returned).__name__} on {where}; valid are a dict of features by name, or "
            "a tuple of such a dict, the cuts and, if there are any, coffea's Weights"
        )
        raise InputError(msg)
    return features, cuts, weights


def _cumulative(cuts: Any, length: int, where: str) -> tuple[tuple[str, NDArray[np.bool_]], ...]:
    if cuts is None:
        return ()
    packed = isinstance(cuts, PackedSelection)
    masks = {name: cuts.all(name) for name in cuts.names} if packed else {"selection": cuts}
    passed = np.ones(length, dtype=np.bool_)
    cumulative = []
    for name, mask in masks.items():
        passed = passed & _as_mask(name, mask, length, where)
        cumulative.append((name, passed))
    return tuple(cumulative)


def _as_mask(name: str, mask: Any, length: int, where: str) -> NDArray[np.bool_]:
    # A cut without a value, as of an absent jet, is not passed.
    array = np.asarray(np.ma.filled(ak.to_numpy(mask) if isinstance(mask, ak.Array) else mask, False))
    if array.dtype != np.bool_ or array.shape != (length,):
        msg = (
            f"cut {name!r} on {where} has type {array.dtype} and shape {array.shape}; "
            f"valid is one boolean for each of the {length} events"
        )
        raise InputError(msg)
    return array


def _feature_arrays(features: Mapping[str, Any], rows: int, length: int, where: str) -> dict[str, NDArray[np.float32]]:
    arrays = {}
    for name, column in features.items():
        try:
            array = as_feature(name, column)
        except InputError as error:
            msg = f"{error} (on {where})"
            raise InputError(msg) from error
        if len(array) != rows:
            hint = "; it has the length before the cuts: index it with the mask" if len(array) == length else ""
            msg = f"feature {name!r} on {where} has {len(array)} values for {rows} selected events{hint}"
            raise InputError(msg)
        if np.isinf(array).any():
            entry = int(np.argmax(np.isinf(array)))
            msg = (
                f"feature {name!r} is {array[entry]} for selected event {entry} on {where}. Return NaN where it has no "
                "value; magnitudes above 3.4e38 do not fit float32"
            )
            raise InputError(msg)
        arrays[name] = array
    return arrays
