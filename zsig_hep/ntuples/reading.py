"""From ntuples to the event table, with coffea's executors; a chunk without result is an error."""

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor import DaskExecutor, FuturesExecutor, IterativeExecutor, ProcessorABC, Runner
from coffea.processor.executor import FileMeta, WorkItem
from coffea.util import coffea_console

from zsig_hep.errors import InputError, ZsigError, first_line
from zsig_hep.files import scratch_folder
from zsig_hep.names import slug
from zsig_hep.ntuples.assembly import (
    ReadDataset,
    assemble_shapes,
    assemble_table,
    cutflows_by_process,
    normalise_datasets,
)
from zsig_hep.ntuples.chunk import ChunkKey, chunk_key
from zsig_hep.ntuples.columns import load_columns
from zsig_hep.ntuples.cutflow import CutflowRow
from zsig_hep.ntuples.datasets import NtupleSettings, Process
from zsig_hep.ntuples.inputs import DatasetInputs, input_notes, inspect_inputs, reading_options
from zsig_hep.ntuples.normalisation import Normalisation
from zsig_hep.ntuples.processors import ChunkRecord, FeatureProcessor
from zsig_hep.ntuples.reader import make_reader
from zsig_hep.ntuples.resolution import resolve_datasets
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import Variation, expand_variations
from zsig_hep.ntuples.workers import WorkerPool

Executor = Literal["iterative", "futures", "dask"]

TABLE_NAME = "events.parquet"
"""Name of the file of the event table in the output folder."""

_LOG = logging.getLogger(__name__)


class QuietNanoAODSchema(NanoAODSchema):  # type: ignore[misc]
    """coffea's NanoAOD schema without warnings about cross-references and identities that reduced ntuples lack."""

    warn_missing_crossrefs = False
    event_ids = ()


SCHEMAS = {"base": BaseSchema, "nanoaod": QuietNanoAODSchema}
"""coffea's schemas by their name in the analysis file."""


@dataclass(frozen=True)
class ColumnsResult:
    """The result of reading the ntuples of an analysis.

    Attributes:
        table: the selected events.
        normalisations: of every simulated dataset.
        cutflows: rows by process.
        notes: unusual properties of the inputs that are no errors.
        shapes: events selected under each direction of a shape variation, by varied name such as "jesUp".
    """

    table: EventTable
    normalisations: tuple[Normalisation, ...]
    cutflows: dict[str, tuple[CutflowRow, ...]]
    notes: tuple[str, ...]
    shapes: dict[str, EventTable] = field(default_factory=dict)


