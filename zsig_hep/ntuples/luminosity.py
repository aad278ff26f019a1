"""Certified luminosity blocks: the golden JSON of data, applied with coffea's lumi tools."""

import json
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from coffea.lumi_tools import LumiMask
from numpy.typing import NDArray

from zsig_hep.errors import InputError
from zsig_hep.ntuples.columns import flat_branch

RUN_BRANCHES = ("run", "luminosityBlock")
"""Branches that the mask needs."""

_RUN = re.compile(r"[0-9]{1,10}")
# Runs and blocks are unsigned 32-bit integers, in ntuples and in coffea's mask.
_LARGEST = 2**32 - 1
# Coffea's mask goes wrong for a whole run with a range that begins at 0, and so is given blocks that are one higher.
_SHIFT = np.uint32(1)


@dataclass(frozen=True)
class LuminosityMask:
    """The certified luminosity blocks of a JSON file, carried as text so that every worker can apply them.

    Attributes:
        path: file of the text, for messages.
        text: `{"run": [[first, last], ...], ...}`, each run once and its ranges in ascending order and apart, whatever
            their order, overlap and repetition in the file.
    """

    path: str
    text: str

    @classmethod
    def from_file(cls, path: Path) -> "LuminosityMask":
        """Read and check a golden JSON file.

        Raises:
            InputError: the file is missing, not JSON, or does not have the form of `text`.
        """
        try:
            runs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=tuple)
        except FileNotFoundError as error:
            msg = f"there is no luminosity mask {path}: name the golden JSON file, or leave luminosity_mask out"
            raise InputError(msg) from error
        except (OSError, ValueError, RecursionError) as error:
            msg = f"luminosity mask {path} cannot be read as JSON: {error}"
            raise InputError(msg) from error
        if not _are_runs(runs):
            msg = f'luminosity mask {path} is not of the form {{"run": [[first, last], ...]}}, with numbers of 32 bits'
            raise InputError(msg)
        return cls(str(path), json.dumps(_merged(runs)))

    def certified(self, events: Any, where: str) -> NDArray[np.bool_]:
        """Whether each event of a chunk is in a certified block, bool [N].

        Raises:
            InputError: the chunk has no branch `run` or `luminosityBlock` with one number per event.
        """
        try:
            run, block = (flat_branch(events, name, where) for name in RUN_BRANCHES)
        except InputError as error:
            msg = f"the luminosity mask {self.path} cannot be applied: {error}"
            raise InputError(msg) from error
        return np.asarray(_mask(self.text)(run.astype(np.uint32), block.astype(np.uint32) + _SHIFT), dtype=np.bool_)


def _are_runs(content: object) -> TypeGuard[tuple[tuple[str, list[list[int]]], ...]]:
    """Whether the pairs of a JSON object are runs with their ranges."""
    if not isinstance(content, tuple) or not content:
        return False
    return all(
        isinstance(pair, tuple)
        and _RUN.fullmatch(pair[0])
        and int(pair[0]) <= _LARGEST
        and isinstance(pair[1], list)
        and all(_is_range(each) for each in pair[1])
        for pair in content
    )


def _merged(runs: Iterable[tuple[str, list[list[int]]]]) -> dict[str, list[list[int]]]:
    """The union of all ranges of each run, since a search for a block needs ranges in order that do not overlap.

    Example:
        >>> _merged([("7", [[5, 9], [1, 2]]), ("007", [[3, 3], [6, 7]])])
        {'7': [[1, 3], [5, 9]]}
    """
    ranges: dict[int, list[list[int]]] = {}
    for run, blocks in runs:
        ranges.setdefault(int(run), []).extend(blocks)
    found: dict[str, list[list[int]]] = {}
    for run_number in sorted(ranges):
        apart: list[list[int]] = []
        for first, last in sorted(ranges[run_number]):
            if apart and first <= apart[-1][1] + 1:
                apart[-1][1] = max(apart[-1][1], last)
            else:
                apart.append([first, last])
        found[str(run_number)] = apart
    return found


def _is_range(block: object) -> bool:
    return (
        isinstance(block, list)
        and len(block) == 2
        and all(isinstance(edge, int) and 0 <= edge < _LARGEST for edge in block)
        and block[0] <= block[1]
    )


@lru_cache(maxsize=8)
def _mask(text: str) -> Any:
    """Mask of coffea, which can be made from a file only; once in each process."""
    with tempfile.TemporaryDirectory(prefix="zsig-mask-") as folder:
        path = Path(folder) / "mask.json"
        shift = int(_SHIFT)
        shifted = {run: [[a + shift, b + shift] for a, b in ranges] for run, ranges in json.loads(text).items()}
        path.write_text(json.dumps(shifted), encoding="utf-8")
        return LumiMask(str(path))
