"""Weighted histograms of scores and features by process, with the variance of each bin."""

from collections.abc import Sequence

import hist
import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.events import Floats, Integers, ScoredEvents

# The axis of a feature cannot have the name of the other axis or of a keyword of `hist.Hist.fill`.
_TAKEN = ("process", "weight", "sample", "threads")

# Fraction of the weight that is outside the range of a feature's histogram on either side, in the flow bins.
_TAIL = 0.005

WeightedHist = hist.Hist[hist.storage.Weight]


def score_edges(score: npt.ArrayLike, bins: int = 40) -> Floats:
    """Edges of equal bins over [0, 1] if all scores are in it, otherwise over the range of the scores.

    Args:
        score: finite scores, shape [N].
        bins: number of bins.

    Returns:
        Ascending edges, shape [bins + 1].

    Example:
        >>> score_edges([0.2, 0.7], bins=2)
        array([0. , 0.5, 1. ])
        >>> score_edges([-2.0, 2.0], bins=2).round(6)
        array([-2.,  0.,  2.])
    """
    values = np.asarray(score, dtype=np.float64)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return _edges(low, high, bins)


def score_histogram(events: ScoredEvents, edges: npt.ArrayLike) -> WeightedHist:
    """Histogram scores by process, data included.

    Args:
        events: the events.
        edges: ascending bin edges, shape [B + 1]; the last bin includes its upper edge.

    Returns:
        Histogram with axes "process" and "score" and `Weight` storage: `values()` are sums of weights and `variances()`
        sums of squared weights; flow bins hold the events outside the edges.

    Example:
        >>> events = ScoredEvents.from_arrays(
        ...     [0.2, 0.7, 1.0], [1.0, 2.0, -0.5], [0, 0, 0], names=["dy"], roles=["background"])
        >>> histogram = score_histogram(events, [0, 0.5, 1])
        >>> histogram["dy", :].values(), histogram["dy", :].variances()
        (array([1. , 1.5]), array([1.  , 4.25]))
    """
    bounds = np.asarray(edges, dtype=np.float64)
    return _by_process("score", events.score, events.weight, events.process, events.processes.names, bounds)


def feature_histogram(table: EventTable, name: str, bins: int = 40) -> WeightedHist:
    """Histogram one feature by process over the range that holds the bulk of signal and of background.

    The range covers the central 99 % of the absolute weight of signal, of background and of data, each by itself, so
    that a large background does not cut off a small signal. Events outside the range are in the flow bins.

    Args:
        table: the events.
        name: name of the feature.
        bins: number of bins.

    Returns:
        Histogram with axes "process" and the name of the feature (followed by "_" where hist reserves that name), and
        `Weight` storage. Events whose feature is NaN are in no bin.

    Raises:
        InputError: there is no such feature, or it is NaN for every event.
    """
    values = np.asarray(table.feature(name), dtype=np.float64)
    has_value = np.isfinite(values)
    if not has_value.any():
        message = f"Feature '{name}' is NaN for every event; there is nothing to draw. Remove it from the columns."
        raise InputError(message)
    groups = [mask & has_value for mask in (table.is_signal, table.is_background, table.is_data)]
    ranges = [_bulk(values[mask], np.abs(table.weight[mask])) for mask in groups if mask.any()]
    edges = _edges(min(low for low, _ in ranges), max(high for _, high in ranges), bins)
    process = table.process.astype(np.int64)
    return _by_process(name, values[has_value], table.weight[has_value], process[has_value], table.process_names, edges)


def _by_process(
    axis_name: str, values: Floats, weight: Floats, process: Integers, process_names: Sequence[str], edges: Floats
) -> WeightedHist:
    histogram = hist.Hist(
        hist.axis.StrCategory(list(process_names), name="process"),
        hist.axis.Variable(edges, name=f"{axis_name}_" if axis_name in _TAKEN else axis_name),
        storage=hist.storage.Weight(),
    )
    # hist excludes the upper edge of the last bin, but a score of exactly 1 belongs in that bin.
    inside = np.where(values == edges[-1], np.nextafter(edges[-1], -np.inf), values)
    for index, name in enumerate(process_names):
        mask = process == index
        histogram.fill(name, inside[mask], weight=weight[mask])
    return histogram


def _bulk(values: Floats, weight: Floats) -> tuple[float, float]:
    """The range of values without the tails."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    below = np.searchsorted(cumulative, cumulative[-1] * np.array([_TAIL, 1 - _TAIL]))
    low, high = values[order][np.minimum(below, values.size - 1)]
    return float(low), float(high)


def _edges(low: float, high: float, bins: int) -> Floats:
    if not high > low:
        margin = max(abs(low), 1.0) / 2
        low, high = low - margin, high + margin
    return np.linspace(low, high, bins + 1)
