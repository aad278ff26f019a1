"""Functions that work on NumPy arrays, torch tensors and numbers alike."""

from typing import Any

import array_api_compat
import numpy as np


def namespace(array: Any) -> Any:
    """The array-API namespace of an array."""
    return array_api_compat.array_namespace(array)


def where(condition: Any, chosen: Any, other: Any) -> Any:
    """`where` that accepts a number for either side and keeps the dtype of the array side."""
    xp = namespace(condition)
    like = next((side for side in (chosen, other) if array_api_compat.is_array_api_obj(side)), None)
    chosen, other = (
        xp.asarray(side, dtype=like.dtype, device=array_api_compat.device(like))
        if like is not None and not array_api_compat.is_array_api_obj(side)
        else side
        for side in (chosen, other)
    )
    return xp.where(condition, chosen, other)


def floating_arrays(*values: Any) -> tuple[Any, ...]:
    """Convert numbers and arrays to floating-point arrays of one namespace, device and type."""
    arrays = [value for value in values if array_api_compat.is_array_api_obj(value)]
    if not arrays:
        return tuple(np.asarray(value, dtype=np.float64) for value in values)
    xp = array_api_compat.array_namespace(*arrays)
    device = array_api_compat.device(arrays[0])
    floating = [array for array in arrays if xp.isdtype(array.dtype, "real floating")]
    dtype = xp.result_type(*floating) if floating else xp.float64
    # Arrays are cast with astype, since torch's asarray drops the graph of gradients.
    return tuple(
        xp.astype(value, dtype, copy=False)
        if array_api_compat.is_array_api_obj(value)
        else xp.asarray(value, dtype=dtype, device=device)
        for value in values
    )
