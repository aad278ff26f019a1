"""The arrays that every selection takes, checked once: score, weight and process of each event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, get_args

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.datasets import Role

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Events:
    """Scored events, all arrays of shape [N].

    Attributes:
        score: finite classifier output.
        weight: finite signed weight.
        process: index of the process.
    """

    score: Floats
    weight: Floats
    process: Integers

    @classmethod
    def checked(
        cls,
        score: npt.ArrayLike,
        weight: npt.ArrayLike,
        process: npt.ArrayLike,
        *,
        process_names: Sequence[str],
        roles: Sequence[Role] | None = None,
    ) -> Self:
        """Bring the arrays to float64 and int64 and refuse what no cut can be applied to.

        Args:
            score: classifier output, shape [N].
            weight: event weights, shape [N].
            process: index into `process_names`, shape [N].
            process_names: names of the processes.
            roles: role of each process, if the caller uses them.

        Returns:
            The events.

        Raises:
            InputError: a shape, a value, an index or a role is wrong.
        """
        _check_roles(process_names, roles)
        events = cls(
            np.asarray(score, dtype=np.float64), np.asarray(weight, dtype=np.float64), _indices(process, process_names)
        )
        if events.score.ndim != 1 or not events.score.shape == events.weight.shape == events.process.shape:
            message = (
                "Scores, weights and processes must be arrays of one length; found shapes "
                f"{events.score.shape}, {events.weight.shape} and {events.process.shape}."
            )
            raise InputError(message)
        _check_finite("score", events.score, "a classifier that trained badly or a feature that is NaN gives this")
        _check_finite("weight", events.weight, "look at the weight branch of the ntuple")
        return events


def _check_roles(process_names: Sequence[str], roles: Sequence[Role] | None) -> None:
    if roles is None:
        return
    if len(roles) != len(process_names):
        message = f"Each process needs one role; found {len(process_names)} processes and {len(roles)} roles."
        raise InputError(message)
    for name, role in zip(process_names, roles, strict=True):
        if role not in get_args(Role):
            message = f"Process '{name}' has role '{role}'; roles are {', '.join(get_args(Role))}."
            raise InputError(message)


def _indices(process: npt.ArrayLike, process_names: Sequence[str]) -> Integers:
    indices = np.asarray(process)
    if indices.size == 0:
        return indices.astype(np.int64)
    if indices.dtype.kind not in "iu":
        message = f"Processes must be integer indices into the process names; found {indices.dtype} values."
        raise InputError(message)
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= len(process_names):
        message = f"Process indices run from {low} to {high}, but there are {len(process_names)} processes."
        raise InputError(message)
    return indices.astype(np.int64)


def _check_finite(name: str, values: Floats, hint: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        message = f"The {name} of event {first} is {values[first]} ({(~finite).sum()} such events); {hint}."
        raise InputError(message)
