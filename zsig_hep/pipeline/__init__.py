"""One analysis from its file to its report: stages, output folder, fingerprints, results, summary."""

from zsig_hep.pipeline.box_summary import cut_summary

__all__ = [
    "cut_summary",
]
