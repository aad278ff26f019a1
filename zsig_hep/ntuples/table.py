"""The event table: the selected events of all processes with features, weights and folds."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsig_hep.errors import InputError, first_line, nearest_name, shortened
from zsig_hep.names import LONGEST_NAME, name_problem
from zsig_hep.ntuples.identity import assign_folds, hash_content, mix
from zsig_hep.ntuples.storage import read_fields, write_fields
from zsig_hep.statistics.process_table import ProcessTable, Role
from zsig_hep.statistics.yields import Yield, weighted_yield


@dataclass(frozen=True, eq=False)
class EventTable:
    """Selected events of all processes; N events, F features, P processes.

    Attributes:
        features: f4 [N, F]; NaN where a feature has no value.
        feature_names: F names.
        weight: f8 [N], signed; the sum over a process is its yield at the luminosity.
        process: i4 [N], index into `process_names`.
        process_names: P names.
        roles: P roles.
        labels: P names for figures.
        fold: i2 [N] in [0, fold_count).
        fold_count: number of folds.
        identity: u8 [N], hash of the branches, or of the content, that identify the event.
        luminosity_ifb: integrated luminosity of the weights in 1/fb.
        weight_variations: f8 [2, N] by name, the weights up and down under a weight variation, or f8 [M, N] under the M
            members of a set; nominal weights for events of processes that are not varied.
    """

    features: NDArray[np.float32]
    feature_names: tuple[str, ...]
    weight: NDArray[np.float64]
    process: NDArray[np.int32]
    process_names: tuple[str, ...]
    roles: tuple[Role, ...]
    labels: tuple[str, ...]
    fold: NDArray[np.int16]
    fold_count: int
    identity: NDArray[np.uint64]
    luminosity_ifb: float
    weight_variations: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of events."""
        return len(self.weight)

    def __repr__(self) -> str:
        """Sizes and yields, without the arrays."""
        yields = ", ".join(f"{name} {each.value:.4g}" for name, each in self.yields().items())
        return f"EventTable({len(self)} events, {len(self.feature_names)} features, {self.fold_count} folds; {yields})"

    def _repr_html_(self) -> str:
        """Processes with their roles, events and yields, for notebooks."""
        title = f"{len(self)} events, {len(self.feature_names)} features, {self.luminosity_ifb:g}/fb"
        return self.processes.yields_html(title, self.yields())

    @property
    def digest(self) -> str:
        """Hash of all fields."""
        described = [self.feature_names, self.process_names, self.roles, self.labels, self.fold_count]
        described += [self.luminosity_ifb, list(self.weight_variations)]
        digest = hashlib.sha256(repr(described).encode())
        columns = (self.features, self.weight, self.process, self.fold, self.identity, *self.weight_variations.values())
        for column in columns:
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    @property
    def processes(self) -> ProcessTable:
        """Names and roles of the processes."""
        return ProcessTable(self.process_names, self.roles)

    @property
    def simulated(self) -> Self:
        """The table without data, with the processes renumbered."""
        if "data" not in self.roles:
            return self
        kept, processes = self.select(~self.is_data), self.processes
        labels = tuple(label for label, is_data in zip(self.labels, processes.is_data, strict=True) if not is_data)
        return replace(
            kept,
            process=processes.simulated_row[kept.process].astype(self.process.dtype),
            process_names=processes.simulated.names,
            roles=processes.simulated.roles,
            labels=labels,
        )

    @property
    def is_signal(self) -> NDArray[np.bool_]:
        """Bool [N], true for events of signal processes."""
        return self.processes.is_signal[self.process]

    @property
    def is_background(self) -> NDArray[np.bool_]:
        """Bool [N], true for events of background processes."""
        return self.processes.is_background[self.process]

    @property
    def is_data(self) -> NDArray[np.bool_]:
        """Bool [N], true for recorded events."""
        return self.processes.is_data[self.process]

    def feature(self, name: str) -> NDArray[np.float32]:
        """One feature of all events, f4 [N].

        Raises:
            InputError: there is no such feature.
        """
        if name not in self.feature_names:
            msg = f"there is no feature {name!r}.{nearest_name(name, self.feature_names)}"
            raise InputError(msg)
        return self.features[:, self.feature_names.index(name)]

    def select(self, mask: NDArray[Any]) -> Self:
        """Keep some events, by a mask, bool [N], or an array of indices."""
        return replace(
            self,
            features=self.features[mask],
            weight=self.weight[mask],
            process=self.process[mask],
            fold=self.fold[mask],
            identity=self.identity[mask],
            weight_variations={name: pair[:, mask] for name, pair in self.weight_variations.items()},
        )

    def with_features(self, names: Sequence[str]) -> Self:
        """Keep some features, in the order given.

        Raises:
            InputError: there is no such feature.
        """
        columns = [self.feature(name) for name in names]
        features = np.stack(columns, axis=1) if columns else np.empty((len(self), 0), dtype=np.float32)
        return replace(self, features=features, feature_names=tuple(names))

    def yields(self) -> dict[str, Yield]:
        """Yield of each process at the luminosity, with its variance and number of entries."""
        return {
            name: weighted_yield(self.weight[self.process == index]) for index, name in enumerate(self.process_names)
        }

    def to_parquet(self, path: Path) -> None:
        """Write the table to a parquet file that appears only when it is complete.

        Args:
            path: the file. Its columns are the features, and `weight`, `process`, `fold`, `identity` and varied weights
                such as `isrUp` with the prefix `zsig:`.

        Raises:
            OutputError: the file cannot be written.
        """
        write_fields(path, vars(self))

    @classmethod
    def from_parquet(cls, path: Path) -> Self:
        """Read a table that `to_parquet` wrote, without any change.

        Raises:
            InputError: the file is missing, damaged or was not written by `to_parquet`.
        """
        return cls(**read_fields(path))

    @classmethod
    def from_arrays(
        cls,
        features: Any,
        *,
        weight: ArrayLike,
        process: ArrayLike,
        roles: Mapping[str, Role],
        luminosity_ifb: float,
        labels: Mapping[str, str] | None = None,
        identity: ArrayLike | None = None,
        folds: int = 5,
        fold_seed: int = 0,
    ) -> Self:
        """Make a table of arrays, for events that are not in ROOT files.

        Args:
            features: mapping of names to arrays [N], a pandas DataFrame, or an awkward array of flat records.
            weight: [N], signed; its sum over a process is the yield at the luminosity.
            process: name of each event's process, [N], or one name for all.
            roles: role of each process, in the order of the table's processes.
            luminosity_ifb: integrated luminosity of the weights in 1/fb.
            labels: names for figures, where they differ from the process names.
            identity: integers [N], unique to each event; None identifies events by features and weight.
            folds: number of folds, at least 3.
            fold_seed: seed of the assignment of events to folds.

        Returns:
            The validated table, with the events in the order given.

        Raises:
            InputError: unequal lengths, infinite features, weights that are not finite, unknown or empty processes,
                no signal or no background, or fewer events of a process than folds.

        Example:
            >>> table = EventTable.from_arrays(
            ...     {"mass": [125, 124, 126, 90, 91, 95]},
            ...     weight=[0.1, 0.1, 0.1, 2.0, 3.0, -1.0],
            ...     process=["higgs", "higgs", "higgs", "dy", "dy", "dy"],
            ...     roles={"higgs": "signal", "dy": "background"},
            ...     luminosity_ifb=140.0,
            ...     folds=3,
            ... )
            >>> table.yields()["dy"].value
            4.0
        """
        names, matrix = _feature_matrix(features)
        weights = np.array(weight, dtype=np.float64)
        _require_length("weight", weights, len(matrix))
        identities = hash_content(list(matrix.T), weights) if identity is None else _hashed(identity, len(matrix))
        table = cls(
            features=matrix,
            feature_names=names,
            weight=weights,
            process=_process_index(process, roles, len(matrix)),
            process_names=tuple(roles),
            roles=tuple(roles.values()),
            labels=tuple((labels or {}).get(name, name) for name in roles),
            fold=assign_folds(identities, folds, fold_seed),
            fold_count=folds,
            identity=identities,
            luminosity_ifb=float(luminosity_ifb),
        )
        validate_table(table)
        return table


