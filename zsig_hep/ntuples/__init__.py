"""From ROOT ntuples to the event table: the code that uses ROOT files and coffea."""

from zsig_hep.ntuples.chunk import ChunkReader, SelectedChunk, VariedChunk
from zsig_hep.ntuples.columns import load_columns
from zsig_hep.ntuples.cutflow import CutflowRow
from zsig_hep.ntuples.datasets import (
    Dataset,
    NtupleSettings,
    Process,
    SignOf,
    SumInHistogram,
    SumInTree,
    SumOfWeights,
    SumValue,
    Weight,
    WeightsAtLuminosity,
    cross_section_problems,
)
from zsig_hep.ntuples.filesets.read import read_fileset
from zsig_hep.ntuples.functions import FileFunction
from zsig_hep.ntuples.generator_sums import exact_sum
from zsig_hep.ntuples.inputs import InputCheck, check_inputs
from zsig_hep.ntuples.luminosity import LuminosityMask
from zsig_hep.ntuples.normalisation import IPB_PER_IFB, Normalisation
from zsig_hep.ntuples.processors import ChunkRecord, FeatureProcessor
from zsig_hep.ntuples.reader import chunk_reader
from zsig_hep.ntuples.reading import TABLE_NAME, ColumnsResult, run_columns
from zsig_hep.ntuples.resolution import ResolvedDataset, SourceFile, resolve_datasets, resolve_files
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import Variation, VariationKind, expand_variations, varied_name

__all__ = [
    "IPB_PER_IFB",
    "TABLE_NAME",
    "ChunkReader",
    "ChunkRecord",
    "ColumnsResult",
    "CutflowRow",
    "Dataset",
    "EventTable",
    "FeatureProcessor",
    "FileFunction",
    "InputCheck",
    "LuminosityMask",
    "Normalisation",
    "NtupleSettings",
    "Process",
    "ResolvedDataset",
    "SelectedChunk",
    "SignOf",
    "SourceFile",
    "SumInHistogram",
    "SumInTree",
    "SumOfWeights",
    "SumValue",
    "Variation",
    "VariationKind",
    "VariedChunk",
    "Weight",
    "WeightsAtLuminosity",
    "check_inputs",
    "chunk_reader",
    "cross_section_problems",
    "exact_sum",
    "expand_variations",
    "load_columns",
    "read_fileset",
    "resolve_datasets",
    "resolve_files",
    "run_columns",
    "varied_name",
]
