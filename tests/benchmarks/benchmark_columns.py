"""Speed of reading columns over bare uproot reading of the same branches, and growth of memory with the files.

Run by name: `OMP_NUM_THREADS=1 python tests/benchmarks/benchmark_columns.py`. Writes flat ntuples to a temporary folder.

Bare reading takes the same 16 branches of the same files, in the same process, steps and types, through the same memory
map, and drops them. `run_columns` also hashes, checks, normalises and writes the events. Three ratios are printed: of
wall-clock time; of CPU time; and of CPU time without that of the system, which is mostly fresh memory and file cache
and depends on the machine.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import uproot
from uproot.source.file import MemmapSource

from zsig_hep.ntuples import Dataset, NtupleSettings, Process, run_columns

FEATURES = [f"x{index}" for index in range(12)]
IDENTITY = ["run", "luminosityBlock", "event"]
BRANCHES = [*IDENTITY, "genWeight", *FEATURES]
SELECTIVE_COLUMNS = """
def columns(events):
    passed = events.x0 > 2.5
    return {name: events[name][passed] for name in [f"x{index}" for index in range(12)]}, passed
"""


def write_ntuple(path: Path, events: int, seed: int, compression: uproot.compression.Compression) -> None:
    rng = np.random.default_rng(seed)
    types = {"run": "u4", "luminosityBlock": "u4", "event": "u8", "genWeight": "f4"} | dict.fromkeys(FEATURES, "f4")
    batch = 100_000
    total = 0.0
    with uproot.recreate(path, compression=compression) as file:
        tree = file.mktree("Events", types)
        for start in range(0, events, batch):
            size = min(batch, events - start)
            weight = rng.normal(1.0, 0.3, size).astype("f4")
            total += float(weight.sum(dtype="f8"))
            numbers = np.arange(start, start + size, dtype="u8")
            columns = {"run": np.ones(size, "u4"), "luminosityBlock": (numbers // 1000).astype("u4"), "event": numbers}
            columns |= {name: rng.normal(size=size).astype("f4") for name in FEATURES}
            tree.extend(columns | {"genWeight": weight})
        sums = {"genEventCount": np.array([events]), "genEventSumw": np.array([total])}
        file.mktree("Runs", {"genEventCount": "i8", "genEventSumw": "f8"}).extend(sums)


def processes(events: int) -> dict[str, Process]:
    def process(role: str, cross_section_pb: float) -> Process:
        return Process(
            role=role, datasets={role: Dataset(files=[f"{role}_{events}.root"], cross_section_pb=cross_section_pb)}
        )

    return {"signal": process("signal", 0.1), "background": process("background", 10.0)}


def read_columns(folder: Path, events: int, *, columns: str | list[str]) -> int:
    settings = NtupleSettings(columns=columns)
    output = folder / "out"
    result = run_columns(settings, processes(events), base_folder=folder, luminosity_ifb=140.0, output_folder=output)
    return len(result.table)


def read_bare(folder: Path, events: int) -> int:
    total = 0
    for role in ("signal", "background"):
        with uproot.open(folder / f"{role}_{events}.root", handler=MemmapSource) as file:
            for chunk in file["Events"].iterate(BRANCHES, step_size=100_000, library="np"):
                total += len(chunk["genWeight"])
    return total


def seconds(function: Callable[[], int]) -> np.ndarray:
    """Wall-clock, CPU and user CPU seconds of a call."""
    wall, before = time.perf_counter(), os.times()
    function()
    after = os.times()
    user, system = after.user - before.user, after.system - before.system
    return np.array([time.perf_counter() - wall, user + system, user])


def peak_megabytes(folder: Path, events: int) -> float:
    read_columns(folder, events, columns="columns.py:columns")
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def benchmark(folder: Path, events: int, repetitions: int, compression: uproot.compression.Compression) -> None:
    (folder / "columns.py").write_text(SELECTIVE_COLUMNS)
    sizes = (events // 8, events // 2)
    for size in sizes:
        for seed, role in enumerate(("signal", "background")):
            write_ntuple(folder / f"{role}_{size}.root", size, seed, compression)
    read_columns(folder, sizes[0], columns=FEATURES)
    read_bare(folder, sizes[0])
    for label, columns in (("all events kept", FEATURES), ("selective cut", "columns.py:columns")):
        compare(label, sizes[1], repetitions, folder, columns)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        small, large = (pool.apply(peak_megabytes, (folder, size)) for size in sizes)
    growth = (large - small) / (2e-6 * (sizes[1] - sizes[0]))
    print(f"peak memory, selective cut: {small:.0f} MB, and {growth:.0f} MB more for every million events in the files")


def compare(label: str, size: int, repetitions: int, folder: Path, columns: str | list[str]) -> None:
    ratios, rates = [], []
    for _ in range(repetitions):
        bare = seconds(lambda: read_bare(folder, size))
        ours = seconds(lambda: read_columns(folder, size, columns=columns))
        ratios.append(bare / ours)
        rates.append(2e-6 * size / np.array([bare[1], ours[1]]))
    wall, cpu, user = np.median(ratios, axis=0)
    bare_rate, our_rate = np.median(rates, axis=0)
    print(
        f"{label}: ratio {wall:.2f} in wall-clock time, {cpu:.2f} in CPU time, {user:.2f} without system time "
        f"(bare {bare_rate:.2f}, here {our_rate:.2f} M events per CPU second)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--compression", choices=["zlib", "lz4", "none"], default="zlib")
    arguments = parser.parse_args()
    compression = {"zlib": uproot.ZLIB(1), "lz4": uproot.LZ4(4), "none": None}[arguments.compression]
    with tempfile.TemporaryDirectory() as name:
        benchmark(Path(name), arguments.events, arguments.repetitions, compression)


if __name__ == "__main__":
    main()