def validate_table(table: EventTable) -> None:
    """Check that a table can be used for training and evaluation.

    Args:
        table: the table of an analysis.

    Raises:
        InputError: all problems at once: weights that are not finite, infinite features, no signal or no background
            process, a simulated process without events or with fewer events than folds, fewer than 3 folds, a
            luminosity that is not positive.
    """
    problems = [*_value_problems(table), *_process_problems(table)]
    if table.fold_count < 3:
        problems.append(
            f"{table.fold_count} folds are too few: at least 3 are needed to train, to stop and to evaluate"
        )
    if not (np.isfinite(table.luminosity_ifb) and table.luminosity_ifb > 0):
        problems.append(f"luminosity_ifb must be positive, not {table.luminosity_ifb}")
    if problems:
        raise InputError("\n".join(problems))


def validate_varied_table(table: EventTable, variation: str) -> None:
    """Check the events of one direction of a shape variation, which may be those of some processes only.

    Args:
        table: the varied events.
        variation: such as "jesUp", for messages.

    Raises:
        InputError: weights that are not finite, or infinite features.
    """
    if problems := _value_problems(table):
        raise InputError("\n".join(f"variation {variation!r}: {problem}" for problem in problems))


def _value_problems(table: EventTable) -> list[str]:
    problems = []
    if bad := np.flatnonzero(~np.isfinite(table.weight)).tolist():
        problems.append(f"weight of event {bad[0]} is {table.weight[bad[0]]}; {len(bad)} weights are not finite")
    for name, pair in table.weight_variations.items():
        if count := int((~np.isfinite(pair)).sum()):
            problems.append(f"{count} weights under variation {name!r} are not finite")
    for name, column in zip(table.feature_names, table.features.T, strict=True):
        if bad := np.flatnonzero(np.isinf(column)).tolist():
            problems.append(
                f"feature {name!r} of event {bad[0]} is {column[bad[0]]} ({len(bad)} such events); "
                "NaN stands for a missing value, infinity is an error"
            )
    return problems


