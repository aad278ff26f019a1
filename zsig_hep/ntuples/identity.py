"""Hashes of event identity and content, the folds derived from them, and events that occur twice.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2660193.2660195),
a bijection of 64-bit words: different values of a single branch have different hashes.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsig_hep.errors import InputError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words one by one, bijectively.

    Args:
        words: u8 [N].

    Returns:
        u8 [N].

    Example:
        >>> [hex(word) for word in mix(np.array([0, 1], dtype=np.uint64))]
        ['0xe220a8397b1dcdaf', '0x910a2dec89025cc1']
    """
    mixed = words + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def hash_identity(columns: Sequence[NDArray[Any]], salt: str) -> NDArray[np.uint64]:
    """Hash the branches that identify events, such as run, luminosity block and event number.

    Args:
        columns: K arrays [N] of integers, booleans or floats.
        salt: name of the dataset, so that the same numbers in another dataset have other hashes; datasets that share
            events share it too.

    Returns:
        u8 [N]; each depends on its event and the salt only.

    Example:
        >>> run, event = np.array([1, 1]), np.array([7, 8])
        >>> bool(hash_identity([run, event], "dy")[0] == hash_identity([run[:1], event[:1]], "dy")[0])
        True
    """
    digest = hashlib.sha256(salt.encode()).digest()
    hashed = np.full(len(columns[0]), int.from_bytes(digest[:8], "little"), dtype=np.uint64)
    for column in columns:
        hashed ^= _as_words(column)
        hashed = mix(hashed)
    return hashed


