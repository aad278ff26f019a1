"""Speed and memory of ScoreProcessor on the dimuon samples, over bare reading and over the columns alone.

Run by name, after `zsig train analyses/hmumu --output OUT`:
`OMP_NUM_THREADS=1 python tests/benchmarks/benchmark_score_processor.py OUT`.

The samples are read again and again until there are enough events. Each line is a process of its own, whose start and
imports are not timed. Those of workers are timed, except for the wall-clock time of a dask cluster's start. Bare reading takes
the branches that the columns take, in the same steps, and drops them; "columns" selects events and writes their features
(`FeatureProcessor`), without a model.
"""

import argparse
import math
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hist
import numpy as np
import psutil
import uproot
from coffea.nanoevents import BaseSchema
from coffea.processor import DaskExecutor, FuturesExecutor, IterativeExecutor, Runner
from coffea.util import coffea_console
from uproot.source.file import MemmapSource

from zsig_hep.analysis import Analysis
from zsig_hep.learning import Classifier
from zsig_hep.ntuples import ChunkReader, EventTable, FeatureProcessor, chunk_reader, resolve_datasets
from zsig_hep.scoring import OnnxScorer, ScoreProcessor, TorchScorer, export_onnx, model_metadata

ANALYSIS = Path(__file__).parents[2] / "analyses" / "hmumu"
CHUNK = 50_000
BRANCHES = [
    *("run", "luminosityBlock", "event", "genWeight", "MET_pt", "Jet_btagDeepFlavB"),
    *(f"{kind}_{name}" for kind in ("Muon", "Jet") for name in ("pt", "eta", "phi", "mass")),
    "Muon_charge",
]


class Setting:
    """What every measurement needs, from names that travel to its process."""

    def __init__(self, output: str, loss: str, files: dict[str, list[str]], folder: str) -> None:
        self.model, self.files, self.folder = Path(output) / "training" / loss, files, Path(folder)
        self.onnx_path = self.folder / "model.onnx"

    @property
    def reader(self) -> ChunkReader:
        analysis = Analysis.from_file(ANALYSIS)
        return chunk_reader(analysis.ntuples, analysis.processes, base_folder=analysis.folder)

    def processor(self, backend: str) -> Any:
        if backend == "columns":
            return FeatureProcessor.from_reader(self.reader, self.folder / "chunks")
        onnx = OnnxScorer(self.onnx_path)
        scorer = onnx if backend == "onnx" else TorchScorer(self.model, onnx.metadata)
        return ScoreProcessor(self.reader, scorer, axes=[hist.axis.Regular(40, 110, 150, name="dimuon_mass")])


@contextmanager
def make_executor(kind: str, workers: int) -> Iterator[Any]:
    options = {"status": False, "retries": 0}
    if kind == "iterative":
        yield IterativeExecutor(**options)
    elif kind == "futures":
        yield FuturesExecutor(workers=workers, **options)
    else:
        import distributed

        with (
            distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield DaskExecutor(client=client, **options)


def read_bare(setting: Setting) -> float:
    """Wall-clock seconds."""
    start = time.perf_counter()
    for files in setting.files.values():
        for path in files:
            with uproot.open(path, handler=MemmapSource) as file:
                for _ in file["Events"].iterate(BRANCHES, step_size=CHUNK):
                    pass
    return time.perf_counter() - start


def run_processor(setting: Setting, backend: str, kind: str, workers: int) -> float:
    """Wall-clock seconds, without the start and the end of a dask cluster."""
    processor = setting.processor(backend)
    fileset = {name: {"files": dict.fromkeys(files, "Events")} for name, files in setting.files.items()}
    with make_executor(kind, workers) as executor:
        runner = Runner(
            executor=executor,
            pre_executor=IterativeExecutor(status=False, retries=0),
            chunksize=CHUNK,
            metadata_cache={},
            schema=BaseSchema,
        )
        items = list(runner.preprocess(fileset))
        start = time.perf_counter()
        runner.run(items, processor, uproot_options={"handler": MemmapSource})
        return time.perf_counter() - start


class PeakMemory(threading.Thread):
    """Watches the resident memory of this process and of those below it, added up, in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._done = 0.0, threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.2):
            resident = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    resident += process.memory_info().rss
            self.peak = max(self.peak, resident / 1e6)

    def stop(self) -> float:
        self._done.set()
        self.join()
        return self.peak


def measure(setting: Setting, backend: str, kind: str, workers: int) -> tuple[float, float, float]:
    """Wall-clock and CPU seconds, and the peak memory in MB; workers included."""
    coffea_console.quiet = True
    memory = PeakMemory()
    memory.start()
    before = os.times()
    wall = read_bare(setting) if backend == "bare" else run_processor(setting, backend, kind, workers)
    after = os.times()
    return wall, sum(after[:4]) - sum(before[:4]), memory.stop()


def prepare(output: Path, loss: str, folder: Path, events: int) -> tuple[Setting, int]:
    """Multiply the samples and export the model; give the number of events."""
    analysis = Analysis.from_file(ANALYSIS)
    datasets = resolve_datasets(analysis.ntuples, analysis.processes, analysis.folder)
    own = sum(uproot.open(file.path)["Events"].num_entries for each in datasets for file in each.files)
    copies = math.ceil(events / own)
    files: dict[str, list[str]] = {}
    for each in datasets:
        files[each.name] = []
        for file in each.files:
            for copy in range(copies):
                link = folder / f"{copy}_{Path(file.path).name}"
                link.symlink_to(file.path)
                files[each.name].append(str(link))
    setting = Setting(str(output), loss, files, str(folder))
    classifier = Classifier.load(setting.model)
    metadata = model_metadata(
        classifier,
        fold_seed=analysis.ntuples.fold_seed,
        event_identity=analysis.ntuples.event_identity,
        datasets=list(files),
    )
    export_onnx(classifier, setting.onnx_path, metadata)
    (folder / "chunks").mkdir()
    return setting, own * copies


def agreement(output: Path, setting: Setting) -> None:
    table = EventTable.from_parquet(output / "columns" / "events.parquet")
    classifier, scorer = Classifier.load(setting.model), OnnxScorer(setting.onnx_path)
    features = np.ascontiguousarray(table.features[:, classifier.columns_of(table.feature_names)])
    held_out = scorer.out_of_fold_scores(features, table.fold)
    differences = [
        np.abs(scorer.scores(features) - classifier.scores(features)).max(),
        np.abs(held_out - classifier.out_of_fold_scores(features, table.fold)).max(),
    ]
    print(
        f"{len(table)} events: largest |onnx - torch| {differences[0]:.1e} of the ensemble, {differences[1]:.1e} out of fold"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--loss", default="z")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    lines = [("bare", "iterative"), ("columns", "iterative")]
    lines += [(backend, kind) for kind in ("iterative", "futures", "dask") for backend in ("onnx", "torch")]
    with tempfile.TemporaryDirectory() as name:
        setting, events = prepare(arguments.output, arguments.loss, Path(name), arguments.events)
        agreement(arguments.output, setting)
        print(f"{events} events in {sum(map(len, setting.files.values()))} files, {CHUNK} at a time")
        base: float | None = None
        for backend, kind in lines:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                wall, cpu, peak = pool.submit(measure, setting, backend, kind, arguments.workers).result()
            base = base or cpu
            print(
                f"{backend:8} {kind:10} {events / wall:9.0f} events/s, {events / cpu:9.0f} per CPU second "
                f"({base / cpu:.2f} of bare reading), {peak:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
