"""Fit inputs: templates of channels, processes and variations, and files for pyhf, Combine and cabinetry."""

from zsig_hep.fits.build import build_templates
from zsig_hep.fits.cabinetry_config import cabinetry_configuration, write_cabinetry
from zsig_hep.fits.combine_datacard import build_datacard, write_datacard
from zsig_hep.fits.names import fit_name_notes, fit_name_problems
from zsig_hep.fits.pyhf_workspace import build_workspace, validate_workspace, write_workspace
from zsig_hep.fits.root_histograms import write_histograms, write_templates
from zsig_hep.fits.samples import Channels
from zsig_hep.fits.templates import ChannelTemplates, ExportSettings, FitTemplates, Template
from zsig_hep.fits.write import fit_metadata, write_fit_inputs

__all__ = [
    "ChannelTemplates",
    "Channels",
    "ExportSettings",
    "FitTemplates",
    "Template",
    "build_datacard",
    "build_templates",
    "build_workspace",
    "cabinetry_configuration",
    "fit_metadata",
    "fit_name_notes",
    "fit_name_problems",
    "validate_workspace",
    "write_cabinetry",
    "write_datacard",
    "write_fit_inputs",
    "write_histograms",
    "write_templates",
    "write_workspace",
]
