"""What becomes of flipped bits in ntuples and in stored tables.

Run by name: `OMP_NUM_THREADS=1 python tests/benchmarks/fuzz_ntuples.py --trials 500 --stored-trials 200 --seed 1`.

Each trial flips one bit in one region of a file and reads it in a process of its own. Regions of the ROOT file are the
event baskets, the Runs tree with its sums, and all other bytes ("headers"); stored files are the event table and a chunk.
Outcomes:

    right         the result has not changed, to the bit
    clear error   a ZsigError that names the file
    noted         another result, with a note that says so
    rounding      yields, errors or sums that differ by less than the rounding of stored weights is allowed to
    data          another result without a note from a flip in the event baskets: ROOT has no checksums of their values
    silent        another result without a note, from any other flip
    no file       a ZsigError that does not name the file
    traceback     any other exception, or the end of the process by a signal
    hang          no result within the time limit
"""

import argparse
import math
import multiprocessing
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from zsig_hep.errors import ZsigError
from zsig_hep.ntuples import Dataset, EventTable, NtupleSettings, Process, run_columns
from zsig_hep.ntuples.generator_sums import RATIO_TOLERANCE
from zsig_hep.ntuples.storage import read_chunk, write_chunk

OUTCOMES = ("right", "clear error", "noted", "rounding", "data", "silent", "no file", "traceback", "hang")
EVENTS = 300


