"""Certified luminosity blocks: the golden JSON of data, applied with coffea's lumi tools."""

import json
import re
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class LuminosityMask:
    """The certified luminosity blocks of a JSON file, carried as text so that every worker can apply them.

    Attributes:
        path: file of the text, for messages.
        text: `{"run": [[first, last], ...], ...}`.
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
            text = path.read_text(encoding="utf-8")
            ranges = json.loads(text)
        except FileNotFoundError as error:
            msg = f"there is no luminosity mask {path}: name the golden JSON file, or leave luminosity_mask out"
            raise InputError(msg) from error
        except (OSError, ValueError, RecursionError) as error:
            msg = f"luminosity mask {path} cannot be read as JSON: {error}"
            raise InputError(msg) from error
        if not _are_ranges(ranges):
            msg = f'luminosity mask {path} is not of the form {{"run": [[first, last], ...]}}, with numbers of 32 bits'
            raise InputError(msg)
        return cls(str(path), text)

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
        return np.asarray(_mask(self.text)(run.astype(np.uint32), block.astype(np.uint32)), dtype=np.bool_)


def _are_ranges(content: object) -> bool:
    if not isinstance(content, dict) or not content:
        return False
    return all(
        _RUN.fullmatch(run)
        and int(run) <= _LARGEST
        and isinstance(blocks, list)
        and all(_is_range(each) for each in blocks)
        for run, blocks in content.items()
    )


def _is_range(block: object) -> bool:
    return (
        isinstance(block, list)
        and len(block) == 2
        and all(isinstance(edge, int) and 0 <= edge <= _LARGEST for edge in block)
        and block[0] <= block[1]
    )


@lru_cache(maxsize=8)
def _mask(text: str) -> Any:
    """Mask of coffea, which can be made from a file only; once in each process."""
    with tempfile.TemporaryDirectory(prefix="zsig-mask-") as folder:
        path = Path(folder) / "mask.json"
        path.write_text(text, encoding="utf-8")
        return LumiMask(str(path))
