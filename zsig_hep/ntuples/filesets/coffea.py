"""Filesets of coffea and PocketCoffea: `{dataset: {files, metadata}}`.

`files` is a list of paths, `{path: tree}`, or `{path: {object_path: tree, ...}}` as in the output of
`coffea.dataset_tools.preprocess`, whose `steps` are ignored: files are read from the first to the last entry.  These
metadata are used, with the names of PocketCoffea's `build-datasets` and skims (documentation and `utils/skim.py` of
version 0.9; every value may be text): `sample`, `isMC`, `year`, `xsec` [pb], `isSkim`, `sum_genweights` and
`sum_signOf_genweights`.  Datasets with the same `sample`, or without it the same `process`, belong together; without
both, each dataset is a sample.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsig_hep.errors import InputError
from zsig_hep.ntuples.filesets.content import (
    DEFAULT_TREE,
    Fileset,
    FilesetDataset,
    flag,
    group,
    located,
    positive,
    read_each,
    require_distinct,
)
from zsig_hep.ntuples.resolution import SourceFile


def is_coffea(content: Any) -> bool:
    """Whether the content of a file has this structure."""
    datasets = list(content.values()) if isinstance(content, dict) else []
    return bool(datasets) and all(isinstance(each, dict) and "files" in each for each in datasets)


def read_coffea(content: Mapping[str, dict[str, Any]], folder: Path) -> Fileset:
    """Read the datasets of coffea or PocketCoffea.

    Args:
        content: of the file.
        folder: folder of relative names of ROOT files.

    Returns:
        The datasets.

    Raises:
        InputError: all problems at once, one per line.
    """
    return Fileset(read_each(content, lambda name, dataset: _dataset(name, dataset, folder)))


def _dataset(name: str, dataset: Mapping[str, Any], folder: Path) -> FilesetDataset:
    if "json_output" in dataset:
        msg = "this is a definition of datasets; read the file that `pocket-coffea build-datasets` makes of it"
        raise InputError(msg)
    metadata = group(dataset, "metadata")
    is_simulation = flag(metadata, "isMC")
    trees = _tree_by_file(dataset["files"], str(dataset.get("treename", DEFAULT_TREE)))
    return FilesetDataset(
        name=name,
        samples=(str(metadata.get("sample", metadata.get("process", name))),),
        files=tuple(SourceFile(located(file, folder), tree) for file, tree in trees.items()),
        is_data=None if is_simulation is None else not is_simulation,
        year=str(metadata["year"]) if "year" in metadata else None,
        cross_section_pb=positive(metadata, "xsec"),
        sum_of_weights=positive(metadata, "sum_genweights"),
        sum_of_signs=positive(metadata, "sum_signOf_genweights"),
        is_skim=flag(metadata, "isSkim") or False,
    )


def _tree_by_file(files: Any, default: str) -> dict[str, str]:
    if not isinstance(files, list | dict) or not files:
        msg = f"`files` is {files!r}; valid are a list of paths and {{path: tree}}, with at least one file"
        raise InputError(msg)
    if isinstance(files, list):
        require_distinct([str(file) for file in files], "its events would count twice")
        return dict.fromkeys(map(str, files), default)
    trees = {file: tree.get("object_path") if isinstance(tree, dict) else tree for file, tree in files.items()}
    return {str(file): str(tree or default) for file, tree in trees.items()}