def _process_problems(table: EventTable) -> list[str]:
    problems = [f"there is no {role} process" for role in ("signal", "background") if role not in table.roles]
    for index, (name, role) in enumerate(zip(table.process_names, table.roles, strict=True)):
        if role == "data":
            continue
        count = np.count_nonzero(table.process == index)
        if count == 0:
            problems.append(f"process {name!r} has no event after the selection: loosen the selection or remove it")
        elif count < table.fold_count:
            problems.append(
                f"process {name!r} has {count} events after the selection, fewer than the {table.fold_count} folds: "
                "simulate more, loosen the selection or lower `folds`"
            )
    return problems


def _feature_matrix(features: Any) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    if not isinstance(features, Mapping):
        fields = getattr(features, "fields", None)
        names = list(features.columns) if fields is None else list(fields)
        features = {str(name): features[name] for name in names}
    if not features:
        msg = "features are empty: give at least one name"
        raise InputError(msg)
    columns = {str(name): as_feature(name, column) for name, column in features.items()}
    length = len(next(iter(columns.values())))
    for name, column in columns.items():
        _require_length(f"feature {name!r}", column, length)
    return tuple(columns), np.stack(list(columns.values()), axis=1)


def as_feature(name: str, column: Any) -> NDArray[np.float32]:
    """Turn one column of any array library into f4 [N], with NaN for missing values.

    Args:
        name: of the feature, for messages.
        column: a flat array of numbers or booleans: NumPy, awkward, pandas or a list.

    Returns:
        f4 [N], possibly with NaN and infinities; the column itself if it is f4.

    Raises:
        InputError: the column is jagged or not numeric, or its name cannot be used.

    Example:
        >>> as_feature("n_jets", [2, 3]).dtype
        dtype('float32')
    """
    import awkward as ak

    if problem := name_problem(str(name)):
        msg = f"feature {shortened(str(name), LONGEST_NAME)!r}: {problem}"
        raise InputError(msg)
    try:
        if isinstance(column, ak.Array):
            column = ak.to_numpy(ak.fill_none(column, np.nan, axis=0) if "?" in str(column.type) else column)
        if isinstance(column, np.ma.MaskedArray):
            column = np.ma.filled(column.astype(np.float64), np.nan)
        array = np.asarray(column)
        if array.dtype.kind in "cV":
            msg = f"feature {name!r} has values of type {array.dtype}. Take a real part or one field of them."
            raise InputError(msg)
        if array.dtype.kind not in "iubf":
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = f"feature {name!r} is not a flat array of numbers: {first_line(error)}. Reduce it to one value per event."
        raise InputError(msg) from error
    if array.ndim != 1:
        msg = f"feature {name!r} has {array.ndim} dimensions. Reduce it to one value per event."
        raise InputError(msg)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def _process_index(process: ArrayLike, roles: Mapping[str, Role], length: int) -> NDArray[np.int32]:
    order = {name: index for index, name in enumerate(roles)}
    names = np.full(length, process) if isinstance(process, str) else np.asarray(process).astype(np.str_)
    _require_length("process", names, length)
    distinct, inverse = np.unique(names, return_inverse=True)
    if unknown := [str(name) for name in distinct if str(name) not in order]:
        msg = f"process {unknown[0]!r} has no role.{nearest_name(unknown[0], order)}"
        raise InputError(msg)
    return np.array([order[str(name)] for name in distinct], dtype=np.int32)[inverse]


def _hashed(identity: ArrayLike, length: int) -> NDArray[np.uint64]:
    numbers = np.asarray(identity)
    _require_length("identity", numbers, length)
    if numbers.dtype.kind not in "iu":
        msg = f"identity must be integers, not {numbers.dtype}"
        raise InputError(msg)
    return mix(numbers.astype(np.uint64))


def _require_length(what: str, array: NDArray[Any], length: int) -> None:
    if array.shape != (length,):
        msg = f"{what} has shape {array.shape}, but the features have {length} events"
        raise InputError(msg)
