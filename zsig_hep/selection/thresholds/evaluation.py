"""All that is known of one classifier's out-of-fold scores: scan, held-out working point, ROC and score distribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.events import Booleans, Floats
from zsig_hep.selection.figure_of_merit import WorkingPointSettings
from zsig_hep.selection.histograms import WeightedHist, score_edges, score_histogram
from zsig_hep.selection.thresholds.blinding import hidden_data
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection, hold_out_working_point
from zsig_hep.selection.thresholds.roc import RocCurve, roc_curve
from zsig_hep.selection.thresholds.scan import ThresholdScan, scan_thresholds
from zsig_hep.selection.varied_events import VariationPair


@dataclass(frozen=True, eq=False)
class ClassifierEvaluation:
    """What one classifier selects.

    Attributes:
        name: short name for files and keys, such as "zloss".
        label: name for readers, such as "Z loss".
        scan: every threshold on all simulated events, with out-of-fold scores; for drawing, not for quoting its maximum.
        working_point: the result to quote: cuts chosen on other folds.
        roc: efficiencies and areas.
        score_histogram: weighted scores by process, data included; axes "process" and "score".
        score_edges: bin edges of the score histogram.
        observed: number of data events above the cuts; None without data, without cuts, or while blinded.
    """

    name: str
    label: str
    scan: ThresholdScan
    working_point: HeldOutWorkingPoint
    roc: RocCurve
    score_histogram: WeightedHist
    score_edges: Floats
    observed: int | None = None


def evaluate_classifier(
    name: str,
    label: str,
    score: npt.ArrayLike,
    table: EventTable,
    settings: WorkingPointSettings,
    *,
    variations: Sequence[VariationPair] = (),
    unblind: bool = False,
    hidden: Booleans | None = None,
) -> ClassifierEvaluation:
    """Scan the scores of one classifier, choose cuts on other folds and measure them on each fold.

    Args:
        name: short name for files and keys.
        label: name for readers.
        score: out-of-fold scores of the events of the table, larger for signal, finite, shape [N].
        table: events with signed weights, processes and folds.
        settings: figure of merit and requirements.
        variations: events under systematic variations, for `settings.variations_in_figure`.
        unblind: whether data above the cut are counted and histogrammed.
        hidden: data that are not histogrammed either, bool [N], such as those in score categories.

    Returns:
        Scan, held-out working point, ROC and score histogram.

    Raises:
        InputError: the scores do not fit the table, or one is not finite.
    """
    arrays = (score, table.weight, table.process)
    names: dict[str, Any] = {"process_names": table.process_names, "roles": table.roles}
    # The scan comes first: it is what refuses scores that are not finite.
    scan = scan_thresholds(*arrays, **names, settings=settings, variations=variations)
    working_point = hold_out_working_point(
        *arrays, table.fold, fold_count=table.fold_count, **names, settings=settings, variations=variations
    )
    values, fold = np.asarray(score, dtype=np.float64), table.fold.astype(np.int64)
    shown = ~hidden_data(table.is_data, fold, [(values, working_point)], unblind=unblind)
    histogram_edges = score_edges(score)
    if not unblind:
        # A bin that lost only part of its data would look like a deficit.
        lowest = min((cut for cut in working_point.thresholds if cut is not None), default=np.inf)
        shown &= ~(table.is_data & (values >= histogram_edges[histogram_edges <= lowest].max(initial=-np.inf)))
    if hidden is not None:
        shown &= ~hidden
    observed = None
    if unblind and working_point.status == "ok" and "data" in table.roles:
        observed = int((table.is_data & held_out_selection(values, fold, working_point.thresholds)).sum())
    histogram = score_histogram(
        values[shown],
        table.weight[shown],
        table.process[shown],
        process_names=table.process_names,
        edges=histogram_edges,
    )
    return ClassifierEvaluation(
        name=name,
        label=label,
        scan=scan,
        working_point=working_point,
        roc=roc_curve(scan),
        score_histogram=histogram,
        score_edges=histogram_edges,
        observed=observed,
    )
