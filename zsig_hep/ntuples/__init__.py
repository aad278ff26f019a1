"""ROOT ntuples to the event table: everything that touches ROOT files and coffea."""

from zsig_hep.ntuples.columns import ColumnsFunction, load_columns
from zsig_hep.ntuples.cutflow import CutflowRow
from zsig_hep.ntuples.datasets import (
    Dataset,
    NtupleSettings,
    Process,
    ResolvedDataset,
    Role,
    SignOf,
    SourceFile,
    SumOfWeights,
    SumValue,
    Weight,
    resolve_datasets,
    resolve_files,
)
from zsig_hep.ntuples.inputs import InputCheck, check_inputs
from zsig_hep.ntuples.normalisation import IPB_PER_IFB, Normalisation, exact_sum
from zsig_hep.ntuples.processors import ChunkRecord, FeatureProcessor
from zsig_hep.ntuples.reading import TABLE_NAME, ColumnsResult, run_columns
from zsig_hep.ntuples.table import EventTable

__all__ = [
    "IPB_PER_IFB",
    "TABLE_NAME",
    "ChunkRecord",
    "ColumnsFunction",
    "ColumnsResult",
    "CutflowRow",
    "Dataset",
    "EventTable",
    "FeatureProcessor",
    "InputCheck",
    "Normalisation",
    "NtupleSettings",
    "Process",
    "ResolvedDataset",
    "Role",
    "SignOf",
    "SourceFile",
    "SumOfWeights",
    "SumValue",
    "Weight",
    "check_inputs",
    "exact_sum",
    "load_columns",
    "resolve_datasets",
    "resolve_files",
    "run_columns",
]
