"""The pipeline: one analysis from its file to its report, in stages."""

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
