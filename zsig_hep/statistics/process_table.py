"""The processes of an analysis: their names and roles, in the order of the process axis of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError, nearest_name
from zsig_hep.representation import html_table
from zsig_hep.statistics.yields import Yield

Role = Literal["signal", "background", "data"]


@dataclass(frozen=True)
class ProcessTable:
    """Names and roles of P processes.

    Attributes:
        names: length P.
        roles: "signal", "background" or "data" for each, length P.

    Raises:
        InputError: the lengths differ, or a role is unknown.

    Example:
        >>> processes = ProcessTable(("data", "higgs", "dy"), ("data", "signal", "background"))
        >>> processes.signals, processes.is_background.tolist(), processes.simulated.names
        (('higgs',), [False, False, True], ('higgs', 'dy'))
    """

    names: tuple[str, ...]
    roles: tuple[Role, ...]

    def __post_init__(self) -> None:
        """Check lengths and roles."""
        if len(self.roles) != len(self.names):
            message = f"Each process needs one role; found {len(self.names)} processes and {len(self.roles)} roles."
            raise InputError(message)
        for name, role in zip(self.names, self.roles, strict=True):
            if role not in get_args(Role):
                message = f"Process '{name}' has role '{role}'; roles are {', '.join(get_args(Role))}."
                raise InputError(message)

    @classmethod
    def of(cls, names: Sequence[str], roles: Sequence[Role]) -> Self:
        """Make a table of any sequences."""
        return cls(tuple(names), tuple(roles))

    def __len__(self) -> int:
        """Number of processes."""
        return len(self.names)

    def rows(self, role: Role) -> list[int]:
        """Indices of the processes of a role."""
        return [row for row, has in enumerate(self.roles) if has == role]

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signal processes."""
        return tuple(self.names[row] for row in self.rows("signal"))

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """Names of the background processes."""
        return tuple(self.names[row] for row in self.rows("background"))

    @cached_property
    def is_signal(self) -> npt.NDArray[np.bool_]:
        """Which processes are signal, shape [P]."""
        return np.array([role == "signal" for role in self.roles], dtype=np.bool_)

    @cached_property
    def is_background(self) -> npt.NDArray[np.bool_]:
        """Which processes are background, shape [P]."""
        return np.array([role == "background" for role in self.roles], dtype=np.bool_)

    @cached_property
    def is_data(self) -> npt.NDArray[np.bool_]:
        """Which processes are data, shape [P]."""
        return np.array([role == "data" for role in self.roles], dtype=np.bool_)

    @cached_property
    def simulated(self) -> "ProcessTable":
        """The table without data."""
        return self if not self.is_data.any() else self.select(np.flatnonzero(~self.is_data))

    @cached_property
    def simulated_row(self) -> npt.NDArray[np.int64]:
        """Index of each process in `simulated`, -1 for data, shape [P]."""
        return np.where(self.is_data, -1, np.cumsum(~self.is_data) - 1).astype(np.int64)

    def select(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> "ProcessTable":
        """Some of the processes, in the order given."""
        return ProcessTable(tuple(self.names[row] for row in rows), tuple(self.roles[row] for row in rows))

    def index(self, name: str) -> int:
        """Index of a process.

        Raises:
            InputError: there is no process of this name.
        """
        if name not in self.names:
            message = f"There is no process '{name}'.{nearest_name(name, self.names)}"
            raise InputError(message)
        return self.names.index(name)

    def yields_html(self, title: str, yields: Mapping[str, Yield]) -> str:
        """HTML table of the yields for notebooks, without processes that have none, such as blinded data."""
        rows = [
            [name, role, yields[name].entries, yields[name].value, yields[name].uncertainty]
            for name, role in zip(self.names, self.roles, strict=True)
            if name in yields
        ]
        return html_table(title, ["process", "role", "events", "yield", "uncertainty"], rows)

    def summed(self, values: Any, role: Role) -> Any:
        """Sum of values of shape [P, ...] over the processes of a role."""
        return values[self.rows(role)].sum(0)
