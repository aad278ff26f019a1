"""One analysis from its file to its report: stages, output folder, fingerprints, results, summary."""

from zsig_hep.pipeline.apply import apply_to_files
from zsig_hep.pipeline.output_folder import OutputFolder
from zsig_hep.pipeline.plain import plain
from zsig_hep.pipeline.results import Results
from zsig_hep.pipeline.stages import Pipeline, RunOptions

__all__ = [
    "OutputFolder",
    "Pipeline",
    "Results",
    "RunOptions",
    "apply_to_files",
    "plain",
]