def run_columns(
    settings: NtupleSettings,
    processes: Mapping[str, Process],
    *,
    base_folder: Path,
    luminosity_ifb: float,
    output_folder: Path,
    variations: Mapping[str, Variation] | None = None,
    executor: Executor = "iterative",
    workers: int = 2,
    scheduler: str | None = None,
    quiet: bool = True,
) -> ColumnsResult:
    """Read the ntuples of an analysis, select events, and normalise them to the luminosity.

    The table does not depend on executor, number of workers or chunk size, bit by bit.

    Args:
        settings: how the ntuples are read.
        processes: processes by name; their order is the order of the table.
        base_folder: folder of the analysis file.
        luminosity_ifb: integrated luminosity in 1/fb.
        output_folder: folder of `events.parquet` and of a table for each direction of a shape variation; made if it
            does not exist. Workers on other machines must have access to it.
        variations: systematic variations by name.
        executor: "iterative" in this process, "futures" in local processes, "dask" on a cluster.
        workers: number of processes, for "futures" and a local "dask" cluster.
        scheduler: address of a dask scheduler; None starts a local cluster.
        quiet: False shows coffea's progress bar.

    Returns:
        The table, the normalisations, the cutflows and notes.

    Raises:
        InputError: an input cannot be used; says where, and what to do.
        NormalisationError: a sum of weights cannot be used.
        OutputError: the table cannot be written; an existing one is not changed.
    """
    columns = load_columns(settings.columns, base_folder)
    expanded = expand_variations(variations or {}, processes)
    datasets = resolve_datasets(settings, processes, base_folder)
    inspected = inspect_inputs(settings, datasets, expanded)
    reader = make_reader(columns, settings, datasets, expanded, base_folder)
    with scratch_folder(output_folder, prefix=".chunks-") as folder:
        processor = FeatureProcessor.from_reader(reader, folder)
        with _coffea_executor(executor, workers, scheduler, quiet=quiet) as coffea_executor:
            records = _process(processor, inspected, settings, coffea_executor)
        read = normalise_datasets(inspected, records, luminosity_ifb, expanded)
        _require_certified_data(read)
        try:
            table, table_notes = assemble_table(read, processes, settings, luminosity_ifb, expanded)
            shapes = assemble_shapes(read, processes, settings, luminosity_ifb)
        except MemoryError as error:
            msg = f"memory is too short for all selected events ({first_line(error)}): select fewer events or features"
            raise InputError(msg) from error
    cutflows = cutflows_by_process(read)
    normalisations = tuple(dataset.normalisation for dataset in read if dataset.normalisation is not None)
    table.to_parquet(output_folder / TABLE_NAME)
    for name, shape in shapes.items():
        shape.to_parquet(output_folder / shape_table_name(name))
    notes = (*input_notes(inspected, normalisations), *table_notes)
    return ColumnsResult(table, normalisations, cutflows, notes, shapes)


def shape_table_name(varied: str) -> str:
    """Name of the file of the events under one direction of a shape variation, in the output folder.

    Example:
        >>> shape_table_name("jesUp")
        'shapes/jesUp.parquet'
        >>> shape_table_name("jes_../../xUp")
        'shapes/jes_.._.._xUp-cab90ed5.parquet'
    """
    return f"shapes/{slug(varied)}.parquet"


def _require_certified_data(read: Sequence[ReadDataset]) -> None:
    """Refuse a mask that certifies no event of a dataset: it is for other runs."""
    for dataset in read:
        name, mask = dataset.inputs.dataset.name, dataset.inputs.dataset.luminosity_mask
        if mask is None or not sum(dataset.inputs.entries):
            continue
        if not sum(dict(record.cutflow)["luminosity mask"].entries for record in dataset.records.values()):
            msg = f"no event of dataset {name!r} lies in a luminosity block that {mask} certifies: it is for other runs"
            raise InputError(msg)


class _ErrorsAsResults(ProcessorABC):  # type: ignore[misc]
    """Returns errors for the user as results instead of raising them, and skips the remaining chunks after the first.

    coffea wraps exceptions, and pickling loses their causes; a returned error is unchanged.
    """

    def __init__(self, processor: FeatureProcessor) -> None:
        self._processor = processor

    def process(self, events: Any) -> dict[str, Any]:
        stop = self._processor.folder / "stop"
        if stop.exists():
            return {"records": {}, "errors": {}}
        try:
            return {"records": self._processor.process(events), "errors": {}}
        except ZsigError as error:
            with contextlib.suppress(OSError):
                stop.touch()
            return {"records": {}, "errors": {chunk_key(events): error}}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def _process(
    processor: FeatureProcessor, inspected: Sequence[DatasetInputs], settings: NtupleSettings, executor: Any
) -> dict[ChunkKey, ChunkRecord]:
    runner = Runner(
        executor=executor,
        skipbadfiles=False,
        schema=SCHEMAS[settings.schema_name],
    )
    with _coffea_errors(quiet=not executor.status):
        items = _work_items(inspected, settings.chunk_size)
        options = reading_options(file for inputs in inspected for file in inputs.dataset.files)
        wrapped = runner.run(items, _ErrorsAsResults(processor), uproot_options=options)
    errors: dict[ChunkKey, ZsigError] = wrapped["out"]["errors"]
    if errors:
        order = {file.path: n for n, file in enumerate(f for inputs in inspected for f in inputs.dataset.files)}
        raise errors[min(errors, key=lambda key: (order[key[1]], key[3]))]
    records: dict[ChunkKey, ChunkRecord] = wrapped["out"]["records"]
    _require_all(items, wrapped["processed"], records)
    return records


