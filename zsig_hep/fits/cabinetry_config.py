"""cabinetry configuration that builds the fit from the histograms in the ROOT file."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zsig_hep.files import atomic_path
from zsig_hep.fits.templates import DATA_NAME, ChannelTemplates, ExportSettings, FitTemplates, log_normal_factors

JsonDict = dict[str, Any]

HISTOGRAM_FOLDER = "cabinetry_histograms"
_MEASUREMENT = "search"


def cabinetry_configuration(
    templates: FitTemplates, settings: ExportSettings, histograms: str, *, measurement: str = _MEASUREMENT
) -> JsonDict:
    """Make a cabinetry configuration for the histograms of `write_templates`.

    cabinetry builds the workspace of `build_workspace` from them, except for two parts that its configuration cannot
    describe: the luminosity is a normalisation like any other, and the signals have no statistical uncertainty, which
    would dilute that of the backgrounds. Each process under a variation has an entry of its own, since processes may be
    in different channels; `ModifierName` makes these entries one parameter.

    Args:
        templates: templates of the fit.
        settings: parameter of interest, and whether the fit includes the statistical uncertainty of the simulation.
        histograms: path of the ROOT file, relative to where cabinetry runs.
        measurement: name of the measurement.

    Returns:
        The configuration, of YAML types only.
    """
    samples: list[JsonDict] = [{"Name": DATA_NAME, "SamplePath": DATA_NAME, "Data": True}]
    for name in templates.process_names:
        sample: JsonDict = {"Name": name, "SamplePath": name, "Regions": _regions(templates, name)}
        disabled = not settings.simulation_uncertainty or name in templates.signals
        samples.append(sample | {"DisableStaterror": True} if disabled else sample)
    return {
        "General": {
            "Measurement": measurement,
            "POI": settings.signal_strength,
            "InputPath": f"{histograms}:{{RegionPath}}/{{SamplePath}}{{VariationPath}}",
            "HistogramFolder": HISTOGRAM_FOLDER,
        },
        "Regions": [{"Name": channel.name, "RegionPath": channel.name} for channel in templates.channels],
        "Samples": samples,
        "NormFactors": [
            {
                "Name": settings.signal_strength,
                "Samples": list(templates.signals),
                "Nominal": 1.0,
                "Bounds": [0.0, settings.signal_strength_maximum],
            }
        ],
        "Systematics": [
            _systematic(templates, variation, process)
            for variation in templates.kinds
            for process in templates.process_names
            if _touched(templates, variation, process)
        ]
        + [
            _uncertainty(templates, parameter, process)
            for parameter, of_processes in templates.uncertainties.items()
            for process in of_processes
        ],
    }


def write_cabinetry(path: Path, configuration: JsonDict) -> None:
    """Write a cabinetry configuration as YAML.

    Args:
        path: the file.
        configuration: result of `cabinetry_configuration`.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(configuration, sort_keys=False, width=120))


def _regions(templates: FitTemplates, process: str) -> list[str]:
    return [channel.name for channel in templates.channels if process in channel.nominal]


def _touched(templates: FitTemplates, variation: str, process: str) -> list[ChannelTemplates]:
    return [channel for channel in templates.channels if process in channel.varied.get(variation, {})]


def _systematic(templates: FitTemplates, variation: str, process: str) -> JsonDict:
    channels = _touched(templates, variation, process)
    factors = np.array([channel.factors(variation, process) for channel in channels])
    entry: JsonDict = {
        "Name": f"{variation}_{process}",
        "ModifierName": variation,
        "Samples": process,
        "Regions": [channel.name for channel in channels],
    }
    if templates.kinds[variation] in {"luminosity", "normalisation"} and np.ptp(factors, axis=0).max() < 1e-9:
        return entry | _normalisation(*factors[0].tolist())
    paths = {side: {"VariationPath": f"_{variation}{side}"} for side in ("Up", "Down")}
    return entry | {"Type": "NormPlusShape"} | paths


def _uncertainty(templates: FitTemplates, parameter: str, process: str) -> JsonDict:
    entry: JsonDict = {
        "Name": f"{parameter}_{process}",
        "ModifierName": parameter,
        "Samples": process,
        "Regions": _regions(templates, process),
    }
    return entry | _normalisation(*log_normal_factors(templates.uncertainties[parameter][process]))


def _normalisation(up: float, down: float) -> JsonDict:
    return {"Type": "Normalization", "Up": {"Normalization": up - 1}, "Down": {"Normalization": down - 1}}