def hash_content(features: Sequence[NDArray[np.float32]], weight: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Hash the features and the weight of events.

    Args:
        features: F arrays f4 [N].
        weight: f8 [N].

    Returns:
        u8 [N]; events with equal bits have equal hashes.

    Example:
        >>> features = np.array([[1, 1, 2], [2, 2, 1]], dtype="f4")
        >>> hashes = hash_content(list(features), np.ones(3))
        >>> bool(hashes[0] == hashes[1]), bool(hashes[0] == hashes[2])
        (True, False)
    """
    keys = mix(np.arange(len(features) + 1, dtype=np.uint64)) | np.uint64(1)
    hashed = mix(np.ascontiguousarray(weight).view(np.uint64))
    hashed *= keys[0]
    for feature, key in zip(features, keys[1:], strict=True):
        word = np.ascontiguousarray(feature).view(np.uint32).astype(np.uint64)
        word *= _MIX_1
        word ^= word >> np.uint64(32)
        word *= key
        hashed += word
    return mix(hashed)


def assign_folds(identity: NDArray[np.uint64], folds: int, seed: int) -> NDArray[np.int16]:
    """Assign each event to a fold, by its identity only.

    Args:
        identity: u8 [N].
        folds: number of folds.
        seed: changes which events share a fold.

    Returns:
        i2 [N] in [0, folds).

    Example:
        >>> assign_folds(mix(np.arange(6, dtype=np.uint64)), folds=3, seed=0).tolist()
        [1, 1, 2, 2, 0, 2]
    """
    salt = mix(np.array([seed], dtype=np.uint64))
    hashed = mix(identity ^ salt)
    # Division by a constant is several times faster in NumPy than the remainder.
    return (hashed - hashed // np.uint64(folds) * np.uint64(folds)).astype(np.int16)


def _as_words(column: NDArray[Any]) -> NDArray[np.uint64]:
    if column.dtype.kind in "iub":
        return column.astype(np.int64).view(np.uint64) if column.dtype.kind == "i" else column.astype(np.uint64)
    return column.astype(np.float64).view(np.uint64)


@dataclass(frozen=True)
class Repetitions:
    """Repetitions among the selected events of one process.

    Attributes:
        other_content: number of events with the identity of an earlier event, but other content.
        same_content: number of events with the identity and the content of an earlier event.
        expected: repetitions with the same content expected by chance, where features take few values.
        files: numbers of the two files of the first repetition with the same content; None without one.
    """

    other_content: int
    same_content: int
    expected: float
    files: tuple[int, int] | None

    @property
    def are_duplicates(self) -> bool:
        """Whether the same content is repeated more often than expected by chance, by five standard deviations."""
        return self.same_content > self.expected + 5 * math.sqrt(self.expected)


def repeated(identity: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Identity of each event that repeats an earlier one, u8, in ascending order."""
    ordered = np.sort(identity)
    again: NDArray[np.uint64] = ordered[1:][ordered[1:] == ordered[:-1]]
    return again


def find_repetitions(identity: NDArray[np.uint64], content: NDArray[np.uint64], file: NDArray[np.int32]) -> Repetitions:
    """Count the events of a process that occur more than once.

    Identities are unique within a file only: simulation with another seed repeats them with other content. Features
    with few values can be equal by chance; the probability is measured with pairs of events of different identity.

    Args:
        identity: u8 [N].
        content: u8 [N].
        file: i4 [N], number of each event's file.

    Returns:
        The counts, which do not depend on the order of the events.

    Example:
        >>> identity = np.array([1, 2, 1, 2], dtype=np.uint64)
        >>> content = np.array([10, 20, 10, 21], dtype=np.uint64)
        >>> find_repetitions(identity, content, np.array([0, 0, 1, 1], dtype=np.int32))
        Repetitions(other_content=1, same_content=1, expected=0.0, files=(0, 1))
    """
    again = repeated(identity)
    if not len(again):
        return Repetitions(0, 0, 0.0, None)
    shared = np.isin(identity, again)
    order = np.lexsort((file[shared], content[shared], identity[shared]))
    equal = _rows_equal_to_previous(identity[shared][order], content[shared][order])
    if not (same_count := int(equal.sum())):
        return Repetitions(len(again), 0, 0.0, None)
    by_chance = _equal_pairs(content) - _equal_pairs(content[shared], identity[shared])
    chance = by_chance / max(_pairs(len(content)) - _equal_pairs(identity), 1)
    files = _pair_at(file[shared][order], equal)
    return Repetitions(len(again) - same_count, same_count, len(again) * chance, files)


def find_content_repetitions(content: NDArray[np.uint64], file: NDArray[np.int32]) -> Repetitions:
    """Count the events of a process whose content occurs in another file too, if no branch identifies events.

    The probability that contents are equal by chance is measured with pairs of events of the same file.

    Args:
        content: u8 [N].
        file: i4 [N], number of each event's file.

    Returns:
        The counts, which do not depend on the order of the events.

    Example:
        >>> content = np.array([10, 20, 30, 10, 20, 30], dtype=np.uint64)
        >>> find_content_repetitions(content, np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)).are_duplicates
        True
    """
    order = np.lexsort((file, content))
    content, file = content[order], file[order]
    same = (content[1:] == content[:-1]) & (file[1:] != file[:-1])
    if not (same_count := int(same.sum())):
        return Repetitions(0, 0, 0.0, None)
    pairs_within = sum(_pairs(count) for count in np.bincount(file).tolist())
    chance = _equal_pairs(file, content) / max(pairs_within, 1)
    return Repetitions(0, same_count, (_pairs(len(content)) - pairs_within) * chance, _pair_at(file, same))


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _pair_at(file: NDArray[np.int32], equal_to_previous: NDArray[np.bool_]) -> tuple[int, int]:
    first = int(np.argmax(equal_to_previous))
    return int(file[first]), int(file[first + 1])


def _rows_equal_to_previous(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Bool [N-1], true where a row equals the one before it in every column."""
    equal: NDArray[np.bool_] = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    return equal


def _equal_pairs(*columns: NDArray[Any]) -> int:
    """Number of pairs of rows that are equal in every column."""
    order = np.lexsort(columns)
    equal = _rows_equal_to_previous(*(column[order] for column in columns))
    edges = np.concatenate(([0], np.flatnonzero(~equal) + 1, [len(order)]))
    return sum(_pairs(count) for count in np.diff(edges).tolist() if count > 1)


def refuse_duplicates(repetitions: Repetitions, process: str, file_names: Sequence[str]) -> None:
    """Fail when events of a process occur twice with the same content.

    Args:
        repetitions: of `find_repetitions` or `find_content_repetitions`.
        process: name of the process.
        file_names: names of the files by number.

    Raises:
        InputError: they do; names both files.
    """
    if repetitions.files is None or not repetitions.are_duplicates:
        return
    first, second = (file_names[number] for number in repetitions.files)
    where = f"twice in {first}" if first == second else f"in both {first} and {second}"
    msg = (
        f"process {process!r}: {repetitions.same_content} selected events occur more than once with the same identity "
        f"and content, for example {where}. Their yields would count twice: remove the copies."
    )
    raise InputError(msg)


def refuse_repeated_data(
    identity: NDArray[np.uint64],
    file: NDArray[np.int32],
    process: str,
    file_names: Sequence[str],
    dataset_of_file: Sequence[str],
) -> None:
    """Fail when an event of data occurs twice, whatever its content.

    Args:
        identity: u8 [N], with the same salt for all data of the process.
        file: i4 [N], number of each event's file.
        process: name of the process.
        file_names: names of the files by number.
        dataset_of_file: names of their datasets by number.

    Raises:
        InputError: one does; names both files and the remedy.
    """
    order = np.lexsort((file, identity))
    same = identity[order][1:] == identity[order][:-1]
    if not (count := int(same.sum())):
        return
    ordered = file[order]
    apart = np.array(dataset_of_file)[ordered]
    between = same & (apart[1:] != apart[:-1])
    first, second = _pair_at(ordered, between if between.any() else same)
    names = dataset_of_file[first], dataset_of_file[second]
    if names[0] == names[1]:
        place = (
            f"twice in {file_names[first]}" if first == second else f"in {file_names[first]} and {file_names[second]}"
        )
        remedy = "Remove the copies, or name in event_identity what tells them apart."
    else:
        place = f"in {file_names[first]} of dataset {names[0]!r} and in {file_names[second]} of {names[1]!r}"
        remedy = (
            "If the datasets are selected by triggers, give each its `triggers`, the dataset that takes precedence first: "
            "the others then leave out its events."
        )
    msg = f"process {process!r}: {count} selected events of data occur more than once, for example {place}. {remedy}"
    raise InputError(msg)
