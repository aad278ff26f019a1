"""Evaluation of one classifier on its out-of-fold scores: scan, held-out working point, ROC and score distribution."""

from dataclasses import dataclass

import numpy as np

from zsig_hep.representation import ShortRepr
from zsig_hep.selection.events import Booleans, Floats, ScoredEvents
from zsig_hep.selection.histograms import WeightedHist, score_edges, score_histogram
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.blinding import hidden_data
from zsig_hep.selection.thresholds.held_out import HeldOutWorkingPoint, held_out_selection, hold_out_working_point
from zsig_hep.selection.thresholds.one_more_event import OneMoreEvent, one_more_event_of_each
from zsig_hep.selection.thresholds.roc import RocCurve, roc_curve
from zsig_hep.selection.thresholds.scan import ThresholdScan, scan_thresholds


@dataclass(frozen=True, eq=False, repr=False)
class ClassifierEvaluation(ShortRepr):
    """Evaluation of one classifier.

    Attributes:
        name: short name for files and keys, such as "zloss".
        label: name for readers, such as "Z loss".
        scan: all thresholds on all simulated events; for figures: its maximum is biased and not to be quoted.
        working_point: the result to quote, with cuts chosen on other folds.
        roc: efficiencies and areas.
        score_histogram: weighted scores by process, data included; axes "process" and "score".
        score_edges: bin edges of the score histogram.
        observed: number of data events above the cuts; None without data, without cuts, or while blinded.
        one_more_event: the working point with one more simulated event of the background with which Z would be lowest;
            None without a working point.
    """

    name: str
    label: str
    scan: ThresholdScan
    working_point: HeldOutWorkingPoint
    roc: RocCurve
    score_histogram: WeightedHist
    score_edges: Floats
    observed: int | None = None
    one_more_event: OneMoreEvent | None = None


def evaluate_classifier(
    name: str,
    label: str,
    events: ScoredEvents,
    settings: WorkingPointSettings,
    *,
    unblind: bool = False,
    hidden: Booleans | None = None,
    working_point: HeldOutWorkingPoint | None = None,
) -> ClassifierEvaluation:
    """Scan the scores of one classifier, choose cuts on other folds and measure them on each fold.

    Args:
        name: short name for files and keys.
        label: name for readers.
        events: events with the classifier's out-of-fold scores.
        settings: figure of merit and requirements.
        unblind: whether data above the cut are counted and histogrammed.
        hidden: further data that are not histogrammed, such as those in score categories, bool [N].
        working_point: that of these events, where it is known; otherwise it is chosen here.

    Returns:
        Scan, held-out working point, ROC, score histogram, and Z with one more background event.

    Raises:
        InputError: the events cannot be scanned.
    """
    scan = scan_thresholds(events, settings)
    working_point = working_point or hold_out_working_point(events, settings)
    edges = score_edges(events.score)
    shown = np.ones(len(events), dtype=np.bool_) if hidden is None else ~hidden
    if not unblind:
        # A bin with only part of its data hidden would look like a deficit.
        lowest = min((cut for cut in working_point.thresholds if cut is not None), default=np.inf)
        touched = events.score >= edges[edges <= lowest].max(initial=-np.inf)
        shown &= ~hidden_data([(events, working_point)]) & ~(events.is_data & touched)
    observed = None
    if unblind and working_point.status == "ok" and events.processes.is_data.any():
        observed = int((events.is_data & held_out_selection(events, working_point.thresholds)).sum())
    return ClassifierEvaluation(
        name=name,
        label=label,
        scan=scan,
        working_point=working_point,
        roc=roc_curve(scan),
        score_histogram=score_histogram(events.select(shown), edges),
        score_edges=edges,
        observed=observed,
        one_more_event=next(iter(one_more_event_of_each(working_point, scan)), None),
    )
