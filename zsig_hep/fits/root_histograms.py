"""ROOT files of TH1 histograms with the sum of squared weights of every bin, for other programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hist
import numpy as np
import uproot

from zsig_hep.errors import OutputError
from zsig_hep.files import atomic_path
from zsig_hep.fits.templates import DATA_NAME, ChannelTemplates, FitTemplates, Template, histogram_name
from zsig_hep.names import identifiers


def write_histograms(path: Path, histograms: Mapping[str, hist.Hist[Any]]) -> None:
    """Write one TH1 per process as `<group>/<process>`, with the name of the process as its title.

    A name that ROOT reads otherwise, such as `ZZ*`, is replaced by its identifier (`zsig_hep.names`). Each TH1 has the flow bins and, as fSumw2, the sum of squared weights per bin. The file appears only when it is
    complete.

    Args:
        path: the ROOT file.
        histograms: histograms by group, with axes "process" and one variable and `Weight` storage.

    Raises:
        OutputError: a histogram has other axes or another storage, or the file cannot be written.
    """
    for group, histogram in histograms.items():
        _check(group, histogram)
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        for group, histogram in histograms.items():
            for process, written in identifiers(histogram.axes["process"]).items():
                # A text as index is a pattern of names: "ZZ*" would be every process that begins with ZZ.
                of_process: Any = histogram[{"process": hist.loc(process)}]
                of_process.name = process
                file[f"{group}/{written}"] = of_process


def write_templates(path: Path, templates: FitTemplates) -> None:
    """Write the templates of a fit with the names that Combine and cabinetry expect, and sum w^2 of every bin.

    `<channel>/<process>` are the nominal yields with the label of the process as title, `<channel>/<process>_<variation>Up`
    and `...Down` the varied ones, and `<channel>/data_obs` the observation with the variance of a Poisson count: data, or
    the Asimov data of the background alone while blinded. The file appears only when it is complete.

    Args:
        path: the ROOT file.
        templates: templates of the fit.

    Raises:
        OutputError: the file cannot be written.
    """
    labels = dict(zip(templates.process_names, templates.labels, strict=True))
    with atomic_path(path) as temporary, uproot.recreate(temporary) as file:
        for channel in templates.channels:
            observed = templates.observed(channel)
            file[f"{channel.name}/{DATA_NAME}"] = _histogram(channel, Template(observed, observed))
            for process, template in channel.nominal.items():
                file[f"{channel.name}/{process}"] = _histogram(channel, template, labels[process])
            for variation, pairs in channel.varied.items():
                for process, (up, down) in pairs.items():
                    file[f"{channel.name}/{histogram_name(process, variation, 'Up')}"] = _histogram(channel, up)
                    file[f"{channel.name}/{histogram_name(process, variation, 'Down')}"] = _histogram(channel, down)


def _histogram(channel: ChannelTemplates, template: Template, title: str = "") -> hist.Hist[Any]:
    axis = hist.axis.Variable(channel.edges, name="x", label=channel.observable)
    histogram = hist.Hist(axis, storage=hist.storage.Weight(), name=title)
    histogram[...] = np.stack([template.values, template.variances], axis=-1)
    return histogram


def _check(group: str, histogram: hist.Hist[Any]) -> None:
    names = [axis.name for axis in histogram.axes]
    if len(names) != 2 or names[0] != "process":
        message = f"histogram {group!r} has axes {names}; it needs 'process' and one variable"
        raise OutputError(message)
    if histogram.storage_type is not hist.storage.Weight:
        storage = histogram.storage_type.__name__
        message = f"histogram {group!r} has {storage} storage, which loses sum w^2; fill it with hist.storage.Weight()"
        raise OutputError(message)
