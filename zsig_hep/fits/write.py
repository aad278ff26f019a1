"""Write all fit inputs from the same templates."""

import json
from pathlib import Path
from typing import Any

from zsig_hep.files import atomic_path
from zsig_hep.fits.cabinetry_config import cabinetry_configuration, write_cabinetry
from zsig_hep.fits.combine_datacard import build_datacard, write_datacard
from zsig_hep.fits.pyhf_workspace import build_workspace, luminosity_uncertainty, write_workspace
from zsig_hep.fits.root_histograms import write_templates
from zsig_hep.fits.templates import ExportSettings, FitTemplates

HISTOGRAMS = "histograms.root"


def write_fit_inputs(folder: Path, templates: FitTemplates, settings: ExportSettings) -> dict[str, Any]:
    """Write all fit inputs: `histograms.root`, `workspace.json`, `cabinetry.yml`, two datacards and `fit.json`.

    `fit.json` has what the other files cannot hold: whether the observation is data or Asimov data, the labels of the
    processes, and every change by the rules of `zsig_hep.fits.rules`.

    Args:
        folder: folder of the files; paths in the files are relative to it.
        templates: templates of the fit.
        settings: parameter of interest, and whether the fit includes the statistical uncertainty of the simulation.

    Returns:
        The content of `fit.json`.

    Raises:
        OutputError: two parameters have the same name, pyhf refuses the workspace, or a file cannot be written.
    """
    workspace = build_workspace(templates, settings)
    cards = {
        variant: build_datacard(templates, settings, variant, histograms=HISTOGRAMS)
        for variant in ("counting", "shapes")
    }
    checked = write_workspace(folder / "workspace.json", workspace)
    write_templates(folder / HISTOGRAMS, templates)
    write_cabinetry(folder / "cabinetry.yml", cabinetry_configuration(templates, settings, HISTOGRAMS))
    for variant, card in cards.items():
        write_datacard(folder / f"datacard_{variant}.txt", card)
    metadata = fit_metadata(templates, settings) | {"workspace_checked_by_pyhf": checked}
    with atomic_path(folder / "fit.json") as temporary:
        temporary.write_text(json.dumps(metadata, indent=1, allow_nan=False) + "\n")
    return metadata


def fit_metadata(templates: FitTemplates, settings: ExportSettings) -> dict[str, Any]:
    """Description of the fit inputs, of JSON types only.

    Args:
        templates: templates of the fit.
        settings: settings of the export.

    Returns:
        Observation, luminosity, channels with their bins and yields, processes, variations, background uncertainties
        and notes.
    """
    luminosity = luminosity_uncertainty(templates)
    return {
        "observation": "Asimov data of the background" if templates.is_blinded else "data",
        "blinded": templates.is_blinded,
        "luminosity_ifb": templates.luminosity_ifb,
        "signal_strength": settings.signal_strength,
        "luminosity_parameter": None
        if luminosity is None
        else {"variation": luminosity.name, "relative": luminosity.relative},
        "processes": {
            name: {"role": role, "label": label}
            for name, role, label in zip(templates.process_names, templates.roles, templates.labels, strict=True)
        },
        "variations": dict(templates.kinds),
        "background_uncertainties": {name: dict(each) for name, each in templates.uncertainties.items()},
        "channels": {
            channel.name: {
                "observable": channel.observable,
                "edges": channel.edges.tolist(),
                "yields": {name: template.total for name, template in channel.nominal.items()},
                "observed": float(templates.observed(channel).sum()),
            }
            for channel in templates.channels
        },
        "notes": list(templates.notes),
    }
