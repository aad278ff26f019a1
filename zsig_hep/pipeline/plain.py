"""Results as JSON: dataclasses become dictionaries of their fields and of some properties."""

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from zsig_hep.errors import InputError
from zsig_hep.selection.boxes.cuts import Box
from zsig_hep.selection.boxes.results import CutResult
from zsig_hep.selection.categories.held_out import HeldOutCategories, HeldOutDivision
from zsig_hep.selection.thresholds.uncertainties import SignificanceUncertainties
from zsig_hep.statistics.exclusion import ExpectedExclusion
from zsig_hep.statistics.yields import Yield

_PROPERTIES: dict[type, tuple[str, ...]] = {
    ExpectedExclusion: ("median_cls", "median_limit"),
    HeldOutDivision: ("significance", "significance_uncertainty"),
    SignificanceUncertainties: ("jackknife_chi2", "jackknife_status"),
}
"""Properties that are written besides the fields."""

_LEFT_OUT: dict[type, set[str]] = {
    HeldOutCategories: {"category", "working_point", "objective"},
    HeldOutDivision: {"combined"},
    CutResult: {"n_minus_one", "objective"},
}
"""Fields that are not written: arrays per event, and values that are written elsewhere."""


def plain(value: Any) -> Any:
    """Convert a result to JSON types; numbers that are not finite become None.

    Args:
        value: a dataclass, an array, a mapping, a sequence, text or a number, nested to any depth.

    Returns:
        Dictionaries, lists, text, numbers, booleans and None.

    Raises:
        TypeError: a value has another type.

    Example:
        >>> plain({"signal": Yield(2.0, 4.0, 3), "significance": float("nan")})
        {'signal': {'entries': 3, 'yield': 2.0, 'uncertainty': 2.0, 'effective_entries': 1.0}, 'significance': None}
    """
    match value:
        case Yield():
            return {
                "entries": value.entries,
                "yield": plain(value.value),
                "uncertainty": plain(value.uncertainty),
                "effective_entries": plain(value.effective_entries),
            }
        case Box():
            return _box(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            left_out = _LEFT_OUT.get(type(value), set())
            names = [field.name for field in dataclasses.fields(value) if field.name not in left_out]
            return {name: plain(getattr(value, name)) for name in (*names, *_PROPERTIES.get(type(value), ()))}
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case np.ndarray():
            return plain(value.tolist())
        case Enum():
            return plain(value.value)
        case bool() | str() | None:
            return value
        case np.bool_():
            return bool(value)
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
        case PurePath():
            return str(value)
    message = f"{type(value).__name__} has no form in JSON."
    raise TypeError(message)


def _box(box: Box) -> dict[str, Any]:
    """The cuts and their two expressions; that for TTree::Draw is None if a variable name cannot be a branch name."""
    try:
        tree_draw = box.tree_draw()
    except InputError:
        tree_draw = None
    return {
        "cuts": plain(box.cuts),
        "python": box.python(),
        "tree_draw": tree_draw,
        "open_variables": list(box.open_variables),
    }