def write_ntuple(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(1.0, 0.3, EVENTS).astype("f4")
    arrays: dict[str, Any] = {"run": np.ones(EVENTS, "u4"), "luminosityBlock": np.ones(EVENTS, "u4")}
    arrays |= {"event": np.arange(EVENTS, dtype="u8"), "genWeight": weight}
    arrays |= {name: rng.normal(size=EVENTS).astype("f4") for name in ("x", "y")}
    squares = float(np.square(weight, dtype="f8").sum())
    sums = {"genEventCount": EVENTS, "genEventSumw": float(weight.sum(dtype="f8")), "genEventSumw2": squares}
    with uproot.recreate(path) as file:
        for tree, content in (("Events", arrays), ("Runs", {name: np.array([value]) for name, value in sums.items()})):
            file.mktree(tree, {name: values.dtype for name, values in content.items()}).extend(content)


def regions(path: Path) -> dict[str, list[int]]:
    """Offsets of the bytes of each region of an ntuple."""
    with uproot.open(path) as file:
        events, runs = (
            {offset for branch in file[tree].branches for offset in baskets(branch)} for tree in ("Events", "Runs")
        )
        key = file.key("Runs")
        runs |= set(range(key.fSeekKey, key.fSeekKey + key.fNbytes))
        everything = set(range(file.file.fEND))
    found = {"headers": everything - events - runs, "Runs tree and sums": runs, "event baskets": events}
    return {name: sorted(offsets) for name, offsets in found.items()}


def baskets(branch: Any) -> Iterable[int]:
    for number in range(branch.num_baskets):
        start, length = int(branch.member("fBasketSeek")[number]), int(branch.member("fBasketBytes")[number])
        yield from range(start, start + length)


def read_ntuples(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of the result of the columns stage, and its notes."""
    processes = {
        role: Process(role=role, datasets={role: Dataset(files=[f"{role}.root"], cross_section_pb=1.0)})
        for role in ("signal", "background")
    }
    with tempfile.TemporaryDirectory() as out:
        settings = NtupleSettings(columns=["x", "y"], chunk_size=100)
        result = run_columns(settings, processes, base_folder=folder, luminosity_ifb=1.0, output_folder=Path(out))
    return f"{result.table.digest} {result.cutflows} {result.normalisations}", result.notes


_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]?\d+)?")


def differs_by_rounding(result: str, reference: str) -> bool:
    """Whether two results differ in the digest of the weights and in numbers within the tolerance only."""
    (_, result), (_, reference) = result.split(" ", 1), reference.split(" ", 1)
    if _NUMBER.sub("x", result) != _NUMBER.sub("x", reference):
        return False
    pairs = zip(_NUMBER.findall(result), _NUMBER.findall(reference), strict=True)
    return all(math.isclose(float(one), float(other), rel_tol=RATIO_TOLERANCE) for one, other in pairs)


def read_table(folder: Path) -> tuple[str, tuple[str, ...]]:
    return EventTable.from_parquet(folder / "table.parquet").digest, ()


def read_one_chunk(folder: Path) -> tuple[str, tuple[str, ...]]:
    features = np.empty((EVENTS, 2), "f4")
    columns, varied = read_chunk(folder / "chunk.parquet", ["x", "y"], features, {"isr": 2})
    return repr([each.tobytes() for each in (features, *columns.values(), *varied.values())]), ()


def attempt(read: Callable[[Path], tuple[str, tuple[str, ...]]], folder: Path, changed: str, results: Any) -> None:
    """Send the digest and notes, or the kind and text of an error."""
    try:
        results.send(("result", *read(folder)))
    except ZsigError as error:
        results.send(("clear error" if changed in str(error) else "no file", str(error), ()))
    except (Exception, SystemExit):  # noqa: BLE001 (every other error is counted)
        results.send(("traceback", traceback.format_exc(), ()))


def outcome(read: Callable[[Path], Any], folder: Path, changed: str, limit: float) -> tuple[str, str, tuple[str, ...]]:
    # Forked: a new interpreter for each trial would take seconds to import coffea.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=attempt, args=(read, folder, changed, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit) else ("hang", "", ())
    except EOFError:
        process.join()
        return "traceback", f"the process ended with {process.exitcode}", ()
    finally:
        process.kill()
        process.join()


def fuzz(read: Callable[[Path], Any], path: Path, region: str, offsets: list[int], options: Any) -> None:
    """Flip bits of a region and print a row of the table."""
    folder, original = path.parent, path.read_bytes()
    kind, reference, _ = outcome(read, folder, path.name, options.limit)
    if kind != "result":
        msg = f"the file without flips gives {kind}: {reference}"
        raise SystemExit(msg)
    rng = np.random.default_rng([options.seed, len(offsets)])
    counts: Counter[str] = Counter()
    for _ in range(options.trials if region in {"headers", "Runs tree and sums"} else options.stored_trials):
        offset, bit = int(rng.choice(offsets)), int(rng.integers(8))
        content = bytearray(original)
        content[offset] ^= 1 << bit
        path.write_bytes(content)
        found, text, notes = outcome(read, folder, path.name, options.limit)
        if found == "result":
            other = "data" if region == "event baskets" else "silent"
            if region == "Runs tree and sums" and differs_by_rounding(text, reference):
                other = "rounding"
            found = "right" if text == reference else "noted" if notes else other
        counts[found] += 1
        if options.verbose and found in {"silent", "no file", "traceback", "hang"}:
            last = text.strip().splitlines()[-1] if text else ""
            print(f"  {region}: byte {offset}, bit {bit}: {found}: {last}")
            if found == "traceback" and options.verbose > 1:
                print(text)
    path.write_bytes(original)
    print(f"{region:20}" + "".join(f"{counts[each]:12}" for each in OUTCOMES), flush=True)


def set_up(folder: Path, results: Any) -> None:
    write_ntuple(folder / "signal.root", 1)
    write_ntuple(folder / "background.root", 2)
    rng = np.random.default_rng(3)
    features = {name: rng.normal(size=EVENTS).astype("f4") for name in ("x", "y")}
    weight = rng.normal(1.0, 0.3, EVENTS)
    process = np.where(np.arange(EVENTS) % 3 == 0, "higgs", "dy")
    roles = {"higgs": "signal", "dy": "background"}
    table = EventTable.from_arrays(features, weight=weight, process=process, roles=roles, luminosity_ifb=140.0)
    table.to_parquet(folder / "table.parquet")
    identity, isr = rng.integers(2**63, size=EVENTS, dtype="u8"), {"isr": (1.1 * weight, 0.9 * weight)}
    write_chunk(folder / "chunk.parquet", features, weight=weight, identity=identity, weight_variations=isr)
    results.send(regions(folder / "background.root"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="flips in headers, and in the Runs tree")
    parser.add_argument("--stored-trials", type=int, default=100, help="flips in event baskets and each stored file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for each trial")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="print each bad outcome; -vv: its traceback")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: what is forked later must not have the threads of uproot.
        receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
        writer = multiprocessing.get_context("fork").Process(target=set_up, args=(folder, sender))
        writer.start()
        of_ntuple = receiver.recv()
        writer.join()
        print(" " * 20 + "".join(f"{each:>12}" for each in OUTCOMES))
        for region, offsets in of_ntuple.items():
            fuzz(read_ntuples, folder / "background.root", region, offsets, options)
        for region, read in (("event table", read_table), ("chunk", read_one_chunk)):
            path = folder / f"{region.split()[-1]}.parquet"
            fuzz(read, path, region, list(range(path.stat().st_size)), options)


if __name__ == "__main__":
    main()
