"""The `ChunkReader` of an analysis, with columns, weights, variations and masks loaded and checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from zsig_hep.errors import InputError
from zsig_hep.ntuples.chunk import ChunkReader
from zsig_hep.ntuples.columns import load_columns, require_variation_argument
from zsig_hep.ntuples.datasets import NtupleSettings, Process
from zsig_hep.ntuples.functions import FileFunction, load_function
from zsig_hep.ntuples.luminosity import LuminosityMask
from zsig_hep.ntuples.resolution import ResolvedDataset, resolve_datasets
from zsig_hep.ntuples.variations import Variation, WeightVariation, expand_variations, names_of_kind, variations_of


def chunk_reader(
    settings: NtupleSettings,
    processes: Mapping[str, Process],
    *,
    base_folder: Path,
    variations: Mapping[str, Variation] | None = None,
) -> ChunkReader:
    """Make the reader of an analysis, for processors in coffea jobs of your own.

    Args:
        settings: how the ntuples are read.
        processes: processes by name; their files must exist.
        base_folder: folder of the analysis file.
        variations: systematic variations by name.

    Returns:
        The reader, for any executor.

    Raises:
        InputError: a file, a function or a variation cannot be used.
    """
    columns = load_columns(settings.columns, base_folder)
    expanded = expand_variations(variations or {}, processes)
    datasets = resolve_datasets(settings, processes, base_folder)
    return make_reader(columns, settings, datasets, expanded, base_folder)


def make_reader(
    columns: FileFunction | tuple[str, ...],
    settings: NtupleSettings,
    datasets: Sequence[ResolvedDataset],
    variations: Mapping[str, Variation],
    base_folder: Path,
) -> ChunkReader:
    """Make the reader from loaded columns, resolved datasets and expanded variations.

    Args:
        columns: of `load_columns`.
        settings: how the ntuples are read.
        datasets: of `resolve_datasets`.
        variations: of `expand_variations`.
        base_folder: folder of the analysis file.

    Returns:
        The reader.

    Raises:
        InputError: shape variations need other columns or event identities, or a function or mask cannot be loaded.
    """
    if shapes := names_of_kind(variations, "shape"):
        require_variation_argument(columns, shapes[0])
        if settings.event_identity == "content":
            msg = (
                f"variation {shapes[0]!r} shifts features, which then cannot identify an event: an event would change "
                "its fold and be scored by networks that were trained on it. Name the branches of event_identity"
            )
            raise InputError(msg)
    functions = {
        name: load_function(variation.function, base_folder, what=f"variation {name!r}:")
        for name, variation in variations.items()
        if isinstance(variation, WeightVariation) and variation.function is not None
    }
    return ChunkReader(
        columns=columns,
        weights={each.name: each.weight for each in datasets},
        event_identity=settings.event_identity,
        variations={each.name: variations_of(variations, each.process) for each in datasets},
        weight_functions=functions,
        luminosity_masks={
            each.name: LuminosityMask.from_file(each.luminosity_mask) for each in datasets if each.luminosity_mask
        },
        identity_names={each.name: each.identity_salt for each in datasets},
        triggers={each.name: (each.triggers, each.vetoes) for each in datasets if each.triggers},
        data_names=frozenset(each.name for each in datasets if each.role == "data"),
        preselection=settings.preselection,
    )
