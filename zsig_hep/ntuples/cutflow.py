"""Cutflows: entries and yields of a process after each cut, added over its chunks and datasets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zsig_hep.errors import InputError
from zsig_hep.ntuples.generator_sums import GeneratorSums
from zsig_hep.ntuples.processors import ChunkRecord, WeightedCount


@dataclass(frozen=True)
class CutflowRow:
    """Events of a process that pass every cut up to this one.

    Attributes:
        cut: name of the cut.
        entries: number of simulated events.
        value: yield at the luminosity.
        uncertainty: sqrt of the sum of squared weights, at the luminosity.
    """

    cut: str
    entries: int
    value: float
    uncertainty: float


def add_cutflows(dataset: str, records: Iterable[ChunkRecord]) -> dict[str, WeightedCount]:
    """Add the cutflows of the chunks of one dataset.

    Args:
        dataset: its name, for messages.
        records: its chunks.

    Returns:
        Counts by cut, in order.

    Raises:
        InputError: chunks apply cuts of other names or order.
    """
    total: dict[str, WeightedCount] = {}
    for record in records:
        names = [name for name, _ in record.cutflow]
        if total and names != list(total):
            msg = (
                f"columns(events) applies cuts {list(total)} to one chunk of dataset {dataset!r} and {names} to another"
            )
            raise InputError(msg)
        for name, count in record.cutflow:
            total[name] = total[name] + count if name in total else count
    return total


def process_cutflow(
    flows: Sequence[tuple[Mapping[str, WeightedCount], float]], generated: Sequence[GeneratorSums | None]
) -> tuple[CutflowRow, ...]:
    """Add the cutflows of the datasets of a process, as yields.

    If a dataset does not have a cut of another one, all its events pass that cut.

    Args:
        flows: counts by cut and yield per unit of weight, of each dataset.
        generated: sums over all generated events of each dataset, None where unknown.

    Returns:
        One row per cut; a first row "generated" when it is known for every dataset.
    """
    rows = []
    known = [_as_count(sums) for sums in generated]
    counts = [count for count in known if count is not None]
    if len(counts) == len(flows):
        rows.append(_row("generated", [(count, factor) for count, (_, factor) in zip(counts, flows, strict=True)]))
    order = _merged_order([list(flow) for flow, _ in flows])
    aligned = [(_carried_forward(flow, order), factor) for flow, factor in flows]
    rows += [_row(cut, [(counts[cut], factor) for counts, factor in aligned]) for cut in order]
    return tuple(rows)


def _row(cut: str, parts: Sequence[tuple[WeightedCount, float]]) -> CutflowRow:
    variance = sum(float(count.sum_of_squares) * factor**2 for count, factor in parts)
    return CutflowRow(
        cut=cut,
        entries=sum(count.entries for count, _ in parts),
        value=sum(float(count.sum_of_weights) * factor for count, factor in parts),
        uncertainty=math.sqrt(variance),
    )


def _as_count(sums: GeneratorSums | None) -> WeightedCount | None:
    if sums is None or sums.entries is None or sums.sum_of_squares is None:
        return None
    return WeightedCount(sums.entries, sums.sum_of_weights, sums.sum_of_squares)


def _merged_order(lists: Sequence[Sequence[str]]) -> list[str]:
    """All names, each after the name that precedes it in its list."""
    merged: list[str] = []
    for names in lists:
        position = 0
        for name in names:
            if name not in merged:
                merged.insert(position, name)
            position = merged.index(name) + 1
    return merged


def _carried_forward(flow: Mapping[str, WeightedCount], order: Sequence[str]) -> dict[str, WeightedCount]:
    """Counts for every cut; a cut that the flow does not have leaves the count as it is."""
    counts: dict[str, WeightedCount] = {}
    latest = next(iter(flow.values()))
    for cut in order:
        latest = flow.get(cut, latest)
        counts[cut] = latest
    return counts