def _work_items(inspected: Sequence[DatasetInputs], chunk_size: int) -> list[WorkItem]:
    """The chunks of all files that have events.

    They are not made by `Runner.preprocess`, which refuses names of datasets, files and trees that are not ASCII.
    """
    items: list[WorkItem] = []
    for inputs in inspected:
        known = {"process": inputs.dataset.process, "role": inputs.dataset.role}
        for file, entries, uuid in zip(inputs.dataset.files, inputs.entries, inputs.uuids, strict=True):
            metadata = known | {"numentries": entries, "uuid": uuid}
            meta = FileMeta(inputs.dataset.name, file.path, file.tree, metadata)
            items += meta.chunks(chunk_size, align_clusters=False) if entries else ()
    return items


def _require_all(items: Sequence[Any], processed: Any, records: Mapping[ChunkKey, ChunkRecord]) -> None:
    expected = {(i.dataset, i.filename, i.treename, i.entrystart, i.entrystop) for i in items}
    missing = sorted(expected - set(records))
    if missing or set(items) != set(processed):
        what = f"{len(missing)} of {len(expected)} chunks gave no result"
        msg = f"{what}{f', first {missing[0]}' if missing else ''}: run again, with fewer workers if memory was short"
        raise InputError(msg)


@contextlib.contextmanager
def _coffea_errors(*, quiet: bool) -> Iterator[None]:
    """Suppress coffea's console and tracebacks, and turn the failure of a worker or a file into an error."""
    console, printed = coffea_console.quiet, io.StringIO()
    coffea_console.quiet = quiet
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except ZsigError:
        raise
    except Exception as error:
        _LOG.debug("coffea reported:\n%s", printed.getvalue())
        text = str(error)
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            msg = f"memory is too short for a chunk ({first_line(error)}): reduce chunk_size, or use fewer workers"
            raise InputError(msg) from error
        if type(error).__name__ in {"TerminatedWorkerError", "BrokenProcessPool"} or "KilledWorker" in text:
            msg = f"a worker process died ({first_line(error)}): use fewer workers or a smaller chunk_size"
            raise InputError(msg) from error
        if text.startswith(("Failed to open file", "Failed creating nanoevents")):
            msg = f"a file became unreadable while it was processed: {first_line(error)}"
            raise InputError(msg) from error
        raise
    finally:
        coffea_console.quiet = console


@contextlib.contextmanager
def _coffea_executor(executor: Executor, workers: int, scheduler: str | None, *, quiet: bool) -> Iterator[Any]:
    options = {"status": not quiet, "retries": 0}
    if executor == "iterative":
        yield IterativeExecutor(**options)
    elif executor == "futures":
        yield FuturesExecutor(workers=workers, pool=WorkerPool, **options)
    else:
        with _dask_client(workers, scheduler) as client:
            yield DaskExecutor(client=client, **options)


@contextlib.contextmanager
def _dask_client(workers: int, scheduler: str | None) -> Iterator[Any]:
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        msg = "the dask executor needs the extra `dask`: pip install 'zsig_hep[dask]'"
        raise InputError(msg) from error
    if scheduler is not None:
        with _connect(distributed, scheduler) as client:
            yield client
        return
    # By default dask takes port 8787, which a second cluster on the machine could not use, and warns of every chunk that
    # Ctrl-C cancels.
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _connect(distributed: Any, scheduler: str) -> Any:
    try:
        return distributed.Client(scheduler)
    except (OSError, ValueError) as error:
        msg = f"no dask scheduler answers at {scheduler} ({first_line(error)}): start one, or leave --scheduler out"
        raise InputError(msg) from error
