"""Histograms for other programs: a ROOT file of TH1 with the sum of squared weights of every bin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hist
import uproot

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path


def write_histograms(path: Path, histograms: Mapping[str, hist.Hist[Any]]) -> None:
    """Write histograms by process as `<group>/<process>`, so that a fit finds one TH1 per process.

    Each TH1 keeps its flow bins and, as fSumw2, the sum of squared weights per bin. The file appears only when it is
    complete.

    Args:
        path: the ROOT file.
        histograms: by group, such as "score_zloss"; axes "process" and one variable, Weight storage.

    Raises:
        OutputError: a histogram has other axes or another storage, or the file cannot be written.
    """
    for group, histogram in histograms.items():
        _check(group, histogram)
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        for group, histogram in histograms.items():
            for process in histogram.axes["process"]:
                file[f"{group}/{process}"] = histogram[{"process": process}]


def _check(group: str, histogram: hist.Hist[Any]) -> None:
    names = [axis.name for axis in histogram.axes]
    if len(names) != 2 or names[0] != "process":
        message = f"histogram {group!r} has axes {names}; to be written it needs 'process' and one variable"
        raise OutputError(message)
    if histogram.storage_type is not hist.storage.Weight:
        storage = histogram.storage_type.__name__
        message = f"histogram {group!r} has {storage} storage, which loses sum w^2; fill it with hist.storage.Weight()"
        raise OutputError(message)
