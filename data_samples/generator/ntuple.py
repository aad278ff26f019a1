"""The ROOT file: NanoAOD-like branches in a TTree `Events` and the sums of weights in a TTree `Runs`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import ArrayLike, NDArray

from .reconstruction import Reconstruction
from .weights import WeightSums

COMPRESSIONS = {"lzma": uproot.LZMA(9), "zstd": uproot.ZSTD(9), "zlib": uproot.ZLIB(6), "lz4": uproot.LZ4(4)}
FLUSH_ENTRIES = 10_000
GENERATOR_BITS = 12
SHOWER_WEIGHT_BITS = 8
EVENTS_PER_LUMINOSITY_BLOCK = 1000

Branches = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """Which branches are written, and how precisely.

    Attributes:
        mantissa_bits: kept of each float's 23.
        slim: leave out electrons, truth, pile-up and the generator's record.
        keep_binvar: write Generator_binvar (pTHat), which stitching needs, in a slim file too.
    """

    mantissa_bits: int = 10
    slim: bool = False
    keep_binvar: bool = False


def rounded_mantissa(values: ArrayLike, bits: int) -> NDArray[np.float32]:
    """Round float32 numbers to fewer mantissa bits, as NanoAOD does, so that files compress.

    Half a unit is added before the lower bits are cleared, which rounds the magnitude to the nearest; a carry into the
    exponent is the right result. 30.003 becomes 30.0 at 10 bits: a selection repeated on the file is not quite the
    selection that was made before writing.

    Args:
        values: any shape; converted to float32.
        bits: mantissa bits to keep, 1 to 22.

    Example:
        >>> rounded_mantissa([30.003, -1.0004883], bits=10).tolist()
        [30.0, -1.0009765625]
    """
    pattern = np.ascontiguousarray(np.asarray(values, dtype=np.float32)).view(np.uint32)
    dropped = 23 - bits
    half = np.uint32(1 << (dropped - 1))
    return ((pattern + half) & ~np.uint32((1 << dropped) - 1)).view(np.float32)


@dataclass(frozen=True)
class Batch:
    """A batch of N simulated events on its way to the file.

    Attributes:
        number: of each event in the sample, shape [N].
        keep: which are stored, shape [N].
        weight: shape [N].
        reconstruction: what the detector saw.
        generator: Pythia's `info` records.
        shower_weights: relative weights of the shower variations, shape [N, 4]; None when not wanted.
    """

    number: NDArray[np.int64]
    keep: NDArray[np.bool_]
    weight: NDArray[np.float64]
    reconstruction: Reconstruction
    generator: Any
    shower_weights: NDArray[np.float64] | None = None


LEPTON_FIELDS = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass", "charge": "charge"}
MUON_FIELDS = LEPTON_FIELDS | {"pfRelIso04_all": "iso"}
ELECTRON_FIELDS = LEPTON_FIELDS | {"pfRelIso03_all": "iso"}
JET_FIELDS = {name: name for name in ("pt", "eta", "phi", "mass", "btagDeepFlavB")}
INTEGER_FIELDS = {"charge": np.int32, "hadronFlavour": np.uint8}


def _collection(objects: ak.Array, fields: dict[str, str], bits: int) -> ak.Array:
    """Select, rename and round the fields (name in the file: name in memory) of a jagged collection."""
    counts = ak.num(objects)
    columns = {}
    for name, source in fields.items():
        flat = ak.to_numpy(ak.flatten(objects[source]))
        stored = flat.astype(INTEGER_FIELDS[name]) if name in INTEGER_FIELDS else rounded_mantissa(flat, bits)
        columns[name] = ak.unflatten(stored, counts)
    return ak.zip(columns)


def _binvar(generator: Any) -> NDArray[np.float32]:
    return rounded_mantissa(np.sqrt(np.maximum(ak.to_numpy(generator.pT2Hat), 0)), GENERATOR_BITS)


def _generator_branches(generator: Any) -> Branches:
    scale = np.sqrt(ak.to_numpy(generator.Q2Fac))
    return {
        "Generator_id1": ak.to_numpy(generator.id1).astype(np.int32),
        "Generator_id2": ak.to_numpy(generator.id2).astype(np.int32),
        "Generator_x1": rounded_mantissa(ak.to_numpy(generator.x1), GENERATOR_BITS),
        "Generator_x2": rounded_mantissa(ak.to_numpy(generator.x2), GENERATOR_BITS),
        "Generator_scalePDF": rounded_mantissa(scale, GENERATOR_BITS),
        "Generator_binvar": _binvar(generator),
    }


def _event_branches(batch: Batch, stored: NDArray[np.intp]) -> Branches:
    number = batch.number[stored]
    return {
        "run": np.ones(len(stored), np.uint32),
        "luminosityBlock": (1 + number // EVENTS_PER_LUMINOSITY_BLOCK).astype(np.uint32),
        "event": number.astype(np.uint64),
        "genWeight": batch.weight[stored].astype(np.float32),
    }


def _slim_branches(seen: Reconstruction, stored: NDArray[np.intp], bits: int) -> Branches:
    return {
        "Muon": _collection(seen.muons[stored], MUON_FIELDS, bits),
        "Jet": _collection(seen.jets[stored], JET_FIELDS, bits),
        "MET_pt": rounded_mantissa(seen.met_pt[stored], bits),
        "MET_phi": rounded_mantissa(seen.met_phi[stored], bits),
    }


def _full_branches(seen: Reconstruction, stored: NDArray[np.intp], bits: int) -> Branches:
    slim = _slim_branches(seen, stored, bits)
    return {
        "Muon": slim.pop("Muon"),
        "Electron": _collection(seen.electrons[stored], ELECTRON_FIELDS, bits),
        "Jet": _collection(seen.jets[stored], JET_FIELDS | {"hadronFlavour": "hadronFlavour"}, bits),
        "MET_pt": slim.pop("MET_pt"),
        "MET_phi": slim.pop("MET_phi"),
        "MET_sumEt": rounded_mantissa(seen.sum_et[stored], bits),
        "GenMET_pt": rounded_mantissa(seen.true_met_pt[stored], bits),
        "PV_npvs": seen.vertices[stored].astype(np.int32),
    }


def _shower_weight_branch(shower_weights: NDArray[np.float64]) -> ak.Array:
    rounded = rounded_mantissa(shower_weights.ravel(), SHOWER_WEIGHT_BITS)
    return ak.unflatten(rounded, np.full(len(shower_weights), shower_weights.shape[1]))


def branches(batch: Batch, content: Content) -> Branches:
    """Lay the kept events of a batch out as branches, in the order in which the file lists them."""
    stored = np.flatnonzero(batch.keep)
    seen, bits = batch.reconstruction, content.mantissa_bits
    columns = _event_branches(batch, stored)
    if content.slim:
        columns |= _slim_branches(seen, stored, bits)
        if content.keep_binvar:
            columns["Generator_binvar"] = _binvar(batch.generator[stored])
    else:
        columns |= _full_branches(seen, stored, bits)
        columns |= _generator_branches(batch.generator[stored])
    if batch.shower_weights is not None:
        columns["PSWeight"] = _shower_weight_branch(batch.shower_weights[stored])
    return columns


def _branch_type(column: Any) -> Any:
    return column.type.content if isinstance(column, ak.Array) else column.dtype


def _joined(columns: list[Any]) -> Any:
    return ak.concatenate(columns) if isinstance(columns[0], ak.Array) else np.concatenate(columns)


class NtupleWriter:
    """Collects batches and writes them in large baskets, which compress far better than small ones.

    Trees are made with `mktree`: since uproot 5.7 plain assignment writes an RNTuple.

    Attributes:
        entries: number of events taken so far.
    """

    def __init__(self, path: Path, compression: str) -> None:
        """Open the file, replacing one that exists; `compression` is a key of `COMPRESSIONS`."""
        self._file = uproot.recreate(path, compression=COMPRESSIONS[compression])
        self._pending: list[Branches] = []
        self._pending_entries = 0
        self._tree_exists = False
        self.entries = 0

    def add(self, columns: Branches) -> None:
        """Take the branches of a batch."""
        self._pending.append(columns)
        self._pending_entries += len(columns["event"])
        self.entries += len(columns["event"])
        if self._pending_entries >= FLUSH_ENTRIES:
            self._flush()

    def finish(self, sums: WeightSums) -> None:
        """Write what is pending and the sums, then close."""
        self._flush()
        runs: Branches = {
            "run": np.array([1], np.uint32),
            "genEventCount": np.array([sums.events], np.int64),
            "genEventSumw": np.array([sums.generated]),
            "genEventSumw2": np.array([sums.generated_squared]),
        }
        self._file.mktree("Runs", {name: column.dtype for name, column in runs.items()})
        self._file["Runs"].extend(runs)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _flush(self) -> None:
        if not self._pending:
            return
        columns = {name: _joined([batch[name] for batch in self._pending]) for name in self._pending[0]}
        self._pending, self._pending_entries = [], 0
        if not self._tree_exists:
            types = {name: _branch_type(column) for name, column in columns.items()}
            self._file.mktree("Events", types, title="Events")
            self._tree_exists = True
        self._file["Events"].extend(columns)
